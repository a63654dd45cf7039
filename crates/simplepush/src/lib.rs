//! SimplePush protocol version 1: tells a client *that* something changed, never *what* changed.
//!
//! A UserAgent holds a WebSocket open and registers channels; each channel has an endpoint URL, which
//! an application server raises to a new version by `PUT`. A UserAgent that has a channel eventually
//! learns its latest version: the version is on stable storage before the application server is
//! answered, and stays pending until the UserAgent acknowledges it. Intermediate versions may be
//! skipped and repeats are possible.
//!
//! | module | holds |
//! |---|---|
//! | `wire` | the messages as JSON text, one file per message |
//! | `connection` | one connection as a state machine, without I/O |
//! | `registry` | UserAgents, channels and pending versions on the store |
//! | `table`, `wheel` | which connection a UserAgent has; one timer wheel for all |
//! | `frames` | WebSocket frames as bytes |
//! | `session`, `driver` | a connection with its surroundings; and with its socket |
//! | `token` | endpoint tokens |
//! | `admission` | how many connections |
//! | `endpoint`, `upgrade` | the HTTP side: `PUT /update/{token}` and the opening of a WebSocket |
//! | `wakeup` | datagrams to the relays of mobile networks |
//! | `browser` | `/simplepush.js`, the library for pages |
//! | `client` | the UserAgent side, for programs |
//! | `service` | [`SimplePush`], which a program calls |
//! | `administration` | what administrators see and do |
//!
//! ```
//! use std::sync::Arc;
//! use buswire_simplepush::{Config, EndpointBase, SimplePush, TokenKey, TokenKeys};
//! use buswire_store::{memory::MemoryStore, system::{SystemClock, SystemEntropy}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = TokenKeys::new(&TokenKey::new(1, [7; 32]), &[])?;
//! let config = Config::new(EndpointBase::new("http://127.0.0.1:8080")?, keys);
//! let store = Arc::new(MemoryStore::new());
//! let push = SimplePush::new(store, Arc::new(SystemClock), Arc::new(SystemEntropy), config);
//! let router: axum::Router = push.router();
//! # Ok(())
//! # }
//! ```
//!
//! `examples/simplepush_server.rs` is a whole server.
//!
//! | feature | adds |
//! |---|---|
//! | `client` | the module `client`, so that a server need not build it |
//! | `__harness` | the vocabulary of the model test, for fuzz targets; not part of the interface |
//!
//! Never here: buses, routes, capabilities; they call [`SimplePush::notify`].

mod administration;
mod admission;
mod browser;
#[cfg(feature = "client")]
pub mod client;
mod config;
mod connection;
mod driver;
mod endpoint;
mod error;
mod frames;
#[cfg(any(test, feature = "__harness"))]
pub mod harness;
mod id;
mod metrics;
mod registry;
mod service;
mod session;
mod steady;
mod table;
mod token;
mod upgrade;
mod wakeup;
mod wheel;
mod wire;

// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use administration::{
    ChannelPage, ChannelSummary, Pending, Unavailable, UserAgentPage, UserAgentSummary,
};
pub use browser::script_integrity;
#[cfg(feature = "client")]
pub use client::Client;
pub use config::{
    Config, Cors, EndpointBase, EndpointBaseError, ExtraChannels, Gateways, Limits,
    MissingChannels, Presence, Rates, Redirect, RedirectUrl, RedirectUrlError, Subprotocol, Timing,
    VersionPolicy,
};
pub use endpoint::ForeignEndpoints;
pub use id::{ChannelId, NameError, UserAgentId};
pub use service::{
    Availability, EndedChannel, Notified, NotifyError, SimplePush, Status, UserAgentPresence,
};
pub use token::{DuplicateKeyId, TokenKey, TokenKeys};
pub use upgrade::is_upgrade;
pub use wakeup::{MobileNetwork, WakeUp};
