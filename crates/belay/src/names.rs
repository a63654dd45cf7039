//! Names of grants: handles, kinds and labels, all of them safe in logs and on screens.
//!
//! Never here: ids of capabilities; those are secrets.

use std::{fmt, str::FromStr, sync::Arc};

use buswire_message::{Entropy, SecretHash};

/// A text is no name of that sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a handle.
    #[error("a handle is g_ and 16 characters of a-z 2-7")]
    Handle,
    /// Not a kind.
    #[error("a kind has 1 to 64 characters of a-z 0-9 . _ -")]
    Kind,
    /// Not a label.
    #[error("a label has at most 256 bytes and no control characters")]
    Label,
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $error:ident, $valid:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
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
    };
}

name!(
    /// The public name of a grant: `g_` and 16 base32 characters (Belay §20.4).
    ///
    /// Knowing it grants nothing.
    Handle,
    Handle,
    |text| text.strip_prefix("g_").is_some_and(|rest| {
        rest.len() == HANDLE_CHARS && rest.bytes().all(|byte| BASE32.contains(&byte))
    })
);

name!(
    /// The kind of operation that a grant designates, such as `bus.publish` (Belay §20.2).
    Kind,
    Kind,
    |text| {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
        };
        (1..=64).contains(&text.len()) && text.bytes().all(allowed)
    }
);

name!(
    /// What people call a grant; may be empty.
    Label,
    Label,
    |text| text.len() <= 256 && !text.chars().any(char::is_control)
);

const HANDLE_CHARS: usize = 16;
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Handle {
    /// Makes a handle of 80 random bits.
    pub(crate) fn mint(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; HANDLE_CHARS];
        entropy.fill(&mut bytes);
        Self::of(&bytes)
    }

    /// The handle that nobody has, for looking up an id that nobody has.
    pub(crate) fn decoy(hash: &SecretHash) -> Self {
        Self::of(hash.as_bytes())
    }

    fn of(bytes: &[u8]) -> Self {
        let bytes = bytes.iter().take(HANDLE_CHARS);
        let chars = bytes.filter_map(|byte| BASE32.get(usize::from(byte % 32)));
        let text: String = "g_".chars().chain(chars.map(|&byte| char::from(byte))).collect();
        Self(text.into())
    }
}

impl Kind {
    /// What mints capabilities (Belay §20.5).
    pub const GRANTOR: &'static str = "grantor";
    /// What an attenuated child is (Belay §20.2).
    pub const WRAP: &'static str = "wrap";
    /// What controls one grant (Belay §20.2).
    pub const CONTROL: &'static str = "control";
    /// What a registered name and its arguments make (Belay §20.2, §6.10).
    pub const NAMED: &'static str = "named";
    /// What forwards to another capability (Belay §20.2).
    pub const URL: &'static str = "url";
    /// What hands out several capabilities at once (Belay §20.2).
    pub const RECORD: &'static str = "record";

    /// What no program registers.
    pub(crate) const RESERVED: [&'static str; 5] =
        [Self::GRANTOR, Self::WRAP, Self::CONTROL, Self::NAMED, Self::RECORD];

    pub(crate) fn named() -> Self {
        Self(Self::NAMED.into())
    }

    pub(crate) fn url() -> Self {
        Self(Self::URL.into())
    }

    pub(crate) fn record() -> Self {
        Self(Self::RECORD.into())
    }
}

impl Default for Label {
    fn default() -> Self {
        Self("".into())
    }
}

#[cfg(test)]
mod tests {
    use buswire_testkit::SeededEntropy;

    use super::*;

    #[test]
    fn handles_are_random_and_parse() {
        // Rule: belay 20.4 — a handle is a public random name, g_ and 16 base32 characters
        let entropy = SeededEntropy::new(1);
        let (one, other) = (Handle::mint(&entropy), Handle::mint(&entropy));
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 18);
        assert_eq!(one.as_str().parse(), Ok(one));
        for bad in ["", "g_", "g_ABCDEFGHIJKLMNOP", "x_abcdefghijklmnop", "g_abcdefghijklmnop2"] {
            assert_eq!(bad.parse::<Handle>(), Err(NameError::Handle), "{bad}");
        }
    }

    #[test]
    fn kinds_and_labels_have_bounds() {
        assert!("bus.publish".parse::<Kind>().is_ok());
        assert_eq!("Bus".parse::<Kind>(), Err(NameError::Kind));
        assert!("".parse::<Label>().is_ok());
        assert_eq!("a\nb".parse::<Label>(), Err(NameError::Label));
        assert_eq!("a".repeat(257).parse::<Label>(), Err(NameError::Label));
    }
}
