//! Titanic on the store: durable Majordomo requests.
//!
//! A record is one row, so each change of one is atomic. Its partition is `titanic/XX`, the first byte
//! of its key: records spread over a store of several machines, and the order of partitions is that of
//! keys. A row expires with its record, and the store sweeps it.
//!
//! Where several gateways share the store, each record has one that sends it to its service: the one
//! that took it in, or, if that is gone, whoever takes it over (`owners`). A request may run twice, as
//! after any failure, and the first reply stays, since it replaces the very row that was read.
//! `titanic.reply` and `titanic.close` only read and remove rows, so any gateway answers them.
//!
//! Never here: what a record holds, or when a request is sent.

mod owners;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

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
use tokio_util::sync::CancellationToken;

use owners::{Owner, Owners};

/// Rows of one [`Storage::page`]: few, since each may be as long as a message.
const PAGE: usize = 64;

/// A Titanic that is offered.
pub(crate) struct Opened {
    titanic: Titanic,
    /// The gateways that share the store; `None` if none can.
    owners: Option<Arc<Owners>>,
}

impl Opened {
    /// Sends requests to their services until `stop`; then waits for those under way.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self { titanic, owners } = self;
        let Some(owners) = owners else { return titanic.run(stop.cancelled()).await };
        // As long as something is under way nobody is to take it over.
        let done = CancellationToken::new();
        let run = async {
            titanic.run(stop.cancelled()).await;
            done.cancel();
        };
        futures::future::join(run, owners.follow(&titanic, &done)).await;
    }
}

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
) -> Result<Opened, OpenError> {
    let mut owners = None;
    if store.status().is_shared {
        let joined = join(store, clock, &**entropy).await.map_err(StorageError::from)?;
        owners = Some(Arc::new(joined));
    }
    let (store, clock) = (Arc::clone(store), Arc::clone(clock));
    let storage = StoreStorage { store, clock, owners: owners.clone() };
    let entropy = Arc::clone(entropy);
    let randomness = Arc::new(move |bytes: &mut [u8]| entropy.fill(bytes));
    let titanic = Titanic::open(broker.clone(), Arc::new(storage), randomness, config).await?;
    Ok(Opened { titanic, owners })
}

/// Becomes one of the gateways that share the store.
async fn join(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<Owners, Failure> {
    let owners = Owners::new(Arc::clone(store), Arc::clone(clock), entropy)?;
    owners.announce().await?;
    Ok(owners)
}

/// Records as rows of the store.
struct StoreStorage {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// The gateways that share the store; `None` if none can.
    owners: Option<Arc<Owners>>,
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
    #[error("what is stored can't be taken in")]
    TakeIn(#[from] StorageError),
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
        Ok(row.map(|row| self.stored(&row, now)).transpose()?.map(|(_, stored)| stored))
    }

    /// A row as Titanic sees it, and the gateway that it names.
    fn stored(&self, row: &Row, now: Timestamp) -> Result<(Option<Owner>, Stored), Failure> {
        let (owner, record) =
            owners::unsign(row.value.as_bytes().ok_or(Failure::NotBytes)?.clone());
        let remaining = row.expires.map_or(Duration::MAX, |expires| expires.saturating_since(now));
        let is_ours = self.owners.as_ref().is_none_or(|owners| owner == Some(owners.own));
        Ok((owner, Stored { record, revision: row.revision.0, remaining, is_ours }))
    }

    /// What is stored of a record that this gateway sends.
    fn value(&self, record: Bytes) -> Bytes {
        match &self.owners {
            Some(owners) => owners.own.sign(&record),
            None => record,
        }
    }

    /// The next records after `after` that this gateway sends; it takes over what nobody else does.
    async fn ours(
        &self,
        mut after: Option<RecordKey>,
    ) -> Result<Vec<(RecordKey, Stored)>, Failure> {
        let living = match &self.owners {
            Some(owners) => owners.living().await?,
            None => BTreeSet::new(),
        };
        loop {
            let page = self.scan(after).await?;
            let Some((last, ..)) = page.last() else { return Ok(Vec::new()) };
            after = Some(*last);
            let mut ours = Vec::new();
            for (key, owner, stored) in page {
                let is_others = owner.is_some_and(|owner| living.contains(&owner));
                if stored.is_ours {
                    ours.push((key, stored));
                } else if !is_others {
                    ours.extend(self.take_over(key, stored).await?.map(|stored| (key, stored)));
                }
            }
            if !ours.is_empty() {
                return Ok(ours);
            }
        }
    }

    /// Writes this gateway's name into a record of one that is gone; `None` if another was faster.
    async fn take_over(&self, key: RecordKey, stored: Stored) -> Result<Option<Stored>, Failure> {
        let Stored { record, revision, remaining, .. } = stored;
        let named = put(self.value(record), remaining);
        if !self.commit(key, Some(revision), named).await? {
            return Ok(None);
        }
        Ok(self.get(key).await?.filter(|stored| stored.is_ours))
    }

    async fn scan(
        &self,
        after: Option<RecordKey>,
    ) -> Result<Vec<(RecordKey, Option<Owner>, Stored)>, Failure> {
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
                let records = rows.iter().map(|(key, row)| {
                    let (owner, stored) = self.stored(row, now)?;
                    Ok((record_key(key)?, owner, stored))
                });
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
            self.commit(key, None, put(self.value(record), lifetime)).await?;
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
        Box::pin(async move {
            let replace = put(self.value(record), lifetime);
            Ok(self.commit(key, Some(revision), replace).await?)
        })
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
        Box::pin(async move { Ok(self.ours(after).await?) })
    }
}

#[cfg(test)]
mod tests;
