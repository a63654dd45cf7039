//! The Majordomo broker, as an administrator sees it.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::AdminError;

/// A service of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// How many workers offer it.
    pub workers: u32,
    /// How many of them wait for work.
    pub idle: u32,
    /// How many requests wait for a worker.
    pub queued: u32,
}

/// Looks into the broker and calls its services.
pub trait BrokerAdmin: Send + Sync {
    /// Shows every service, in any order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn services(&self) -> BoxFuture<'_, Result<Vec<ServiceView>, AdminError>>;

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
