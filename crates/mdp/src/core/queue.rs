//! Requests: taken in, queued per client, handed out, given up (mdp.md §8.5, §8.7 to §8.9).

use std::sync::Arc;
use std::time::Duration;

use super::arena::Key;
use super::config::TIME_MAX;
use super::counters::Dropped;
use super::services::NoService;
use super::tables::{
    Assignment, Origin, Partials, Place, Request, Service, Taker, Worker, WorkerParty,
};
use super::{AddressMode, BrokerCore, CallId, Output, Phase, RequestError, Tag};
use crate::Frames;
use crate::service_name::is_mmi;
use crate::wire::{ClientMessage, Envelope, Hop, LinkMessage, Outgoing, ToPeer};

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
            match arrival.from {
                Origin::Remote(to) => self.report_failure(service, to),
                Origin::Broker(asker, number) => self.refuse_far(asker, number, reason),
                Origin::Local(_) | Origin::Gone => {}
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
        self.taken += 1;
        let request = self.requests.insert(Request {
            from: arrival.from,
            sequence: self.taken,
            client,
            service,
            body: arrival.body,
            cost,
            user: arrival.user,
            arrived: self.now,
            deadline: self.now + arrival.patience.min(TIME_MAX),
            attempts: 0,
            place: Place::Queue,
            lost_by: None,
            partials: Partials::Kept(Frames::new(), 0),
            timer_at: None,
        });
        self.enqueue(request);
        Ok(request)
    }

    /// Returns the first bound that a request of this size would break (mdp.md §8.8, §11.7).
    fn reason_to_drop(
        &mut self,
        service: Key<Service>,
        route: &Hop,
        cost: usize,
    ) -> Option<Dropped> {
        if self.phase != Phase::Open {
            return Some(Dropped::Draining);
        }
        let record = self.services.get(service)?;
        if record.queued >= record.policy.queue_max && self.next_taker(service).is_none() {
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

    fn enqueue(&mut self, key: Key<Request>) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        request.place = Place::Queue;
        let (client, deadline, service_key) = (request.client, request.deadline, request.service);
        let is_first = self.services.get(service_key).is_some_and(|service| service.queued == 0);
        if is_first && let Some(taker) = self.next_taker(service_key) {
            return self.hand_out(service_key, key, taker);
        }
        let Some(service) = self.services.get_mut(service_key) else {
            return;
        };
        service.push_back(client, key);
        self.dispatch(service_key);
        let Some(request) = self.requests.get(key) else {
            return;
        };
        if request.place == Place::Queue && request.timer_at.is_none() {
            self.set_request_timer(key, Some(deadline));
        }
    }

    /// Hands out requests while there is both a request and somebody to take it (mdp.md §8.7: on every
    /// event that could allow it).
    pub(super) fn dispatch(&mut self, service: Key<Service>) {
        while self.services.get(service).is_some_and(|record| record.queued > 0)
            && let Some(taker) = self.next_taker(service)
            && let Some(request) = self.services.get_mut(service).and_then(Service::pop)
        {
            self.hand_out(service, request, taker);
        }
    }

    /// Finds who is to get the next request of a service: the worker that is idle for longest, or, if
    /// there are none here at all, another broker.
    pub(super) fn next_taker(&mut self, key: Key<Service>) -> Option<Taker> {
        let service = self.services.get(key)?;
        if service.paused || self.phase == Phase::Stopped {
            return None;
        }
        match service.waiting.front() {
            Some(worker) => Some(Taker::Worker(*worker)),
            None if service.workers > 0 || service.elsewhere.is_empty() => None,
            None => self.choose_link(key).map(Taker::Link),
        }
    }

    fn hand_out(&mut self, service: Key<Service>, request: Key<Request>, taker: Taker) {
        match taker {
            Taker::Worker(worker) => {
                if let Some(record) = self.services.get_mut(service) {
                    record.waiting.pop_front();
                }
                self.assign(worker, request);
            }
            Taker::Link(link) => self.forward(link, request),
        }
    }

    fn assign(&mut self, worker_key: Key<Worker>, request_key: Key<Request>) {
        self.assignments += 1;
        let number = self.assignments;
        let Some(request) = self.requests.get_mut(request_key) else {
            return;
        };
        request.attempts += 1;
        request.place = Place::Worker(worker_key);
        if let Some(peer) = request.lost_by.take() {
            self.late.forget(&peer, request_key);
        }
        let waiting_timer = matches!(request.from, Origin::Remote(_) | Origin::Broker(..))
            && request.timer_at.is_some();
        self.counters.queue_wait.record(self.now.saturating_sub(request.arrived));
        let address = match (&request.from, self.config.address_mode) {
            (Origin::Remote(envelope), AddressMode::Identity) => envelope.route.clone(),
            _ => token(self.incarnation, number),
        };
        let (body, user, service) = (request.body.clone(), request.user.clone(), request.service);
        let access = match request.from {
            Origin::Local(_) => None,
            Origin::Remote(_) | Origin::Broker(..) | Origin::Gone => self.config.access.clone(),
        };
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
                self.outputs.push_back(Output::Call { call, service, body, user, access });
            }
        }
        if waiting_timer {
            self.set_request_timer(request_key, None);
        }
        self.arm_worker(worker_key);
    }

    /// Puts a request back whose worker was lost, or gives it up (mdp.md §8.9), and hands out what can be.
    pub(super) fn requeue(&mut self, key: Key<Request>) {
        let Some(service) = self.requests.get(key).map(|request| request.service) else {
            return;
        };
        self.put_back(key);
        self.dispatch(service);
    }

    /// The same without handing out, for several that were lost together.
    pub(super) fn put_back(&mut self, key: Key<Request>) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        request.place = Place::Queue;
        if let Origin::Broker(..) = request.from {
            return self.put_back_far(key);
        }
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
            self.put_in_place(key);
        }
    }

    /// A request of another broker has one attempt here, and that was it, unless the worker never got
    /// it and there is another one.
    fn put_back_far(&mut self, key: Key<Request>) {
        let Some(request) = self.requests.get(key) else { return };
        let serves = self.services.get(request.service).is_some_and(|service| service.workers > 0);
        if request.attempts > 0 {
            self.finish(key, Err(RequestError::Lost));
        } else if request.deadline <= self.now {
            self.finish(key, Err(RequestError::Timeout));
        } else if !serves || self.phase == Phase::Stopped {
            self.finish(key, Err(RequestError::Stopped));
        } else {
            self.put_in_place(key);
        }
    }

    fn put_in_place(&mut self, key: Key<Request>) {
        let Some(request) = self.requests.get(key) else { return };
        let (sequence, deadline) = (request.sequence, request.deadline);
        let is_timed = request.timer_at.is_some();
        let is_older = |other: Key<Request>| {
            self.requests.get(other).is_some_and(|other| other.sequence < sequence)
        };
        let Some(service) = self.services.get_mut(request.service) else { return };
        service.put_back(request.client, key, is_older);
        if !is_timed {
            self.set_request_timer(key, Some(deadline));
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
        if request.place == Place::Queue {
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
            (Origin::Broker(asker, number), Ok(body)) => {
                self.answer_asker(asker, LinkMessage::Final { number, body });
            }
            (Origin::Remote(to), Err(_)) => self.report_failure(request.service, to),
            (Origin::Broker(asker, number), Err(failure)) => {
                self.return_request(asker, number, request.attempts > 0, failure);
            }
            (Origin::Gone, Err(_)) => {}
        }
        if let Place::Elsewhere(link, number) = request.place {
            self.recall(link, number);
        }
    }

    pub(super) fn on_request_timer(&mut self, key: Key<Request>) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        request.timer_at = None;
        let served = self.services.get(request.service).is_some_and(Service::is_served);
        let failure = if served { RequestError::Timeout } else { RequestError::NoWorker };
        let (service, waits) = (request.service, request.place == Place::Queue);
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
        match request.place {
            // Another broker is told that nobody waits, and sees to its worker.
            Place::Queue | Place::Elsewhere(..) => self.finish(key, Err(RequestError::Stopped)),
            Place::Worker(_) => self.set_request_timer(key, None),
        }
    }

    /// Tells whoever waits that there will be no answer, although a worker is still at it.
    pub(super) fn fail_early(&mut self, key: Key<Request>, failure: RequestError) {
        self.set_request_timer(key, None);
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        if let Place::Elsewhere(..) = request.place {
            return self.finish(key, Err(failure));
        }
        let (service, had) = (request.service, request.attempts > 0);
        match std::mem::replace(&mut request.from, Origin::Gone) {
            Origin::Local(id) => {
                self.locals.remove(&id);
                self.outputs.push_back(Output::Answer(id, Err(failure)));
            }
            Origin::Remote(to) => self.report_failure(service, to),
            Origin::Broker(asker, number) => self.return_request(asker, number, had, failure),
            Origin::Gone => {}
        }
    }
}

/// The client-address frame: which broker, which assignment (mdp.md §11.2).
fn token(incarnation: [u8; 8], number: u64) -> Hop {
    let mut bytes = [0; 16];
    let (front, back) = bytes.split_at_mut(8);
    front.copy_from_slice(&incarnation);
    back.copy_from_slice(&number.to_be_bytes());
    Hop::from(bytes.as_slice())
}
