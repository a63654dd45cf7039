//! The bytes of records in the file.
//!
//! Every number is little-endian; every record begins with the CRC-32C of its key and its other bytes,
//! so that damage is noticed wherever the file is read. Never here: tables and transactions.

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;

use super::crc::keyed_crc32c;
use crate::{
    batch::DedupeId,
    names::{Key, LogName, Partition},
    read::{Revision, Row, RowValue},
    state::{Body, Place, StoredEntry, StoredRow},
};

/// The format that this code writes and the newest that it reads.
pub(super) const FORMAT: u64 = 1;

/// The record can't be what this code wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record does not match its checksum or its form")]
pub(super) struct Malformed;

const KIND_BYTES: u8 = 0;
const KIND_VERSION: u8 = 1;
const KIND_TOMBSTONE: u8 = 2;

/// How many of the latest names a segment looks through before it writes one again.
const NAMES_LOOKED_AT: usize = 16;

/// Stands for "never" where an expiry is stored; no [`Timestamp`] is that late.
const NEVER: u64 = u64::MAX;

/// The record of a row: kind, revision, expiry, partition, key, content.
pub(super) fn encode_row(partition: &Partition, key: &Key, stored: &StoredRow) -> Vec<u8> {
    let row = &stored.row;
    let mut out = begin(64 + partition.as_str().len() + key.as_bytes().len());
    let (kind, content): (u8, &[u8]) = match &row.value {
        RowValue::Bytes(bytes) => (KIND_BYTES, bytes),
        RowValue::Version(version) => (KIND_VERSION, &version.to_le_bytes()),
        RowValue::Tombstone => (KIND_TOMBSTONE, &[]),
    };
    out.push(kind);
    put_u64(&mut out, row.revision.0);
    put_u64(&mut out, row.expires.map_or(NEVER, Timestamp::as_millis));
    put_short(&mut out, partition.as_str().as_bytes());
    put_short(&mut out, key.as_bytes());
    out.extend_from_slice(content);
    seal(stored.id, out)
}

/// Reads what [`encode_row`] wrote; `id` is the key of the record.
pub(super) fn decode_row(id: u64, record: &[u8]) -> Result<(Partition, Key, StoredRow), Malformed> {
    let mut input = Input(unseal(id, record)?);
    let kind = input.u8()?;
    let revision = Revision(input.u64()?);
    let expires = match input.u64()? {
        NEVER => None,
        millis => Some(Timestamp::from_millis(millis)),
    };
    let partition = input.partition()?;
    let key = Key::new(Bytes::copy_from_slice(input.short()?)).map_err(|_| Malformed)?;
    let content = input.0;
    let value = match kind {
        KIND_BYTES => RowValue::Bytes(Bytes::copy_from_slice(content)),
        KIND_VERSION => {
            RowValue::Version(u64::from_le_bytes(content.try_into().map_err(|_| Malformed)?))
        }
        KIND_TOMBSTONE if content.is_empty() => RowValue::Tombstone,
        _ => return Err(Malformed),
    };
    Ok((partition, key, StoredRow { row: Row { value, revision, expires }, id }))
}

/// Collects entries that are stored together: their index in one record, their contents in another.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    /// The first entry, which names the segment.
    pub(super) first: Sequence,
    names: Vec<(Partition, LogName)>,
    index: Vec<u8>,
    bodies: Vec<u8>,
    count: u32,
}

/// The two records of a segment.
#[derive(Debug)]
pub(super) struct SegmentRecords {
    pub(super) first: Sequence,
    pub(super) count: u32,
    pub(super) index: Vec<u8>,
    pub(super) bodies: Bytes,
}

impl SegmentWriter {
    /// A segment that will begin with the entry `first`.
    pub(super) fn new(first: Sequence) -> Self {
        Self { first, names: Vec::new(), index: Vec::new(), bodies: begin(4096), count: 0 }
    }

    /// How many bytes the contents have so far.
    pub(super) fn body_bytes(&self) -> usize {
        self.bodies.len().saturating_sub(4)
    }

    /// Adds an entry and sets its place.
    pub(super) fn push(
        &mut self,
        partition: &Partition,
        log: &LogName,
        sequence: Sequence,
        entry: &mut StoredEntry,
    ) {
        let offset = u32::try_from(self.body_bytes()).unwrap_or(u32::MAX);
        entry.body.place.segment = self.first;
        entry.body.place.offset = offset;
        // Most entries have a name that came just before; a name written twice does no harm.
        let names = self.names.iter().enumerate().rev().take(NAMES_LOOKED_AT);
        let known = names.filter(|(_, (p, l))| p == partition && l == log).map(|(at, _)| at).next();
        let name = known.unwrap_or_else(|| {
            self.names.push((partition.clone(), log.clone()));
            self.names.len() - 1
        });
        put_u32(&mut self.index, u32::try_from(name).unwrap_or(u32::MAX));
        put_u64(&mut self.index, sequence.as_u64());
        put_u64(&mut self.index, entry.expires.as_millis());
        put_u32(&mut self.index, entry.body.place.length);
        put_short(&mut self.index, entry.dedupe.as_ref().map_or(&[], |id| id.as_bytes()));
        self.bodies.extend_from_slice(entry.body.resident.as_deref().unwrap_or_default());
        self.count += 1;
    }

    /// The records.
    pub(super) fn finish(self) -> SegmentRecords {
        let mut index = begin(16 + 64 * self.names.len() + self.index.len());
        put_u32(&mut index, u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        put_u32(&mut index, self.count);
        for (partition, log) in &self.names {
            put_short(&mut index, partition.as_str().as_bytes());
            put_short(&mut index, log.as_str().as_bytes());
        }
        index.extend_from_slice(&self.index);
        SegmentRecords {
            first: self.first,
            count: self.count,
            index: seal(self.first.as_u64(), index),
            bodies: seal(self.first.as_u64(), self.bodies).into(),
        }
    }
}

/// Reads the index of a segment and hands each of its entries to `each`. Gives their number.
pub(super) fn decode_index(
    segment: Sequence,
    record: &[u8],
    mut each: impl FnMut(&Partition, &LogName, Sequence, StoredEntry),
) -> Result<u32, Malformed> {
    // Dedupe ids are slices of this one copy.
    let owned = Bytes::copy_from_slice(unseal(segment.as_u64(), record)?);
    let mut input = Input(&owned);
    let names = input.u32()?;
    let count = input.u32()?;
    let names = (0..names)
        .map(|_| {
            let partition = input.partition()?;
            let log = std::str::from_utf8(input.short()?).map_err(|_| Malformed)?;
            Ok((partition, LogName::new(log).map_err(|_| Malformed)?))
        })
        .collect::<Result<Vec<_>, Malformed>>()?;
    let mut offset = 0_u32;
    for _ in 0..count {
        let name = usize::try_from(input.u32()?).map_err(|_| Malformed)?;
        let (partition, log) = names.get(name).ok_or(Malformed)?;
        let sequence = input.sequence()?;
        let expires = Timestamp::from_millis(input.u64()?);
        let length = input.u32()?;
        let dedupe = input.short()?;
        let dedupe = if dedupe.is_empty() {
            None
        } else {
            Some(DedupeId::new(owned.slice_ref(dedupe)).ok_or(Malformed)?)
        };
        let body = Body { place: Place { segment, offset, length }, resident: None };
        offset = offset.checked_add(length).ok_or(Malformed)?;
        each(partition, log, sequence, StoredEntry { body, expires, dedupe });
    }
    if input.0.is_empty() { Ok(count) } else { Err(Malformed) }
}

/// A copy of the record of a segment's contents, after checking it.
pub(super) fn decode_bodies(segment: Sequence, record: &[u8]) -> Result<Bytes, Malformed> {
    unseal(segment.as_u64(), record)?;
    Ok(Bytes::copy_from_slice(record))
}

/// The content at `place` in the record of its segment's contents.
pub(super) fn body_at(record: &Bytes, place: Place) -> Option<Bytes> {
    // The checksum comes first.
    let start = (place.offset as usize).checked_add(4)?;
    let end = start.checked_add(place.length as usize)?;
    (end <= record.len()).then(|| record.slice(start..end))
}

/// Room for the checksum, then for `capacity` bytes.
fn begin(capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity + 4);
    put_u32(&mut out, 0);
    out
}

fn seal(key: u64, mut record: Vec<u8>) -> Vec<u8> {
    if let Some((head, content)) = record.split_first_chunk_mut::<4>() {
        *head = keyed_crc32c(key, content).to_le_bytes();
    }
    record
}

fn unseal(key: u64, record: &[u8]) -> Result<&[u8], Malformed> {
    let (head, content) = record.split_first_chunk::<4>().ok_or(Malformed)?;
    let is_whole = u32::from_le_bytes(*head) == keyed_crc32c(key, content);
    if is_whole { Ok(content) } else { Err(Malformed) }
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Bytes of at most 1024, the longest that a name may have, after their length.
fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// What is left to read of a record.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (chunk, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.chunk()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.chunk()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.chunk()?))
    }

    fn sequence(&mut self) -> Result<Sequence, Malformed> {
        Sequence::from_u64(self.u64()?).ok_or(Malformed)
    }

    fn short(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::from(u16::from_le_bytes(self.chunk()?));
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn partition(&mut self) -> Result<Partition, Malformed> {
        let text = std::str::from_utf8(self.short()?).map_err(|_| Malformed)?;
        Partition::new(text).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_row() -> impl Strategy<Value = Row> {
        let value = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..50).prop_map(|b| RowValue::Bytes(b.into())),
            any::<u64>().prop_map(RowValue::Version),
            Just(RowValue::Tombstone),
        ];
        let expires = prop::option::of(any::<u64>().prop_map(Timestamp::from_millis));
        (value, any::<u64>(), expires).prop_map(|(value, revision, expires)| Row {
            value,
            revision: Revision(revision),
            expires,
        })
    }

    proptest! {
        #[test]
        fn a_row_survives_its_record(row in a_row(), flipped in any::<prop::sample::Index>()) {
            let (partition, key) = (Partition::new("a/b").unwrap(), Key::new("k").unwrap());
            let mut record = encode_row(&partition, &key, &StoredRow { row: row.clone(), id: 7 });
            prop_assert!(decode_row(8, &record).is_err());
            let (p, k, stored) = decode_row(7, &record).unwrap();
            prop_assert_eq!((p, k, stored.row, stored.id), (partition, key, row, 7));
            let at = flipped.index(record.len());
            record[at] ^= 1;
            prop_assert!(decode_row(7, &record).is_err());
        }

        #[test]
        fn garbage_is_refused_without_a_panic(record in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode_row(1, &record).is_err());
            prop_assert!(decode_index(Sequence::ZERO, &record, |_, _, _, _| ()).is_err());
            // The same with a checksum that matches.
            let record = seal(1, record);
            decode_row(1, &record).ok();
            decode_index(Sequence::from_u64(1).unwrap(), &record, |_, _, _, _| ()).ok();
        }

        #[test]
        fn a_segment_survives_its_records(
            entries in prop::collection::vec(
                (0..3_usize, prop::collection::vec(any::<u8>(), 0..20), prop::option::of("[a-z]{1,9}")),
                1..20,
            ),
        ) {
            let names = ["a", "b", "c"].map(|name| {
                (Partition::new(name).unwrap(), LogName::new(name).unwrap())
            });
            let first = Sequence::from_u64(5).unwrap();
            let mut writer = SegmentWriter::new(first);
            let mut expected = Vec::new();
            for (index, (name, body, dedupe)) in entries.into_iter().enumerate() {
                let sequence = Sequence::from_u64(5 + index as u64).unwrap();
                let mut entry = StoredEntry {
                    body: Body::resident(sequence, Bytes::from(body.clone())),
                    expires: Timestamp::from_millis(index as u64),
                    dedupe: dedupe.map(|id| DedupeId::new(id).unwrap()),
                };
                let (partition, log) = &names[name];
                writer.push(partition, log, sequence, &mut entry);
                expected.push((partition.clone(), log.clone(), sequence, entry, body));
            }
            let records = writer.finish();
            let bodies = decode_bodies(first, &records.bodies).unwrap();
            let mut expected = expected.into_iter();
            let count = decode_index(first, &records.index, |partition, log, sequence, entry| {
                let (p, l, s, e, body) = expected.next().unwrap();
                assert_eq!((partition, log, sequence), (&p, &l, s));
                assert_eq!(entry.body.place, e.body.place);
                assert_eq!((entry.expires, entry.dedupe), (e.expires, e.dedupe));
                assert_eq!(body_at(&bodies, entry.body.place).unwrap(), body);
            });
            prop_assert_eq!(count, Ok(records.count));
        }
    }
}
