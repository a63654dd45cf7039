//! A store that can be held and made to fail.

use std::{
    future::poll_fn,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, BoxFuture, Direction, Key, KeyRange, Outcome, Partition, Row, RowPage, Store,
    StoreError, memory::MemoryStore,
};

use super::Failure;
use crate::table::lock;

/// Calls that wait while the store is held are carried out when they are polled after its release.
#[derive(Debug)]
pub(super) struct FlakyStore {
    inner: MemoryStore,
    held: AtomicBool,
    failures: Mutex<Vec<Failure>>,
}

impl FlakyStore {
    pub(super) fn new() -> Self {
        let held = AtomicBool::new(false);
        Self { inner: MemoryStore::new(), held, failures: Mutex::default() }
    }

    pub(super) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    pub(super) fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    pub(super) fn fail(&self, failure: Failure, times: u8) {
        lock(&self.failures).extend((0..times).map(|_| failure));
    }

    pub(super) fn recover(&self) {
        lock(&self.failures).clear();
    }

    async fn turn(&self) -> Option<Failure> {
        poll_fn(|_| if self.held.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(()) })
            .await;
        lock(&self.failures).pop()
    }

    async fn call<T>(&self, call: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
        let failed = || StoreError::Unavailable("as the test wants it".to_owned());
        match self.turn().await {
            None => call.await,
            Some(Failure::Before) => Err(failed()),
            Some(Failure::After) => {
                call.await?;
                Err(failed())
            }
        }
    }
}

impl Store for FlakyStore {
    fn commit(
        &self,
        batch: Batch,
        ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(self.call(self.inner.commit(batch, ack, now)))
    }

    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a Key,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        Box::pin(self.call(self.inner.get(partition, key, now)))
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        range: KeyRange,
        limit: usize,
        direction: Direction,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        // Pages of two rows, so that reading goes on where a page ends.
        Box::pin(self.call(self.inner.scan(partition, range, limit.min(2), direction, now)))
    }

    buswire_store::forward!(inner: read_log grown hints sweep status close);
}
