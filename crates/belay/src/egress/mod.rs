//! The way out: capabilities of other servers, asked over HTTP (Belay §6.6, §16.5, §23.6).
//!
//! A URL that somebody else chose is a request that somebody else makes this server send. So the
//! policy is the first thing here, and everything goes through one client that has it. The server's
//! own capabilities never come here; they are invoked in the process.
//!
//! | module | holds |
//! |---|---|
//! | `address` | which addresses are public |
//! | `policy` | which URLs and addresses may be asked |
//! | `client` | the client: resolves, pins, sends, bounds (feature `egress`) |
//! | `transport` | the same for in-process instances (feature `egress`) |
//!
//! Never here: a header of a request that came in.

mod address;
#[cfg(feature = "egress")]
mod client;
mod policy;
#[cfg(feature = "egress")]
mod transport;

pub use address::{Network, NetworkError};
#[cfg(feature = "egress")]
pub use client::{Answer, Egress, EgressConfig, EgressError, Resolver, SystemResolver};
pub use policy::{Allowed, AllowedError, EgressPolicy, Refused};
