//! The broker core on a ROUTER socket, in an operating system thread of its own.
//!
//! The only place where the broker meets a socket, the clock and the runtime. Other threads reach
//! it through a bounded queue and a wake-up; it reaches them through the senders they put there.

mod config;
mod curve;
mod handle;
mod io;
mod links;
mod local;
mod metering;
mod reporting;

pub use config::{BrokerConfig, StartError};
pub(crate) use curve::key_from_z85;
pub use curve::{AllowedKeys, CurveConfig, CurveSecret};
pub use handle::{BrokerHandle, RegisterError};
pub use links::LinkSettings;
pub use local::{BoxFuture, LocalRequest, LocalService};

pub use crate::core::RequestError;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::core::BrokerCore;
use crate::io::{Clock, WakeOnDrop, random_u64, wake_pair};
use handle::{Endpoints, Shared};

/// A Majordomo broker.
#[derive(Debug)]
pub struct Broker;

impl Broker {
    /// Binds every endpoint, starts the broker's thread and returns the handle to it.
    ///
    /// The broker stops when [`BrokerHandle::shutdown`] is called or the last handle is dropped.
    ///
    /// # Errors
    ///
    /// A [`StartError`] that names the endpoint or setting at fault; nothing stays bound.
    pub fn start(config: BrokerConfig) -> Result<BrokerHandle, StartError> {
        let sockets = config::Sockets::open(&config)?;
        let endpoints = Endpoints {
            clients: sockets.clients.endpoints.clone(),
            workers: sockets.for_workers().endpoints.clone(),
            links: sockets.links.as_ref().map(|links| links.endpoint.clone()),
        };
        let (waker, wake_source) = wake_pair().map_err(StartError::Thread)?;
        let waker = Arc::new(waker);
        let (sender, commands) = mpsc::channel(config.commands_max.max(1));
        let (registrations, registered) = watch::channel(0);
        let thread = io::IoThread {
            core: BrokerCore::new(config.core.clone(), random_u64().to_be_bytes()),
            clock: Clock::start(),
            wakes: wake_source,
            commands,
            callers: local::Callers::new(&config, sender.downgrade(), Arc::clone(&waker)),
            sockets,
            registrations,
            curve: config.curve,
            batch_max: config.batch_max.max(1),
        };
        std::thread::Builder::new()
            .name("mdp-broker".to_owned())
            .spawn(move || thread.run())
            .map_err(StartError::Thread)?;
        let (clients, workers) = (&endpoints.clients, &endpoints.workers);
        // One socket serves both where workers have no endpoints of their own.
        let workers = Some(workers).filter(|workers| *workers != clients);
        let links = endpoints.links.as_deref();
        let workers = workers.map(tracing::field::debug);
        tracing::info!(?clients, workers, links, "broker started");
        let shared = Shared::new(sender, endpoints, registered, WakeOnDrop(waker));
        Ok(BrokerHandle::new(shared))
    }
}
