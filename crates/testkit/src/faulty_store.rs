//! A store that fails on purpose: before a commit, after it, late, or without its hints.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use buswire_message::{Sequence, Timestamp};
use buswire_store::{
    Ack, Batch, BoxFuture, Direction, Hint, HintFilter, Hints, Key, KeyRange, LogName, Outcome,
    Page, Partition, Position, Row, RowPage, Store, StoreError, StoreStatus, Swept,
};
use futures::StreamExt;
use tokio::sync::watch;

use crate::SplitMix64;

/// What happens to one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It fails before anything is stored.
    Before,
    /// It is stored, and the answer is lost: the caller is told that the store is unavailable.
    After,
    /// It waits at the [`Gate`] before anything is stored.
    DelayBefore,
    /// It is stored and visible, and the answer waits at the [`Gate`].
    DelayAfter,
}

/// What happens to a hint that a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HintFault {
    /// It becomes [`Hint::Missed`], as an engine says it.
    #[default]
    Admitted,
    /// It is gone without a word. Readers have to survive it by polling now and then.
    Silent,
}

/// How often something goes wrong, each in percent of all calls; 0 is never, 100 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Faults {
    /// Commits that get [`Fault::Before`].
    pub before: u8,
    /// Commits that get [`Fault::After`].
    pub after: u8,
    /// Commits that get [`Fault::DelayBefore`].
    pub delay_before: u8,
    /// Commits that get [`Fault::DelayAfter`].
    pub delay_after: u8,
    /// Reads and sweeps that fail.
    pub read: u8,
    /// Hints that are dropped.
    pub hints: u8,
    /// How they are dropped.
    pub hint_fault: HintFault,
}

/// Holds back delayed commits. Clones are the same gate. Open at first.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    fn new() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }

    /// Lets everybody through who waits and who comes.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Holds everybody who comes.
    pub fn close(&self) {
        self.0.send_replace(false);
    }

    /// Waits until the gate is open. Cancel-safe.
    async fn pass(&self) {
        let mut state = self.0.subscribe();
        // The sender lives in `self`, so this ends only because the gate is open.
        state.wait_for(|open| *open).await.ok();
    }
}

/// A store around another one that fails as scripted, or as a seed decides: the same seed and the
/// same order of calls give the same faults.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    script: Arc<Mutex<Script>>,
    gate: Gate,
    is_shared: bool,
}

#[derive(Debug)]
struct Script {
    faults: Faults,
    random: SplitMix64,
    next: VecDeque<Fault>,
}

impl FaultyStore {
    /// A store around `inner` that does not fail until it is told to.
    pub fn new(inner: Arc<dyn Store>, seed: u64) -> Self {
        let random = SplitMix64::new(seed);
        let script = Script { faults: Faults::default(), random, next: VecDeque::new() };
        let is_shared = inner.status().is_shared;
        Self { inner, script: Arc::new(Mutex::new(script)), gate: Gate::new(), is_shared }
    }

    /// The same store, as one of several processes sees it: each has a `FaultyStore` around the same
    /// inner one.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }

    /// From here on so much goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.script).faults = faults;
    }

    /// The next commit that nothing is scripted for gets `fault`, whatever the seed says.
    pub fn script(&self, fault: Fault) {
        lock(&self.script).next.push_back(fault);
    }

    /// Where delayed commits wait.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// The store inside, which does not fail.
    pub fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn read_fault(&self) -> Result<(), StoreError> {
        if lock(&self.script).hits(|faults| faults.read) { Err(failure()) } else { Ok(()) }
    }
}

impl Script {
    fn hits(&mut self, percent: impl Fn(&Faults) -> u8) -> bool {
        let percent = u64::from(percent(&self.faults));
        percent > 0 && self.random.below(100) < percent
    }

    fn commit_fault(&mut self) -> Fault {
        if let Some(fault) = self.next.pop_front() {
            return fault;
        }
        let mut number = self.random.below(100);
        for (percent, fault) in [
            (self.faults.before, Fault::Before),
            (self.faults.after, Fault::After),
            (self.faults.delay_before, Fault::DelayBefore),
            (self.faults.delay_after, Fault::DelayAfter),
        ] {
            match number.checked_sub(u64::from(percent)) {
                Some(rest) => number = rest,
                None => return fault,
            }
        }
        Fault::None
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failure() -> StoreError {
    StoreError::Unavailable("failed on purpose".to_owned())
}

impl Store for FaultyStore {
    fn commit(
        &self,
        batch: Batch,
        ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move {
            let fault = lock(&self.script).commit_fault();
            match fault {
                Fault::None => self.inner.commit(batch, ack, now).await,
                Fault::Before => Err(failure()),
                Fault::After => self.inner.commit(batch, ack, now).await.and(Err(failure())),
                Fault::DelayBefore => {
                    self.gate.pass().await;
                    self.inner.commit(batch, ack, now).await
                }
                Fault::DelayAfter => {
                    let outcome = self.inner.commit(batch, ack, now).await;
                    self.gate.pass().await;
                    outcome
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
        Box::pin(async move {
            self.read_fault()?;
            self.inner.get(partition, key, now).await
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        range: KeyRange,
        limit: usize,
        direction: Direction,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        Box::pin(async move {
            self.read_fault()?;
            self.inner.scan(partition, range, limit, direction, now).await
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
            self.read_fault()?;
            self.inner.read_log(partition, log, after, limit, now).await
        })
    }

    fn grown<'a>(
        &'a self,
        log: &'a LogName,
        places: &'a [(Partition, Position)],
        through: Sequence,
    ) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        Box::pin(async move {
            self.read_fault()?;
            self.inner.grown(log, places, through).await
        })
    }

    fn hints(&self, filter: HintFilter) -> Hints {
        let script = Arc::clone(&self.script);
        Box::pin(self.inner.hints(filter).filter_map(move |hint| {
            let mut script = lock(&script);
            let kept = if script.hits(|faults| faults.hints) {
                match script.faults.hint_fault {
                    HintFault::Admitted => Some(Hint::Missed),
                    HintFault::Silent => None,
                }
            } else {
                Some(hint)
            };
            std::future::ready(kept)
        }))
    }

    fn sweep(&self, now: Timestamp, budget: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        Box::pin(async move {
            self.read_fault()?;
            self.inner.sweep(now, budget).await
        })
    }

    fn status(&self) -> StoreStatus {
        StoreStatus { is_shared: self.is_shared, ..self.inner.status() }
    }

    buswire_store::forward!(inner: close);
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use buswire_message::Clock;
    use buswire_store::{Operation, memory::MemoryStore};
    use bytes::Bytes;

    use super::*;
    use crate::VirtualClock;

    fn faulty(seed: u64) -> FaultyStore {
        FaultyStore::new(Arc::new(MemoryStore::new()), seed)
    }

    fn a() -> Partition {
        Partition::new("a").unwrap()
    }

    fn put(name: &'static str) -> Batch {
        let value = Bytes::from_static(b"v");
        Batch::new(a()).then(Operation::Put { key: Key::new(name).unwrap(), value, expires: None })
    }

    async fn is_there(store: &FaultyStore, name: &'static str) -> bool {
        let (key, now) = (Key::new(name).unwrap(), VirtualClock::default().now());
        store.inner().get(&a(), &key, now).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn scripted_faults_hit_the_commits_they_are_meant_for() {
        let store = faulty(1);
        let now = VirtualClock::default().now();
        for (fault, name, answered, stored) in [
            (Fault::Before, "before", false, false),
            (Fault::After, "after", false, true),
            (Fault::DelayBefore, "open gate", true, true),
            (Fault::None, "none", true, true),
        ] {
            store.script(fault);
            assert_eq!(store.commit(put(name), Ack::Safe, now).await.is_ok(), answered, "{name}");
            assert_eq!(is_there(&store, name).await, stored, "{name}");
        }
    }

    #[tokio::test]
    async fn the_gate_holds_commits_and_answers() {
        let store = faulty(1);
        let now = VirtualClock::default().now();
        store.gate().close();
        for (fault, name, stored) in
            [(Fault::DelayBefore, "before", false), (Fault::DelayAfter, "after", true)]
        {
            store.script(fault);
            let mut commit = store.commit(put(name), Ack::Safe, now);
            let mut context = Context::from_waker(Waker::noop());
            assert!(matches!(commit.as_mut().poll(&mut context), Poll::Pending));
            assert_eq!(is_there(&store, name).await, stored);
            store.gate().open();
            assert!(commit.await.is_ok());
            assert!(is_there(&store, name).await);
            store.gate().close();
        }
    }

    #[tokio::test]
    async fn a_seed_gives_the_same_faults_again() {
        let run = async |seed| {
            let store = faulty(seed);
            store.set_faults(Faults { before: 30, after: 30, read: 20, ..Faults::default() });
            let now = VirtualClock::default().now();
            let mut seen = Vec::new();
            for _ in 0..100 {
                seen.push(store.commit(put("k"), Ack::Safe, now).await.is_ok());
                let key = Key::new("k").unwrap();
                seen.push(store.get(&a(), &key, now).await.is_ok());
            }
            seen
        };
        assert_eq!(run(5).await, run(5).await);
        assert_ne!(run(5).await, run(6).await);
    }

    #[tokio::test]
    async fn dropped_hints_are_admitted_or_silent() {
        let store = faulty(1);
        let now = VirtualClock::default().now();
        let mut hints = store.hints(HintFilter::All);
        store.set_faults(Faults { hints: 100, ..Faults::default() });
        store.commit(put("k"), Ack::Safe, now).await.unwrap();
        assert_eq!(hints.next().await, Some(Hint::Missed));
        let hint_fault = HintFault::Silent;
        store.set_faults(Faults { hints: 100, hint_fault, ..Faults::default() });
        store.commit(put("k"), Ack::Safe, now).await.unwrap();
        store.close().await;
        assert_eq!(hints.next().await, None);
    }
}
