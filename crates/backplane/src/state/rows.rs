//! Where the rows of the door are in the store, and how they are read and written.
//!
//! One partition holds the accounts, which change rarely and are remembered; 256 partitions hold
//! tokens and channels, chosen by what the tokens of one chain have in common, so that issuing and
//! refreshing are one commit each.

use std::{fmt, sync::Arc};

use buswire_message::{Clock, SecretHash, Timestamp};
use buswire_store::{
    Ack, Applied, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition,
    Revision, Row, Store, StoreError,
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::rules::token::Locator;

/// The prefix of every partition of the door.
pub(crate) const ACCOUNTS: &str = "backplane/accounts";

/// How many rows one scan reads.
const SCAN_PAGE: usize = 1000;

/// The store, seen as the rows of the door.
#[derive(Clone)]
pub(crate) struct Rows {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    accounts: Partition,
    shards: Arc<[Partition]>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

impl Rows {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let shards = (0..256).map(|shard| partition(&format!("backplane/tokens/{shard:02x}")));
        Self { store, clock, accounts: partition(ACCOUNTS), shards: shards.collect() }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The present time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The partition of the accounts.
    pub(crate) fn accounts(&self) -> &Partition {
        &self.accounts
    }

    /// The partition of the tokens with this locator. By its hash: a partition's name shows in logs.
    pub(crate) fn shard(&self, locator: &Locator) -> &Partition {
        self.shards.get(Self::shard_number(locator)).unwrap_or(&self.accounts)
    }

    /// The place among [`shards`](Self::shards) of the tokens with this locator.
    pub(crate) fn shard_number(locator: &Locator) -> usize {
        let [first, ..] = *SecretHash::of(locator.as_str()).as_bytes();
        usize::from(first)
    }

    /// All partitions of tokens, channels and tickets.
    pub(crate) fn shards(&self) -> &[Partition] {
        &self.shards
    }

    /// The row of `key`, decoded, with its revision. A tombstone counts as nothing.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        partition: &Partition,
        key: &Key,
    ) -> Result<Option<(T, Revision)>, StoreError> {
        let row = self.store.get(partition, key, self.now()).await?;
        row.as_ref().and_then(|row| decode(row).transpose()).transpose()
    }

    /// All rows whose keys begin with the words `words`, decoded, with the last word of each key.
    pub(crate) async fn scan<T: DeserializeOwned>(
        &self,
        partition: &Partition,
        words: &[&str],
    ) -> Result<Vec<(String, T)>, StoreError> {
        let rows = self.scan_rows(partition, words).await?;
        Ok(rows.into_iter().map(|row| (row.last_word(), row.value)).collect())
    }

    /// All rows whose keys begin with the words `words`, decoded, in the order of their keys.
    pub(crate) async fn scan_rows<T: DeserializeOwned>(
        &self,
        partition: &Partition,
        words: &[&str],
    ) -> Result<Vec<Stored<T>>, StoreError> {
        let mut prefix = words.join("\0").into_bytes();
        prefix.push(0);
        let (mut range, mut found) = (Some(KeyRange::prefix(&prefix)), Vec::new());
        while let Some(part) = range {
            let page = self.page(partition, part).await?;
            found.extend(page.rows);
            range = page.rest;
        }
        Ok(found)
    }

    /// The first rows of a range, decoded, in the order of their keys.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        partition: &Partition,
        range: KeyRange,
    ) -> Result<StoredPage<T>, StoreError> {
        let (ascending, now) = (Direction::Ascending, self.now());
        let page = self.store.scan(partition, range.clone(), SCAN_PAGE, ascending, now).await?;
        let rest = page.rows.last().filter(|_| page.more).map(|(last, _)| range.after(last));
        let mut rows = Vec::with_capacity(page.rows.len());
        for (key, row) in page.rows {
            if let Some((value, revision)) = decode(&row)? {
                rows.push(Stored { key, value, revision, expires: row.expires });
            }
        }
        Ok(StoredPage { rows, rest })
    }

    /// Commits, safely.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        match self.store.commit(batch, Ack::Safe, self.now()).await? {
            Outcome::Committed(_) => Ok(Committed::Done),
            Outcome::Conflict(at) => Ok(Committed::Conflict(at)),
        }
    }

    /// Commits a batch whose first operation puts a row; the revision of that, or `None` if an expectation
    /// did not hold.
    pub(crate) async fn commit_row(&self, batch: Batch) -> Result<Option<Revision>, StoreError> {
        match self.store.commit(batch, Ack::Safe, self.now()).await? {
            Outcome::Committed(applied) => match applied.first() {
                Some(Applied::Row(revision)) => Ok(Some(*revision)),
                _ => Err(StoreError::Corrupt("a row was put and has no revision".into())),
            },
            Outcome::Conflict(_) => Ok(None),
        }
    }

    /// Commits what has no expectations.
    pub(crate) async fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        match self.commit(batch).await? {
            Committed::Done => Ok(()),
            Committed::Conflict(_) => Err(StoreError::Retry("a row changed meanwhile".into())),
        }
    }
}

/// A row, as it was read.
pub(crate) struct Stored<T> {
    pub(crate) key: Key,
    pub(crate) value: T,
    pub(crate) revision: Revision,
    pub(crate) expires: Option<Timestamp>,
}

impl<T> Stored<T> {
    /// The last word of its key, which is its name.
    pub(crate) fn last_word(&self) -> String {
        let word = self.key.as_bytes().rsplit(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(word).into_owned()
    }
}

/// Some rows of a range.
pub(crate) struct StoredPage<T> {
    pub(crate) rows: Vec<Stored<T>>,
    /// What of the range was not read yet; `None` if nothing is left.
    pub(crate) rest: Option<KeyRange>,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    Done,
    /// The expectation with this index did not hold.
    Conflict(usize),
}

fn decode<T: DeserializeOwned>(row: &Row) -> Result<Option<(T, Revision)>, StoreError> {
    let Some(bytes) = row.value.as_bytes() else { return Ok(None) };
    serde_json::from_slice(bytes)
        .map(|value| Some((value, row.revision)))
        .map_err(|error| StoreError::Corrupt(format!("a row of Backplane: {error}")))
}

/// The key of the row with these words. No word holds a NUL, and together they are short: account
/// names have at most 255 bytes.
pub(crate) fn key(words: &[&str]) -> Key {
    #[expect(clippy::expect_used, reason = "words are never empty and at most 3 × 255 bytes")]
    Key::new(words.join("\0").into_bytes()).expect("a key of short words")
}

/// The key of what a credential leads to.
pub(crate) fn secret_key(kind: &str, hash: &SecretHash) -> Key {
    let mut bytes = kind.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(hash.as_bytes());
    #[expect(clippy::expect_used, reason = "a kind is a short word and a hash has 32 bytes")]
    Key::new(bytes).expect("a key of a word and a hash")
}

/// Writes a row.
pub(crate) fn put<T: Serialize>(key: Key, value: &T, expires: Option<Timestamp>) -> Operation {
    // Only maps with other keys than strings fail, and no record has one.
    let value = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
    Operation::Put { key, value, expires }
}

/// Expects a row to be as it was read.
pub(crate) const fn unchanged(key: Key, revision: Revision) -> Expectation {
    Expectation::Unchanged(key, revision)
}

fn partition(name: &str) -> Partition {
    #[expect(clippy::expect_used, reason = "called with constants of this file")]
    Partition::new(name).expect("a partition name")
}
