//! The way out to capabilities that are URLs (Belay §6.6).
//!
//! The server invokes URLs through this trait alone, so that whoever embeds it decides whether and
//! where requests may go. Never here: HTTP.

use std::fmt;

use futures::future::BoxFuture;

use crate::{instance::Failure, method::Method, wire::CapUrl};

/// What an invocation gives on the wire: bcapJson, `None` for no data, or why it failed.
pub type WireResult = Result<Option<String>, Failure>;

/// Invokes the URL of a capability, by HTTP as a rule.
///
/// An implementation that faces URLs from outside has an egress policy (Belay §23.6): it bounds time
/// and size, follows no redirect, and adds neither headers nor credentials of its own.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends `body`, which is bcapJson already, with the method as it is.
    ///
    /// A status of 200 to 299 is success; its body is the wire data, an empty one is no data. Any
    /// other status fails with what it says ([`Failure::of_answer`]); no answer at all fails with
    /// [`Failure::network`], an answer that is not UTF-8 with [`Failure::bad_response`].
    ///
    /// # Errors
    ///
    /// [`Failure`], which reaches the holder of the capability as it is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the request up; whether the other side acted on it is unknown.
    fn invoke<'a>(
        &'a self,
        url: &'a CapUrl,
        method: Method,
        body: Option<String>,
    ) -> BoxFuture<'a, WireResult>;
}
