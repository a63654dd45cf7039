//! A clock for timers: that of the system, without its steps backwards.

use std::sync::{Arc, Mutex};

use buswire_message::{Clock, Timestamp};

use crate::table::lock;

#[derive(Debug)]
struct Seen {
    raw: u64,
    /// By how much the clock went back altogether.
    behind: u64,
}

/// Time that never goes back. Timers are compared with it alone, never with stored times.
#[derive(Debug)]
pub(crate) struct SteadyClock {
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

impl SteadyClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let raw = clock.now().as_millis();
        Self { clock, seen: Mutex::new(Seen { raw, behind: 0 }) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let raw = self.clock.now().as_millis();
        let mut seen = lock(&self.seen);
        seen.behind += seen.raw.saturating_sub(raw);
        seen.raw = raw;
        Timestamp::from_millis(raw.saturating_add(seen.behind))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use buswire_testkit::VirtualClock;

    use super::*;

    #[test]
    fn steps_backwards_do_not_stop_timers() {
        let clock = VirtualClock::default();
        let steady = SteadyClock::new(Arc::new(clock.clone()));
        let start = steady.now();
        clock.set(Timestamp::from_secs(5));
        assert_eq!(steady.now(), start);
        clock.advance(Duration::from_secs(7));
        assert_eq!(steady.now(), start.saturating_add(Duration::from_secs(7)));
    }
}
