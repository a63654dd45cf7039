//! The directory of UserAgents, for administrators: which have a record, in pages.
//!
//! The names are hashes of UAIDs, spread over a few partitions of their own. An entry is written
//! beside the record, not with it: it says where to look, never what is there. One that is missing
//! comes back when its UserAgent is touched; one that is left over is passed over and expires.
//!
//! Never here: anything that delivery relies on.

use buswire_message::{Timestamp, Version};
use buswire_store::{
    Ack, Batch, Direction, Key, KeyRange, Operation, Outcome, Partition, Row, StoreError,
};

use super::{
    Registry, RegistryError, StoredRecord, keys::pending_range, log_failure, record::Record,
};
use crate::id::{ChannelId, UserAgentId};

/// Partitions of the directory; one for each first digit of a name.
const SHARDS: u8 = 16;
/// Entries that are looked at for each that a page may have: what is left over costs no more.
const LOOKS_PER_ENTRY: usize = 4;

/// What becomes of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry {
    /// It stays as it is.
    Same,
    /// It is there until this time.
    Until(Option<Timestamp>),
    /// It goes.
    Gone,
}

impl Entry {
    /// What follows from writing a record: one without channels is deleted.
    pub(super) const fn after(record: &Record) -> Self {
        if record.channels.is_empty() { Self::Gone } else { Self::Same }
    }
}

/// A UserAgent that has channels, as it is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    /// When its first channel was registered.
    pub(crate) created: Timestamp,
    /// When the store was last told that it is there.
    pub(crate) touched: Timestamp,
    /// Its channels, sorted.
    pub(crate) channels: Vec<StoredChannel>,
}

/// A channel as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredChannel {
    /// Its name.
    pub(crate) channel: ChannelId,
    /// The pending version, and since when it has waited.
    pub(crate) pending: Option<(Version, Timestamp)>,
}

fn shard(number: u8) -> Result<Partition, RegistryError> {
    Ok(Partition::new(&format!("uaids/{number:x}"))?)
}

impl Registry {
    /// Commits a change of the record of a UserAgent, and of its entry with it. A failure of the
    /// entry's is logged only.
    pub(super) async fn commit_listed(
        &self,
        batch: Batch,
        ack: Ack,
        key: UserAgentId,
        entry: Entry,
        now: Timestamp,
    ) -> Result<Outcome, StoreError> {
        // Both at once, so that an engine with group commit makes them wait once.
        let listing = async {
            if let Err(error) = self.write_entry(key, entry, now).await {
                log_failure(&error);
            }
        };
        futures::future::join(self.store.commit(batch, ack, now), listing).await.0
    }

    async fn write_entry(
        &self,
        user_agent: UserAgentId,
        entry: Entry,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let name = user_agent.as_bytes();
        let key = Key::new(name.to_vec())?;
        let operation = match entry {
            Entry::Same => return Ok(()),
            Entry::Until(expires) => Operation::Put { key, value: bytes::Bytes::new(), expires },
            Entry::Gone => Operation::Delete { key },
        };
        let batch = Batch::new(shard(user_agent.first_digit())?).then(operation);
        self.store.commit(batch, Ack::Accepted, now).await?;
        Ok(())
    }

    /// At most `limit` UserAgents after `after`, and after which to go on if there may be more.
    pub(crate) async fn list(
        &self,
        after: Option<UserAgentId>,
        limit: usize,
    ) -> Result<(Vec<(UserAgentId, Stored)>, Option<UserAgentId>), RegistryError> {
        let mut found = Vec::new();
        let mut looks = limit.saturating_mul(LOOKS_PER_ENTRY);
        let mut range = match after {
            Some(after) => KeyRange::all().after(&Key::new(after.as_bytes().to_vec())?),
            None => KeyRange::all(),
        };
        for number in after.map_or(0, |after| after.first_digit())..SHARDS {
            loop {
                let now = self.now();
                let wanted = (limit - found.len()).min(looks);
                let page = self
                    .store
                    .scan(&shard(number)?, range.clone(), wanted, Direction::Ascending, now)
                    .await?;
                for (entry, _) in &page.rows {
                    let Some(key) = UserAgentId::from_bytes(entry.as_bytes()) else { continue };
                    looks -= 1;
                    found.extend(self.stored(key).await?.map(|stored| (key, stored)));
                    if found.len() == limit || looks == 0 {
                        return Ok((found, Some(key)));
                    }
                }
                match page.rows.last().filter(|_| page.more) {
                    Some((last, _)) => range = range.after(last),
                    None => break,
                }
            }
            range = KeyRange::all();
        }
        Ok((found, None))
    }

    /// What is stored of a UserAgent; `None` if it has no channels, or none that can be relied on.
    pub(crate) async fn stored(
        &self,
        user_agent: UserAgentId,
    ) -> Result<Option<Stored>, RegistryError> {
        let partition = user_agent.partition()?;
        let now = self.now();
        let Some(StoredRecord { record, .. }) = self.read_record(&partition, now).await? else {
            return Ok(None);
        };
        if record.epoch != self.epoch() {
            return Ok(None);
        }
        let unannounced = |&channel: &ChannelId| StoredChannel { channel, pending: None };
        let mut channels: Vec<StoredChannel> = record.channels.iter().map(unannounced).collect();
        for (key, row) in self.scan(&partition, pending_range(), now).await? {
            let Some(pending) = super::pending_version(&key, &row) else { continue };
            let at = channels.binary_search_by_key(&pending.channel, |stored| stored.channel);
            if let Some(stored) = at.ok().and_then(|at| channels.get_mut(at)) {
                stored.pending = Some((pending.version, self.waiting_since(&row, now)));
            }
        }
        Ok(Some(Stored { created: record.created, touched: record.touched, channels }))
    }

    /// When a version was written: that is how long before its expiry. Touching its UserAgent writes
    /// it anew.
    fn waiting_since(&self, row: &Row, now: Timestamp) -> Timestamp {
        let lifetime = self.version_expiry(Timestamp::from_millis(0)).as_millis();
        let since = row.expires.map(|expires| expires.as_millis().saturating_sub(lifetime));
        since.map_or(now, Timestamp::from_millis).min(now)
    }
}
