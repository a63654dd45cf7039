//! Three brokers with links, under a seed: connections break, messages on them are lost, late, doubled and
//! overtake each other, brokers die and come back under another id, workers crash and move, and nobody
//! reads a clock.
//!
//! Every service answers failures with a set body, so each request that reached a broker which lived on
//! must be answered exactly once. `BUSWIRE_SEED` replays one seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::simulation::Chance;
use super::*;
use crate::core::{BrokerAddress, LinkConfig, LinkEnd, LinkId, LinkInput, LinkNote, LinkOutput};
use crate::wire::{BrokerId, Hop, LinkMessage};

const SEEDS: u64 = 60;
const BROKERS: usize = 3;
const CLIENTS: usize = 6;
const WORKERS: usize = 5;
const BUSY: Duration = Duration::from_secs(30);
const CALM: Duration = Duration::from_secs(45);
/// From then on after `BUSY` links stay: silence is noticed, and whatever is late has come.
const SETTLED: Duration = Duration::from_secs(12);
const FAILED: &str = "failed";

type Message = Vec<Vec<u8>>;

enum Event {
    /// Frames reach a broker of this life.
    ToBroker(usize, u8, Message),
    /// A message of a connection reaches the one that asks, or the one that is asked.
    OnLink(usize, End, (u64, LinkMessage)),
    /// A connection is there, or its end is noticed.
    Opened(usize),
    Closed(usize),
    /// A broker hears of all others.
    Listed(usize),
    Ask(usize),
    Beat(usize, u8),
    Work(usize, u8, Vec<u8>, Vec<u8>),
    /// A worker dies and starts again, maybe at another broker.
    Move(usize),
    Crash(usize),
    Break(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Asking,
    Asked,
}

/// One connection between two brokers.
struct Wire {
    id: LinkId,
    ends: [(usize, u8); 2],
    is_open: bool,
    /// When what was sent last in each direction arrives.
    last: [Duration; 2],
}

struct Node {
    core: BrokerCore,
    life: u8,
}

#[derive(Default)]
struct Asked {
    at: (usize, u8),
    arrived: bool,
    answered: u32,
    handed_out: u32,
}

struct Fleet {
    chance: Chance,
    nodes: Vec<Node>,
    now: Duration,
    number: u64,
    events: BinaryHeap<Reverse<(Duration, u64)>>,
    what: BTreeMap<u64, Event>,
    wires: Vec<Wire>,
    /// Where a worker is, and which life of it.
    workers: Vec<(usize, u8)>,
    dead: BTreeSet<(usize, Vec<u8>)>,
    asked: BTreeMap<String, Asked>,
    attempts_max: u32,
    /// How often links came up, were lost, and brokers died.
    happened: [u64; 3],
}

fn config(id: u8, life: u8, attempts_max: u32) -> CoreConfig {
    let policy = ServicePolicy {
        busy_timeout: Duration::from_secs(6),
        attempts_max,
        queue_max: 20,
        error_reply: Some(Frames::from([FAILED])),
    };
    let mut bytes = [0; 8];
    (bytes[0], bytes[1]) = (id, life);
    let mut links = LinkConfig::new(BrokerId(bytes));
    // Few, so that the bounds are reached.
    (links.in_flight_max, links.service_in_flight_max, links.brokers_max) = (6, 4, 8);
    CoreConfig {
        request_ttl: Duration::from_secs(20),
        default_policy: policy,
        service_idle: Duration::from_secs(3),
        links: Some(links),
        ..CoreConfig::default()
    }
}

impl Fleet {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let attempts_max = 1 + u32::try_from(chance.below(3)).unwrap();
        let node =
            |at: u8| Node { core: BrokerCore::new(config(at, 0, attempts_max), [at; 8]), life: 0 };
        let mut it = Self {
            nodes: (0..BROKERS).map(|at| node(u8::try_from(at).unwrap())).collect(),
            chance,
            now: Duration::ZERO,
            number: 0,
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            wires: Vec::new(),
            workers: vec![(0, 0); WORKERS],
            dead: BTreeSet::new(),
            asked: BTreeMap::new(),
            attempts_max,
            happened: [0; 3],
        };
        it.list();
        for worker in 0..WORKERS {
            it.start_worker(worker);
        }
        for client in 0..CLIENTS {
            it.after(ms(0), Event::Ask(client));
        }
        for broker in 0..BROKERS {
            let time = it.chance.ms(80_000);
            it.after(time, Event::Crash(broker));
        }
        it
    }

    fn bad(&self) -> bool {
        self.now < BUSY
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.number += 1;
        self.events.push(Reverse((time, self.number)));
        self.what.insert(self.number, event);
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    fn list(&mut self) {
        for broker in 0..BROKERS {
            let time = self.chance.ms(1000);
            self.after(time, Event::Listed(broker));
        }
    }

    /// The row of a broker that died is there for a while: its old id stands at the address of the new one.
    fn addresses(&self) -> Vec<BrokerAddress> {
        let address = |(at, life): (usize, u8)| {
            let mut bytes = [0; 8];
            (bytes[0], bytes[1]) = (u8::try_from(at).unwrap(), life);
            let endpoint = Arc::from(at.to_string());
            BrokerAddress { id: BrokerId(bytes), name: Arc::from(format!("g{at}")), endpoint }
        };
        let lives = self.nodes.iter().enumerate().flat_map(|(at, node)| {
            (node.life.saturating_sub(1)..=node.life).map(move |life| (at, life))
        });
        lives.map(address).collect()
    }

    fn route(&self, worker: usize) -> Vec<u8> {
        vec![2, u8::try_from(worker).unwrap(), self.workers[worker].1]
    }

    fn worker_says(&mut self, worker: usize, rest: &[&[u8]]) {
        let mut message = vec![self.route(worker)];
        if worker.is_multiple_of(2) {
            message.push(Vec::new());
        }
        message.push(if worker.is_multiple_of(2) { b"MDPW01" } else { b"MDPW02" }.to_vec());
        message.extend(rest.iter().map(|frame| frame.to_vec()));
        let broker = self.workers[worker].0;
        let (life, delay) = (self.nodes[broker].life, self.chance.ms(20));
        self.after(delay, Event::ToBroker(broker, life, message));
    }

    /// A worker registers somewhere; in the end each service has one.
    fn start_worker(&mut self, worker: usize) {
        let broker = self.chance.below(BROKERS as u64);
        self.workers[worker].0 = usize::try_from(broker).unwrap();
        self.workers[worker].1 = self.workers[worker].1.wrapping_add(1);
        let service = format!("s{}", worker % 2);
        self.worker_says(worker, &[&[1], service.as_bytes()]);
        self.after(ms(1000), Event::Beat(worker, self.workers[worker].1));
        if self.bad() {
            let time = self.chance.ms(25_000);
            self.after(time, Event::Move(worker));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToBroker(at, life, message) if life == self.nodes[at].life => {
                self.broker_gets(at, &message);
            }
            Event::OnLink(wire, end, message) => self.link_gets(wire, end, message),
            Event::Opened(wire) => self.link(wire, LinkInput::Opened(self.wires[wire].id)),
            Event::Closed(wire) => self.link(wire, LinkInput::Closed(self.wires[wire].id)),
            Event::Listed(at) => {
                let brokers = self.addresses();
                self.input(at, Input::Link(LinkInput::Brokers(brokers)));
            }
            Event::Ask(client) => self.ask(client),
            Event::Beat(worker, life) if life == self.workers[worker].1 => {
                self.worker_says(worker, &[&[4 + u8::from(worker % 2 == 1)]]);
                self.after(ms(1000), Event::Beat(worker, life));
            }
            Event::Work(worker, life, address, body) if life == self.workers[worker].1 => {
                self.work(worker, &address, &body);
            }
            Event::Move(worker) if self.bad() => {
                self.dead.insert((self.workers[worker].0, self.route(worker)));
                self.start_worker(worker);
            }
            Event::Crash(at) if self.bad() => self.crash(at),
            Event::Break(wire) if self.bad() => self.break_off(wire),
            // What an earlier life had in mind, or would disturb the calm.
            Event::ToBroker(..)
            | Event::Beat(..)
            | Event::Work(..)
            | Event::Move(_)
            | Event::Crash(_)
            | Event::Break(_) => {}
        }
    }

    /// Odd clients speak 0.2.
    fn ask(&mut self, client: usize) {
        let at = client % BROKERS;
        let tag = format!("{client}.{}", self.number);
        let life = self.nodes[at].life;
        self.asked.insert(tag.clone(), Asked { at: (at, life), ..Asked::default() });
        let route = vec![1, u8::try_from(client).unwrap()];
        let mut message = vec![route, tag.clone().into_bytes(), Vec::new()];
        message.push(if client.is_multiple_of(2) { b"MDPC01" } else { b"MDPC02" }.to_vec());
        if client % 2 == 1 {
            message.push(vec![1]);
        }
        message.extend([format!("s{}", self.chance.below(2)).into_bytes(), tag.into_bytes()]);
        self.after(ms(1), Event::ToBroker(at, life, message));
        if self.bad() {
            let pause = self.chance.ms(600);
            self.after(pause, Event::Ask(client));
        }
    }

    fn work(&mut self, worker: usize, address: &[u8], body: &[u8]) {
        let streams = worker % 2 == 1;
        if streams && self.chance.one_in(3) {
            self.worker_says(worker, &[&[3], address, b"", body]);
            let (next, life) = (self.chance.ms(300), self.workers[worker].1);
            self.after(next, Event::Work(worker, life, address.to_vec(), body.to_vec()));
        } else {
            self.worker_says(worker, &[&[3 + u8::from(streams)], address, b"", body]);
        }
    }

    fn crash(&mut self, at: usize) {
        self.happened[2] += 1;
        for wire in 0..self.wires.len() {
            if self.wires[wire].ends.iter().any(|(node, _)| *node == at) {
                self.break_off(wire);
            }
        }
        let life = self.nodes[at].life + 1;
        let number = u8::try_from(at).unwrap();
        let core = BrokerCore::new(
            config(number, life, self.attempts_max),
            [number, life, 1, 1, 1, 1, 1, 1],
        );
        self.nodes[at] = Node { core, life };
        self.list();
    }

    fn break_off(&mut self, wire: usize) {
        if std::mem::take(&mut self.wires[wire].is_open) {
            let time = self.chance.ms(300);
            self.after(time, Event::Closed(wire));
        }
    }

    /// Something for the one that asks over a connection.
    fn link(&mut self, wire: usize, input: LinkInput) {
        let (at, life) = self.wires[wire].ends[0];
        if self.nodes[at].life == life {
            self.input(at, Input::Link(input));
        }
    }

    fn link_gets(&mut self, wire: usize, end: End, message: (u64, LinkMessage)) {
        let (at, life) = self.wires[wire].ends[end as usize];
        if self.nodes[at].life != life {
            return;
        }
        let from = match end {
            End::Asking => LinkEnd::Link(self.wires[wire].id),
            End::Asked => LinkEnd::Asker(asker_route(wire)),
        };
        self.input(at, Input::Link(LinkInput::Received { from, message: Ok(message) }));
    }

    /// Puts a message on a connection; says whether that is there.
    fn put(&mut self, wire: usize, to: End, message: (u64, LinkMessage)) -> bool {
        if !self.wires[wire].is_open {
            return false;
        }
        let bad = self.bad();
        // Whatever a bad line does, it shows by the order of messages.
        if bad && self.chance.one_in(400) {
            return true;
        }
        if bad && self.chance.one_in(400) {
            let late = self.chance.ms(3000);
            self.after(late, Event::OnLink(wire, to, message.clone()));
        }
        let time = self.now + self.chance.ms(30);
        let overtakes = bad && self.chance.one_in(400);
        let last = &mut self.wires[wire].last[to as usize];
        let time = if overtakes { time } else { time.max(*last) };
        *last = time;
        self.at(time, Event::OnLink(wire, to, message));
        true
    }

    fn broker_gets(&mut self, at: usize, message: &Message) {
        let input = match decode(message, &WireLimits::default()) {
            Ok(message) => Input::Received { message, user: None },
            Err(reason) => Input::Invalid(reason),
        };
        if message[0][0] == 1 {
            let tag = std::str::from_utf8(&message[1]).unwrap();
            self.asked.get_mut(tag).unwrap().arrived = true;
        }
        self.input(at, input);
    }

    fn input(&mut self, at: usize, input: Input) {
        self.nodes[at].core.handle(self.now, input);
        self.obey(at);
    }

    fn obey(&mut self, at: usize) {
        while let Some(output) = self.nodes[at].core.poll_output() {
            match output {
                Output::Send(tag, message) => self.deliver(at, tag, message),
                Output::Link(output) => self.do_link(at, output),
                Output::Answer(..) | Output::Call { .. } => panic!("nothing is local here"),
            }
        }
    }

    fn do_link(&mut self, at: usize, output: LinkOutput) {
        match output {
            LinkOutput::Dial { link, endpoint } => {
                let to: usize = endpoint.parse().unwrap();
                let ends = [(at, self.nodes[at].life), (to, self.nodes[to].life)];
                let wire = self.wires.len();
                self.wires.push(Wire { id: link, ends, is_open: true, last: [self.now; 2] });
                let time = self.chance.ms(100);
                self.after(time, Event::Opened(wire));
                if self.bad() {
                    let time = self.chance.ms(20_000);
                    self.after(time, Event::Break(wire));
                }
            }
            LinkOutput::HangUp(link) => {
                let own = (at, self.nodes[at].life);
                let wire = self.wires.iter_mut().find(|it| it.id == link && it.ends[0] == own);
                wire.unwrap().is_open = false;
            }
            LinkOutput::Send { tag, to, order, message } => {
                let own = (at, self.nodes[at].life);
                let (wire, end) = match to {
                    LinkEnd::Link(id) => {
                        let mut wires = self.wires.iter();
                        (wires.position(|it| it.id == id && it.ends[0] == own).unwrap(), End::Asked)
                    }
                    LinkEnd::Asker(route) => (wire_of(&route), End::Asking),
                };
                if !self.put(wire, end, (order, message)) {
                    let lost = Input::Undeliverable(tag, SendFailure::Unreachable);
                    self.nodes[at].core.handle(self.now, lost);
                }
            }
            LinkOutput::Note(LinkNote::Up(_)) => self.happened[0] += 1,
            LinkOutput::Note(LinkNote::Down(..)) => {
                assert!(
                    self.now < BUSY + SETTLED,
                    "broker {at} lost a link that nothing disturbed"
                );
                self.happened[1] += 1;
            }
            LinkOutput::Note(_) => {}
        }
    }

    fn deliver(&mut self, at: usize, tag: SendTag, message: crate::wire::Outgoing) {
        let mut parts = Vec::new();
        message.write_to(&mut parts);
        let frames: Message = parts.iter().map(|part| part.as_slice().to_vec()).collect();
        if frames[0][0] == 1 {
            return self.check_reply(at, &frames);
        }
        let worker = usize::from(frames[0][1]);
        let lives_elsewhere = self.workers[worker].0 != at;
        if self.dead.contains(&(at, frames[0].clone())) || lives_elsewhere {
            let lost = Input::Undeliverable(tag, SendFailure::Unreachable);
            self.nodes[at].core.handle(self.now, lost);
        } else if frames[0][2] == self.workers[worker].1 {
            self.worker_gets(worker, &frames);
        }
    }

    fn worker_gets(&mut self, worker: usize, message: &Message) {
        let rest = if worker.is_multiple_of(2) { &message[3..] } else { &message[2..] };
        match (rest[0][0], rest) {
            (2, [_, address, _, body]) => {
                let tag = std::str::from_utf8(body).unwrap();
                let asked = self.asked.get_mut(tag).unwrap();
                asked.handed_out += 1;
                assert!(asked.handed_out <= self.attempts_max, "{tag} was tried once too often");
                let slow = self.bad() && self.chance.one_in(12);
                let time = self.chance.ms(if slow { 9000 } else { 150 });
                let life = self.workers[worker].1;
                self.after(time, Event::Work(worker, life, address.clone(), body.clone()));
            }
            (code, [_]) if code == 5 + u8::from(worker % 2 == 1) => self.start_worker(worker),
            (code, [_]) => assert_eq!(code, 4 + u8::from(worker % 2 == 1)),
            other => panic!("a worker got {other:?}"),
        }
    }

    /// A reply has its request's id and its own body, and nothing follows the last part.
    fn check_reply(&mut self, at: usize, frames: &Message) {
        let tag = std::str::from_utf8(&frames[1]).unwrap();
        let is_02 = frames[0][1] % 2 == 1;
        let is_final = !is_02 || frames[4] == [3];
        let body = if is_02 { &frames[6..] } else { &frames[5..] };
        assert!(!body.is_empty());
        for frame in body {
            let said = std::str::from_utf8(frame).unwrap();
            assert!(said == tag || said == FAILED, "{tag} was answered with {said}");
        }
        let asked = self.asked.get_mut(tag).unwrap();
        assert_eq!(asked.at, (at, self.nodes[at].life), "{tag} was answered by another broker");
        assert_eq!(asked.answered, 0, "something follows the answer to {tag}");
        asked.answered += u32::from(is_final);
    }

    /// Runs to the end: at last every request that arrived has had its answer.
    fn run(mut self) -> ([u64; 3], Vec<Counters>) {
        let end = CALM + Duration::from_secs(120);
        loop {
            let held: usize = self.nodes.iter().map(|node| node.core.requests_held()).sum();
            if self.now >= end || (self.now >= CALM && held == 0) {
                break;
            }
            let event = self.events.peek().map(|Reverse((at, _))| *at);
            let due = self.nodes.iter().filter_map(|node| node.core.poll_timeout()).min();
            let Some(next) = event.into_iter().chain(due).min() else { break };
            self.now = self.now.max(next);
            if event.is_some_and(|at| at <= self.now)
                && let Some(Reverse((_, number))) = self.events.pop()
                && let Some(event) = self.what.remove(&number)
            {
                self.happen(event);
            }
            for at in 0..BROKERS {
                self.nodes[at].core.handle_timeout(self.now);
                self.obey(at);
                if self.number.is_multiple_of(8) {
                    self.nodes[at].core.check();
                }
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.core.requests_held(), 0, "broker {at} holds something for ever");
            let brokers = node.core.brokers();
            let up = brokers.iter().filter(|it| it.is_up).count();
            assert_eq!(up, BROKERS - 1, "{at} at {:?}: {brokers:?}", self.now);
        }
        for (tag, asked) in &self.asked {
            let lives = self.nodes[asked.at.0].life == asked.at.1;
            assert!(!lives || asked.answered == u32::from(asked.arrived), "{tag} waits for ever");
        }
        (self.happened, self.nodes.iter().map(|node| *node.core.counters()).collect())
    }
}

fn asker_route(wire: usize) -> Hop {
    Hop::from(&u32::try_from(wire).unwrap().to_be_bytes()[..])
}

fn wire_of(route: &Hop) -> usize {
    u32::from_be_bytes(route.as_slice().try_into().unwrap()).try_into().unwrap()
}

#[test]
fn a_request_is_answered_once_by_one_worker_of_any_broker_whatever_happens_between_them() {
    if let Ok(seed) = std::env::var("BUSWIRE_SEED") {
        Fleet::new(seed.parse().unwrap()).run();
        return;
    }
    let mut happened = [0; 3];
    let (mut links, mut requests) = (LinkCounters::default(), RequestCounters::default());
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| Fleet::new(seed).run());
        let (events, counters) = run.unwrap_or_else(|_| panic!("seed {seed}: see above"));
        for (sum, more) in happened.iter_mut().zip(events) {
            *sum += more;
        }
        for it in counters {
            links.forwarded += it.links.forwarded;
            links.accepted += it.links.accepted;
            links.returned += it.links.returned;
            links.late += it.links.late;
            links.lost += it.links.lost;
            requests.completed += it.requests.completed;
            requests.requeued += it.requests.requeued;
            requests.lost += it.requests.lost;
        }
    }
    // The faults are no test if they do not come to pass.
    let [up, down, crashes] = happened;
    assert!(up > SEEDS * 10 && down > SEEDS * 5 && crashes > SEEDS / 2, "{happened:?}");
    let LinkCounters { forwarded, accepted, returned, lost, .. } = links;
    assert!(forwarded > SEEDS * 50 && accepted > SEEDS * 40, "{links:?}");
    assert!(returned > SEEDS && lost > SEEDS && links.late > SEEDS / 10, "{links:?}");
    assert!(requests.requeued > SEEDS && requests.lost > SEEDS, "{requests:?}");
    assert!(requests.completed > SEEDS * 100, "{requests:?}");
}
