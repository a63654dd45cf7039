//! Requests: taken in, queued per client, handed out, given up (mdp.md §8.5, §8.7 to §8.9).

use std::sync::Arc;
use std::time::Duration;

use super::arena::Key;
use super::config::TIME_MAX;
use super::counters::Dropped;
use super::services::NoService;
use super::tables::{Assignment, Origin, Partials, Request, Service, Worker, WorkerParty};
use super::{AddressMode, BrokerCore, CallId, Output, Phase, RequestError, Tag};
use crate::Frames;
use crate::service_name::is_mmi;
use crate::wire::{ClientMessage, Envelope, Hop, Outgoing, ToPeer};

/// What a request costs beyond its body, so that empty ones are bounded too.
const REQUEST_OVERHEAD_BYTES: usize = 256;

/// How a request came in, before a bound was checked.
pub(super) struct Arrival {
    pub(super) from: Origin,
    pub(super) route: Hop,
    pub(super) body: Frames,
    pub(super) user: Option<Arc<str>>,
    pub(super) patience: Duration,
}

impl BrokerCore {
    pub(super) fn on_client(
        &mut self,
        envelope: Envelope,
        request: ClientMessage,
        user: Option<Arc<str>>,
    ) {
        let ClientMessage { service, body } = request;
        if is_mmi(service.as_slice()) {
            self.answer_mmi(envelope, service.as_slice(), &body, user.as_deref());
            return;
        }
        // Asked before the name is remembered: who may not call cannot fill the table either.
        if !self.may_call(user.as_deref(), service.as_slice()) {
            return self.count(None, |counters| counters.dropped.add(Dropped::Forbidden));
        }
        let key = match self.intern(service.as_slice()) {
            Ok(key) => key,
            Err(NoService::Invalid(reason)) => return self.counters.invalid.add(reason),
            Err(NoService::Full) => {
                return self.count(None, |counters| counters.dropped.add(Dropped::ServicesFull));
            }
        };
        let arrival = Arrival {
            route: envelope.route.clone(),
            from: Origin::Remote(envelope),
            body,
            user,
            patience: self.config.request_ttl,
        };
        // A client on the wire is told of a failure where it happens, if at all (mdp.md §12.4).
        match self.accept(key, arrival) {
            Ok(_) | Err(_) => self.note_use(key),
        }
    }

    /// Says whether a user may call a service of this name.
    pub(super) fn may_call(&self, user: Option<&str>, service: &[u8]) -> bool {
        self.config.access.as_ref().is_none_or(|access| access.may_call(user, service))
    }

    /// Tells a client that its request failed, if the service is configured to: MDP itself has
    /// silence only (mdp.md §12.4).
    pub(super) fn report_failure(&mut self, service: Key<Service>, to: Envelope) {
        let Some(record) = self.services.get(service) else {
            return;
        };
        if let (Some(body), Phase::Open) = (record.policy.error_reply.clone(), self.phase) {
            let message = ToPeer::Reply { service: record.name.clone(), body };
            self.send(Tag::Nothing, Outgoing { to, message });
        }
    }

    /// Takes a request in and hands it out if a worker waits.
    pub(super) fn accept(
        &mut self,
        service: Key<Service>,
        arrival: Arrival,
    ) -> Result<Key<Request>, RequestError> {
        let cost = arrival.body.byte_len() + REQUEST_OVERHEAD_BYTES;
        if let Some(reason) = self.reason_to_drop(service, &arrival.route, cost) {
            self.count(Some(service), |counters| counters.dropped.add(reason));
            if let Origin::Remote(to) = arrival.from {
                self.report_failure(service, to);
            }
            return Err(match reason {
                Dropped::Draining => RequestError::Stopped,
                _ => RequestError::QueueFull,
            });
        }
        self.held_bytes += cost;
        self.count(Some(service), |counters| counters.accepted += 1);
        if let Some(record) = self.services.get_mut(service) {
            record.held += 1;
        }
        let client = self.hold_client(arrival.route);
        let request = self.requests.insert(Request {
            from: arrival.from,
            client,
            service,
            body: arrival.body,
            cost,
            user: arrival.user,
            arrived: self.now,
            deadline: self.now + arrival.patience.min(TIME_MAX),
            attempts: 0,
            worker: None,
            lost_by: None,
            partials: Partials::Kept(Frames::new(), 0),
            timer_at: None,
        });
        self.enqueue(request, End::Back);
        Ok(request)
    }

    /// Returns the first bound that a request of this size would break (mdp.md §8.8, §11.7).
    fn reason_to_drop(&self, service: Key<Service>, route: &Hop, cost: usize) -> Option<Dropped> {
        if self.phase != Phase::Open {
            return Some(Dropped::Draining);
        }
        let service = self.services.get(service)?;
        if service.is_stuck() && service.queued >= service.policy.queue_max {
            return Some(Dropped::QueueFull);
        }
        if self.held_bytes + cost > self.config.held_bytes_max {
            return Some(Dropped::BytesFull);
        }
        let client = self.routes.get(route).and_then(|client| self.clients.get(*client))?;
        (client.held >= self.config.per_client_max).then_some(Dropped::ClientFull)
    }

    fn hold_client(&mut self, route: Hop) -> Key<super::Client> {
        if let Some(key) = self.routes.get(&route)
            && let Some(client) = self.clients.get_mut(*key)
        {
            client.held += 1;
            return *key;
        }
        let key = self.clients.insert(super::Client { route: route.clone(), held: 1 });
        self.routes.insert(route, key);
        key
    }

    fn release_client(&mut self, key: Key<super::Client>) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.held -= 1;
        if client.held == 0
            && let Some(client) = self.clients.remove(key)
        {
            self.routes.remove(&client.route);
        }
    }

    fn enqueue(&mut self, key: Key<Request>, end: End) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        request.worker = None;
        let (client, deadline, service_key) = (request.client, request.deadline, request.service);
        let Some(service) = self.services.get_mut(service_key) else {
            return;
        };
        if service.queued == 0
            && let Some(worker) = service.next_worker()
        {
            return self.assign(worker, key);
        }
        match end {
            End::Back => service.push_back(client, key),
            End::Front => service.push_front(client, key),
        }
        self.dispatch(service_key);
        let Some(request) = self.requests.get(key) else {
            return;
        };
        if request.worker.is_none() && request.timer_at.is_none() {
            self.set_request_timer(key, Some(deadline));
        }
    }

    /// Hands out requests while there is both a request and a worker (mdp.md §8.7: on every event
    /// that could allow it).
    pub(super) fn dispatch(&mut self, service: Key<Service>) {
        loop {
            let Some(record) = self.services.get_mut(service) else {
                return;
            };
            if record.is_stuck() {
                return;
            }
            let Some(request) = record.pop() else { return };
            let Some(worker) = record.next_worker() else {
                return;
            };
            self.assign(worker, request);
        }
    }

    fn assign(&mut self, worker_key: Key<Worker>, request_key: Key<Request>) {
        self.assignments += 1;
        let number = self.assignments;
        let Some(request) = self.requests.get_mut(request_key) else {
            return;
        };
        request.attempts += 1;
        request.worker = Some(worker_key);
        if let Some(peer) = request.lost_by.take() {
            self.late.forget(&peer, request_key);
        }
        let waiting_timer = matches!(request.from, Origin::Remote(_)) && request.timer_at.is_some();
        self.counters.queue_wait.record(self.now.saturating_sub(request.arrived));
        let address = match (&request.from, self.config.address_mode) {
            (Origin::Remote(envelope), AddressMode::Identity) => envelope.route.clone(),
            _ => token(self.incarnation, number),
        };
        let (body, user, service) = (request.body.clone(), request.user.clone(), request.service);
        let Some(worker) = self.workers.get_mut(worker_key) else {
            return;
        };
        worker.assignment = Some(Assignment {
            request: request_key,
            address: address.clone(),
            number,
            since: self.now,
            heartbeats: 0,
            parts: false,
        });
        worker.last_tx = self.now;
        match &worker.party {
            WorkerParty::Remote(envelope) => {
                let message = ToPeer::Request { address, body };
                let message = Outgoing { to: envelope.clone(), message };
                self.send(Tag::Assignment(worker_key), message);
            }
            WorkerParty::Local => {
                let Some(service) = self.services.get(service) else {
                    return;
                };
                let service = service.name.clone();
                let call = CallId { worker: worker_key, number };
                self.outputs.push_back(Output::Call { call, service, body, user });
            }
        }
        if waiting_timer {
            self.set_request_timer(request_key, None);
        }
        self.arm_worker(worker_key);
    }

    /// Puts a request back whose worker was lost, or gives it up (mdp.md §8.9).
    pub(super) fn requeue(&mut self, key: Key<Request>) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        request.worker = None;
        let service = Some(request.service);
        let attempts_max =
            self.services.get(request.service).map_or(0, |service| service.policy.attempts_max);
        let streamed = matches!(request.partials, Partials::Forwarded);
        self.held_bytes -= request.forget_parts();
        if matches!(request.from, Origin::Gone) || self.phase == Phase::Stopped {
            self.finish(key, Err(RequestError::Stopped));
        } else if streamed || request.attempts >= attempts_max {
            self.count(service, |counters| counters.lost += 1);
            self.finish(key, Err(RequestError::Lost));
        } else if request.deadline <= self.now {
            self.count(service, |counters| counters.expired += 1);
            self.finish(key, Err(RequestError::Timeout));
        } else {
            self.count(service, |counters| counters.requeued += 1);
            self.enqueue(key, End::Front);
        }
    }

    /// Ends a request: forgets it and answers whoever waits in the way there is.
    pub(super) fn finish(&mut self, key: Key<Request>, result: Result<Frames, RequestError>) {
        self.set_request_timer(key, None);
        let Some(request) = self.requests.remove(key) else {
            return;
        };
        if let Some(peer) = &request.lost_by {
            self.late.forget(peer, key);
        }
        self.held_bytes -= request.cost;
        self.release_client(request.client);
        let Some(service) = self.services.get_mut(request.service) else {
            return;
        };
        service.held -= 1;
        if request.worker.is_none() {
            service.take(request.client, key);
        }
        let name = service.name.clone();
        self.note_use(request.service);
        if result.is_ok() && !matches!(request.from, Origin::Gone) {
            self.count(Some(request.service), |counters| counters.completed += 1);
            self.counters.round_trip.record(self.now.saturating_sub(request.arrived));
        }
        match (request.from, result) {
            (Origin::Remote(to), Ok(body)) => {
                let message = ToPeer::Reply { service: name, body };
                self.send(Tag::Final(request.service), Outgoing { to, message });
            }
            (Origin::Local(id), result) => {
                self.locals.remove(&id);
                self.outputs.push_back(Output::Answer(id, result));
            }
            (Origin::Gone, Ok(_)) => {
                self.count(Some(request.service), |counters| counters.orphaned += 1);
            }
            (Origin::Remote(to), Err(_)) => self.report_failure(request.service, to),
            (Origin::Gone, Err(_)) => {}
        }
    }

    pub(super) fn on_request_timer(&mut self, key: Key<Request>) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        request.timer_at = None;
        let workers = self.services.get(request.service).map_or(0, |service| service.workers);
        let failure = if workers == 0 { RequestError::NoWorker } else { RequestError::Timeout };
        let (service, waits) = (request.service, request.worker.is_none());
        if waits {
            self.finish(key, Err(failure));
        } else {
            self.fail_early(key, RequestError::Timeout);
        }
        self.count(Some(service), |counters| counters.expired += 1);
    }

    /// Forgets who waits for a request; a worker may still be at it.
    pub(super) fn orphan(&mut self, key: Key<Request>) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        request.from = Origin::Gone;
        if request.worker.is_none() {
            self.finish(key, Err(RequestError::Stopped));
        } else {
            self.set_request_timer(key, None);
        }
    }

    /// Tells whoever waits that there will be no answer, although a worker is still at it.
    pub(super) fn fail_early(&mut self, key: Key<Request>, failure: RequestError) {
        self.set_request_timer(key, None);
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        let service = request.service;
        match std::mem::replace(&mut request.from, Origin::Gone) {
            Origin::Local(id) => {
                self.locals.remove(&id);
                self.outputs.push_back(Output::Answer(id, Err(failure)));
            }
            Origin::Remote(to) => self.report_failure(service, to),
            Origin::Gone => {}
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Back,
    Front,
}

/// The client-address frame: which broker, which assignment (mdp.md §11.2).
fn token(incarnation: [u8; 8], number: u64) -> Hop {
    let mut bytes = [0; 16];
    let (front, back) = bytes.split_at_mut(8);
    front.copy_from_slice(&incarnation);
    back.copy_from_slice(&number.to_be_bytes());
    Hop::from(bytes.as_slice())
}
