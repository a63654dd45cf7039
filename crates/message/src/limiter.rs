//! How often something may happen within a period.
//!
//! Never here: what happens when it does so too often.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::Timestamp;

/// The most keys that are counted in one period. Further ones are not limited until the next: who
/// has so many keys is not stopped by a limit on each.
const KEYS_MAX: usize = 65_536;

/// Counts what happens for each key within the present period. At most 65 536 keys are counted.
pub struct Limiter<K> {
    max: u32,
    period: Duration,
    counts: Mutex<Counts<K>>,
}

impl<K> fmt::Debug for Limiter<K> {
    // Keys may be names of people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = (&self.max, &self.period);
        f.debug_struct("Limiter")
            .field("max", fields.0)
            .field("period", fields.1)
            .finish_non_exhaustive()
    }
}

struct Counts<K> {
    since: Timestamp,
    by_key: HashMap<K, u32>,
}

/// It happened too often: it may again after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooOften(pub Duration);

impl<K: Eq + Hash> Limiter<K> {
    /// Lets it happen `max` times in each `period` for each key; 0 is any number of times.
    pub fn new(max: u32, period: Duration) -> Self {
        let counts = Counts { since: Timestamp::EPOCH, by_key: HashMap::new() };
        Self { max, period, counts: Mutex::new(counts) }
    }

    /// Counts one more for `key`.
    ///
    /// # Errors
    ///
    /// [`TooOften`] when it is one too many.
    pub fn count(&self, key: K, now: Timestamp) -> Result<(), TooOften> {
        if self.max == 0 {
            return Ok(());
        }
        let mut counts = self.current(now);
        if counts.by_key.len() >= KEYS_MAX && !counts.by_key.contains_key(&key) {
            return Ok(());
        }
        let count = counts.by_key.entry(key).or_default();
        *count = count.saturating_add(1);
        if *count > self.max { Err(counts.wait(self.period, now)) } else { Ok(()) }
    }

    /// Looks whether one more for `key` would be too many, without counting it.
    ///
    /// # Errors
    ///
    /// [`TooOften`] when it would be.
    pub fn check(&self, key: &K, now: Timestamp) -> Result<(), TooOften> {
        if self.max == 0 {
            return Ok(());
        }
        let counts = self.current(now);
        let used_up = counts.by_key.get(key).is_some_and(|count| *count >= self.max);
        if used_up { Err(counts.wait(self.period, now)) } else { Ok(()) }
    }

    // Held for a map operation or two. A panic in between leaves the counts usable.
    fn current(&self, now: Timestamp) -> MutexGuard<'_, Counts<K>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that stepped back begins a period too: nobody waits for it to come back.
        if now < counts.since || now >= counts.since.saturating_add(self.period) {
            *counts = Counts { since: now, by_key: HashMap::new() };
        }
        counts
    }
}

impl<K> Counts<K> {
    fn wait(&self, period: Duration, now: Timestamp) -> TooOften {
        TooOften(period.saturating_sub(now.saturating_since(self.since)))
    }
}

/// Who a limit on an address holds for: of IPv6 a whole network, since one host has all of it.
pub fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    #[test]
    fn so_much_is_allowed_in_each_period() {
        let at = Timestamp::from_secs;
        let limiter = Limiter::new(2, PERIOD);
        assert_eq!(limiter.count("a", at(100)), Ok(()));
        assert_eq!(limiter.check(&"a", at(100)), Ok(()));
        assert_eq!(limiter.count("a", at(130)), Ok(()));
        assert_eq!(limiter.check(&"a", at(130)), Err(TooOften(Duration::from_secs(30))));
        assert_eq!(limiter.count("a", at(150)), Err(TooOften(Duration::from_secs(10))));
        assert_eq!(limiter.count("b", at(150)), Ok(()));
        assert_eq!(limiter.count("a", at(160)), Ok(()));
        let off = Limiter::new(0, PERIOD);
        assert!((0..1000).all(|_| off.count((), at(1)).is_ok() && off.check(&(), at(1)).is_ok()));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let limiter = Limiter::new(1, PERIOD);
        let now = Timestamp::from_secs(100);
        assert!((0..KEYS_MAX + 10).all(|key| limiter.count(key, now).is_ok()));
        assert_eq!(limiter.counts.lock().unwrap().by_key.len(), KEYS_MAX);
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
