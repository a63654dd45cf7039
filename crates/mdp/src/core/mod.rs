//! The broker as a state machine: messages and the time go in, messages come out.
//!
//! Never in here: a socket, a clock, randomness, a task. Time is a [`Duration`] since any fixed
//! moment of a monotonic clock; the random part of tokens is given at the start. A driver calls
//! [`BrokerCore::handle`] for what happened, then [`BrokerCore::poll_output`] until `None`, and
//! [`BrokerCore::handle_timeout`] when [`BrokerCore::poll_timeout`] is due, after it has received
//! what the socket holds: a stalled broker must not take its own silence for its workers'.

mod access;
mod admin;
mod arena;
mod config;
mod counters;
#[cfg(any(test, feature = "__harness"))]
#[doc(hidden)]
pub mod harness;
mod info;
mod late;
mod links;
mod local;
mod mmi;
mod queue;
mod refusals;
mod services;
mod tables;
#[cfg(test)]
mod tests;
mod timers;
mod workers;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use access::{Access, Grant, NamePattern};
pub use admin::{AdminError, Dismissal};
pub use config::{AddressMode, CoreConfig, DuplicateReady, PartialPolicy, ServicePolicy};
pub use counters::{Counters, Dropped, Farewell, Histogram, LinkCounters, RequestCounters, Tally};
pub use info::{ServiceInfo, ServiceKind, Totals, WorkerId, WorkerInfo, WorkerState};
pub use links::{
    BrokerAddress, BrokerInfo, LinkConfig, LinkEnd, LinkId, LinkInput, LinkLoss, LinkNote,
    LinkOutput,
};

use crate::wire::{Hop, Incoming, Invalid, Outgoing, Peer};
use crate::{Frames, ServiceName};
use arena::{Arena, Key};
use late::LateResults;
use links::{Asker, Link, Links};
use refusals::Refusals;
use tables::{Client, Request, Service, Worker};

/// The caller's name for a request made in this process; unique while it is in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalId(pub u64);

/// Names one call of a service of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId {
    worker: Key<Worker>,
    number: u64,
}

/// What a sent message was for, given back when it cannot be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendTag(Tag);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// A REQUEST: undelivered, it was no attempt.
    Assignment(Key<Worker>),
    /// HEARTBEAT to a registered worker.
    Worker(Key<Worker>),
    /// PARTIAL for a request still in hand.
    Partial(Key<Request>),
    /// A final reply, the last of a request of this service.
    Final(Key<Service>),
    /// Anything to a broker that is asked.
    Link(Key<Link>),
    /// Anything to a broker that asks.
    Asker(Key<Asker>),
    /// Nothing depends on it.
    Nothing,
}

/// Why a message could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFailure {
    /// The peer is gone (EHOSTUNREACH).
    Unreachable,
    /// The peer's queue is full (EAGAIN).
    Full,
}

/// Why a request of this process got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No worker was registered for the service when its time was up.
    #[error("no worker is registered for the service")]
    NoWorker,
    /// Workers are registered, but the answer did not come in time.
    #[error("the request timed out")]
    Timeout,
    /// A bound of the broker is reached.
    #[error("the queue is full")]
    QueueFull,
    /// The workers that had it were lost.
    #[error("the worker was lost")]
    Lost,
    /// The broker stops.
    #[error("the broker stops")]
    Stopped,
}

/// Everything that can happen to the broker.
#[derive(Debug)]
pub enum Input {
    /// A message was received; `user` is who the security mechanism says sent it.
    Received {
        /// The message.
        message: Incoming,
        /// The authenticated user of the connection, if any.
        user: Option<Arc<str>>,
    },
    /// A message was received that is none.
    Invalid(Invalid),
    /// An [`Output::Send`] failed.
    Undeliverable(SendTag, SendFailure),
    /// A request of this process.
    Request {
        /// The caller's name for it.
        id: LocalId,
        /// The service asked for.
        service: ServiceName,
        /// The body.
        body: Frames,
        /// How long the answer is waited for.
        timeout: Duration,
    },
    /// The caller of a request of this process went away.
    Cancel(LocalId),
    /// This process offers a service; workers of that name are sent away.
    Offer {
        /// The name, from now on refused to workers.
        service: ServiceName,
        /// How many calls may run at once, at least one.
        slots: u32,
    },
    /// From now on this says who may register and call; who registered stays.
    Access(Option<Access>),
    /// A call is answered.
    CallDone(CallId, Frames),
    /// A call failed; its request is treated as lost.
    CallFailed(CallId),
    /// Something happened to links with other brokers.
    Link(LinkInput),
    /// Take no new requests.
    Drain,
    /// Send all workers away and fail what is in hand.
    Stop,
}

/// Everything the broker can want.
#[derive(Debug)]
pub enum Output {
    /// Send this message without waiting; report failure with the tag.
    Send(SendTag, Outgoing),
    /// The answer to a request of this process.
    Answer(LocalId, Result<Frames, RequestError>),
    /// Call a service of this process.
    Call {
        /// To be given back with the result.
        call: CallId,
        /// The service asked for.
        service: ServiceName,
        /// The request's body.
        body: Frames,
        /// The authenticated user of the caller's connection, if any.
        user: Option<Arc<str>>,
        /// What the caller may do; `None` is everything, as for a caller in this process.
        access: Option<Arc<Access>>,
    },
    /// Do something about links with other brokers.
    Link(LinkOutput),
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Heartbeat due, expiry or busy timeout of a worker.
    Worker(Key<Worker>),
    /// A request waited long enough.
    Request(Key<Request>),
    /// Sign of life due, silence, or rest of a link.
    Link(Key<Link>),
    /// Sign of life due or silence of a broker that asks.
    Asker(Key<Asker>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Draining,
    Stopped,
}

/// The broker (mdp.md §8, §12).
pub struct BrokerCore {
    config: CoreConfig,
    incarnation: [u8; 8],
    assignments: u64,
    /// Requests taken in so far.
    taken: u64,
    now: Duration,
    /// Nobody expires before this: the broker itself was not looking (mdp.md §8.6).
    expiry_from: Duration,
    phase: Phase,
    workers: Arena<Worker>,
    peers: HashMap<crate::wire::PeerKey, Key<Worker>>,
    services: Arena<Service>,
    names: HashMap<ServiceName, Key<Service>>,
    /// Services without worker and request, and since when.
    unused: BTreeSet<(Duration, Key<Service>)>,
    requests: Arena<Request>,
    locals: HashMap<LocalId, Key<Request>>,
    clients: Arena<Client>,
    routes: HashMap<Hop, Key<Client>>,
    held_bytes: usize,
    timers: BTreeSet<(Duration, Timer)>,
    refusals: Refusals,
    late: LateResults,
    links: Links,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl std::fmt::Debug for BrokerCore {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("BrokerCore")
            .field("now", &self.now)
            .field("workers", &self.workers.len())
            .field("services", &self.services.len())
            .field("requests", &self.requests.len())
            .finish_non_exhaustive()
    }
}

impl BrokerCore {
    /// Creates a broker without peers.
    ///
    /// `incarnation` is random for each start, so that a reply to an earlier broker is recognised
    /// although routing ids repeat (mdp.md §11.4).
    pub fn new(config: CoreConfig, incarnation: [u8; 8]) -> Self {
        let config = config.bounded();
        let refusals = Refusals::new(config.refusals_max);
        let links = Links::new(config.links.clone());
        Self {
            config,
            incarnation,
            assignments: 0,
            taken: 0,
            now: Duration::ZERO,
            expiry_from: Duration::ZERO,
            phase: Phase::Open,
            workers: Arena::new(),
            peers: HashMap::new(),
            services: Arena::new(),
            names: HashMap::new(),
            unused: BTreeSet::new(),
            requests: Arena::new(),
            locals: HashMap::new(),
            clients: Arena::new(),
            routes: HashMap::new(),
            held_bytes: 0,
            timers: BTreeSet::new(),
            refusals,
            late: LateResults::default(),
            links,
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes in what happened at `now`. A `now` before an earlier one counts as that.
    pub fn handle(&mut self, now: Duration, input: Input) {
        self.observe(now);
        match input {
            Input::Received { message, user } => self.on_received(message, user),
            Input::Invalid(reason) => self.counters.invalid.add(reason),
            Input::Undeliverable(tag, failure) => self.on_undeliverable(tag, failure),
            Input::Request { id, service, body, timeout } => {
                self.on_local_request(id, &service, body, timeout);
            }
            Input::Cancel(id) => self.on_cancel(id),
            Input::Offer { service, slots } => self.on_offer(&service, slots),
            Input::Access(access) => self.config.access = access.map(Arc::new),
            Input::CallDone(call, body) => self.on_call_done(call, body),
            Input::CallFailed(call) => self.on_call_failed(call),
            Input::Link(input) => self.on_link(input),
            Input::Drain => {
                self.phase = self.phase.max_with(Phase::Draining);
                self.withdraw_offers();
            }
            Input::Stop => self.on_stop(),
        }
    }

    /// Returns the next thing to do, in order; call until `None` after every `handle*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front()?;
        if let Output::Send(_, message) = &output {
            self.counters.count_sent(message.message.kind(), message.to.version);
        }
        Some(output)
    }

    /// Returns when [`Self::handle_timeout`] is due if nothing else happens first.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let unused = self.unused.first().map(|(since, _)| *since + self.config.service_idle);
        [timer, unused].into_iter().flatten().min()
    }

    /// Returns how many requests are in hand.
    pub fn requests_held(&self) -> usize {
        self.requests.len()
    }

    /// Returns the bounds of one message, for the decoder.
    pub fn wire_limits(&self) -> &crate::wire::WireLimits {
        &self.config.wire
    }

    /// Returns what was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn on_received(&mut self, message: Incoming, user: Option<Arc<str>>) {
        let Incoming { envelope, peer } = message;
        self.counters.count_received(peer.kind(), envelope.version);
        match peer {
            Peer::Client(request) => self.on_client(envelope, request, user),
            Peer::Worker(message) => self.on_worker(envelope, message, user),
        }
    }

    fn send(&mut self, tag: Tag, message: Outgoing) {
        self.outputs.push_back(Output::Send(SendTag(tag), message));
    }

    /// Counts something for all services and for one, if it is still remembered.
    fn count(&mut self, service: Option<Key<Service>>, count: impl Fn(&mut RequestCounters)) {
        count(&mut self.counters.requests);
        if let Some(service) = service.and_then(|key| self.services.get_mut(key)) {
            count(&mut service.counters);
        }
    }

    fn on_undeliverable(&mut self, tag: SendTag, failure: SendFailure) {
        match failure {
            SendFailure::Unreachable => self.counters.unreachable += 1,
            SendFailure::Full => self.counters.peer_full += 1,
        }
        match tag.0 {
            Tag::Assignment(worker) => {
                let held = self.workers.get(worker).and_then(|worker| worker.assignment.as_ref());
                if let Some(request) = held.map(|assignment| assignment.request)
                    && let Some(request) = self.requests.get_mut(request)
                {
                    request.attempts -= 1;
                }
                self.lose_worker(worker, None);
            }
            Tag::Worker(worker) => self.lose_worker(worker, None),
            Tag::Partial(request) => {
                let service = self.requests.get(request).map(|request| request.service);
                self.count(service, |counters| counters.undelivered += 1);
                self.orphan(request);
            }
            Tag::Final(service) => self.count(Some(service), |counters| counters.undelivered += 1),
            // Who does not take what is sent is as good as gone.
            Tag::Link(link) => match failure {
                SendFailure::Unreachable => self.lose_link(link, LinkLoss::Closed),
                SendFailure::Full => self.lose_link(link, LinkLoss::Full),
            },
            Tag::Asker(asker) => self.forget_asker(asker),
            Tag::Nothing => {}
        }
    }
}

impl Phase {
    fn max_with(self, other: Self) -> Self {
        if self == Self::Open { other } else { self }
    }
}
