//! Dead letters, as an administrator sees them.

use buswire_message::{Message, MessageId, Timestamp};
use futures::future::BoxFuture;

use super::AdminError;

/// A message that a route gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterView {
    /// The message as it came to the route.
    pub message: Message,
    /// How often it was tried.
    pub attempts: u32,
    /// The last failures, oldest first: when, and what it came to.
    pub failures: Vec<(Timestamp, String)>,
    /// When it was given up.
    pub given_up_at: Timestamp,
}

/// Some dead letters of a route.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeadLetterPage {
    /// In the order of their messages.
    pub letters: Vec<DeadLetterView>,
    /// The messages of those among them that can't be read.
    pub unreadable: Vec<MessageId>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// Administers dead letters. Changes are stored when a future is done.
pub trait DeadLetterAdmin: Send + Sync {
    /// Shows dead letters of a route after a message.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    fn list<'a>(
        &'a self,
        route: &'a str,
        after: Option<MessageId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<DeadLetterPage, AdminError>>;

    /// Shows one.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    fn get<'a>(
        &'a self,
        route: &'a str,
        id: MessageId,
    ) -> BoxFuture<'a, Result<DeadLetterView, AdminError>>;

    /// Tries one again, once; `Some` says why it failed again.
    ///
    /// # Errors
    ///
    /// `NotFound`, also if it went meanwhile; `Refused` if the sink can't be reached from here, `Unavailable`.
    fn replay<'a>(
        &'a self,
        route: &'a str,
        id: MessageId,
    ) -> BoxFuture<'a, Result<Option<String>, AdminError>>;

    /// Drops one for good.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    fn drop_one<'a>(
        &'a self,
        route: &'a str,
        id: MessageId,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
}
