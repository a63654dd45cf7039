//! A store between the test and the store in memory.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, BoxFuture, Direction, HintFilter, Hints, Key, KeyRange, LogName, Outcome, Page,
    Partition, Position, Row, RowPage, Store, StoreError, StoreStatus, Swept, memory::MemoryStore,
};

type Hook = Box<dyn FnMut(&Batch) -> Fault + Send>;

/// What becomes of a commit.
pub(crate) enum Fault {
    None,
    /// It fails and changes nothing.
    Before(StoreError),
    /// It fails after it changed everything.
    After(StoreError),
}

/// A store in memory whose commits a test watches or lets fail.
pub(crate) struct Tap {
    inner: MemoryStore,
    hook: Mutex<Hook>,
}

impl Tap {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryStore::new(), hook: Mutex::new(Box::new(|_| Fault::None)) })
    }

    pub(crate) fn on_commit(&self, hook: impl FnMut(&Batch) -> Fault + Send + 'static) {
        *self.hook.lock().unwrap() = Box::new(hook);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

impl Store for Tap {
    fn commit(
        &self,
        batch: Batch,
        ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        let fault = (self.hook.lock().unwrap())(&batch);
        Box::pin(async move {
            match fault {
                Fault::None => self.inner.commit(batch, ack, now).await,
                Fault::Before(error) => Err(error),
                Fault::After(error) => {
                    self.inner.commit(batch, ack, now).await?;
                    Err(error)
                }
            }
        })
    }

    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a Key,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        self.inner.get(partition, key, now)
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        range: KeyRange,
        limit: usize,
        direction: Direction,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        self.inner.scan(partition, range, limit, direction, now)
    }

    fn read_log<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
        after: Option<Position>,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.inner.read_log(partition, log, after, limit, now)
    }

    fn hints(&self, filter: HintFilter) -> Hints {
        self.inner.hints(filter)
    }

    fn sweep(&self, now: Timestamp, budget: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.inner.sweep(now, budget)
    }

    fn status(&self) -> StoreStatus {
        self.inner.status()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
