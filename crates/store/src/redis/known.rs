//! What this process knows of each shard, so that it notices when acknowledged writes are gone.
//!
//! Never here: I/O.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{keys::Shard, wire::Seen};
use crate::read::Epoch;

/// What is known of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Knowledge {
    /// The run of the server that was last looked at.
    pub(super) run: Option<String>,
    /// The epoch that was last seen.
    pub(super) epoch: Option<Epoch>,
    /// The epoch that was last seen over a connection that came about: that of positions that callers
    /// may have. What an attempt to write again began is not it, so that the next attempt begins no
    /// other one.
    pub(super) told: Option<Epoch>,
    /// The greatest sequence or revision that was seen.
    pub(super) sequence: u64,
}

/// What is known of every shard.
#[derive(Debug)]
pub(super) struct Known {
    shards: Mutex<Vec<Knowledge>>,
    /// The greatest sequence of all shards.
    greatest: AtomicU64,
}

impl Known {
    /// Nothing, of so many shards.
    pub(super) fn new(shards: u16) -> Self {
        let shards = Mutex::new(vec![Knowledge::default(); usize::from(shards)]);
        Self { shards, greatest: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Knowledge>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of `shard`.
    pub(super) fn of(&self, shard: Shard) -> Knowledge {
        self.lock().get(usize::from(shard.0)).cloned().unwrap_or_default()
    }

    /// The greatest sequence that was seen in any shard.
    pub(super) fn greatest(&self) -> u64 {
        self.greatest.load(Ordering::Acquire)
    }

    /// A reply showed this.
    pub(super) fn see(&self, shard: Shard, seen: Seen) {
        self.look(shard, seen);
        if let Some(known) = self.lock().get_mut(usize::from(shard.0)) {
            known.told = known.told.max(Some(seen.epoch));
        }
    }

    /// The same while a connection is being made: no caller is told of it.
    pub(super) fn look(&self, shard: Shard, seen: Seen) {
        self.greatest.fetch_max(seen.sequence, Ordering::AcqRel);
        if let Some(known) = self.lock().get_mut(usize::from(shard.0)) {
            known.epoch = known.epoch.max(Some(seen.epoch));
            known.sequence = known.sequence.max(seen.sequence);
        }
    }

    /// Writes were lost, and this epoch began.
    pub(super) fn lose(&self, shard: Shard, seen: Seen) {
        let epoch = seen.epoch.0;
        tracing::warn!(
            shard = shard.0,
            epoch,
            "the server may have lost writes; a new epoch begins"
        );
        self.look(shard, seen);
    }

    /// The shard was found in this run.
    pub(super) fn adopt(&self, shard: Shard, run: &str, seen: Seen) {
        let epoch = seen.epoch;
        self.greatest.fetch_max(seen.sequence, Ordering::AcqRel);
        if let Some(known) = self.lock().get_mut(usize::from(shard.0)) {
            if known.epoch.is_some_and(|old| old != epoch) {
                tracing::warn!(
                    shard = shard.0,
                    epoch = epoch.0,
                    "another gateway found that writes may be lost; a new epoch began"
                );
            }
            known.run = Some(run.to_owned());
            known.epoch = Some(epoch);
            known.told = Some(epoch);
            known.sequence = known.sequence.max(seen.sequence);
        }
    }

    /// The latest epoch of all shards.
    pub(super) fn epoch(&self) -> Epoch {
        self.lock().iter().filter_map(|known| known.epoch).max().unwrap_or(Epoch(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: Shard = Shard(0);

    fn seen(epoch: u64, sequence: u64) -> Seen {
        Seen { epoch: Epoch(epoch), sequence }
    }

    fn epochs(known: &Known) -> (Option<Epoch>, Option<Epoch>) {
        let known = known.of(SHARD);
        (known.epoch, known.told)
    }

    #[test]
    fn an_epoch_that_a_failed_attempt_began_is_not_one_that_callers_know() {
        let known = Known::new(1);
        known.adopt(SHARD, "first", seen(7, 1));
        known.see(SHARD, seen(8, 2));
        assert_eq!(epochs(&known), (Some(Epoch(8)), Some(Epoch(8))), "another process began it");
        known.lose(SHARD, seen(9, 3));
        known.look(SHARD, seen(9, 4));
        assert_eq!(epochs(&known), (Some(Epoch(9)), Some(Epoch(8))));
        assert_eq!((known.of(SHARD).sequence, known.greatest()), (4, 4));
        known.adopt(SHARD, "second", seen(9, 4));
        assert_eq!(epochs(&known), (Some(Epoch(9)), Some(Epoch(9))));
    }
}
