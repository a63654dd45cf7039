//! What an administrator may do to services and workers.

use std::time::Duration;

use super::BrokerCore;
use super::arena::Key;
use super::counters::Farewell;
use super::info::WorkerId;
use super::tables::WorkerParty;
use crate::ServiceName;
use crate::service_name::is_mmi;

/// When a worker is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// After the request it has in hand; at once when it has none.
    Drain,
    /// At once. The request it has in hand is treated as lost.
    Now,
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// Names beginning with `mmi.` are the broker's own.
    #[error("names beginning with mmi. are the broker's own")]
    Reserved,
    /// The bound on services is reached.
    #[error("the broker remembers no more services")]
    ServicesFull,
    /// No worker of that id is registered.
    #[error("no such worker is registered")]
    UnknownWorker,
    /// The broker stopped.
    #[error("the broker stopped")]
    Stopped,
}

impl BrokerCore {
    /// Keeps the requests of a service back, or hands them out again.
    ///
    /// A paused service goes on to take requests, within its bounds, and they expire as ever. What
    /// workers have in hand they finish. The name need not be known yet; while it is paused it is
    /// not forgotten.
    ///
    /// # Errors
    ///
    /// [`AdminError::Reserved`] and [`AdminError::ServicesFull`].
    pub fn set_paused(
        &mut self,
        now: Duration,
        service: &ServiceName,
        paused: bool,
    ) -> Result<(), AdminError> {
        self.observe(now);
        if is_mmi(service.as_bytes()) {
            return Err(AdminError::Reserved);
        }
        let key = match self.names.get(service).copied() {
            Some(key) => key,
            None if paused => {
                self.intern(service.as_bytes()).map_err(|_| AdminError::ServicesFull)?
            }
            None => return Ok(()),
        };
        if let Some(record) = self.services.get_mut(key) {
            record.paused = paused;
        }
        self.note_use(key);
        self.dispatch(key);
        Ok(())
    }

    /// Sends a worker away: it gets no further request, and DISCONNECT.
    ///
    /// # Errors
    ///
    /// [`AdminError::UnknownWorker`] when none of that id is registered.
    pub fn dismiss(
        &mut self,
        now: Duration,
        worker: WorkerId,
        when: Dismissal,
    ) -> Result<(), AdminError> {
        self.observe(now);
        let key = Key::from_bits(worker.0);
        let record = self.workers.get_mut(key).ok_or(AdminError::UnknownWorker)?;
        if matches!(record.party, WorkerParty::Local) {
            return Err(AdminError::UnknownWorker);
        }
        if when == Dismissal::Drain && record.assignment.is_some() {
            record.draining = true;
        } else {
            self.lose_worker(key, Some(Farewell::Dismissed));
        }
        Ok(())
    }
}
