//! Test tools of Buswire: a clock that only moves when told, randomness under a seed, a
//! store that fails on purpose, and a Redis server.
//!
//! For development dependencies alone. Never here: anything that production code calls.

mod clock;
mod entropy;
mod faulty_store;
mod redis_server;

pub use clock::VirtualClock;
pub use entropy::{SeededEntropy, SplitMix64};
pub use faulty_store::{Fault, Faults, FaultyStore, Gate, HintFault};
pub use redis_server::{RedisSentinel, RedisServer};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
