//! Who may register for which services, and call which (mdp.md §14.2).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{ServiceName, ServiceNameError};

/// Service names: one, all that begin alike, or all.
///
/// Written as the name itself, or as its beginning and a final `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// This name only.
    Exact(ServiceName),
    /// Every name that begins with these bytes; all names if there are none.
    Prefix(Vec<u8>),
}

impl NamePattern {
    /// Says whether the pattern covers this service frame.
    pub fn covers(&self, service: &[u8]) -> bool {
        match self {
            Self::Exact(name) => name.as_bytes() == service,
            Self::Prefix(prefix) => service.starts_with(prefix),
        }
    }
}

impl FromStr for NamePattern {
    type Err = ServiceNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Prefix(Vec::new())),
            Some(prefix) => {
                prefix.parse::<ServiceName>().map(|name| Self::Prefix(name.as_bytes().to_vec()))
            }
            None => text.parse().map(Self::Exact),
        }
    }
}

/// What one user may do; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Services it may register a worker for.
    pub register: Vec<NamePattern>,
    /// Services it may call.
    pub call: Vec<NamePattern>,
}

/// What every user may do. The names `mmi.*` anybody may call, as the protocol wants it.
///
/// A user is whom the security mechanism names for the connection that a message came over, never a
/// routing id, which anybody may claim.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// What those named here may do.
    pub users: BTreeMap<Arc<str>, Grant>,
    /// What everybody else may do.
    pub others: Grant,
}

impl Access {
    pub(super) fn may_register(&self, user: Option<&str>, service: &[u8]) -> bool {
        covers(&self.grant(user).register, service)
    }

    pub(super) fn may_call(&self, user: Option<&str>, service: &[u8]) -> bool {
        covers(&self.grant(user).call, service)
    }

    fn grant(&self, user: Option<&str>) -> &Grant {
        user.and_then(|user| self.users.get(user)).unwrap_or(&self.others)
    }
}

fn covers(patterns: &[NamePattern], service: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.covers(service))
}

impl fmt::Debug for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Access").field("users", &self.users.len()).finish_non_exhaustive()
    }
}
