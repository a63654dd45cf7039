//! One instance with capabilities of its own, in process (Belay §§5–7): no HTTP, no store.
//!
//! Never here: the gateway's grants in a store; see `server`.

mod failure;
mod transport;

pub use failure::Failure;
pub use transport::{Transport, WireResult};
