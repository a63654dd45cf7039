//! What administrators see and do: UserAgents, channels, what is pending.
//!
//! Never here: UAIDs and endpoints, which are credentials.

use buswire_message::{Timestamp, Version};
use futures::future::join_all;
use tokio::time::Instant;

use crate::{
    error::CloseReason,
    id::{ChannelId, UserAgentId},
    registry::{RegistryError, Stored, StoredChannel, log_failure},
    service::{SimplePush, UserAgentPresence, peer_deadline},
};

/// The most entries of a page, whatever limit is asked for.
const PAGE_MAX: usize = 1000;

/// UserAgents of a page whose connection is looked for at once.
const SUMMARIES_AT_ONCE: usize = 64;

/// The store can't be used; detail is in the log. Trying again is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store can't be used")]
pub struct Unavailable;

impl From<RegistryError> for Unavailable {
    fn from(error: RegistryError) -> Self {
        log_failure(&error);
        Self
    }
}

/// A UserAgent that has channels.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserAgentSummary {
    /// Its name.
    pub id: UserAgentId,
    /// When its first channel was registered.
    pub created: Timestamp,
    /// When it was last known to be there; up to `touch_interval` late.
    pub last_seen: Timestamp,
    /// Whether it is connected, to this server or to one that shares its store. `Away` too if that could
    /// not be found out in three seconds for the whole page.
    pub presence: UserAgentPresence,
    /// How many channels it has.
    pub channels: usize,
    /// How many of them have a pending version.
    pub pending: usize,
    /// Since when the oldest of those waits; see [`Pending::since`].
    pub pending_since: Option<Timestamp>,
}

/// Some UserAgents, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserAgentPage {
    /// The UserAgents.
    pub user_agents: Vec<UserAgentSummary>,
    /// After which to go on; `None` if there are no more. A page may be short, even empty, before.
    pub next: Option<UserAgentId>,
}

/// A channel of a UserAgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelSummary {
    /// Its name.
    pub channel: ChannelId,
    /// What the UserAgent has not acknowledged.
    pub pending: Option<Pending>,
}

/// A version that was accepted and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// The version.
    pub version: Version,
    /// Since when it waits, at the latest: a UserAgent that is connected for a whole
    /// `touch_interval` without acknowledging it seems to have got it when it was touched.
    pub since: Timestamp,
}

/// Some channels of a UserAgent, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelPage {
    /// The channels.
    pub channels: Vec<ChannelSummary>,
    /// After which to go on; `None` if there are no more.
    pub next: Option<ChannelId>,
}

impl ChannelSummary {
    fn of(stored: &StoredChannel) -> Self {
        let StoredChannel { channel, pending } = *stored;
        let pending = pending.map(|(version, since)| Pending { version, since });
        Self { channel, pending }
    }
}

/// Reading and dropping. Every future may be dropped at any time: reading changes nothing, and a drop
/// happened whole or not at all.
impl SimplePush {
    /// At most `limit` (1 to 1000) UserAgents that have channels, after `after` in the order of
    /// their names.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    pub async fn user_agents(
        &self,
        after: Option<UserAgentId>,
        limit: usize,
    ) -> Result<UserAgentPage, Unavailable> {
        let limit = limit.clamp(1, PAGE_MAX);
        let (found, next) = self.shared().registry.list(after, limit).await?;
        let mut user_agents = Vec::with_capacity(found.len());
        // One for the page: a store that hangs would make each part of it late.
        let deadline = peer_deadline();
        for some in found.chunks(SUMMARIES_AT_ONCE) {
            let summaries: Vec<_> =
                some.iter().map(|(id, stored)| self.summary(*id, stored, deadline)).collect();
            user_agents.extend(join_all(summaries).await);
        }
        Ok(UserAgentPage { user_agents, next })
    }

    /// One UserAgent; `None` if it has no channels.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    pub async fn user_agent(
        &self,
        id: UserAgentId,
    ) -> Result<Option<UserAgentSummary>, Unavailable> {
        let stored = self.shared().registry.stored(id).await?;
        match stored {
            Some(stored) => Ok(Some(self.summary(id, &stored, peer_deadline()).await)),
            None => Ok(None),
        }
    }

    /// At most `limit` (1 to 1000) channels of a UserAgent after `after`; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    pub async fn channels(
        &self,
        id: UserAgentId,
        after: Option<ChannelId>,
        limit: usize,
    ) -> Result<Option<ChannelPage>, Unavailable> {
        let Some(stored) = self.shared().registry.stored(id).await? else { return Ok(None) };
        let rest = stored.channels.iter().filter(|stored| Some(stored.channel) > after);
        let mut channels: Vec<_> = rest.map(ChannelSummary::of).collect();
        let limit = limit.clamp(1, PAGE_MAX);
        let more = channels.len() > limit;
        channels.truncate(limit);
        let next = channels.last().filter(|_| more).map(|last| last.channel);
        Ok(Some(ChannelPage { channels, next }))
    }

    /// Forgets a UserAgent with all its channels (SimplePush §11.1). If it is connected it is
    /// disconnected, so that it shakes hands again and learns of it. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Unavailable`]; it may have been forgotten then.
    pub async fn drop_user_agent(&self, id: UserAgentId) -> Result<bool, Unavailable> {
        let dropped = self.shared().registry.drop_record(id).await?;
        if let Some(handle) = self.shared().table.find(id) {
            handle.end(CloseReason::StateDropped);
        }
        Ok(dropped)
    }

    async fn summary(
        &self,
        id: UserAgentId,
        stored: &Stored,
        deadline: Instant,
    ) -> UserAgentSummary {
        let waiting = stored.channels.iter().filter_map(|channel| channel.pending);
        let presence = match self.shared().table.find(id) {
            Some(_) => UserAgentPresence::Connected,
            None => self.presence_elsewhere(id, deadline).await,
        };
        UserAgentSummary {
            id,
            created: stored.created,
            last_seen: stored.touched,
            presence,
            channels: stored.channels.len(),
            pending: waiting.clone().count(),
            pending_since: waiting.map(|(_, since)| since).min(),
        }
    }
}
