//! What can go wrong with a call.
//!
//! Never here: a URL, a token or a password. Errors are printed.

use std::time::Duration;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The HTTP client could not be made.
    #[error("no HTTP client could be made")]
    Setup(#[source] reqwest::Error),
    /// No connection came about: the server has seen nothing of the call.
    #[error("the server can't be reached")]
    Connect(#[source] reqwest::Error),
    /// The answer did not come, or not whole. Whether a post took effect is unknown.
    #[error("the answer did not arrive")]
    Lost(#[source] reqwest::Error),
    /// The answer is longer than [`answer_max`](super::Settings::answer_max).
    #[error("the answer exceeds {0} bytes")]
    TooLong(usize),
    /// The answer is not one of the protocol: what was expected.
    #[error("the answer is not {0}")]
    Answer(&'static str),
    /// The server refused the call.
    #[error("{0}")]
    Refused(Refusal),
    /// The channel of the visit, or what the bus owner granted, has ended. A new client is needed.
    #[error("the access has ended and can't be renewed")]
    Ended,
}

impl ClientError {
    /// Whether the same call may succeed later without anybody changing anything. A post must not
    /// be repeated for that reason alone: see [`Lost`](Self::Lost).
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Lost(_) | Self::Answer(_) => true,
            Self::Refused(refusal) => refusal.is_transient(),
            Self::Setup(_) | Self::TooLong(_) | Self::Ended => false,
        }
    }
}

/// The server's refusal of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server refused with {status}: {description}")]
pub struct Refusal {
    /// The HTTP status. Under a padded answer it is 200 (Backplane §3.5).
    pub status: u16,
    /// The error code of 2.0; `None` under 1.x, and where a server sends a text in its place.
    pub code: Option<OAuthCode>,
    /// The server's words, at most 500 characters.
    pub description: String,
    /// How long the server asks to stay away; at most five minutes of it are observed.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) const fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500..=599)
            || matches!(self.code, Some(OAuthCode::ServerError | OAuthCode::TemporarilyUnavailable))
    }

    /// Whether it is the token that was refused. The words are those of the reference server, which
    /// published clients look for within the description (Backplane §9.4); the code is RFC 6750's.
    pub fn is_of_token(&self) -> bool {
        let says = |words| self.description.contains(words);
        self.code == Some(OAuthCode::InvalidToken) || says("invalid token") || says("expired token")
    }
}

/// The error codes of OAuth 2 that Backplane uses (RFC 6749 §5.2 and §4.1.2.1, RFC 6750 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OAuthCode {
    /// `invalid_request`; 2.0 uses it for most refusals.
    InvalidRequest,
    /// `invalid_client`: the client's id or secret is wrong.
    InvalidClient,
    /// `invalid_grant`: the code or refresh token is.
    InvalidGrant,
    /// `unauthorized_client`, and `unautorized_client`, as a draft spells it (Backplane §10.2).
    UnauthorizedClient,
    /// `unsupported_grant_type`.
    UnsupportedGrantType,
    /// `invalid_scope`: malformed, or more than was granted.
    InvalidScope,
    /// `insufficient_scope`: the token does not reach that far.
    InsufficientScope,
    /// `invalid_token`.
    InvalidToken,
    /// `access_denied`.
    AccessDenied,
    /// `server_error`.
    ServerError,
    /// `temporarily_unavailable`.
    TemporarilyUnavailable,
}

impl OAuthCode {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "invalid_request" => Self::InvalidRequest,
            "invalid_client" => Self::InvalidClient,
            "invalid_grant" => Self::InvalidGrant,
            "unauthorized_client" | "unautorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            "insufficient_scope" => Self::InsufficientScope,
            "invalid_token" => Self::InvalidToken,
            "access_denied" => Self::AccessDenied,
            "server_error" => Self::ServerError,
            "temporarily_unavailable" => Self::TemporarilyUnavailable,
            _ => return None,
        })
    }
}
