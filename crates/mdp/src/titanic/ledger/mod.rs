//! The core of Titanic: what is stored, what may be tried when, and the bounds of both.
//!
//! Never in here: a socket, a clock, randomness, a task, the content of a record. Time is a
//! [`Duration`] since any fixed moment of a monotonic clock. A driver calls [`Ledger::start`] whenever
//! [`Ledger::wants_look`] says so, with the services that have workers; it runs the attempts it gets
//! and reports each to [`Ledger::ended`]; after a reply it may [follow](Ledger::follow) with another.
//! It calls [`Ledger::handle_timeout`] at [`Ledger::poll_timeout`].

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::{Config, RecordKey};
use crate::ServiceName;

/// The shortest time between two looks at who has workers: a burst of requests is one look.
const LOOK_GAP: Duration = Duration::from_millis(10);

/// What Titanic keeps, and what it counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests without a reply.
    pub pending: usize,
    /// Replies.
    pub done: usize,
    /// Attempts under way.
    pub in_flight: usize,
    /// Bytes of all records.
    pub bytes: usize,
    /// Requests answered with an id.
    pub accepted: u64,
    /// Requests answered `500`, at a bound or because the storage failed.
    pub refused: u64,
    /// Replies stored.
    pub answered: u64,
    /// Attempts without a reply.
    pub failed_attempts: u64,
    /// Requests and replies closed by their clients.
    pub closed: u64,
    /// Requests and replies whose time was over.
    pub expired: u64,
}

/// A bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// One attempt at one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) key: RecordKey,
    pub(super) service: ServiceName,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// There is a reply, stored with so many bytes, for so long.
    Done { bytes: usize, remaining: Duration },
    /// The request is no longer stored: it was closed, or its time is over.
    Gone,
    /// There is no reply.
    Failed,
}

/// What one service has to do.
#[derive(Debug, Default)]
struct Lane {
    /// Requests that wait, by turn.
    waiting: BTreeMap<u64, RecordKey>,
    /// Attempts under way.
    running: usize,
    /// Failures since the last reply.
    failures: u32,
    /// Until when nothing is tried.
    rests_until: Option<Duration>,
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

#[derive(Debug)]
enum Phase {
    /// Not yet known to be durable.
    Storing(ServiceName),
    /// Waits for an attempt, in this turn of its service.
    Waiting(ServiceName, u64),
    Running,
    Done,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    expires: Duration,
    phase: Phase,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    config: Config,
    entries: HashMap<RecordKey, Entry>,
    expiries: BTreeSet<(Duration, RecordKey)>,
    /// Services with requests that wait or run.
    lanes: BTreeMap<ServiceName, Lane>,
    /// Services that rest after a failure, by the end of the rest.
    rests: BTreeSet<(Duration, ServiceName)>,
    /// Requests that wait, over all services.
    waiting: usize,
    next_turn: u64,
    /// The service of the last attempt: others come before it at the next look.
    last_served: Option<ServiceName>,
    /// When to look; `None` while nothing has changed that could let an attempt begin.
    look_at: Option<Duration>,
    next_look: Duration,
    random: u64,
    counts: Counts,
}

impl Ledger {
    /// An empty ledger; `seed` spreads the rests.
    pub(super) fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            entries: HashMap::new(),
            expiries: BTreeSet::new(),
            lanes: BTreeMap::new(),
            rests: BTreeSet::new(),
            waiting: 0,
            next_turn: 0,
            last_served: None,
            look_at: None,
            next_look: Duration::ZERO,
            random: seed,
            counts: Counts::default(),
        }
    }

    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes in what an earlier start stored, or another process, whatever the bounds say: it was
    /// acknowledged. What is known already stays as it is. `service` is that of a request without a
    /// reply.
    pub(super) fn restore(
        &mut self,
        now: Duration,
        key: RecordKey,
        service: Option<ServiceName>,
        bytes: usize,
        remaining: Duration,
    ) {
        if self.entries.contains_key(&key) {
            return;
        }
        let expires = now.saturating_add(remaining);
        let phase = service.clone().map_or(Phase::Done, Phase::Storing);
        self.insert(key, Entry { bytes, expires, phase });
        if let Some(service) = service {
            self.enqueue(now, key, service);
        }
    }

    /// Makes room for a request that is about to be stored.
    ///
    /// Every attempt under way may bring a reply of the greatest length, so that much stays free for
    /// each, and for one in any case.
    pub(super) fn reserve(
        &mut self,
        now: Duration,
        key: RecordKey,
        service: &ServiceName,
        bytes: usize,
    ) -> Result<(), Full> {
        if self.entries.len() >= self.config.requests_max
            || bytes > self.config.message_bytes_max
            || !self.has_room(bytes, self.counts.in_flight.max(1))
        {
            self.counts.refused += 1;
            return Err(Full);
        }
        let expires = now.saturating_add(self.config.request_ttl);
        self.insert(key, Entry { bytes, expires, phase: Phase::Storing(service.clone()) });
        Ok(())
    }

    /// Notes that the request is durable: from here on it is tried.
    pub(super) fn accept(&mut self, now: Duration, key: RecordKey) {
        self.counts.accepted += 1;
        if let Some(Entry { phase: Phase::Storing(service), .. }) = self.entries.get(&key) {
            let service = service.clone();
            self.enqueue(now, key, service);
        }
    }

    /// Forgets a request that was not stored.
    pub(super) fn withdraw(&mut self, now: Duration, key: RecordKey) {
        self.counts.refused += 1;
        self.remove(now, key);
    }

    /// Forgets what its client closed. An attempt under way has yet to end, in whatever way.
    pub(super) fn close(&mut self, now: Duration, key: RecordKey) {
        if self.remove(now, key) {
            self.counts.closed += 1;
        }
    }

    /// Notes that a worker registered.
    pub(super) fn note_worker(&mut self, now: Duration) {
        self.want_look(now);
    }

    /// Says whether it is worth while to see which services have workers.
    pub(super) fn wants_look(&self, now: Duration) -> bool {
        self.next_look().is_some_and(|at| at <= now)
    }

    fn next_look(&self) -> Option<Duration> {
        let possible = self.waiting > 0 && self.counts.in_flight < self.config.in_flight_max;
        self.look_at.filter(|_| possible)
    }

    /// Begins attempts at the services in `available`, sorted by name, each with its number of
    /// workers: one at each service in turn, until no more are possible.
    pub(super) fn start(
        &mut self,
        now: Duration,
        available: &[(ServiceName, usize)],
    ) -> Vec<Attempt> {
        self.look_at = None;
        self.next_look = now + LOOK_GAP;
        let wanted = available.iter().filter(|(name, _)| self.lanes.contains_key(name));
        let mut turn: Vec<_> = wanted.collect();
        let served = turn.partition_point(|(name, _)| Some(name) <= self.last_served.as_ref());
        turn.rotate_left(served);
        let mut attempts = Vec::new();
        loop {
            let before = attempts.len();
            // Two for each worker: one to work on, and one for when it is done.
            let begun = turn.iter().filter_map(|(name, workers)| self.begin(name, workers * 2));
            attempts.extend(begun);
            if attempts.len() == before {
                return attempts;
            }
        }
    }

    /// Notes how an attempt ended.
    pub(super) fn ended(&mut self, now: Duration, attempt: &Attempt, ended: Ended) {
        let Attempt { key, service } = attempt;
        self.counts.in_flight -= 1;
        if let Some(lane) = self.lanes.get_mut(service) {
            lane.running -= 1;
            if matches!(ended, Ended::Done { .. }) {
                lane.failures = 0;
            }
        }
        self.want_look(now);
        match ended {
            Ended::Done { bytes, remaining } => {
                self.settle(*key, bytes, now.saturating_add(remaining));
            }
            Ended::Gone => {
                self.remove(now, *key);
            }
            Ended::Failed => {
                self.counts.failed_attempts += 1;
                if self.entries.contains_key(key) {
                    self.enqueue(now, *key, service.clone());
                    self.rest(now, service);
                }
            }
        }
        self.drop_lane_if_idle(service);
    }

    /// Begins another attempt at a service that has just answered one: its worker is evidently there.
    pub(super) fn follow(&mut self, service: &ServiceName) -> Option<Attempt> {
        self.begin(service, usize::MAX)
    }

    /// Forgets what is past its time and ends the rests that are over.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        while let Some((at, key)) = self.expiries.first().copied()
            && at <= now
        {
            self.counts.expired += 1;
            self.remove(now, key);
        }
        while self.rests.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, service)) = self.rests.pop_first()
        {
            if let Some(lane) = self.lanes.get_mut(&service) {
                lane.rests_until = None;
            }
            self.want_look(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) or a look is due if nothing else happens first.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let rest = self.rests.first().map(|(at, _)| *at);
        [expiry, rest, self.next_look()].into_iter().flatten().min()
    }

    /// Says whether so many bytes more fit beside the replies of so many attempts.
    fn has_room(&self, bytes: usize, attempts: usize) -> bool {
        let replies = attempts.saturating_mul(self.config.message_bytes_max);
        let needed = self.counts.bytes.saturating_add(bytes).saturating_add(replies);
        needed <= self.config.bytes_max
    }

    fn insert(&mut self, key: RecordKey, entry: Entry) {
        self.expiries.insert((entry.expires, key));
        self.counts.bytes += entry.bytes;
        match entry.phase {
            Phase::Done => self.counts.done += 1,
            Phase::Storing(_) | Phase::Waiting(..) | Phase::Running => self.counts.pending += 1,
        }
        self.entries.insert(key, entry);
    }

    /// Puts a request at the end of its service's queue.
    fn enqueue(&mut self, now: Duration, key: RecordKey, service: ServiceName) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let turn = self.next_turn;
        self.next_turn += 1;
        entry.phase = Phase::Waiting(service.clone(), turn);
        self.lanes.entry(service).or_default().waiting.insert(turn, key);
        self.waiting += 1;
        self.want_look(now);
    }

    /// Takes the first request of a service that has less than `running_max` under way.
    fn begin(&mut self, service: &ServiceName, running_max: usize) -> Option<Attempt> {
        let running_max = running_max.min(self.config.service_in_flight_max);
        if self.counts.in_flight >= self.config.in_flight_max
            || !self.has_room(0, self.counts.in_flight + 1)
        {
            return None;
        }
        let lane = self.lanes.get_mut(service)?;
        if lane.rests_until.is_some() || lane.running >= running_max {
            return None;
        }
        let (_, key) = lane.waiting.pop_first()?;
        lane.running += 1;
        self.waiting -= 1;
        self.counts.in_flight += 1;
        self.last_served = Some(service.clone());
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.phase = Phase::Running;
        }
        Some(Attempt { key, service: service.clone() })
    }

    /// A reply stands in the place of the request.
    fn settle(&mut self, key: RecordKey, bytes: usize, expires: Duration) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        self.expiries.remove(&(entry.expires, key));
        self.expiries.insert((expires, key));
        self.counts.bytes = self.counts.bytes - entry.bytes + bytes;
        self.counts.pending -= 1;
        self.counts.done += 1;
        self.counts.answered += 1;
        *entry = Entry { bytes, expires, phase: Phase::Done };
    }

    /// Forgets a request or reply; says whether there was one. What it leaves free may let another
    /// begin.
    fn remove(&mut self, now: Duration, key: RecordKey) -> bool {
        let Some(entry) = self.entries.remove(&key) else { return false };
        self.expiries.remove(&(entry.expires, key));
        self.counts.bytes -= entry.bytes;
        match entry.phase {
            Phase::Done => self.counts.done -= 1,
            Phase::Storing(_) | Phase::Running => self.counts.pending -= 1,
            Phase::Waiting(service, turn) => {
                self.counts.pending -= 1;
                self.waiting -= 1;
                if let Some(lane) = self.lanes.get_mut(&service) {
                    lane.waiting.remove(&turn);
                }
                self.drop_lane_if_idle(&service);
            }
        }
        self.want_look(now);
        true
    }

    fn drop_lane_if_idle(&mut self, service: &ServiceName) {
        if self.lanes.get(service).is_some_and(Lane::is_idle)
            && let Some(Lane { rests_until: Some(until), .. }) = self.lanes.remove(service)
        {
            self.rests.remove(&(until, service.clone()));
        }
    }

    /// Lets a service rest, longer after each failure. What fails while it rests had begun before,
    /// and is no further failure.
    fn rest(&mut self, now: Duration, service: &ServiceName) {
        // Steele and Vigna's multiplier; only the spread of rests depends on it.
        self.random = self.random.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        let roll = u32::try_from(self.random >> 56).unwrap_or(0);
        let Some(lane) = self.lanes.get_mut(service) else { return };
        if lane.rests_until.is_some() {
            return;
        }
        let doubled = self.config.backoff.saturating_mul(1 << lane.failures.min(20));
        let delay = doubled.min(self.config.backoff_max);
        let until = now + delay + delay / 4 * roll / 256;
        lane.failures += 1;
        lane.rests_until = Some(until);
        self.rests.insert((until, service.clone()));
    }

    fn want_look(&mut self, now: Duration) {
        let soonest = now.max(self.next_look);
        self.look_at.get_or_insert(soonest);
    }
}
