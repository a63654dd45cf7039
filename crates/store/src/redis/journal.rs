//! What was acknowledged lately, to be written again if the server loses it.
//!
//! Asynchronous replication loses the last moments when another master takes over. Whoever lives on and
//! was told that something is written keeps that for a minute, and buried rows until they end. Never
//! here: finding out that something was lost.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buswire_message::Timestamp;

use super::keys::Shard;
use crate::batch::{Applied, Batch, Operation, Outcome};

/// How long everything is kept. Replication is behind by less, or it is broken and `INFO` says so.
const KEPT: Duration = Duration::from_secs(60);

/// The most bytes of batches that are kept (64 MiB); the oldest go first.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most batches with buried rows that are kept for longer; the oldest go first.
const BURIALS_MAX: usize = 65_536;

/// What a batch is taken to cost beside its content, in bytes.
const OVERHEAD_BYTES: usize = 256;

/// The effect of a batch that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) shard: Shard,
    pub(super) now: Timestamp,
    /// The operations that were not in vain, without expectations.
    pub(super) batch: Batch,
    /// For each of them the sequence or revision that it was given.
    pub(super) numbers: Vec<u64>,
}

impl Written {
    /// What `batch` came to when it was committed; `last` is the greatest number given by then.
    pub(super) fn new(
        shard: Shard,
        batch: Batch,
        applied: &[Applied],
        last: u64,
        now: Timestamp,
    ) -> Self {
        let mut effect = Batch::new(batch.partition);
        let mut numbers = Vec::with_capacity(applied.len());
        for (operation, applied) in batch.operations.into_iter().zip(applied) {
            numbers.push(match applied {
                // Who appended it first may be gone, or was never told so.
                Applied::Appended(position) | Applied::Repeated(position) => {
                    position.sequence.as_u64()
                }
                Applied::Row(revision) => revision.0,
                Applied::Deleted => last,
                Applied::Buried => continue,
            });
            effect.operations.push(operation);
        }
        Self { shard, now, batch: effect, numbers }
    }

    /// What it came to when it was applied again. All of it is kept, since yet another server may lack
    /// what this one had; and with the numbers of its own writes, since a row may be another's by now.
    pub(super) fn again(self, applied: &[Applied]) -> Self {
        let mut effect = Batch::new(self.batch.partition);
        let mut numbers = Vec::with_capacity(applied.len());
        let operations = self.batch.operations.into_iter().zip(self.numbers);
        for ((operation, number), applied) in operations.zip(applied) {
            numbers.push(match applied {
                Applied::Appended(position) | Applied::Repeated(position) => {
                    position.sequence.as_u64()
                }
                Applied::Row(_) | Applied::Deleted => number,
                Applied::Buried => continue,
            });
            effect.operations.push(operation);
        }
        Self { batch: effect, numbers, ..self }
    }

    fn bytes(&self) -> usize {
        self.batch.value_bytes() + OVERHEAD_BYTES * (1 + self.numbers.len())
    }

    /// The rows that it buried beyond `now`, if there are any.
    fn burials(self, now: Timestamp) -> Option<Self> {
        let mut kept = Batch::new(self.batch.partition);
        let mut numbers = Vec::new();
        for (operation, number) in self.batch.operations.into_iter().zip(self.numbers) {
            if matches!(operation, Operation::Tombstone { until, .. } if now < until) {
                kept.operations.push(operation);
                numbers.push(number);
            }
        }
        let kept = Self { batch: kept, numbers, ..self };
        (!kept.numbers.is_empty()).then_some(kept)
    }
}

/// What was acknowledged lately, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    recent: VecDeque<Written>,
    bytes: usize,
    burials: VecDeque<Written>,
    /// When it was last said that less than a minute is kept.
    told: Option<Timestamp>,
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was acknowledged.
    pub(super) fn note(&self, written: Written) {
        if !written.numbers.is_empty() {
            self.lock().push(written);
        }
    }

    /// Takes out all that is kept of `shard`, oldest first.
    pub(super) fn take(&self, shard: Shard) -> Taken<'_> {
        let mut inner = self.lock();
        let mut left = take_of(&mut inner.burials, shard);
        left.append(&mut take_of(&mut inner.recent, shard));
        inner.bytes = inner.recent.iter().map(Written::bytes).sum();
        Taken { journal: self, left }
    }
}

/// What was taken out of a journal. What is left of it when it is dropped is kept on: however writing
/// it again ends, nothing is forgotten.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    journal: &'a Journal,
    left: VecDeque<Written>,
}

impl Taken<'_> {
    /// How much is left.
    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    /// The oldest that is left.
    pub(super) fn oldest(&self) -> Option<&Written> {
        self.left.front()
    }

    /// The oldest was written again, and came to this.
    pub(super) fn done(&mut self, outcome: &Outcome) {
        if let (Some(written), Outcome::Committed(applied)) = (self.left.pop_front(), outcome) {
            self.journal.note(written.again(applied));
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for written in self.left.drain(..) {
            self.journal.note(written);
        }
    }
}

impl Inner {
    fn push(&mut self, written: Written) {
        let now = written.now;
        self.bytes += written.bytes();
        self.recent.push_back(written);
        while let Some(oldest) = self.recent.pop_front() {
            if self.bytes <= BYTES_MAX && now < oldest.now.saturating_add(KEPT) {
                self.recent.push_front(oldest);
                break;
            }
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            if now < oldest.now.saturating_add(KEPT) {
                self.tell(now, oldest.now);
            }
            self.burials.extend(oldest.burials(now));
        }
        while self.burials.len() > BURIALS_MAX {
            self.burials.pop_front();
        }
    }
}

impl Inner {
    /// Says once a minute that the bound of bytes, and not that of time, decides what is kept.
    fn tell(&mut self, now: Timestamp, oldest: Timestamp) {
        if self.told.is_none_or(|told| told.saturating_add(KEPT) <= now) {
            self.told = Some(now);
            let seconds = now.as_millis().saturating_sub(oldest.as_millis()) / 1000;
            tracing::warn!(seconds, "less than a minute of writes is remembered for a failover");
        }
    }
}

fn take_of(all: &mut VecDeque<Written>, shard: Shard) -> VecDeque<Written> {
    let (taken, left) = std::mem::take(all).into_iter().partition(|written| written.shard == shard);
    *all = left;
    taken
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        names::{Key, Partition},
        read::Revision,
    };

    const NOW: Timestamp = Timestamp::from_secs(1_709_993_121);

    fn put(length: usize) -> Operation {
        let value = Bytes::from(vec![0; length]);
        Operation::Put { key: Key::new("k").unwrap(), value, expires: None }
    }

    fn bury(seconds: u64) -> Operation {
        let until = Timestamp::from_secs(NOW.as_secs() + seconds);
        Operation::Tombstone { key: Key::new("t").unwrap(), until }
    }

    fn written(number: u64, seconds: u64, operations: Vec<Operation>) -> Written {
        let applied = vec![Applied::Row(Revision(number)); operations.len()];
        let mut batch = Batch::new(Partition::new("p").unwrap());
        batch.operations.extend(operations);
        Written::new(
            Shard(0),
            batch,
            &applied,
            number,
            Timestamp::from_secs(NOW.as_secs() + seconds),
        )
    }

    fn numbers(journal: &Journal) -> Vec<u64> {
        let mut taken = journal.take(Shard(0));
        std::mem::take(&mut taken.left).into_iter().flat_map(|written| written.numbers).collect()
    }

    #[test]
    fn a_minute_is_kept_and_buried_rows_until_they_end() {
        let journal = Journal::default();
        journal.note(written(1, 0, vec![put(1), bury(30)]));
        journal.note(written(2, 0, vec![put(1), bury(300)]));
        journal.note(written(3, 59, vec![put(1)]));
        assert_eq!(journal.take(Shard(1)).len(), 0);
        journal.note(written(4, 61, vec![put(1)]));
        assert_eq!(numbers(&journal), [2, 3, 4]);
        assert_eq!(numbers(&journal), [0_u64; 0], "it was taken out");
    }

    #[test]
    fn what_was_not_written_again_is_kept_on_however_it_ended() {
        let journal = Journal::default();
        for number in 1..=3 {
            journal.note(written(number, 0, vec![put(1)]));
        }
        let mut taken = journal.take(Shard(0));
        assert_eq!(taken.len(), 3);
        taken.done(&Outcome::Committed([Applied::Row(Revision(9))].into_iter().collect()));
        assert_eq!(taken.oldest().map(|written| &written.numbers[..]), Some(&[2][..]));
        drop(taken);
        assert_eq!(numbers(&journal), [1, 2, 3], "each is there, with its own number");
    }

    #[test]
    fn bytes_have_a_bound() {
        let journal = Journal::default();
        for number in 0..20 {
            journal.note(written(number, 0, vec![put(8 * 1024 * 1024)]));
        }
        assert_eq!(numbers(&journal), (13..20).collect::<Vec<_>>());
    }

    #[test]
    fn what_had_no_effect_is_not_kept() {
        let batch = Batch::new(Partition::new("p").unwrap()).then(put(1)).then(bury(9));
        let applied = [Applied::Buried, Applied::Row(Revision(7))];
        let written = Written::new(Shard(0), batch, &applied, 9, NOW);
        assert_eq!(
            (written.batch.operations.as_slice(), written.numbers),
            (&[bury(9)][..], vec![7])
        );
    }
}
