//! The two textual forms of a capability: `urn:x-cap:…` and an http(s) URL (Belay §3.1).
//!
//! Never here: routing an instance, fetching a URL.

use std::fmt;

use buswire_message::Secret;
use url::Url;

const URN_PREFIX: &str = "urn:x-cap:";
const UUID_LEN: usize = 36;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceId {
    /// A temporary one: a UUID.
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
    /// The id in clear.
    pub fn expose(&self) -> &str {
        self.0.expose()
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
            return is_uuid_shaped(cap)
                .then(|| Self::Urn { instance, cap: CapId(Secret::new(cap.to_owned())) });
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
    /// Reads an instance id; `None` for a text that is none (Belay §2.2).
    pub fn parse(text: &str) -> Option<Self> {
        let all_hex = |text: &str| text.bytes().all(is_lower_hex);
        if is_uuid_shaped(text) {
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

// Version and variant are not looked at: the decoder of the original does not either.
fn is_uuid_shaped(text: &str) -> bool {
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

    const CAP: &str = "d859f7a0-4008-4c35-a99a-b7a23a5fc35d";

    #[test]
    fn the_worked_examples_parse_and_print_again() {
        // Rule: belay 3.1 — a serialisation is decoded from the right, so that origins fit
        // Rule: belay 2.2 — an instance id is a UUID, 32 or 40 hex digits, or an origin
        let cases = [
            (format!("urn:x-cap:926c0c63-b02a-40a9-a19f-edb19190c143:{CAP}"), 83),
            (format!("urn:x-cap:66c6bd1f4cda24069debe0efa2193f64baeae867:{CAP}"), 87),
            (format!("urn:x-cap:f3522d294a20493303bd4c2ceb28d6aa:{CAP}"), 79),
            (format!("urn:x-cap:https://myserv.com:{CAP}"), 65),
            (format!("urn:x-cap:https://myserv.com:8443:{CAP}"), 70),
        ];
        let instances = [
            InstanceId::Temporary("926c0c63-b02a-40a9-a19f-edb19190c143".to_owned()),
            InstanceId::Sha1("66c6bd1f4cda24069debe0efa2193f64baeae867".to_owned()),
            InstanceId::Sha256("f3522d294a20493303bd4c2ceb28d6aa".to_owned()),
            InstanceId::Origin("https://myserv.com".to_owned()),
            InstanceId::Origin("https://myserv.com:8443".to_owned()),
        ];
        for ((text, length), expected) in cases.iter().zip(instances) {
            assert_eq!(text.len(), *length, "{text}");
            let parsed = Serialisation::parse(text).unwrap();
            assert_eq!(parsed.to_text(), *text);
            let Serialisation::Urn { instance, cap } = parsed else { panic!("{text}") };
            assert_eq!((instance, cap.expose()), (expected, CAP));
        }
    }

    #[test]
    fn anything_else_is_unparsable() {
        // Rule: belay 3.1 — unparsable texts are dead capabilities: wrong prefix, case or length
        let short = CAP.strip_suffix('d').unwrap();
        for text in [
            format!("urn-x-cap:66c6bd1f4cda24069debe0efa2193f64baeae867:{CAP}"),
            format!("URN:x-cap:66c6bd1f4cda24069debe0efa2193f64baeae867:{CAP}"),
            format!("urn:x-cap:66C6bd1f4cda24069debe0efa2193f64baeae867:{CAP}"),
            format!("urn:x-cap:66c6bd1f4cda24069debe0efa2193f64baeae867:{}", CAP.to_uppercase()),
            format!("urn:x-cap:66c6bd1f4cda24069debe0efa2193f64baeae867:{short}"),
            format!("urn:x-cap:66c6bd1f4cda24069debe0efa2193f64baeae867{CAP}"),
            format!("urn:x-cap:https://myserv.com/:{CAP}"),
            format!("urn:x-cap:https://myserv.com:443:{CAP}"),
            format!("urn:x-cap:null:{CAP}"),
            format!("urn:x-cap::{CAP}"),
            "HTTPS://gw.example/cap/x".to_owned(),
            "https:".to_owned(),
            "ftp://gw.example/".to_owned(),
            "urn:x-cap:éééééééééééééééééééééééééé".to_owned(),
            String::new(),
            "asdf".to_owned(),
        ] {
            assert_eq!(Serialisation::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn a_url_is_a_capability_and_does_not_print() {
        // Rule: belay 3.1 — a text is a URL capability iff it begins with http: or https:
        let parsed = Serialisation::parse("https://gw.example/cap/abc").unwrap();
        assert_eq!(format!("{parsed:?}"), "Url(CapUrl(…))");
        assert_eq!(parsed.to_text(), "https://gw.example/cap/abc");
    }
}
