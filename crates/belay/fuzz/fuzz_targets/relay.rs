//! Any script of what happens at the relay.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_belay::fuzzing::relay(bytes));
