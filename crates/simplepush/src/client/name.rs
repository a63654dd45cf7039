//! Endpoints as a UserAgent gets them, and channels as its state names them (SimplePush §2.2, §4).
//!
//! Never here: UAIDs, which never leave the state of a UserAgent.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::id::ChannelId;

impl Serialize for ChannelId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChannelId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The URL that notifies a channel: whoever holds it may, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Endpoint(Box<str>);

impl Endpoint {
    /// Takes what a server gave.
    pub(super) fn new(url: &str) -> Self {
        Self(url.into())
    }

    /// The URL, to be handed to the application server and to nobody else.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint(…)")
    }
}
