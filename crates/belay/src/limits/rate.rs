//! How often: the `rate` limit as a token bucket in whole numbers.
//!
//! Never here: where the state of a bucket is kept.

use buswire_message::Timestamp;

/// At most `count` invocations in every `per` seconds on average, `count` at once (Belay §20.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per_secs: u32,
}

/// What a token bucket remembers.
///
/// Counted in parts: an invocation costs `per` milliseconds of them, and every millisecond gives
/// `count`, so nothing is ever rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Parts that are in the bucket.
    pub(crate) parts: u64,
    /// When they were counted.
    pub(crate) at: Timestamp,
}

impl Rate {
    /// The greatest `count`: a million.
    pub const COUNT_MAX: u32 = 1_000_000;
    /// The greatest `per`: a year of seconds.
    pub const PER_SECS_MAX: u32 = 366 * 86_400;

    /// Makes a rate; `None` if a number is zero or above its bound.
    pub fn new(count: u64, per_secs: u64) -> Option<Self> {
        let count = u32::try_from(count).ok()?;
        let per_secs = u32::try_from(per_secs).ok()?;
        let possible =
            (1..=Self::COUNT_MAX).contains(&count) && (1..=Self::PER_SECS_MAX).contains(&per_secs);
        possible.then_some(Self { count, per_secs })
    }

    /// Invocations in a period, and at once.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The period in seconds.
    pub const fn per_secs(self) -> u32 {
        self.per_secs
    }

    /// A rate that admits nothing that one of the two refuses: the smaller burst, at the smaller
    /// average.
    #[must_use]
    pub fn tighter(self, other: Self) -> Self {
        let count = self.count.min(other.count);
        // The shortest period in which `count` invocations stay within the average of `rate`.
        let period = |rate: Self| {
            (u64::from(count) * u64::from(rate.per_secs)).div_ceil(u64::from(rate.count))
        };
        let per_secs = period(self).max(period(other));
        Self { count, per_secs: u32::try_from(per_secs).unwrap_or(Self::PER_SECS_MAX) }
    }

    const fn cost(self) -> u64 {
        self.per_secs as u64 * 1000
    }

    const fn capacity(self) -> u64 {
        self.count as u64 * self.cost()
    }

    /// A full bucket.
    pub(crate) const fn full(self, now: Timestamp) -> Bucket {
        Bucket { parts: self.capacity(), at: now }
    }

    /// The bucket at `now`. A clock that stepped back adds nothing, and does not stop the bucket from
    /// filling until the clock has caught up.
    pub(crate) fn filled(self, bucket: Bucket, now: Timestamp) -> Bucket {
        let elapsed = now.as_millis().saturating_sub(bucket.at.as_millis());
        let gained = elapsed.saturating_mul(u64::from(self.count));
        Bucket { parts: bucket.parts.saturating_add(gained).min(self.capacity()), at: now }
    }

    /// The bucket with one invocation taken out.
    ///
    /// # Errors
    ///
    /// The seconds, at least 1, after which there is room for one.
    pub(crate) fn take(self, bucket: Bucket, now: Timestamp) -> Result<Bucket, u32> {
        let filled = self.filled(bucket, now);
        if let Some(parts) = filled.parts.checked_sub(self.cost()) {
            return Ok(Bucket { parts, at: now });
        }
        let millis = (self.cost() - filled.parts).div_ceil(u64::from(self.count));
        Err(u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX).max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_700_000_000);

    #[test]
    fn a_burst_is_the_count_and_the_bucket_fills_evenly() {
        // Rule: belay 20.8 — rate is a token bucket whose burst is its count
        let rate = Rate::new(3, 10).unwrap();
        let mut bucket = rate.full(START);
        for _ in 0..3 {
            bucket = rate.take(bucket, START).unwrap();
        }
        assert_eq!(rate.take(bucket, START), Err(4));
        let after = |millis| START.saturating_add(Duration::from_millis(millis));
        assert_eq!(rate.take(bucket, after(3333)), Err(1));
        assert!(rate.take(bucket, after(3334)).is_ok());
        assert_eq!(rate.filled(bucket, after(1_000_000)), rate.full(after(1_000_000)));
    }

    #[test]
    fn rates_have_bounds() {
        assert!(Rate::new(1, 1).is_some());
        for (count, per) in [(0, 1), (1, 0), (1_000_001, 1), (1, u64::MAX)] {
            assert_eq!(Rate::new(count, per), None);
        }
    }

    #[test]
    fn a_clock_that_steps_back_adds_nothing() {
        let rate = Rate::new(1, 10).unwrap();
        let empty = rate.take(rate.full(START), START).unwrap();
        let earlier = Timestamp::from_secs(1_600_000_000);
        let back = rate.filled(empty, earlier);
        assert_eq!(back.parts, 0);
        assert!(rate.take(back, earlier.saturating_add(Duration::from_secs(10))).is_ok());
    }

    proptest! {
        #[test]
        fn a_tighter_rate_is_within_both(
            a in (1..50_u64, 1..50_u64), b in (1..50_u64, 1..50_u64),
            steps in proptest::collection::vec(0..5_000_u64, 1..60),
        ) {
            let (a, b) = (Rate::new(a.0, a.1).unwrap(), Rate::new(b.0, b.1).unwrap());
            let tight = a.tighter(b);
            let (mut of_a, mut of_b, mut of_tight) =
                (a.full(START), b.full(START), tight.full(START));
            let mut now = START;
            for step in steps {
                now = now.saturating_add(Duration::from_millis(step));
                if let Ok(next) = tight.take(of_tight, now) {
                    of_tight = next;
                    of_a = a.take(of_a, now).unwrap();
                    of_b = b.take(of_b, now).unwrap();
                }
            }
        }
    }
}
