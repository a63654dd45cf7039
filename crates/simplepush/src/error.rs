//! What goes wrong in a conversation, and what the peer is told of it (SimplePush §5.4, §6.2).
//!
//! Never here: failures of the HTTP endpoint (`endpoint`), detail for the log.

/// A fault of the client that ends its connection after an error reply (R-ERR-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientFault {
    /// `messageType` is not a string (errno 101).
    #[error("Invalid command header")]
    HeaderNotText,
    /// `messageType` is unknown, empty or missing (errno 102).
    #[error("Unsupported command type")]
    UnsupportedType,
    /// A member that the message needs is absent (errno 107).
    #[error("Missing one or more required command fields")]
    MissingFields,
    /// A member has a wrong type or form (errno 108).
    #[error("Command contains one or more invalid fields")]
    InvalidFields,
    /// `register`, `unregister` or `ack` before `hello` (errno 201).
    #[error("Command requires handshake")]
    NoHandshake,
    /// A second `hello` with another UAID (errno 202).
    #[error("Device ID already assigned to this client")]
    OtherUaid,
    /// A ping sooner than the least gap (errno 203).
    #[error("Client sent too many pings")]
    TooManyPings,
}

impl ClientFault {
    /// The `status` of the error reply (§6.2).
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::HeaderNotText
            | Self::UnsupportedType
            | Self::MissingFields
            | Self::InvalidFields
            | Self::NoHandshake
            | Self::TooManyPings => 401,
            Self::OtherUaid => 503,
        }
    }
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// A newer connection of the same UAID (O9).
    Superseded,
    /// The server shuts down (R-OPS-4).
    Draining,
    /// A frame that RFC 6455 forbids (R-WS-8).
    BadFrame,
    /// A binary message (R-WS-7).
    Binary,
    /// Text that is not UTF-8 (R-WS-8).
    BadUtf8,
    /// A fault of the client; the error reply, if one is possible, went before.
    ClientFault,
    /// No `hello` in time (R-WS-13).
    NoHello,
    /// Notifications stayed unacknowledged for too many rounds (R-DEL-8).
    Unacknowledged,
    /// Too many control frames (R-WS-11) or fragments.
    Flood,
    /// A message that took too long to arrive (§19.4).
    Slow,
    /// A message over the size limit (R-WS-9).
    TooBig,
    /// The state of this UserAgent is gone: it must shake hands again (§11.1).
    StateDropped,
    /// The UserAgent was told to go to another server (§15.4).
    Redirected,
    /// The UserAgent is idle and can be woken: it should stay away until then (§13.1).
    WakeLater,
    /// The store can't be used: the UserAgent should come back later (R-HELLO-5).
    Unavailable,
}

impl CloseReason {
    /// The WebSocket close code (§5.4).
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Superseded | Self::Redirected => 1000,
            Self::Draining => 1001,
            Self::BadFrame => 1002,
            Self::Binary => 1003,
            Self::BadUtf8 => 1007,
            Self::ClientFault | Self::NoHello | Self::Unacknowledged | Self::Flood | Self::Slow => {
                1008
            }
            Self::TooBig => 1009,
            Self::StateDropped => 1011,
            Self::Unavailable => 1013,
            Self::WakeLater => 4774,
        }
    }

    /// The name under which closes are counted; one of a closed set.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Draining => "draining",
            Self::BadFrame => "bad_frame",
            Self::Binary => "binary",
            Self::BadUtf8 => "bad_utf8",
            Self::ClientFault => "client_fault",
            Self::NoHello => "no_hello",
            Self::Unacknowledged => "unacknowledged",
            Self::Flood => "flood",
            Self::Slow => "slow",
            Self::TooBig => "too_big",
            Self::StateDropped => "state_dropped",
            Self::Redirected => "redirected",
            Self::Unavailable => "unavailable",
            Self::WakeLater => "wake_later",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes() {
        // Rule: simplepush §5.4 — each reason to close has its code
        assert_eq!(CloseReason::Superseded.code(), 1000);
        assert_eq!(CloseReason::Draining.code(), 1001);
        assert_eq!(CloseReason::Unavailable.code(), 1013);
        assert_eq!(CloseReason::WakeLater.code(), 4774);
        let all = [
            CloseReason::Superseded,
            CloseReason::Draining,
            CloseReason::BadFrame,
            CloseReason::Binary,
            CloseReason::BadUtf8,
            CloseReason::ClientFault,
            CloseReason::NoHello,
            CloseReason::Unacknowledged,
            CloseReason::Flood,
            CloseReason::Slow,
            CloseReason::TooBig,
            CloseReason::StateDropped,
            CloseReason::Redirected,
            CloseReason::Unavailable,
        ];
        assert!(all.iter().all(|reason| reason.code() != 4774 && !reason.label().is_empty()));
    }

    #[test]
    fn statuses_of_client_faults() {
        // Rule: simplepush §6.2 — 401 for every fault of the client, 503 for a second UAID
        assert_eq!(ClientFault::NoHandshake.status(), 401);
        assert_eq!(ClientFault::OtherUaid.status(), 503);
        assert_eq!(ClientFault::OtherUaid.to_string(), "Device ID already assigned to this client");
    }
}
