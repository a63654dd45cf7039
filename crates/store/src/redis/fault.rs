//! What an error of a server means.
//!
//! Never here: acting on it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::{config::RedisOpenError, tls};
use crate::error::StoreError;

/// What an error means for the request that met it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It did not happen; the same connection may do it soon.
    NotYet(String),
    /// It did not happen; another connection may do it.
    Elsewhere(String),
    /// It may have happened, and the connection is of no use any more.
    Unknown(String),
    /// It did not happen, and trying again does not help.
    Refused(StoreError),
}

impl Fault {
    /// What `error` means for a request that met it.
    pub(super) fn of(error: &RedisError) -> Self {
        let text = describe(error);
        match error.kind() {
            ErrorKind::Server(kind) => match kind {
                ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::Ask
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown => Self::NotYet(text),
                // What answers for a slot may be another master that lacks what was acknowledged: it is
                // looked at before anything is sent to it.
                ServerErrorKind::NoScript | ServerErrorKind::ReadOnly | ServerErrorKind::Moved => {
                    Self::Elsewhere(text)
                }
                ServerErrorKind::NoPerm => Self::Refused(StoreError::Unavailable(text)),
                _ => Self::Refused(StoreError::Corrupt(text)),
            },
            ErrorKind::Extension => Self::of_code(error.code().unwrap_or_default(), text),
            ErrorKind::ClusterConnectionNotFound => Self::Elsewhere(text),
            _ if error.is_connection_refusal() => Self::Elsewhere(text),
            _ => Self::Unknown(text),
        }
    }

    /// By the codes that the library has no name for.
    fn of_code(code: &str, text: String) -> Self {
        match code {
            "BUSWIRERUN" => Self::Elsewhere(text),
            "BUSY" | "NOREPLICAS" | "BUSWIREWAIT" => Self::NotYet(text),
            // A full memory or disk: nothing was written.
            "OOM" | "MISCONF" | "NOAUTH" | "WRONGPASS" => {
                Self::Refused(StoreError::Unavailable(text))
            }
            "BUSWIREEND" => Self::Refused(StoreError::Unavailable(
                "the clock is beyond the year 2089".to_owned(),
            )),
            _ => Self::Refused(StoreError::Corrupt(text)),
        }
    }
}

/// An error in words. Errors of the library show commands and users nowhere.
pub(super) fn describe(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(super) enum Unconnected {
    /// The server can't be reached, or not yet used.
    Failed(String),
    /// The user may not do what is needed.
    Forbidden(String),
    /// No TLS came about.
    Untrusted(String),
    /// The server is not one that this store may use.
    Refused(RedisOpenError),
}

impl From<RedisError> for Unconnected {
    fn from(error: RedisError) -> Self {
        let is_forbidden = error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
            || error.code() == Some("BUSWIREACL");
        if let Some(trouble) = tls::trouble(&describe(&error)) {
            Self::Untrusted(trouble)
        } else if is_forbidden {
            Self::Forbidden(describe(&error))
        } else {
            Self::Failed(describe(&error))
        }
    }
}

impl From<StoreError> for Unconnected {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<RedisOpenError> for Unconnected {
    fn from(error: RedisOpenError) -> Self {
        Self::Refused(error)
    }
}

impl std::fmt::Display for Unconnected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(text) | Self::Forbidden(text) | Self::Untrusted(text) => f.write_str(text),
            Self::Refused(error) => error.fmt(f),
        }
    }
}
