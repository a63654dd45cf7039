//! This broker asks another one: finding it, giving it requests, taking its answers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::session::Session;
use super::{BrokerAddress, LinkEnd, LinkId, LinkLoss, LinkNote, LinkOutput, Services};
use crate::core::arena::Key;
use crate::core::counters::Dropped;
use crate::core::tables::{Elsewhere, Origin, Place, Request, Service};
use crate::core::{BrokerCore, Output, RequestError, Tag, Timer};
use crate::wire::{BadLinkMessage, BrokerId, LinkMessage, Refusal, Returned};
use crate::{Frames, ServiceName};

/// How long a lost link rests at first; it doubles with each further loss.
const REST_MIN: Duration = Duration::from_millis(100);
/// And at most.
const REST_MAX: Duration = Duration::from_secs(2);
/// How long the broker of another version rests: it must be exchanged first.
const REST_VERSION: Duration = Duration::from_secs(30);

/// The way on which another broker is asked.
pub(crate) struct Link {
    pub(super) address: BrokerAddress,
    state: State,
    dial: u32,
    pub(super) session: Session,
    pub(super) services: Services,
    /// What the other has in hand, and for which service.
    pub(super) in_flight: BTreeMap<u64, (Key<Request>, Key<Service>)>,
    /// Services with requests that wait for room among those in flight.
    starved: Services,
    /// Losses since it was up last.
    losses: u32,
    /// Whether the other is among the brokers. One that is not any more is asked as long as it answers.
    is_listed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It rests until then.
    Resting(Duration),
    /// The driver makes a connection.
    Dialing,
    /// HELLO was said.
    Greeting,
    /// WELCOME was heard: the other can be asked.
    Up,
}

impl Link {
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    fn rest(&self, why: LinkLoss) -> Duration {
        match why {
            LinkLoss::Version(_) | LinkLoss::Refused(Refusal::Version | Refusal::Itself) => {
                REST_VERSION
            }
            _ => REST_MIN.saturating_mul(1 << self.losses.min(8)).min(REST_MAX),
        }
    }
}

impl BrokerCore {
    /// Takes the list of all other brokers.
    pub(super) fn on_brokers(&mut self, brokers: Vec<BrokerAddress>) {
        let Some(config) = self.links.config.clone() else { return };
        let mut wanted: BTreeMap<BrokerId, BrokerAddress> =
            brokers.into_iter().map(|it| (it.id, it)).collect();
        wanted.remove(&config.id);
        let known: Vec<_> = self.links.by_id.iter().map(|(id, key)| (*id, *key)).collect();
        for (id, key) in known {
            let Some(link) = self.links.ways.get_mut(key) else { continue };
            let stays = wanted.get(&id) == Some(&link.address);
            if stays {
                wanted.remove(&id);
            }
            link.is_listed = stays;
            // A list may lack a broker for a while; what it has in hand need not be lost for that.
            if !stays && !link.is_up() {
                self.remove_link(key);
            }
        }
        // One that is known under another address stays until it is lost.
        wanted.retain(|id, _| !self.links.by_id.contains_key(id));
        for (id, address) in wanted {
            if self.links.ways.len() >= config.brokers_max {
                return self.note(LinkNote::TooMany(config.brokers_max));
            }
            let key = self.links.ways.insert(Link {
                address,
                state: State::Dialing,
                dial: 0,
                session: Session::new(self.now),
                services: Services::new(),
                in_flight: BTreeMap::new(),
                starved: Services::new(),
                losses: 0,
                is_listed: true,
            });
            self.links.by_id.insert(id, key);
            self.dial(key);
        }
    }

    /// Forgets another broker.
    pub(super) fn remove_link(&mut self, key: Key<Link>) {
        self.lose_link(key, LinkLoss::Gone);
        self.set_link_timer(key, None);
        if let Some(link) = self.links.ways.remove(key) {
            self.links.by_id.remove(&link.address.id);
        }
    }

    fn dial(&mut self, key: Key<Link>) {
        let now = self.now;
        let Some(link) = self.links.ways.get_mut(key) else { return };
        link.dial = link.dial.wrapping_add(1);
        link.state = State::Dialing;
        let timer_at = link.session.timer_at;
        link.session = Session::new(now);
        link.session.timer_at = timer_at;
        let (id, endpoint) = (LinkId { link: key, dial: link.dial }, link.address.endpoint.clone());
        self.outputs.push_back(Output::Link(LinkOutput::Dial { link: id, endpoint }));
    }

    /// Finds the link of a connection, if that is the one it has now.
    pub(super) fn current(&self, id: LinkId) -> Option<&Link> {
        let link = self.links.ways.get(id.link).filter(|link| link.dial == id.dial);
        link.filter(|link| !matches!(link.state, State::Resting(_)))
    }

    pub(super) fn on_link_opened(&mut self, id: LinkId) {
        let Some(from) = self.links.config.as_ref().map(|config| config.id) else { return };
        if self.current(id).is_none_or(|link| link.state != State::Dialing) {
            return;
        }
        let now = self.now;
        let Some(link) = self.links.ways.get_mut(id.link) else { return };
        link.state = State::Greeting;
        link.session.last_rx = now;
        let to = link.address.id;
        self.tell_link(id.link, LinkMessage::Hello { from, to });
        self.arm_link(id.link);
    }

    fn tell_link(&mut self, key: Key<Link>, message: LinkMessage) {
        let now = self.now;
        let Some(link) = self.links.ways.get_mut(key) else { return };
        let (order, id) = (link.session.next(now), LinkId { link: key, dial: link.dial });
        self.say(Tag::Link(key), LinkEnd::Link(id), order, message);
    }

    pub(super) fn on_link_message(
        &mut self,
        id: LinkId,
        message: Result<(u64, LinkMessage), BadLinkMessage>,
    ) {
        let (now, key) = (self.now, id.link);
        if self.current(id).is_none() {
            self.counters.links.late += 1;
            return;
        }
        let Some(link) = self.links.ways.get_mut(key) else { return };
        let (order, message) = match message {
            Ok(message) => message,
            Err(BadLinkMessage::Version(version)) => {
                return self.lose_link(key, LinkLoss::Version(version));
            }
            Err(BadLinkMessage::Malformed) => return self.lose_link(key, LinkLoss::Broken),
        };
        let (is_next, state) = (link.session.takes(now, order), link.state);
        match (state, message) {
            // Another process may have got the port of one that died.
            (_, LinkMessage::Refused(Refusal::Another)) => self.lose_link(key, LinkLoss::Another),
            // Who does not know the link does not know its order either.
            (_, LinkMessage::Refused(why)) => self.lose_link(key, LinkLoss::Refused(why)),
            _ if !is_next => self.lose_link(key, LinkLoss::Broken),
            (State::Greeting, LinkMessage::Welcome(id)) => self.on_welcome(key, id),
            (State::Up, LinkMessage::Beat) => {}
            (State::Up, LinkMessage::Serves(names)) => self.on_serves(key, names),
            (State::Up, LinkMessage::Ceases(names)) => self.on_ceases(key, &names),
            (State::Up, LinkMessage::Partial { number, body }) => {
                self.on_far_partial(key, number, body);
            }
            (State::Up, LinkMessage::Final { number, body }) => {
                self.on_far_final(key, number, body);
            }
            (State::Up, LinkMessage::Returned { number, reason }) => {
                self.on_returned(key, number, reason);
            }
            _ => self.lose_link(key, LinkLoss::Broken),
        }
    }

    fn on_welcome(&mut self, key: Key<Link>, id: BrokerId) {
        let Some(link) = self.links.ways.get_mut(key) else { return };
        // One that says so although it was not meant is not believed either.
        if link.address.id != id {
            return self.lose_link(key, LinkLoss::Another);
        }
        (link.state, link.losses) = (State::Up, 0);
        let name = link.address.name.clone();
        self.note(LinkNote::Up(name));
    }

    fn on_serves(&mut self, key: Key<Link>, names: Vec<ServiceName>) {
        for name in names {
            // Beyond the bound on services a name is not remembered, wherever its workers are.
            let Ok(service) = self.intern(name.as_bytes()) else { continue };
            let Some(record) = self.services.get_mut(service) else { continue };
            let Some(link) = self.links.ways.get_mut(key) else { return };
            if link.services.insert(service) {
                // It may have served before, and still have some of that in hand.
                let in_flight = link.in_flight.values().filter(|(_, it)| *it == service).count();
                record.elsewhere.push(Elsewhere { link: key, in_flight, chosen: 0 });
            }
            self.note_use(service);
            self.dispatch(service);
        }
    }

    fn on_ceases(&mut self, key: Key<Link>, names: &[ServiceName]) {
        for name in names {
            if let Some(service) = self.names.get(name).copied() {
                self.not_elsewhere(service, key);
            }
        }
    }

    /// The other broker has no workers for the service any more. It finishes what they had.
    fn not_elsewhere(&mut self, service: Key<Service>, key: Key<Link>) {
        if let Some(link) = self.links.ways.get_mut(key) {
            link.services.remove(&service);
            link.starved.remove(&service);
        }
        if let Some(record) = self.services.get_mut(service) {
            record.elsewhere.retain(|it| it.link != key);
        }
        self.note_use(service);
    }

    /// Finds the broker that is to get the next request of a service: the one with the fewest of them
    /// in hand, of several the one that was not chosen for longest.
    pub(in crate::core) fn choose_link(&mut self, service: Key<Service>) -> Option<Key<Link>> {
        let config = self.links.config.as_ref()?;
        let record = self.services.get(service)?;
        let has_room = |it: &&Elsewhere| it.in_flight < config.service_in_flight_max;
        let mut best: Option<&Elsewhere> = None;
        for it in record.elsewhere.iter().filter(has_room) {
            let Some(link) = self.links.ways.get_mut(it.link) else { continue };
            if link.in_flight.len() >= config.in_flight_max {
                link.starved.insert(service);
            } else if best
                .is_none_or(|best| (it.in_flight, it.chosen) < (best.in_flight, best.chosen))
            {
                best = Some(it);
            }
        }
        best.map(|it| it.link)
    }

    /// Gives a request of a client of this broker to another one. It counts as an attempt: whether a
    /// worker gets it is known only if it comes back.
    pub(in crate::core) fn forward(&mut self, link: Key<Link>, key: Key<Request>) {
        self.links.numbered += 1;
        let number = self.links.numbered;
        let Some(request) = self.requests.get_mut(key) else { return };
        let Some(body) = request.from.forwarded_body(&request.body) else {
            return self.finish(key, Err(RequestError::Stopped));
        };
        request.attempts += 1;
        request.place = Place::Elsewhere(link, number);
        if let Some(peer) = request.lost_by.take() {
            self.late.forget(&peer, key);
        }
        let (service, user) = (request.service, request.user.clone());
        let wait = request.deadline.saturating_sub(self.now);
        let (arrived, client) = (request.arrived, request.client.to_bits());
        let waits_for_worker = matches!(request.from, Origin::Remote(_));
        self.counters.queue_wait.record(self.now.saturating_sub(arrived));
        self.counters.links.forwarded += 1;
        let Some(record) = self.services.get_mut(service) else { return };
        if let Some(it) = record.elsewhere.iter_mut().find(|it| it.link == link) {
            it.in_flight += 1;
            it.chosen = number;
        }
        let service_name = record.name.clone();
        if let Some(link) = self.links.ways.get_mut(link) {
            link.in_flight.insert(number, (key, service));
        }
        if waits_for_worker {
            self.set_request_timer(key, None);
        }
        let service = service_name;
        self.tell_link(link, LinkMessage::Request { number, wait, client, service, user, body });
    }

    /// Takes a request off the books of a link; `None` if the other has no such in hand.
    fn take_back(&mut self, key: Key<Link>, number: u64) -> Option<(Key<Request>, Key<Service>)> {
        let (request, service) = self.links.ways.get_mut(key)?.in_flight.remove(&number)?;
        let record = self.services.get_mut(service);
        let elsewhere = record.and_then(|it| it.elsewhere.iter_mut().find(|it| it.link == key));
        if let Some(it) = elsewhere {
            it.in_flight -= 1;
        }
        Some((request, service))
    }

    fn on_far_partial(&mut self, key: Key<Link>, number: u64, body: Frames) {
        let link = self.links.ways.get(key);
        match link.and_then(|link| link.in_flight.get(&number)) {
            Some((request, _)) => self.pass_part(*request, body),
            None => self.counters.links.late += 1,
        }
    }

    fn on_far_final(&mut self, key: Key<Link>, number: u64, body: Frames) {
        let Some((request, service)) = self.take_back(key, number) else {
            self.counters.links.late += 1;
            return;
        };
        let body = self.behind_its_parts(request, body);
        self.finish(request, Ok(body));
        self.on_room(key, service);
    }

    fn on_returned(&mut self, key: Key<Link>, number: u64, reason: Returned) {
        let Some((request, service)) = self.take_back(key, number) else {
            self.counters.links.late += 1;
            return;
        };
        let drop = |reason| (Some(reason), RequestError::QueueFull);
        let (dropped, failure) = match reason {
            Returned::Lost => {
                self.requeue(request);
                return self.on_room(key, service);
            }
            Returned::NotServed => {
                if let Some(request) = self.requests.get_mut(request) {
                    request.attempts -= 1;
                }
                self.requeue(request);
                return self.on_room(key, service);
            }
            Returned::Expired => (None, RequestError::Timeout),
            Returned::QueueFull => drop(Dropped::QueueFull),
            Returned::BytesFull => drop(Dropped::BytesFull),
            Returned::ClientFull => drop(Dropped::ClientFull),
        };
        match dropped {
            Some(reason) => self.count(Some(service), |counters| counters.dropped.add(reason)),
            None => self.count(Some(service), |counters| counters.expired += 1),
        }
        self.finish(request, Err(failure));
        self.on_room(key, service);
    }

    /// A request ended that another broker has in hand, if it still has: it need not go on.
    pub(in crate::core) fn recall(&mut self, key: Key<Link>, number: u64) {
        if let Some((_, service)) = self.take_back(key, number) {
            self.tell_link(key, LinkMessage::Cancel { number });
            self.on_room(key, service);
        }
    }

    /// There is room for one more of this service, or of another one that waited for it.
    fn on_room(&mut self, key: Key<Link>, service: Key<Service>) {
        self.dispatch(service);
        let most = self.links.config.as_ref().map_or(0, |config| config.in_flight_max);
        while let Some(link) = self.links.ways.get_mut(key)
            && link.in_flight.len() < most
            && let Some(starved) = link.starved.pop_first()
        {
            self.dispatch(starved);
        }
    }

    /// Gives a link up. What the other broker had in hand is treated as what a lost worker had.
    pub(in crate::core) fn lose_link(&mut self, key: Key<Link>, why: LinkLoss) {
        let now = self.now;
        let Some(link) = self.links.ways.get_mut(key) else { return };
        if matches!(link.state, State::Resting(_)) {
            return;
        }
        let (was_up, first) = (link.is_up(), link.losses == 0);
        let until = now + link.rest(why);
        link.losses = link.losses.saturating_add(1);
        link.state = State::Resting(until);
        let (services, in_flight) =
            (std::mem::take(&mut link.services), std::mem::take(&mut link.in_flight));
        link.starved.clear();
        let (id, name) = (LinkId { link: key, dial: link.dial }, link.address.name.clone());
        self.outputs.push_back(Output::Link(LinkOutput::HangUp(id)));
        // A broker that can't be reached is told of once, not with every further try.
        if why != LinkLoss::Gone && (was_up || first) {
            self.note(LinkNote::Down(name, why, in_flight.len()));
        }
        self.counters.links.lost += u64::from(was_up);
        for service in services {
            self.not_elsewhere(service, key);
        }
        // All of them stand in their places before any is given to somebody else.
        for (request, _) in in_flight.values() {
            self.put_back(*request);
        }
        let services: Services = in_flight.into_values().map(|(_, service)| service).collect();
        for service in services {
            self.dispatch(service);
        }
        self.set_link_timer(key, Some(until));
    }

    pub(in crate::core) fn on_link_timer(&mut self, key: Key<Link>) {
        let Some(link) = self.links.ways.get_mut(key) else { return };
        link.session.timer_at = None;
        match link.state {
            State::Resting(_) if !link.is_listed => self.remove_link(key),
            State::Resting(until) if until <= self.now => self.dial(key),
            State::Resting(until) => self.set_link_timer(key, Some(until)),
            State::Dialing => {}
            State::Greeting | State::Up => {
                let Some(link) = self.links.ways.get(key) else { return };
                let (silence, beat) = self.session_due(&link.session);
                if silence <= self.now {
                    return self.lose_link(key, LinkLoss::Silent);
                }
                if beat <= self.now && link.is_up() {
                    self.tell_link(key, LinkMessage::Beat);
                }
                self.arm_link(key);
            }
        }
    }

    fn arm_link(&mut self, key: Key<Link>) {
        let Some(link) = self.links.ways.get(key) else { return };
        let (silence, beat) = self.session_due(&link.session);
        // Before WELCOME there is nothing to be said, so only silence counts.
        let due = if link.is_up() { silence.min(beat) } else { silence };
        // It looks often enough to begin beating when the other has answered.
        let due = due.min(self.now + self.config.heartbeat_interval);
        self.set_link_timer(key, Some(due));
    }

    fn set_link_timer(&mut self, key: Key<Link>, at: Option<Duration>) {
        let Some(link) = self.links.ways.get_mut(key) else { return };
        if let Some(old) = std::mem::replace(&mut link.session.timer_at, at) {
            self.timers.remove(&(old, Timer::Link(key)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Link(key)));
        }
    }
}
