//! Channels of 2.0: minted by anonymous token requests, bound to their bus (Backplane §7.2, §7.3).

use std::sync::Arc;

use buswire_message::{BusName, ChannelName, Timestamp};
use buswire_store::{Batch, StoreError};

use super::{
    State,
    buses::BusFacts,
    records::{Channel, ChannelRecord, TokenRecord},
    rows::{Committed, key, put, secret_key, unchanged},
    tokens::TOKEN,
};
use crate::rules::token::Locator;

/// The first word of the key of a channel.
pub(crate) const CHANNEL: &str = "channel";

/// How often a commit that met somebody else's is tried again.
pub(crate) const ATTEMPTS: usize = 8;

impl State {
    /// A live channel of a bus; `None` if it was not minted, has expired, or is bound to another bus
    /// or to one of the same name that was deleted.
    pub(crate) async fn channel(
        &self,
        name: &ChannelName,
        bus: &BusFacts,
    ) -> Result<Option<Arc<Channel>>, StoreError> {
        let now = self.now();
        let channel = match self.channels.get(name, now) {
            Some(found) => found,
            None => match self.read_channel(name).await? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let is_bound = channel.bus == bus.name && channel.bus_created_at == bus.created_at;
        Ok((is_bound && now < channel.expires_at).then_some(channel))
    }

    async fn read_channel(&self, name: &ChannelName) -> Result<Option<Arc<Channel>>, StoreError> {
        let version = self.channels.version();
        let Some(locator) = Locator::of_channel(name) else { return Ok(None) };
        let key = key(&[CHANNEL, name.as_str()]);
        let row = self.rows.get::<ChannelRecord>(self.rows.shard(&locator), &key).await?;
        let Some((record, _)) = row else { return Ok(None) };
        let channel = Arc::new(record.read()?);
        self.channels.insert(version, name.clone(), Arc::clone(&channel), self.now());
        Ok(Some(channel))
    }

    /// Makes a change of a channel count at once.
    pub(crate) fn forget_channel(&self, name: &ChannelName) {
        self.channels.remove(name);
    }

    /// When a channel that is made or refreshed now is to expire at the earliest (§7.3).
    pub(crate) fn channel_expiry(&self, bus: &BusFacts) -> Timestamp {
        let margin = self.config.lifetimes.channel_margin;
        self.now().saturating_add(margin).saturating_add(bus.retention.default_time())
    }

    /// Makes a channel and its refresh token live until `until` at least. `false` if it is gone.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the change is one commit.
    pub(crate) async fn keep_channel(
        &self,
        name: &ChannelName,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(locator) = Locator::of_channel(name) else { return Ok(false) };
        let shard = self.rows.shard(&locator);
        let channel_key = key(&[CHANNEL, name.as_str()]);
        for _ in 0..ATTEMPTS {
            let row = self.rows.get::<ChannelRecord>(shard, &channel_key).await?;
            let Some((record, revision)) = row else { return Ok(false) };
            let mut channel = record.read()?;
            if channel.expires_at >= until {
                return Ok(true);
            }
            channel.expires_at = until;
            let mut batch = Batch::new(shard.clone())
                .expect(unchanged(channel_key.clone(), revision))
                .then(put(channel_key.clone(), &ChannelRecord::new(&channel), Some(until)));
            let refresh_key = secret_key(TOKEN, &channel.refresh);
            if let Some((refresh, revision)) =
                self.rows.get::<TokenRecord>(shard, &refresh_key).await?
            {
                batch = batch.expect(unchanged(refresh_key.clone(), revision)).then(put(
                    refresh_key,
                    &refresh,
                    Some(until),
                ));
            }
            if self.rows.commit(batch).await? == Committed::Done {
                self.channels.remove(name);
                return Ok(true);
            }
        }
        Err(StoreError::Retry("a channel changed again and again".into()))
    }

    /// Whether a bus is still the one of `created_at`.
    pub(crate) async fn is_same_bus(
        &self,
        bus: &BusName,
        created_at: Timestamp,
    ) -> Result<bool, buswire_bus::BusError> {
        Ok(self.bus_facts(bus).await?.is_some_and(|facts| facts.created_at == created_at))
    }
}
