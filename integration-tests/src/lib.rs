//! Tools of the black-box tests: the built gateway, and the clients of other people.
//!
//! Tests start the real binary on free ports and talk to it with literal bytes through curl, Python
//! and Chromium. Never here: a type of Buswire; a codec that is wrong both ways would pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking, and says what it saw"
)]

mod again;
mod backplane;
pub mod belay;
mod broker;
mod chromium;
mod client;
mod drag;
mod gateway;
mod guide;
mod http_sink;
mod relay;
mod wait;
mod website;

pub use again::again;
pub use backplane::{Site, Visit};
pub use belay::{Shop, WirePages, eval, leave, named, outpost, tab};
pub use broker::{Broker, node_client, python_client, root};
pub use chromium::{Running, chromium, start};
pub use client::{Curl, Peer, Reply, curl, python, raw};
pub use drag::drag;
pub use gateway::{Balance, Bound, Gateway, GatewayBuilder, Single, binary, fleet_size, signal};
pub use guide::{Block, Guide};
pub use http_sink::{HttpSink, Taken};
pub use relay::Relay;
pub use wait::{DEADLINE, until};
pub use website::{Website, look, press, screenshot, text_when, value_when};
