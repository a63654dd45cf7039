//! A store between the test and the store in memory.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, BoxFuture, Key, Outcome, Partition, Row, Store, StoreError, memory::MemoryStore,
};
use buswire_testkit::SplitMix64;
use tokio::sync::Semaphore;

type Hook = Box<dyn FnMut(&Batch) -> Fault + Send>;

/// What becomes of a commit.
pub(crate) enum Fault {
    None,
    /// It fails and changes nothing.
    Before(StoreError),
    /// It fails after it changed everything.
    After(StoreError),
    /// It changes everything, and its answer waits for a permit.
    Held(Arc<Semaphore>),
}

/// A store in memory whose commits a test watches or lets fail.
pub(crate) struct Tap {
    inner: MemoryStore,
    hook: Mutex<Hook>,
    gets: AtomicUsize,
    yields: Option<Mutex<SplitMix64>>,
}

impl Tap {
    pub(crate) fn new() -> Arc<Self> {
        let hook: Hook = Box::new(|_| Fault::None);
        let (inner, hook, gets) = (MemoryStore::new(), Mutex::new(hook), AtomicUsize::new(0));
        Arc::new(Self { inner, hook, gets, yields: None })
    }

    /// A store whose calls let others go first, in an order that the seed decides.
    pub(crate) fn turbulent(seed: u64) -> Arc<Self> {
        let hook: Hook = Box::new(|_| Fault::None);
        let yields = Some(Mutex::new(SplitMix64::new(seed)));
        let (inner, hook, gets) = (MemoryStore::new(), Mutex::new(hook), AtomicUsize::new(0));
        Arc::new(Self { inner, hook, gets, yields })
    }

    async fn let_others_go_first(&self) {
        let Some(yields) = &self.yields else { return };
        let count = yields.lock().unwrap().below(4);
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
    }

    /// How many rows were asked for.
    pub(crate) fn gets(&self) -> usize {
        self.gets.load(Ordering::SeqCst)
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
            self.let_others_go_first().await;
            match fault {
                Fault::None => self.inner.commit(batch, ack, now).await,
                Fault::Before(error) => Err(error),
                Fault::Held(gate) => {
                    let outcome = self.inner.commit(batch, ack, now).await;
                    gate.acquire().await.unwrap().forget();
                    outcome
                }
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
        self.gets.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            self.let_others_go_first().await;
            let row = self.inner.get(partition, key, now).await;
            self.let_others_go_first().await;
            row
        })
    }

    buswire_store::forward!(inner: scan read_log grown hints sweep status close);
}
