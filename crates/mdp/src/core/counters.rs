//! What the broker counted (mdp.md §12.5). Never in here: what it holds right now.

use std::marker::PhantomData;
use std::time::Duration;

use crate::closed_set::{ClosedSet, closed_set};
use crate::wire::{Invalid, MessageKind, Version};

/// The largest set that is counted has no more members.
const MEMBERS_MAX: usize = 16;

/// Counts per member of a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally<K> {
    counts: [u64; MEMBERS_MAX],
    kind: PhantomData<K>,
}

impl<K: ClosedSet> Tally<K> {
    pub(super) fn add(&mut self, member: K) {
        if let Some(count) = self.counts.get_mut(member.index()) {
            *count += 1;
        }
    }

    /// Returns the count of one member.
    pub fn of(&self, member: K) -> u64 {
        self.counts.get(member.index()).copied().unwrap_or(0)
    }

    /// Returns the sum over all members.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Iterates over all members and their counts.
    pub fn iter(&self) -> impl Iterator<Item = (K, u64)> {
        K::MEMBERS.iter().map(|member| (*member, self.of(*member)))
    }
}

impl<K: ClosedSet> Default for Tally<K> {
    fn default() -> Self {
        const { assert!(K::MEMBERS.len() <= MEMBERS_MAX, "a tally has a place for each") };
        Self { counts: [0; MEMBERS_MAX], kind: PhantomData }
    }
}

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

closed_set! {
    /// Why a request was dropped without an attempt.
    pub enum Dropped {
        /// The queue of its service is full.
        QueueFull = "queue_full",
        /// All requests in hand together have too many bytes.
        BytesFull = "bytes_full",
        /// Its client has too many requests in hand.
        ClientFull = "client_full",
        /// No more services are remembered.
        ServicesFull = "services_full",
        /// The broker drains or stopped.
        Draining = "draining",
        /// Its user may not call the service.
        Forbidden = "forbidden",
    }
}

closed_set! {
    /// Why a DISCONNECT was sent.
    pub enum Farewell {
        /// A peer that is not registered spoke as if it were.
        Unregistered = "unregistered",
        /// READY with a service name that is reserved, invalid or this process's own.
        ServiceName = "service_name",
        /// READY of a user that may not register for the service.
        Forbidden = "forbidden",
        /// READY beyond the bound on workers or services.
        Full = "full",
        /// READY of a registered worker.
        SecondReady = "second_ready",
        /// A message of another version than READY's.
        VersionChange = "version_change",
        /// A reply that does not name the worker's own assignment.
        Unsolicited = "unsolicited",
        /// A command that is unknown, incomplete or not a worker's.
        Malformed = "malformed",
        /// An idle or heartbeating worker was silent for too long.
        Expired = "expired",
        /// One request took too long.
        BusyTimeout = "busy_timeout",
        /// This process took the service over.
        TakenOver = "taken_over",
        /// An administrator sent the worker away.
        Dismissed = "dismissed",
        /// The broker stops.
        Stopped = "stopped",
    }
}

/// What became of requests: of one service, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounters {
    /// Accepted, from sockets and from this process.
    pub accepted: u64,
    /// Answered.
    pub completed: u64,
    /// Waited past their time.
    pub expired: u64,
    /// Put back because their worker was lost; counted each time.
    pub requeued: u64,
    /// Given up because of lost workers.
    pub lost: u64,
    /// Answered while they waited again, by the worker that had been taken for lost.
    pub late: u64,
    /// Withdrawn by their caller in this process.
    pub cancelled: u64,
    /// Final replies that nobody waited for any more.
    pub orphaned: u64,
    /// Replies, or parts of one, whose client was gone or did not read.
    pub undelivered: u64,
    /// Streams too large for a client that takes one reply only.
    pub partials_full: u64,
    /// Dropped without an attempt.
    pub dropped: Tally<Dropped>,
}

/// What went over links to other brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Requests given to another broker; counted each time.
    pub forwarded: u64,
    /// Requests taken from another broker.
    pub accepted: u64,
    /// Requests given back to another broker without an answer.
    pub returned: u64,
    /// Answers and parts of other brokers that nobody waited for any more.
    pub late: u64,
    /// Links lost that had been up.
    pub lost: u64,
}

/// Monotonic counts since the start of the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages received and understood, by version 0.1 and 0.2.
    pub received: [Tally<MessageKind>; 2],
    /// Messages handed to the socket, by version 0.1 and 0.2.
    pub sent: [Tally<MessageKind>; 2],
    /// Messages dropped because they are none.
    pub invalid: Tally<Invalid>,
    /// Requests of all services, forgotten ones included.
    pub requests: RequestCounters,
    /// Replies that did not name the worker's own assignment.
    pub unsolicited: u64,
    /// Requests answered by the broker itself (`mmi.*`).
    pub mmi: u64,
    /// DISCONNECTs sent.
    pub disconnects: Tally<Farewell>,
    /// Sends to a peer that is gone (EHOSTUNREACH).
    pub unreachable: u64,
    /// Sends to a peer whose queue is full (EAGAIN).
    pub peer_full: u64,
    /// What went over links to other brokers.
    pub links: LinkCounters,
    /// Time from arrival to hand-out.
    pub queue_wait: Histogram,
    /// Time from arrival to reply.
    pub round_trip: Histogram,
}

impl Counters {
    pub(super) fn count_received(&mut self, kind: MessageKind, version: Version) {
        count(&mut self.received, kind, version);
    }

    pub(super) fn count_sent(&mut self, kind: MessageKind, version: Version) {
        count(&mut self.sent, kind, version);
    }
}

fn count(tallies: &mut [Tally<MessageKind>; 2], kind: MessageKind, version: Version) {
    let [v01, v02] = tallies;
    match version {
        Version::V01 => v01.add(kind),
        Version::V02 => v02.add(kind),
    }
}
