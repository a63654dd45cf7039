//! How long to wait after failures.
//!
//! Never here: a clock or a source of randomness.

use std::time::Duration;

/// Exponential back-off with jitter, and how many failures in a row are borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure. It doubles with each further one.
    pub first: Duration,
    /// The longest wait of all.
    pub max: Duration,
    /// How many failures in a row are waited out; the next one is reported.
    pub failures_max: u32,
}

impl Default for Backoff {
    /// From one second to one minute, ten failures: some six minutes in all.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(60), failures_max: 10 }
    }
}

impl Backoff {
    /// How long to wait after `failures` failures in a row: between half of the longest wait and all
    /// of it, by `random`, so that clients that failed together don't come back together. `None` if
    /// that is one failure too many.
    pub(crate) fn delay(&self, failures: u32, random: u32) -> Option<Duration> {
        if failures > self.failures_max {
            return None;
        }
        let doublings = failures.saturating_sub(1).min(31);
        let longest = self.first.saturating_mul(1 << doublings).min(self.max);
        let half = longest / 2;
        Some(half + half.mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        let backoff = Backoff::default();
        let longest: Vec<_> = (1..=8).map(|n| backoff.delay(n, u32::MAX).unwrap()).collect();
        let seconds = [1, 2, 4, 8, 16, 32, 60, 60].map(Duration::from_secs);
        assert_eq!(longest, seconds);
        assert_eq!(backoff.delay(1, 0), Some(Duration::from_millis(500)));
        assert_eq!(backoff.delay(11, 0), None);
    }

    proptest! {
        #[test]
        fn a_wait_is_between_half_and_all(failures in 1_u32..1000, random: u32) {
            let backoff = Backoff { failures_max: u32::MAX, ..Backoff::default() };
            let wait = backoff.delay(failures, random).unwrap();
            let longest = backoff.delay(failures, u32::MAX).unwrap();
            prop_assert!(longest / 2 <= wait && wait <= longest && longest <= backoff.max);
        }
    }
}
