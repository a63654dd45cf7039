//! Why the relay does not do what it is asked, and the one place that says with which status.
//!
//! Never here: what a window itself answered, beyond carrying it.

use crate::instance::Failure;

/// Why an invocation of a window failed (Belay §7.2, §22.4).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// 400: the method is none.
    #[error("bad request")]
    BadMethod,
    /// 400: not an `urn:x-cap` serialisation.
    #[error("Unparsable capability")]
    Unparsable,
    /// 404: nobody has registered the instance at this gateway or one that shares its store, at present.
    #[error("not found")]
    NotRegistered,
    /// 429: too many calls wait, or the caller has no tokens left.
    #[error("too many requests")]
    TooMany,
    /// 503: the gateway shuts down.
    #[error("unavailable")]
    Draining,
    /// 504: the window went away before it answered.
    #[error("CapTunnel communication failed")]
    Lost,
    /// 504: the window did not answer in time.
    #[error("Router Timeout")]
    TimedOut,
    /// The window answered with a failure of its own.
    #[error("the window answered {}", .0.status())]
    Answered(Failure),
}

impl RelayError {
    /// The status and message that the caller is told.
    pub fn into_failure(self) -> Failure {
        let status = match &self {
            Self::BadMethod | Self::Unparsable => 400,
            Self::NotRegistered => 404,
            Self::TooMany => 429,
            Self::Draining => 503,
            Self::Lost | Self::TimedOut => 504,
            Self::Answered(failure) => return failure.clone(),
        };
        Failure::new(status, self.to_string())
    }
}

/// Why an id is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not an instance id.
    BadId,
    /// It takes a proof that was not given.
    NoProof,
    /// It is somebody's.
    Taken,
    /// It was somebody's.
    Retired,
    /// The connection or its address has too many, or sends too much.
    TooMany,
    /// The relay is full or the store is down.
    Unavailable,
}

impl Refusal {
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::BadId => 400,
            Self::NoProof => 403,
            Self::Taken => 409,
            Self::Retired => 410,
            Self::TooMany => 429,
            Self::Unavailable => 503,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::BadId => "bad request",
            Self::NoProof => "forbidden",
            Self::Taken => "already routed",
            Self::Retired => "gone",
            Self::TooMany => "too many requests",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why the relay closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The frame said `bye`.
    Bye,
    /// The gateway shuts down.
    Draining,
    /// Nothing was heard for too long.
    Silent,
    /// It sends too much.
    Flood,
    /// It does not read what it is sent.
    Slow,
    /// The relay needs its memory for others.
    Crowded,
    /// A message is too long.
    TooBig,
    /// A message is not text.
    Binary,
}

impl CloseReason {
    /// The code of the close frame (RFC 6455 §7.4.1).
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Bye => 1000,
            Self::Draining => 1001,
            Self::Binary => 1003,
            Self::Silent | Self::Flood | Self::Slow => 1008,
            Self::TooBig => 1009,
            Self::Crowded => 1013,
        }
    }

    /// The word in the close frame and in the metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Draining => "draining",
            Self::Silent => "silent",
            Self::Flood => "flood",
            Self::Slow => "slow",
            Self::Crowded => "crowded",
            Self::TooBig => "too big",
            Self::Binary => "binary",
        }
    }
}
