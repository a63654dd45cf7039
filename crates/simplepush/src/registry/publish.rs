//! Versions that application servers bring (SimplePush §3, §10.1).

use buswire_message::{Timestamp, Version};
use buswire_store::{
    Ack, Applied, Batch, Expectation, Key, Operation, Outcome, Partition, Revision, StoreError,
};

use super::{
    ATTEMPTS_MAX, Registry, RegistryError,
    keys::{last_key, pending_key, record_key},
    record::Record,
};
use crate::{
    config::VersionPolicy,
    id::{ChannelId, UserAgentId},
};

/// How often a version is compared anew because another came between: of concurrent PUTs to one
/// channel that need that, one succeeds each time.
const COMPARE_ATTEMPTS_MAX: usize = 256;

/// A version that is on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    /// The version of this PUT.
    pub(crate) version: Version,
    /// The revision that the pending row has.
    pub(crate) revision: Revision,
    /// The revision of the record that was found to hold the channel.
    pub(crate) record: Revision,
    /// What it changed.
    pub(crate) effect: PublishEffect,
}

/// What became of a version that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishEffect {
    /// It is stored, or a greater one is.
    Stored,
    /// It is not greater than an earlier one, and the policy ignores such.
    Ignored,
}

/// Why a version was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The channel is not registered.
    #[error("the channel is not registered")]
    Gone,
    /// It was not stored, or that is not certain.
    #[error("the version could not be stored")]
    Registry(#[from] RegistryError),
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        Self::Registry(error.into())
    }
}

impl From<buswire_store::StoreNameError> for PublishError {
    fn from(error: buswire_store::StoreNameError) -> Self {
        Self::Registry(error.into())
    }
}

impl Registry {
    /// Makes `version` the pending version of a channel unless a greater one is, or as the policy says
    /// (R-VER-6, R-VER-7), and returns when it is on stable storage (R-DEL-1). Without a version it assigns one
    /// (R-VER-4).
    ///
    /// `known` is the revision of the record in which the channel was found before, if any: it
    /// saves reading the record, and the store refuses the version if the record is another by now.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the version was stored or it was not.
    pub(crate) async fn publish(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        version: Option<Version>,
        known: Option<Revision>,
    ) -> Result<Published, PublishError> {
        let partition = user_agent.partition()?;
        let mut known = known;
        let compares = version.is_none() || self.config.version_policy == VersionPolicy::Strict;
        let attempts_max = if compares { COMPARE_ATTEMPTS_MAX } else { ATTEMPTS_MAX };
        for _ in 0..attempts_max {
            let now = self.now();
            let record = match known.take() {
                Some(record) => record,
                None => self.find(&partition, channel, now).await?,
            };
            let batch =
                Batch::new(partition.clone()).expect(Expectation::Unchanged(record_key()?, record));
            let (version, batch) = match (version, self.config.version_policy) {
                (Some(version), VersionPolicy::Greatest | VersionPolicy::Last) => (version, batch),
                (given, _) => {
                    let (last, batch) = self.above(batch, channel, now).await?;
                    let version = given.unwrap_or_else(|| Version::assign(now, last));
                    if Some(version) <= last && given.is_some() {
                        let (revision, effect) = (Revision(0), PublishEffect::Ignored);
                        return Ok(Published { version, revision, record, effect });
                    }
                    (version, batch)
                }
            };
            let batch = self.raising(batch, channel, version, now)?;
            if let Outcome::Committed(applied) = self.store.commit(batch, Ack::Safe, now).await? {
                let revision = match applied.last() {
                    Some(Applied::Row(revision)) => *revision,
                    _ => Revision(0),
                };
                let effect = PublishEffect::Stored;
                return Ok(Published { version, revision, record, effect });
            }
        }
        Err(RegistryError::Contention.into())
    }

    /// Whether a channel is registered; [`PublishError::Gone`] if it is not.
    pub(crate) async fn check(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<(), PublishError> {
        self.find(&user_agent.partition()?, channel, self.now()).await.map(|_| ())
    }

    /// The revision of the record that holds the channel.
    async fn find(
        &self,
        partition: &Partition,
        channel: ChannelId,
        now: Timestamp,
    ) -> Result<Revision, PublishError> {
        let row = self.store.get(partition, &record_key()?, now).await?;
        let row = row.filter(|row| {
            row.value
                .as_bytes()
                .is_some_and(|bytes| Record::registers(bytes, self.epoch(), channel))
        });
        row.map(|row| row.revision).ok_or(PublishError::Gone)
    }

    fn raising(
        &self,
        batch: Batch,
        channel: ChannelId,
        version: Version,
        now: Timestamp,
    ) -> Result<Batch, PublishError> {
        let key = pending_key(channel)?;
        let batch = match self.config.version_policy {
            // A row that is gone is raised from nothing.
            VersionPolicy::Last => batch.then(Operation::Delete { key: key.clone() }),
            VersionPolicy::Greatest | VersionPolicy::Strict => batch,
        };
        let expires = Some(self.version_expiry(now));
        Ok(batch.then(Operation::Raise { key, version: version.get(), expires }))
    }

    /// The greatest version that the channel ever had, and a batch that expects that none comes
    /// between.
    async fn above(
        &self,
        batch: Batch,
        channel: ChannelId,
        now: Timestamp,
    ) -> Result<(Option<Version>, Batch), PublishError> {
        let mut batch = batch;
        let mut last = None;
        for key in [pending_key(channel)?, last_key(channel)?] {
            let (version, expectation) = self.version_of(&batch.partition, key, now).await?;
            last = last.max(version);
            batch = batch.expect(expectation);
        }
        Ok((last, batch))
    }

    async fn version_of(
        &self,
        partition: &Partition,
        key: Key,
        now: Timestamp,
    ) -> Result<(Option<Version>, Expectation), PublishError> {
        Ok(match self.store.get(partition, &key, now).await? {
            Some(row) => (
                row.value.as_version().and_then(Version::new),
                Expectation::Unchanged(key, row.revision),
            ),
            None => (None, Expectation::Absent(key)),
        })
    }
}
