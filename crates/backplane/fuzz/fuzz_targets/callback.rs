//! Any text as the name of a function.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_backplane::fuzzing::callback(bytes));
