//! A message as a client posts it, under 1.x or 2.0.
//!
//! Never here: where it is posted to, and what the server makes of it.

use buswire_message::{MessageType, Timestamp};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// What is posted to a channel: a type, a payload, and how long it is kept.
#[derive(Debug, Clone)]
pub struct Post {
    pub(crate) kind: MessageType,
    pub(crate) sticky: bool,
    pub(crate) expire: Option<Timestamp>,
    pub(crate) payload: Box<RawValue>,
}

impl Post {
    /// A message that is not sticky and whose life is left to the bus. Servers refuse the payload
    /// `null`, and 2.0 refuses spaces in the type (Backplane §7.1).
    ///
    /// # Errors
    ///
    /// If the payload has no JSON form.
    pub fn new(kind: MessageType, payload: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { kind, sticky: false, expire: None, payload: to_raw_value(payload)? })
    }

    /// The same, kept for late readers: for the longest time that the bus keeps anything, unless it
    /// says when it expires (Backplane §5.1).
    #[must_use]
    pub fn sticky(self) -> Self {
        Self { sticky: true, ..self }
    }

    /// The same, expiring at `at`, which is sent in whole seconds, rounded down (Backplane §5.2).
    #[must_use]
    pub fn expiring(self, at: Timestamp) -> Self {
        Self { expire: Some(at), ..self }
    }

    /// Its type.
    pub const fn kind(&self) -> &MessageType {
        &self.kind
    }

    /// Whether it is sticky.
    pub const fn is_sticky(&self) -> bool {
        self.sticky
    }

    /// When it expires; `None` leaves it to the bus.
    pub const fn expire(&self) -> Option<Timestamp> {
        self.expire
    }

    /// Its payload, as JSON text.
    pub fn payload(&self) -> &str {
        self.payload.get()
    }
}
