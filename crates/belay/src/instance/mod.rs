//! Capabilities within one program (Belay §§5–7): no HTTP, no store, no gateway.
//!
//! An instance is a [`CapServer`]. It grants [`Item`]s, and whoever holds a [`Capability`] invokes it.
//! Instances of one program reach each other through a resolver
//! ([`CapServer::set_resolver`]), those elsewhere through an [`Interface`] that somebody implements
//! over whatever connects them, and URLs through a [`Transport`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use buswire_belay::{InstanceId, instance::{CapServer, Function}};
//! use buswire_store::system::SystemEntropy;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let entropy = Arc::new(SystemEntropy);
//! let server = CapServer::new(InstanceId::temporary(&*entropy), entropy);
//! let echo = server.grant(Function::sync(|request| Ok(request.into_data())))?;
//! assert_eq!(echo.post("hello").await?, Some("hello".into()));
//! server.revoke(&echo);
//! assert!(echo.post("hello").await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `capability` | [`Capability`] |
//! | `server`, `named` | [`CapServer`] |
//! | `item`, `run` | [`Item`] and the rules around it |
//! | `interface`, `transport` | the ways in and out |
//! | `snapshot`, `saving`, `persist` | what survives a restart, and when it is saved |
//! | `failure` | [`Failure`] |
//!
//! Never here: the gateway's grants in a store; they are those of [`crate::CapServer`].

mod capability;
mod failure;
mod interface;
mod item;
mod named;
mod persist;
mod run;
mod saving;
mod server;
mod snapshot;
mod transport;

pub use capability::{Capability, InvokeError};
pub use failure::Failure;
pub use interface::{Interface, PrivateInterface, PublicInterface};
pub use item::{Function, Handler, Implementation, Item, Outcome, Request, UnusableItem};
pub use server::{CapServer, GrantError};
pub use snapshot::SnapshotError;
pub use transport::{Transport, WireResult};
