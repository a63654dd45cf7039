//! What was read from the store a moment ago.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buswire_message::Timestamp;

/// A bounded map whose entries may be used for a short time.
///
/// Two generations: the young one takes entries until it is half of the bound, then it becomes the old
/// one and the old one is forgotten. So forgetting costs nothing for each entry.
///
/// A miss never means that something does not exist; the reader then asks the store.
pub(crate) struct TimedCache<K, V> {
    inner: Mutex<Inner<K, V>>,
    half: usize,
    lifetime: Duration,
}

struct Inner<K, V> {
    young: HashMap<K, (V, Timestamp)>,
    old: HashMap<K, (V, Timestamp)>,
    version: Version,
}

/// Changes whenever something is removed, so that a value read before a removal is not put in after
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version(u64);

impl<K: Eq + Hash, V: Clone> TimedCache<K, V> {
    /// An empty cache of at most `capacity` entries, each used for `lifetime`.
    pub(crate) fn new(capacity: usize, lifetime: Duration) -> Self {
        let inner = Inner { young: HashMap::new(), old: HashMap::new(), version: Version(0) };
        Self { inner: Mutex::new(inner), half: capacity.div_ceil(2).max(1), lifetime }
    }

    /// The value of `key` if it was put in less than the lifetime ago.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Timestamp) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let inner = self.lock();
        let (value, put_at) = inner.young.get(key).or_else(|| inner.old.get(key))?;
        // A clock that stepped back makes the age unknown; the store knows better then.
        let is_fresh = *put_at <= now && now.saturating_since(*put_at) < self.lifetime;
        is_fresh.then(|| value.clone())
    }

    /// To be taken before the store is read for [`insert`](Self::insert).
    pub(crate) fn version(&self) -> Version {
        self.lock().version
    }

    /// Puts in what was read after `version` was taken, unless something was removed meanwhile.
    pub(crate) fn insert(&self, version: Version, key: K, value: V, now: Timestamp) {
        let mut inner = self.lock();
        if inner.version != version {
            return;
        }
        if inner.young.len() >= self.half && !inner.young.contains_key(&key) {
            inner.old = std::mem::take(&mut inner.young);
        }
        inner.young.insert(key, (value, now));
    }

    /// Forgets `key`.
    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let mut inner = self.lock();
        inner.young.remove(key);
        inner.old.remove(key);
        inner.version.0 += 1;
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        inner.young.clear();
        inner.old.clear();
        inner.version.0 += 1;
    }

    // Held for a few map operations, never across an await. A panic in between leaves the maps
    // usable, so poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn cache(capacity: usize) -> TimedCache<u32, u32> {
        TimedCache::new(capacity, SECOND * 5)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn entries_are_used_for_their_lifetime_only() {
        let cache = cache(8);
        cache.insert(cache.version(), 1, 10, at(100));
        assert_eq!(cache.get(&1, at(104)), Some(10));
        assert_eq!(cache.get(&1, at(105)), None);
        assert_eq!(cache.get(&1, at(99)), None);
    }

    #[test]
    fn a_removal_wins_over_a_read_that_began_before_it() {
        let cache = cache(8);
        let before = cache.version();
        cache.remove(&1);
        cache.insert(before, 1, 10, at(100));
        assert_eq!(cache.get(&1, at(100)), None);
        cache.insert(cache.version(), 1, 11, at(100));
        cache.clear();
        assert_eq!(cache.get(&1, at(100)), None);
    }

    #[test]
    fn the_bound_holds_and_the_newest_stay() {
        let cache = cache(8);
        for key in 0..100 {
            cache.insert(cache.version(), key, key, at(100));
            let inner = cache.lock();
            assert!(inner.young.len() + inner.old.len() <= 8);
        }
        assert_eq!(cache.get(&99, at(100)), Some(99));
        assert_eq!(cache.get(&96, at(100)), Some(96));
        assert_eq!(cache.get(&1, at(100)), None);
    }
}
