//! The store: everything that Buswire remembers.
//!
//! State is rows and logs in [partitions](Partition). A partition is the unit of atomicity and of
//! placement: a bus, a UAID, a capability tree, a client's tokens, a route, the configuration.
//! [`Store::commit`] changes one partition, all or nothing, and returns when the change is as safe as
//! was asked; everything else reads.
//!
//! * Every operation is idempotent: an append with a [`DedupeId`] repeats to the same
//!   [`Position`], a [raised](Operation::Raise) version only grows, a [tombstone](Operation::Tombstone)
//!   keeps a row from coming back until it ends.
//! * Sequences strictly increase whatever the clock does. In each log they are given in commit order, and
//!   no smaller one becomes visible after a greater one. Across logs [`Store::grown`] sees to that.
//! * The [`Epoch`] changes when an engine may have lost acknowledged writes; readers of an older epoch
//!   are told of the gap.
//! * Time is a parameter. An entry or row is visible while the time is before its expiry, exactly.
//! * Every call is bounded and may be dropped: a dropped [`Store::commit`] either happened whole or
//!   not at all.
//!
//! | engine | feature | for |
//! |---|---|---|
//! | [`memory`] | – | tests, and crates used alone |
//! | `embedded` | `embedded` (default) | one gateway, one data directory |
//! | `redis` | `redis` | any number of gateways on one Redis or Valkey |
//!
//! An engine from outside shows that it does all this with the cases of `conformance` (a feature).
//!
//! [`copy`] moves a whole store from one engine to another.
//!
//! [`system`] holds the operating system's clock and randomness, which programs hand to the cores.
//!
//! Never here: what rows and entries mean. Nothing else in the workspace opens a file or a
//! connection for state.

mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod copy;
#[cfg(feature = "embedded")]
pub mod embedded;
mod error;
mod forward;
mod hints;
pub mod memory;
mod names;
mod read;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg_attr(
    not(feature = "embedded"),
    allow(dead_code, unused_imports, reason = "parts of it serve the embedded engine alone")
)]
mod state;
mod store;
pub mod system;

pub use batch::{
    Ack, Applied, Batch, BatchError, DedupeId, Expectation, OPERATIONS_MAX, Operation, Outcome,
    VALUE_BYTES_MAX,
};
pub use error::StoreError;
pub use names::{Key, LogName, Partition, StoreNameError};
pub use read::{
    Direction, Entry, Epoch, KeyRange, Page, Position, Revision, Row, RowPage, RowValue,
};
pub use store::{BoxFuture, Hint, HintFilter, Hints, Store, StoreStatus, Swept};

/// What [`forward!`] names.
#[doc(hidden)]
pub mod __message {
    pub use buswire_message::{Sequence, Timestamp};
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
