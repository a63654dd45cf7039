//! A storage in memory, for tests and for programs that need no durability. Never here: rules of
//! Titanic.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::RecordKey;
use super::storage::{Storage, StorageError, Stored};
use crate::BoxFuture;
use crate::io::Clock;

/// Records of one [`Storage::page`].
const PAGE: usize = 100;

/// Keeps records in memory: durable as long as it is not dropped. Bounded by what
/// [`Config`](super::Config) admits, and as many records again that are past their lifetime.
#[derive(Debug)]
pub struct MemoryStorage {
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<RecordKey, Kept>,
    revision: u64,
    /// With so many records, those past their lifetime are looked for.
    sweep_at: usize,
}

#[derive(Debug)]
struct Kept {
    record: Bytes,
    revision: u64,
    expires: Duration,
}

impl MemoryStorage {
    /// A storage without records.
    pub fn new() -> Self {
        Self { clock: Clock::start(), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, inner: &mut Inner, key: RecordKey, record: Bytes, lifetime: Duration) {
        let now = self.clock.now();
        if inner.records.len() >= inner.sweep_at {
            inner.records.retain(|_, kept| kept.expires > now);
            inner.sweep_at = 2 * inner.records.len() + PAGE;
        }
        inner.revision += 1;
        let revision = inner.revision;
        inner.records.insert(key, Kept { record, revision, expires: now.saturating_add(lifetime) });
    }

    fn visible(&self, kept: &Kept) -> Option<Stored> {
        let remaining = kept.expires.saturating_sub(self.clock.now());
        let (record, revision) = (kept.record.clone(), kept.revision);
        let stored = Stored { record, revision, remaining, is_ours: true };
        Some(stored).filter(|_| remaining > Duration::ZERO)
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl Storage for MemoryStorage {
    fn insert(
        &self,
        key: RecordKey,
        record: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            self.put(&mut self.lock(), key, record, lifetime);
            Ok(())
        })
    }

    fn load(&self, key: RecordKey) -> BoxFuture<'_, Result<Option<Stored>, StorageError>> {
        Box::pin(
            async move { Ok(self.lock().records.get(&key).and_then(|kept| self.visible(kept))) },
        )
    }

    fn replace(
        &self,
        key: RecordKey,
        revision: u64,
        record: Bytes,
        lifetime: Duration,
    ) -> BoxFuture<'_, Result<bool, StorageError>> {
        Box::pin(async move {
            let mut inner = self.lock();
            let stored = inner.records.get(&key).and_then(|kept| self.visible(kept));
            let unchanged = stored.is_some_and(|stored| stored.revision == revision);
            if unchanged {
                self.put(&mut inner, key, record, lifetime);
            }
            Ok(unchanged)
        })
    }

    fn remove(&self, key: RecordKey) -> BoxFuture<'_, Result<(), StorageError>> {
        Box::pin(async move {
            self.lock().records.remove(&key);
            Ok(())
        })
    }

    fn page(
        &self,
        after: Option<RecordKey>,
    ) -> BoxFuture<'_, Result<Vec<(RecordKey, Stored)>, StorageError>> {
        Box::pin(async move {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let inner = self.lock();
            let records = inner.records.range((start, Bound::Unbounded));
            let visible = records.filter_map(|(key, kept)| Some((*key, self.visible(kept)?)));
            Ok(visible.take(PAGE).collect())
        })
    }
}
