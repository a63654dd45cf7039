//! Memberships in the store.
//!
//! | partition | key | row |
//! |---|---|---|
//! | `cap/station/NAME` | `m/ID` | a membership |
//! | | `n` | how many there are |
//!
//! Memberships are sealed, since they hold launch capabilities (Belay §23.10). Never here: what one
//! contains.

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition, Row, Store,
    StoreError,
};
use bytes::Bytes;

use super::membership::{Change, Membership, MembershipId};
use crate::seal::SealKeys;

/// The most memberships of a directory; its list must fit into one text with two capabilities each
/// (Belay §21.6: 256).
const MEMBERSHIPS_MAX: usize = 120;

/// How often a change is tried again that somebody else came before.
const ATTEMPTS_MAX: usize = 32;

/// Names a directory: 1 to 64 characters of `a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DirectoryName(String);

impl DirectoryName {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a directory was not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChangeError {
    /// There is no such membership.
    #[error("there is no such membership")]
    Unknown,
    /// There are as many as there may be.
    #[error("the directory has {MEMBERSHIPS_MAX} memberships")]
    Full,
    /// Others changed the directory again and again.
    #[error("the directory changed too often")]
    Contention,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// A change of a directory.
#[derive(Clone, Copy)]
pub(super) enum Edit<'e> {
    /// One more membership.
    Add(&'e Membership),
    /// Another state of one.
    Change(&'e MembershipId, &'e Change),
    /// One less, if it is there.
    Remove(&'e MembershipId),
}

/// The memberships of one directory.
pub(super) struct Directory<'s> {
    store: &'s dyn Store,
    partition: Partition,
    keys: Option<&'s SealKeys>,
}

impl<'s> Directory<'s> {
    #[expect(clippy::expect_used, reason = "a directory has a short name of printable ASCII")]
    pub(super) fn new(
        store: &'s dyn Store,
        name: &DirectoryName,
        keys: Option<&'s SealKeys>,
    ) -> Self {
        let partition = Partition::new(&format!("cap/station/{}", name.as_str()));
        Self { store, partition: partition.expect("a short name of printable ASCII"), keys }
    }

    /// All memberships, the oldest first.
    pub(super) async fn list(&self, now: Timestamp) -> Result<Vec<Membership>, StoreError> {
        let range = KeyRange::prefix(MEMBERSHIPS);
        let scan =
            self.store.scan(&self.partition, range, MEMBERSHIPS_MAX, Direction::Ascending, now);
        let rows = scan.await?.rows;
        let all = rows.iter().filter_map(|(key, row)| Some((key, row.value.as_bytes()?)));
        let mut all = all.map(|(key, row)| self.read(key, row)).collect::<Result<Vec<_>, _>>()?;
        all.sort_by_key(|membership| membership.created);
        Ok(all)
    }

    /// Makes a change; returns when it is on stable storage.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it is then made or not.
    pub(super) async fn edit(&self, edit: &Edit<'_>, now: Timestamp) -> Result<(), ChangeError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(batch) = self.prepare(edit, now).await? else { return Ok(()) };
            match self.store.commit(batch, Ack::Safe, now).await? {
                Outcome::Committed(_) => return Ok(()),
                Outcome::Conflict(_) => {}
            }
        }
        Err(ChangeError::Contention)
    }

    /// What to commit if nobody changes what was read for it; `None` if it is so already.
    async fn prepare(&self, edit: &Edit<'_>, now: Timestamp) -> Result<Option<Batch>, ChangeError> {
        let batch = Batch::new(self.partition.clone());
        Ok(Some(match *edit {
            Edit::Add(new) => {
                let (count, expectation) = self.count(now).await?;
                if count >= MEMBERSHIPS_MAX {
                    return Err(ChangeError::Full);
                }
                batch.expect(expectation).then(self.put(new)?).then(write_count(count + 1))
            }
            Edit::Change(id, change) => {
                let key = key_of(id);
                let row = self.row(&key, now).await?.ok_or(ChangeError::Unknown)?;
                let bytes = row.value.as_bytes().ok_or(ChangeError::Unknown)?;
                let mut membership = self.read(&key, bytes)?;
                membership.apply(change, now);
                batch.expect(unchanged(&key, &row)).then(self.put(&membership)?)
            }
            Edit::Remove(id) => {
                let key = key_of(id);
                let Some(row) = self.row(&key, now).await? else { return Ok(None) };
                let (count, expectation) = self.count(now).await?;
                let batch = batch.expect(unchanged(&key, &row)).expect(expectation);
                batch.then(Operation::Delete { key }).then(write_count(count.saturating_sub(1)))
            }
        }))
    }

    /// A membership as it is stored: its text, sealed if there are keys.
    fn put(&self, membership: &Membership) -> Result<Operation, StoreError> {
        let (key, mut text) = (key_of(&membership.id), membership.to_text()?);
        if let Some(keys) = self.keys {
            let sealed = keys.seal(&self.name(&key), &text);
            text = sealed.ok_or_else(|| corrupt("a membership that can't be sealed"))?;
        }
        Ok(Operation::Put { key, value: text.into(), expires: None })
    }

    /// Reads what `put` wrote, also if there were no keys then.
    fn read(&self, key: &Key, row: &[u8]) -> Result<Membership, StoreError> {
        let text = std::str::from_utf8(row).map_err(|_| corrupt("a membership that is no text"))?;
        let opened = match self.keys {
            Some(keys) if !text.starts_with('{') => keys.open(&self.name(key), text),
            _ => Some(text.to_owned()),
        };
        let opened = opened.ok_or_else(|| corrupt("a membership that no key opens"))?;
        Membership::from_text(&opened).ok_or_else(|| corrupt("a membership that is none"))
    }

    /// What a membership is sealed for.
    fn name(&self, key: &Key) -> String {
        format!("{} {}", self.partition.as_str(), String::from_utf8_lossy(key.as_bytes()))
    }

    async fn count(&self, now: Timestamp) -> Result<(usize, Expectation), StoreError> {
        let key = count_key();
        Ok(match self.row(&key, now).await? {
            Some(row) => {
                let count = row.value.as_bytes().and_then(|bytes| bytes.first().copied());
                (count.unwrap_or_default().into(), unchanged(&key, &row))
            }
            None => (0, Expectation::Absent(key)),
        })
    }

    async fn row(&self, key: &Key, now: Timestamp) -> Result<Option<Row>, StoreError> {
        self.store.get(&self.partition, key, now).await
    }
}

/// Begins the keys of memberships.
const MEMBERSHIPS: &[u8] = b"m/";

#[expect(clippy::expect_used, reason = "a short key that is not empty")]
fn key(bytes: Vec<u8>) -> Key {
    Key::new(bytes).expect("a short key that is not empty")
}

fn key_of(id: &MembershipId) -> Key {
    key([MEMBERSHIPS, id.to_text().as_bytes()].concat())
}

fn count_key() -> Key {
    key(b"n".to_vec())
}

/// One byte holds [`MEMBERSHIPS_MAX`].
fn write_count(count: usize) -> Operation {
    let value = Bytes::copy_from_slice(&[u8::try_from(count).unwrap_or(u8::MAX)]);
    Operation::Put { key: count_key(), value, expires: None }
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

fn unchanged(key: &Key, row: &Row) -> Expectation {
    Expectation::Unchanged(key.clone(), row.revision)
}
