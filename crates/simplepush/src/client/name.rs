//! Names that a UserAgent deals with: channels and endpoints (SimplePush §2.2, §4).
//!
//! Never here: UAIDs, which never leave the state of a UserAgent.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::ChannelId;

/// The name of a channel, chosen by its UserAgent and opaque to everybody else.
///
/// Parses 32 hexadecimal digits or the 36 characters of a dashed UUID, and is written as it was parsed
/// (SimplePush R-ID-7, R-ID-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Channel(ChannelId);

/// A text that is not the name of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a channel is named by a UUID: 32 hexadecimal digits, with or without dashes")]
pub struct BadChannel;

impl Channel {
    /// A new name from 16 random bytes: a dashed UUID of version 4.
    pub const fn from_random(random: [u8; 16]) -> Self {
        Self(ChannelId::mint(random))
    }
}

impl FromStr for Channel {
    type Err = BadChannel;

    fn from_str(text: &str) -> Result<Self, BadChannel> {
        ChannelId::parse(text).map(Self).ok_or(BadChannel)
    }
}

impl TryFrom<String> for Channel {
    type Error = BadChannel;

    fn try_from(text: String) -> Result<Self, BadChannel> {
        text.parse()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> Self {
        channel.to_string()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(36);
        self.0.push_to(&mut text);
        f.write_str(&text)
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
