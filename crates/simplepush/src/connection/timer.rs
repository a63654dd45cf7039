//! The timers of a connection as a table.

use buswire_message::Timestamp;

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// No valid `hello` came in time (R-WS-13).
    Hello,
    /// A message does not come to its end (§19.4).
    Message,
    /// The client has been silent: probe it (§5.3).
    Probe,
    /// The probe was not answered: the connection is dead (L7).
    Pong,
    /// Unacknowledged versions may be due to be sent again (R-DEL-7).
    Resend,
    /// A write has made no progress (§19.4).
    Write,
    /// The closing handshake takes too long (§19.4).
    Close,
    /// A UserAgent that can be woken has nothing to do here (§13.1).
    Idle,
    /// The store should be told that the UserAgent is still there (R-GC-1).
    Touch,
}

const ALL: [Timer; 9] = [
    Timer::Hello,
    Timer::Message,
    Timer::Probe,
    Timer::Pong,
    Timer::Resend,
    Timer::Write,
    Timer::Close,
    Timer::Idle,
    Timer::Touch,
];

/// When each timer fires; [`Timestamp::MAX`] stands for never.
#[derive(Debug)]
pub(super) struct Timers([Timestamp; ALL.len()]);

impl Timers {
    pub(super) const fn new() -> Self {
        Self([Timestamp::MAX; ALL.len()])
    }

    const fn slot(&mut self, timer: Timer) -> &mut Timestamp {
        let [hello, message, probe, pong, resend, write, close, idle, touch] = &mut self.0;
        match timer {
            Timer::Hello => hello,
            Timer::Message => message,
            Timer::Probe => probe,
            Timer::Pong => pong,
            Timer::Resend => resend,
            Timer::Write => write,
            Timer::Close => close,
            Timer::Idle => idle,
            Timer::Touch => touch,
        }
    }

    pub(super) const fn set(&mut self, timer: Timer, at: Timestamp) {
        *self.slot(timer) = at;
    }

    /// Sets the timer unless it is set already.
    pub(super) fn arm(&mut self, timer: Timer, at: Timestamp) {
        let slot = self.slot(timer);
        if *slot == Timestamp::MAX {
            *slot = at;
        }
    }

    pub(super) const fn clear(&mut self, timer: Timer) {
        *self.slot(timer) = Timestamp::MAX;
    }

    pub(super) const fn clear_all(&mut self) {
        *self = Self::new();
    }

    /// When the next timer fires.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.iter().copied().min().filter(|&at| at != Timestamp::MAX)
    }

    /// Takes one timer that is due, in the order of their declaration.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Timer> {
        ALL.into_iter().find(|&timer| {
            let slot = self.slot(timer);
            let due = *slot <= now && *slot != Timestamp::MAX;
            if due {
                *slot = Timestamp::MAX;
            }
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_once_and_in_order() {
        let at = Timestamp::from_secs;
        let mut timers = Timers::new();
        assert_eq!(timers.next(), None);
        timers.set(Timer::Probe, at(20));
        timers.set(Timer::Hello, at(10));
        timers.arm(Timer::Hello, at(5));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.take_due(at(9)), None);
        assert_eq!(timers.take_due(at(20)), Some(Timer::Hello));
        assert_eq!(timers.take_due(at(20)), Some(Timer::Probe));
        assert_eq!(timers.take_due(at(20)), None);
        timers.arm(Timer::Touch, at(30));
        timers.clear(Timer::Touch);
        assert_eq!(timers.next(), None);
    }
}
