//! Another broker asks this one.

use std::time::Duration;

use super::session::Session;
use super::{LinkEnd, LinkNote, NAMES_MAX, Numbered};
use crate::ServiceName;
use crate::core::arena::Key;
use crate::core::counters::Dropped;
use crate::core::queue::Arrival;
use crate::core::tables::{Origin, Request, Service};
use crate::core::{BrokerCore, RequestError, Tag, Timer};
use crate::wire::{BadLinkMessage, BrokerId, Hop, LinkMessage, Refusal, Returned};

/// Another broker, as long as it asks.
pub(crate) struct Asker {
    pub(super) id: BrokerId,
    route: Hop,
    pub(super) session: Session,
    /// What it asked and has no answer to yet.
    pub(super) requests: Numbered,
}

impl BrokerCore {
    pub(super) fn on_asker_message(
        &mut self,
        route: Hop,
        message: Result<(u64, LinkMessage), BadLinkMessage>,
    ) {
        let known = self.links.routes.get(&route).copied();
        let (order, message) = match message {
            Ok(message) => message,
            Err(error) => {
                if let Some(asker) = known {
                    self.forget_asker(asker);
                }
                let why = match error {
                    BadLinkMessage::Version(version) => {
                        self.note(LinkNote::Version(version));
                        Refusal::Version
                    }
                    BadLinkMessage::Malformed => Refusal::Broken,
                };
                return self.refuse_asker(route, why);
            }
        };
        let Some(key) = known else {
            return match message {
                LinkMessage::Hello { from, to } if order == 0 => self.on_hello(route, from, to),
                _ => self.refuse_asker(route, Refusal::Unknown),
            };
        };
        let now = self.now;
        let asker = self.links.askers.get_mut(key);
        let is_next = asker.is_some_and(|asker| asker.session.takes(now, order));
        match message {
            _ if !is_next => self.dismiss_asker(key, Refusal::Broken),
            LinkMessage::Beat => {}
            LinkMessage::Cancel { number } => self.on_far_cancel(key, number),
            LinkMessage::Request { .. } => self.on_far_request(key, message),
            _ => self.dismiss_asker(key, Refusal::Broken),
        }
    }

    fn on_hello(&mut self, route: Hop, id: BrokerId, to: BrokerId) {
        let Some(config) = self.links.config.clone() else { return };
        if id == config.id {
            return self.refuse_asker(route, Refusal::Itself);
        }
        // It looks for one that died at this address. That says nothing of what it asks here.
        if to != config.id {
            return self.refuse_asker(route, Refusal::Another);
        }
        // It has a new connection: what it asked over the one before it has given up.
        let old: Vec<_> = self.links.askers.iter().filter(|(_, asker)| asker.id == id).collect();
        let old: Vec<_> = old.into_iter().map(|(key, _)| key).collect();
        for key in old {
            self.forget_asker(key);
        }
        if self.links.askers.len() >= config.brokers_max {
            self.note(LinkNote::Refused(Refusal::Full));
            return self.refuse_asker(route, Refusal::Full);
        }
        let mut session = Session::new(self.now);
        session.takes(self.now, 0);
        let asker = Asker { id, route: route.clone(), session, requests: Numbered::new() };
        let key = self.links.askers.insert(asker);
        self.links.routes.insert(route, key);
        self.tell_asker(key, LinkMessage::Welcome(config.id));
        let offered = self.services.iter().filter(|(_, service)| service.offered);
        let names: Vec<ServiceName> = offered.map(|(_, service)| service.name.clone()).collect();
        for names in names.chunks(NAMES_MAX) {
            self.tell_asker(key, LinkMessage::Serves(names.to_vec()));
        }
        self.arm_asker(key);
    }

    pub(super) fn tell_asker(&mut self, key: Key<Asker>, message: LinkMessage) {
        let now = self.now;
        let Some(asker) = self.links.askers.get_mut(key) else { return };
        let (order, to) = (asker.session.next(now), LinkEnd::Asker(asker.route.clone()));
        self.say(Tag::Asker(key), to, order, message);
    }

    fn refuse_asker(&mut self, route: Hop, why: Refusal) {
        self.say(Tag::Nothing, LinkEnd::Asker(route), 0, LinkMessage::Refused(why));
    }

    fn dismiss_asker(&mut self, key: Key<Asker>, why: Refusal) {
        self.tell_asker(key, LinkMessage::Refused(why));
        self.forget_asker(key);
    }

    /// The other broker is gone, and with it whoever waited for its answers.
    pub(in crate::core) fn forget_asker(&mut self, key: Key<Asker>) {
        self.set_asker_timer(key, None);
        let Some(asker) = self.links.askers.remove(key) else { return };
        self.links.routes.remove(&asker.route);
        for request in asker.requests.into_values() {
            self.orphan(request);
        }
    }

    fn on_far_request(&mut self, key: Key<Asker>, message: LinkMessage) {
        let LinkMessage::Request { number, wait, client, service, user, body } = message else {
            return;
        };
        let most = self.links.config.as_ref().map_or(0, |config| config.in_flight_max);
        let Some(asker) = self.links.askers.get(key) else { return };
        if asker.requests.contains_key(&number) {
            return self.dismiss_asker(key, Refusal::Broken);
        }
        if asker.requests.len() >= most {
            return self.give_back(key, number, Returned::QueueFull);
        }
        let known = self.names.get(&service).copied();
        let offered = |it: &Key<Service>| self.services.get(*it).is_some_and(|it| it.offered);
        let Some(service) = known.filter(offered) else {
            return self.give_back(key, number, Returned::NotServed);
        };
        let from = Origin::Broker(key, number);
        let arrival = Arrival { from, route: far_client(key, client), body, user, patience: wait };
        // What became of it is told where it happens, as to a client.
        if let Ok(request) = self.accept(service, arrival) {
            self.counters.links.accepted += 1;
            if let Some(asker) = self.links.askers.get_mut(key) {
                asker.requests.insert(number, request);
            }
        }
        self.note_use(service);
    }

    fn on_far_cancel(&mut self, key: Key<Asker>, number: u64) {
        let asker = self.links.askers.get_mut(key);
        // It may have been answered at the same time.
        if let Some(request) = asker.and_then(|asker| asker.requests.remove(&number)) {
            let service = self.requests.get(request).map(|request| request.service);
            self.count(service, |counters| counters.cancelled += 1);
            self.orphan(request);
        }
    }

    /// Answers another broker.
    pub(in crate::core) fn answer_asker(&mut self, key: Key<Asker>, answer: LinkMessage) {
        let Some(asker) = self.links.askers.get_mut(key) else { return };
        match &answer {
            LinkMessage::Final { number, .. } | LinkMessage::Returned { number, .. } => {
                asker.requests.remove(number);
            }
            // More is to come.
            _ => {}
        }
        self.tell_asker(key, answer);
    }

    fn give_back(&mut self, key: Key<Asker>, number: u64, reason: Returned) {
        self.counters.links.returned += 1;
        self.answer_asker(key, LinkMessage::Returned { number, reason });
    }

    /// Tells another broker why there is no answer. `had` is whether a worker had the request.
    pub(in crate::core) fn return_request(
        &mut self,
        key: Key<Asker>,
        number: u64,
        had: bool,
        failure: RequestError,
    ) {
        let reason = match failure {
            _ if had => Returned::Lost,
            RequestError::NoWorker | RequestError::Timeout => Returned::Expired,
            RequestError::QueueFull => Returned::QueueFull,
            RequestError::Lost | RequestError::Stopped => Returned::NotServed,
        };
        self.give_back(key, number, reason);
    }

    /// Tells another broker which bound of this one its request would break.
    pub(in crate::core) fn refuse_far(&mut self, key: Key<Asker>, number: u64, why: Dropped) {
        let reason = match why {
            Dropped::BytesFull => Returned::BytesFull,
            Dropped::ClientFull => Returned::ClientFull,
            Dropped::QueueFull | Dropped::ServicesFull => Returned::QueueFull,
            Dropped::Draining | Dropped::Forbidden => Returned::NotServed,
        };
        self.give_back(key, number, reason);
    }

    /// Gives back what other brokers asked of a service and no worker has in hand: they may find one
    /// elsewhere, and nobody forwards it from here.
    pub(super) fn give_back_waiting(&mut self, service: Key<Service>) {
        let Some(record) = self.services.get(service) else { return };
        let waiting: Vec<Key<Request>> = record.queues.values().flatten().copied().collect();
        let of_others = |key: &Key<Request>| {
            self.requests.get(*key).is_some_and(|it| matches!(it.from, Origin::Broker(..)))
        };
        let mut waiting: Vec<_> = waiting.into_iter().filter(of_others).collect();
        // Oldest first: so each client's stay in order, whether they go on at once there or wait.
        waiting.sort_unstable_by_key(|key| self.requests.get(*key).map(|it| it.sequence));
        for request in waiting {
            self.finish(request, Err(RequestError::Stopped));
        }
    }

    pub(in crate::core) fn on_asker_timer(&mut self, key: Key<Asker>) {
        let Some(asker) = self.links.askers.get_mut(key) else { return };
        asker.session.timer_at = None;
        let Some(asker) = self.links.askers.get(key) else { return };
        let (silence, beat) = self.session_due(&asker.session);
        if silence <= self.now {
            return self.dismiss_asker(key, Refusal::Unknown);
        }
        if beat <= self.now {
            self.tell_asker(key, LinkMessage::Beat);
        }
        self.arm_asker(key);
    }

    fn arm_asker(&mut self, key: Key<Asker>) {
        let Some(asker) = self.links.askers.get(key) else { return };
        let (silence, beat) = self.session_due(&asker.session);
        self.set_asker_timer(key, Some(silence.min(beat)));
    }

    fn set_asker_timer(&mut self, key: Key<Asker>, at: Option<Duration>) {
        let Some(asker) = self.links.askers.get_mut(key) else { return };
        if let Some(old) = std::mem::replace(&mut asker.session.timer_at, at) {
            self.timers.remove(&(old, Timer::Asker(key)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Asker(key)));
        }
    }
}

/// Tells the clients of other brokers apart, from each other and from connections: a routing id that
/// begins with zero has five bytes (mdp.md §3.1), this has thirteen.
fn far_client(key: Key<Asker>, client: u64) -> Hop {
    let [.., a, b, c, d] = key.to_bits().to_be_bytes();
    let mut bytes = [0; 13];
    for (to, from) in
        bytes.iter_mut().skip(1).zip([a, b, c, d].into_iter().chain(client.to_be_bytes()))
    {
        *to = from;
    }
    Hop::from(bytes.as_slice())
}
