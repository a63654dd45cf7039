//! SimplePush versions (SimplePush §3).
//!
//! Never here: which versions a channel has or what becomes of an old one.

use std::{fmt, str::FromStr};

use crate::{id::MessageId, time::Timestamp};

/// A SimplePush version, 1 to 2^63 − 1: a number that an application server only ever raises.
///
/// Two versions of one channel are compared and nothing else (SimplePush §3.1). Compared as 64-bit
/// integers, never as doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

/// Why a text is not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version is a decimal number from 1 to 9223372036854775807")]
pub struct VersionError;

impl Version {
    /// The greatest version, 2^63 − 1.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// Takes a number as a version; `None` for 0 and above [`Self::MAX`].
    pub const fn new(number: u64) -> Option<Self> {
        if number == 0 || number > Self::MAX.0 { None } else { Some(Self(number)) }
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Parses what an application server sent as `version` (SimplePush R-VER-1 to R-VER-3).
    ///
    /// `None` means that the server must choose: the text is empty or the number is 0.
    ///
    /// # Errors
    ///
    /// [`VersionError`] for anything but ASCII digits and for a number above [`Self::MAX`].
    pub fn parse(text: &str) -> Result<Option<Self>, VersionError> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(VersionError);
        }
        let significant = text.trim_start_matches('0');
        if significant.is_empty() {
            return Ok(None);
        }
        let number = significant.parse().map_err(|_| VersionError)?;
        Self::new(number).map(Some).ok_or(VersionError)
    }

    /// The version that a server assigns when it is given none: the time in seconds, and more than
    /// `last` in any case (SimplePush R-VER-4). Stays at [`Self::MAX`] once there.
    #[must_use]
    pub fn assign(now: Timestamp, last: Option<Self>) -> Self {
        let follows = last.map_or(1, |last| last.0 + 1);
        Self(now.as_secs().max(follows).min(Self::MAX.0))
    }

    /// The version that stands for a message: later messages of a bus have greater versions, all
    /// below 2^53, so that a JavaScript client keeps them exactly.
    pub fn of_message(id: MessageId) -> Self {
        Self(id.sequence().as_u64().max(1))
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::parse(text)?.ok_or(VersionError)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Sequence;

    #[test]
    fn what_an_application_server_may_send() {
        // Rule: simplepush R-VER-1 — decimal digits only, 1 to 2^63 − 1, leading zeros ignored
        for text in ["-1", "+1", " 1", "1 ", "0x1", "1.0", "1e3", "9223372036854775808", "½", "٣"]
        {
            assert_eq!(Version::parse(text), Err(VersionError), "{text}");
        }
        assert_eq!(Version::parse("9223372036854775807"), Ok(Some(Version::MAX)));
        assert_eq!(Version::parse("0007"), Ok(Version::new(7)));
        // Rule: simplepush R-VER-2 — an empty version lets the server choose
        assert_eq!(Version::parse(""), Ok(None));
        // Rule: simplepush R-VER-3 — version 0 counts as absent
        assert_eq!(Version::parse("000"), Ok(None));
    }

    #[test]
    fn an_assigned_version_is_the_time_or_one_more_than_the_last() {
        // Rule: simplepush R-VER-4 — max(now, last + 1), and never beyond the range
        let now = Timestamp::from_secs(1_700_000_000);
        assert_eq!(Version::assign(now, None).get(), 1_700_000_000);
        assert_eq!(Version::assign(now, Version::new(1_700_000_000)).get(), 1_700_000_001);
        assert_eq!(Version::assign(now, Some(Version::MAX)), Version::MAX);
    }

    proptest! {
        #[test]
        fn parse_undoes_print(number in 1..=Version::MAX.get()) {
            let version = Version::new(number).unwrap();
            prop_assert_eq!(version.to_string().parse(), Ok(version));
        }

        #[test]
        fn later_messages_have_greater_versions(a in 1..Sequence::MAX.as_u64()) {
            let of = |n| Version::of_message(MessageId::from_sequence(Sequence::from_u64(n).unwrap()));
            prop_assert!(of(a) < of(a + 1));
            prop_assert!(of(a).get() < 1 << 53);
        }
    }
}
