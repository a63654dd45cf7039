//! How long to wait before trying again.
//!
//! Never in here: a clock, a socket, what is tried.

use std::time::Duration;

/// Delays that double up to a longest, each lengthened by up to a quarter at random, so that peers
/// which lost the same broker do not come back all at once.
#[derive(Clone, Debug)]
pub(crate) struct BackOff {
    first: Duration,
    longest: Duration,
    random: u64,
}

impl BackOff {
    pub(crate) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, random: seed }
    }

    /// Returns the delay after `failures` earlier ones in a row.
    pub(crate) fn delay(&mut self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.min(16));
        let delay = doubled.min(self.longest);
        delay + delay / 4 * (self.next_random() % 256) / 256
    }

    fn next_random(&mut self) -> u32 {
        // A linear congruential step: spreading delays needs no more.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from(self.random >> 32).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_are_spread() {
        let second = Duration::from_secs(1);
        let mut it = BackOff::new(second, 32 * second, 7);
        for (failures, least) in [(0, 1), (1, 2), (4, 16), (5, 32), (6, 32), (u32::MAX, 32)] {
            let delay = it.delay(failures);
            assert!((least * second..least * second * 5 / 4).contains(&delay), "{delay:?}");
        }
        let different: std::collections::BTreeSet<Duration> =
            (0..32).map(|_| it.delay(0)).collect();
        assert!(different.len() > 16);
    }
}
