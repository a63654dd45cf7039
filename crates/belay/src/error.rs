//! How an invocation fails, and the one place that says with which status and message.
//!
//! Never here: anything of the backing transport. Messages name no id, no URL and no detail
//! (Belay §21.5), which is why they are not free text.

use buswire_store::StoreError;

use crate::method::MethodSet;

/// Why an invocation failed (Belay §7, §21.5).
///
/// `Display` is the message that goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BcapError {
    /// 400: the body rules, a decoding error, or an argument of the wrong shape.
    #[error("bad request")]
    BadRequest,
    /// 403: outside the channels or types, or beyond what a grantor may grant.
    #[error("forbidden")]
    Forbidden,
    /// 404: unknown, revoked, expired, exhausted or suspended; which of them is not told.
    #[error("not found")]
    NotFound,
    /// 405: the item does not have the method, or the limits take it away.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// What is allowed.
        allow: MethodSet,
    },
    /// 409: more than one live grant fits a regrant (Belay §20.7).
    #[error("ambiguous regrant")]
    AmbiguousRegrant,
    /// 413: the body is over a bound.
    #[error("too large")]
    TooLarge,
    /// 415: the body is of a media type that the item does not take.
    #[error("unsupported media type")]
    UnsupportedMediaType,
    /// 429: no room in a rate limit.
    #[error("too many requests")]
    TooManyRequests {
        /// Seconds after which there will be room, at least 1.
        retry_after_secs: u32,
    },
    /// 500: a bug in the item, or a PUT or DELETE that gave a result.
    #[error("internal server error")]
    Internal,
    /// 502: the backing transport answered nonsense.
    #[error("bad gateway")]
    BadGateway,
    /// 503: the backing transport or the store is down, or the gateway is shutting down.
    #[error("unavailable")]
    Unavailable {
        /// Seconds after which trying again makes sense, at least 1.
        retry_after_secs: u32,
    },
    /// 504: the backing transport did not answer in time.
    #[error("timeout")]
    Timeout,
}

/// Seconds after which a caller tries again when nothing better is known.
pub(crate) const RETRY_AFTER_SECS: u32 = 1;

impl BcapError {
    /// The failure of something that is down for the moment.
    pub const fn unavailable() -> Self {
        Self::Unavailable { retry_after_secs: RETRY_AFTER_SECS }
    }

    /// The HTTP status (Belay §21.5).
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::AmbiguousRegrant => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::TooManyRequests { .. } => 429,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Unavailable { .. } => 503,
            Self::Timeout => 504,
        }
    }

    /// The message that goes over the wire.
    pub fn message(self) -> String {
        self.to_string()
    }

    /// The seconds of a `Retry-After`, if the failure has one.
    pub const fn retry_after_secs(self) -> Option<u32> {
        match self {
            Self::TooManyRequests { retry_after_secs } | Self::Unavailable { retry_after_secs } => {
                Some(retry_after_secs)
            }
            _ => None,
        }
    }
}

/// Maps a failure of the store to what the holder of a capability is told: down, or broken.
///
/// The cause is logged where it happened; the holder learns nothing of it.
pub(crate) fn of_store(error: &StoreError) -> BcapError {
    match error {
        StoreError::Retry(_) | StoreError::Unavailable(_) => BcapError::unavailable(),
        _ => BcapError::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_messages_are_those_of_the_table() {
        // Rule: belay 21.5 — every failure has the status and the message of the table
        let table = [
            (BcapError::BadRequest, 400, "bad request"),
            (BcapError::Forbidden, 403, "forbidden"),
            (BcapError::NotFound, 404, "not found"),
            (BcapError::MethodNotAllowed { allow: MethodSet::GET }, 405, "method not allowed"),
            (BcapError::AmbiguousRegrant, 409, "ambiguous regrant"),
            (BcapError::TooLarge, 413, "too large"),
            (BcapError::UnsupportedMediaType, 415, "unsupported media type"),
            (BcapError::TooManyRequests { retry_after_secs: 2 }, 429, "too many requests"),
            (BcapError::Internal, 500, "internal server error"),
            (BcapError::BadGateway, 502, "bad gateway"),
            (BcapError::unavailable(), 503, "unavailable"),
            (BcapError::Timeout, 504, "timeout"),
        ];
        for (error, status, message) in table {
            assert_eq!((error.status(), error.message().as_str()), (status, message));
            assert_eq!(error.retry_after_secs().is_some(), status == 429 || status == 503);
        }
    }
}
