//! What became of messages, as an administrator sees it.

use buswire_message::{Message, MessageId, Timestamp};
use futures::future::BoxFuture;

use super::AdminError;

/// A message and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopView {
    /// The message.
    pub message: Message,
    /// What became of it on each route, by name.
    pub passages: Vec<PassageView>,
}

/// The passage of a message by a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassageView {
    /// The name of the route.
    pub route: String,
    /// Where it leads, without what is secret about it.
    pub sink: String,
    /// How it stands.
    pub state: PassageState,
    /// How often it was tried when it ended.
    pub attempts: u32,
    /// The last failures, oldest first: when, and what it came to.
    pub failures: Vec<(Timestamp, String)>,
    /// What came of it on buses.
    pub results: Vec<HopView>,
}

/// How the passage of a message by a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassageState {
    /// It has not ended.
    Pending,
    /// The sink took it.
    Delivered(Timestamp),
    /// It is a dead letter.
    Dead(Timestamp),
    /// It came by this route and does not take it again.
    Skipped,
    /// It is behind the route and no more is known.
    Passed,
}

/// Shows traces.
pub trait TraceAdmin: Send + Sync {
    /// Shows the first message that one came of, and everything that came of that.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    fn trace(&self, id: MessageId) -> BoxFuture<'_, Result<HopView, AdminError>>;
}
