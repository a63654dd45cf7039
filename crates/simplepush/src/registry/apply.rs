//! The changes that a connection asks for, carried out in order (SimplePush §7.2, §7.3, §7.5).

use buswire_message::Timestamp;
use buswire_store::{Ack, Batch, Expectation, Operation, Outcome, Partition, Revision};

use super::{
    ATTEMPTS_MAX, Registry, RegistryError, StoredRecord,
    directory::Entry,
    keys::{last_key, pending_key, record_key},
    presence::Holder,
    record::Record,
};
use crate::{
    connection::{Change, Done, EndpointUrl},
    id::{ChannelId, Uaid},
    wire::AckedVersion,
};

/// An acknowledged version that is to be cleared.
struct Clearing {
    channel: ChannelId,
    version: u64,
    acked: AckedVersion,
    revision: Revision,
}

/// What the changes make of a record.
struct Plan {
    record: Record,
    /// Whether the record differs from the stored one.
    changed: bool,
    /// Channels whose versions go with them.
    removed: Vec<ChannelId>,
    done: Vec<Done>,
}

impl Registry {
    /// Carries out `changes`. Registrations and deletions are on stable storage when it returns
    /// (§11.3); acknowledgements may be lost, which costs a repeat.
    ///
    /// Runs of acknowledgements and runs of other changes are each one commit.
    pub(super) async fn apply(
        &self,
        uaid: Uaid,
        own: Holder,
        changes: &[Change],
    ) -> Result<Vec<Done>, RegistryError> {
        let partition = uaid.key().partition()?;
        let is_clear = |change: &Change| matches!(change, Change::Clear { .. });
        let mut done = Vec::with_capacity(changes.len());
        for run in changes.chunk_by(|one, two| is_clear(one) == is_clear(two)) {
            if run.first().is_some_and(is_clear) {
                self.clear(&partition, run).await?;
                done.extend(run.iter().map(|_| Done::Cleared));
            } else {
                done.extend(self.change_channels(uaid, own, &partition, run).await?);
            }
        }
        Ok(done)
    }

    async fn change_channels(
        &self,
        uaid: Uaid,
        own: Holder,
        partition: &Partition,
        changes: &[Change],
    ) -> Result<Vec<Done>, RegistryError> {
        for _ in 0..ATTEMPTS_MAX {
            let now = self.now();
            let stored = self.read_record(partition, now).await?;
            let (expectation, usable) = match stored {
                Some(stored) => (
                    Expectation::Unchanged(record_key()?, stored.revision),
                    Some(stored).filter(|stored| stored.record.epoch == self.epoch()),
                ),
                None => (Expectation::Absent(record_key()?), None),
            };
            let plan = self.plan(uaid, usable.as_ref(), changes, now);
            if !plan.changed {
                return Ok(plan.done);
            }
            let batch = Batch::new(partition.clone()).expect(expectation);
            let mut batch = self.changed(batch, usable.as_ref(), &plan, now).await?;
            let mut entry = Entry::after(&plan.record);
            if usable.is_none() {
                batch = self.enter_with_record(batch, own, now).await?;
                entry = Entry::Until(Some(now.saturating_add(self.record_lifetime())));
            }
            let outcome = self.commit_listed(batch, Ack::Safe, uaid.key(), entry, now).await?;
            if let Outcome::Committed(_) = outcome {
                self.tell_ended(uaid.key(), &plan.removed, now);
                return Ok(plan.done);
            }
        }
        Err(RegistryError::Contention)
    }

    fn plan(
        &self,
        uaid: Uaid,
        stored: Option<&StoredRecord>,
        changes: &[Change],
        now: Timestamp,
    ) -> Plan {
        let record =
            stored.map_or_else(|| Record::new(self.epoch(), now), |stored| stored.record.clone());
        let mut plan = Plan { record, changed: false, removed: Vec::new(), done: Vec::new() };
        for change in changes {
            let done = match change {
                Change::Register(channel) => {
                    if plan.register(*channel, self.config.limits.channels_max) {
                        Done::Registered(self.endpoint(uaid, *channel))
                    } else {
                        Done::TooMany
                    }
                }
                Change::Unregister(channel) => {
                    plan.unregister(*channel);
                    Done::Unregistered
                }
                Change::Clear { .. } => Done::Cleared,
            };
            plan.done.push(done);
        }
        plan
    }

    /// The endpoint of a channel; always the same (R-EP-3).
    fn endpoint(&self, uaid: Uaid, channel: ChannelId) -> EndpointUrl {
        let mut url = self.config.endpoint_base.as_str().to_owned();
        url.push_str("/update/");
        url.push_str(&self.config.token_keys.seal(uaid, channel));
        EndpointUrl(url.into())
    }

    async fn changed(
        &self,
        batch: Batch,
        stored: Option<&StoredRecord>,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<Batch, RegistryError> {
        let mut batch = batch;
        let expires = if let Some(stored) = stored {
            stored.expires
        } else {
            // Versions of a life that ended must not show in this one.
            for (key, _) in self.versions(&batch.partition, now).await? {
                batch = batch.then(Operation::Delete { key });
            }
            Some(now.saturating_add(self.record_lifetime()))
        };
        for &channel in &plan.removed {
            batch = batch
                .then(Operation::Delete { key: pending_key(channel)? })
                .then(Operation::Delete { key: last_key(channel)? });
        }
        Ok(batch.then(plan.record.write(expires)?))
    }

    /// Clears acknowledged versions, unless they have grown beyond the acknowledgement meanwhile
    /// (R-ACK-2): each row is expected as it was read.
    async fn clear(&self, partition: &Partition, changes: &[Change]) -> Result<(), RegistryError> {
        let mut clearings: Vec<Clearing> = changes.iter().filter_map(Clearing::of).collect();
        // Each conflict settles one row at least until somebody writes it again.
        for _ in 0..clearings.len() + ATTEMPTS_MAX {
            if clearings.is_empty() {
                return Ok(());
            }
            let now = self.now();
            let mut batch = Batch::new(partition.clone());
            for clearing in &clearings {
                let key = pending_key(clearing.channel)?;
                let expires = Some(self.version_expiry(now));
                batch = batch
                    .expect(Expectation::Unchanged(key.clone(), clearing.revision))
                    .then(Operation::Raise {
                        key: last_key(clearing.channel)?,
                        version: clearing.version,
                        expires,
                    })
                    .then(Operation::Delete { key });
            }
            match self.store.commit(batch, Ack::Accepted, now).await? {
                Outcome::Committed(_) => return Ok(()),
                Outcome::Conflict(index) => {
                    let fresh = match clearings.get(index) {
                        Some(clearing) => self.look_again(partition, clearing, now).await?,
                        None => None,
                    };
                    clearings.splice(index..=index.min(clearings.len() - 1), fresh);
                }
            }
        }
        Err(RegistryError::Contention)
    }

    /// The same clearing for the row as it is; `None` if there is nothing to clear any more.
    async fn look_again(
        &self,
        partition: &Partition,
        clearing: &Clearing,
        now: Timestamp,
    ) -> Result<Option<Clearing>, RegistryError> {
        let key = pending_key(clearing.channel)?;
        let row = self.store.get(partition, &key, now).await?;
        Ok(row.and_then(|row| {
            let pending = super::pending_version(&key, &row)?;
            clearing.acked.covers(pending.version).then_some(Clearing {
                version: pending.version.get(),
                revision: pending.revision,
                ..*clearing
            })
        }))
    }
}

impl Plan {
    /// Whether the channel is registered afterwards. One that is already keeps its versions
    /// (R-REG-2).
    fn register(&mut self, channel: ChannelId, channels_max: usize) -> bool {
        match self.record.channels.binary_search(&channel) {
            Ok(_) => true,
            Err(_) if self.record.channels.len() >= channels_max => false,
            Err(at) => {
                self.record.channels.insert(at, channel);
                self.changed = true;
                true
            }
        }
    }

    fn unregister(&mut self, channel: ChannelId) {
        if let Ok(at) = self.record.channels.binary_search(&channel) {
            self.record.channels.remove(at);
            self.changed = true;
            self.removed.push(channel);
        }
    }
}

impl Clearing {
    fn of(change: &Change) -> Option<Self> {
        match change {
            &Change::Clear { channel, version, acked, revision } => {
                Some(Self { channel, version: version.get(), acked, revision })
            }
            Change::Register(_) | Change::Unregister(_) => None,
        }
    }
}
