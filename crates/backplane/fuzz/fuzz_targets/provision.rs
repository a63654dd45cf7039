//! Any bytes as the body of a provisioning request.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_backplane::fuzzing::provision(bytes));
