//! The broker's table per worker (mdp.md §8.2): one function for each message.

use super::arena::Key;
use super::services::NoService;
use super::tables::{Origin, Partials, Request, Service, Worker, WorkerParty};
use super::{
    BrokerCore, CallId, DuplicateReady, PartialPolicy, Phase, RequestError, ServiceKind, Tag,
};
use crate::Frames;
use crate::service_name::is_mmi;
use crate::wire::{Envelope, Hop, Outgoing, PeerKey, ToPeer, Version, WorkerMessage};

/// How a worker is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It is told, in the version and shape it registered with.
    Disconnect,
    /// It said so itself, or cannot be reached.
    Silent,
}

impl BrokerCore {
    pub(super) fn on_worker(&mut self, envelope: Envelope, message: WorkerMessage) {
        let peer = envelope.key();
        let Some(worker) = self.peers.get(&peer).copied() else {
            return self.on_unknown(envelope, peer, message);
        };
        let known_version = self.workers.get(worker).and_then(Worker::version);
        if known_version != Some(envelope.version) {
            return self.violate(worker);
        }
        match message {
            WorkerMessage::Heartbeat => self.on_heartbeat(worker),
            WorkerMessage::Reply { address, body } => self.on_reply(worker, &address, body),
            WorkerMessage::Partial { address, body } => self.on_partial(worker, &address, body),
            WorkerMessage::Disconnect => self.lose_worker(worker, Farewell::Silent),
            WorkerMessage::Ready { service } => self.on_second_ready(worker, &service),
            WorkerMessage::Malformed => self.violate(worker),
        }
    }

    fn on_unknown(&mut self, envelope: Envelope, peer: PeerKey, message: WorkerMessage) {
        match message {
            WorkerMessage::Ready { service } => self.on_ready(envelope, peer, &service),
            WorkerMessage::Disconnect => {}
            WorkerMessage::Reply { .. } | WorkerMessage::Partial { .. } => {
                self.counters.unsolicited += 1;
                self.refuse(envelope, peer);
            }
            WorkerMessage::Heartbeat | WorkerMessage::Malformed => self.refuse(envelope, peer),
        }
    }

    fn on_ready(&mut self, envelope: Envelope, peer: PeerKey, service: &Hop) {
        let frame = service.as_slice();
        let full = self.workers.len() >= self.config.workers_max;
        if is_mmi(frame) || full || self.phase == Phase::Stopped {
            return self.refuse(envelope, peer);
        }
        let key = match self.intern(frame) {
            Ok(key) => key,
            Err(NoService::Invalid(_) | NoService::Full) => return self.refuse(envelope, peer),
        };
        let local = self.services.get(key).is_none_or(|it| it.kind == ServiceKind::Local);
        if local {
            return self.refuse(envelope, peer);
        }
        self.refusals.forget(&peer);
        let worker = self.add_worker(key, WorkerParty::Remote(envelope));
        self.peers.insert(peer, worker);
        self.dispatch(key);
    }

    /// Adds an idle worker at the tail of its service's waiting list.
    pub(super) fn add_worker(&mut self, service: Key<Service>, party: WorkerParty) -> Key<Worker> {
        let key = self.workers.insert(Worker {
            party,
            service,
            assignment: None,
            last_rx: self.now,
            last_tx: self.now,
            heartbeats_while_busy: false,
            timer_at: None,
        });
        if let Some(record) = self.services.get_mut(service) {
            record.workers += 1;
            record.waiting.push_back(key);
        }
        self.note_use(service);
        self.arm_worker(key);
        key
    }

    fn on_second_ready(&mut self, key: Key<Worker>, service: &Hop) {
        let same = self
            .workers
            .get(key)
            .and_then(|worker| self.services.get(worker.service))
            .is_some_and(|record| record.name.as_bytes() == service.as_slice());
        match self.config.duplicate_ready {
            DuplicateReady::Refresh if same => self.refresh(key),
            DuplicateReady::Refresh | DuplicateReady::Disconnect => self.violate(key),
        }
    }

    fn refresh(&mut self, key: Key<Worker>) {
        if let Some(worker) = self.workers.get_mut(key) {
            worker.last_rx = self.now;
        }
    }

    fn on_heartbeat(&mut self, key: Key<Worker>) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        worker.last_rx = self.now;
        if let Some(assignment) = &mut worker.assignment {
            assignment.heartbeats = assignment.heartbeats.saturating_add(1);
            // The first may have been on its way when the request was sent.
            worker.heartbeats_while_busy |= assignment.heartbeats >= 2;
        }
    }

    /// Returns the request in hand if `address` names it.
    fn assigned(&self, key: Key<Worker>, address: &Hop) -> Option<Key<Request>> {
        let assignment = self.workers.get(key)?.assignment.as_ref()?;
        (assignment.address == *address).then_some(assignment.request)
    }

    fn on_reply(&mut self, key: Key<Worker>, address: &Hop, body: Frames) {
        let Some(request) = self.assigned(key, address) else {
            self.counters.unsolicited += 1;
            return self.violate(key);
        };
        self.complete(key, request, body);
    }

    /// Answers a request and makes its worker available again.
    pub(super) fn complete(&mut self, key: Key<Worker>, request: Key<Request>, body: Frames) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        worker.last_rx = self.now;
        let body = match self.requests.get_mut(request) {
            Some(Request { partials: Partials::Kept(kept, _), .. }) if !kept.is_empty() => {
                let mut whole = std::mem::take(kept);
                whole.extend(body);
                whole
            }
            _ => body,
        };
        self.finish(request, Ok(body));
        self.release(key);
    }

    /// Makes a worker available at the tail of the waiting list (mdp.md §8.7).
    pub(super) fn release(&mut self, key: Key<Worker>) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        worker.assignment = None;
        let service = worker.service;
        if let Some(record) = self.services.get_mut(service) {
            record.waiting.push_back(key);
        }
        self.dispatch(service);
    }

    fn on_partial(&mut self, key: Key<Worker>, address: &Hop, body: Frames) {
        let Some(request_key) = self.assigned(key, address) else {
            self.counters.unsolicited += 1;
            return self.violate(key);
        };
        self.refresh(key);
        let Some(request) = self.requests.get_mut(request_key) else {
            return;
        };
        match &request.from {
            Origin::Remote(to) if to.version == Version::V02 => {
                request.partials = Partials::Forwarded;
                let to = to.clone();
                let Some(service) = self.services.get(request.service) else {
                    return;
                };
                let message = ToPeer::Partial { service: service.name.clone(), body };
                self.send(Tag::Partial(request_key), Outgoing { to, message });
            }
            Origin::Remote(_) | Origin::Local(_) => self.keep_partial(request_key, body),
            Origin::Gone => {}
        }
    }

    /// Keeps a part for a client that takes one reply only (mdp.md §6.2).
    fn keep_partial(&mut self, key: Key<Request>, body: Frames) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let Partials::Kept(kept, bytes) = &mut request.partials else {
            return;
        };
        if self.config.partial_policy == PartialPolicy::Drop {
            return;
        }
        *bytes += body.byte_len() + body.len() * size_of::<bytes::Bytes>();
        if *bytes <= self.config.partial_bytes_max {
            kept.extend(body);
            return;
        }
        *kept = Frames::new();
        self.counters.overflow += 1;
        let from = std::mem::replace(&mut request.from, Origin::Gone);
        self.set_request_timer(key, None);
        self.answer_local(&from, RequestError::QueueFull);
    }

    /// A registered worker broke the protocol: it is told and forgotten (7/MDP).
    fn violate(&mut self, key: Key<Worker>) {
        self.lose_worker(key, Farewell::Disconnect);
    }

    /// Forgets a worker and takes care of the request it had.
    pub(super) fn lose_worker(&mut self, key: Key<Worker>, farewell: Farewell) {
        self.set_worker_timer(key, None);
        let Some(worker) = self.workers.remove(key) else {
            return;
        };
        if let WorkerParty::Remote(envelope) = worker.party {
            let peer = envelope.key();
            self.peers.remove(&peer);
            if farewell == Farewell::Disconnect {
                self.counters.disconnects += 1;
                self.refusals.note(self.now, peer);
                let message = Outgoing { to: envelope, message: ToPeer::Disconnect };
                self.send(Tag::Nothing, message);
            }
        }
        if let Some(service) = self.services.get_mut(worker.service) {
            service.workers -= 1;
            service.waiting.retain(|other| *other != key);
        }
        if let Some(assignment) = worker.assignment {
            self.requeue(assignment.request);
        }
        self.note_use(worker.service);
    }

    /// Sends a peer away that is not registered, at most once per heartbeat interval.
    fn refuse(&mut self, envelope: Envelope, peer: PeerKey) {
        if self.refusals.admit(self.now, self.config.heartbeat_interval, peer) {
            self.counters.refusals += 1;
            let message = Outgoing { to: envelope, message: ToPeer::Disconnect };
            self.send(Tag::Nothing, message);
        }
    }

    /// Returns the call's request if the call is still in hand.
    pub(super) fn called(&self, call: CallId) -> Option<Key<Request>> {
        let assignment = self.workers.get(call.worker)?.assignment.as_ref()?;
        (assignment.number == call.number).then_some(assignment.request)
    }
}

impl Worker {
    fn version(&self) -> Option<Version> {
        match &self.party {
            WorkerParty::Remote(envelope) => Some(envelope.version),
            WorkerParty::Local => None,
        }
    }
}
