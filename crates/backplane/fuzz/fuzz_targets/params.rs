//! Any bytes as parameters, as a path segment and as a path.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_backplane::fuzzing::params(bytes));
