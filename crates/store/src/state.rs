//! What an engine holds in memory, and the pure rules of changing it.
//!
//! Both engines that run inside the process share this module, so that they can't differ: a [`Plan`]
//! works out what batches come to against a [`State`] without changing it, and
//! [`State::apply`] carries the result out. Between the two an engine makes the changes durable.
//!
//! Never here: I/O, locks, a clock.

mod content;
mod entries;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
};

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;

use self::entries::Entries;
pub(crate) use self::{
    content::{Body, Place, StoredEntry, StoredRow, row_is_live},
    plan::{Change, Plan, Planned},
};
use crate::{
    batch::DedupeId,
    copy::Part,
    names::{Key, LogName, Partition},
    read::{Direction, Epoch, KeyRange, Position, Row, RowPage},
};

/// The most entries or rows that one read gives, whatever limit it asks for.
pub(crate) const PAGE_ITEMS_MAX: usize = 65_536;

/// The bytes after which a page ends early (64 MiB); the item that passes them is its last.
pub(crate) const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an entry or row is taken to cost beside its content, in bytes.
const OVERHEAD_BYTES: u64 = 128;

/// How much a commit of so many operations sweeps: more than it adds, so that what has expired
/// does not pile up even where nobody calls for a sweep.
pub(crate) const fn commit_budget(operations: usize) -> usize {
    16 + 2 * operations
}

/// Names a log while it has entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LogId(u64);

/// Every row and entry of an engine. Expired ones stay until they are swept; reads pass over them.
#[derive(Debug)]
pub(crate) struct State {
    epoch: Epoch,
    /// The greatest sequence or revision that was given: both come from one allocator.
    last: Sequence,
    partitions: HashMap<Partition, PartitionState>,
    logs: HashMap<LogId, Log>,
    next_log: u64,
    /// By expiry, then by sequence or revision, which no two share.
    expiry: BTreeMap<(Timestamp, u64), Victim>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct PartitionState {
    rows: BTreeMap<Key, StoredRow>,
    logs: BTreeMap<LogName, LogId>,
}

#[derive(Debug)]
struct Log {
    partition: Partition,
    name: LogName,
    entries: Entries,
    dedupe: HashMap<DedupeId, Sequence>,
}

/// What expires.
#[derive(Clone, Debug)]
enum Victim {
    Entry(LogId),
    Row(Box<(Partition, Key)>),
}

/// A page of a log whose bodies may have to be fetched.
#[derive(Debug)]
pub(crate) struct StoredPage {
    pub(crate) entries: Vec<(Sequence, Body, Timestamp)>,
    pub(crate) next: Position,
    pub(crate) more: bool,
    pub(crate) gap: bool,
}

/// An entry that [`State::apply`] added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    pub(crate) log: LogId,
    pub(crate) sequence: Sequence,
    pub(crate) length: u32,
}

impl State {
    /// Nothing, in `epoch`, going on after `last`.
    pub(crate) fn new(epoch: Epoch, last: Sequence) -> Self {
        Self {
            epoch,
            last,
            partitions: HashMap::new(),
            logs: HashMap::new(),
            next_log: 0,
            expiry: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// The present epoch.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// About how many bytes everything takes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The live row of `key`.
    pub(crate) fn get(&self, partition: &Partition, key: &Key, now: Timestamp) -> Option<&Row> {
        self.stored_row(partition, key).map(|stored| &stored.row).filter(|r| row_is_live(r, now))
    }

    /// The first `limit` live rows of `range`.
    pub(crate) fn scan(
        &self,
        partition: &Partition,
        range: &KeyRange,
        limit: usize,
        direction: Direction,
        now: Timestamp,
    ) -> RowPage {
        let mut page = RowPage { rows: Vec::new(), more: false };
        let Some(state) = self.partitions.get(partition) else { return page };
        let Some(bounds) = bounds(range) else { return page };
        let rows = state.rows.range::<[u8], _>(bounds);
        let mut live: Box<dyn Iterator<Item = (&Key, &StoredRow)>> = match direction {
            Direction::Ascending => Box::new(rows),
            Direction::Descending => Box::new(rows.rev()),
        };
        let mut bytes = 0;
        let limit = limit.clamp(1, PAGE_ITEMS_MAX);
        while let Some((key, stored)) = live.find(|(_, stored)| row_is_live(&stored.row, now)) {
            if page.rows.len() == limit || bytes > PAGE_BYTES_MAX {
                page.more = true;
                break;
            }
            bytes += stored.row.value.as_bytes().map_or(8, Bytes::len);
            page.rows.push((key.clone(), stored.row.clone()));
        }
        page
    }

    /// At most `limit` live entries of a log after `after`.
    pub(crate) fn read_log(
        &self,
        partition: &Partition,
        log: &LogName,
        after: Option<Position>,
        limit: usize,
        now: Timestamp,
    ) -> StoredPage {
        let gap = after.is_some_and(|position| position.epoch != self.epoch);
        let from = after.filter(|_| !gap).map_or(Sequence::ZERO, |position| position.sequence);
        let mut next = Position { epoch: self.epoch, sequence: from };
        let mut page = StoredPage { entries: Vec::new(), next, more: false, gap };
        let Some(log) = self.log(partition, log) else { return page };
        let mut live = log.entries.after(from).filter(|(_, entry)| now < entry.expires);
        let mut bytes = 0;
        let limit = limit.clamp(1, PAGE_ITEMS_MAX);
        for (sequence, entry) in &mut live {
            page.entries.push((sequence, entry.body.clone(), entry.expires));
            next.sequence = sequence;
            bytes += entry.body.len();
            if page.entries.len() == limit || bytes > PAGE_BYTES_MAX {
                break;
            }
        }
        page.more = live.next().is_some();
        page.next = next;
        page
    }

    /// Everything that is there, live or not.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let of = |(partition, state): (&Partition, &PartitionState)| {
            let rows = (!state.rows.is_empty()).then_some(None);
            let logs: Vec<_> = state.logs.keys().cloned().map(Some).collect();
            let part = |log| Part { partition: partition.clone(), log };
            rows.into_iter().chain(logs).map(part).collect::<Vec<_>>()
        };
        self.partitions.iter().flat_map(of).collect()
    }

    /// The dedupe ids of a log and the entries that they name.
    pub(crate) fn dedupe_ids(
        &self,
        partition: &Partition,
        log: &LogName,
    ) -> Vec<(Sequence, DedupeId)> {
        let ids = self.log(partition, log).into_iter().flat_map(|log| &log.dedupe);
        ids.map(|(id, sequence)| (*sequence, id.clone())).collect()
    }

    /// Whether an entry is there, live or not.
    pub(crate) fn has_entry(
        &self,
        partition: &Partition,
        log: &LogName,
        sequence: Sequence,
    ) -> bool {
        self.log(partition, log).is_some_and(|log| log.entries.get(sequence).is_some())
    }

    /// Carries out what was planned against this very state. Gives back the entries that it added.
    pub(crate) fn apply(&mut self, planned: Planned) -> Vec<Added> {
        self.last = planned.last;
        let mut added = Vec::new();
        for change in planned.changes {
            match change {
                Change::Append { partition, log, sequence, entry } => {
                    let length = entry.body.place.length;
                    let log = self.insert_entry(&partition, &log, sequence, entry);
                    added.push(Added { log, sequence, length });
                }
                Change::Write { partition, key, row } => self.insert_row(&partition, &key, row),
                Change::Remove { partition, key, .. } => self.remove_row(&partition, &key),
                Change::Drop { log, sequence, .. } => self.remove_entry(log, sequence),
            }
        }
        added
    }

    /// Keeps the content of an entry on disk alone. Nothing happens if the entry is gone.
    pub(crate) fn evict(&mut self, log: LogId, sequence: Sequence) {
        let log = self.logs.get_mut(&log);
        if let Some(entry) = log.and_then(|log| log.entries.get_mut(sequence)) {
            entry.body.resident = None;
        }
    }

    /// Adds an entry that is not there yet: one that was planned, or one that is being loaded.
    pub(crate) fn insert_entry(
        &mut self,
        partition: &Partition,
        name: &LogName,
        sequence: Sequence,
        entry: StoredEntry,
    ) -> LogId {
        let id = self.log_id(partition, name);
        let log = self.logs.entry(id).or_insert_with(|| Log {
            partition: partition.clone(),
            name: name.clone(),
            entries: Entries::default(),
            dedupe: HashMap::new(),
        });
        if let Some(dedupe) = &entry.dedupe {
            // Entries that are loaded do not all come in order; the newest is the one that counts.
            let newest = log.dedupe.entry(dedupe.clone()).or_insert(sequence);
            *newest = sequence.max(*newest);
        }
        self.bytes += entry.body.len() as u64 + OVERHEAD_BYTES;
        self.expiry.insert((entry.expires, sequence.as_u64()), Victim::Entry(id));
        log.entries.insert(sequence, entry);
        id
    }

    fn log_id(&mut self, partition: &Partition, name: &LogName) -> LogId {
        let state = match self.partitions.get_mut(partition) {
            Some(state) => state,
            None => self.partitions.entry(partition.clone()).or_default(),
        };
        if let Some(id) = state.logs.get(name) {
            return *id;
        }
        let id = LogId(self.next_log);
        self.next_log += 1;
        state.logs.insert(name.clone(), id);
        id
    }

    /// Writes a row over whatever is there.
    pub(crate) fn insert_row(&mut self, partition: &Partition, key: &Key, stored: StoredRow) {
        self.bytes += row_bytes(key, &stored.row);
        if let Some(expires) = stored.row.expires {
            let victim = Victim::Row(Box::new((partition.clone(), key.clone())));
            self.expiry.insert((expires, stored.row.revision.0), victim);
        }
        let rows = &mut self.partitions.entry(partition.clone()).or_default().rows;
        if let Some(old) = rows.insert(key.clone(), stored) {
            self.forget_row(key, &old.row);
        }
    }

    fn remove_row(&mut self, partition: &Partition, key: &Key) {
        let Some(state) = self.partitions.get_mut(partition) else { return };
        let old = state.rows.remove(key);
        if state.rows.is_empty() && state.logs.is_empty() {
            self.partitions.remove(partition);
        }
        if let Some(old) = old {
            self.forget_row(key, &old.row);
        }
    }

    fn forget_row(&mut self, key: &Key, row: &Row) {
        self.bytes = self.bytes.saturating_sub(row_bytes(key, row));
        if let Some(expires) = row.expires {
            self.expiry.remove(&(expires, row.revision.0));
        }
    }

    fn remove_entry(&mut self, id: LogId, sequence: Sequence) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let Some(entry) = log.entries.remove(sequence) else { return };
        if let Some(dedupe) = &entry.dedupe
            && log.dedupe.get(dedupe) == Some(&sequence)
        {
            log.dedupe.remove(dedupe);
        }
        self.bytes = self.bytes.saturating_sub(entry.body.len() as u64 + OVERHEAD_BYTES);
        self.expiry.remove(&(entry.expires, sequence.as_u64()));
        if log.entries.is_empty() {
            self.drop_log(id);
        }
    }

    /// Forgets a log without entries; nothing else is known of it.
    fn drop_log(&mut self, id: LogId) {
        let Some(log) = self.logs.remove(&id) else { return };
        let Some(state) = self.partitions.get_mut(&log.partition) else { return };
        state.logs.remove(&log.name);
        if state.rows.is_empty() && state.logs.is_empty() {
            self.partitions.remove(&log.partition);
        }
    }

    fn stored_row(&self, partition: &Partition, key: &Key) -> Option<&StoredRow> {
        self.partitions.get(partition)?.rows.get(key)
    }

    fn log(&self, partition: &Partition, name: &LogName) -> Option<&Log> {
        self.logs.get(self.partitions.get(partition)?.logs.get(name)?)
    }

    /// The entry that `dedupe` names and its expiry, live or not.
    fn repeated(
        &self,
        partition: &Partition,
        log: &LogName,
        dedupe: &DedupeId,
    ) -> Option<(Sequence, Timestamp)> {
        let log = self.log(partition, log)?;
        let sequence = log.dedupe.get(dedupe)?;
        Some((*sequence, log.entries.get(*sequence)?.expires))
    }

    /// The segment that holds an entry.
    fn segment(&self, log: LogId, sequence: Sequence) -> Option<Sequence> {
        Some(self.logs.get(&log)?.entries.get(sequence)?.body.place.segment)
    }

    /// What had expired by `now`, earliest first.
    fn expired(&self, now: Timestamp) -> impl Iterator<Item = (u64, &Victim)> {
        self.expiry.range(..=(now, u64::MAX)).map(|((_, number), victim)| (*number, victim))
    }
}

/// The partitions that changed, each once, in the order of their names.
pub(crate) type Changed = BTreeSet<Partition>;

fn row_bytes(key: &Key, row: &Row) -> u64 {
    let content = key.as_bytes().len() + row.value.as_bytes().map_or(8, Bytes::len);
    content as u64 + OVERHEAD_BYTES
}

type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The range as bounds; `None` if it is empty, for which [`BTreeMap::range`] panics.
fn bounds(range: &KeyRange) -> Option<Bounds<'_>> {
    let start = range.start.as_deref().map_or(Bound::Unbounded, Bound::Included);
    let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let is_empty = match (&range.start, &range.end) {
        (Some(start), Some(end)) => start >= end,
        _ => false,
    };
    (!is_empty).then_some((start, end))
}
