//! Any bytes as bcapJson.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_belay::fuzzing::bcap_json(bytes));
