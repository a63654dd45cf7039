//! The two textual forms of a capability: `urn:x-cap:…` and an http(s) URL (Belay §3.1).
//!
//! Never here: routing an instance, fetching a URL.

use std::fmt;

use buswire_message::{Entropy, Secret, SecretHash};
use url::Url;

use crate::wire::identity::{is_uuid_v4, new_uuid};

const URN_PREFIX: &str = "urn:x-cap:";
pub(super) const UUID_LEN: usize = 36;

/// What the text of a capability says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serialisation {
    /// `urn:x-cap:INSTANCE:CAPID`: somebody must route the instance.
    Urn {
        /// Whose capability it is.
        instance: InstanceId,
        /// Which one.
        cap: CapId,
    },
    /// An absolute `http:` or `https:` URL: invoked by HTTP.
    Url(CapUrl),
}

/// The URL of a capability. It carries a secret, so it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct CapUrl(Url);

impl CapUrl {
    /// The URL in clear.
    pub const fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for CapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CapUrl(…)")
    }
}

/// The name of an instance (Belay §2.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceId {
    /// A temporary one: a UUID of version 4.
    Temporary(String),
    /// A durable one: SHA-1 of the text of a secret UUID, 40 hexadecimal digits.
    Sha1(String),
    /// A durable one of the original: the first half of SHA-256, 32 hexadecimal digits.
    Sha256(String),
    /// A web origin in its ASCII form.
    Origin(String),
}

/// Names one grant within an instance: the secret part of an `urn:x-cap` serialisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapId(Secret<String>);

impl CapId {
    /// A new one, a UUID of version 4 (Belay §1).
    pub fn mint(entropy: &dyn Entropy) -> Self {
        Self(new_uuid(entropy))
    }

    /// Reads an id; `None` for a text that has not the shape of a UUID (Belay §3.1).
    pub fn parse(text: &str) -> Option<Self> {
        // Version and variant are not looked at: the decoder of the original does not either.
        is_uuid_shaped(text).then(|| Self(Secret::new(text.to_owned())))
    }

    /// The id in clear.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash::of(self.expose())
    }
}

impl Serialisation {
    /// Reads a serialisation; `None` for a text that is none, which makes a dead capability.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix(URN_PREFIX) {
            // Origins contain colons, so the capability id is taken from the right.
            let cut = rest.len().checked_sub(UUID_LEN)?;
            let (instance, cap) = rest.split_at_checked(cut)?;
            let instance = InstanceId::parse(instance.strip_suffix(':')?)?;
            return Some(Self::Urn { instance, cap: CapId::parse(cap)? });
        }
        if text.starts_with("http:") || text.starts_with("https:") {
            let url = Url::parse(text).ok().filter(Url::has_host)?;
            return Some(Self::Url(CapUrl(url)));
        }
        None
    }

    /// The text, as it was.
    pub fn to_text(&self) -> String {
        match self {
            Self::Urn { instance, cap } => {
                format!("{URN_PREFIX}{}:{}", instance.as_str(), cap.expose())
            }
            Self::Url(url) => url.expose().as_str().to_owned(),
        }
    }
}

impl InstanceId {
    /// The id of an instance that lives as long as its process (Belay §2.2).
    pub fn temporary(entropy: &dyn Entropy) -> Self {
        Self::Temporary(new_uuid(entropy).expose().clone())
    }

    /// Reads an instance id; `None` for a text that is none (Belay §2.2). The null id is none: no
    /// instance ever has it.
    pub fn parse(text: &str) -> Option<Self> {
        let all_hex = |text: &str| text.bytes().all(is_lower_hex);
        if is_uuid_v4(text) {
            Some(Self::Temporary(text.to_owned()))
        } else if text.len() == 40 && all_hex(text) {
            Some(Self::Sha1(text.to_owned()))
        } else if text.len() == 32 && all_hex(text) {
            Some(Self::Sha256(text.to_owned()))
        } else if is_origin(text) {
            Some(Self::Origin(text.to_owned()))
        } else {
            None
        }
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Temporary(id) | Self::Sha1(id) | Self::Sha256(id) | Self::Origin(id) => id,
        }
    }
}

const fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

pub(super) fn is_uuid_shaped(text: &str) -> bool {
    text.len() == UUID_LEN
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_lower_hex(byte),
        })
}

// An origin is exactly what a browser prints: parsing and printing it again changes nothing.
fn is_origin(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://"))
        && Url::parse(text)
            .is_ok_and(|url| url.has_host() && url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_capability_and_does_not_print() {
        // Rule: belay 3.1 — a text is a URL capability iff it begins with http: or https:
        let parsed = Serialisation::parse("https://gw.example/cap/abc").unwrap();
        assert_eq!(format!("{parsed:?}"), "Url(CapUrl(…))");
        assert_eq!(parsed.to_text(), "https://gw.example/cap/abc");
        for text in ["https:", "ftp://gw.example/", "urn:x-cap:éééééééééééééééééééééééééé"]
        {
            assert_eq!(Serialisation::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_null_instance_is_nobody() {
        // Rule: belay 2.2 — the null id is never assigned and never routed
        assert_eq!(InstanceId::parse("00000000-0000-0000-0000-000000000000"), None);
    }
}
