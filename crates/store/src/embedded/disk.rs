//! Reads and writes of the file, one transaction each.
//!
//! Never here: threads, locks, waiting.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    panic::{AssertUnwindSafe, catch_unwind},
};

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition, WriteTransaction,
};

use super::format::{
    FORMAT, Malformed, SegmentRecords, SegmentWriter, body_at, decode_bodies, decode_index,
    decode_row, encode_row,
};
use crate::{
    read::Epoch,
    state::{Change, Planned, State},
};

/// Numbers by name: `format`, `epoch`, `last`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("buswire");
/// The index of each segment, by its first sequence.
const INDEX: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("index");
/// The contents of each segment, by its first sequence.
const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
/// Rows, by the revision that they began with.
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

/// A segment has at most this many bytes of contents, unless it has one entry: reading one entry
/// reads all of them. redb gives a large record a power of two; this leaves it room for its own.
const SEGMENT_BYTES: usize = 63 * 1024;

/// Why the file could not be read or written.
#[derive(Debug)]
pub(super) enum DiskError {
    /// The medium failed; redb takes no more writes after it.
    Failed(redb::Error),
    /// What is stored can't be trusted.
    Damaged(String),
    /// The file has a format that is not read.
    Newer(u64),
    /// Not a file of Buswire.
    Foreign,
}

impl<E: Into<redb::Error>> From<E> for DiskError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Corrupted(detail) => Self::Damaged(detail),
            other => Self::Failed(other),
        }
    }
}

impl From<Malformed> for DiskError {
    fn from(error: Malformed) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl Display for DiskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Damaged(detail) => f.write_str(detail),
            Self::Newer(format) => write!(f, "it has format {format}"),
            Self::Foreign => f.write_str("it is not a store of Buswire"),
        }
    }
}

/// Runs `work`, taking a panic of redb, which trusts what it reads, as damage.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(DiskError::Damaged("its pages contradict each other".to_owned())))
}

/// How many entries each segment still has. A segment without any is removed from the file.
#[derive(Debug, Default)]
pub(super) struct Segments(HashMap<Sequence, u32>);

/// What the file holds.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) segments: Segments,
}

/// Writes the tables of an empty store that begins in `epoch`.
pub(super) fn initialise(database: &Database, epoch: Epoch) -> Result<(), DiskError> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", FORMAT)?;
        meta.insert("epoch", epoch.0)?;
        meta.insert("last", 0)?;
        transaction.open_table(INDEX)?;
        transaction.open_table(BODIES)?;
        transaction.open_table(ROWS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Whether nothing was ever stored in the file.
pub(super) fn is_blank(database: &Database) -> Result<bool, DiskError> {
    let transaction = database.begin_read()?;
    Ok(transaction.list_tables()?.next().is_none())
}

/// Begins a new epoch, at least `least`.
pub(super) fn begin_epoch(database: &Database, least: Epoch) -> Result<(), DiskError> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let before = number(&meta, "epoch")?;
        meta.insert("epoch", least.0.max(before.saturating_add(1)))?;
    }
    transaction.commit()?;
    Ok(())
}

/// Reads everything but the contents of entries.
pub(super) fn load(database: &Database) -> Result<Loaded, DiskError> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(
            redb::TableError::TableDoesNotExist(_)
            | redb::TableError::TableTypeMismatch { .. }
            | redb::TableError::TableIsMultimap(_),
        ) => return Err(DiskError::Foreign),
        Err(error) => return Err(error.into()),
    };
    let format = number(&meta, "format")?;
    if format != FORMAT {
        return Err(DiskError::Newer(format));
    }
    let epoch = Epoch(number(&meta, "epoch")?);
    let last = Sequence::from_u64(number(&meta, "last")?).ok_or(Malformed)?;
    let mut state = State::new(epoch, last);
    let rows = transaction.open_table(ROWS)?;
    let mut found = 0;
    for row in rows.iter()? {
        found += 1;
        let (id, record) = row?;
        let (partition, key, stored) = decode_row(id.value(), record.value())?;
        if stored.row.revision.0 > last.as_u64() {
            return Err(Malformed.into());
        }
        state.insert_row(&partition, &key, stored);
    }
    let mut segments = Segments::default();
    let index = transaction.open_table(INDEX)?;
    for segment in index.iter()? {
        let (first, record) = segment?;
        let first = Sequence::from_u64(first.value()).ok_or(Malformed)?;
        let mut newest = first;
        let count = decode_index(first, record.value(), |partition, log, sequence, entry| {
            newest = newest.max(sequence);
            state.insert_entry(partition, log, sequence, entry);
        })?;
        if newest > last || count == 0 {
            return Err(Malformed.into());
        }
        segments.0.insert(first, count);
    }
    let counts = [
        (found, rows.len()?),
        (segments.0.len() as u64, index.len()?),
        (segments.0.len() as u64, transaction.open_table(BODIES)?.len()?),
    ];
    if counts.iter().any(|(found, expected)| found != expected) {
        return Err(DiskError::Damaged("records are missing".to_owned()));
    }
    // Entries that were swept from a segment that others keep come back here and are swept again.
    Ok(Loaded { state, segments })
}

fn number(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, DiskError> {
    let stored = meta.get(name)?;
    stored
        .map(|guard| guard.value())
        .ok_or_else(|| DiskError::Damaged(format!("{name} is missing")))
}

/// Makes what was planned durable, and sets the places of new entries. Nothing of it is in the file
/// if this fails before the end; if the end itself fails, all of it may be.
pub(super) fn write(
    database: &Database,
    planned: &mut Planned,
    segments: &mut Segments,
    now: Timestamp,
) -> Result<(), DiskError> {
    let transaction = database.begin_write()?;
    write_rows(&transaction, planned)?;
    write_entries(&transaction, planned, segments, now)?;
    transaction.open_table(META)?.insert("last", planned.last.as_u64())?;
    // The default durability, Immediate, is the one that an answer promises.
    transaction.commit()?;
    Ok(())
}

fn write_rows(transaction: &WriteTransaction, planned: &Planned) -> Result<(), DiskError> {
    let is_row = |change: &Change| matches!(change, Change::Write { .. } | Change::Remove { .. });
    if !planned.changes.iter().any(is_row) {
        return Ok(());
    }
    let mut rows = transaction.open_table(ROWS)?;
    for change in &planned.changes {
        match change {
            Change::Write { partition, key, row } => {
                rows.insert(row.id, encode_row(partition, key, row).as_slice())?;
            }
            Change::Remove { id, .. } => {
                rows.remove(id)?;
            }
            Change::Append { .. } | Change::Drop { .. } => {}
        }
    }
    Ok(())
}

fn write_entries(
    transaction: &WriteTransaction,
    planned: &mut Planned,
    segments: &mut Segments,
    now: Timestamp,
) -> Result<(), DiskError> {
    let mut dropped = Vec::new();
    let mut full = Vec::new();
    let mut open = BTreeMap::<u32, SegmentWriter>::new();
    for change in &mut planned.changes {
        match change {
            Change::Append { partition, log, sequence, entry } => {
                let class = lifetime_class(now, entry.expires);
                let is_full =
                    |writer: &SegmentWriter| writer.body_bytes() + entry.body.len() > SEGMENT_BYTES;
                if open.get(&class).is_some_and(is_full) {
                    full.extend(open.remove(&class).map(SegmentWriter::finish));
                }
                let writer = open.entry(class).or_insert_with(|| SegmentWriter::new(*sequence));
                writer.push(partition, log, *sequence, entry);
            }
            Change::Drop { segment, .. } => dropped.push(*segment),
            Change::Write { .. } | Change::Remove { .. } => {}
        }
    }
    full.extend(open.into_values().map(SegmentWriter::finish));
    if full.is_empty() && dropped.is_empty() {
        return Ok(());
    }
    full.sort_unstable_by_key(|records| records.first);
    let contents: HashMap<_, _> = full.iter().map(|r| (r.first, r.bodies.clone())).collect();
    share_contents(planned, &contents);
    let mut index = transaction.open_table(INDEX)?;
    let mut bodies = transaction.open_table(BODIES)?;
    for segment in dropped {
        remove_one(&mut index, &mut bodies, segments, segment)?;
    }
    for SegmentRecords { first, count, index: names, bodies: contents } in full {
        index.insert(first.as_u64(), names.as_slice())?;
        bodies.insert(first.as_u64(), &*contents)?;
        segments.0.insert(first, count);
    }
    Ok(())
}

/// Lets new entries share the contents of their segments: what they came in may be a small part of a
/// large buffer, which would stay in memory with them.
fn share_contents(planned: &mut Planned, segments: &HashMap<Sequence, Bytes>) {
    for change in &mut planned.changes {
        let Change::Append { entry, .. } = change else { continue };
        let place = entry.body.place;
        let shared = segments.get(&place.segment).and_then(|record| body_at(record, place));
        if shared.is_some() {
            entry.body.resident = shared;
        }
    }
}

/// Counts one entry of a segment as gone, and removes the segment when it was the last.
fn remove_one(
    index: &mut Table<'_, u64, &'static [u8]>,
    bodies: &mut Table<'_, u64, &'static [u8]>,
    segments: &mut Segments,
    segment: Sequence,
) -> Result<(), DiskError> {
    let Some(count) = segments.0.get_mut(&segment) else { return Ok(()) };
    *count = count.saturating_sub(1);
    if *count == 0 {
        segments.0.remove(&segment);
        index.remove(segment.as_u64())?;
        bodies.remove(segment.as_u64())?;
    }
    Ok(())
}

/// Entries of one class live about equally long, at most by a factor of two, so that the last one
/// of a segment does not keep the others on disk for much longer than they are kept for themselves.
fn lifetime_class(now: Timestamp, expires: Timestamp) -> u32 {
    let minutes = expires.saturating_since(now).as_secs() / 60;
    minutes.checked_ilog2().map_or(0, |log| log + 1)
}

/// Copies all tables as they are at one moment into a database that has none.
pub(super) fn copy(from: &Database, to: &Database) -> Result<(), DiskError> {
    let (snapshot, target) = (from.begin_read()?, to.begin_write()?);
    copy_table(&snapshot, &target, META)?;
    copy_table(&snapshot, &target, INDEX)?;
    copy_table(&snapshot, &target, BODIES)?;
    copy_table(&snapshot, &target, ROWS)?;
    target.commit()?;
    Ok(())
}

fn copy_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    snapshot: &ReadTransaction,
    target: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), DiskError> {
    let mut copy = target.open_table(table)?;
    for record in snapshot.open_table(table)?.iter()? {
        let (key, value) = record?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// Reads the contents of some segments. Those that are gone are left out.
pub(super) fn read_segments(
    database: &Database,
    wanted: impl Iterator<Item = Sequence>,
) -> Result<HashMap<Sequence, Bytes>, DiskError> {
    let bodies = database.begin_read()?.open_table(BODIES)?;
    let mut found = HashMap::new();
    for segment in wanted {
        if let Some(record) = bodies.get(segment.as_u64())? {
            found.insert(segment, decode_bodies(segment, record.value())?);
        }
    }
    Ok(found)
}
