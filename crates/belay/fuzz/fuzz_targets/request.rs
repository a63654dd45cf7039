//! Any text as a request for a grant, a wrapper or a change.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_belay::fuzzing::request(bytes));
