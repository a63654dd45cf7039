//! What the broker holds right now, as its administrator sees it (mdp.md §12.5).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::BrokerCore;
use super::arena::Key;
use super::counters::RequestCounters;
use super::tables::{Service, Worker, WorkerParty};
use crate::ServiceName;
use crate::wire::{Shape, Version};

/// What the broker holds for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInfo {
    /// The name.
    pub name: ServiceName,
    /// Who answers.
    pub kind: ServiceKind,
    /// Whether its requests are kept back until it is resumed.
    pub paused: bool,
    /// Registered workers; for a service of this process, how many calls may run at once.
    pub workers: usize,
    /// Workers waiting for a request.
    pub idle: usize,
    /// Workers with a request in hand.
    pub busy: usize,
    /// Requests waiting for a worker.
    pub queued: usize,
    /// How long the oldest of the queues' heads has waited.
    pub oldest_wait: Duration,
    /// What became of its requests since the broker began to remember it.
    pub counters: RequestCounters,
    /// The other brokers that have workers for it, by what they are called.
    pub elsewhere: Vec<Arc<str>>,
}

impl ServiceInfo {
    /// Says whether somebody has workers for it, here or at another broker.
    pub fn is_served(&self) -> bool {
        self.workers > 0 || !self.elsewhere.is_empty()
    }
}

/// What the broker holds over all services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Services remembered.
    pub services: usize,
    /// Workers waiting for a request.
    pub idle: usize,
    /// Workers with a request in hand.
    pub busy: usize,
    /// Requests waiting for a worker.
    pub queued: usize,
    /// Bytes that requests in hand count for.
    pub held_bytes: usize,
    /// How long the request that waits longest has waited.
    pub oldest_wait: Duration,
    /// Other brokers that can be asked.
    pub links: usize,
    /// Requests that other brokers have in hand for this one.
    pub asked: usize,
    /// Requests that this one has in hand for other brokers.
    pub asking: usize,
}

/// Who answers for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// Workers that connect to the socket.
    Remote,
    /// This process; no worker may register the name.
    Local,
}

/// Names a registered worker; never used again in the life of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

impl fmt::Display for WorkerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It waits for a request.
    Idle,
    /// It has a request in hand.
    Busy,
    /// It has its last request in hand and is sent away after it.
    Draining,
}

/// A worker that connected to the socket and registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its name towards the administrator.
    pub id: WorkerId,
    /// The service it registered for.
    pub service: ServiceName,
    /// The protocol version it speaks.
    pub version: Version,
    /// Whether it sends the empty frame before the header.
    pub shape: Shape,
    /// The authenticated user of its connection, if any.
    pub user: Option<Arc<str>>,
    /// What it is doing.
    pub state: WorkerState,
    /// How long ago it registered.
    pub registered: Duration,
    /// How long it has been in its state.
    pub since: Duration,
    /// How long ago something was received from it.
    pub last_received: Duration,
    /// Requests it answered.
    pub answered: u64,
}

impl BrokerCore {
    /// Returns the sums over all services.
    pub fn totals(&self, now: Duration) -> Totals {
        let (links, asked, asking) = self.links.totals();
        let mut totals = Totals {
            services: self.services.len(),
            held_bytes: self.held_bytes,
            links,
            asked,
            asking,
            ..Totals::default()
        };
        for (_, service) in self.services.iter() {
            totals.idle += service.waiting.len();
            totals.busy += service.workers - service.waiting.len();
            totals.queued += service.queued;
            totals.oldest_wait = totals.oldest_wait.max(self.oldest_wait(service, now));
        }
        totals
    }

    /// Returns what is held for each service, by name.
    pub fn services(&self, now: Duration) -> Vec<ServiceInfo> {
        let mut infos: Vec<ServiceInfo> =
            self.services.iter().map(|(_, service)| self.service_info(service, now)).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    fn service_info(&self, service: &Service, now: Duration) -> ServiceInfo {
        ServiceInfo {
            name: service.name.clone(),
            kind: service.kind,
            paused: service.paused,
            workers: service.workers,
            idle: service.waiting.len(),
            busy: service.workers - service.waiting.len(),
            queued: service.queued,
            oldest_wait: self.oldest_wait(service, now),
            counters: service.counters,
            elsewhere: self.names_elsewhere(service),
        }
    }

    fn oldest_wait(&self, service: &Service, now: Duration) -> Duration {
        let heads = service.turn.iter().filter_map(|client| service.queues.get(client)?.front());
        let oldest = heads.filter_map(|key| Some(self.requests.get(*key)?.arrived)).min();
        oldest.map_or(Duration::ZERO, |at| now.saturating_sub(at))
    }

    /// Returns every registered worker that connected to the socket, by id.
    pub fn workers(&self, now: Duration) -> Vec<WorkerInfo> {
        let mut infos: Vec<WorkerInfo> =
            self.workers.iter().filter_map(|(key, it)| self.worker_info(key, it, now)).collect();
        infos.sort_by_key(|info| info.id);
        infos
    }

    fn worker_info(&self, key: Key<Worker>, worker: &Worker, now: Duration) -> Option<WorkerInfo> {
        let WorkerParty::Remote(envelope) = &worker.party else {
            return None;
        };
        let (state, since) = match &worker.assignment {
            None => (WorkerState::Idle, worker.idle_since),
            Some(assignment) if worker.draining => (WorkerState::Draining, assignment.since),
            Some(assignment) => (WorkerState::Busy, assignment.since),
        };
        Some(WorkerInfo {
            id: WorkerId(key.to_bits()),
            service: self.services.get(worker.service)?.name.clone(),
            version: envelope.version,
            shape: envelope.shape,
            user: worker.user.clone(),
            state,
            registered: now.saturating_sub(worker.registered),
            since: now.saturating_sub(since),
            last_received: now.saturating_sub(worker.last_rx),
            answered: worker.answered,
        })
    }
}
