//! One vocabulary of operations for the property test and the simulation of the delivery core.
//!
//! A world is a bus of numbered messages, a core, and what the store knows of it. Crashes throw away
//! the core and, at worst, the record under way. Never here: anything that production code calls.

mod fleet;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use buswire_message::{Cursor, Sequence, Timestamp};

use crate::{
    delivery::{Arrival, Attempted, Cause, Class, Core, Fate, Limits, Record},
    route::RetryPolicy,
};

pub use fleet::{FleetOp, Reaction, Sent, Step, exercise_fleet};

/// Something that happens to a route.
#[derive(Clone, Debug)]
pub enum Op {
    /// A message is published on this channel.
    Publish(u8),
    /// A message is published that came by this route already.
    PublishLooped(u8),
    /// The route reads so many messages from the bus.
    Read(u8),
    /// The attempt under way with this index ends well.
    Deliver(u8),
    /// The attempt under way with this index fails for now.
    Fail(u8),
    /// The attempt under way with this index fails for good.
    Reject(u8),
    /// Time passes, in milliseconds.
    Advance(u16),
    /// What the core wants stored is stored.
    Store,
    /// The process dies while the record is being stored: it is stored or not.
    Crash(bool),
    /// The route is paused or goes on.
    Pause(bool),
}

/// Carries out `ops` and checks after each that no message is lost, none is out of order in its
/// channel, bounds hold, and at the end that every message was delivered, skipped or is dead.
///
/// # Panics
///
/// If one of that does not hold.
pub fn exercise(ops: &[Op]) {
    let mut world = World::new();
    for op in ops {
        world.apply(op);
        world.check();
    }
    world.drain();
}

const LIMITS: Limits = Limits { pending_max: 12, in_flight_max: 3, ahead_max: 8, record_max: 2 };

struct World {
    now: Timestamp,
    bus: Vec<(Sequence, u8, bool)>,
    core: Core<u8, Sequence>,
    in_flight: BTreeSet<Sequence>,
    stored_position: Cursor,
    stored_ahead: BTreeSet<Sequence>,
    delivered: BTreeMap<u8, Vec<Sequence>>,
    dead: BTreeSet<Sequence>,
}

impl World {
    fn new() -> Self {
        Self {
            now: Timestamp::from_secs(1_700_000_000),
            bus: Vec::new(),
            core: Core::new(policy(), LIMITS, Cursor::Start, []),
            in_flight: BTreeSet::new(),
            stored_position: Cursor::Start,
            stored_ahead: BTreeSet::new(),
            delivered: BTreeMap::new(),
            dead: BTreeSet::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Publish(channel) => self.publish(channel % 4, false),
            Op::PublishLooped(channel) => self.publish(channel % 4, true),
            Op::Read(count) => self.read(usize::from(count)),
            Op::Deliver(index) => self.finish(index, &Attempted::Delivered),
            Op::Fail(index) => {
                self.finish(index, &Attempted::Retry(Cause::new(Class::Unavailable, "busy")));
            }
            Op::Reject(index) => {
                self.finish(index, &Attempted::Reject(Cause::new(Class::Refused, "no")));
            }
            Op::Advance(millis) => {
                self.now = self.now.saturating_add(Duration::from_millis(millis.into()));
            }
            Op::Store => {
                if let Some(record) = self.core.take_record() {
                    self.store(record);
                }
            }
            Op::Crash(stored) => self.crash(stored),
            Op::Pause(paused) => self.core.set_paused(paused),
        }
        while let Some(attempt) = self.core.poll_attempt(self.now) {
            assert_eq!(attempt.message, attempt.sequence);
            assert!(self.in_flight.insert(attempt.sequence), "one attempt at a time");
        }
    }

    fn publish(&mut self, channel: u8, looped: bool) {
        let last = self.bus.last().map_or(Sequence::ZERO, |(sequence, ..)| *sequence);
        let sequence = last.next(self.now).unwrap_or(last);
        self.bus.push((sequence, channel, looped));
    }

    fn read(&mut self, count: usize) {
        let from = self.core.read_from();
        let count = count.min(self.core.room());
        let arrivals: Vec<_> = self
            .bus
            .iter()
            .filter(|(sequence, ..)| from.after().is_none_or(|after| *sequence > after))
            .take(count)
            .map(|&(sequence, lane, looped)| Arrival {
                sequence,
                lane,
                message: sequence,
                fate: if looped { Fate::Skip } else { Fate::Deliver },
            })
            .collect();
        let next = arrivals.last().map_or(from, |arrival| Cursor::After(arrival.sequence));
        self.core.handle_arrivals(self.now, arrivals, next);
    }

    fn finish(&mut self, index: u8, result: &Attempted) {
        let count = self.in_flight.len().max(1);
        let Some(&sequence) = self.in_flight.iter().nth(usize::from(index) % count) else { return };
        self.in_flight.remove(&sequence);
        if *result == Attempted::Delivered {
            let channel = self.channel(sequence);
            self.delivered.entry(channel).or_default().push(sequence);
        }
        self.core.handle_attempted(self.now, sequence, result.clone(), index.into());
    }

    fn channel(&self, sequence: Sequence) -> u8 {
        self.bus.iter().find(|(s, ..)| *s == sequence).map_or(0, |(_, channel, _)| *channel)
    }

    fn store(&mut self, record: Record<Sequence>) {
        assert!(record.position.after() >= self.stored_position.after(), "never goes back");
        self.stored_position = record.position;
        self.stored_ahead.extend(record.ahead);
        for passed in record.passed {
            assert!(self.stored_ahead.remove(&passed), "only what was stored is forgotten");
        }
        self.dead.extend(record.dead.into_iter().map(|dead| dead.sequence));
        self.core.handle_recorded(self.now);
    }

    fn crash(&mut self, stored: bool) {
        if let Some(record) = self.core.take_record()
            && stored
        {
            self.store(record);
        }
        self.in_flight.clear();
        let ahead = self.stored_ahead.iter().copied();
        self.core = Core::new(policy(), LIMITS, self.stored_position, ahead);
    }

    /// Everything that the store counts as settled was delivered, skipped or is dead; the first
    /// delivery of each message of a channel comes in order.
    fn check(&self) {
        assert!(self.core.pending() <= LIMITS.pending_max && self.in_flight.len() <= 3);
        for &(sequence, channel, looped) in &self.bus {
            let passed = self.stored_position.after().is_some_and(|at| sequence <= at);
            if passed || self.stored_ahead.contains(&sequence) {
                let delivered = self.delivered.get(&channel).is_some_and(|d| d.contains(&sequence));
                assert!(delivered || looped || self.dead.contains(&sequence), "lost {sequence:?}");
            }
        }
        for deliveries in self.delivered.values() {
            let mut firsts = BTreeSet::new();
            for sequence in deliveries {
                if !firsts.contains(sequence) {
                    assert!(firsts.last().is_none_or(|last| last < sequence), "out of order");
                    firsts.insert(*sequence);
                }
            }
        }
    }

    /// With a sink that works everything is settled within a bounded number of steps.
    fn drain(&mut self) {
        self.core.set_paused(false);
        for _ in 0..self.bus.len() * 4 + 8 {
            for op in [Op::Advance(60_000), Op::Read(4), Op::Deliver(0), Op::Deliver(0), Op::Store]
            {
                self.apply(&op);
                self.check();
            }
        }
        assert_eq!(self.core.pending(), 0, "everything is settled");
        let last = self.bus.last().map(|(sequence, ..)| *sequence);
        assert_eq!(self.stored_position.after(), last, "the position is the end of the bus");
        assert!(self.stored_ahead.is_empty());
    }
}

fn policy() -> RetryPolicy {
    RetryPolicy { attempts_max: 3, ..RetryPolicy::default() }
}
