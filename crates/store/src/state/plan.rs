//! What batches come to, worked out before anything changes.
//!
//! Never here: carrying it out; that is [`State::apply`].

use std::collections::HashMap;

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;
use smallvec::SmallVec;

use super::{Body, Changed, LogId, State, StoredEntry, StoredRow, Victim, row_bytes, row_is_live};
use crate::{
    batch::{Applied, Batch, DedupeId, Expectation, Operation, Outcome},
    copy::Chunk,
    error::StoreError,
    names::{Key, LogName, Partition},
    read::{Entry, Position, Revision, Row, RowValue},
    store::Swept,
};

/// One change of a state.
#[derive(Debug)]
pub(crate) enum Change {
    /// A new entry.
    Append { partition: Partition, log: LogName, sequence: Sequence, entry: StoredEntry },
    /// A row, new or changed.
    Write { partition: Partition, key: Key, row: StoredRow },
    /// A row that goes; `id` names it on disk.
    Remove { partition: Partition, key: Key, id: u64 },
    /// An expired entry that goes, and the segment that it is in.
    Drop { log: LogId, sequence: Sequence, segment: Sequence },
}

/// What [`State::apply`] has to do.
#[derive(Debug)]
pub(crate) struct Planned {
    /// In order.
    pub(crate) changes: Vec<Change>,
    /// The greatest sequence or revision afterwards.
    pub(crate) last: Sequence,
    /// What a reader could see change.
    pub(crate) changed: Changed,
    /// How many bytes are added, those that are freed not counted.
    pub(crate) added_bytes: u64,
}

/// Works out batches one after the other, each against the state as those before it leave it.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    state: &'a State,
    planned: Planned,
    /// Rows that differ from the state; `None` for those that are gone.
    rows: HashMap<(Partition, Key), Option<StoredRow>>,
    repeats: HashMap<(Partition, LogName, DedupeId), (Sequence, Timestamp)>,
}

impl<'a> Plan<'a> {
    /// A plan that changes nothing yet.
    pub(crate) fn new(state: &'a State) -> Self {
        let planned = Planned {
            changes: Vec::new(),
            last: state.last,
            changed: Changed::new(),
            added_bytes: 0,
        };
        Self { state, planned, rows: HashMap::new(), repeats: HashMap::new() }
    }

    /// What is to be done.
    pub(crate) fn finish(self) -> Planned {
        self.planned
    }

    /// Removes at most `budget` of what had expired by `now`. Goes before every batch.
    pub(crate) fn sweep(&mut self, now: Timestamp, budget: usize) -> Swept {
        let mut swept = Swept::default();
        for (number, victim) in self.state.expired(now) {
            if swept.removed == budget {
                swept.more = true;
                break;
            }
            swept.removed += 1;
            match victim {
                Victim::Entry(log) => {
                    let sequence = Sequence::from_u64(number).unwrap_or(Sequence::MAX);
                    let segment = self.state.segment(*log, sequence).unwrap_or(sequence);
                    let change = Change::Drop { log: *log, sequence, segment };
                    self.planned.changes.push(change);
                }
                Victim::Row(at) => {
                    let (partition, key) = &**at;
                    self.remove(partition, key);
                }
            }
        }
        swept
    }

    /// Puts rows or entries in as they were in another store.
    pub(crate) fn import(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Rows(partition, rows) => {
                for (key, row) in rows {
                    self.reach(Sequence::from_u64(row.revision.0));
                    let id = self.current(&partition, &key).map_or(row.revision.0, |it| it.id);
                    let row = StoredRow { row, id };
                    let at = (partition.clone(), key.clone());
                    self.rows.insert(at, Some(row.clone()));
                    let partition = partition.clone();
                    self.planned.changes.push(Change::Write { partition, key, row });
                }
            }
            Chunk::Entries(partition, log, entries) => {
                for (entry, dedupe) in entries {
                    let Entry { sequence, body, expires } = entry;
                    self.reach(Some(sequence));
                    let body = Body::resident(sequence, body);
                    let (partition, log) = (partition.clone(), log.clone());
                    let entry = StoredEntry { body, expires, dedupe };
                    self.planned.changes.push(Change::Append { partition, log, sequence, entry });
                }
            }
        }
    }

    /// Numbers that are given later are greater than this one.
    fn reach(&mut self, number: Option<Sequence>) {
        self.planned.last = self.planned.last.max(number.unwrap_or(Sequence::MAX));
    }

    /// Adds a batch.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`]; [`StoreError::Unavailable`] when no sequence is left. Nothing of the
    /// batch is planned then.
    pub(crate) fn batch(&mut self, batch: Batch, now: Timestamp) -> Result<Outcome, StoreError> {
        batch.check()?;
        let needed = batch.operations.len() as u64;
        let newest = self.planned.last.max(Sequence::at(now)).as_u64();
        if newest + needed > Sequence::MAX.as_u64() {
            return Err(StoreError::Unavailable("the clock is beyond the year 2089".to_owned()));
        }
        let holds = |expectation: &Expectation| match expectation {
            Expectation::Absent(key) => self.live(&batch.partition, key, now).is_none(),
            Expectation::Unchanged(key, revision) => self
                .live(&batch.partition, key, now)
                .is_some_and(|row| row.revision == *revision && row.value != RowValue::Tombstone),
        };
        if let Some(index) = batch.expectations.iter().position(|e| !holds(e)) {
            return Ok(Outcome::Conflict(index));
        }
        let partition = batch.partition;
        let operations = batch.operations.into_iter();
        Ok(Outcome::Committed(
            operations
                .map(|operation| self.operation(&partition, operation, now))
                .collect::<SmallVec<_>>(),
        ))
    }

    fn operation(
        &mut self,
        partition: &Partition,
        operation: Operation,
        now: Timestamp,
    ) -> Applied {
        match operation {
            Operation::Append { log, dedupe, body, expires } => {
                self.append(partition, log, dedupe, body, expires, now)
            }
            Operation::Put { key, value, expires } => {
                if self.is_buried(partition, &key, now) {
                    return Applied::Buried;
                }
                self.write(partition, key, RowValue::Bytes(own(&value)), expires, now)
            }
            Operation::Raise { key, version, expires } => {
                if self.is_buried(partition, &key, now) {
                    return Applied::Buried;
                }
                let current = self.live(partition, &key, now).and_then(|r| r.value.as_version());
                let version = version.max(current.unwrap_or(0));
                self.write(partition, key, RowValue::Version(version), expires, now)
            }
            Operation::Tombstone { key, until } => {
                if let Some(row) = self.live(partition, &key, now)
                    && row.value == RowValue::Tombstone
                    && row.expires.is_none_or(|end| end >= until)
                {
                    return Applied::Row(row.revision);
                }
                self.write(partition, key, RowValue::Tombstone, Some(until), now)
            }
            Operation::Delete { key } => {
                if self.is_buried(partition, &key, now) {
                    return Applied::Buried;
                }
                if self.remove(partition, &key) {
                    self.planned.changed.insert(partition.clone());
                }
                Applied::Deleted
            }
        }
    }

    fn append(
        &mut self,
        partition: &Partition,
        log: LogName,
        dedupe: Option<DedupeId>,
        body: Bytes,
        expires: Timestamp,
        now: Timestamp,
    ) -> Applied {
        let epoch = self.state.epoch;
        if let Some(dedupe) = &dedupe {
            let name = (partition.clone(), log.clone(), dedupe.clone());
            let first = self.repeats.get(&name).copied();
            let first = first.or_else(|| self.state.repeated(partition, &log, dedupe));
            if let Some((sequence, _)) = first.filter(|(_, expires)| now < *expires) {
                return Applied::Repeated(Position { epoch, sequence });
            }
        }
        let sequence = self.next(now);
        if let Some(dedupe) = &dedupe {
            let name = (partition.clone(), log.clone(), dedupe.clone());
            self.repeats.insert(name, (sequence, expires));
        }
        self.planned.added_bytes += body.len() as u64 + super::OVERHEAD_BYTES;
        self.planned.changed.insert(partition.clone());
        self.planned.changes.push(Change::Append {
            partition: partition.clone(),
            log,
            sequence,
            entry: StoredEntry {
                body: Body::resident(sequence, body),
                expires,
                dedupe: dedupe.and_then(|id| DedupeId::new(own(id.as_bytes()))),
            },
        });
        Applied::Appended(Position { epoch, sequence })
    }

    fn write(
        &mut self,
        partition: &Partition,
        key: Key,
        value: RowValue,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Applied {
        let key = Key::new(own(key.as_bytes())).unwrap_or(key);
        let revision = Revision(self.next(now).as_u64());
        let id = self.current(partition, &key).map_or(revision.0, |stored| stored.id);
        let stored = StoredRow { row: Row { value, revision, expires }, id };
        self.planned.added_bytes += row_bytes(&key, &stored.row);
        self.planned.changed.insert(partition.clone());
        self.rows.insert((partition.clone(), key.clone()), Some(stored.clone()));
        let change = Change::Write { partition: partition.clone(), key, row: stored };
        self.planned.changes.push(change);
        Applied::Row(revision)
    }

    /// Removes a row, live or not; whether there was one.
    fn remove(&mut self, partition: &Partition, key: &Key) -> bool {
        let Some(id) = self.current(partition, key).map(|stored| stored.id) else { return false };
        self.rows.insert((partition.clone(), key.clone()), None);
        let change = Change::Remove { partition: partition.clone(), key: key.clone(), id };
        self.planned.changes.push(change);
        true
    }

    /// The row of `key`, expired or not.
    fn current(&self, partition: &Partition, key: &Key) -> Option<&StoredRow> {
        if !self.rows.is_empty()
            && let Some(planned) = self.rows.get(&(partition.clone(), key.clone()))
        {
            return planned.as_ref();
        }
        self.state.stored_row(partition, key)
    }

    fn live(&self, partition: &Partition, key: &Key, now: Timestamp) -> Option<&Row> {
        self.current(partition, key).map(|stored| &stored.row).filter(|row| row_is_live(row, now))
    }

    fn is_buried(&self, partition: &Partition, key: &Key, now: Timestamp) -> bool {
        self.live(partition, key, now).is_some_and(|row| row.value == RowValue::Tombstone)
    }

    /// The next sequence or revision. That one is left was checked for the whole batch.
    fn next(&mut self, now: Timestamp) -> Sequence {
        self.planned.last = self.planned.last.next(now).unwrap_or(Sequence::MAX);
        self.planned.last
    }
}

/// A copy of bytes that are kept for long: they may be a small part of a large buffer, which would
/// stay in memory with them.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
