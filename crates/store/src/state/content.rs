//! Rows and entries as a [`State`](super::State) holds them.
//!
//! Never here: changing them.

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;

use crate::{batch::DedupeId, read::Row};

/// A row and where an engine keeps it.
#[derive(Clone, Debug)]
pub(crate) struct StoredRow {
    pub(crate) row: Row,
    /// The revision that the row began with. Names it on disk: new rows come last there, and a row
    /// that changes stays where it is.
    pub(crate) id: u64,
}

/// An entry of a log.
#[derive(Clone, Debug)]
pub(crate) struct StoredEntry {
    pub(crate) body: Body,
    pub(crate) expires: Timestamp,
    pub(crate) dedupe: Option<DedupeId>,
}

/// The content of an entry.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) place: Place,
    /// The content itself, unless it is on disk alone.
    pub(crate) resident: Option<Bytes>,
}

impl Body {
    /// A content in memory, whose place on disk is not known yet.
    pub(crate) fn resident(sequence: Sequence, bytes: Bytes) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let place = Place { segment: sequence, offset: 0, length };
        Self { place, resident: Some(bytes) }
    }

    /// How many bytes the content has.
    pub(crate) const fn len(&self) -> usize {
        self.place.length as usize
    }
}

/// Where the content of an entry is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The segment that it is part of, named by its first entry.
    pub(crate) segment: Sequence,
    /// Where in the segment it begins, in bytes.
    pub(crate) offset: u32,
    /// How many bytes it has.
    pub(crate) length: u32,
}

/// Whether the time is before the expiry of `row`.
pub(crate) fn row_is_live(row: &Row, now: Timestamp) -> bool {
    row.expires.is_none_or(|expires| now < expires)
}
