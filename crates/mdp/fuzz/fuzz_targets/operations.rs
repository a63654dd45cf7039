//! Any history of the broker, checked after every step.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buswire_mdp::core::harness::operations(bytes));
