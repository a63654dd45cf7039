//! Any frames, decoded as each kind of peer would.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_mdp::core::harness::codec(bytes));
