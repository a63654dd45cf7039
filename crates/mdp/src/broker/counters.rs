//! What the broker counted, and what it holds (mdp.md §12.5).

use std::time::Duration;

use crate::ServiceName;
use crate::wire::Invalid;

/// Number of classes of a [`Histogram`]: up to 2^25 µs, about 33 s, and one for more.
const CLASSES: usize = 26;

/// A histogram of durations whose class `i` counts those below 2^i microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Counts per class; the last class has no upper end.
    pub classes: [u64; CLASSES],
    /// Sum of all durations in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    pub(super) fn record(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let class = (u64::BITS - us.leading_zeros()) as usize;
        if let Some(count) = self.classes.get_mut(class.min(CLASSES - 1)) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// Returns how many durations were counted.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }
}

/// Monotonic counts since the start of the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Client messages decoded, by version 0.1 and 0.2.
    pub client_messages: [u64; 2],
    /// Worker messages decoded, by version 0.1 and 0.2.
    pub worker_messages: [u64; 2],
    /// Messages handed to the socket.
    pub sent: u64,
    /// Messages dropped, in the order of [`Invalid::ALL`].
    pub invalid: [u64; Invalid::ALL.len()],
    /// Requests accepted, from sockets and from this process.
    pub accepted: u64,
    /// Requests answered.
    pub completed: u64,
    /// Requests that waited past their time.
    pub expired: u64,
    /// Requests put back because their worker was lost.
    pub requeued: u64,
    /// Requests given up because of lost workers.
    pub lost: u64,
    /// Requests dropped at a bound.
    pub overflow: u64,
    /// Requests dropped because the broker drains.
    pub refused_draining: u64,
    /// Requests whose caller in this process went away.
    pub cancelled: u64,
    /// Replies that nobody waits for any more.
    pub orphaned: u64,
    /// Replies that did not name the worker's own assignment.
    pub unsolicited: u64,
    /// Requests answered by the broker itself (`mmi.*`).
    pub mmi: u64,
    /// DISCONNECTs sent to registered workers.
    pub disconnects: u64,
    /// DISCONNECTs sent to peers that were not registered.
    pub refusals: u64,
    /// Idle workers gone for silence.
    pub expiries: u64,
    /// Busy workers gone for taking too long.
    pub busy_timeouts: u64,
    /// Sends to a peer that is gone (EHOSTUNREACH).
    pub unreachable: u64,
    /// Sends to a peer whose queue is full (EAGAIN).
    pub peer_full: u64,
    /// Time from arrival to hand-out.
    pub queue_wait: Histogram,
    /// Time from arrival to reply.
    pub round_trip: Histogram,
}

impl Counters {
    pub(super) fn count_invalid(&mut self, reason: Invalid) {
        let at = Invalid::ALL.iter().position(|other| *other == reason);
        if let Some(count) = at.and_then(|at| self.invalid.get_mut(at)) {
            *count += 1;
        }
    }

    /// Returns how many messages were dropped for `reason`.
    pub fn invalid_for(&self, reason: Invalid) -> u64 {
        let at = Invalid::ALL.iter().position(|other| *other == reason);
        at.and_then(|at| self.invalid.get(at)).copied().unwrap_or(0)
    }
}

/// What the broker holds for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInfo {
    /// The name.
    pub name: ServiceName,
    /// Who answers.
    pub kind: ServiceKind,
    /// Registered workers; for a service of this process, how many calls may run at once.
    pub workers: usize,
    /// Workers waiting for a request.
    pub idle: usize,
    /// Workers with a request in hand.
    pub busy: usize,
    /// Requests waiting for a worker.
    pub queued: usize,
    /// How long the oldest of the queues' heads has waited.
    pub oldest_wait: Duration,
}

/// What the broker holds over all services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Workers waiting for a request.
    pub idle: usize,
    /// Workers with a request in hand.
    pub busy: usize,
    /// Requests waiting for a worker.
    pub queued: usize,
}

/// Who answers for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// Workers that connect to the socket.
    Remote,
    /// This process; no worker may register the name.
    Local,
}
