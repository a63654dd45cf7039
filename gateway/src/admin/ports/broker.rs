//! The Majordomo broker, as an administrator sees it.

use std::time::Duration;

use buswire_mdp::core::{Dismissal, ServiceInfo, WorkerId, WorkerInfo};
use bytes::Bytes;
use futures::future::BoxFuture;

use super::AdminError;

/// Looks into the broker, directs its services and workers, and calls its services.
pub trait BrokerAdmin: Send + Sync {
    /// Shows every service, in any order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn services(&self) -> BoxFuture<'_, Result<Vec<ServiceInfo>, AdminError>>;

    /// Keeps the requests of a service back, or hands them out again. Only a service to pause need not
    /// be known.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that no worker may have, `NotFound`, `TooMany` if too many services are
    /// known, `Unavailable`.
    fn set_paused<'a>(
        &'a self,
        service: &'a str,
        paused: bool,
    ) -> BoxFuture<'a, Result<(), AdminError>>;

    /// Shows every worker that connected, in any order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerInfo>, AdminError>>;

    /// Sends a worker away.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    fn dismiss(&self, id: WorkerId, when: Dismissal) -> BoxFuture<'_, Result<(), AdminError>>;

    /// Sends a request and waits for the answer, at most `timeout`.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that no service can have, `Unavailable` if no worker took it or the worker
    /// was lost, `TooMany` if too many wait, `TimedOut`.
    fn request<'a>(
        &'a self,
        service: &'a str,
        frames: Vec<Bytes>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, AdminError>>;
}
