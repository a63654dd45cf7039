//! The message model of Buswire: what every door, bus and store agrees on.
//!
//! Everything that enters Buswire becomes a [`Message`] on a bus; everything that leaves is delivered
//! from a bus. This crate holds the words of that sentence: [names](BusName), [ids](MessageId),
//! [scopes](Scope), [retention](Retention), [versions](Version), [secrets](Secret) and the two things
//! that a core must be given instead of taking them itself: [time](Clock) and
//! [randomness](Entropy).
//!
//! | module | holds |
//! |---|---|
//! | `time` | [`Timestamp`], [`Rfc3339`] forms, the [`Clock`] trait |
//! | `id` | [`Sequence`], [`MessageId`], [`Cursor`] |
//! | `name` | [`BusName`], [`ChannelName`], [`MessageType`], [`SourceUrl`], [`RouteName`] |
//! | `payload` | [`Payload`]: JSON text, validated once, never re-serialised |
//! | `message` | [`Message`], [`NewMessage`], [`Headers`] |
//! | `trace` | [`TraceParent`], [`Tracer`]: the place of work in a distributed trace |
//! | `scope` | [`Scope`], the one filter language |
//! | `retention` | [`Retention`], how long a message is kept |
//! | `version` | [`Version`], a SimplePush version |
//! | `limiter` | [`Limiter`], how often something may happen |
//! | `secret` | [`Secret`], [`SecretHash`], the [`Entropy`] trait |
//!
//! Never here: I/O, a clock, a source of randomness, serialisation for a protocol or a store.

mod id;
mod limiter;
mod message;
mod name;
mod payload;
mod retention;
mod scope;
mod secret;
mod time;
mod trace;
mod tracestate;
mod version;

pub use id::{Cursor, MessageId, MessageIdError, Sequence};
pub use limiter::{Limiter, TooOften, source_of};
pub use message::{
    ContentType, DedupeKey, Door, HOP_LIMIT, HeaderError, Headers, Message, NewMessage,
};
pub use name::{BusName, ChannelName, MessageType, NameError, Realm, RouteName, SourceUrl};
pub use payload::{Payload, PayloadError};
pub use retention::{Retention, RetentionError};
pub use scope::{Field, Scope, ScopeError, ScopeParseErrorKind, Subject};
pub use secret::{Entropy, Secret, SecretHash, mint_alphanumeric, mint_base64url, mint_hex};
pub use time::{Clock, Rfc3339, TimeError, Timestamp};
pub use trace::{
    OpenSpan, Recorder, SampleRatio, Span, TraceParent, TraceParentError, Tracer, Work,
};
pub use tracestate::TraceState;
pub use version::{Version, VersionError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
