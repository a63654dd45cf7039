//! The table of connections: which connection a UserAgent has, and what waits for it there
//! (SimplePush §10).
//!
//! Never here: what a connection does with its mail.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use buswire_message::Timestamp;
use buswire_store::Revision;
use futures::task::AtomicWaker;

use crate::{
    config::VersionPolicy,
    connection::Update,
    error::CloseReason,
    id::{ChannelId, UserAgentId},
};

/// Shards of the table. More than cores that could meet in one; a power of two.
pub(crate) const SHARDS: usize = 64;
/// Channels of a connection whose record revision is remembered; most UserAgents have fewer active
/// ones, and forgetting costs one read of the store.
const KNOWN_MAX: usize = 8;

/// What waits for a connection. Updates of one channel are one entry (R-DEL-4), so there are at most
/// as many as the UserAgent has channels.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// The greatest version for each channel.
    pub(crate) updates: BTreeMap<ChannelId, Update>,
    /// That the connection is to end, and why.
    pub(crate) end: Option<CloseReason>,
    /// That the pending versions are to be read again.
    pub(crate) recheck: Recheck,
}

/// Whether another process may have changed what is pending.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recheck {
    #[default]
    No,
    Wanted,
}

/// What became of an update that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It waits for the connection.
    Waits,
    /// One of it and an older one waits.
    Coalesced,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.end.is_none() && self.recheck == Recheck::No
    }
}

/// The place at which a connection is reached.
#[derive(Debug)]
pub(crate) struct Handle {
    id: u64,
    waker: AtomicWaker,
    mail: Mutex<Mail>,
    /// The record revision in which a channel was found last.
    known: Mutex<Vec<(ChannelId, Revision)>>,
    /// When the connection wants to be woken, in milliseconds.
    deadline: AtomicU64,
    /// The entry of the timer wheel that counts, in milliseconds; see `wheel`.
    pub(crate) scheduled: AtomicU64,
}

impl Handle {
    pub(crate) const fn new(id: u64) -> Self {
        Self {
            id,
            waker: AtomicWaker::new(),
            mail: Mutex::new(Mail { updates: BTreeMap::new(), end: None, recheck: Recheck::No }),
            known: Mutex::new(Vec::new()),
            deadline: AtomicU64::new(u64::MAX),
            scheduled: AtomicU64::new(u64::MAX),
        }
    }

    /// The number of the connection.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// Sees to it that `waker` is woken when there is mail or a timer is due.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// Wakes the connection.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Leaves an update. Of one channel one stays: the greater version, or the later under
    /// [`VersionPolicy::Last`].
    pub(crate) fn deliver(&self, update: Update, policy: VersionPolicy) -> Delivered {
        let mut delivered = Delivered::Waits;
        {
            let mut mail = lock(&self.mail);
            match mail.updates.get_mut(&update.channel) {
                Some(waiting) => {
                    delivered = Delivered::Coalesced;
                    let revision = waiting.revision.max(update.revision);
                    let replaces = match policy {
                        VersionPolicy::Last => update.revision >= waiting.revision,
                        VersionPolicy::Greatest | VersionPolicy::Strict => {
                            update.version >= waiting.version
                        }
                    };
                    if replaces {
                        *waiting = update;
                    }
                    waiting.revision = revision;
                }
                None => {
                    mail.updates.insert(update.channel, update);
                }
            }
        }
        self.wake();
        delivered
    }

    /// Says that the connection is to end; the first reason counts.
    pub(crate) fn end(&self, reason: CloseReason) {
        lock(&self.mail).end.get_or_insert(reason);
        self.wake();
    }

    /// Says that the pending versions are to be read again.
    pub(crate) fn recheck(&self) {
        lock(&self.mail).recheck = Recheck::Wanted;
        self.wake();
    }

    /// Takes what waits; `None` if nothing does.
    pub(crate) fn take_mail(&self) -> Option<Mail> {
        let mut mail = lock(&self.mail);
        (!mail.is_empty()).then(|| std::mem::take(&mut *mail))
    }

    /// The record revision in which the channel was found last.
    pub(crate) fn known(&self, channel: ChannelId) -> Option<Revision> {
        lock(&self.known).iter().find(|(known, _)| *known == channel).map(|&(_, revision)| revision)
    }

    /// Remembers the record revision in which the channel was found.
    pub(crate) fn remember(&self, channel: ChannelId, revision: Revision) {
        let mut known = lock(&self.known);
        if let Some((_, remembered)) = known.iter_mut().find(|(known, _)| *known == channel) {
            *remembered = revision;
            return;
        }
        if known.len() == KNOWN_MAX {
            known.remove(0);
        }
        known.reserve_exact(1);
        known.push((channel, revision));
    }

    /// When the connection wants to be woken; [`Timestamp::MAX`] for never.
    pub(crate) fn deadline(&self) -> Timestamp {
        Timestamp::from_millis(self.deadline.load(Ordering::SeqCst))
    }

    pub(crate) fn set_deadline(&self, at: Option<Timestamp>) {
        let millis = at.map_or(u64::MAX, Timestamp::as_millis);
        self.deadline.store(millis, Ordering::SeqCst);
    }
}

/// Which connection each UserAgent has: at most one (S10).
#[derive(Debug)]
pub(crate) struct Table(Vec<Mutex<HashMap<UserAgentId, Arc<Handle>>>>);

impl Table {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    fn shard(&self, key: UserAgentId) -> Option<MutexGuard<'_, HashMap<UserAgentId, Arc<Handle>>>> {
        self.0.get(key.spread() % SHARDS).map(lock)
    }

    /// Makes `handle` the connection of a UserAgent; an older one is told to end (R-HELLO-1).
    pub(crate) fn claim(&self, key: UserAgentId, handle: &Arc<Handle>) {
        let older = self.shard(key).and_then(|mut shard| shard.insert(key, Arc::clone(handle)));
        if let Some(older) = older.filter(|older| older.id != handle.id) {
            older.end(CloseReason::Superseded);
        }
    }

    /// Removes the entry of a UserAgent if it is still that of `handle` (R-DEL-10).
    pub(crate) fn release(&self, key: UserAgentId, handle: &Handle) {
        let Some(mut shard) = self.shard(key) else { return };
        if let Entry::Occupied(entry) = shard.entry(key)
            && entry.get().id == handle.id
        {
            entry.remove();
        }
    }

    /// The connection of a UserAgent.
    pub(crate) fn find(&self, key: UserAgentId) -> Option<Arc<Handle>> {
        self.shard(key)?.get(&key).cloned()
    }

    /// How many UserAgents are connected.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Tells every identified connection to read its pending versions again.
    pub(crate) fn recheck_all(&self) {
        (0..).take(SHARDS).for_each(|turn| self.recheck_some(turn));
    }

    /// The same for some connections; [`SHARDS`] turns reach all.
    pub(crate) fn recheck_some(&self, turn: u64) {
        let shard = usize::try_from(turn % SHARDS as u64).ok().and_then(|at| self.0.get(at));
        let Some(shard) = shard else { return };
        let handles: Vec<_> = lock(shard).values().cloned().collect();
        for handle in handles {
            handle.recheck();
        }
    }
}

/// A poisoned lock is as good as any: what it guards is changed in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use buswire_message::Version;

    use super::*;
    use crate::id::Uaid;

    fn update(channel: ChannelId, version: u64) -> Update {
        let version = Version::new(version).unwrap();
        Update { channel, version, revision: Revision(version.get()), data: None }
    }

    #[test]
    fn updates_of_one_channel_are_one_entry() {
        // Rule: simplepush R-DEL-4 — ten thousand PUTs to one channel of a slow reader cost one entry
        let handle = Handle::new(1);
        let channel = ChannelId::parse("6f1c0b7a52d94e0c9b3ad41e8f27c650").unwrap();
        assert!(handle.take_mail().is_none());
        for version in (1..=10_000).chain([7]) {
            handle.deliver(update(channel, version), VersionPolicy::Greatest);
        }
        let mail = handle.take_mail().unwrap();
        assert_eq!(mail.updates.into_values().collect::<Vec<_>>(), [update(channel, 10_000)]);
        assert!(handle.take_mail().is_none());
    }

    #[test]
    fn the_newest_connection_of_a_user_agent_wins() {
        // Rule: simplepush S10 — at most one live identified connection per UAID; the newest wins
        let table = Table::new();
        let key = Uaid::from_bytes([1; 16]).key();
        let (older, newer) = (Arc::new(Handle::new(1)), Arc::new(Handle::new(2)));
        table.claim(key, &older);
        table.claim(key, &older);
        assert!(older.take_mail().is_none());
        table.claim(key, &newer);
        assert_eq!(older.take_mail().unwrap().end, Some(CloseReason::Superseded));
        // Rule: simplepush R-DEL-10 — a late end of the older connection does not remove the newer
        table.release(key, &older);
        assert_eq!(table.find(key).unwrap().id, 2);
        assert_eq!(table.len(), 1);
        table.release(key, &newer);
        assert!(table.find(key).is_none());
    }

    #[test]
    fn few_revisions_are_remembered() {
        let handle = Handle::new(1);
        let channel = |n: u8| ChannelId::parse(&format!("{n:032x}")).unwrap();
        for n in 0..20 {
            handle.remember(channel(n), Revision(u64::from(n)));
        }
        assert_eq!(handle.known(channel(0)), None);
        assert_eq!(handle.known(channel(19)), Some(Revision(19)));
        handle.remember(channel(19), Revision(7));
        assert_eq!(handle.known(channel(19)), Some(Revision(7)));
    }
}
