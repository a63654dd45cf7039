//! Titanic on the store: durable Majordomo requests.
//!
//! A record is one row, so each change of one is atomic. Its partition is `titanic/XX`, the first byte
//! of its key: records spread over a store of several machines, and the order of partitions is that of
//! keys. A row expires with its record, and the store sweeps it.
//!
//! One gateway executes what is stored: the embedded store has room for one process. Where several
//! share a store one day, each executes what it accepted and what it found at its start; a request
//! may then run twice, as after a failure, and the first reply stays, since it replaces the very row
//! that was read. `titanic.reply` and `titanic.close` only read and remove rows, so any gateway
//! answers them.
//!
//! Never here: what a record holds, or when a request is sent.

use std::{fmt, sync::Arc, time::Duration};

use buswire_mdp::{
    BoxFuture, BrokerHandle,
    titanic::{Config, OpenError, RecordKey, Storage, StorageError, Stored, Titanic},
};
use buswire_message::{Clock, Entropy, Timestamp};
use buswire_store::{
    Ack, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition, Revision,
    Row, Store, StoreError, StoreNameError,
};
use bytes::Bytes;

/// Rows of one [`Storage::page`]: few, since each may be as long as a message.
const PAGE: usize = 64;

/// Opens Titanic on `store` and offers it at `broker`.
///
/// # Errors
///
/// [`OpenError`].
///
/// # Cancel safety
///
/// Safe to drop; some of its services may be registered.
pub(crate) async fn open(
    broker: &BrokerHandle,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    config: Config,
) -> Result<Titanic, OpenError> {
    let storage = StoreStorage { store: Arc::clone(store), clock: Arc::clone(clock) };
    let entropy = Arc::clone(entropy);
    let randomness = Arc::new(move |bytes: &mut [u8]| entropy.fill(bytes));
    Titanic::open(broker.clone(), Arc::new(storage), randomness, config).await
}

/// Records as rows of the store.
struct StoreStorage {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for StoreStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreStorage").finish_non_exhaustive()
    }
}

/// What goes wrong below Titanic.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("a name in the store")]
    Name(#[from] StoreNameError),
    #[error("a row of Titanic holds no bytes")]
    NotBytes,
    #[error("a row of Titanic has no such key")]
    NotKey,
}

impl From<Failure> for StorageError {
    fn from(failure: Failure) -> Self {
        Self(Box::new(failure))
    }
}

fn partition(shard: u8) -> Result<Partition, StoreNameError> {
    Partition::new(&format!("titanic/{shard:02x}"))
}

/// Which partition a record is in.
fn shard(key: RecordKey) -> u8 {
    let [first, ..] = *key.as_bytes();
    first
}

fn row_key(key: RecordKey) -> Result<Key, StoreNameError> {
    Key::new(Bytes::copy_from_slice(key.as_bytes()))
}

impl StoreStorage {
    /// Makes a batch of what `operation` does to the row of `key`, and commits it if the row has the
    /// revision `unchanged`; says whether it had.
    async fn commit(
        &self,
        key: RecordKey,
        unchanged: Option<u64>,
        operation: impl FnOnce(Key, Timestamp) -> Operation,
    ) -> Result<bool, Failure> {
        let (partition, key) = (partition(shard(key))?, row_key(key)?);
        let now = self.clock.now();
        let mut batch = Batch::new(partition).then(operation(key.clone(), now));
        if let Some(revision) = unchanged {
            batch = batch.expect(Expectation::Unchanged(key, Revision(revision)));
        }
        let outcome = self.store.commit(batch, Ack::Safe, now).await?;
        Ok(matches!(outcome, Outcome::Committed(_)))
    }

    async fn get(&self, key: RecordKey) -> Result<Option<Stored>, Failure> {
        let (partition, key) = (partition(shard(key))?, row_key(key)?);
        let now = self.clock.now();
        let row = self.store.get(&partition, &key, now).await?;
        row.map(|row| stored(&row, now)).transpose()
    }

    async fn scan(&self, after: Option<RecordKey>) -> Result<Vec<(RecordKey, Stored)>, Failure> {
        let mut range = KeyRange::all();
        if let Some(key) = after {
            range = range.after(&row_key(key)?);
        }
        for shard in after.map_or(0, shard)..=u8::MAX {
            let now = self.clock.now();
            let partition = partition(shard)?;
            // Keys of later partitions all come after it, so that the range fits each of them.
            let (range, order) = (range.clone(), Direction::Ascending);
            let rows = self.store.scan(&partition, range, PAGE, order, now).await?.rows;
            if !rows.is_empty() {
                let records =
                    rows.iter().map(|(key, row)| Ok((record_key(key)?, stored(row, now)?)));
                return records.collect();
            }
        }
        Ok(Vec::new())
    }
}

fn record_key(key: &Key) -> Result<RecordKey, Failure> {
    let bytes = <[u8; 32]>::try_from(&key.as_bytes()[..]).map_err(|_| Failure::NotKey)?;
    Ok(RecordKey::from_bytes(bytes))
}

fn stored(row: &Row, now: Timestamp) -> Result<Stored, Failure> {
    let record = row.value.as_bytes().ok_or(Failure::NotBytes)?.clone();
    let remaining = row.expires.map_or(Duration::MAX, |expires| expires.saturating_since(now));
    Ok(Stored { record, revision: row.revision.0, remaining })
}

fn put(value: Bytes, lifetime: Duration) -> impl FnOnce(Key, Timestamp) -> Operation {
    move |key, now| Operation::Put { key, value, expires: Some(now.saturating_add(lifetime)) }
}

impl Storage for StoreStorage {
    fn insert(
        &self,
        key: RecordKey,
        record: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            self.commit(key, None, put(record, lifetime)).await?;
            Ok(())
        })
    }

    fn load(&self, key: RecordKey) -> BoxFuture<'_, Result<Option<Stored>, StorageError>> {
        Box::pin(async move { Ok(self.get(key).await?) })
    }

    fn replace(
        &self,
        key: RecordKey,
        revision: u64,
        record: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'_, Result<bool, StorageError>> {
        Box::pin(async move { Ok(self.commit(key, Some(revision), put(record, lifetime)).await?) })
    }

    fn remove(&self, key: RecordKey) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            self.commit(key, None, |key, _| Operation::Delete { key }).await?;
            Ok(())
        })
    }

    fn page(
        &self,
        after: Option<RecordKey>,
    ) -> BoxFuture<'_, Result<Vec<(RecordKey, Stored)>, StorageError>> {
        Box::pin(async move { Ok(self.scan(after).await?) })
    }
}

#[cfg(test)]
mod tests;
