//! Names: of buses, channels, message types, sources and routes.
//!
//! Each is checked once, where it enters, and cheap to clone. Never here: whether something of that
//! name exists.

use std::{fmt, str::FromStr, sync::Arc};

use url::Url;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a bus name.
    #[error(
        "a bus name has 1 to 255 characters of A-Z a-z 0-9 . _ -, with v1/ or v2/ in front at most"
    )]
    Bus,
    /// Not a channel name.
    #[error("a channel name has 1 to 128 characters of A-Z a-z 0-9 _ -")]
    Channel,
    /// Not a message type.
    #[error("a message type has 1 to 1024 bytes, is not blank and has no control characters")]
    Type,
    /// Not a source.
    #[error("a source is an absolute URL with a host, at most 2048 bytes")]
    Source,
    /// Not a route name.
    #[error("a route name has 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    Route,
}

macro_rules! text_name {
    ($(#[$meta:meta])* $name:ident, $error:ident, $valid:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(NameError::$error) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

fn within(text: &str, longest: usize, extra: &[u8]) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
}

text_name!(
    /// The name of a channel within its bus: 1 to 128 characters of `A-Za-z0-9_-` (Backplane §4.2).
    ///
    /// On Backplane a channel name is what lets a browser read the channel, so it shows in `Debug`
    /// for tests but belongs in no log line.
    ChannelName,
    Channel,
    |text| within(text, 128, b"_-")
);

text_name!(
    /// The type of a message, such as `identity/login`: opaque, not blank, 1 to 1024 bytes without
    /// control characters (Backplane §6.1). Backplane 2.0 also refuses spaces (§7.1).
    MessageType,
    Type,
    |text| {
        (1..=1024).contains(&text.len())
            && !text.trim().is_empty()
            && !text.chars().any(char::is_control)
    }
);

text_name!(
    /// Who a message is from: an absolute URL with a scheme and a host, kept as written, at most
    /// 2048 bytes (Backplane §6.1, §7.1).
    SourceUrl,
    Source,
    |text| {
        text.len() <= 2048
            && !text.chars().any(|c| c.is_control() || c == ' ')
            && Url::parse(text).is_ok_and(|url| url.has_host())
    }
);

text_name!(
    /// The name of a route: 1 to 64 characters of `A-Za-z0-9._-`.
    RouteName,
    Route,
    |text| within(text, 64, b"._-")
);

/// The two worlds that Backplane keeps apart (Backplane §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Realm {
    /// Buses of Backplane 1.x.
    V1,
    /// Buses of Backplane 2.0 and of everything that is not Backplane.
    V2,
}

impl Realm {
    /// `v1` or `v2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// The name of a bus in its realm: `v2/example.com`, which may be written `example.com`, or
/// `v1/example.com`.
///
/// The name proper has 1 to 255 characters of `A-Za-z0-9._-` and is case-sensitive (Backplane §4.1).
/// Prints in the shortest form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusName {
    realm: Realm,
    name: Arc<str>,
}

impl BusName {
    /// The bus `name` of `realm`.
    ///
    /// # Errors
    ///
    /// [`NameError::Bus`] if `name` has other characters or another length.
    pub fn new(realm: Realm, name: &str) -> Result<Self, NameError> {
        if within(name, 255, b"._-") {
            Ok(Self { realm, name: name.into() })
        } else {
            Err(NameError::Bus)
        }
    }

    /// Its realm.
    pub const fn realm(&self) -> Realm {
        self.realm
    }

    /// Its name without the realm.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The form with the realm in any case, `v2/example.com`: one text for each bus, for store keys.
    pub fn qualified(&self) -> String {
        format!("{}/{}", self.realm.as_str(), self.name)
    }
}

impl FromStr for BusName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            None => Self::new(Realm::V2, text),
            Some(("v1", name)) => Self::new(Realm::V1, name),
            Some(("v2", name)) => Self::new(Realm::V2, name),
            Some(_) => Err(NameError::Bus),
        }
    }
}

impl fmt::Display for BusName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.realm {
            Realm::V1 => f.pad(&self.qualified()),
            Realm::V2 => f.pad(&self.name),
        }
    }
}

impl fmt::Debug for BusName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.qualified())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bus_name_lives_in_a_realm() {
        // Rule: backplane §1.4 — the 1.x and 2.0 worlds are separate
        let v2: BusName = "example.com".parse().unwrap();
        let v1: BusName = "v1/example.com".parse().unwrap();
        assert_eq!("v2/example.com".parse(), Ok(v2.clone()));
        assert_ne!(v1, v2);
        assert_eq!(
            (v1.to_string(), v2.to_string()),
            ("v1/example.com".into(), "example.com".into())
        );
    }

    #[test]
    fn names_have_their_alphabets() {
        // Rule: backplane §4.1 — bus names have 1 to 255 characters of A-Za-z0-9._-
        // Rule: backplane §17 row 17 — bus names are strict and compared exactly
        for text in ["", "a b", "a:b", "v3/a", "v1/", "v1/a/b", "ä", &"a".repeat(256)] {
            assert_eq!(text.parse::<BusName>(), Err(NameError::Bus), "{text}");
        }
        // Rule: backplane §4.2 — channel names have 1 to 128 characters of A-Za-z0-9_-
        for text in ["", "a.b", "a b", &"a".repeat(129)] {
            assert_eq!(text.parse::<ChannelName>(), Err(NameError::Channel), "{text}");
        }
        assert!("173000000000012345".parse::<ChannelName>().is_ok());
    }

    #[test]
    fn a_source_is_any_absolute_url_with_a_host() {
        // Rule: backplane §6.1 — source is an absolute URI with a scheme and a host, not only http
        for text in ["https://a.example/", "ftp://files.example/x", "https://a.example/p?q=1:2"] {
            assert!(text.parse::<SourceUrl>().is_ok(), "{text}");
        }
        for text in ["", "a.example", "/p", "mailto:a@b.example", "httpgoogle.com", "https://"] {
            assert_eq!(text.parse::<SourceUrl>(), Err(NameError::Source), "{text}");
        }
    }

    #[test]
    fn a_type_is_opaque_but_not_blank() {
        // Rule: backplane §6.1 — type is required and not blank
        assert!("identity/login".parse::<MessageType>().is_ok());
        for text in ["", " ", "\t", "a\u{0}b"] {
            assert_eq!(text.parse::<MessageType>(), Err(NameError::Type), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_print(realm in prop_oneof![Just(Realm::V1), Just(Realm::V2)], name in "[A-Za-z0-9._-]{1,255}") {
            let bus = BusName::new(realm, &name).unwrap();
            prop_assert_eq!(bus.to_string().parse::<BusName>(), Ok(bus.clone()));
            prop_assert_eq!(bus.qualified().parse::<BusName>(), Ok(bus));
        }
    }
}
