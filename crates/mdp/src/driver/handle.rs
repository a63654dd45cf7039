//! What the rest of the process may ask of the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{oneshot, watch};

use super::curve::AllowedKeys;
use super::local::LocalService;
use crate::core::{
    Access, AdminError, BrokerAddress, BrokerInfo, CallId, Counters, Dismissal, LocalId,
    RequestError, ServiceInfo, WorkerId, WorkerInfo,
};
use crate::io::WakeOnDrop;
use crate::service_name::is_mmi;
use crate::{Frames, ServiceName};

/// Work for the broker's thread.
pub(super) enum Command {
    Request {
        id: LocalId,
        service: ServiceName,
        body: Frames,
        timeout: Duration,
        reply: oneshot::Sender<Result<Frames, RequestError>>,
    },
    Cancel(LocalId),
    Register {
        service: ServiceName,
        handler: Arc<dyn LocalService>,
        done: oneshot::Sender<()>,
    },
    CallEnded(CallId, Option<Frames>),
    Services(oneshot::Sender<Vec<ServiceInfo>>),
    Workers(oneshot::Sender<Vec<WorkerInfo>>),
    SetBrokers(Vec<BrokerAddress>),
    Brokers(oneshot::Sender<Vec<BrokerInfo>>),
    Counters(oneshot::Sender<Box<Counters>>),
    SetPaused {
        service: ServiceName,
        paused: bool,
        done: oneshot::Sender<Result<(), AdminError>>,
    },
    Dismiss {
        worker: WorkerId,
        when: Dismissal,
        done: oneshot::Sender<Result<(), AdminError>>,
    },
    Allow(AllowedKeys),
    Access(Option<Access>),
    Shutdown {
        grace: Duration,
        done: oneshot::Sender<()>,
    },
}

/// Why a service of this process is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Names beginning with `mmi.` are the broker's own.
    #[error("names beginning with mmi. are the broker's own")]
    Reserved,
    /// The broker was started outside a tokio runtime and given none.
    #[error("the broker has no runtime to run services in")]
    NoRuntime,
    /// The broker stopped.
    #[error("the broker stopped")]
    Stopped,
}

/// Where the broker listens.
#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) clients: Vec<String>,
    pub(super) workers: Vec<String>,
    pub(super) links: Option<String>,
}

/// What all clones of a handle share. The sender drops before the wake-up, so that the thread sees
/// an ended queue when it looks.
#[derive(Debug)]
pub(super) struct Shared {
    commands: mpsc::Sender<Command>,
    endpoints: Endpoints,
    next_id: AtomicU64,
    registrations: watch::Receiver<u64>,
    waker: WakeOnDrop,
}

impl Shared {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        endpoints: Endpoints,
        registrations: watch::Receiver<u64>,
        waker: WakeOnDrop,
    ) -> Self {
        Self { commands, endpoints, next_id: AtomicU64::new(0), registrations, waker }
    }

    async fn put(&self, command: Command) -> Result<(), RequestError> {
        self.commands.send(command).await.map_err(|_| RequestError::Stopped)?;
        self.waker.0.wake();
        Ok(())
    }

    fn try_put(&self, command: Command) -> Result<(), RequestError> {
        match self.commands.try_send(command) {
            Ok(()) => {
                self.waker.0.wake();
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(RequestError::QueueFull),
            Err(TrySendError::Closed(_)) => Err(RequestError::Stopped),
        }
    }
}

/// A running broker. Clones lead to the same one; when the last is dropped it stops at once.
#[derive(Clone, Debug)]
pub struct BrokerHandle {
    shared: Arc<Shared>,
}

impl BrokerHandle {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Returns the bound endpoints in the order they were configured, with actual ports.
    pub fn endpoints(&self) -> Vec<String> {
        self.shared.endpoints.clients.clone()
    }

    /// Returns the bound endpoints for workers: [`Self::endpoints`], unless they have their own.
    pub fn worker_endpoints(&self) -> Vec<String> {
        self.shared.endpoints.workers.clone()
    }

    /// Returns where other brokers ask this one, if they may.
    pub fn link_endpoint(&self) -> Option<String> {
        self.shared.endpoints.links.clone()
    }

    /// Makes links to these brokers, and to no others. One that is no longer among them, or has another
    /// address now, is asked until its link is lost. Nothing happens if the broker was started without
    /// links.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the list may be taken over or not.
    pub async fn set_brokers(&self, brokers: Vec<BrokerAddress>) {
        match self.shared.put(Command::SetBrokers(brokers)).await {
            // A broker that stopped asks nobody.
            Ok(()) | Err(_) => {}
        }
    }

    /// Returns the other brokers, by name; none when the broker stopped.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn brokers(&self) -> Vec<BrokerInfo> {
        let (sender, infos) = oneshot::channel();
        match self.shared.put(Command::Brokers(sender)).await {
            Ok(()) => infos.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Sends a request to a service and waits for its answer, at most `timeout`.
    ///
    /// PARTIALs of a 0.2 worker come in front of the frames of its final reply.
    ///
    /// # Errors
    ///
    /// - [`RequestError::NoWorker`]: nobody served the name when the time was up. The request
    ///   waits for a worker until then.
    /// - [`RequestError::Timeout`]: there are workers, but no answer came in time.
    /// - [`RequestError::QueueFull`]: a bound of the broker is reached; at once.
    /// - [`RequestError::Lost`]: the workers that had the request were lost.
    /// - [`RequestError::Stopped`]: the broker stopped or drains.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future withdraws the request; a worker that has it already finishes it.
    pub async fn request(
        &self,
        service: &ServiceName,
        body: Frames,
        timeout: Duration,
    ) -> Result<Frames, RequestError> {
        let id = LocalId(self.shared.next_id.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let service = service.clone();
        self.shared.try_put(Command::Request { id, service, body, timeout, reply })?;
        let mut withdrawal = Withdrawal { shared: &self.shared, id: Some(id) };
        let result = answer.await;
        withdrawal.id = None;
        result.unwrap_or(Err(RequestError::Stopped))
    }

    /// Offers a service of this process under `service`; workers that registered the name are sent
    /// away, and later ones are refused.
    ///
    /// # Errors
    ///
    /// A [`RegisterError`] when the name is the broker's own, there is no runtime to run it in, or
    /// the broker stopped.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the service may be registered or not.
    pub async fn register(
        &self,
        service: &ServiceName,
        handler: Arc<dyn LocalService>,
    ) -> Result<(), RegisterError> {
        if is_mmi(service.as_bytes()) {
            return Err(RegisterError::Reserved);
        }
        let (done, registered) = oneshot::channel();
        let command = Command::Register { service: service.clone(), handler, done };
        self.shared.put(command).await.map_err(|_| RegisterError::Stopped)?;
        registered.await.map_err(|_| RegisterError::NoRuntime)
    }

    /// Returns what the broker holds for each service, by name; empty when it stopped.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn services(&self) -> Vec<ServiceInfo> {
        let (sender, infos) = oneshot::channel();
        match self.shared.put(Command::Services(sender)).await {
            Ok(()) => infos.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Returns every registered worker that connected to the socket, by id; empty when the broker
    /// stopped.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn workers(&self) -> Vec<WorkerInfo> {
        let (sender, infos) = oneshot::channel();
        match self.shared.put(Command::Workers(sender)).await {
            Ok(()) => infos.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Keeps the requests of a service back until [`Self::resume`].
    ///
    /// The service goes on to take requests, within its bounds, and they expire as ever. What
    /// workers have in hand they finish. The name need not be known yet.
    ///
    /// # Errors
    ///
    /// [`AdminError::Reserved`], [`AdminError::ServicesFull`] and [`AdminError::Stopped`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the service may be paused or not.
    pub async fn pause(&self, service: &ServiceName) -> Result<(), AdminError> {
        self.set_paused(service, true).await
    }

    /// Hands the requests of a paused service out again; nothing happens to another.
    ///
    /// # Errors
    ///
    /// [`AdminError::Reserved`] and [`AdminError::Stopped`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the service may be resumed or not.
    pub async fn resume(&self, service: &ServiceName) -> Result<(), AdminError> {
        self.set_paused(service, false).await
    }

    async fn set_paused(&self, service: &ServiceName, paused: bool) -> Result<(), AdminError> {
        let service = service.clone();
        self.administer(|done| Command::SetPaused { service, paused, done }).await
    }

    /// Gives a worker no further request, and sends it DISCONNECT after the one it has in hand.
    ///
    /// # Errors
    ///
    /// [`AdminError::UnknownWorker`] and [`AdminError::Stopped`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the worker may be sent away or not.
    pub async fn drain_worker(&self, worker: WorkerId) -> Result<(), AdminError> {
        self.administer(|done| Command::Dismiss { worker, when: Dismissal::Drain, done }).await
    }

    /// Sends a worker DISCONNECT at once. The request it has in hand is treated as lost: another
    /// worker gets it, if it has an attempt left.
    ///
    /// # Errors
    ///
    /// [`AdminError::UnknownWorker`] and [`AdminError::Stopped`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the worker may be sent away or not.
    pub async fn disconnect_worker(&self, worker: WorkerId) -> Result<(), AdminError> {
        self.administer(|done| Command::Dismiss { worker, when: Dismissal::Now, done }).await
    }

    async fn administer(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), AdminError>>) -> Command,
    ) -> Result<(), AdminError> {
        let (done, result) = oneshot::channel();
        self.shared.put(command(done)).await.map_err(|_| AdminError::Stopped)?;
        result.await.unwrap_or(Err(AdminError::Stopped))
    }

    /// Returns the number of READYs, local registrations, pauses, resumptions and services of other
    /// brokers so far, to be told when
    /// it grows: that is when a service may have got a worker. It ends when the broker stops.
    pub fn registrations(&self) -> watch::Receiver<u64> {
        self.shared.registrations.clone()
    }

    /// Returns what the broker counted; zeros when it stopped.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn counters(&self) -> Counters {
        let (sender, counters) = oneshot::channel();
        match self.shared.put(Command::Counters(sender)).await {
            Ok(()) => counters.await.map(|counters| *counters).unwrap_or_default(),
            Err(_) => Counters::default(),
        }
    }

    /// Replaces the public keys that may connect. Connections that exist stay; without CURVE
    /// nothing changes.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the keys may be replaced or not.
    pub async fn allow(&self, keys: AllowedKeys) {
        match self.shared.put(Command::Allow(keys)).await {
            // A broker that stopped lets nobody in.
            Ok(()) | Err(_) => {}
        }
    }

    /// Replaces who may register and call; `None` lets everybody do everything. Workers that are
    /// registered stay.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the rules may be replaced or not.
    pub async fn set_access(&self, access: Option<Access>) {
        match self.shared.put(Command::Access(access)).await {
            // A broker that stopped serves nobody.
            Ok(()) | Err(_) => {}
        }
    }

    /// Takes no new requests, waits at most `grace` until those in hand are answered, sends every
    /// worker DISCONNECT and stops (mdp.md §8.10). Returns when the sockets are closed.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the broker stops all the same.
    pub async fn shutdown(&self, grace: Duration) {
        let (done, ended) = oneshot::channel();
        if self.shared.put(Command::Shutdown { grace, done }).await.is_ok() {
            // The sender drops at the very end of the thread, used or not.
            match ended.await {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Withdraws a request whose caller went away.
struct Withdrawal<'a> {
    shared: &'a Shared,
    id: Option<LocalId>,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            // When the queue is full the request ends by its own timeout.
            match self.shared.try_put(Command::Cancel(id)) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}
