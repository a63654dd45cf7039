//! What a route hands messages to.
//!
//! Never here: a sink; each door's adapter is in the gateway.

use std::{fmt, sync::Arc};

use buswire_bus::StoredMessage;
use buswire_message::{ContentType, DedupeKey, Payload, RouteName, Timestamp, TraceParent};
use buswire_store::BoxFuture;
use smallvec::SmallVec;

use crate::{error::RouteError, route::RouteProblem, uri::SinkUri};

/// One attempt to deliver one message.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<StoredMessage>,
    /// The routes it has taken, this one included.
    pub via: SmallVec<[RouteName; 2]>,
    /// The same for every attempt of this message on this route, and for no other: a sink that can
    /// forget repeats uses it.
    pub dedupe_key: DedupeKey,
    /// The place of the delivery in the trace of the message: what goes out with it.
    pub traceparent: TraceParent,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the attempt is given up.
    pub deadline: Timestamp,
}

/// The answer of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its content.
    pub payload: Payload,
    /// Its type where it was not JSON; the payload is then base64 in a JSON string.
    pub content_type: Option<ContentType>,
}

/// Why a sink did not take a message. What `Display` writes goes to logs and spans too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// It may take it later. The text is shown to administrators and holds no secret.
    #[error("{0}")]
    Retry(String),
    /// It will never take it. The text is shown to administrators and holds no secret.
    #[error("{0}")]
    Reject(String),
    /// It may take it later; the text is what the other end says in its own words. Shown to
    /// administrators with the message, which it may quote, and nowhere else.
    #[error("the other end answered an error")]
    Answered(String),
    /// It did not answer in time; it may have taken the message.
    #[error("it took too long")]
    TimedOut,
    /// It panicked: a mistake in the sink.
    #[error("the sink failed inside")]
    Panicked,
}

/// Takes messages from routes.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Hands over one message and returns the answer, if the sink gives one. When it returns `Ok`,
    /// the message is as safe there as that place keeps things.
    ///
    /// # Cancel safety
    ///
    /// Dropped at the deadline and on shutdown; the message may then have been taken, and is tried
    /// again.
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>>;
}

/// From where a sink can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From any gateway alike.
    Anywhere,
    /// It is in the memory of one gateway, and of this one.
    Here,
    /// It can't be reached from here.
    Elsewhere,
}

/// Opens sinks by URI; the gateway implements it over the doors that it runs.
pub trait OpenSink: Send + Sync + fmt::Debug {
    /// Makes the sink for `uri`. Does not connect anywhere.
    ///
    /// # Errors
    ///
    /// [`RouteProblem::SinkUnavailable`] if this process has no such door.
    fn open(&self, uri: &SinkUri) -> Result<Arc<dyn Sink>, RouteProblem>;

    /// Looks whether what `uri` names is there, as far as this process can tell without calling
    /// anybody. Asked when a route is made; a sink that goes later makes attempts fail.
    ///
    /// # Errors
    ///
    /// [`RouteError::Invalid`] with [`RouteProblem::SinkUnavailable`] if it is not there; any other if
    /// that can't be told.
    fn check<'a>(&'a self, uri: &'a SinkUri) -> BoxFuture<'a, Result<(), RouteError>>;

    /// From where each of `uris` can be reached at present, in their order. Asked every beat if other
    /// gateways share the store. Unless it is said otherwise, all from anywhere.
    fn reach<'a>(&'a self, uris: &'a [SinkUri]) -> BoxFuture<'a, Vec<Reach>> {
        Box::pin(std::future::ready(vec![Reach::Anywhere; uris.len()]))
    }
}
