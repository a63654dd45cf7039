//! What reading a store gives.
//!
//! Never here: what the content of a row or an entry means.

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;

use crate::names::Key;

/// Counts how often an engine may have lost acknowledged writes, as after a restored snapshot or a
/// failed-over primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The epoch in which it was given.
    pub epoch: Epoch,
    /// The place.
    pub sequence: Sequence,
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub sequence: Sequence,
    /// Its content; cheap to clone.
    pub body: Bytes,
    /// It is visible while the time is before this.
    pub expires: Timestamp,
}

/// Some entries of a log, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Where to go on reading: after the last entry, or where the reader was.
    pub next: Position,
    /// Whether there are live entries after `next`.
    pub more: bool,
    /// Whether the reader's epoch is over: entries that it had been told of may be gone and others
    /// may stand in their place. The page then begins at the start of the window.
    pub gap: bool,
}

/// Changes with every write of a row; never repeats for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A live row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its content.
    pub value: RowValue,
    /// The revision that this content has.
    pub revision: Revision,
    /// It is visible while the time is before this; `None` for ever.
    pub expires: Option<Timestamp>,
}

/// The content of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowValue {
    /// What was put.
    Bytes(Bytes),
    /// What was raised.
    Version(u64),
    /// The row is buried until its expiry.
    Tombstone,
}

impl RowValue {
    /// The bytes, if it holds bytes.
    pub const fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Version(_) | Self::Tombstone => None,
        }
    }

    /// The version, if it holds a version.
    pub const fn as_version(&self) -> Option<u64> {
        match self {
            Self::Version(version) => Some(*version),
            Self::Bytes(_) | Self::Tombstone => None,
        }
    }
}

/// Which keys to scan: from `start`, included, to `end`, not included.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// The least key; `None` for the first.
    pub start: Option<Bytes>,
    /// The key before which to end; `None` for the last.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    pub const fn all() -> Self {
        Self { start: None, end: None }
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        // The least byte string above all that begin with the prefix: the prefix without the 255s
        // at its end, its last byte one greater.
        while end.pop_if(|last| *last == u8::MAX).is_some() {}
        let end = end.split_last().map(|(last, rest)| {
            let mut end = rest.to_vec();
            end.push(last + 1);
            Bytes::from(end)
        });
        Self { start: Some(Bytes::copy_from_slice(prefix)), end }
    }

    /// The same range, going on after `key` in ascending order.
    #[must_use]
    pub fn after(self, key: &Key) -> Self {
        let mut start = key.as_bytes().to_vec();
        start.push(0);
        Self { start: Some(start.into()), end: self.end }
    }

    /// Whether `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_ref().is_none_or(|start| key >= start.as_ref())
            && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }
}

/// In which order to scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Least key first.
    #[default]
    Ascending,
    /// Greatest key first.
    Descending,
}

/// Some rows of a partition, in the order asked for; tombstones are among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowPage {
    /// The rows.
    pub rows: Vec<(Key, Row)>,
    /// Whether the range holds more.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range() {
        let range = KeyRange::prefix(b"a\xff");
        assert!(range.contains(b"a\xff") && range.contains(b"a\xff\xff\xff"));
        assert!(!range.contains(b"b") && !range.contains(b"a\xfe"));
        assert_eq!(KeyRange::prefix(b"\xff\xff").end, None);
        assert_eq!(KeyRange::prefix(b"").end, None);
    }
}
