//! Any bytes as the body of a post, of 1.x and of 2.0.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_backplane::fuzzing::message(bytes));
