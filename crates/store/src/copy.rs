//! Copying a whole store into another engine, with the numbers that everything was given.
//!
//! Offline: nobody else may use either store meanwhile. Never here: how an engine keeps anything.

use std::hash::{DefaultHasher, Hash, Hasher};

use buswire_message::{Sequence, Timestamp};

use crate::{
    batch::DedupeId,
    error::StoreError,
    names::{Key, LogName, Partition},
    read::{Direction, Entry, KeyRange, Position, Row, RowValue},
    store::{BoxFuture, Store},
};

/// How many rows or entries are read at once.
const PAGE: usize = 512;

/// Before every expiry: what has expired and was not swept is copied too.
const ALL: Timestamp = Timestamp::EPOCH;

/// What a store has of one partition: its rows, or one of its logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The partition.
    pub partition: Partition,
    /// The log; `None` for the rows.
    pub log: Option<LogName>,
}

/// Some rows or entries, as they are put into a store.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// Rows of a partition with their revisions.
    Rows(Partition, Vec<(Key, Row)>),
    /// Entries of a log, in order, with their sequences.
    Entries(Partition, LogName, Vec<(Entry, Option<DedupeId>)>),
}

/// A store whose content can be taken out and put in as it is.
pub trait Portable: Store {
    /// Everything that the store has, in no order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    fn parts(&self) -> BoxFuture<'_, Result<Vec<Part>, StoreError>>;

    /// The dedupe ids of a log and the entries that they name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    fn dedupe_ids<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
    ) -> BoxFuture<'a, Result<Vec<(Sequence, DedupeId)>, StoreError>>;

    /// Puts rows or entries in, over whatever has their keys and sequences. Numbers that are given
    /// later are greater. `now` is the time, by which an engine may group what expires together.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn import(&self, chunk: Chunk, now: Timestamp) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// How much was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Copied {
    /// Partitions' rows and logs.
    pub parts: usize,
    /// Of so many.
    pub of: usize,
    /// Rows.
    pub rows: u64,
    /// Entries.
    pub entries: u64,
    /// A sum of hashes of all rows and entries, in whatever order they came.
    digest: u64,
}

/// Why a store was not copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// There is something in the target.
    #[error("the target is not empty: name a new directory, database or prefix")]
    NotEmpty,
    /// The store that is copied failed.
    #[error("the source can't be read")]
    Source(#[source] StoreError),
    /// The store that it is copied to failed. What was copied by then is in it.
    #[error("the target can't be written; empty it before the next try")]
    Target(#[source] StoreError),
    /// What was read back is not what was copied.
    #[error(
        "the copy differs from the source: {} rows and {} entries of {} and {}",
        found.rows, found.entries, copied.rows, copied.entries
    )]
    Differs {
        /// What was copied.
        copied: Copied,
        /// What is in the target.
        found: Copied,
    },
}

/// Copies everything in `from` to `to`, which must be empty, then reads it back and compares.
/// `progress` is told after every page.
///
/// # Errors
///
/// [`CopyError`].
///
/// # Cancel safety
///
/// Dropped, it leaves a part of the copy in `to`.
pub async fn copy(
    from: &dyn Portable,
    to: &dyn Portable,
    now: Timestamp,
    mut progress: impl FnMut(&Copied) + Send,
) -> Result<Copied, CopyError> {
    if !to.parts().await.map_err(CopyError::Target)?.is_empty() {
        return Err(CopyError::NotEmpty);
    }
    let parts = from.parts().await.map_err(CopyError::Source)?;
    let mut copied = Copied { of: parts.len(), ..Copied::default() };
    for part in &parts {
        let mut reader = PartReader::new(from, part).await.map_err(CopyError::Source)?;
        while let Some(chunk) = reader.next().await.map_err(CopyError::Source)? {
            copied.add(&chunk);
            to.import(chunk, now).await.map_err(CopyError::Target)?;
            progress(&copied);
        }
        copied.parts += 1;
    }
    let mut found = Copied::default();
    for part in to.parts().await.map_err(CopyError::Target)? {
        let mut reader = PartReader::new(to, &part).await.map_err(CopyError::Target)?;
        while let Some(chunk) = reader.next().await.map_err(CopyError::Target)? {
            found.add(&chunk);
        }
    }
    let same = |a: &Copied| (a.rows, a.entries, a.digest);
    if same(&found) == same(&copied) {
        Ok(copied)
    } else {
        Err(CopyError::Differs { copied, found })
    }
}

impl Copied {
    fn add(&mut self, chunk: &Chunk) {
        match chunk {
            Chunk::Rows(partition, rows) => {
                for (key, row) in rows {
                    self.rows += 1;
                    let value = match &row.value {
                        RowValue::Bytes(bytes) => (0, bytes.clone(), 0),
                        RowValue::Version(version) => (1, bytes::Bytes::new(), *version),
                        RowValue::Tombstone => (2, bytes::Bytes::new(), 0),
                    };
                    self.digest(&(partition, key, value, row.revision, row.expires));
                }
            }
            Chunk::Entries(partition, log, entries) => {
                for (entry, dedupe) in entries {
                    self.entries += 1;
                    let Entry { sequence, body, expires } = entry;
                    self.digest(&(partition, log, sequence, body, expires, dedupe));
                }
            }
        }
    }

    fn digest(&mut self, item: &impl Hash) {
        let mut hasher = DefaultHasher::new();
        item.hash(&mut hasher);
        self.digest = self.digest.wrapping_add(hasher.finish());
    }
}

/// Reads one part in pages.
struct PartReader<'a> {
    store: &'a dyn Portable,
    part: &'a Part,
    dedupe: std::collections::HashMap<Sequence, DedupeId>,
    range: KeyRange,
    after: Option<Position>,
    more: bool,
}

impl<'a> PartReader<'a> {
    async fn new(store: &'a dyn Portable, part: &'a Part) -> Result<Self, StoreError> {
        let dedupe = match &part.log {
            Some(log) => store.dedupe_ids(&part.partition, log).await?,
            None => Vec::new(),
        };
        let (dedupe, range) = (dedupe.into_iter().collect(), KeyRange::all());
        Ok(Self { store, part, dedupe, range, after: None, more: true })
    }

    async fn next(&mut self) -> Result<Option<Chunk>, StoreError> {
        if !self.more {
            return Ok(None);
        }
        let partition = &self.part.partition;
        let Some(log) = &self.part.log else {
            let range = self.range.clone();
            let page = self.store.scan(partition, range, PAGE, Direction::Ascending, ALL).await?;
            self.more = page.more;
            if let Some((last, _)) = page.rows.last() {
                self.range = KeyRange::all().after(last);
            }
            return Ok(Some(Chunk::Rows(partition.clone(), page.rows)));
        };
        let page = self.store.read_log(partition, log, self.after, PAGE, ALL).await?;
        (self.more, self.after) = (page.more, Some(page.next));
        let entries = page.entries.into_iter().map(|entry| {
            let dedupe = self.dedupe.remove(&entry.sequence);
            (entry, dedupe)
        });
        Ok(Some(Chunk::Entries(partition.clone(), log.clone(), entries.collect())))
    }
}
