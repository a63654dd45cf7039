//! Messages and what travels with them.
//!
//! Never here: how a protocol shows a message or a store keeps it.

use std::{fmt, str::FromStr, sync::Arc};

use smallvec::SmallVec;

use crate::{
    id::MessageId,
    name::{BusName, ChannelName, MessageType, RouteName, SourceUrl},
    payload::Payload,
    scope::Subject,
    time::Timestamp,
    trace::TraceParent,
};

/// How many routes a message may have taken (architecture §6).
pub const HOP_LIMIT: usize = 8;

/// A message on a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name and its place on the bus.
    pub id: MessageId,
    /// The bus it is on.
    pub bus: BusName,
    /// Its channel within the bus.
    pub channel: ChannelName,
    /// Who it is from.
    pub source: SourceUrl,
    /// Its type.
    pub kind: MessageType,
    /// Whether it is kept for late readers.
    pub sticky: bool,
    /// It is delivered as long as the time is before this.
    pub expires_at: Timestamp,
    /// Its content.
    pub payload: Payload,
    /// What is Buswire's own about it.
    pub headers: Headers,
}

impl Message {
    /// The message as a [`Scope`](crate::Scope) sees it. `message_url_prefix` is the public URL of
    /// messages without the id, `https://host/v2/message/`.
    pub fn subject<'a>(&'a self, message_url_prefix: &'a str) -> Subject<'a> {
        Subject {
            bus: &self.bus,
            channel: self.channel.as_str(),
            kind: self.kind.as_str(),
            source: self.source.as_str(),
            sticky: self.sticky,
            message_url: Some((message_url_prefix, self.id)),
        }
    }
}

/// A message before a bus has given it its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Its channel within the bus it is published on.
    pub channel: ChannelName,
    /// Who it is from.
    pub source: SourceUrl,
    /// Its type.
    pub kind: MessageType,
    /// Whether it is kept for late readers.
    pub sticky: bool,
    /// When it is to expire; `None` leaves it to the bus.
    pub expires_at: Option<Timestamp>,
    /// Its content.
    pub payload: Payload,
    /// What is Buswire's own about it.
    pub headers: Headers,
}

/// What is Buswire's own about a message and not the protocol's that carried it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Headers {
    /// Its place in a trace: the span that it comes from. Of a message on a bus with a tracer, which is
    /// any bus of the gateway, there always is one.
    pub traceparent: Option<TraceParent>,
    /// The routes it has taken, first to last; at most [`HOP_LIMIT`].
    pub via: SmallVec<[RouteName; 2]>,
    /// The message that this one answers.
    pub in_reply_to: Option<MessageId>,
    /// Makes publishing repeatable: a bus keeps one message for each key.
    pub dedupe_key: Option<DedupeKey>,
    /// The type of the body where it was not JSON; the payload is then base64 in a JSON string.
    pub content_type: Option<ContentType>,
    /// The door that it came in by; `None` if a route made it.
    pub door: Option<Door>,
}

/// What a message came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// A post of Backplane 1.x.
    Backplane1,
    /// A post of Backplane 2.0.
    Backplane2,
    /// A PUT to an inbound endpoint of SimplePush.
    SimplePush,
    /// A request of Majordomo, by a capability or by a key that the configuration names.
    Majordomo,
    /// An invocation of a capability over HTTP, or by a route.
    Belay,
    /// A call of an administrator.
    Admin,
}

impl Door {
    /// Every door, in the order of its number in stored messages.
    pub const ALL: [Self; 6] = [
        Self::Backplane1,
        Self::Backplane2,
        Self::SimplePush,
        Self::Majordomo,
        Self::Belay,
        Self::Admin,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backplane1 => "backplane/1",
            Self::Backplane2 => "backplane/2",
            Self::SimplePush => "simplepush",
            Self::Majordomo => "majordomo",
            Self::Belay => "belay",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Door {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        Self::ALL.into_iter().find(|door| door.as_str() == text).ok_or(HeaderError::Door)
    }
}

/// Why a text is not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a dedupe key.
    #[error("a dedupe key has 1 to 256 bytes")]
    DedupeKey,
    /// Not the name of a door.
    #[error("not the name of a door")]
    Door,
    /// Not a media type.
    #[error("a content type has the form type/subtype and at most 256 bytes")]
    ContentType,
}

/// A key under which a bus keeps one message, however often it is published: 1 to 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupeKey(Arc<str>);

impl DedupeKey {
    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DedupeKey {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        if (1..=256).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(HeaderError::DedupeKey)
        }
    }
}

/// The media type of a body that was not JSON, such as `application/octet-stream`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentType(Arc<str>);

impl ContentType {
    /// The text of the media type.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContentType {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        let has_both = text.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        if text.len() <= 256 && printable && has_both {
            Ok(Self(text.into()))
        } else {
            Err(HeaderError::ContentType)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_headers_have_bounds() {
        assert!("a".repeat(256).parse::<DedupeKey>().is_ok());
        assert!("a".repeat(257).parse::<DedupeKey>().is_err());
        assert!("application/octet-stream".parse::<ContentType>().is_ok());
        for text in ["", "text", "/x", "text/", "text/ü", "a/b\r\n"] {
            assert!(text.parse::<ContentType>().is_err(), "{text}");
        }
    }

    #[test]
    fn doors_have_names() {
        for door in Door::ALL {
            assert_eq!(door.as_str().parse(), Ok(door));
        }
        assert_eq!("window".parse::<Door>(), Err(HeaderError::Door));
    }
}
