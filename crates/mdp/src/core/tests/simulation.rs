//! Whole networks under a seed: messages are lost, delayed, overtake each other and come twice,
//! workers hang, crash and lie, clients go away, the broker's clock jumps.
//!
//! Every service answers failures with a set body, so each request that reaches the broker must
//! be answered exactly once: with its own reply, or as failed. `BUSWIRE_SEED` replays one seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::*;

const SEEDS: u64 = 2000;
const CLIENTS: usize = 4;
const WORKERS: usize = 5;
/// How long new things happen; after that everything must come to an end by itself.
const BUSY: Duration = Duration::from_secs(30);
/// When the last late message has come.
const CALM: Duration = Duration::from_secs(40);
const FAILED: &str = "failed";

/// The generator `SplitMix64`: every run of a seed is the same.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(super) fn ms(&mut self, bound: u64) -> Duration {
        ms(self.below(bound))
    }
}

type Message = Vec<Vec<u8>>;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    ToBroker(Message),
    ToWorker(usize, Message),
    /// A client asks.
    Ask(usize),
    /// A worker of this life sends HEARTBEAT.
    Beat(usize, u8),
    /// A worker of this life has done something for the request with this address.
    Work(usize, u8, Vec<u8>, Vec<u8>),
    /// A worker's process dies and starts again.
    Crash(usize),
    /// A worker answers what it was never asked.
    Lie(usize),
    /// A client's process dies.
    HangUp(usize),
    /// The broker's clock is set forward, or back.
    Jump(bool),
}

#[derive(Default)]
struct Asked {
    /// How often it reached the broker, and how often that was answered.
    arrived: u32,
    answered: u32,
}

struct Network {
    core: BrokerCore,
    chance: Chance,
    now: Duration,
    /// What the broker's clock shows beyond `now`.
    ahead: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    number: u64,
    lives: [u8; WORKERS],
    client_lives: [u8; CLIENTS],
    dead: BTreeSet<Vec<u8>>,
    asked: BTreeMap<String, Asked>,
    /// Addresses that workers have seen, for lies.
    seen: Vec<Vec<u8>>,
}

impl Network {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let default_policy = ServicePolicy {
            busy_timeout: Duration::from_secs(6),
            attempts_max: 1 + u32::try_from(chance.below(3)).unwrap(),
            queue_max: 6,
            error_reply: Some(Frames::from([FAILED])),
        };
        let config = CoreConfig {
            request_ttl: Duration::from_secs(20),
            partial_bytes_max: 120,
            service_idle: Duration::from_secs(3),
            per_client_max: 12,
            workers_max: 12,
            default_policy,
            ..CoreConfig::default()
        };
        let mut it = Self {
            core: BrokerCore::new(config, INCARNATION),
            chance,
            now: Duration::ZERO,
            ahead: Duration::ZERO,
            events: BinaryHeap::new(),
            number: 0,
            lives: [0; WORKERS],
            client_lives: [0; CLIENTS],
            dead: BTreeSet::new(),
            asked: BTreeMap::new(),
            seen: Vec::new(),
        };
        for worker in 0..WORKERS {
            it.register(worker);
        }
        for client in 0..CLIENTS {
            it.after(ms(0), Event::Ask(client));
        }
        it
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.number += 1;
        self.events.push(Reverse((self.now + delay, self.number, event)));
    }

    fn worker_route(&self, worker: usize) -> Vec<u8> {
        vec![2, u8::try_from(worker).unwrap(), self.lives[worker]]
    }

    /// A message of a worker; odd ones speak 0.2.
    fn worker_says(&mut self, worker: usize, rest: &[&[u8]]) {
        let mut message = vec![self.worker_route(worker)];
        if worker.is_multiple_of(2) {
            message.push(Vec::new());
        }
        message.push(if worker.is_multiple_of(2) { b"MDPW01" } else { b"MDPW02" }.to_vec());
        message.extend(rest.iter().map(|frame| frame.to_vec()));
        self.send(message);
    }

    /// Sends to the broker, over a bad line while things happen.
    fn send(&mut self, message: Message) {
        let bad = self.now < BUSY;
        if bad && self.chance.one_in(40) {
            return;
        }
        if bad && self.chance.one_in(40) {
            let late = self.chance.ms(9000);
            self.after(late, Event::ToBroker(message.clone()));
        }
        let delay = if bad { self.chance.ms(200) } else { ms(1) };
        self.after(delay, Event::ToBroker(message));
    }

    fn register(&mut self, worker: usize) {
        let service = format!("s{}", worker % 2);
        self.worker_says(worker, &[&[1], service.as_bytes()]);
        self.after(ms(1000), Event::Beat(worker, self.lives[worker]));
        if self.now < BUSY {
            let crash = self.chance.ms(60_000);
            self.after(crash, Event::Crash(worker));
            let lie = self.chance.ms(60_000);
            self.after(lie, Event::Lie(worker));
        }
    }

    fn restart(&mut self, worker: usize) {
        self.lives[worker] = self.lives[worker].wrapping_add(1);
        self.register(worker);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToBroker(message) => self.broker_gets(&message),
            Event::ToWorker(worker, message) => self.worker_gets(worker, &message),
            Event::Ask(client) => self.ask(client),
            Event::Beat(worker, life) if life == self.lives[worker] => {
                self.worker_says(worker, &[&[4 + u8::from(worker % 2 == 1)]]);
                self.after(ms(1000), Event::Beat(worker, life));
            }
            Event::Work(worker, life, address, body) if life == self.lives[worker] => {
                self.work(worker, &address, &body);
            }
            // What an earlier life of the worker had in mind.
            Event::Beat(..) | Event::Work(..) => {}
            Event::Crash(worker) => {
                self.dead.insert(self.worker_route(worker));
                self.restart(worker);
            }
            Event::Lie(worker) => self.lie(worker),
            Event::HangUp(client) => {
                self.dead.insert(self.client_route(client));
                self.client_lives[client] += 1;
            }
            Event::Jump(forward) => {
                let by = self.chance.ms(20_000);
                self.ahead = if forward { self.ahead + by } else { self.ahead.saturating_sub(by) };
            }
        }
    }

    fn client_route(&self, client: usize) -> Vec<u8> {
        vec![1, u8::try_from(client).unwrap(), self.client_lives[client]]
    }

    /// A client asks under a new request id; odd ones speak 0.2.
    fn ask(&mut self, client: usize) {
        let tag = format!("{client}.{}.{}", self.client_lives[client], self.number);
        self.asked.insert(tag.clone(), Asked::default());
        let mut message = vec![self.client_route(client), tag.clone().into_bytes(), Vec::new()];
        message.push(if client.is_multiple_of(2) { b"MDPC01" } else { b"MDPC02" }.to_vec());
        if client % 2 == 1 {
            message.push(vec![1]);
        }
        message.extend([format!("s{}", self.chance.below(3)).into_bytes(), tag.into_bytes()]);
        self.send(message);
        if self.now < BUSY {
            let pause = self.chance.ms(1500);
            self.after(pause, Event::Ask(client));
            let rare = match self.chance.below(150) {
                0 => Some(Event::HangUp(client)),
                1 => Some(Event::Jump(true)),
                2 => Some(Event::Jump(false)),
                _ => None,
            };
            if let Some(event) = rare {
                self.after(pause, event);
            }
        }
    }

    fn work(&mut self, worker: usize, address: &[u8], body: &[u8]) {
        let streams = worker % 2 == 1;
        if streams && self.chance.one_in(3) {
            self.worker_says(worker, &[&[3], address, b"", body]);
            let next = self.chance.ms(500);
            let life = self.lives[worker];
            self.after(next, Event::Work(worker, life, address.to_vec(), body.to_vec()));
        } else {
            self.worker_says(worker, &[&[3 + u8::from(streams)], address, b"", body]);
        }
    }

    fn lie(&mut self, worker: usize) {
        if self.seen.is_empty() {
            return;
        }
        let at = usize::try_from(self.chance.below(self.seen.len() as u64)).unwrap();
        let address = self.seen[at].clone();
        let code = 3 + u8::from(worker % 2 == 1);
        let life = self.lives[worker];
        // Its own addresses it may answer as it likes.
        if address[16..] != [u8::try_from(worker).unwrap(), life] {
            self.worker_says(worker, &[&[code], &address[..16], b"", b"lie"]);
        }
    }

    fn worker_gets(&mut self, worker: usize, message: &Message) {
        let rest = if worker.is_multiple_of(2) { &message[3..] } else { &message[2..] };
        let life = self.lives[worker];
        if message[0][2] != life {
            return;
        }
        match (rest[0][0], rest) {
            (2, [_, address, _, body]) => {
                let whose = [u8::try_from(worker).unwrap(), life];
                self.seen.push([&address[..], &whose].concat());
                // Some requests take longer than a worker may be silent, or busy.
                let slow = self.now < BUSY && self.chance.one_in(12);
                let time = self.chance.ms(if slow { 25_000 } else { 800 });
                self.after(time, Event::Work(worker, life, address.clone(), body.clone()));
            }
            (code, [_]) if code == 5 + u8::from(worker % 2 == 1) => self.restart(worker),
            (code, [_]) => assert_eq!(code, 4 + u8::from(worker % 2 == 1)),
            other => panic!("a worker got {other:?}"),
        }
    }

    fn clock(&self) -> Duration {
        self.now + self.ahead
    }

    fn broker_gets(&mut self, message: &Message) {
        let input = match decode(message, &WireLimits::default()) {
            Ok(message) => Input::Received { message, user: None },
            Err(reason) => Input::Invalid(reason),
        };
        if message[0][0] == 1 {
            let tag = std::str::from_utf8(&message[1]).unwrap();
            self.asked.get_mut(tag).unwrap().arrived += 1;
        }
        self.core.handle(self.clock(), input);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let Output::Send(tag, message) = output else { panic!("nothing is local here") };
            let mut parts = Vec::new();
            message.write_to(&mut parts);
            let frames: Message = parts.iter().map(|part| part.as_slice().to_vec()).collect();
            if frames[0][0] == 1 {
                self.check_reply(&frames);
            }
            if self.dead.contains(&frames[0]) {
                let lost = Input::Undeliverable(tag, SendFailure::Unreachable);
                self.core.handle(self.clock(), lost);
            } else if frames[0][0] == 2 && (self.now >= BUSY || !self.chance.one_in(60)) {
                let delay = self.chance.ms(200);
                self.after(delay, Event::ToWorker(usize::from(frames[0][1]), frames));
            }
        }
    }

    /// A reply carries its request's id, and that request's own body or the failure's.
    fn check_reply(&mut self, frames: &Message) {
        let tag = std::str::from_utf8(&frames[1]).unwrap();
        let owner = format!("{}.{}.", frames[0][1], frames[0][2]);
        assert!(tag.starts_with(&owner), "the reply to {tag} went to {owner}");
        let is_02 = frames[0][1] % 2 == 1;
        let is_final = !is_02 || frames[4] == [3];
        let body = if is_02 { &frames[6..] } else { &frames[5..] };
        assert!(!body.is_empty());
        for frame in body {
            let said = std::str::from_utf8(frame).unwrap();
            assert!(said == tag || said == FAILED, "{tag} was answered with {said}");
        }
        let asked = self.asked.get_mut(tag).unwrap();
        assert!(asked.answered < asked.arrived, "{tag} was answered once too often");
        asked.answered += u32::from(is_final);
    }

    /// Runs to the end: at last every request that arrived has had its answer.
    fn run(mut self) -> Counters {
        let end = CALM + Duration::from_secs(120);
        while self.now < CALM || (self.now < end && self.core.requests_held() > 0) {
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let due = self.core.poll_timeout().map(|at| at.saturating_sub(self.ahead));
            let Some(next) = event.into_iter().chain(due).min() else {
                break;
            };
            self.now = self.now.max(next);
            if event.is_some_and(|at| at <= self.now)
                && let Some(Reverse((_, _, event))) = self.events.pop()
            {
                self.happen(event);
            }
            self.core.handle_timeout(self.clock());
            self.obey();
            if self.number.is_multiple_of(16) {
                self.core.check();
            }
        }
        assert_eq!(self.core.requests_held(), 0, "something is held for ever");
        for (tag, asked) in &self.asked {
            let route: Vec<u8> = tag.split('.').take(2).map(|part| part.parse().unwrap()).collect();
            let gone = self.dead.contains(&[&[1], &route[..]].concat());
            assert!(gone || asked.answered == asked.arrived, "{tag} waits for its answer");
        }
        *self.core.counters()
    }
}

#[test]
fn every_request_is_answered_once_or_reported_failed_whatever_happens() {
    // Rule: mdp §8.9 — every accepted request is answered exactly once or reported failed
    // Rule: mdp §11.4 — no reply of an earlier, slow or lying worker reaches another request
    if let Ok(seed) = std::env::var("BUSWIRE_SEED") {
        Network::new(seed.parse().unwrap()).run();
        return;
    }
    let mut happened = RequestCounters::default();
    let mut unsolicited = 0;
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| Network::new(seed).run());
        let counters = run.unwrap_or_else(|_| panic!("seed {seed}: see above"));
        let requests = counters.requests;
        happened.completed += requests.completed;
        happened.expired += requests.expired;
        happened.requeued += requests.requeued;
        happened.lost += requests.lost;
        happened.late += requests.late;
        happened.orphaned += requests.orphaned;
        happened.partials_full += requests.partials_full;
        unsolicited += counters.unsolicited;
    }
    // The faults are no test if they do not come to pass.
    let RequestCounters { completed, expired, requeued, lost, late, orphaned, .. } = happened;
    for count in [completed, expired, requeued, lost, late, orphaned, unsolicited] {
        assert!(count > SEEDS / 100, "{happened:?} {unsolicited}");
    }
    assert!(happened.partials_full > 0 && completed > SEEDS * 20, "{happened:?}");
}
