//! What Backplane 2.0 has handed out, as an administrator sees it (Backplane §0.5).

use buswire_message::{BusName, ChannelName, Timestamp};
use futures::future::BoxFuture;

use super::{AdminError, Page, PageRequest};

/// A channel of one visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// Its name.
    pub name: ChannelName,
    /// When it ends, unless it is refreshed or posted to before.
    pub expires_at: Timestamp,
    /// How many live messages it holds.
    pub messages: usize,
}

/// Shows and ends channels, tokens and sign-ins.
pub trait AccessAdmin: Send + Sync {
    /// Shows a page of the channels of a bus, in an order of their own.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such bus, `Invalid` if it is none of 2.0, `Unavailable`.
    fn channels<'a>(
        &'a self,
        bus: &'a BusName,
        wanted: PageRequest,
    ) -> BoxFuture<'a, Result<Page<ChannelView>, AdminError>>;

    /// Ends all tokens of a client; whether there is one.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn revoke_tokens<'a>(&'a self, client_id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>>;

    /// Signs an owner out of every browser; how many sign-ins there were.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn end_sign_ins<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<usize, AdminError>>;
}
