//! Titanic (9/TSP): requests that are stored before they are acknowledged, and answered when their
//! service is there (mdp.md §17).
//!
//! [`Titanic`] offers three services at a broker of this process and is its client:
//!
//! | service | request | answer |
//! |---|---|---|
//! | `titanic.request` | target service, body frames | `200` and an id of 32 hexadecimal digits |
//! | `titanic.reply` | id | `200` and the frames of the reply, or `300` while there is none |
//! | `titanic.close` | id | `200`, also for an id that is not known |
//!
//! Failures are a status alone: `400` for what will never succeed, `500` for what may later.
//!
//! * `200` follows the [`Storage`]'s word that the request is durable; a reply is given out only from
//!   the storage, so it stays the same until it is closed or its time is over.
//! * A request is sent to its service at least once: again after a failure, a lost worker or a
//!   restart, with a back-off for each service. Attempts begin when a request comes and when a worker
//!   registers; nothing is polled.
//! * The id is all that a client needs to read a reply. It comes from the randomness that was handed
//!   in, is never logged, and only its SHA-256 is stored.
//!
//! | module | what it is |
//! |---|---|
//! | `ledger` | what is stored, what may be tried when, the bounds: no I/O, no clock |
//! | `record` | a request or reply as it is stored |
//! | `services` | the three services |
//! | `runner` | attempts: the only client of the broker |
//!
//! Never in here: an engine of storage beyond the one in memory.

mod config;
mod id;
mod ledger;
mod memory;
mod record;
mod runner;
mod services;
mod storage;

pub use config::Config;
pub use id::RecordKey;
pub use ledger::Counts;
pub use memory::MemoryStorage;
pub use runner::{OpenError, Titanic};
pub use services::Randomness;
pub use storage::{Storage, StorageError, Stored};
