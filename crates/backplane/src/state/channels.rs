//! Channels of 2.0: minted by anonymous token requests, bound to their bus (Backplane §7.2, §7.3).

use std::sync::Arc;

use buswire_bus::BusError;
use buswire_message::{ChannelName, Timestamp};
use buswire_store::{Batch, StoreError};

use super::{
    State,
    buses::BusFacts,
    records::{Channel, ChannelRecord, TokenRecord},
    rows::{Committed, key, put, secret_key, unchanged},
    tokens::TOKEN,
};
use crate::rules::token::{BoundBus, Locator};

/// The first word of the key of a channel.
pub(crate) const CHANNEL: &str = "channel";

/// How often a commit that met somebody else's is tried again.
pub(crate) const ATTEMPTS: usize = 8;

impl Channel {
    /// Whether it is bound to this very bus, or not bound yet.
    fn may_be_of(&self, bus: &BusFacts) -> bool {
        self.bus.as_ref().is_none_or(|bound| *bound == bus.to_bound())
    }
}

impl State {
    /// A live channel that is or may be bound to a bus; `None` if it was not minted, has expired, or
    /// is bound to another bus or to one of the same name that was deleted.
    pub(crate) async fn channel(
        &self,
        name: &ChannelName,
        bus: &BusFacts,
    ) -> Result<Option<Arc<Channel>>, StoreError> {
        let channel = self.live_channel(name).await?;
        Ok(channel.filter(|channel| channel.may_be_of(bus)))
    }

    /// A live channel, whatever it is bound to.
    pub(crate) async fn live_channel(
        &self,
        name: &ChannelName,
    ) -> Result<Option<Arc<Channel>>, StoreError> {
        let now = self.now();
        let channel = match self.channels.get(name, now) {
            Some(found) => Some(found),
            None => self.read_channel(name).await?,
        };
        Ok(channel.filter(|channel| now < channel.expires_at))
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
    pub(crate) fn channel_expiry(&self, bus: Option<&BusFacts>) -> Timestamp {
        let margin = self.config.lifetimes.channel_margin;
        let retention = bus.map(|bus| bus.retention).unwrap_or_default();
        self.now().saturating_add(margin).saturating_add(retention.default_time())
    }

    /// Makes a channel and its refresh token live until `until` at least, and binds it to `bus` if it
    /// is not bound yet (§7.2). `false` if it is gone, or bound to another bus.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the change is one commit.
    pub(crate) async fn keep_channel(
        &self,
        name: &ChannelName,
        bus: &BusFacts,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(locator) = Locator::of_channel(name) else { return Ok(false) };
        let shard = self.rows.shard(&locator);
        let channel_key = key(&[CHANNEL, name.as_str()]);
        for _ in 0..ATTEMPTS {
            let row = self.rows.get::<ChannelRecord>(shard, &channel_key).await?;
            let Some((record, revision)) = row else { return Ok(false) };
            let mut channel = record.read()?;
            if !channel.may_be_of(bus) {
                return Ok(false);
            }
            if channel.bus.is_some() && channel.expires_at >= until {
                return Ok(true);
            }
            channel.bus = Some(bus.to_bound());
            channel.expires_at = channel.expires_at.max(until);
            let until = channel.expires_at;
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

    /// Whether a bus is still the one that something was bound to.
    pub(crate) async fn is_same_bus(&self, bus: &BoundBus) -> Result<bool, BusError> {
        let facts = self.bus_facts(&bus.name).await?;
        Ok(facts.is_some_and(|facts| facts.created_at == bus.created_at))
    }
}
