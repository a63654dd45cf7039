//! Any text as a capability.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_belay::fuzzing::serialisation(bytes));
