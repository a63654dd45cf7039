//! Titanic at a broker: takes in what is stored, and sends requests to their services.
//!
//! Never here: what may be tried when; that is the ledger's.

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use tokio::task::{AbortHandle, Id, JoinSet};

use super::ledger::{Attempt, Counts, Ended, Ledger};
use super::record::{Damaged, Record};
use super::services::{Loaded, Randomness, RecordError, Shared, TitanicService};
use super::{Config, RecordKey, Storage, StorageError};
use crate::{BrokerHandle, RegisterError, RequestError};

/// Workers that another broker is taken to have, so that it is asked 16 times at once (two for each).
const WORKERS_ELSEWHERE: usize = 8;

/// A Titanic of one broker. Clones are the same one.
#[derive(Clone)]
pub struct Titanic {
    shared: Arc<Shared>,
    broker: BrokerHandle,
}

/// Why Titanic can't be offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// What is stored can't be read.
    #[error("what Titanic stored can't be read")]
    Storage(#[from] StorageError),
    /// A service can't be registered.
    #[error("Titanic's services can't be registered")]
    Register(#[from] RegisterError),
}

/// Why an attempt has no reply.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl fmt::Debug for Titanic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Titanic").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Titanic {
    /// Takes in what `storage` holds and offers `titanic.request`, `titanic.reply` and
    /// `titanic.close` at `broker`. Requests are sent to their services while [`run`](Self::run)
    /// runs.
    ///
    /// A stored record that can't be read is left where it is, logged, and never tried.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if what is stored can't be read, or the broker stopped.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; some of the services may be registered.
    pub async fn open(
        broker: BrokerHandle,
        storage: Arc<dyn Storage>,
        randomness: Randomness,
        config: Config,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(storage, randomness, config));
        restore(&shared).await?;
        for (name, service) in TitanicService::all(&shared) {
            broker.register(&name, service).await?;
        }
        Ok(Self { shared, broker })
    }

    /// Takes in what the storage has for this process and it does not know yet: what belonged to
    /// another process that is gone. To be called when one may be.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: a part may have been taken in; call it again.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; a part may have been taken in.
    pub async fn take_in(&self) -> Result<(), StorageError> {
        restore(&self.shared).await?;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Returns what is kept, and what was counted since the start.
    pub fn counts(&self) -> Counts {
        self.shared.with(|ledger, _| ledger.counts())
    }

    /// Sends requests to their services until `stop` is ready; then waits for the attempts under way,
    /// which end with the broker at the latest. To be run once at a time.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop for good: attempts under way are withdrawn, and their requests are pending again
    /// after the next start.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut registrations = self.broker.registrations();
        let mut attempts = Attempts::default();
        loop {
            self.look(&mut attempts).await;
            tokio::select! {
                () = &mut stop => break,
                registered = registrations.changed() => {
                    if registered.is_err() {
                        // The broker stopped: what is under way ends, and nothing can begin.
                        stop.await;
                        break;
                    }
                    self.shared.with(Ledger::note_worker);
                }
                Some((attempt, ended)) = attempts.next() => {
                    self.note(&attempt, ended);
                    if matches!(ended, Ended::Done { .. })
                        && let Some(next) = self.shared.with(|ledger, _| ledger.follow(&attempt.service))
                    {
                        self.begin(&mut attempts, next);
                    }
                }
                () = self.shared.changed.notified() => {}
                () = self.timeout() => self.shared.with(Ledger::handle_timeout),
            }
        }
        while let Some((attempt, ended)) = attempts.next().await {
            self.note(&attempt, ended);
        }
    }

    /// Begins what can begin now that something changed.
    async fn look(&self, attempts: &mut Attempts) {
        if !self.shared.with(|ledger, now| ledger.wants_look(now)) {
            return;
        }
        let services = self.broker.services().await.into_iter();
        let available: Vec<_> = services
            .filter(|service| service.is_served() && !service.paused)
            .map(|service| (service.name, takers(service.workers, service.elsewhere.len())))
            .collect();
        for attempt in self.shared.with(|ledger, now| ledger.start(now, &available)) {
            self.begin(attempts, attempt);
        }
    }

    fn begin(&self, attempts: &mut Attempts, attempt: Attempt) {
        let (titanic, key) = (self.clone(), attempt.key);
        let work = async move {
            match titanic.attempt(key).await {
                Ok(ended) => ended,
                Err(error) => {
                    tracing::debug!(why = ?error, "an attempt of Titanic failed");
                    Ended::Failed
                }
            }
        };
        let handle = attempts.begin(attempt, work);
        self.shared.attempts().insert(key, handle);
    }

    /// Sends a request to its service and stores the reply.
    async fn attempt(&self, key: RecordKey) -> Result<Ended, AttemptError> {
        let Config { attempt_timeout, reply_ttl, message_bytes_max, .. } = self.shared.config;
        // What another process has taken over is its to send.
        let loaded = self.shared.load(key).await?.filter(|loaded| loaded.is_ours);
        let Some(Loaded { record, revision, .. }) = loaded else { return Ok(Ended::Gone) };
        let Record::Request { service, body } = record else {
            // An earlier attempt stored a reply without learning that it did.
            let bytes = record.encode().len();
            return Ok(Ended::Done { bytes, remaining: reply_ttl });
        };
        let reply = self.broker.request(&service, body, attempt_timeout).await?;
        let mut record = Record::Reply(reply).encode();
        if record.len() > message_bytes_max {
            tracing::warn!(%service, bytes = record.len(), "a reply is too long for Titanic");
            record = Record::Unanswerable.encode();
        }
        let (bytes, remaining) = (record.len(), reply_ttl);
        // The reply has a place only where the request still stands: a closed one stays closed.
        let replaced = self.shared.storage.replace(key, revision, record, remaining).await;
        let replaced = replaced.map_err(RecordError::from)?;
        Ok(if replaced { Ended::Done { bytes, remaining } } else { Ended::Gone })
    }

    fn note(&self, attempt: &Attempt, ended: Ended) {
        self.shared.attempts().remove(&attempt.key);
        self.shared.with(|ledger, now| ledger.ended(now, attempt, ended));
    }

    /// Ends when the ledger wants to be looked after.
    async fn timeout(&self) {
        match self.shared.with(|ledger, now| Some(ledger.poll_timeout()?.saturating_sub(now))) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => pending().await,
        }
    }
}

/// Returns for how many workers attempts are begun. How many another broker has is not known; with
/// workers here nothing goes there.
const fn takers(workers: usize, brokers_elsewhere: usize) -> usize {
    if workers > 0 { workers } else { brokers_elsewhere * WORKERS_ELSEWHERE }
}

/// Takes in what an earlier start stored, or a process that is gone: what has no reply is pending
/// again.
async fn restore(shared: &Shared) -> Result<(), StorageError> {
    let mut after = None;
    loop {
        let page = shared.storage.page(after).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (key, stored) in page {
            let bytes = stored.record.len();
            let service = match Record::decode(stored.record) {
                Ok(Record::Request { service, .. }) => Some(service),
                Ok(Record::Reply(_) | Record::Unanswerable) => None,
                Err(Damaged) => {
                    tracing::error!(%Damaged, "a record of Titanic is left alone");
                    continue;
                }
            };
            shared.with(|ledger, now| ledger.restore(now, key, service, bytes, stored.remaining));
        }
    }
}

/// Attempts under way; the ledger bounds their number.
#[derive(Default)]
struct Attempts {
    tasks: JoinSet<Ended>,
    by_task: HashMap<Id, Attempt>,
}

impl Attempts {
    fn begin(
        &mut self,
        attempt: Attempt,
        work: impl Future<Output = Ended> + Send + 'static,
    ) -> AbortHandle {
        let task = self.tasks.spawn(work);
        self.by_task.insert(task.id(), attempt);
        task
    }

    /// The next that ends; `None` if there are none. Safe to drop. One that was aborted has no
    /// request any more; one that panicked has failed.
    async fn next(&mut self) -> Option<(Attempt, Ended)> {
        let (task, ended) = match self.tasks.join_next_with_id().await? {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => (error.id(), Ended::Gone),
            Err(error) => (error.id(), Ended::Failed),
        };
        Some((self.by_task.remove(&task)?, ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_brokers_have_an_allowance_and_workers_here_come_first() {
        assert_eq!(takers(0, 0), 0);
        assert_eq!((takers(0, 1), takers(0, 2)), (8, 16));
        assert_eq!((takers(1, 2), takers(20, 1)), (1, 20));
    }
}
