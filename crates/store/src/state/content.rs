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

/// The content of an entry, or where it is.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// In memory.
    Resident(Bytes),
    /// On disk only.
    Stored(Place),
}

impl Body {
    /// How many bytes the content has.
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Resident(bytes) => bytes.len(),
            Self::Stored(place) => place.length as usize,
        }
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
