//! What is done with dead letters: they are shown, tried again, dropped, and age out.
//!
//! Never here: how they are stored.

use std::sync::{Arc, atomic::Ordering};

use buswire_bus::StoredMessage;
use buswire_message::{MessageId, RouteName, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::{Attempt, Attempted, Failure},
    error::RouteError,
    letters::{DeadLetter, DeadLetters, Gone},
    routes::{Routes, SWEEP_EVERY},
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
    /// [`RouteError::Unknown`], [`RouteError::Store`], [`RouteError::Damaged`].
    pub async fn dead_letters(
        &self,
        name: &RouteName,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<DeadLetters, RouteError> {
        self.get(name)?;
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
        self.get(name)?;
        let letter = self.inner.shared.ledger.dead_letter(name, id, self.now()).await?;
        letter.ok_or_else(|| RouteError::NoLetter(name.clone(), id))
    }

    /// Hands a dead letter to the sink of the route as it is now, once and at once, even while the
    /// route is paused. Messages of its channel that came later were delivered before it.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::NoLetter`], [`RouteError::Blocked`],
    /// [`RouteError::Store`], [`RouteError::Damaged`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the sink may have taken it although it is still a dead letter. A sink that knows
    /// repeats by their dedupe key forgets the second.
    pub async fn replay(&self, name: &RouteName, id: MessageId) -> Result<Replayed, RouteError> {
        let replaying = {
            let running = self.lock();
            let running = running.get(name).ok_or_else(|| RouteError::Unknown(name.clone()))?;
            Arc::clone(&running.replaying)
        };
        let _one_at_a_time = replaying.lock().await;
        // Read behind the lock: a change that came first has its say.
        let (route, sink, counters) = {
            let running = self.lock();
            let running = running.get(name).ok_or_else(|| RouteError::Unknown(name.clone()))?;
            let blocked = |why: &String| RouteError::Blocked(name.clone(), why.clone());
            let sink = running.sink.as_ref().map_err(blocked)?;
            (running.route.clone(), Arc::clone(sink), Arc::clone(&running.counters))
        };
        let mut letter = self.dead_letter(name, id).await?;
        let attempt = Attempt {
            sequence: id.sequence(),
            message: StoredMessage::detached(letter.message.clone()),
            number: letter.attempts.saturating_add(1),
        };
        let shared = &self.inner.shared;
        match attempt_once(shared, &route, &*sink, attempt, self.now()).await {
            Attempted::Delivered => {
                counters.delivered.fetch_add(1, Ordering::Relaxed);
                letter.attempts = letter.attempts.saturating_add(1);
                shared.ledger.replayed(name, &letter, self.now()).await?;
                forget(&counters, 1);
                Ok(Replayed::Delivered)
            }
            Attempted::Retry(error) | Attempted::Reject(error) => {
                counters.failed_attempts.fetch_add(1, Ordering::Relaxed);
                letter.attempts = letter.attempts.saturating_add(1);
                letter.failures.note(Failure { at: self.now(), error: error.clone() });
                shared.ledger.keep(name, &letter, self.now()).await?;
                Ok(Replayed::Failed(error))
            }
        }
    }

    /// Drops a dead letter for good.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::NoLetter`], [`RouteError::Store`].
    pub async fn drop_letter(&self, name: &RouteName, id: MessageId) -> Result<(), RouteError> {
        let (replaying, counters) = {
            let running = self.lock();
            let running = running.get(name).ok_or_else(|| RouteError::Unknown(name.clone()))?;
            (Arc::clone(&running.replaying), Arc::clone(&running.counters))
        };
        let _one_at_a_time = replaying.lock().await;
        self.dead_letter(name, id).await?;
        self.remove(name, &counters, id, Gone::Dropped).await
    }

    async fn remove(
        &self,
        name: &RouteName,
        counters: &Counters,
        id: MessageId,
        why: Gone,
    ) -> Result<(), RouteError> {
        self.inner.shared.ledger.remove(name, [id.sequence()], why, self.now()).await?;
        forget(counters, 1);
        Ok(())
    }

    /// Lets dead letters age out until `stop`.
    pub(crate) async fn sweep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.drop_aged().await;
        }
    }

    /// Removes the dead letters that were kept as long as the settings say.
    pub(crate) async fn drop_aged(&self) {
        let routes: Vec<_> = {
            let running = self.lock();
            let with_letters = running
                .iter()
                .filter(|(_, running)| running.counters.letters.load(Ordering::Relaxed) > 0);
            with_letters
                .map(|(name, running)| (name.clone(), Arc::clone(&running.counters)))
                .collect()
        };
        for (name, counters) in routes {
            match self.inner.shared.ledger.drop_aged(&name, self.now()).await {
                Ok(count) => forget(&counters, count),
                Err(error) => {
                    tracing::warn!(route = %name, %error, "dead letters could not be looked through");
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.inner.shared.clock.now()
    }
}

fn forget(counters: &Counters, count: u64) {
    let less = |letters: u64| Some(letters.saturating_sub(count));
    // The closure never refuses.
    counters.letters.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or_default();
}
