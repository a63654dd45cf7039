//! When a snapshot is saved: the timing of Belay §6.12, with time passed in.
//!
//! Never here: a clock, the snapshot, the saver.

use std::time::Duration;

/// The wait after the first save that failed; it doubles with each further one.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// The longest wait after a save that failed.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// The state of saving. All times are since one moment that the driver chose.
///
/// A change makes a save due at most `max_interval` later; further changes go with it. At most one
/// save runs at a time; one that failed is due again after a back-off.
#[derive(Debug)]
pub(super) struct Saving {
    max_interval: Duration,
    /// When the first change happened that no save has seen.
    unsaved_since: Option<Duration>,
    not_before: Duration,
    failures: u32,
    is_running: bool,
}

impl Saving {
    pub(super) const fn new(max_interval: Duration) -> Self {
        Self {
            max_interval,
            unsaved_since: None,
            not_before: Duration::ZERO,
            failures: 0,
            is_running: false,
        }
    }

    /// The snapshot changed.
    pub(super) fn handle_change(&mut self, now: Duration) {
        self.unsaved_since.get_or_insert(now);
    }

    /// When to begin a save; `None` while one runs or nothing is unsaved.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let since = self.unsaved_since.filter(|_| !self.is_running)?;
        Some(since.saturating_add(self.max_interval).max(self.not_before))
    }

    /// A save begins now. It sees every change so far.
    pub(super) fn handle_begin(&mut self) {
        self.unsaved_since = None;
        self.is_running = true;
    }

    /// The save ended.
    pub(super) fn handle_end(&mut self, now: Duration, saved: bool) {
        self.is_running = false;
        if saved {
            self.failures = 0;
            self.not_before = Duration::ZERO;
        } else {
            let back_off = BACK_OFF_MIN.saturating_mul(1 << self.failures.min(16));
            self.failures = self.failures.saturating_add(1);
            self.not_before = now.saturating_add(back_off.min(BACK_OFF_MAX));
            self.handle_change(now);
        }
    }

    /// Whether a change was not saved yet.
    pub(super) const fn is_unsaved(&self) -> bool {
        self.unsaved_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_save_is_due_the_interval_after_the_first_change() {
        // Rule: belay 6.12 — the saver runs maxInterval after the first unsaved change at the latest
        let mut saving = Saving::new(ms(500));
        assert_eq!(saving.poll_timeout(), None);
        saving.handle_change(ms(100));
        saving.handle_change(ms(400));
        assert_eq!(saving.poll_timeout(), Some(ms(600)));
        // Rule: belay 6.12 — by default it runs at once
        let mut at_once = Saving::new(ms(0));
        at_once.handle_change(ms(100));
        assert_eq!(at_once.poll_timeout(), Some(ms(100)));
    }

    #[test]
    fn changes_during_a_save_are_coalesced_into_the_next() {
        // Rule: belay 6.12 — changes while a save is pending are coalesced, and saves never overlap
        let mut saving = Saving::new(ms(10));
        saving.handle_change(ms(0));
        saving.handle_begin();
        assert!(!saving.is_unsaved());
        saving.handle_change(ms(20));
        saving.handle_change(ms(30));
        assert_eq!(saving.poll_timeout(), None);
        saving.handle_end(ms(100), true);
        assert_eq!(saving.poll_timeout(), Some(ms(30)));
    }

    #[test]
    fn a_save_that_failed_is_tried_again_after_a_growing_while() {
        // Rule: belay 6.12 — a save that failed leaves the server dirty and is retried with back-off
        let mut saving = Saving::new(ms(0));
        saving.handle_change(ms(0));
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            saving.handle_begin();
            saving.handle_end(ms(0), false);
            assert!(saving.is_unsaved());
            assert_eq!(saving.poll_timeout(), Some(Duration::from_secs(wait)));
        }
        saving.handle_begin();
        saving.handle_end(ms(5), true);
        saving.handle_change(ms(6));
        assert_eq!(saving.poll_timeout(), Some(ms(6)));
    }
}
