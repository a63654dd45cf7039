//! Test tools of Buswire: a clock that only moves when told, and randomness under a seed.
//!
//! For development dependencies alone. Never here: anything that production code calls.

mod clock;
mod entropy;

pub use clock::VirtualClock;
pub use entropy::{SeededEntropy, SplitMix64};
