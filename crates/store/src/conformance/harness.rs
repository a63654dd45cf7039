//! The vocabulary of operations, and the comparison of engines over lists of them.
//!
//! Used by property tests here and by fuzzing. Never here: engines.

use std::collections::{BTreeMap, BTreeSet};

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use smallvec::SmallVec;

use super::{Engine, Instance, START};
use crate::{
    Ack, Applied, Batch, DedupeId, Direction, Expectation, Key, KeyRange, LogName, Operation,
    Outcome, Partition, Position, Revision, RowValue, StoreError, memory::MemoryStore,
};

/// One step of a test. Names are small numbers, so that steps meet.
#[derive(Clone, Debug)]
pub enum Op {
    /// Commits a batch.
    Commit {
        /// The partition.
        partition: u8,
        /// What must hold.
        expect: Vec<Expect>,
        /// What is done.
        steps: Vec<Step>,
    },
    /// Reads a row.
    Get(u8, u8),
    /// Reads the rows from one key to another.
    Scan(u8, u8, u8, usize, bool),
    /// Reads a log after the entry with this number among all that the partition had.
    Read(u8, u8, Option<u8>, usize),
    /// Sweeps.
    Sweep(usize),
    /// The clock goes on by so many milliseconds.
    Advance(u16),
    /// The clock steps back, but not behind the last expiry that it had passed.
    StepBack(u16),
    /// Closes the store and opens it again, if it can be.
    Reopen,
}

/// An expectation of a step.
#[derive(Clone, Debug)]
pub enum Expect {
    /// No row of this key.
    Absent(u8),
    /// The row of this key is the one that was written or read last.
    AsSeen(u8),
}

/// An operation of a step. The last number is a lifetime in milliseconds.
#[derive(Clone, Debug)]
pub enum Step {
    /// Append to a log, with a dedupe id or not.
    Append(u8, Option<u8>, u16, u16),
    /// Put a row.
    Put(u8, u16, Option<u16>),
    /// Raise a version.
    Raise(u8, u64, Option<u16>),
    /// Bury a row.
    Tombstone(u8, u16),
    /// Delete a row.
    Delete(u8),
}

/// What a step shows, in words that mean the same for every engine: a position is the number of its
/// entry, a revision is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What operations came to.
    Committed(Vec<SeenApplied>),
    /// The expectation that did not hold.
    Conflict(usize),
    /// Rows, and whether there are more.
    Rows(Vec<(Bytes, RowValue, Option<Timestamp>)>, bool),
    /// Entries with their numbers, the number of the next position, whether there is more.
    Entries(Vec<(usize, Bytes, Timestamp)>, usize, bool),
    /// Nothing to see.
    Nothing,
    /// A failure.
    Failed(StoreError),
}

/// What one operation shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenApplied {
    /// The entry of this number was appended.
    Appended(usize),
    /// The entry of this number was there.
    Repeated(usize),
    /// A row was written.
    Row,
    /// A row is gone.
    Deleted,
    /// A tombstone was in the way.
    Buried,
}

/// Lists of at most `length` operations.
pub fn ops(length: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..=length)
}

/// Any operation.
pub fn op() -> impl Strategy<Value = Op> {
    let expect =
        prop_oneof![(0..4_u8).prop_map(Expect::Absent), (0..4_u8).prop_map(Expect::AsSeen)];
    let lifetime = || prop_oneof![0..3_u16, 0..200_u16];
    let step = prop_oneof![
        4 => (0..2_u8, prop::option::of(0..3_u8), 0..999_u16, lifetime())
            .prop_map(|(log, dedupe, body, life)| Step::Append(log, dedupe, body, life)),
        3 => (0..4_u8, 0..999_u16, prop::option::of(lifetime()))
            .prop_map(|(key, value, life)| Step::Put(key, value, life)),
        2 => (0..4_u8, prop_oneof![0..5_u64, any::<u64>()], prop::option::of(lifetime()))
            .prop_map(|(key, version, life)| Step::Raise(key, version, life)),
        1 => (0..4_u8, lifetime()).prop_map(|(key, life)| Step::Tombstone(key, life)),
        1 => (0..4_u8).prop_map(Step::Delete),
    ];
    let expect = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(expect, 1..3),
    ];
    prop_oneof![
        8 => (0..2_u8, expect, prop::collection::vec(step, 0..5))
            .prop_map(|(partition, expect, steps)| Op::Commit { partition, expect, steps }),
        2 => (0..2_u8, 0..4_u8).prop_map(|(partition, key)| Op::Get(partition, key)),
        2 => (0..2_u8, 0..5_u8, 0..5_u8, 0..5_usize, any::<bool>())
            .prop_map(|(partition, from, to, limit, down)| Op::Scan(partition, from, to, limit, down)),
        4 => (0..2_u8, 0..2_u8, prop::option::of(0..20_u8), 0..6_usize)
            .prop_map(|(partition, log, after, limit)| Op::Read(partition, log, after, limit)),
        1 => (0..5_usize).prop_map(Op::Sweep),
        2 => (0..150_u16).prop_map(Op::Advance),
        1 => any::<u16>().prop_map(Op::StepBack),
        1 => Just(Op::Reopen),
    ]
}

/// Runs operations on one store and notes what they show.
#[derive(Debug)]
pub struct Driver {
    instance: Option<Instance>,
    now: Timestamp,
    expiries: BTreeSet<Timestamp>,
    seen: BTreeMap<(u8, u8), Revision>,
    /// Every position that was given, in order, for each partition.
    positions: BTreeMap<u8, Vec<Position>>,
}

impl Driver {
    /// A driver of a fresh store.
    pub fn new(instance: Instance) -> Self {
        Self {
            instance: Some(instance),
            now: START,
            expiries: BTreeSet::new(),
            seen: BTreeMap::new(),
            positions: BTreeMap::new(),
        }
    }

    /// Does `op` and says what it shows.
    pub async fn run(&mut self, op: &Op) -> Seen {
        match op {
            Op::Commit { partition, expect, steps } => self.commit(*partition, expect, steps).await,
            Op::Get(partition, key) => {
                let store = &self.instance.as_ref().unwrap().store;
                match store.get(&name(*partition), &self::key(*key), self.now).await {
                    Ok(None) => Seen::Rows(Vec::new(), false),
                    Ok(Some(row)) => {
                        self.seen.insert((*partition, *key), row.revision);
                        let key = self::key(*key).as_bytes().clone();
                        Seen::Rows(vec![(key, row.value, row.expires)], false)
                    }
                    Err(error) => Seen::Failed(error),
                }
            }
            Op::Scan(partition, from, to, limit, down) => {
                let end = |number: u8| Some(self::key(number).as_bytes().clone());
                let range = KeyRange { start: end(*from), end: end(*to) };
                let direction = if *down { Direction::Descending } else { Direction::Ascending };
                let store = &self.instance.as_ref().unwrap().store;
                match store.scan(&name(*partition), range, *limit, direction, self.now).await {
                    Ok(page) => {
                        let rows = page.rows.into_iter();
                        let rows =
                            rows.map(|(k, row)| (k.as_bytes().clone(), row.value, row.expires));
                        Seen::Rows(rows.collect(), page.more)
                    }
                    Err(error) => Seen::Failed(error),
                }
            }
            Op::Read(partition, log, after, limit) => {
                self.read(*partition, *log, *after, *limit).await
            }
            Op::Sweep(budget) => {
                let store = &self.instance.as_ref().unwrap().store;
                store.sweep(self.now, *budget).await.map_or_else(Seen::Failed, |_| Seen::Nothing)
            }
            Op::Advance(by) => {
                self.now = Timestamp::from_millis(self.now.as_millis() + u64::from(*by));
                Seen::Nothing
            }
            Op::StepBack(by) => {
                let passed = self.expiries.range(..=self.now).next_back();
                let back = self.now.as_millis().saturating_sub(u64::from(*by));
                self.now = Timestamp::from_millis(back).max(passed.copied().unwrap_or_default());
                Seen::Nothing
            }
            Op::Reopen => {
                let instance = self.instance.take().unwrap();
                self.instance = if instance.reopen.is_some() {
                    instance.reopened().await
                } else {
                    Some(instance)
                };
                Seen::Nothing
            }
        }
    }

    async fn commit(&mut self, partition: u8, expect: &[Expect], steps: &[Step]) -> Seen {
        let mut batch = Batch::new(name(partition));
        for expect in expect {
            batch.expectations.push(match expect {
                Expect::Absent(k) => Expectation::Absent(key(*k)),
                Expect::AsSeen(k) => {
                    let seen = self.seen.get(&(partition, *k)).copied();
                    Expectation::Unchanged(key(*k), seen.unwrap_or(Revision(0)))
                }
            });
        }
        batch.operations = steps.iter().map(|step| self.operation(step)).collect::<SmallVec<_>>();
        let store = &self.instance.as_ref().unwrap().store;
        match store.commit(batch, Ack::Safe, self.now).await {
            Ok(Outcome::Conflict(index)) => Seen::Conflict(index),
            Ok(Outcome::Committed(applied)) => {
                let seen = applied
                    .iter()
                    .zip(steps)
                    .map(|(applied, step)| self.applied(partition, *applied, step));
                Seen::Committed(seen.collect())
            }
            Err(error) => Seen::Failed(error),
        }
    }

    fn operation(&mut self, step: &Step) -> Operation {
        let mut until = |life: u16| {
            let at = Timestamp::from_millis(self.now.as_millis() + u64::from(life));
            self.expiries.insert(at);
            at
        };
        match step {
            Step::Append(l, dedupe, body, life) => Operation::Append {
                log: log(*l),
                dedupe: dedupe.map(|id| DedupeId::new(vec![id]).unwrap()),
                body: content(*body),
                expires: until(*life),
            },
            Step::Put(k, value, life) => {
                Operation::Put { key: key(*k), value: content(*value), expires: life.map(until) }
            }
            Step::Raise(k, version, life) => {
                Operation::Raise { key: key(*k), version: *version, expires: life.map(until) }
            }
            Step::Tombstone(k, life) => Operation::Tombstone { key: key(*k), until: until(*life) },
            Step::Delete(k) => Operation::Delete { key: key(*k) },
        }
    }

    fn applied(&mut self, partition: u8, applied: Applied, step: &Step) -> SeenApplied {
        match applied {
            Applied::Appended(position) => {
                let positions = self.positions.entry(partition).or_default();
                assert!(positions.last().is_none_or(|last| last.sequence < position.sequence));
                positions.push(position);
                SeenApplied::Appended(positions.len())
            }
            Applied::Repeated(position) => {
                SeenApplied::Repeated(self.number(partition, position.sequence))
            }
            Applied::Row(revision) => {
                if let Step::Put(k, ..) | Step::Raise(k, ..) | Step::Tombstone(k, ..) = step {
                    self.seen.insert((partition, *k), revision);
                }
                SeenApplied::Row
            }
            Applied::Deleted => SeenApplied::Deleted,
            Applied::Buried => SeenApplied::Buried,
        }
    }

    async fn read(&mut self, partition: u8, of: u8, after: Option<u8>, limit: usize) -> Seen {
        let known = self.positions.get(&partition).map_or(&[][..], Vec::as_slice);
        let at = after.and_then(|number| known.get(usize::from(number)).copied());
        let store = &self.instance.as_ref().unwrap().store;
        match store.read_log(&name(partition), &log(of), at, limit, self.now).await {
            Ok(page) => {
                assert!(!page.gap, "the epoch did not change");
                let entries = page.entries.into_iter().map(|entry| {
                    (self.number(partition, entry.sequence), entry.body, entry.expires)
                });
                let entries = entries.collect();
                Seen::Entries(entries, self.number(partition, page.next.sequence), page.more)
            }
            Err(error) => Seen::Failed(error),
        }
    }

    /// The number of the entry at `sequence` in its partition, from 1; 0 for the beginning.
    fn number(&self, partition: u8, sequence: Sequence) -> usize {
        if sequence == Sequence::ZERO {
            return 0;
        }
        let known = self.positions.get(&partition).map_or(&[][..], Vec::as_slice);
        let found = known.iter().position(|position| position.sequence == sequence);
        found.expect("a position was given before it is read") + 1
    }
}

/// Runs `cases` random lists of operations on the engine and on the memory engine side by side and
/// fails with a shrunk list if they ever show different things.
///
/// Blocks; makes a runtime of its own.
pub fn agrees_with_memory(engine: &dyn Engine, cases: u32, length: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&ops(length), |ops| {
        runtime.block_on(async {
            let store = std::sync::Arc::new(MemoryStore::new());
            let mut expected = Driver::new(Instance { store, reopen: None });
            let mut tested = Driver::new(engine.fresh().await);
            for (number, op) in ops.iter().enumerate() {
                let (expected, shown) = (expected.run(op).await, tested.run(op).await);
                if expected != shown {
                    return Err(TestCaseError::fail(format!(
                        "step {number}, {op:?}: the memory engine shows {expected:?}, this one \
                         {shown:?}"
                    )));
                }
            }
            Ok(())
        })
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

fn name(number: u8) -> Partition {
    Partition::new(&format!("p/{number}")).unwrap()
}

fn key(number: u8) -> Key {
    Key::new(vec![b'a' + number]).unwrap()
}

fn log(number: u8) -> LogName {
    LogName::new(&format!("log-{number}")).unwrap()
}

fn content(number: u16) -> Bytes {
    Bytes::from(number.to_string())
}
