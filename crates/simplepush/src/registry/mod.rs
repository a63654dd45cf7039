//! What is stored of UserAgents, their channels and pending versions (SimplePush §9.1, §11).
//!
//! Each UserAgent has one partition, named by a hash of its UAID. In it are:
//!
//! | row | holds | written by |
//! |---|---|---|
//! | `u` | the record: when the UserAgent was last seen, and all its channels | `register`, `unregister`, pruning, touching |
//! | `p` + channel | the pending version | a PUT raises it; an `ack` deletes it |
//! | `l` + channel | the highest version that was ever acknowledged | an `ack` raises it |
//! | `w` | where the UserAgent can be woken, if that is in use | `hello` |
//! | `c` | the connection that the UserAgent has, if gateways share the store | `hello`, the end of it |
//!
//! The channels are in the record itself, so a UAID and its channels appear and vanish together
//! (S7, S13), and every PUT expects the record unchanged, so that none is accepted for a channel that
//! is not registered at that moment (S14). A UserAgent without channels has no record: there is
//! nothing to remember (§9.4).
//!
//! The record expires when the UserAgent has been away too long; the other rows always outlive it, so
//! a pending version never vanishes under a UAID that is still honoured (S3).
//!
//! Never here: which UserAgents are connected.

mod apply;
mod directory;
mod keys;
mod presence;
mod publish;
mod record;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buswire_message::{Clock, Timestamp, Version};
use buswire_store::{
    Ack, Batch, Direction, Epoch, Expectation, Key, KeyRange, Operation, Outcome, Partition,
    Revision, Row, RowValue, Store, StoreError,
};
use tokio::sync::broadcast;

use self::{
    directory::Entry,
    keys::{last_key, pending_channel, pending_key, pending_range, record_key, wake_key},
    presence::Holder,
    record::Record,
};
pub(crate) use self::{
    directory::{Stored, StoredChannel},
    presence::{GATEWAY_BEAT, GatewayId},
    publish::{PublishEffect, PublishError},
};
use crate::{
    config::Config,
    connection::{Command, Loaded, PendingVersion, Reply, UserAgent},
    id::{ChannelId, Uaid, UserAgentId},
    service::EndedChannel,
    wakeup::WakePlace,
};

/// How often a change that others got ahead of is tried again.
const ATTEMPTS_MAX: usize = 16;
/// Ended channels that wait for each receiver.
const ENDED_MAX: usize = 1024;
/// Rows that are read at once.
const SCAN_LIMIT: usize = 1024;

/// What is stored of UserAgents.
#[derive(Debug)]
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: Arc<Config>,
    gateway: GatewayId,
    /// The store's epoch as of the last look; records of an older one can't be relied on.
    epoch: AtomicU64,
    ended: broadcast::Sender<EndedChannel>,
}

/// Why the registry did not do what it was asked; detail is in the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Others changed the same record again and again.
    #[error("the record changed too often")]
    Contention,
    /// A name of a row was refused, which can't happen.
    #[error("a name in the store is not well formed")]
    Name,
}

impl From<buswire_store::StoreNameError> for RegistryError {
    fn from(_: buswire_store::StoreNameError) -> Self {
        Self::Name
    }
}

/// A record as it is in the store.
struct StoredRecord {
    record: Record,
    revision: Revision,
    expires: Option<Timestamp>,
}

impl Registry {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config: Arc<Config>,
        gateway: GatewayId,
    ) -> Self {
        let epoch = AtomicU64::new(store.status().epoch.0);
        let (ended, _) = broadcast::channel(ENDED_MAX);
        Self { store, clock, config, gateway, epoch, ended }
    }

    /// The channels that end from now on.
    pub(crate) fn ended_channels(&self) -> broadcast::Receiver<EndedChannel> {
        self.ended.subscribe()
    }

    /// Tells whoever wants to know that channels have ended.
    fn tell_ended(&self, user_agent: UserAgentId, channels: &[ChannelId], at: Timestamp) {
        for &channel in channels {
            // Without receivers nobody wants to know.
            let _told = self.ended.send(EndedChannel { user_agent, channel, at });
        }
    }

    /// Looks whether the store may have lost writes since the last look (§11.3). After `true` every
    /// connection must be ended, so that its UserAgent shakes hands again.
    pub(crate) fn epoch_changed(&self) -> bool {
        let epoch = self.store.status().epoch.0;
        self.epoch.swap(epoch, Ordering::SeqCst) != epoch
    }

    /// Why the store can't take commits; `None` if it can.
    pub(crate) fn unavailable(&self) -> Option<String> {
        self.store.status().unavailable
    }

    /// Does what the connection of this number asks for. Failures are logged here, once.
    pub(crate) async fn execute(&self, connection: u64, command: Command) -> Reply {
        let own = self.own(connection);
        let result = match command {
            Command::Enter(uaid) => self.enter_and_load(uaid, own).await.map(Reply::Loaded),
            Command::Load(uaid) => self.load(uaid, own).await.map(Reply::Loaded),
            Command::Leave(uaid) => self.leave(uaid, own).await.map(|()| Reply::Done),
            Command::Drop(uaid) => self.drop_record(uaid.key()).await.map(|_| Reply::Done),
            Command::Prune { uaid, revision, channels } => {
                self.prune(uaid, revision, &channels).await
            }
            Command::Apply { uaid, changes } => {
                self.apply(uaid, own, &changes).await.map(Reply::Applied)
            }
            Command::Wake(uaid, place) => {
                self.note_wake_place(uaid, place).await.map(|()| Reply::Done)
            }
            Command::Touch(uaid) => self.touch(uaid, own).await.map(|()| Reply::Done),
        };
        result.unwrap_or_else(|error| {
            log_failure(&error);
            Reply::Failed
        })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    /// How long a record is kept after it was touched. Touching is allowed to be late by one
    /// interval, so that is added.
    fn record_lifetime(&self) -> Duration {
        self.config.timing.forget_after.saturating_add(self.config.timing.touch_interval)
    }

    /// When a version that is written at `now` expires: after any record that exists by then.
    fn version_expiry(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.record_lifetime()).saturating_add(self.config.timing.touch_interval)
    }

    async fn read_record(
        &self,
        partition: &Partition,
        now: Timestamp,
    ) -> Result<Option<StoredRecord>, RegistryError> {
        let Some(row) = self.store.get(partition, &record_key()?, now).await? else {
            return Ok(None);
        };
        // A record that can't be read is one that can't be relied on: as if of an older epoch.
        let record = row.value.as_bytes().and_then(|bytes| Record::decode(bytes));
        let record = record.unwrap_or_else(|| Record::unreadable(now));
        Ok(Some(StoredRecord { record, revision: row.revision, expires: row.expires }))
    }

    /// The connection is named before the pending versions are read, so that a PUT at another gateway
    /// finds it or is found (R-DEL-2).
    async fn enter_and_load(&self, uaid: Uaid, own: Holder) -> Result<Loaded, RegistryError> {
        if self.enter(&uaid.key().partition()?, own).await? {
            self.load(uaid, own).await
        } else {
            Ok(Loaded::Superseded)
        }
    }

    async fn load(&self, uaid: Uaid, own: Holder) -> Result<Loaded, RegistryError> {
        let partition = uaid.key().partition()?;
        let now = self.now();
        if self.is_superseded(&partition, own, now).await? {
            return Ok(Loaded::Superseded);
        }
        let Some(stored) = self.read_record(&partition, now).await? else {
            return Ok(Loaded::Unknown);
        };
        if stored.record.epoch != self.epoch() {
            return Ok(Loaded::Stale);
        }
        let channels = stored.record.channels;
        let pending = self
            .scan(&partition, pending_range(), now)
            .await?
            .into_iter()
            .filter_map(|(key, row)| pending_version(&key, &row))
            .filter(|pending| channels.binary_search(&pending.channel).is_ok())
            .collect();
        Ok(Loaded::Known(UserAgent {
            revision: stored.revision,
            touched: stored.record.touched,
            channels,
            pending,
        }))
    }

    async fn scan(
        &self,
        partition: &Partition,
        range: KeyRange,
        now: Timestamp,
    ) -> Result<Vec<(Key, Row)>, RegistryError> {
        let mut rows = Vec::new();
        let mut range = range;
        loop {
            let page = self
                .store
                .scan(partition, range.clone(), SCAN_LIMIT, Direction::Ascending, now)
                .await?;
            let last = page.rows.last().map(|(key, _)| key.clone());
            rows.extend(page.rows);
            match last.filter(|_| page.more) {
                Some(last) => range = range.after(&last),
                None => return Ok(rows),
            }
        }
    }

    /// Deletes a UAID: the record first of all, the rest with it (§11.1). Returns whether there was
    /// one.
    pub(crate) async fn drop_record(&self, user_agent: UserAgentId) -> Result<bool, RegistryError> {
        let partition = user_agent.partition()?;
        for _ in 0..ATTEMPTS_MAX {
            let now = self.now();
            let Some(stored) = self.read_record(&partition, now).await? else {
                return Ok(false);
            };
            let mut batch = Batch::new(partition.clone())
                .expect(Expectation::Unchanged(record_key()?, stored.revision))
                .then(Operation::Delete { key: record_key()? })
                .then(Operation::Delete { key: wake_key()? });
            for (key, _) in self.versions(&partition, now).await? {
                batch = batch.then(Operation::Delete { key });
            }
            let outcome =
                self.commit_listed(batch, Ack::Accepted, user_agent, Entry::Gone, now).await?;
            if let Outcome::Committed(_) = outcome {
                self.tell_ended(user_agent, &stored.record.channels, now);
                return Ok(true);
            }
        }
        Err(RegistryError::Contention)
    }

    /// Every row that holds a version; bounded, so that it fits a batch.
    async fn versions(
        &self,
        partition: &Partition,
        now: Timestamp,
    ) -> Result<Vec<(Key, Row)>, RegistryError> {
        let mut rows = self.scan(partition, KeyRange::all(), now).await?;
        rows.retain(|(_, row)| row.value.as_version().is_some());
        rows.truncate(buswire_store::OPERATIONS_MAX - 2);
        Ok(rows)
    }

    async fn prune(
        &self,
        uaid: Uaid,
        revision: Revision,
        channels: &[ChannelId],
    ) -> Result<Reply, RegistryError> {
        let partition = uaid.key().partition()?;
        let now = self.now();
        let stored = match self.read_record(&partition, now).await? {
            Some(stored) if stored.revision == revision => stored,
            _ => return Ok(Reply::Conflict),
        };
        let mut record = stored.record;
        record.channels.retain(|channel| channels.binary_search(channel).is_err());
        let mut batch = Batch::new(partition)
            .expect(Expectation::Unchanged(record_key()?, revision))
            .then(record.write(stored.expires)?);
        for &channel in channels {
            batch = batch
                .then(Operation::Delete { key: pending_key(channel)? })
                .then(Operation::Delete { key: last_key(channel)? });
        }
        let entry = Entry::after(&record);
        Ok(match self.commit_listed(batch, Ack::Accepted, uaid.key(), entry, now).await? {
            Outcome::Committed(_) => {
                self.tell_ended(uaid.key(), channels, now);
                Reply::Done
            }
            Outcome::Conflict(_) => Reply::Conflict,
        })
    }

    /// Notes where a UserAgent can be woken, for as long as it is remembered.
    async fn note_wake_place(
        &self,
        uaid: Uaid,
        place: Option<Box<WakePlace>>,
    ) -> Result<(), RegistryError> {
        let now = self.now();
        let key = wake_key()?;
        let operation = match place {
            Some(place) => {
                let expires = Some(self.version_expiry(now));
                Operation::Put { key, value: place.encode().into(), expires }
            }
            None => Operation::Delete { key },
        };
        let batch = Batch::new(uaid.key().partition()?).then(operation);
        self.store.commit(batch, Ack::Safe, now).await?;
        Ok(())
    }

    /// Where a UserAgent can be woken.
    pub(crate) async fn wake_place(
        &self,
        user_agent: UserAgentId,
    ) -> Result<Option<WakePlace>, RegistryError> {
        let row = self.store.get(&user_agent.partition()?, &wake_key()?, self.now()).await?;
        Ok(row.and_then(|row| WakePlace::decode(row.value.as_bytes()?)))
    }

    /// Puts off the end of everything that is stored of a UserAgent (R-GC-1).
    async fn touch(&self, uaid: Uaid, own: Holder) -> Result<(), RegistryError> {
        let partition = uaid.key().partition()?;
        self.hold_on(&partition, own).await?;
        for _ in 0..ATTEMPTS_MAX {
            let now = self.now();
            let Some(stored) = self.read_record(&partition, now).await? else {
                return Ok(());
            };
            let record = Record { touched: now, ..stored.record };
            let kept_until = Some(now.saturating_add(self.record_lifetime()));
            let mut batch = Batch::new(partition.clone())
                .expect(Expectation::Unchanged(record_key()?, stored.revision))
                .then(record.write(kept_until)?);
            let expires = Some(self.version_expiry(now));
            for (key, row) in self.versions(&partition, now).await? {
                let version = row.value.as_version().unwrap_or_default();
                batch = batch.then(Operation::Raise { key, version, expires });
            }
            let entry = Entry::Until(kept_until);
            let outcome = self.commit_listed(batch, Ack::Accepted, uaid.key(), entry, now).await?;
            if let Outcome::Committed(_) = outcome {
                return Ok(());
            }
        }
        Err(RegistryError::Contention)
    }
}

/// Reads a row of pending versions; `None` for anything else.
fn pending_version(key: &Key, row: &Row) -> Option<PendingVersion> {
    let channel = pending_channel(key)?;
    let RowValue::Version(version) = row.value else { return None };
    Some(PendingVersion { channel, version: Version::new(version)?, revision: row.revision })
}

pub(crate) fn log_failure(error: &RegistryError) {
    let mut chain = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        chain.push_str(": ");
        chain.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::warn!(error = %chain, "a SimplePush registry operation failed");
}

/// The key of a UserAgent's partition, for hints of the store.
pub(crate) fn user_agent_of(partition: &Partition) -> Option<UserAgentId> {
    UserAgentId::of_partition(partition)
}
