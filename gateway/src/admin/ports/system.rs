//! The gateway itself, as an administrator sees it.

use buswire_message::Timestamp;
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

use super::AdminError;
use crate::{config::ShownSetting, ops::Phase};

/// How the gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemView {
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The kind of its store: `memory`, `embedded` or `redis`.
    pub store: String,
    /// Where in its life it is.
    pub phase: Phase,
    /// Whether it wants work.
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

/// Which program this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionView {
    /// Its version.
    pub version: &'static str,
    /// What it was built of; `None` if whoever built it did not say.
    pub build: Option<&'static str>,
    /// What can be left out and is there, in the order of the names.
    pub features: Vec<&'static str>,
    /// The protocols that it speaks, with their versions.
    pub protocols: Vec<(&'static str, Vec<&'static str>)>,
}

/// Shows how the gateway is, and takes it out of service.
pub trait SystemAdmin: Send + Sync {
    /// Takes a look.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn status(&self) -> BoxFuture<'_, Result<SystemView, AdminError>>;

    /// Which program it is.
    fn version(&self) -> VersionView;

    /// Every setting in force.
    fn configuration(&self) -> Vec<ShownSetting>;

    /// A backup of the store, part by part.
    ///
    /// # Errors
    ///
    /// Of the stream: `Refused` while another one is made, `Unavailable`, `Internal`.
    fn backup(&self) -> BoxStream<'static, Result<Bytes, AdminError>>;

    /// Takes the gateway out of service.
    ///
    /// # Errors
    ///
    /// `Refused` while it starts or stops.
    fn drain(&self) -> Result<Phase, AdminError>;

    /// Takes it back into service.
    ///
    /// # Errors
    ///
    /// `Refused` while it starts or stops.
    fn undrain(&self) -> Result<Phase, AdminError>;
}
