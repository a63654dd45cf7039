//! Counts concurrent invocations of a tree together: whatever waits goes into one commit.
//!
//! Invocations that count must be written before they are made. Each on its own would compete with
//! the others for the same rows and cost a commit; so the first that comes starts a task that takes
//! all that wait, decides them in order against one reading of their accounts, commits, and answers
//! all of them. No lock is held meanwhile. With several gateways the expectations of the commit keep
//! the count exact. Never here: what a level is; see `ledger`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use buswire_message::Clock;
use buswire_store::{Ack, Batch, Expectation, Operation, StoreError};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::{
    grants::{
        ATTEMPTS, Counted, Grants, contended, keys,
        ledger::{Ledger, Level, Verdict},
        record::encode_bucket,
    },
    names::Handle,
};

/// Claims in one commit. Each has at most 32 levels with 3 expectations, and a batch of the store at
/// most 4096.
const CLAIMS_PER_COMMIT: usize = 32;

type Answer = Result<Verdict, StoreError>;

#[derive(Debug)]
struct Claim {
    levels: Vec<Level>,
    answer: oneshot::Sender<Answer>,
}

/// The invocations that wait to be counted.
#[derive(Debug)]
pub(crate) struct Admission {
    grants: Arc<Grants>,
    clock: Arc<dyn Clock>,
    tracker: TaskTracker,
    waiting_max: usize,
    // A tree is in the map while a task counts for it.
    waiting: Mutex<BTreeMap<Handle, VecDeque<Claim>>>,
}

impl Admission {
    pub(crate) fn new(
        grants: Arc<Grants>,
        clock: Arc<dyn Clock>,
        tracker: TaskTracker,
        waiting_max: usize,
    ) -> Self {
        Self { grants, clock, tracker, waiting_max, waiting: Mutex::default() }
    }

    /// Counts one invocation and says whether it may be made.
    ///
    /// # Errors
    ///
    /// [`StoreError::Retry`] if too many wait, and whatever the store says. A use may then have been
    /// taken though the invocation is not made, never the other way round.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the claim is then still counted, or not, and nobody hears of it.
    pub(crate) async fn admit(self: &Arc<Self>, tree: &Handle, levels: Vec<Level>) -> Answer {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let claim = Claim { levels, answer };
            match waiting.get_mut(tree) {
                Some(queue) if queue.len() >= self.waiting_max => {
                    return Err(StoreError::Retry("too many invocations wait".to_owned()));
                }
                Some(queue) => queue.push_back(claim),
                None => {
                    waiting.insert(tree.clone(), VecDeque::from([claim]));
                    let (this, tree) = (Arc::clone(self), tree.clone());
                    self.tracker.spawn(async move { this.drain(&tree).await });
                }
            }
        }
        answered.await.unwrap_or_else(|_| Err(contended()))
    }

    async fn drain(&self, tree: &Handle) {
        while let Some(claims) = self.take(tree) {
            let verdicts = self.decide(tree, &claims).await;
            match verdicts {
                Ok(verdicts) => {
                    for (claim, verdict) in claims.into_iter().zip(verdicts) {
                        // A caller that left does not want to know.
                        drop(claim.answer.send(Ok(verdict)));
                    }
                }
                Err(error) => {
                    for claim in claims {
                        drop(claim.answer.send(Err(error.clone())));
                    }
                }
            }
        }
    }

    // The next claims; `None`, and the tree is left to the next who comes, if there are none.
    fn take(&self, tree: &Handle) -> Option<Vec<Claim>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = waiting.get_mut(tree)?;
        if queue.is_empty() {
            waiting.remove(tree);
            return None;
        }
        let count = queue.len().min(CLAIMS_PER_COMMIT);
        Some(queue.drain(..count).collect())
    }

    async fn decide(&self, tree: &Handle, claims: &[Claim]) -> Result<Vec<Verdict>, StoreError> {
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            let (mut ledger, counted) = self.grants.ledger(tree, claims, now).await?;
            let verdicts: Vec<_> =
                claims.iter().map(|claim| ledger.claim(&claim.levels, now)).collect();
            let batch = ledger_batch(tree, &ledger, &counted)?;
            if batch.operations.is_empty() {
                return Ok(verdicts);
            }
            // A use that was taken must never come back; a bucket may.
            let takes_use = batch.operations.iter().any(|op| matches!(op, Operation::Raise { .. }));
            let ack = if takes_use { Ack::Safe } else { Ack::Accepted };
            if self.grants.commit(batch, ack, now).await? {
                return Ok(verdicts);
            }
        }
        Err(contended())
    }
}

impl Grants {
    async fn ledger(
        &self,
        tree: &Handle,
        claims: &[Claim],
        now: buswire_message::Timestamp,
    ) -> Result<(Ledger, BTreeMap<Handle, Counted>), StoreError> {
        let mut ledger = Ledger::default();
        let mut counted = BTreeMap::new();
        for level in claims.iter().flat_map(|claim| &claim.levels) {
            if counted.contains_key(&level.handle) {
                continue;
            }
            let Some(loaded) = self.load(tree, &level.handle, now).await? else { continue };
            let one = self.account(tree, &loaded, now).await?;
            let mut account = one.account.clone();
            account.alive &= loaded.grant.bounds.is_current(now);
            ledger.accounts.insert(level.handle.clone(), account);
            counted.insert(level.handle.clone(), one);
        }
        Ok((ledger, counted))
    }
}

fn ledger_batch(
    tree: &Handle,
    ledger: &Ledger,
    counted: &BTreeMap<Handle, Counted>,
) -> Result<Batch, StoreError> {
    let mut batch = Batch::new(keys::tree(tree));
    let mut expectations: Vec<Expectation> = Vec::new();
    for (handle, one) in counted {
        expectations.extend(one.expectations.iter().cloned());
        let Some(account) = ledger.accounts.get(handle).filter(|account| account.touched) else {
            continue;
        };
        let expires = one.keep_until;
        if account.used != one.account.used {
            let key = keys::uses(handle);
            batch.operations.push(Operation::Raise { key, version: account.used, expires });
        }
        if let Some(bucket) = account.bucket.filter(|_| account.bucket != one.account.bucket) {
            let (key, value) = (keys::bucket(handle), encode_bucket(bucket)?);
            batch.operations.push(Operation::Put { key, value, expires });
        }
    }
    batch.expectations.extend(expectations);
    Ok(batch)
}
