//! The conformance suite on every engine that runs inside the process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

mod memory {
    use crate::support::Memory;

    buswire_store::conformance_tests!(Memory);

    #[test]
    fn agrees_with_itself() {
        buswire_store::conformance::harness::agrees_with_memory(&Memory, 256, 60);
    }
}

mod embedded {
    use crate::support::{InDirectory, OnDisk};

    buswire_store::conformance_tests!(InDirectory);

    #[test]
    fn agrees_with_memory() {
        buswire_store::conformance::harness::agrees_with_memory(&OnDisk, 192, 60);
    }
}
