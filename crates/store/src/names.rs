//! Names within the store: partitions, keys, logs.
//!
//! Never here: which partitions exist.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// Why a text or bytes are not a name in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreNameError {
    /// Not a partition.
    #[error("a partition name has 1 to 512 bytes of printable ASCII without braces")]
    Partition,
    /// Not a key.
    #[error("a key has 1 to 1024 bytes")]
    Key,
    /// Not a log.
    #[error("a log name has 1 to 64 characters of a-z 0-9 -")]
    Log,
}

/// A partition: the unit of atomicity and of placement.
///
/// 1 to 512 bytes of printable ASCII without braces (a partition is a hash tag where the engine has
/// such). By convention `kind/name`: `bus/v2/example.com`, `uaid/…`. A name that contains a secret
/// must contain its hash instead.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Arc<str>);

impl Partition {
    /// Checks and makes a partition name.
    ///
    /// # Errors
    ///
    /// [`StoreNameError::Partition`].
    pub fn new(name: &str) -> Result<Self, StoreNameError> {
        let printable = |byte| (0x21..0x7f).contains(&byte) && byte != b'{' && byte != b'}';
        if (1..=512).contains(&name.len()) && name.bytes().all(printable) {
            Ok(Self(name.into()))
        } else {
            Err(StoreNameError::Partition)
        }
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({})", self.0)
    }
}

/// The key of a row within a partition: 1 to 1024 bytes, ordered bytewise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// Checks and makes a key.
    ///
    /// # Errors
    ///
    /// [`StoreNameError::Key`].
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, StoreNameError> {
        let bytes = bytes.into();
        if (1..=1024).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(StoreNameError::Key) }
    }

    /// The bytes of the key.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// So that a map of keys can be asked for a range of bytes; both are ordered bytewise.
impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    /// Shows the length only: keys may hold hashes of credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// The name of a log within a partition: 1 to 64 characters of `a-z0-9-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(Arc<str>);

impl LogName {
    /// Checks and makes a log name.
    ///
    /// # Errors
    ///
    /// [`StoreNameError::Log`].
    pub fn new(name: &str) -> Result<Self, StoreNameError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(StoreNameError::Log)
        }
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_bounds() {
        assert!(Partition::new("bus/v2/example.com").is_ok());
        for name in ["", "a b", "a{b", "ä", &"a".repeat(513)] {
            assert_eq!(Partition::new(name), Err(StoreNameError::Partition), "{name}");
        }
        assert!(Key::new(vec![0; 1024]).is_ok());
        assert_eq!(Key::new(vec![]), Err(StoreNameError::Key));
        assert_eq!(Key::new(vec![0; 1025]), Err(StoreNameError::Key));
        assert!(LogName::new("messages").is_ok());
        assert_eq!(LogName::new("Messages"), Err(StoreNameError::Log));
    }

    #[test]
    fn a_key_does_not_print() {
        assert_eq!(format!("{:?}", Key::new("secret").unwrap()), "Key(6 bytes)");
    }
}
