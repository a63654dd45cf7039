//! The core of a route: which message is tried when, and what is settled.
//!
//! Sans-IO. The driver feeds messages in the order of the bus, results of attempts and the time; it
//! takes [`Attempt`]s to carry out and [`Record`]s to store. Call [`Core::poll_attempt`] until
//! `None`, and [`Core::take_record`], after every `handle_*`.
//!
//! Messages of one channel form a lane and go one at a time, in order. Lanes do not wait for each
//! other: the *position* is the place up to which everything is settled, and what is settled beyond
//! it is remembered one by one.
//!
//! Never here: sinks, storage, a clock, randomness.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use buswire_message::{Cursor, Sequence, Timestamp};

use crate::route::RetryPolicy;

/// How much one route holds in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages taken from the bus and not settled: default 65 536, about 150 bytes each beside the
    /// bus's own. A channel that fails holds up others only when so many wait behind it.
    pub pending_max: usize,
    /// Attempts under way at once: default 64.
    pub in_flight_max: usize,
    /// Messages settled beyond the position: default 65 536, 40 bytes each. Reached only if one
    /// message is being retried while so many others are delivered; the route then waits for it.
    pub ahead_max: usize,
    /// The most settled, delivered and dead messages that are stored at once, each, so that it is one
    /// batch of the store: default 1000, at least 1.
    pub record_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending_max: 65_536, in_flight_max: 64, ahead_max: 65_536, record_max: 1000 }
    }
}

/// A message as the core sees it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival<L, M> {
    pub(crate) sequence: Sequence,
    /// Its bus and channel.
    pub(crate) lane: L,
    pub(crate) message: M,
    pub(crate) fate: Fate,
}

/// What is to become of a message that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Hand it to the sink.
    Deliver,
    /// It came by this route already: settle it.
    Skip,
    /// It can't go on: a dead letter, for this reason.
    Refuse(Cause),
}

/// The driver is to hand this message to the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt<M> {
    pub(crate) sequence: Sequence,
    pub(crate) message: M,
    /// From 1.
    pub(crate) number: u32,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempted {
    Delivered,
    Retry(Cause),
    Reject(Cause),
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) class: Class,
    /// For administrators: it may quote the message.
    pub(crate) text: String,
}

impl Cause {
    pub(crate) fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, text: text.into() }
    }
}

/// What kind of failure it was: what a log may say where the text may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The sink did not answer within the timeout of the route.
    Timeout,
    /// The sink could not take it then.
    Unavailable,
    /// The other end answered an error in its own words.
    Answered,
    /// The sink, or the mapping of the route, does not take such a message.
    Refused,
    /// The sink panicked.
    Panicked,
    /// The message has taken as many routes as it may.
    HopLimit,
}

impl Class {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Panicked => "panicked",
            Self::HopLimit => "hop_limit",
        }
    }
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When its result was known.
    pub at: Timestamp,
    /// What it came to; holds no secret.
    pub error: String,
}

/// The failures of one message: the last [`Failures::KEPT`] of them, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Failures(VecDeque<Failure>);

impl Failures {
    /// So many are remembered.
    pub const KEPT: usize = 16;

    /// Notes another one; the oldest goes if there are too many.
    pub(crate) fn note(&mut self, failure: Failure) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(failure);
    }

    /// Oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Failure> {
        self.0.iter()
    }

    /// The last one.
    pub fn last(&self) -> Option<&Failure> {
        self.0.back()
    }
}

impl FromIterator<Failure> for Failures {
    fn from_iter<I: IntoIterator<Item = Failure>>(all: I) -> Self {
        let mut failures = Self::default();
        all.into_iter().for_each(|failure| failures.note(failure));
        failures
    }
}

/// A message that was delivered or given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended<M> {
    pub(crate) sequence: Sequence,
    pub(crate) message: M,
    pub(crate) attempts: u32,
    pub(crate) failures: Failures,
    /// Of the last failure, if that is what ended it.
    pub(crate) class: Option<Class>,
    pub(crate) at: Timestamp,
}

/// Changes to store, all or nothing and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record<M> {
    /// Everything up to here is settled.
    pub(crate) position: Cursor,
    /// Settled beyond the position, to be remembered.
    pub(crate) ahead: Vec<Sequence>,
    /// Remembered before, to be forgotten: the position has passed them.
    pub(crate) passed: Vec<Sequence>,
    /// Given up.
    pub(crate) dead: Vec<Ended<M>>,
    /// Delivered. Told for the trace; what a crash loses of it is the trace alone.
    pub(crate) delivered: Vec<Ended<M>>,
}

#[derive(Debug)]
struct Waiting<M> {
    sequence: Sequence,
    message: M,
    attempts: u32,
    failures: Failures,
}

/// The state of one route.
#[derive(Debug)]
pub(crate) struct Core<L, M> {
    policy: RetryPolicy,
    limits: Limits,
    paused: bool,
    /// Up to where messages were taken from the bus.
    read_to: Cursor,
    /// Messages of each channel, oldest first; the first is the one that is tried. Only a lane that
    /// is held may be empty.
    lanes: BTreeMap<L, VecDeque<Waiting<M>>>,
    /// The lane of every message that is not settled.
    unsettled: BTreeMap<Sequence, L>,
    /// First messages of lanes that are not under way, by when they are due.
    due: BTreeSet<(Timestamp, Sequence)>,
    in_flight: BTreeSet<Sequence>,
    /// Settled beyond the position, and whether the store knows.
    ahead: BTreeMap<Sequence, bool>,
    stored_position: Cursor,
    dead: VecDeque<Ended<M>>,
    delivered: VecDeque<Ended<M>>,
    /// Lanes whose first message was given up. The next one waits until the dead letter is stored:
    /// after a crash before that, the one given up would be tried again, behind its successor.
    held: BTreeSet<L>,
    /// Lanes that go on when the record under way is stored.
    releasing: BTreeSet<L>,
}

impl<L: Ord + Clone, M: Clone> Core<L, M> {
    /// Goes on at `position`; `ahead` are the messages beyond it that were settled before.
    pub(crate) fn new(
        policy: RetryPolicy,
        limits: Limits,
        position: Cursor,
        ahead: impl IntoIterator<Item = Sequence>,
    ) -> Self {
        Self {
            policy,
            limits,
            paused: false,
            read_to: position,
            lanes: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            due: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            ahead: ahead.into_iter().map(|sequence| (sequence, true)).collect(),
            stored_position: position,
            dead: VecDeque::new(),
            delivered: VecDeque::new(),
            held: BTreeSet::new(),
            releasing: BTreeSet::new(),
        }
    }

    /// From where to read the bus.
    pub(crate) const fn read_from(&self) -> Cursor {
        self.read_to
    }

    /// How many more messages it takes; 0 asks the driver not to read.
    pub(crate) fn room(&self) -> usize {
        // With nothing unsettled, reading on is what lets the position pass what is ahead of it.
        let is_held_up = self.ahead.len() >= self.limits.ahead_max && !self.unsettled.is_empty();
        let record_max = self.limits.record_max;
        let is_behind = self.dead.len() >= record_max || self.delivered.len() >= record_max * 8;
        if self.paused || is_held_up || is_behind {
            return 0;
        }
        self.limits.pending_max.saturating_sub(self.unsettled.len())
    }

    /// How many messages wait or are under way.
    pub(crate) fn pending(&self) -> usize {
        self.unsettled.len()
    }

    /// Up to where everything is settled, if all dead letters before `unstored` are.
    fn position(&self, unstored: Option<Sequence>) -> Cursor {
        // Everything read is settled up to the message before the oldest that is not.
        let oldest = self.unsettled.keys().next().copied().into_iter().chain(unstored).min();
        oldest.map_or(self.read_to, |oldest| {
            let before = oldest.as_u64().checked_sub(1).and_then(Sequence::from_u64);
            before.map_or(Cursor::Start, Cursor::After)
        })
    }

    /// Stops or starts handing out attempts. Those under way go on.
    pub(crate) const fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Takes messages in the order of the bus. `read_to` is where the next ones begin.
    pub(crate) fn handle_arrivals(
        &mut self,
        now: Timestamp,
        arrivals: impl IntoIterator<Item = Arrival<L, M>>,
        read_to: Cursor,
    ) {
        for Arrival { sequence, lane, message, fate } in arrivals {
            debug_assert!(self.read_to.after().is_none_or(|read| sequence > read));
            self.read_to = Cursor::After(sequence);
            if self.ahead.contains_key(&sequence) {
                continue;
            }
            match fate {
                Fate::Deliver => self.enqueue(now, sequence, lane, message),
                Fate::Skip => self.settle_ahead(sequence),
                Fate::Refuse(Cause { class, text }) => {
                    let failures = Failures::from_iter([Failure { at: now, error: text }]);
                    self.dead.push_back(Ended {
                        sequence,
                        message,
                        attempts: 0,
                        failures,
                        class: Some(class),
                        at: now,
                    });
                    self.settle_ahead(sequence);
                }
            }
        }
        if read_to.after() > self.read_to.after() {
            self.read_to = read_to;
        }
    }

    fn enqueue(&mut self, now: Timestamp, sequence: Sequence, lane: L, message: M) {
        self.unsettled.insert(sequence, lane.clone());
        let is_held = self.held.contains(&lane) || self.releasing.contains(&lane);
        let waiting = self.lanes.entry(lane).or_default();
        if waiting.is_empty() && !is_held {
            self.due.insert((now, sequence));
        }
        waiting.push_back(Waiting {
            sequence,
            message,
            attempts: 0,
            failures: Failures::default(),
        });
    }

    fn settle_ahead(&mut self, sequence: Sequence) {
        self.ahead.entry(sequence).or_insert(false);
    }

    /// The next attempt that is due and for which there is room; call until `None`.
    pub(crate) fn poll_attempt(&mut self, now: Timestamp) -> Option<Attempt<M>> {
        if self.paused || self.in_flight.len() >= self.limits.in_flight_max {
            return None;
        }
        let &(due, sequence) = self.due.first()?;
        if self.clamped(due, now) > now {
            return None;
        }
        self.due.pop_first();
        let first = self.first(sequence)?;
        first.attempts += 1;
        let attempt = Attempt { sequence, message: first.message.clone(), number: first.attempts };
        self.in_flight.insert(sequence);
        Some(attempt)
    }

    /// When [`poll_attempt`](Self::poll_attempt) has something next, if nothing else happens.
    pub(crate) fn poll_timeout(&self, now: Timestamp) -> Option<Timestamp> {
        if self.paused || self.in_flight.len() >= self.limits.in_flight_max {
            return None;
        }
        self.due.first().map(|&(due, _)| self.clamped(due, now))
    }

    /// No wait is longer than the longest: if one looks so, the clock was set back, and the attempt is
    /// due now.
    fn clamped(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        if due > now.saturating_add(self.policy.longest_delay) { now } else { due }
    }

    /// Takes the result of an attempt. `random` chooses the jitter of a retry. A result for a message
    /// that is not under way changes nothing.
    pub(crate) fn handle_attempted(
        &mut self,
        now: Timestamp,
        sequence: Sequence,
        result: Attempted,
        random: u64,
    ) {
        if !self.in_flight.remove(&sequence) {
            return;
        }
        let attempts_max = self.policy.attempts_max;
        let Some(first) = self.first(sequence) else { return };
        let attempts = first.attempts;
        let may_retry = matches!(result, Attempted::Retry(_)) && attempts < attempts_max;
        let class = match result {
            Attempted::Delivered => {
                if let Some((lane, settled)) = self.settle_first(sequence) {
                    let Waiting { message, failures, .. } = settled;
                    let ended =
                        Ended { sequence, message, attempts, failures, class: None, at: now };
                    self.delivered.push_back(ended);
                    self.go_on(now, &lane);
                }
                return;
            }
            Attempted::Retry(Cause { class, text }) | Attempted::Reject(Cause { class, text }) => {
                first.failures.note(Failure { at: now, error: text });
                Some(class)
            }
        };
        if may_retry {
            let due = now.saturating_add(self.policy.delay(attempts, random));
            self.due.insert((due, sequence));
        } else if let Some((lane, Waiting { message, failures, .. })) = self.settle_first(sequence)
        {
            self.dead.push_back(Ended { sequence, message, attempts, failures, class, at: now });
            self.held.insert(lane);
        }
    }

    fn first(&mut self, sequence: Sequence) -> Option<&mut Waiting<M>> {
        let first = self.lanes.get_mut(self.unsettled.get(&sequence)?)?.front_mut()?;
        debug_assert_eq!(first.sequence, sequence);
        Some(first)
    }

    /// Takes the first message of a lane out.
    fn settle_first(&mut self, sequence: Sequence) -> Option<(L, Waiting<M>)> {
        let lane = self.unsettled.remove(&sequence)?;
        self.settle_ahead(sequence);
        let settled = self.lanes.get_mut(&lane)?.pop_front()?;
        Some((lane, settled))
    }

    /// Makes the next message of a lane due, or forgets the lane.
    fn go_on(&mut self, now: Timestamp, lane: &L) {
        match self.lanes.get(lane).map(VecDeque::front) {
            Some(Some(next)) => drop(self.due.insert((now, next.sequence))),
            Some(None) => drop(self.lanes.remove(lane)),
            None => {}
        }
    }

    /// The record that was taken is stored: channels whose message was given up go on.
    pub(crate) fn handle_recorded(&mut self, now: Timestamp) {
        for lane in std::mem::take(&mut self.releasing) {
            self.go_on(now, &lane);
        }
    }

    /// What is to be stored and was not yet; `None` if the store knows everything. What is handed
    /// out counts as stored: a driver that fails to store it tries the same record again before it
    /// asks for another, or gives the whole core up. Once it is stored, call
    /// [`handle_recorded`](Self::handle_recorded).
    pub(crate) fn take_record(&mut self) -> Option<Record<M>> {
        let record_max = self.limits.record_max;
        let dead: Vec<_> = self.dead.drain(..self.dead.len().min(record_max)).collect();
        let delivered: Vec<_> =
            self.delivered.drain(..self.delivered.len().min(record_max)).collect();
        // What is not given up in the store either is not settled there.
        let unstored = self.dead.iter().map(|dead| dead.sequence).min();
        let position = self.position(unstored);
        let is_passed = |sequence: &Sequence| position.after().is_some_and(|at| *sequence <= at);
        let (mut passed, mut ahead) = (Vec::new(), Vec::new());
        let mut is_whole = unstored.is_none();
        self.ahead.retain(|sequence, stored| {
            let is_passed = is_passed(sequence);
            if *stored != is_passed {
                // The store knows all that it needs to.
                return !is_passed;
            }
            let is_full = passed.len() + ahead.len() >= record_max;
            if is_full || unstored.is_some_and(|unstored| *sequence >= unstored) {
                is_whole = false;
                return true;
            }
            let changed = if is_passed { &mut passed } else { &mut ahead };
            changed.push(*sequence);
            *stored = true;
            !is_passed
        });
        let is_empty =
            ahead.is_empty() && passed.is_empty() && dead.is_empty() && delivered.is_empty();
        if is_empty && position == self.stored_position {
            return None;
        }
        self.stored_position = position;
        // Else a message given up might be tried again although it is stored that it was.
        if is_whole {
            self.releasing.append(&mut self.held);
        }
        Some(Record { position, ahead, passed, dead, delivered })
    }
}
