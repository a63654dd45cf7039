//! One timer wheel for all connections (SimplePush §19.5).
//!
//! A connection says when it wants to be woken by storing that in its [`Handle`]. Putting a wake-up
//! off costs nothing more: the entry in the wheel finds the later time when it fires, and moves.
//! Only a wake-up that comes before the entry needs a new one; the old one is then recognised as
//! superseded and dropped when its turn comes. Every open connection has an entry, so the wheel is
//! also the list of all connections.
//!
//! Never here: a clock, a task.

use std::{
    sync::{Arc, Mutex, Weak, atomic::Ordering},
    time::Duration,
};

use buswire_message::Timestamp;

use crate::table::{Handle, lock};

/// Slots of the wheel: with the default tick one turn is 256 s, longer than most waits.
const SLOTS: usize = 1024;

#[derive(Debug)]
struct Entry {
    at: u64,
    handle: Weak<Handle>,
}

#[derive(Debug)]
struct Inner {
    slots: Vec<Vec<Entry>>,
    /// The tick up to which entries have fired.
    fired: u64,
}

/// The timers of all connections.
#[derive(Debug)]
pub(crate) struct Wheel {
    tick_ms: u64,
    inner: Mutex<Inner>,
}

impl Wheel {
    /// An empty wheel that tells times apart by `tick`.
    pub(crate) fn new(now: Timestamp, tick: Duration) -> Self {
        let tick_ms = u64::try_from(tick.as_millis()).unwrap_or(u64::MAX).max(1);
        let slots = std::iter::repeat_with(Vec::new).take(SLOTS).collect();
        Self { tick_ms, inner: Mutex::new(Inner { slots, fired: now.as_millis() / tick_ms }) }
    }

    /// Sees to it that the connection is woken at its deadline or soon after.
    pub(crate) fn schedule(&self, now: Timestamp, handle: &Arc<Handle>) {
        let at = handle.deadline().min(self.horizon(now)).as_millis();
        if at < handle.scheduled.load(Ordering::SeqCst) {
            handle.scheduled.store(at, Ordering::SeqCst);
            self.insert(Entry { at, handle: Arc::downgrade(handle) });
        }
    }

    /// One turn ahead: entries are looked at at least that often.
    fn horizon(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(Duration::from_millis(self.tick_ms.saturating_mul(SLOTS as u64 - 1)))
    }

    fn insert(&self, entry: Entry) {
        let mut inner = lock(&self.inner);
        // Rounded up, so that an entry never fires before its time; and never into the past.
        let tick = entry.at.div_ceil(self.tick_ms).max(inner.fired + 1);
        let slot = usize::try_from(tick % SLOTS as u64).unwrap_or_default();
        if let Some(slot) = inner.slots.get_mut(slot) {
            slot.push(entry);
        }
    }

    /// Wakes the connections whose deadline is not after `now`.
    pub(crate) fn advance(&self, now: Timestamp) {
        for entry in self.take_due(now) {
            let Some(handle) = entry.handle.upgrade() else { continue };
            if handle.scheduled.load(Ordering::SeqCst) != entry.at {
                continue;
            }
            // The entry moves to where the deadline is; after a wake-up, one turn ahead, until the
            // connection says when it wants to be woken next.
            let due = handle.deadline() <= now;
            let next =
                if due { self.horizon(now) } else { handle.deadline().min(self.horizon(now)) };
            let at = next.as_millis();
            handle.scheduled.store(at, Ordering::SeqCst);
            self.insert(Entry { at, handle: Arc::downgrade(&handle) });
            if due {
                handle.wake();
            }
        }
    }

    fn take_due(&self, now: Timestamp) -> Vec<Entry> {
        let mut inner = lock(&self.inner);
        let until = now.as_millis() / self.tick_ms;
        let turns = until.saturating_sub(inner.fired).min(SLOTS as u64);
        let mut due = Vec::new();
        for tick in (until - turns + 1)..=until {
            let slot = usize::try_from(tick % SLOTS as u64).unwrap_or_default();
            if let Some(slot) = inner.slots.get_mut(slot) {
                due.append(slot);
                slot.shrink_to(SLOTS);
            }
        }
        inner.fired = inner.fired.max(until);
        due
    }

    /// Every open connection.
    pub(crate) fn connections(&self) -> Vec<Arc<Handle>> {
        let inner = lock(&self.inner);
        let current = |entry: &Entry| {
            let handle = entry.handle.upgrade()?;
            (handle.scheduled.load(Ordering::SeqCst) == entry.at).then_some(handle)
        };
        inner.slots.iter().flatten().filter_map(current).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Sleeper {
        handle: Arc<Handle>,
        count: Arc<Count>,
    }

    impl Sleeper {
        fn new(wheel: &Wheel, now: u64, deadline: Option<u64>) -> Self {
            let sleeper = Self { handle: Arc::new(Handle::new(1)), count: Arc::default() };
            sleeper.sleep(wheel, now, deadline);
            sleeper
        }

        fn sleep(&self, wheel: &Wheel, now: u64, deadline: Option<u64>) {
            self.handle.register(&Waker::from(Arc::clone(&self.count)));
            self.handle.set_deadline(deadline.map(Timestamp::from_secs));
            wheel.schedule(Timestamp::from_secs(now), &self.handle);
        }

        fn woken(&self) -> usize {
            self.count.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn a_sleeper_is_woken_at_its_deadline() {
        let at = Timestamp::from_secs;
        let wheel = Wheel::new(at(1000), Duration::from_millis(250));
        let near = Sleeper::new(&wheel, 1000, Some(1030));
        let far = Sleeper::new(&wheel, 1000, Some(9000));
        let never = Sleeper::new(&wheel, 1000, None);
        wheel.advance(at(1029));
        assert_eq!(near.woken(), 0);
        wheel.advance(at(1030));
        assert_eq!(near.woken(), 1);
        for now in (1030..9000).step_by(100) {
            wheel.advance(at(now));
        }
        assert_eq!((near.woken(), far.woken()), (1, 0));
        wheel.advance(at(9000));
        assert_eq!((far.woken(), never.woken()), (1, 0));
        assert_eq!(wheel.connections().len(), 3);
        drop(far);
        assert_eq!(wheel.connections().len(), 2);
    }

    #[test]
    fn a_deadline_may_move_both_ways() {
        let at = Timestamp::from_secs;
        let wheel = Wheel::new(at(0), Duration::from_millis(250));
        let sleeper = Sleeper::new(&wheel, 0, Some(30));
        sleeper.sleep(&wheel, 1, Some(100));
        wheel.advance(at(99));
        assert_eq!(sleeper.woken(), 0);
        sleeper.sleep(&wheel, 99, Some(99 + 5));
        sleeper.sleep(&wheel, 99, Some(99 + 50));
        wheel.advance(at(99 + 5));
        assert_eq!(sleeper.woken(), 0);
        wheel.advance(at(99 + 50));
        assert_eq!(sleeper.woken(), 1);
        assert_eq!(wheel.connections().len(), 1);
    }

    #[test]
    fn a_clock_that_jumps_is_survived() {
        let at = Timestamp::from_secs;
        let wheel = Wheel::new(at(100), Duration::from_millis(250));
        let sleeper = Sleeper::new(&wheel, 100, Some(110));
        wheel.advance(at(50));
        assert_eq!(sleeper.woken(), 0);
        wheel.advance(at(1_000_000));
        assert_eq!(sleeper.woken(), 1);
    }
}
