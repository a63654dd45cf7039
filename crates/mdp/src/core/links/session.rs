//! What both ends of a link keep of each other: when something was heard, and the order of messages.

use std::time::Duration;

/// One side's view of a conversation.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The place of the next message to be sent.
    sent: u64,
    /// The place of the next message to be received.
    heard: u64,
    pub(super) last_rx: Duration,
    pub(super) last_tx: Duration,
    /// When its timer is set to ring.
    pub(super) timer_at: Option<Duration>,
}

impl Session {
    pub(super) fn new(now: Duration) -> Self {
        Self { last_rx: now, last_tx: now, ..Self::default() }
    }

    /// Gives the next message its place.
    pub(super) fn next(&mut self, now: Duration) -> u64 {
        self.last_tx = now;
        let order = self.sent;
        self.sent += 1;
        order
    }

    /// Notes a message; says whether it is the one that was to come.
    pub(super) fn takes(&mut self, now: Duration, order: u64) -> bool {
        let is_next = self.heard == order;
        if is_next {
            self.heard += 1;
            self.last_rx = now;
        }
        is_next
    }
}
