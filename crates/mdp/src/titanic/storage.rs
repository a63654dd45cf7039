//! What Titanic asks of whoever keeps its records. Never here: an engine.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;

use super::RecordKey;
use crate::BoxFuture;

/// Keeps records, each for a lifetime. Used as `Arc<dyn Storage>` by any number of tasks at once.
///
/// A record is visible until its lifetime ends, and then removed by the storage itself. A change is
/// durable, and seen by every later call, when its future is ready. After an error a change may have
/// happened or not, but never in part.
///
/// # Cancel safety
///
/// Every future may be dropped at any time; a change then happened whole or not at all.
pub trait Storage: Send + Sync {
    /// Stores a record under a new key.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: it is not certain that it is stored.
    fn insert(
        &self,
        key: RecordKey,
        record: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'_, Result<(), StorageError>>;

    /// The record of `key`, if there is one.
    ///
    /// # Errors
    ///
    /// [`StorageError`].
    fn load(&self, key: RecordKey) -> BoxFuture<'_, Result<Option<Stored>, StorageError>>;

    /// Puts `record` in the place of the one that has this revision; `false`, and nothing changed, if
    /// that one was replaced, removed or is past its lifetime.
    ///
    /// # Errors
    ///
    /// [`StorageError`].
    fn replace(
        &self,
        key: RecordKey,
        revision: u64,
        record: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'_, Result<bool, StorageError>>;

    /// Removes a record; removing what is not there is done at once.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: it is not certain that it is removed.
    fn remove(&self, key: RecordKey) -> BoxFuture<'_, Result<(), StorageError>>;

    /// The next records after `after`, or the first, in the order of their keys, that this process is
    /// to send to their services; a bounded number of them, and none at the end. Where several
    /// processes share the storage, it takes over what belongs to one that is gone.
    ///
    /// # Errors
    ///
    /// [`StorageError`].
    fn page(
        &self,
        after: Option<RecordKey>,
    ) -> BoxFuture<'_, Result<Vec<(RecordKey, Stored)>, StorageError>>;
}

/// A record that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its bytes.
    pub record: Bytes,
    /// Changes whenever the record of this key is replaced.
    pub revision: u64,
    /// How much of its lifetime is left.
    pub remaining: Duration,
    /// Whether this process is to send it to its service. Where several share the storage, one is.
    pub is_ours: bool,
}

/// The storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the storage of Titanic failed")]
pub struct StorageError(#[source] pub Box<dyn Error + Send + Sync>);
