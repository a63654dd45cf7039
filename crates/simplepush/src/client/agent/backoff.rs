//! How long to wait before connecting again (SimplePush §5.4).

use std::time::Duration;

/// A connection that lasted so long shows that the server is well.
const STABLE: Duration = Duration::from_secs(60);

/// Waits that double up to a bound. Half of each is random, so that those who lost their server together
/// do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first.min(max) }
    }

    /// The next wait.
    pub(super) fn next(&mut self, random: u32) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.max);
        wait / 2 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// A connection has ended that lasted so long.
    pub(super) fn connected_for(&mut self, lasted: Duration) {
        if lasted >= STABLE {
            self.reset();
        }
    }

    /// Begins with the first wait again.
    pub(super) fn reset(&mut self) {
        self.next = self.first.min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_half_is_random() {
        // Rule: simplepush §5.4 — back-off starts at 5 s, doubles, and is capped
        let secs = Duration::from_secs;
        let mut backoff = Backoff::new(secs(5), secs(30));
        let waits: Vec<Duration> = (0..5).map(|_| backoff.next(u32::MAX)).collect();
        assert_eq!(waits, [5, 10, 20, 30, 30].map(secs));
        backoff.connected_for(secs(59));
        assert_eq!(backoff.next(0), secs(15));
        backoff.connected_for(secs(60));
        assert_eq!(backoff.next(0), secs(5) / 2);
    }
}
