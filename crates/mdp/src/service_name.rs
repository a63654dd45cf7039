//! The name by which clients ask and workers register.

use std::borrow::Borrow;
use std::fmt;

use bytes::Bytes;

/// The longest service name in bytes: what one length byte of the zproto dialect can say.
const NAME_BYTES_MAX: usize = 255;

/// A service name: 1 to 255 bytes of UTF-8 without control characters, compared byte by byte.
///
/// Source: mdp.md §7.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Bytes);

/// Why bytes are not a service name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceNameError {
    /// No byte at all.
    #[error("a service name must not be empty")]
    Empty,
    /// More than 255 bytes.
    #[error("a service name has at most 255 bytes, not {0}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("a service name must be UTF-8")]
    NotUtf8,
    /// A control character.
    #[error("a service name must not contain control characters")]
    Control,
}

impl ServiceName {
    /// Parses the bytes of a service frame.
    ///
    /// # Errors
    ///
    /// A [`ServiceNameError`] that says which rule of mdp.md §7 the bytes break.
    pub fn parse(bytes: &[u8]) -> Result<Self, ServiceNameError> {
        if bytes.is_empty() {
            return Err(ServiceNameError::Empty);
        }
        if bytes.len() > NAME_BYTES_MAX {
            return Err(ServiceNameError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ServiceNameError::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(ServiceNameError::Control);
        }
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }

    /// Takes a name of our own, which is known to be one.
    pub(crate) const fn from_static(name: &'static str) -> Self {
        Self(Bytes::from_static(name.as_bytes()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        // The constructor checked that this is UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Returns the name as the bytes of its frame.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Says whether the broker itself answers for this service frame (8/MMI: the prefix `mmi.`).
pub(crate) fn is_mmi(service: &[u8]) -> bool {
    service.starts_with(b"mmi.")
}

impl Borrow<[u8]> for ServiceName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl std::str::FromStr for ServiceName {
    type Err = ServiceNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ServiceName({:?})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_bytes() {
        // Rule: mdp §7 — a service name is 1..255 bytes of UTF-8 without control characters
        assert_eq!(ServiceName::parse(b""), Err(ServiceNameError::Empty));
        assert!(ServiceName::parse(&[b'a'; 255]).is_ok());
        assert_eq!(ServiceName::parse(&[b'a'; 256]), Err(ServiceNameError::TooLong(256)));
        assert_eq!(ServiceName::parse(b"a\0b"), Err(ServiceNameError::Control));
        assert_eq!(ServiceName::parse(&[0xFF]), Err(ServiceNameError::NotUtf8));
        assert_eq!(ServiceName::parse("zürich bahn".as_bytes()).unwrap().as_str(), "zürich bahn");
        assert_ne!(ServiceName::parse(b"Echo"), ServiceName::parse(b"echo"));
    }

    #[test]
    fn the_reserved_prefix_is_exactly_four_bytes() {
        // Rule: mdp §7 — only names beginning with the four bytes `mmi.` are reserved
        assert!(is_mmi(b"mmi.") && is_mmi(b"mmi.service"));
        for ordinary in ["mmi", "mmix", "MMI.service", "a.mmi.b"] {
            assert!(!is_mmi(ordinary.as_bytes()), "{ordinary}");
        }
    }
}
