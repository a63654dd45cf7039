//! The memory engine: the reference that the others are compared with.
//!
//! For tests and for crates that are used alone. Everything is gone when it is dropped. Never here:
//! rules of batches; they are shared with the embedded engine.

use std::sync::{Mutex, MutexGuard, PoisonError};

use buswire_message::{Sequence, Timestamp};

use crate::{
    batch::{Ack, Batch, Outcome},
    error::StoreError,
    hints::Hinter,
    names::{Key, LogName, Partition},
    read::{Direction, Entry, Epoch, KeyRange, Page, Position, Row, RowPage},
    state::{Plan, State, StoredPage, commit_budget},
    store::{BoxFuture, HintFilter, Hints, Store, StoreStatus, Swept},
};

/// How much a [`MemoryStore`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// About how many bytes rows and entries may take together, expired ones that were not swept
    /// included. What would pass it is answered with [`StoreError::Unavailable`], as a full disk
    /// is. Default 1 GiB: enough for any test, and less than what gets a process killed.
    pub bytes: u64,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { bytes: 1024 * 1024 * 1024 }
    }
}

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
    hinter: Hinter,
    limits: MemoryLimits,
}

#[derive(Debug)]
struct Inner {
    state: State,
    closed: bool,
}

impl MemoryStore {
    /// An empty store with the default limits.
    pub fn new() -> Self {
        Self::with_limits(MemoryLimits::default())
    }

    /// An empty store.
    pub fn with_limits(limits: MemoryLimits) -> Self {
        let state = State::new(Epoch(1), Sequence::ZERO);
        Self { inner: Mutex::new(Inner { state, closed: false }), hinter: Hinter::new(), limits }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.lock();
        if inner.closed { Err(StoreError::Unavailable("closed".to_owned())) } else { Ok(inner) }
    }

    fn commit_now(&self, batch: Batch, now: Timestamp) -> Result<Outcome, StoreError> {
        let mut inner = self.open()?;
        sweep(&mut inner.state, now, commit_budget(batch.operations.len()));
        let mut plan = Plan::new(&inner.state);
        let outcome = plan.batch(batch, now)?;
        let mut planned = plan.finish();
        let bytes = inner.state.bytes().saturating_add(planned.added_bytes);
        if planned.added_bytes > 0 && bytes > self.limits.bytes {
            return Err(StoreError::Unavailable("the memory store is full".to_owned()));
        }
        let changed = std::mem::take(&mut planned.changed);
        inner.state.apply(planned);
        drop(inner);
        self.hinter.tell(changed);
        Ok(outcome)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn commit(
        &self,
        batch: Batch,
        _ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move { self.commit_now(batch, now) })
    }

    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a Key,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        Box::pin(async move { Ok(self.open()?.state.get(partition, key, now).cloned()) })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        range: KeyRange,
        limit: usize,
        direction: Direction,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        Box::pin(
            async move { Ok(self.open()?.state.scan(partition, &range, limit, direction, now)) },
        )
    }

    fn read_log<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
        after: Option<Position>,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move {
            let page = self.open()?.state.read_log(partition, log, after, limit, now);
            Ok(resident(page))
        })
    }

    fn hints(&self, filter: HintFilter) -> Hints {
        self.hinter.stream(filter)
    }

    fn sweep(&self, now: Timestamp, budget: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        Box::pin(async move { Ok(sweep(&mut self.open()?.state, now, budget)) })
    }

    fn status(&self) -> StoreStatus {
        let inner = self.lock();
        StoreStatus {
            engine: "memory",
            is_shared: false,
            epoch: inner.state.epoch(),
            unavailable: inner.closed.then(|| "closed".to_owned()),
            waiting: 0,
            disk_bytes: 0,
            disk_free_bytes: None,
            is_full: false,
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.lock().closed = true;
            self.hinter.close();
        })
    }
}

fn sweep(state: &mut State, now: Timestamp, budget: usize) -> Swept {
    let mut plan = Plan::new(state);
    let swept = plan.sweep(now, budget);
    let planned = plan.finish();
    state.apply(planned);
    swept
}

/// The page with its bodies, all of which are in memory.
fn resident(page: StoredPage) -> Page {
    let StoredPage { entries, next, more, gap } = page;
    let entries = entries.into_iter().filter_map(|(sequence, body, expires)| {
        Some(Entry { sequence, body: body.resident?, expires })
    });
    Page { entries: entries.collect(), next, more, gap }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Operation;

    const NOW: Timestamp = Timestamp::from_secs(1_709_993_121);

    fn put(key: &'static str, expires: Option<Timestamp>) -> Batch {
        let value = Bytes::from(vec![0; 1000]);
        let key = Key::new(key).unwrap();
        Batch::new(Partition::new("a").unwrap()).then(Operation::Put { key, value, expires })
    }

    #[tokio::test]
    async fn a_full_store_answers_until_something_expires() {
        let store = MemoryStore::with_limits(MemoryLimits { bytes: 1500 });
        let soon = Timestamp::from_millis(NOW.as_millis() + 1);
        assert!(store.commit(put("a", Some(soon)), Ack::Safe, NOW).await.is_ok());
        let full = Err(StoreError::Unavailable("the memory store is full".to_owned()));
        assert_eq!(store.commit(put("b", None), Ack::Safe, NOW).await, full);
        assert!(store.commit(put("b", None), Ack::Safe, soon).await.is_ok());
        let delete = Operation::Delete { key: Key::new("b").unwrap() };
        let delete = Batch::new(Partition::new("a").unwrap()).then(delete);
        assert!(store.commit(delete, Ack::Safe, soon).await.is_ok());
    }
}
