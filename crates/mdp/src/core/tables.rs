//! The records the core keeps: workers, services, requests, clients.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::LocalId;
use super::arena::Key;
use super::config::ServicePolicy;
use super::counters::RequestCounters;
use super::info::ServiceKind;
use super::links::{Asker, Link};
use crate::wire::{Envelope, Hop, PeerKey};
use crate::{Frames, ServiceName};

/// A registered worker, or one slot of a service of this process.
pub(crate) struct Worker {
    pub(super) party: WorkerParty,
    pub(super) service: Key<Service>,
    pub(super) assignment: Option<Assignment>,
    /// The authenticated user of its connection.
    pub(super) user: Option<Arc<str>>,
    /// Sent away once its request is answered.
    pub(super) draining: bool,
    pub(super) registered: Duration,
    pub(super) idle_since: Duration,
    pub(super) answered: u64,
    pub(super) last_rx: Duration,
    pub(super) last_tx: Duration,
    /// Seen to send HEARTBEAT while busy, so its silence means something then (mdp.md §8.6).
    pub(super) heartbeats_while_busy: bool,
    /// When its timer is set to ring.
    pub(super) timer_at: Option<Duration>,
}

pub(super) enum WorkerParty {
    Remote(Envelope),
    Local,
}

/// One hand-out of a request to a worker.
#[derive(Clone)]
pub(super) struct Assignment {
    pub(super) request: Key<Request>,
    /// What a reply must name.
    pub(super) address: Hop,
    pub(super) number: u64,
    pub(super) since: Duration,
    /// HEARTBEATs received since; the first may have crossed the request on its way.
    pub(super) heartbeats: u32,
    /// Whether a PARTIAL was received.
    pub(super) parts: bool,
}

/// A service that has workers, requests, or was used lately.
pub(crate) struct Service {
    pub(super) name: ServiceName,
    pub(super) kind: ServiceKind,
    pub(super) policy: ServicePolicy,
    /// Whether its requests are kept back.
    pub(super) paused: bool,
    pub(super) counters: RequestCounters,
    /// Idle workers, longest idle first (mdp.md §8.7).
    pub(super) waiting: VecDeque<Key<Worker>>,
    pub(super) workers: usize,
    /// Requests per client, oldest first; never holds an empty queue.
    pub(super) queues: HashMap<Key<Client>, VecDeque<Key<Request>>>,
    /// The clients of `queues` in the order they are served next.
    pub(super) turn: VecDeque<Key<Client>>,
    pub(super) queued: usize,
    /// Requests queued or assigned.
    pub(super) held: usize,
    /// Set while unused: since when.
    pub(super) unused_since: Option<Duration>,
    /// Whether other brokers were told that its workers are here.
    pub(super) offered: bool,
    /// Other brokers that have workers for it.
    pub(super) elsewhere: SmallVec<[Elsewhere; 2]>,
}

/// Another broker that has workers for a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elsewhere {
    pub(super) link: Key<Link>,
    /// Requests for the service that it has in hand for this broker.
    pub(super) in_flight: usize,
    /// When it was chosen last, by the number of that request.
    pub(super) chosen: u64,
}

impl Service {
    pub(super) fn new(name: ServiceName, policy: ServicePolicy) -> Self {
        Self {
            name,
            kind: ServiceKind::Remote,
            policy,
            paused: false,
            counters: RequestCounters::default(),
            waiting: VecDeque::new(),
            workers: 0,
            queues: HashMap::new(),
            turn: VecDeque::new(),
            queued: 0,
            held: 0,
            unused_since: None,
            offered: false,
            elsewhere: SmallVec::new(),
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        let needed = self.workers > 0 || self.held > 0 || self.paused;
        !needed && self.elsewhere.is_empty() && self.kind == ServiceKind::Remote
    }

    /// Says whether somebody has workers for it.
    pub(super) fn is_served(&self) -> bool {
        self.workers > 0 || !self.elsewhere.is_empty()
    }

    /// Says whether the workers here are to answer for other brokers too. What is paused waits here only,
    /// so that others may ask elsewhere; services of this process are at each of them.
    pub(super) fn is_for_others(&self) -> bool {
        self.workers > 0 && !self.paused && self.kind == ServiceKind::Remote
    }

    pub(super) fn push_back(&mut self, client: Key<Client>, request: Key<Request>) {
        self.queued += 1;
        if let Some(queue) = self.queues.get_mut(&client) {
            queue.push_back(request);
        } else {
            self.queues.insert(client, VecDeque::from([request]));
            self.turn.push_back(client);
        }
    }

    /// Puts a lost request where it is served next (mdp.md §8.9), but after what its client asked
    /// before it and lost as well (§8.7). `is_older` says of a request whether that is so.
    pub(super) fn put_back(
        &mut self,
        client: Key<Client>,
        request: Key<Request>,
        is_older: impl Fn(Key<Request>) -> bool,
    ) {
        self.queued += 1;
        if let Some(queue) = self.queues.get_mut(&client) {
            let at = queue.partition_point(|other| is_older(*other));
            queue.insert(at, request);
        } else {
            self.queues.insert(client, VecDeque::from([request]));
            self.turn.push_front(client);
        }
    }

    /// Takes the next request, one client after the other.
    pub(super) fn pop(&mut self) -> Option<Key<Request>> {
        let client = self.turn.pop_front()?;
        let queue = self.queues.get_mut(&client)?;
        let request = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&client);
        } else {
            self.turn.push_back(client);
        }
        if request.is_some() {
            self.queued -= 1;
        }
        request
    }

    /// Takes one request out of the middle.
    pub(super) fn take(&mut self, client: Key<Client>, request: Key<Request>) {
        let Some(queue) = self.queues.get_mut(&client) else {
            return;
        };
        let Some(at) = queue.iter().position(|other| *other == request) else {
            return;
        };
        queue.remove(at);
        self.queued -= 1;
        if queue.is_empty() {
            self.queues.remove(&client);
            self.turn.retain(|other| *other != client);
        }
    }
}

/// A request in hand, kept until its final reply.
pub(crate) struct Request {
    pub(super) from: Origin,
    /// Its place in the order in which requests came.
    pub(super) sequence: u64,
    pub(super) client: Key<Client>,
    pub(super) service: Key<Service>,
    pub(super) body: Frames,
    /// What it counts for in the byte bound.
    pub(super) cost: usize,
    pub(super) user: Option<Arc<str>>,
    pub(super) arrived: Duration,
    /// After this it is handed to no worker.
    pub(super) deadline: Duration,
    pub(super) attempts: u32,
    pub(super) place: Place,
    /// The peer whose answer is still of use while the request waits again.
    pub(super) lost_by: Option<PeerKey>,
    pub(super) partials: Partials,
    pub(super) timer_at: Option<Duration>,
}

impl Request {
    /// Throws away the parts kept for a client that takes one reply only, and returns their cost.
    pub(super) fn forget_parts(&mut self) -> usize {
        let Partials::Kept(frames, bytes) = &mut self.partials else {
            return 0;
        };
        *frames = Frames::new();
        let freed = std::mem::take(bytes);
        self.cost -= freed;
        freed
    }
}

/// Who waits for the answer.
#[derive(Clone)]
pub(super) enum Origin {
    Remote(Envelope),
    Local(LocalId),
    /// Another broker, which calls it by this number.
    Broker(Key<Asker>, u64),
    /// Nobody any more; a worker still works on it.
    Gone,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It waits in the queue of its service.
    Queue,
    /// A worker has it in hand.
    Worker(Key<Worker>),
    /// Another broker has it under this number.
    Elsewhere(Key<Link>, u64),
}

/// Whom a request is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taker {
    Worker(Key<Worker>),
    Link(Key<Link>),
}

/// What came of a streamed answer so far.
pub(super) enum Partials {
    /// Kept for a client that takes one reply only, and what they cost of the byte bound.
    Kept(Frames, usize),
    /// Forwarded, so the request cannot start over.
    Forwarded,
}

/// A client connection that has requests in hand; the empty routing id is this process.
pub(crate) struct Client {
    pub(super) route: Hop,
    pub(super) held: usize,
}
