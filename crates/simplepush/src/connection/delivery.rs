//! What a connection has to show its UserAgent (SimplePush §10).
//!
//! Outgoing work is a set of dirty channels, not a queue of messages (R-DEL-4): however many PUTs
//! come while the socket can't take anything, each channel has one entry.

use std::{collections::BTreeMap, time::Duration};

use buswire_message::{Timestamp, Version};
use buswire_store::Revision;

use super::{Change, PendingVersion, Update};
use crate::{
    id::ChannelId,
    wire::{AckedVersion, NotificationWriter},
};

/// Why a channel is dirty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// A PUT: it is shown even if an `ack` covers it meanwhile (R-DEL-6).
    Put,
    /// A pending version that is shown again: an `ack` makes that needless.
    Again,
}

/// A channel with something unsent.
#[derive(Debug)]
struct Dirty {
    version: Version,
    data: Option<Box<str>>,
    origin: Origin,
}

/// A channel whose pending version is not acknowledged yet.
#[derive(Debug)]
struct Unacked {
    version: Version,
    revision: Revision,
    data: Option<Box<str>>,
    sent_at: Option<Timestamp>,
}

/// The dirty and the unacknowledged channels of one connection. Each has at most as many entries as
/// the UserAgent has channels.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    dirty: BTreeMap<ChannelId, Dirty>,
    unacked: BTreeMap<ChannelId, Unacked>,
}

impl Delivery {
    /// Takes an accepted PUT: its channel becomes dirty with its own version (R-DEL-6).
    pub(super) fn put(&mut self, update: Update) {
        let Update { channel, version, revision, data } = update;
        self.raise(channel, version, revision, data.clone());
        self.mark(channel, version, data, Origin::Put);
    }

    /// Takes a version that the store holds as pending, to be shown again (R-DEL-9).
    pub(super) fn load(&mut self, pending: &PendingVersion) {
        let PendingVersion { channel, version, revision } = *pending;
        self.raise(channel, version, revision, None);
        self.mark(channel, version, None, Origin::Again);
    }

    /// Takes what the store holds as pending if this connection does not know of it.
    ///
    /// At one revision the store is right: a PUT here that was not greater than one elsewhere has the
    /// revision of a row that holds the greater one.
    pub(super) fn compare(&mut self, pending: &PendingVersion) {
        let is_news = |known: &Unacked| {
            known.version != pending.version && known.revision <= pending.revision
        };
        if self.unacked.get(&pending.channel).is_none_or(is_news) {
            self.forget(pending.channel);
            self.load(pending);
        }
    }

    /// Forgets what an update replaces though it may be greater
    /// ([`VersionPolicy::Last`](crate::VersionPolicy::Last)).
    pub(super) fn make_way(&mut self, update: &Update) {
        let known = self.unacked.get(&update.channel);
        if known.is_some_and(|known| known.revision < update.revision) {
            self.forget(update.channel);
        }
    }

    fn raise(
        &mut self,
        channel: ChannelId,
        version: Version,
        revision: Revision,
        data: Option<Box<str>>,
    ) {
        let Some(known) = self.unacked.get_mut(&channel) else {
            let unacked = Unacked { version, revision, data, sent_at: None };
            self.unacked.insert(channel, unacked);
            return;
        };
        known.revision = known.revision.max(revision);
        if version > known.version {
            *known = Unacked { version, data, sent_at: None, ..*known };
        }
    }

    fn mark(
        &mut self,
        channel: ChannelId,
        version: Version,
        data: Option<Box<str>>,
        origin: Origin,
    ) {
        let dirty =
            self.dirty.entry(channel).or_insert(Dirty { version, data: data.clone(), origin });
        if version > dirty.version || (version == dirty.version && origin == Origin::Put) {
            *dirty = Dirty { version, data: data.or(dirty.data.take()), origin };
        }
    }

    /// Takes an acknowledgement. What it clears of the pending versions is returned, to be cleared in
    /// the store too.
    pub(super) fn ack(&mut self, channel: ChannelId, acked: AckedVersion) -> Option<Change> {
        let known = self.unacked.get(&channel).filter(|known| acked.covers(known.version))?;
        let change =
            Change::Clear { channel, version: known.version, acked, revision: known.revision };
        self.unacked.remove(&channel);
        if self.dirty.get(&channel).is_some_and(|dirty| dirty.origin == Origin::Again) {
            self.dirty.remove(&channel);
        }
        Some(change)
    }

    /// Forgets a channel that is no longer registered (R-UNREG-4).
    pub(super) fn forget(&mut self, channel: ChannelId) {
        self.dirty.remove(&channel);
        self.unacked.remove(&channel);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.dirty.clear();
        self.unacked.clear();
    }

    /// Gives back the memory of what is empty.
    pub(super) fn rest(&mut self) {
        if self.dirty.is_empty() {
            self.dirty = BTreeMap::new();
        }
        if self.unacked.is_empty() {
            self.unacked = BTreeMap::new();
        }
    }

    /// Whether nothing is unsent or unacknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.dirty.is_empty() && self.unacked.is_empty()
    }

    /// Whether something is unsent.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The next notification, of at most `updates_max` channels, taken as sent at `now`; and of how
    /// many channels it is.
    pub(super) fn next(&mut self, now: Timestamp, updates_max: usize) -> Option<(String, usize)> {
        if self.dirty.is_empty() {
            return None;
        }
        let mut writer = NotificationWriter::new();
        while writer.len() < updates_max.max(1) {
            let Some((channel, dirty)) = self.dirty.pop_first() else { break };
            writer.push(channel, dirty.version, dirty.data.as_deref());
            if let Some(known) = self.unacked.get_mut(&channel)
                && (known.version == dirty.version || known.sent_at.is_none())
            {
                known.sent_at = Some(now);
            }
        }
        let updates = writer.len();
        Some((writer.finish()?, updates))
    }

    /// Marks every version that was sent `interval` or longer ago to be sent again. Returns whether
    /// there were any, and when the next ones are due.
    pub(super) fn resend(
        &mut self,
        now: Timestamp,
        interval: Duration,
    ) -> (bool, Option<Timestamp>) {
        let mut next: Option<Timestamp> = None;
        let mut due = Vec::new();
        for (&channel, known) in &self.unacked {
            let Some(sent_at) = known.sent_at else { continue };
            let at = sent_at.saturating_add(interval);
            if at <= now {
                due.push((channel, known.version, known.data.clone()));
            } else {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        let any = !due.is_empty();
        for (channel, version, data) in due {
            self.mark(channel, version, data, Origin::Again);
        }
        (any, next)
    }
}
