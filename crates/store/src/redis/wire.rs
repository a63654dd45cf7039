//! Batches and pages as the scripts take and give them.
//!
//! A number of 64 bits is 8 bytes, the most significant first, as in `scripts/common.lua`. Never here:
//! sending.

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;
use redis::{Cmd, Value};
use smallvec::SmallVec;

use super::keys::{Layout, Shard, path};
use crate::{
    batch::{Applied, Batch, DedupeId, Expectation, Operation, Outcome},
    copy::Chunk,
    error::StoreError,
    names::{Key, LogName, Partition},
    read::{Direction, Entry, Epoch, KeyRange, Page, Position, Revision, Row, RowPage, RowValue},
};

/// The most entries or rows of a page: while a script runs, the server does nothing else.
const PAGE_ITEMS_MAX: usize = 4096;

/// The bytes after which a page ends early (8 MiB).
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most that one run of the sweeping script removes.
const SWEEP_MAX: usize = 1024;

/// The expiry of what does not expire.
const NEVER: u64 = u64::MAX;

/// The scripts, in the order in which they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Adopt,
    Commit,
    Grown,
    Import,
    Read,
    Scan,
    Sweep,
}

impl Script {
    pub(super) const ALL: [Self; 7] =
        [Self::Adopt, Self::Commit, Self::Grown, Self::Import, Self::Read, Self::Scan, Self::Sweep];

    /// Its name among those of all scripts.
    pub(super) fn name(self, names: &[String]) -> &str {
        let index = Self::ALL.iter().position(|script| *script == self);
        index.and_then(|index| names.get(index)).map_or("", String::as_str)
    }

    /// What the server runs.
    pub(super) const fn text(self) -> &'static str {
        macro_rules! script {
            ($($part:literal),+) => {
                concat!($(include_str!(concat!("scripts/", $part, ".lua")), "\n"),+)
            };
        }
        match self {
            Self::Adopt => script!("common", "adopt"),
            Self::Commit => script!("common", "guard", "commit"),
            Self::Grown => script!("common", "guard", "grown"),
            Self::Import => script!("common", "guard", "import"),
            Self::Read => script!("common", "guard", "read"),
            Self::Scan => script!("common", "guard", "scan"),
            Self::Sweep => script!("common", "guard", "sweep"),
        }
    }
}

/// A script to run. The run of the server goes before the arguments.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) script: Script,
    pub(super) shard: Shard,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Bytes>,
}

impl Call {
    /// The bytes of its arguments.
    pub(super) fn bytes(&self) -> usize {
        self.arguments.iter().map(Bytes::len).sum()
    }

    /// The command that runs it; `scripts` are the names of all scripts, `run` is that of the server.
    pub(super) fn command(&self, scripts: &[String], run: &str) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.script.name(scripts)).arg(self.keys.len()).arg(&self.keys).arg(run);
        for argument in &self.arguments {
            command.arg(&argument[..]);
        }
        command
    }
}

fn number(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn text(value: impl std::fmt::Display) -> Bytes {
    Bytes::from(format!("{value}"))
}

/// An expiry as the scripts compare it, and as the index of expiries orders it.
fn expiry(expires: Option<Timestamp>) -> [Bytes; 2] {
    match expires {
        Some(expires) => [number(expires.as_millis().min(NEVER - 1)), text(expires.as_millis())],
        None => [number(NEVER), Bytes::new()],
    }
}

/// The call that commits `batch`; `publish` is the command that sends hints. To apply again what was
/// lost, `numbers` are those that its operations had been given; otherwise it is empty. What it is given is greater than
/// `after`.
pub(super) fn commit(
    layout: &Layout,
    batch: &Batch,
    numbers: &[u64],
    now: Timestamp,
    after: u64,
    publish: &'static str,
) -> Call {
    let shard = layout.shard_of(&batch.partition);
    let partition = &batch.partition;
    let mut keys = vec![
        layout.meta(shard),
        layout.due(shard),
        layout.rows(shard, partition),
        layout.names(shard, partition),
    ];
    let mut arguments = vec![
        number(now.as_millis()),
        number(layout.first(shard, now, after)),
        text(layout.count()),
        Bytes::from_static(publish.as_bytes()),
        text(layout.hints(shard)),
        text(partition.as_str()),
        text(batch.expectations.len()),
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect(),
    ];
    for expectation in &batch.expectations {
        arguments.extend(match expectation {
            Expectation::Absent(key) => [Bytes::new(), key.as_bytes().clone()],
            Expectation::Unchanged(key, revision) => [number(revision.0), key.as_bytes().clone()],
        });
    }
    let mut logs: Vec<&LogName> = Vec::new();
    for operation in &batch.operations {
        if let Operation::Append { log, .. } = operation
            && !logs.contains(&log)
        {
            logs.push(log);
            let path = path(partition, log);
            keys.extend([layout.stream(shard, &path), layout.dedupe(shard, &path)]);
        }
        push_operation(&mut arguments, operation, partition, &logs);
    }
    Call { script: Script::Commit, shard, keys, arguments }
}

fn push_operation(
    to: &mut Vec<Bytes>,
    operation: &Operation,
    partition: &Partition,
    logs: &[&LogName],
) {
    let letter = |letter: &'static str| Bytes::from_static(letter.as_bytes());
    match operation {
        Operation::Append { log, dedupe, body, expires } => {
            let index = logs.iter().position(|known| *known == log).unwrap_or(0) + 1;
            let dedupe = dedupe.as_ref().map(|id| id.as_bytes().clone()).unwrap_or_default();
            to.extend([letter("a"), text(index), text(path(partition, log)), dedupe, body.clone()]);
            to.extend(expiry(Some(*expires)));
        }
        Operation::Put { key, value, expires } => {
            to.extend([letter("p"), key.as_bytes().clone(), value.clone()]);
            to.extend(expiry(*expires));
        }
        Operation::Raise { key, version, expires } => {
            to.extend([letter("v"), key.as_bytes().clone(), number(*version)]);
            to.extend(expiry(*expires));
        }
        Operation::Tombstone { key, until } => {
            to.extend([letter("t"), key.as_bytes().clone()]);
            to.extend(expiry(Some(*until)));
        }
        Operation::Delete { key } => to.extend([letter("d"), key.as_bytes().clone()]),
    }
}

/// The call that reads a page of a log.
pub(super) fn read_log(
    layout: &Layout,
    partition: &Partition,
    log: &LogName,
    after: Option<Position>,
    limit: usize,
    now: Timestamp,
) -> Call {
    let shard = layout.shard_of(partition);
    Call {
        script: Script::Read,
        shard,
        keys: vec![layout.meta(shard), layout.stream(shard, &path(partition, log))],
        arguments: vec![
            number(now.as_millis()),
            after.map(|position| text(position.epoch.0)).unwrap_or_default(),
            text(after.map_or(0, |position| position.sequence.as_u64())),
            text(limit.clamp(1, PAGE_ITEMS_MAX)),
            text(PAGE_BYTES_MAX),
        ],
    }
}

/// The call that tells which logs of `shard` grew, and lets nothing come up to `through` any more.
pub(super) fn grown(
    layout: &Layout,
    shard: Shard,
    log: &LogName,
    places: &[&(Partition, Position)],
    through: Sequence,
) -> Call {
    let mut keys = vec![layout.meta(shard)];
    let mut arguments = vec![number(layout.least(shard, through.as_u64()))];
    for (partition, position) in places {
        keys.push(layout.stream(shard, &path(partition, log)));
        arguments.extend([text(position.epoch.0), text(position.sequence.as_u64())]);
    }
    Call { script: Script::Grown, shard, keys, arguments }
}

/// The call that reads a page of rows.
pub(super) fn scan(
    layout: &Layout,
    partition: &Partition,
    range: &KeyRange,
    limit: usize,
    direction: Direction,
    now: Timestamp,
) -> Call {
    let shard = layout.shard_of(partition);
    let bound = |mark: u8, key: &Option<Bytes>, open: &'static [u8]| match key {
        Some(key) => [&[mark][..], key].concat().into(),
        None => Bytes::from_static(open),
    };
    Call {
        script: Script::Scan,
        shard,
        keys: vec![
            layout.meta(shard),
            layout.rows(shard, partition),
            layout.names(shard, partition),
        ],
        arguments: vec![
            number(now.as_millis()),
            bound(b'[', &range.start, b"-"),
            bound(b'(', &range.end, b"+"),
            text(u8::from(direction == Direction::Descending)),
            text(limit.clamp(1, PAGE_ITEMS_MAX)),
            text(PAGE_BYTES_MAX),
        ],
    }
}

/// The call that puts rows or entries in.
pub(super) fn import(layout: &Layout, chunk: &Chunk) -> Call {
    let (partition, greatest) = match chunk {
        Chunk::Rows(partition, rows) => {
            (partition, rows.iter().map(|(_, row)| row.revision.0).max())
        }
        Chunk::Entries(partition, _, entries) => {
            (partition, entries.iter().map(|(entry, _)| entry.sequence.as_u64()).max())
        }
    };
    let shard = layout.shard_of(partition);
    let mut keys = vec![layout.meta(shard), layout.due(shard)];
    let mut arguments = vec![number(layout.first(shard, Timestamp::EPOCH, greatest.unwrap_or(0)))];
    match chunk {
        Chunk::Rows(_, rows) => {
            keys.extend([layout.rows(shard, partition), layout.names(shard, partition)]);
            arguments.extend([Bytes::new(), text(format!("r{}\0", partition.as_str()))]);
            for (key, row) in rows {
                let [_, score] = expiry(row.expires);
                arguments.extend([key.as_bytes().clone(), record(row), score]);
            }
        }
        Chunk::Entries(_, log, entries) => {
            let path = path(partition, log);
            keys.extend([layout.stream(shard, &path), layout.dedupe(shard, &path)]);
            arguments.extend([text(path), Bytes::new()]);
            for (entry, dedupe) in entries {
                let dedupe = dedupe.as_ref().map(|id| id.as_bytes().clone()).unwrap_or_default();
                let [expires, score] = expiry(Some(entry.expires));
                let place = number(entry.sequence.as_u64());
                arguments.extend([place, expires, score, dedupe, entry.body.clone()]);
            }
        }
    }
    Call { script: Script::Import, shard, keys, arguments }
}

/// The call that sweeps a shard.
pub(super) fn sweep(layout: &Layout, shard: Shard, now: Timestamp, budget: usize) -> Call {
    Call {
        script: Script::Sweep,
        shard,
        keys: vec![layout.meta(shard), layout.due(shard)],
        arguments: vec![
            text(layout.base(shard)),
            text(now.as_millis()),
            text(budget.min(SWEEP_MAX)),
        ],
    }
}

fn foreign() -> StoreError {
    StoreError::Corrupt("the server gave what no script gives".to_owned())
}

/// The parts of a reply, taken one after the other.
#[derive(Debug)]
pub(super) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    pub(super) fn new(value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(foreign()),
        }
    }

    fn bytes(&mut self) -> Result<Bytes, StoreError> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes.into()),
            _ => Err(foreign()),
        }
    }

    /// A number as 8 bytes.
    pub(super) fn number(&mut self) -> Result<u64, StoreError> {
        as_number(&self.bytes()?)
    }

    /// A number as decimal text.
    pub(super) fn decimal(&mut self) -> Result<u64, StoreError> {
        as_decimal(&self.bytes()?)
    }

    pub(super) fn integer(&mut self) -> Result<i64, StoreError> {
        match self.0.next() {
            Some(Value::Int(number)) => Ok(number),
            _ => Err(foreign()),
        }
    }

    fn is_over(&self) -> bool {
        self.0.as_slice().is_empty()
    }
}

fn as_number(bytes: &[u8]) -> Result<u64, StoreError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| foreign())
}

fn as_decimal(bytes: &[u8]) -> Result<u64, StoreError> {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(foreign)
}

fn as_sequence(number: u64) -> Result<Sequence, StoreError> {
    Sequence::from_u64(number).ok_or_else(foreign)
}

/// What a reply shows of its shard beside what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) epoch: Epoch,
    /// A sequence or revision that was given.
    pub(super) sequence: u64,
}

/// What a commit came to.
pub(super) fn outcome(mut reply: Reply) -> Result<(Outcome, Seen), StoreError> {
    let epoch = Epoch(reply.decimal()?);
    let seen = Seen { epoch, sequence: reply.number()? };
    if let Ok(index) = usize::try_from(reply.integer()?) {
        return Ok((Outcome::Conflict(index), seen));
    }
    let mut applied = SmallVec::new();
    while !reply.is_over() {
        let result = reply.bytes()?;
        let (letter, rest) = result.split_first().ok_or_else(foreign)?;
        let position = || -> Result<_, StoreError> {
            Ok(Position { epoch, sequence: as_sequence(as_number(rest)?)? })
        };
        applied.push(match letter {
            b'a' => Applied::Appended(position()?),
            b'r' => Applied::Repeated(position()?),
            b'w' => Applied::Row(Revision(as_number(rest)?)),
            b'd' => Applied::Deleted,
            b'b' => Applied::Buried,
            _ => return Err(foreign()),
        });
    }
    Ok((Outcome::Committed(applied), seen))
}

/// A page of a log that was read after `after`.
pub(super) fn page(mut reply: Reply, after: Option<Position>) -> Result<(Page, Seen), StoreError> {
    let epoch = Epoch(reply.decimal()?);
    let more = reply.integer()? == 1;
    let gap = reply.integer()? == 1;
    let mut sequence = after.filter(|_| !gap).map_or(Sequence::ZERO, |position| position.sequence);
    let mut entries = Vec::new();
    while !reply.is_over() {
        let id = reply.bytes()?;
        sequence = as_sequence(as_decimal(id.strip_suffix(b"-0").ok_or_else(foreign)?)?)?;
        let expires = Timestamp::from_millis(reply.number()?);
        entries.push(Entry { sequence, expires, body: reply.bytes()? });
    }
    let seen = Seen { epoch, sequence: if entries.is_empty() { 0 } else { sequence.as_u64() } };
    Ok((Page { entries, next: Position { epoch, sequence }, more, gap }, seen))
}

/// A page of rows.
pub(super) fn rows(mut reply: Reply) -> Result<RowPage, StoreError> {
    let more = reply.integer()? == 1;
    let mut rows = Vec::new();
    while !reply.is_over() {
        let key = Key::new(reply.bytes()?).map_err(|_| foreign())?;
        rows.push((key, row(&reply.bytes()?)?));
    }
    Ok(RowPage { rows, more })
}

/// A row as it is kept: a letter for its kind, its revision, its expiry, its content.
pub(super) fn row(record: &Bytes) -> Result<Row, StoreError> {
    let part = |range: std::ops::Range<usize>| record.get(range).ok_or_else(foreign);
    let expires = as_number(part(9..17)?)?;
    Ok(Row {
        revision: Revision(as_number(part(1..9)?)?),
        expires: (expires != NEVER).then(|| Timestamp::from_millis(expires)),
        value: match record.first() {
            Some(b'b') => RowValue::Bytes(record.slice(17..)),
            Some(b'v') => RowValue::Version(as_number(part(17..record.len())?)?),
            Some(b't') => RowValue::Tombstone,
            _ => return Err(foreign()),
        },
    })
}

/// A row as it is kept.
fn record(row: &Row) -> Bytes {
    let [expires, _] = expiry(row.expires);
    let (letter, content) = match &row.value {
        RowValue::Bytes(bytes) => (b'b', bytes.clone()),
        RowValue::Version(version) => (b'v', number(*version)),
        RowValue::Tombstone => (b't', Bytes::new()),
    };
    [&[letter][..], &row.revision.0.to_be_bytes(), &expires, &content].concat().into()
}

/// Where a walk goes on, and what it gave.
pub(super) fn cursor(value: Value) -> Result<(String, Vec<Bytes>), StoreError> {
    let mut reply = Reply::new(value)?;
    let next = String::from_utf8(reply.bytes()?.to_vec()).map_err(|_| foreign())?;
    let mut items = Reply::new(reply.0.next().ok_or_else(foreign)?)?;
    let mut given = Vec::new();
    while !items.is_over() {
        given.push(items.bytes()?);
    }
    Ok((next, given))
}

/// A dedupe id and what it names, as a field and its value.
pub(super) fn dedupe(pair: &[Bytes]) -> Result<(Sequence, DedupeId), StoreError> {
    let [id, place] = pair else { return Err(foreign()) };
    let sequence = as_sequence(as_number(place.get(..8).ok_or_else(foreign)?)?)?;
    Ok((sequence, DedupeId::new(id.clone()).ok_or_else(foreign)?))
}

/// For each log that was asked for whether it grew.
pub(super) fn growth(mut reply: Reply) -> Result<Vec<bool>, StoreError> {
    let mut grown = Vec::new();
    while !reply.is_over() {
        grown.push(reply.integer()? == 1);
    }
    Ok(grown)
}

/// How many were swept and whether more are due.
pub(super) fn swept(mut reply: Reply) -> Result<(usize, bool), StoreError> {
    let removed = usize::try_from(reply.integer()?).map_err(|_| foreign())?;
    Ok((removed, reply.integer()? == 1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn whatever_a_script_runs_is_looked_at_among_the_rights() {
        let mut run = BTreeSet::new();
        for script in Script::ALL {
            for call in ["redis.call('", "redis.pcall('"] {
                let calls = script.text().split(call).skip(1);
                run.extend(calls.filter_map(|rest| rest.split_once('\'')).map(|(name, _)| name));
            }
        }
        let list = Script::Adopt.text().split_once("in ipairs({").unwrap().1;
        let list = list.split_once("})").unwrap().0;
        let checked: BTreeSet<_> = list.split('\'').skip(1).step_by(2).collect();
        // What a copy of the store walks with, outside of scripts.
        run.insert("HSCAN");
        assert_eq!(checked, run);
        // All but hints, whose command is an argument and is looked at too.
        let others =
            |text: &'static str| text.matches("call(").count() - text.matches("call('").count();
        let others: usize = Script::ALL.map(|script| others(script.text())).iter().sum();
        assert_eq!(others, 1, "no command is made of words");
    }
}
