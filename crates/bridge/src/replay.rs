//! What is done with dead letters: they are shown, tried again, dropped, and age out.
//!
//! Never here: how they are stored.

use std::sync::atomic::Ordering;

use buswire_bus::StoredMessage;
use buswire_message::{MessageId, RouteName, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::{Attempt, Attempted, Cause, Failure},
    error::RouteError,
    letters::{DeadLetter, DeadLetters, Kept},
    routes::{CHANGES_MAX, Described, Routes, SWEEP_EVERY},
    runner::{Counters, attempt_once},
};

/// What became of a dead letter that was tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// The sink took it; it is no dead letter any more.
    Delivered,
    /// It failed again and stays, for this reason.
    Failed(String),
}

impl Routes {
    /// Dead letters of a route after the message `after`, in the order of their messages.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::Store`].
    pub async fn dead_letters(
        &self,
        name: &RouteName,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<DeadLetters, RouteError> {
        self.described(name).await?;
        let after = after.map(MessageId::sequence);
        self.inner.shared.ledger.dead_letters(name, after, limit, self.now()).await
    }

    /// One dead letter.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::NoLetter`], [`RouteError::Store`],
    /// [`RouteError::Damaged`].
    pub async fn dead_letter(
        &self,
        name: &RouteName,
        id: MessageId,
    ) -> Result<DeadLetter, RouteError> {
        self.described(name).await?;
        Ok(self.kept(name, id).await?.letter)
    }

    async fn kept(&self, name: &RouteName, id: MessageId) -> Result<Kept, RouteError> {
        let kept = self.inner.shared.ledger.dead_letter(name, id, self.now()).await?;
        kept.ok_or_else(|| RouteError::NoLetter(name.clone(), id))
    }

    /// Hands a dead letter to the sink of the route as it is now, once and at once, from this gateway,
    /// even while the route is paused. Messages of its channel that came later were delivered before it.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::NoLetter`], also if it aged out while it was tried in
    /// vain; [`RouteError::Blocked`], [`RouteError::Changed`] if others change it all the time,
    /// [`RouteError::Store`], [`RouteError::Damaged`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the sink may have taken it although it is still a dead letter. A sink that knows
    /// repeats by their dedupe key forgets the second.
    pub async fn replay(&self, name: &RouteName, id: MessageId) -> Result<Replayed, RouteError> {
        let replaying = self.described(name).await?.replaying;
        let _one_at_a_time = replaying.lock().await;
        // Read behind the lock: a change that came first has its say.
        let Described { route, counters, .. } = self.described(name).await?;
        let sink = self.inner.sinks.open(&route.sink);
        let sink = sink.map_err(|why| RouteError::Blocked(name.clone(), why.to_string()))?;
        let kept = self.kept(name, id).await?;
        let number = kept.letter.attempts.saturating_add(1);
        let message = StoredMessage::detached(kept.letter.message.clone());
        let attempt = Attempt { sequence: id.sequence(), message, number };
        let shared = &self.inner.shared;
        let result = attempt_once(shared, &route, &*sink, attempt, self.now()).await;
        let failed = match result {
            Attempted::Delivered => {
                counters.delivered.fetch_add(1, Ordering::Relaxed);
                None
            }
            Attempted::Retry(Cause { text, .. }) | Attempted::Reject(Cause { text, .. }) => {
                counters.failed_attempts.fetch_add(1, Ordering::Relaxed);
                Some(Failure { at: self.now(), error: text })
            }
        };
        self.keep_result(name, kept, failed, &counters).await
    }

    /// Stores what became of a replay, whatever other gateways store of theirs meanwhile.
    async fn keep_result(
        &self,
        name: &RouteName,
        mut kept: Kept,
        failed: Option<Failure>,
        counters: &Counters,
    ) -> Result<Replayed, RouteError> {
        let (ledger, id) = (&self.inner.shared.ledger, kept.letter.message.id);
        for _ in 0..CHANGES_MAX {
            kept.letter.attempts = kept.letter.attempts.saturating_add(1);
            if let Some(failure) = &failed {
                kept.letter.failures.note(failure.clone());
                if ledger.keep(name, &kept, self.now()).await? {
                    return Ok(Replayed::Failed(failure.error.clone()));
                }
            } else if ledger.replayed(name, &kept, self.now()).await? {
                forget_one(counters);
                return Ok(Replayed::Delivered);
            }
            kept = match self.kept(name, id).await {
                Err(RouteError::NoLetter(..)) if failed.is_none() => {
                    return Ok(Replayed::Delivered);
                }
                again => again?,
            };
        }
        Err(RouteError::Changed(name.clone()))
    }

    /// Drops a dead letter for good, also one that can't be read.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::NoLetter`], [`RouteError::Changed`] if others change it all
    /// the time, [`RouteError::Store`].
    pub async fn drop_letter(&self, name: &RouteName, id: MessageId) -> Result<(), RouteError> {
        let Described { replaying, counters, .. } = self.described(name).await?;
        let _one_at_a_time = replaying.lock().await;
        if !self.inner.shared.ledger.drop_letter(name, id, self.now()).await? {
            return Err(RouteError::NoLetter(name.clone(), id));
        }
        forget_one(&counters);
        Ok(())
    }

    /// Lets dead letters age out until `stop`.
    pub(crate) async fn sweep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.drop_aged().await;
        }
    }

    /// Removes the dead letters that were kept as long as the settings say, of the routes that this
    /// gateway runs.
    async fn drop_aged(&self) {
        for (owned, counters) in self.owned() {
            let counted = counters.letters.load(Ordering::Relaxed);
            if counted == 0 {
                continue;
            }
            match self.inner.shared.ledger.drop_aged(&owned, self.now()).await {
                // Those that came meanwhile are counted already; the next time is early enough.
                Ok(left) => {
                    let (set, seen) = (Ordering::Relaxed, Ordering::Relaxed);
                    counters.letters.compare_exchange(counted, left, set, seen).unwrap_or_default();
                }
                Err(error) => {
                    let route = &owned.name;
                    tracing::warn!(%route, %error, "dead letters could not be looked through");
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.inner.shared.clock.now()
    }
}

fn forget_one(counters: &Counters) {
    let less = |letters: u64| Some(letters.saturating_sub(1));
    // The closure never refuses.
    counters.letters.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or_default();
}
