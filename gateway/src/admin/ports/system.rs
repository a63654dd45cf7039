//! The gateway itself, as an administrator sees it.

use buswire_message::Timestamp;
use futures::future::BoxFuture;

use super::AdminError;

/// How the gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemView {
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The kind of its store: `memory`, `embedded` or `redis`.
    pub store: String,
    /// Whether it takes work.
    pub ready: bool,
    /// Every address that it listens on.
    pub listeners: Vec<ListenerView>,
    /// How much there is of what, such as `simplepush.connections`; the names are a fixed set.
    pub counts: Vec<(&'static str, u64)>,
}

/// An address that the gateway listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerView {
    /// What listens there.
    pub name: &'static str,
    /// The address.
    pub address: String,
}

/// Shows how the gateway is.
pub trait SystemAdmin: Send + Sync {
    /// Takes a look.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn status(&self) -> BoxFuture<'_, Result<SystemView, AdminError>>;
}
