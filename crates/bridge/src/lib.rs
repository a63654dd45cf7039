//! The bridge: routes that hand the messages of buses to sinks.
//!
//! A [`Route`] is a scope, a sink and how hard to try. Delivery is at least once, in order per
//! channel, and a channel whose sink fails holds up no other channel (architecture §6). What was
//! delivered is stored, so a restart goes on where it was; what can't be delivered becomes a dead
//! letter, never nothing.
//!
//! | module | holds |
//! |---|---|
//! | `route` | [`Route`]: parsed, valid by construction |
//! | `uri` | [`SinkUri`], where a route leads |
//! | `mapping` | [`Mapping`], what a route changes about messages |
//! | `delivery` | the sans-IO core: which message is tried when, and what is settled |
//! | `sink` | the [`Sink`] trait that each door's adapter implements |
//! | `ledger`, `letters` | what is stored of a route; its dead letters |
//! | `owners` | what is stored of who runs a route |
//! | `lease` | sans-IO: which gateway is alive, and which is to run a route |
//! | `keeper` | the driver of this gateway's lease |
//! | `runner` | the driver of one route |
//! | `routes`, `reconcile` | [`Routes`]: what is made and shown, and what of it runs here |
//! | `trace` | what became of a message on each route, and what came of it |
//! | `replay` | dead letters: shown, tried again, dropped |
//!
//! Never here: what a sink does with a message; each door's adapter is in the gateway.

mod delivery;
mod error;
#[cfg(any(test, feature = "__harness"))]
pub mod harness;
mod keeper;
mod lease;
mod ledger;
mod letters;
mod mapping;
mod owners;
mod reconcile;
mod replay;
mod route;
mod routes;
mod runner;
mod sink;
mod trace;
mod uri;

pub use delivery::{Failure, Failures, Limits};
pub use error::RouteError;
pub use lease::LeaseTiming;
pub use letters::{DeadLetter, DeadLetters};
pub use mapping::{FIELDS_MAX, JsonPointer, Mapping, MappingError};
pub use replay::Replayed;
pub use route::{RetryPolicy, Route, RouteChange, RouteDescription, RouteProblem, Start};
pub use routes::{RouteCounts, RouteInfo, RouteState, Routes, RoutesConfig, SWEEP_EVERY};
pub use sink::{Delivery as SinkDelivery, OpenSink, Reach, Reply, Sink, SinkError};
pub use trace::{Passage, PassageFate};
pub use uri::{SinkUri, SinkUriError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
