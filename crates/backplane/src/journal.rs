//! Where changes by provisioning are written down, for a program that keeps a record of them.
//!
//! Never here: storing one; what a change does.

use std::{fmt, net::SocketAddr};

use buswire_store::{BoxFuture, StoreError};

/// One change by provisioning over HTTP, or the try of one. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioning {
    /// What the administrator calls itself. If a [`Journal::refused`] try had a wrong secret, this is a
    /// name that an administrator has, and nothing shows who used it.
    pub administrator: String,
    /// From which address; `None` if the program does not say.
    pub address: Option<SocketAddr>,
    /// The request without its body: `POST /v2/provision/client/update`. All names of 1.x are `/v1`.
    pub call: String,
    /// What it is about: a kind and a name, as `client/ID`, `owner/NAME`, `user/NAME`, `bus/v2/NAME`,
    /// and `grant/ID` with the id of the client; the kind alone if no name could be read.
    pub resource: String,
    /// The entry of the request as JSON, secrets left out; empty if it was not read.
    pub request: String,
}

/// How a change ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisioned {
    /// It was made. What was there before and is there since, as lists show it (Backplane §13.2), as JSON.
    Made {
        /// `None` if there was nothing.
        before: Option<String>,
        /// `None` if there is nothing any more.
        after: Option<String>,
    },
    /// There was nothing to change: this is why, and nothing was changed.
    NotFound(String),
    /// It is not allowed or not well-formed: this is why, and nothing was changed.
    Refused(String),
    /// The gateway failed; a part may have been changed.
    Failed(String),
}

/// Keeps a record of what is provisioned.
pub trait Journal: Send + Sync + fmt::Debug {
    /// Writes down that a change begins. It is made only if this succeeds.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the change is then not made, whether it was written down or not.
    fn begin(&self, change: Provisioning) -> BoxFuture<'_, Result<Box<dyn Recording>, StoreError>>;

    /// Writes down a try that was refused before anything began, if there is room for it.
    fn refused(&self, tried: Provisioning, denied: Denied) -> BoxFuture<'_, ()>;
}

/// Why a try was refused before anything began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The secret is not the administrator's. Whoever tried it is a stranger.
    Secret,
    /// The administrator asked for something that is not well-formed: this is what.
    Request(String),
}

/// A change that was written down and is under way. Dropped if nobody can tell how it ended.
pub trait Recording: Send {
    /// Writes down how it ended. The answer waits for it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the change may have been made.
    fn end(self: Box<Self>, ended: Provisioned) -> BoxFuture<'static, Result<(), StoreError>>;
}
