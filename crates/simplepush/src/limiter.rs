//! How often something may happen within a period (SimplePush §19.3).
//!
//! Never here: what happens when it does so too often.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::Duration,
};

use buswire_message::Timestamp;

use crate::table::lock;

/// The most keys that are counted in one period. Further ones are not limited until the next: who
/// has so many keys is not stopped by a limit on each.
const KEYS_MAX: usize = 65_536;

/// Over what is counted, for every limit.
pub(crate) const PERIOD: Duration = Duration::from_secs(60);

/// Counts what happens for each key within the present period.
#[derive(Debug)]
pub(crate) struct Limiter<K> {
    /// How often it may happen; 0 for any number of times.
    max: u32,
    counts: Mutex<Counts<K>>,
}

#[derive(Debug)]
struct Counts<K> {
    since: Timestamp,
    by_key: HashMap<K, u32>,
}

/// It happened too often: it may again after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften(pub(crate) Duration);

impl<K: Eq + Hash> Limiter<K> {
    pub(crate) fn new(max: u32) -> Self {
        let counts = Counts { since: Timestamp::EPOCH, by_key: HashMap::new() };
        Self { max, counts: Mutex::new(counts) }
    }

    /// Counts one more for `key`.
    pub(crate) fn count(&self, key: K, now: Timestamp) -> Result<(), TooOften> {
        if self.max == 0 {
            return Ok(());
        }
        let mut counts = self.current(now);
        if counts.by_key.len() >= KEYS_MAX && !counts.by_key.contains_key(&key) {
            return Ok(());
        }
        let count = counts.by_key.entry(key).or_default();
        *count = count.saturating_add(1);
        if *count > self.max { Err(counts.wait(now)) } else { Ok(()) }
    }

    /// Looks whether one more for `key` would be too many, without counting it.
    pub(crate) fn check(&self, key: &K, now: Timestamp) -> Result<(), TooOften> {
        if self.max == 0 {
            return Ok(());
        }
        let counts = self.current(now);
        let used_up = counts.by_key.get(key).is_some_and(|count| *count >= self.max);
        if used_up { Err(counts.wait(now)) } else { Ok(()) }
    }

    fn current(&self, now: Timestamp) -> std::sync::MutexGuard<'_, Counts<K>> {
        let mut counts = lock(&self.counts);
        if now >= counts.since.saturating_add(PERIOD) {
            *counts = Counts { since: now, by_key: HashMap::new() };
        }
        counts
    }
}

impl<K> Counts<K> {
    fn wait(&self, now: Timestamp) -> TooOften {
        TooOften(PERIOD.saturating_sub(now.saturating_since(self.since)))
    }
}

/// Who a limit on an address holds for: of IPv6 a whole network, since one host has all of it.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_allowed_in_each_period() {
        let at = Timestamp::from_secs;
        let limiter = Limiter::new(2);
        assert_eq!(limiter.count("a", at(100)), Ok(()));
        assert_eq!(limiter.check(&"a", at(100)), Ok(()));
        assert_eq!(limiter.count("a", at(130)), Ok(()));
        assert_eq!(limiter.check(&"a", at(130)), Err(TooOften(Duration::from_secs(30))));
        assert_eq!(limiter.count("a", at(150)), Err(TooOften(Duration::from_secs(10))));
        assert_eq!(limiter.count("b", at(150)), Ok(()));
        assert_eq!(limiter.count("a", at(160)), Ok(()));
        let off = Limiter::new(0);
        assert!((0..1000).all(|_| off.count((), at(1)).is_ok() && off.check(&(), at(1)).is_ok()));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let limiter = Limiter::new(1);
        let now = Timestamp::from_secs(100);
        assert!((0..KEYS_MAX + 10).all(|key| limiter.count(key, now).is_ok()));
        assert_eq!(lock(&limiter.counts).by_key.len(), KEYS_MAX);
        assert!(limiter.count(0, now).is_err());
        assert!(limiter.count(KEYS_MAX + 1, now).is_ok());
    }

    #[test]
    fn addresses_of_one_host_are_one_source() {
        let source = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.2"), source("192.0.2.1"));
    }
}
