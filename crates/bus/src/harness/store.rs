//! A store that fails as told.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, BoxFuture, HintFilter, Hints, LogName, Outcome, Page, Partition, Position, Store,
    StoreError,
};

use super::Fault;

/// A store over another one, whose commits to buses fail as told and whose answers take turns.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    fault: Mutex<Fault>,
    late: Mutex<Vec<(Batch, Timestamp)>>,
    /// The state of a generator that decides how many turns an answer takes; 0 for none.
    turns: AtomicU64,
    reads: AtomicU64,
    is_mute: bool,
}

impl FaultyStore {
    /// A store over `inner` that does not fail yet.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            fault: Mutex::new(Fault::None),
            late: Mutex::default(),
            turns: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            is_mute: false,
        }
    }

    /// Makes every answer take some turns of the scheduler, chosen under `seed`.
    #[must_use]
    pub fn with_turns(self, seed: u64) -> Self {
        self.turns.store(seed | 1, Ordering::Relaxed);
        self
    }

    /// Loses every hint.
    #[must_use]
    pub fn without_hints(self) -> Self {
        Self { is_mute: true, ..self }
    }

    /// How the next commit to a bus fails.
    pub fn set_fault(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn late(&self) -> MutexGuard<'_, Vec<(Batch, Timestamp)>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_fault(&self, batch: &Batch) -> Fault {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let is_bus = batch.partition.as_str().starts_with("bus/");
        if is_bus { std::mem::replace(&mut fault, Fault::None) } else { Fault::None }
    }

    /// How many reads of logs it has answered.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Lets the commits happen that are late.
    pub async fn land(&self) {
        let late = std::mem::take(&mut *self.late());
        for (batch, now) in late {
            self.inner.commit(batch, Ack::Safe, now).await.unwrap();
        }
    }

    /// Forgets the commits that are late.
    pub fn crash(&self) {
        self.late().clear();
        self.set_fault(Fault::None);
    }

    async fn turn(&self) {
        let state = self.turns.load(Ordering::Relaxed);
        if state == 0 {
            return;
        }
        let next = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) | 1;
        self.turns.store(next, Ordering::Relaxed);
        for _ in 0..(next >> 33) % 4 {
            tokio::task::yield_now().await;
        }
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable("a fault of the harness".into())
}

impl Store for FaultyStore {
    fn commit(
        &self,
        batch: Batch,
        ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move {
            let fault = self.take_fault(&batch);
            self.turn().await;
            match fault {
                Fault::None => {}
                Fault::Before => return Err(lost()),
                Fault::Answer => {
                    self.inner.commit(batch, ack, now).await?;
                    return Err(lost());
                }
                Fault::DropBefore => return std::future::pending().await,
                Fault::DropAfter => {
                    self.inner.commit(batch, ack, now).await?;
                    return std::future::pending().await;
                }
                Fault::DropLate => {
                    self.late().push((batch, now));
                    return std::future::pending().await;
                }
            }
            let outcome = self.inner.commit(batch, ack, now).await;
            self.turn().await;
            outcome
        })
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
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.turn().await;
            // Pages are short, so that a window is read in several.
            let page = self.inner.read_log(partition, log, after, limit.min(5), now).await;
            self.turn().await;
            page
        })
    }

    fn hints(&self, filter: HintFilter) -> Hints {
        if self.is_mute { Box::pin(futures::stream::pending()) } else { self.inner.hints(filter) }
    }

    buswire_store::forward!(inner: get scan grown sweep status close);
}
