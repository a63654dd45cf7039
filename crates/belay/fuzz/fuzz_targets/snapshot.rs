//! Any text as the snapshot of an instance.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_belay::fuzzing::snapshot(bytes));
