//! Any text as a scope, and as one that narrows another.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_backplane::fuzzing::scope(bytes));
