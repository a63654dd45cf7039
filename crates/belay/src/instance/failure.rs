//! How an invocation between instances fails (Belay §7).
//!
//! Unlike [`BcapError`], which the gateway's own endpoint answers, this one carries whatever status
//! and text the other side gave. Never here: ids, URLs.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::Value;

use crate::{error::BcapError, method::MethodSet};

/// A status as in HTTP and a message (Belay §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    status: u16,
    message: String,
}

/// The record that goes over a tunnel (Belay §7.1, §9).
impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let reason = self.reason();
        let mut record = to.serialize_struct("Failure", 2 + usize::from(reason.is_some()))?;
        record.serialize_field("status", &self.status)?;
        record.serialize_field("message", &self.message)?;
        match reason {
            Some(reason) => record.serialize_field("reason", reason)?,
            None => record.skip_field("reason")?,
        }
        record.end()
    }
}

impl Failure {
    /// A failure with a text of its own.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// A failure with the standard text of its status; empty if there is none.
    pub fn of_status(status: u16) -> Self {
        let standard = STANDARD.iter().find(|error| error.status() == status);
        Self::new(status, standard.map(|error| error.message()).unwrap_or_default())
    }

    /// The failure that an HTTP answer says: its text is that of the body if there is one, else the
    /// reason phrase, which HTTP/2 does not have, else the standard text (Belay §21.5).
    pub fn of_answer(status: u16, reason_phrase: &str, body: &str) -> Self {
        let body = serde_json::from_str::<Value>(body).ok();
        let message = body.as_ref().and_then(|body| body.get("error")?.get("message")?.as_str());
        match message.unwrap_or(reason_phrase) {
            "" => Self::of_status(status),
            message => Self::new(status, message),
        }
    }

    /// No HTTP status was ever received: status 0, reason `network` (Belay §7.2).
    pub fn network() -> Self {
        Self::new(0, "")
    }

    /// The answer can't be read: it is no bcapJson, or not even UTF-8 (Belay §7.2).
    pub fn bad_response() -> Self {
        Self::new(502, "bad response")
    }

    /// The status of the other side; 0 if there was none.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The text of the other side; may be empty.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `network` if no status was ever received.
    pub const fn reason(&self) -> Option<&'static str> {
        if self.status == 0 { Some("network") } else { None }
    }

    /// Takes what somebody else calls an error, whatever it is: without an integer status it is a
    /// 500, without a text it has the standard one; everything else is dropped (Belay §6.5).
    pub fn from_json(error: &Value) -> Self {
        let status = error.get("status").and_then(Value::as_u64);
        let status = status.and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
        match error.get("message").and_then(Value::as_str) {
            Some(message) => Self::new(status, message),
            None => Self::of_status(status),
        }
    }
}

// One error for each status, for its text.
const STANDARD: [BcapError; 12] = [
    BcapError::BadRequest,
    BcapError::Forbidden,
    BcapError::NotFound,
    BcapError::MethodNotAllowed { allow: MethodSet::NONE },
    BcapError::AmbiguousRegrant,
    BcapError::TooLarge,
    BcapError::UnsupportedMediaType,
    BcapError::TooManyRequests { retry_after_secs: 1 },
    BcapError::Internal,
    BcapError::BadGateway,
    BcapError::Unavailable { retry_after_secs: 1 },
    BcapError::Timeout,
];

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<BcapError> for Failure {
    fn from(error: BcapError) -> Self {
        Self::new(error.status(), error.message())
    }
}
