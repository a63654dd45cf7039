//! The broker's table per worker (mdp.md §8.2): one function for each message.

use std::sync::Arc;

use super::arena::Key;
use super::counters::Farewell;
use super::info::ServiceKind;
use super::services::NoService;
use super::tables::{Origin, Partials, Request, Service, Worker, WorkerParty};
use super::{BrokerCore, CallId, DuplicateReady, PartialPolicy, Phase, RequestError, Tag};
use crate::Frames;
use crate::service_name::is_mmi;
use crate::wire::{Envelope, Hop, LinkMessage, Outgoing, PeerKey, ToPeer, Version, WorkerMessage};

impl BrokerCore {
    pub(super) fn on_worker(
        &mut self,
        envelope: Envelope,
        message: WorkerMessage,
        user: Option<Arc<str>>,
    ) {
        let peer = envelope.key();
        let Some(worker) = self.peers.get(&peer).copied() else {
            return self.on_unknown(envelope, peer, message, user);
        };
        let known_version = self.workers.get(worker).and_then(Worker::version);
        if known_version != Some(envelope.version) {
            return self.violate(worker, Farewell::VersionChange);
        }
        match message {
            WorkerMessage::Heartbeat => self.on_heartbeat(worker),
            WorkerMessage::Reply { address, body } => self.on_reply(worker, &address, body),
            WorkerMessage::Partial { address, body } => self.on_partial(worker, &address, body),
            WorkerMessage::Disconnect => self.lose_worker(worker, None),
            WorkerMessage::Ready { service } => self.on_second_ready(worker, &service),
            WorkerMessage::Malformed => self.violate(worker, Farewell::Malformed),
        }
    }

    fn on_unknown(
        &mut self,
        envelope: Envelope,
        peer: PeerKey,
        message: WorkerMessage,
        user: Option<Arc<str>>,
    ) {
        match message {
            WorkerMessage::Ready { service } => self.on_ready(envelope, peer, &service, user),
            WorkerMessage::Disconnect => {}
            WorkerMessage::Reply { address, body } => {
                if !self.take_late(&peer, &address, body) {
                    self.counters.unsolicited += 1;
                }
                self.refuse(envelope, peer, Farewell::Unregistered);
            }
            WorkerMessage::Partial { .. } => {
                self.counters.unsolicited += 1;
                self.refuse(envelope, peer, Farewell::Unregistered);
            }
            WorkerMessage::Heartbeat => self.refuse(envelope, peer, Farewell::Unregistered),
            WorkerMessage::Malformed => self.refuse(envelope, peer, Farewell::Malformed),
        }
    }

    fn on_ready(
        &mut self,
        envelope: Envelope,
        peer: PeerKey,
        service: &Hop,
        user: Option<Arc<str>>,
    ) {
        let key = match self.admit(service.as_slice(), user.as_deref()) {
            Ok(key) => key,
            Err(farewell) => return self.refuse(envelope, peer, farewell),
        };
        self.refusals.forget(&peer);
        let worker = self.add_worker(key, WorkerParty::Remote(envelope), user);
        self.peers.insert(peer, worker);
        self.dispatch(key);
    }

    /// Finds the service that a worker may register for.
    fn admit(&mut self, service: &[u8], user: Option<&str>) -> Result<Key<Service>, Farewell> {
        if is_mmi(service) {
            return Err(Farewell::ServiceName);
        }
        let access = self.config.access.as_ref();
        if !access.is_none_or(|access| access.may_register(user, service)) {
            return Err(Farewell::Forbidden);
        }
        if self.phase == Phase::Stopped {
            return Err(Farewell::Stopped);
        }
        if self.workers.len() >= self.config.workers_max {
            return Err(Farewell::Full);
        }
        let key = self.intern(service).map_err(|reason| match reason {
            NoService::Invalid(_) => Farewell::ServiceName,
            NoService::Full => Farewell::Full,
        })?;
        match self.services.get(key).map(|service| service.kind) {
            Some(ServiceKind::Remote) => Ok(key),
            Some(ServiceKind::Local) | None => Err(Farewell::ServiceName),
        }
    }

    /// Adds an idle worker at the tail of its service's waiting list.
    pub(super) fn add_worker(
        &mut self,
        service: Key<Service>,
        party: WorkerParty,
        user: Option<Arc<str>>,
    ) -> Key<Worker> {
        let key = self.workers.insert(Worker {
            party,
            service,
            assignment: None,
            user,
            draining: false,
            registered: self.now,
            idle_since: self.now,
            answered: 0,
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
            DuplicateReady::Refresh | DuplicateReady::Disconnect => {
                self.violate(key, Farewell::SecondReady);
            }
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
            return self.violate(key, Farewell::Unsolicited);
        };
        self.complete(key, request, body);
    }

    /// Answers a request and makes its worker available again.
    pub(super) fn complete(&mut self, key: Key<Worker>, request: Key<Request>, body: Frames) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        worker.last_rx = self.now;
        worker.answered += 1;
        let body = self.behind_its_parts(request, body);
        self.finish(request, Ok(body));
        self.release(key);
    }

    /// Puts the parts that were kept in front of the last one.
    pub(super) fn behind_its_parts(&mut self, request: Key<Request>, body: Frames) -> Frames {
        match self.requests.get_mut(request) {
            Some(Request { partials: Partials::Kept(kept, _), .. }) if !kept.is_empty() => {
                let mut whole = std::mem::take(kept);
                whole.extend(body);
                whole
            }
            _ => body,
        }
    }

    /// Makes a worker available at the tail of the waiting list (mdp.md §8.7).
    pub(super) fn release(&mut self, key: Key<Worker>) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        worker.assignment = None;
        worker.idle_since = self.now;
        if worker.draining {
            return self.lose_worker(key, Some(Farewell::Dismissed));
        }
        let service = worker.service;
        if let Some(record) = self.services.get_mut(service) {
            record.waiting.push_back(key);
        }
        self.dispatch(service);
    }

    fn on_partial(&mut self, key: Key<Worker>, address: &Hop, body: Frames) {
        let Some(request_key) = self.assigned(key, address) else {
            self.counters.unsolicited += 1;
            return self.violate(key, Farewell::Unsolicited);
        };
        self.refresh(key);
        let assignment = self.workers.get_mut(key).and_then(|worker| worker.assignment.as_mut());
        if let Some(assignment) = assignment {
            assignment.parts = true;
        }
        self.pass_part(request_key, body);
    }

    /// Passes a part of an answer on, or keeps it.
    pub(super) fn pass_part(&mut self, request_key: Key<Request>, body: Frames) {
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
            Origin::Broker(asker, number) => {
                let (asker, number) = (*asker, *number);
                request.partials = Partials::Forwarded;
                self.answer_asker(asker, LinkMessage::Partial { number, body });
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
        let cost = body.byte_len() + body.len() * size_of::<bytes::Bytes>();
        let fits = *bytes + cost <= self.config.partial_bytes_max
            && self.held_bytes + cost <= self.config.held_bytes_max;
        if fits {
            *bytes += cost;
            request.cost += cost;
            self.held_bytes += cost;
            kept.extend(body);
            return;
        }
        let service = request.service;
        self.held_bytes -= request.forget_parts();
        self.count(Some(service), |counters| counters.partials_full += 1);
        self.fail_early(key, RequestError::QueueFull);
    }

    /// A registered worker broke the protocol: it is told and forgotten (7/MDP).
    fn violate(&mut self, key: Key<Worker>, farewell: Farewell) {
        self.lose_worker(key, Some(farewell));
    }

    /// Forgets a worker and takes care of the request it had.
    ///
    /// With a farewell it is told, in the version and shape it registered with; without one it said
    /// so itself, or cannot be reached.
    pub(super) fn lose_worker(&mut self, key: Key<Worker>, farewell: Option<Farewell>) {
        self.set_worker_timer(key, None);
        let Some(worker) = self.workers.remove(key) else {
            return;
        };
        let mut peer = None;
        if let WorkerParty::Remote(envelope) = worker.party {
            let key = envelope.key();
            self.peers.remove(&key);
            if let Some(farewell) = farewell {
                self.counters.disconnects.add(farewell);
                self.refusals.note(self.now, key.clone());
                let message = Outgoing { to: envelope, message: ToPeer::Disconnect };
                self.send(Tag::Nothing, message);
            }
            peer = Some(key);
        }
        if let Some(service) = self.services.get_mut(worker.service) {
            service.workers -= 1;
            service.waiting.retain(|other| *other != key);
        }
        // Before anything is handed out: what other brokers asked must not go on from here.
        self.update_offer(worker.service);
        if let Some(assignment) = worker.assignment {
            self.requeue(assignment.request);
            // A worker that broke the protocol is not believed later either.
            let slow = matches!(farewell, Some(Farewell::Expired | Farewell::BusyTimeout));
            if let (true, Some(peer)) = (slow, peer) {
                self.expect_late(peer, assignment);
            }
        }
        // With the last worker what waits may go to other brokers.
        self.dispatch(worker.service);
        self.note_use(worker.service);
    }

    /// Sends a peer away that is not registered, at most once per heartbeat interval.
    fn refuse(&mut self, envelope: Envelope, peer: PeerKey, farewell: Farewell) {
        if self.refusals.admit(self.now, self.config.heartbeat_interval, peer) {
            self.counters.disconnects.add(farewell);
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
