//! The door as a whole.

use std::{fmt, sync::Arc};

use axum::{Router, response::Response};
use buswire_bus::Buses;
use buswire_message::{Clock, Entropy};
use buswire_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, http, state::State};

/// The Backplane door over some buses. Cheap to clone; all clones are one door.
///
/// Its methods are the administration that a program offers through its own interfaces; what the
/// outside sees is [`router`](Self::router).
#[derive(Clone)]
pub struct Backplane {
    pub(crate) state: Arc<State>,
}

impl fmt::Debug for Backplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backplane").finish_non_exhaustive()
    }
}

impl Backplane {
    /// Makes the door. `store` is the one under `buses`.
    ///
    /// [`BusConfig::message_url_prefix`](buswire_bus::BusConfig) of `buses` must be
    /// [`PublicUrl::message_url_prefix`](crate::PublicUrl::message_url_prefix) of `config`.
    pub fn new(
        buses: Buses,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: Config,
    ) -> Self {
        Self { state: Arc::new(State::new(buses, store, clock, entropy, config)) }
    }

    /// The routes of 1.x and 2.0: below `/v1`, `/v1.1`, `/v1.2`, `/v1.3`, `/v2` and `/bus`; the
    /// scripts for pages, at the root and below `/static`; and all paths that begin with two slashes,
    /// which published clients send. There is no root, see [`welcome`](Self::welcome), and no
    /// fallback, see [`unknown_url`](Self::unknown_url).
    pub fn router(&self) -> Router {
        http::router(Arc::clone(&self.state))
    }

    /// The page at the root of the reference server (Backplane §13.10): how a site loads the scripts.
    /// A program that has nothing else there serves it at `/`.
    pub fn welcome(&self) -> Response {
        http::welcome(&self.state)
    }

    /// The answer of the reference server to paths that nobody serves (Backplane §3.8): a program
    /// that serves nothing else makes it the fallback of its router.
    pub fn unknown_url() -> Response {
        http::unknown_url()
    }

    /// Follows changes of accounts by other processes until `shutdown`. The owner runs it as one
    /// task; without it such changes count after
    /// [`cached_for`](crate::Limits::cached_for).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn run(&self, shutdown: CancellationToken) {
        self.state.follow_changes(shutdown).await;
    }
}
