//! Buses of Buswire: publish, read, subscribe, retention, waiting readers.
//!
//! Everything that enters Buswire is published on a bus and everything that leaves is read from one.
//! A bus is a log in a [store](buswire_store): [`Buses::publish`] returns when the message is on
//! stable storage, its id is its place in the log, and every reader finds it from then on.
//!
//! The live messages of the buses in use are in memory, in order and indexed by channel, so that
//! reading touches neither the store nor other channels, and a message is decoded and shown in each
//! form once for all readers ([`StoredMessage::view`]). A reader that waits is one entry in a list,
//! not a task or a timer. The window of a bus only ever grows by reading its log on: no smaller id
//! turns up after a greater one, whoever published, at this gateway or another.
//!
//! ```
//! use std::sync::Arc;
//!
//! use buswire_bus::{BusConfig, BusLimits, Buses};
//! use buswire_message::{Cursor, Headers, NewMessage, Payload, Retention};
//! use buswire_store::{memory::MemoryStore, system::SystemClock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = BusConfig {
//!     message_url_prefix: "https://example.com/v2/message/".into(),
//!     limits: BusLimits::default(),
//!     tracer: None,
//! };
//! let buses = Buses::open(Arc::new(MemoryStore::new()), Arc::new(SystemClock), config).await?;
//! let bus = "example.com".parse()?;
//! buses.create(&bus, Retention::default()).await?;
//! let message = NewMessage {
//!     channel: "news".parse()?,
//!     source: "https://example.com/".parse()?,
//!     kind: "headline".parse()?,
//!     sticky: false,
//!     expires_at: None,
//!     payload: Payload::parse(&"{\"title\":\"It works\"}".into())?,
//!     headers: Headers::default(),
//! };
//! let id = buses.publish(&bus, message).await?;
//! let scope = "bus:example.com channel:news".parse()?;
//! let page = buses.read(&scope, Cursor::Start, 25).await?;
//! assert_eq!(page.messages.first().map(|message| message.id), Some(id));
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds | does I/O |
//! |---|---|---|
//! | `record`, `settings` | the bytes that a store keeps | no |
//! | `window`, `ledger`, `core` | one bus: live messages, places held, how far it has read | no |
//! | `select`, `waiting` | compiled scopes, waiting readers and deadlines | no |
//! | `spans` | the place of a publish in a trace | no |
//! | `state`, `publish`, `read`, `subscription`, `run` | the driver: locks, store, wakers | yes |
//!
//! Never here: a protocol, who may do what, routes.

mod buses;
mod config;
mod core;
mod error;
#[cfg(any(test, feature = "__harness"))]
#[doc(hidden)]
pub mod harness;
mod ledger;
mod names;
mod publish;
mod published;
mod read;
mod record;
mod run;
mod select;
mod settings;
mod spans;
mod state;
mod stored;
mod subscription;
mod wait;
mod waiting;
mod window;

pub use buses::Buses;
pub use config::{BusConfig, BusLimits};
pub use error::{BusError, PublishError};
pub use published::ByDoor;
pub use read::ReadPage;
pub use settings::{BusInfo, Created};
pub use stored::{StoredMessage, View};
pub use subscription::Subscription;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
