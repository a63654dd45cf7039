//! One vocabulary of operations on the broker, and the world that applies them.
//!
//! Operations name peers by small indexes; the world keeps what each peer knows. After every
//! operation the core's tables are checked against each other, and every message that leaves is
//! checked against what was asked. The property tests, the fuzz targets and the replay of their
//! corpus differ only in who makes the operations. Nothing here is part of the crate's interface.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a violated invariant is a failed test"
)]

mod far;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::tables::{Origin, Place};
use super::{
    AdminError, BrokerCore, CallId, CoreConfig, Dismissal, Input, LocalId, Output, SendFailure,
    ServicePolicy,
};
use crate::wire::{
    Dialects, Outgoing, Peer, ToPeer, Version, WireLimits, decode, decode_from_broker, decode_reply,
};
use crate::{Frames, ServiceName};
pub(super) use far::FarOp;

const INCARNATION: [u8; 8] = [0x9F, 0x3C, 0x0A, 0x55, 0x77, 0xE1, 0xD2, 0x44];

/// Something that happens to the broker.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// A client asks; odd clients speak 0.2, the others put a request id before the delimiter.
    Ask { client: u8, service: u8 },
    /// A worker registers; odd workers speak 0.2.
    Ready { worker: u8, service: u8 },
    /// A worker answers what it has in hand.
    Answer { worker: u8 },
    /// A worker sends a part of what it has in hand.
    Part { worker: u8 },
    /// A worker answers again what it had in hand before.
    AnswerAgain { worker: u8 },
    /// A worker sends HEARTBEAT.
    Beat { worker: u8 },
    /// A worker signs off.
    Leave { worker: u8 },
    /// A worker's process dies: sends to it fail, and it comes back under a new id.
    Crash { worker: u8 },
    /// A client's process dies: sends to it fail, and it comes back under a new id.
    Hang { client: u8 },
    /// This process asks.
    AskHere { service: u8, timeout_ms: u16 },
    /// This process gives its oldest request up.
    Cancel,
    /// This process's service answers, or fails.
    CallEnds { fails: bool },
    /// Time passes.
    Pass { ms: u16 },
    /// An administrator pauses or resumes a service.
    Pause { service: u8, paused: bool },
    /// An administrator sends away a registered worker, counted round.
    Dismiss { worker: u8, now: bool },
    /// Another broker does something.
    Far(FarOp),
    /// Frames that mean nothing.
    Garbage { frames: Vec<Vec<u8>> },
}

/// Bytes as a source of operations: any bytes give some.
struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Bytes<'_> {
    fn below(&mut self, bound: u8) -> Option<u8> {
        self.0.next().map(|byte| byte % bound)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([*self.0.next()?, *self.0.next()?]))
    }

    /// Frames of up to 255 bytes, each behind its length.
    fn frames(&mut self, count: u8) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while frames.len() < usize::from(count)
            && let Some(length) = self.0.next()
        {
            frames.push(self.0.by_ref().take(usize::from(*length)).copied().collect());
        }
        frames
    }

    fn op(&mut self) -> Option<Op> {
        Some(match self.below(22)? {
            0 => Op::Ask { client: self.below(4)?, service: self.below(3)? },
            1 => Op::Ready { worker: self.below(5)?, service: self.below(2)? },
            2 => Op::Answer { worker: self.below(5)? },
            3 => Op::Part { worker: self.below(5)? },
            4 => Op::AnswerAgain { worker: self.below(5)? },
            5 => Op::Beat { worker: self.below(5)? },
            6 => Op::Leave { worker: self.below(5)? },
            7 => Op::Crash { worker: self.below(5)? },
            8 => Op::Hang { client: self.below(4)? },
            9 => Op::AskHere { service: self.below(3)?, timeout_ms: self.u16()? % 9000 },
            10 => Op::Cancel,
            11 => Op::CallEnds { fails: self.below(2)? == 1 },
            12..=14 => Op::Pass { ms: self.u16()? % 3000 },
            15 => Op::Pause { service: self.below(3)?, paused: self.below(2)? == 1 },
            16 => Op::Dismiss { worker: self.below(5)?, now: self.below(2)? == 1 },
            17..=20 => Op::Far(FarOp::of(self.below(12)?, self.below(4)?)),
            _ => {
                let count = self.below(7)?;
                Op::Garbage { frames: self.frames(count) }
            }
        })
    }
}

/// Plays the operations that `bytes` stand for: a patient broker must answer everything in the end,
/// a tight one must keep its bounds and take a stop at any time.
pub fn operations(bytes: &[u8]) {
    let mut bytes = Bytes(bytes.iter());
    let Some(kind) = bytes.below(3) else { return };
    let mut world = World::new(if kind == 0 { patient() } else { tight() });
    let mut played = 0;
    while played < 200
        && let Some(op) = bytes.op()
    {
        world.apply(&op);
        played += 1;
    }
    match kind {
        0 => world.settle_and_account(),
        1 => world.stop(),
        _ => {}
    }
}

/// Decodes frames that `bytes` stand for, as a broker, a worker and a client would; what a worker
/// says is answered to where it came from.
pub fn codec(bytes: &[u8]) {
    let mut bytes = Bytes(bytes.iter());
    let Some(switches) = bytes.below(4) else { return };
    let frames = bytes.frames(u8::MAX);
    for version in [Version::V01, Version::V02] {
        drop(decode_from_broker(version, &frames));
        drop(decode_reply(version, &frames));
    }
    let dialects = Dialects { majortomo: switches & 1 != 0, zproto: switches & 2 != 0 };
    let limits = WireLimits { dialects, ..WireLimits::default() };
    let Ok(message) = decode(&frames, &limits) else { return };
    if matches!(message.peer, Peer::Client(_)) {
        return;
    }
    for answer in [ToPeer::Heartbeat, ToPeer::Disconnect] {
        let mut parts = Vec::new();
        let to = message.envelope.clone();
        let stack = to.stack.len();
        Outgoing { to, message: answer }.write_to(&mut parts);
        let returned: Vec<&[u8]> = parts.iter().map(crate::wire::Part::as_slice).collect();
        assert_eq!(returned[..=stack], frames[..=stack], "the address comes back as it was");
        let again = decode(&returned, &limits).expect("an answer is a message");
        assert_eq!(again.envelope, message.envelope, "an answer has the shape of the message");
    }
}

/// A broker that gives nothing up before its time.
pub(super) fn patient() -> CoreConfig {
    let policy = ServicePolicy { attempts_max: 1000, ..ServicePolicy::default() };
    CoreConfig {
        request_ttl: Duration::from_secs(24 * 3600),
        default_policy: policy,
        links: Some(far::links()),
        ..CoreConfig::default()
    }
}

/// A broker whose bounds are soon reached.
pub(super) fn tight() -> CoreConfig {
    let policy = ServicePolicy {
        attempts_max: 2,
        busy_timeout: Duration::from_secs(5),
        queue_max: 4,
        error_reply: None,
    };
    CoreConfig {
        request_ttl: Duration::from_secs(3),
        per_client_max: 3,
        held_bytes_max: 2600,
        services_max: 4,
        workers_max: 5,
        service_idle: Duration::from_secs(2),
        partial_bytes_max: 60,
        refusals_max: 2,
        default_policy: policy,
        links: Some(far::links()),
        ..CoreConfig::default()
    }
}

/// A worker's view.
#[derive(Default)]
struct WorkerView {
    life: u8,
    /// Addresses and tags of requests received and not answered.
    hand: Vec<(Vec<u8>, String)>,
    last: Option<Vec<u8>>,
}

/// What is known of one request: its tag says who asked and which number it was.
#[derive(Default, Debug)]
struct Asked {
    finals: usize,
    hung_up: bool,
}

pub(super) struct World {
    pub(super) core: BrokerCore,
    now: Duration,
    workers: Vec<WorkerView>,
    client_lives: [u8; 4],
    asked: BTreeMap<String, Asked>,
    next: u32,
    here: BTreeMap<LocalId, bool>,
    calls: Vec<(CallId, Frames)>,
    dead: BTreeSet<Vec<u8>>,
    far: far::Far,
}

/// The third service is this process's own.
const OWN: u8 = 2;

impl World {
    pub(super) fn new(config: CoreConfig) -> Self {
        let mut world = Self {
            core: BrokerCore::new(config, INCARNATION),
            now: Duration::ZERO,
            workers: (0..7).map(|_| WorkerView::default()).collect(),
            client_lives: [0; 4],
            asked: BTreeMap::new(),
            next: 0,
            here: BTreeMap::new(),
            calls: Vec::new(),
            dead: BTreeSet::new(),
            far: far::Far::default(),
        };
        world.find_far();
        world.input(Input::Offer { service: service(OWN), slots: 2 });
        world
    }

    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Ask { client, service } => self.ask(*client, *service),
            Op::Ready { worker, service } => {
                let name = format!("s{service}").into_bytes();
                self.worker_says(*worker, &[vec![1], name]);
            }
            Op::Answer { worker } => self.answer(*worker),
            Op::Part { worker } if worker % 2 == 1 => {
                if let Some((address, tag)) = self.workers[usize::from(*worker)].hand.last() {
                    let rest = [vec![3], address.clone(), vec![], tag.clone().into_bytes()];
                    self.worker_says(*worker, &rest);
                }
            }
            Op::Part { .. } => {}
            Op::AnswerAgain { worker } => {
                if let Some(address) = self.workers[usize::from(*worker)].last.clone() {
                    let code = vec![if worker % 2 == 1 { 4 } else { 3 }];
                    self.worker_says(*worker, &[code, address, vec![], b"again".to_vec()]);
                }
            }
            Op::Beat { worker } => self.beat(*worker),
            Op::Leave { worker } => {
                let code = vec![if worker % 2 == 1 { 6 } else { 5 }];
                self.worker_says(*worker, &[code]);
                self.workers[usize::from(*worker)].hand.clear();
            }
            Op::Crash { worker } => self.crash(*worker),
            Op::Hang { client } => self.hang_up(*client),
            Op::AskHere { service, timeout_ms } => self.ask_here(*service, *timeout_ms),
            Op::Cancel => self.cancel(),
            Op::CallEnds { fails } => {
                if !self.calls.is_empty() {
                    let (call, body) = self.calls.remove(0);
                    let done = Input::CallDone(call, body);
                    self.input(if *fails { Input::CallFailed(call) } else { done });
                }
            }
            Op::Pause { service: which, paused } => self.set_paused(*which, *paused),
            Op::Dismiss { worker, now } => self.dismiss(usize::from(*worker), *now),
            Op::Pass { ms } => self.pass(Duration::from_millis(u64::from(*ms))),
            Op::Far(op) => self.far(*op),
            Op::Garbage { frames } => {
                self.receive(&[vec![vec![9; 5]], frames.clone()].concat());
            }
        }
        self.core.check();
    }

    /// Stops the broker: everything in hand ends.
    pub(super) fn stop(&mut self) {
        self.input(Input::Stop);
        self.core.check();
        assert_eq!(self.core.requests_held(), 0);
    }

    fn set_paused(&mut self, which: u8, paused: bool) {
        // A tight broker may remember too many services already.
        match self.core.set_paused(self.now, &service(which), paused) {
            Ok(()) | Err(AdminError::ServicesFull) => self.drain(),
            Err(other) => panic!("{other}"),
        }
    }

    fn dismiss(&mut self, worker: usize, now: bool) {
        let workers = self.core.workers(self.now);
        if let Some(info) = workers.get(worker % workers.len().max(1)) {
            let when = if now { Dismissal::Now } else { Dismissal::Drain };
            self.core.dismiss(self.now, info.id, when).expect("it is registered");
            self.drain();
        }
    }

    fn ask(&mut self, client: u8, service: u8) {
        self.next += 1;
        let life = self.client_lives[usize::from(client)];
        let tag = format!("{client}.{life}.{}", self.next);
        self.asked.insert(tag.clone(), Asked::default());
        let mut frames = vec![vec![1, client, life]];
        if client % 2 == 1 {
            frames.extend([b"MDPC02".to_vec(), vec![1]]);
        } else {
            frames.extend([self.next.to_be_bytes().to_vec(), vec![], b"MDPC01".to_vec()]);
        }
        frames.extend([format!("s{service}").into_bytes(), tag.into_bytes()]);
        self.receive(&frames);
    }

    fn worker_says(&mut self, worker: u8, rest: &[Vec<u8>]) {
        let header = if worker % 2 == 1 { b"MDPW02" } else { b"MDPW01" };
        let life = self.workers[usize::from(worker)].life;
        let mut frames = vec![vec![2, worker, life]];
        if worker.is_multiple_of(2) {
            frames.push(vec![]);
        }
        frames.push(header.to_vec());
        frames.extend_from_slice(rest);
        self.receive(&frames);
    }

    fn answer(&mut self, worker: u8) {
        let Some((address, tag)) = self.workers[usize::from(worker)].hand.pop() else {
            return;
        };
        self.workers[usize::from(worker)].last = Some(address.clone());
        let code = vec![if worker % 2 == 1 { 4 } else { 3 }];
        self.worker_says(worker, &[code, address, vec![], tag.into_bytes()]);
    }

    fn beat(&mut self, worker: u8) {
        let code = vec![if worker % 2 == 1 { 5 } else { 4 }];
        self.worker_says(worker, &[code]);
    }

    fn crash(&mut self, worker: u8) {
        let view = &mut self.workers[usize::from(worker)];
        self.dead.insert(vec![2, worker, view.life]);
        view.life = view.life.wrapping_add(1);
        view.hand.clear();
        view.last = None;
    }

    fn hang_up(&mut self, client: u8) {
        let life = &mut self.client_lives[usize::from(client)];
        self.dead.insert(vec![1, client, *life]);
        let prefix = format!("{client}.{life}.");
        *life = life.wrapping_add(1);
        for (tag, asked) in &mut self.asked {
            asked.hung_up |= tag.starts_with(&prefix);
        }
    }

    fn ask_here(&mut self, which: u8, timeout_ms: u16) {
        self.next += 1;
        let id = LocalId(u64::from(self.next));
        self.here.insert(id, false);
        let body = Frames::from([format!("here.{}", self.next)]);
        let timeout = Duration::from_millis(u64::from(timeout_ms));
        self.input(Input::Request { id, service: service(which), body, timeout });
    }

    fn cancel(&mut self) {
        let open = self.here.iter().find(|(_, answered)| !**answered).map(|(id, _)| *id);
        if let Some(id) = open {
            self.here.remove(&id);
            self.input(Input::Cancel(id));
        }
    }

    /// Lets time pass in the steps the core asks for.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn receive(&mut self, frames: &[Vec<u8>]) {
        let input = match decode(frames, &WireLimits::default()) {
            Ok(message) => Input::Received { message, user: None },
            Err(reason) => Input::Invalid(reason),
        };
        self.input(input);
    }

    fn input(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(tag, message) => {
                    let mut parts = Vec::new();
                    message.write_to(&mut parts);
                    let frames: Vec<Vec<u8>> =
                        parts.iter().map(|part| part.as_slice().to_vec()).collect();
                    if self.dead.contains(&frames[0]) {
                        let lost = Input::Undeliverable(tag, SendFailure::Unreachable);
                        self.core.handle(self.now, lost);
                    } else {
                        self.deliver(&frames);
                    }
                }
                Output::Answer(id, _) => {
                    let answered = self.here.insert(id, true);
                    assert_eq!(answered, Some(false), "one answer for {id:?}");
                }
                Output::Link(output) => self.far_hears(output),
                Output::Call { call, service: name, body, .. } => {
                    assert_eq!(name, service(OWN));
                    self.calls.push((call, body));
                    assert!(self.calls.len() <= 2, "no more calls than slots");
                }
            }
        }
    }

    fn deliver(&mut self, frames: &[Vec<u8>]) {
        match frames[0][..] {
            [1, client, _] => self.deliver_to_client(client, frames),
            [2, worker, _] => self.deliver_to_worker(worker, frames),
            // Garbage may have registered or asked under its own id.
            _ => {}
        }
    }

    fn deliver_to_client(&mut self, client: u8, frames: &[Vec<u8>]) {
        let (is_final, body) = if client % 2 == 1 {
            assert_eq!(frames[1], b"MDPC02");
            (frames[2] == [3], &frames[4..])
        } else {
            assert_eq!((&frames[2][..], &frames[3][..]), (&b""[..], &b"MDPC01"[..]));
            (true, &frames[5..])
        };
        for frame in body {
            let tag = String::from_utf8(frame.clone()).unwrap();
            let owner = format!("{}.{}.", frames[0][1], frames[0][2]);
            assert!(tag.starts_with(&owner), "{tag} reached {owner}");
            if client.is_multiple_of(2) {
                let number: u32 = tag.rsplit('.').next().unwrap().parse().unwrap();
                assert_eq!(frames[1], number.to_be_bytes(), "the reply of another request");
            }
        }
        let tag = String::from_utf8(body[body.len() - 1].clone()).unwrap();
        let asked = self.asked.get_mut(&tag).expect("a reply to a question");
        assert_eq!(asked.finals, 0, "nothing follows the final reply to {tag}");
        asked.finals += usize::from(is_final);
    }

    fn deliver_to_worker(&mut self, worker: u8, frames: &[Vec<u8>]) {
        let rest = if worker % 2 == 1 { &frames[2..] } else { &frames[3..] };
        let view = &mut self.workers[usize::from(worker)];
        match (&rest[0][..], rest) {
            (b"\x02", [_, address, empty, body @ ..]) => {
                assert!(empty.is_empty() && !address.is_empty());
                assert!(view.hand.is_empty(), "one request at a time");
                let tag = body.first().map(|tag| String::from_utf8_lossy(tag).into_owned());
                view.hand.push((address.clone(), tag.unwrap_or_default()));
            }
            ([code], [_]) if *code == 5 + worker % 2 => view.hand.clear(),
            ([code], [_]) if *code == 4 + worker % 2 => {}
            other => panic!("a worker got {other:?}"),
        }
    }

    /// Lets a good worker for each service answer whatever is in hand, and says which questions
    /// got no answer although their client still waits.
    pub(super) fn settle(&mut self) -> usize {
        for worker in 0..5 {
            self.crash(worker);
        }
        self.far_down();
        for which in 0..3 {
            self.set_paused(which, false);
        }
        self.dead.insert(vec![9; 5]);
        // The dead workers are found out by heartbeats.
        self.pass(Duration::from_secs(2));
        self.apply(&Op::Ready { worker: 5, service: 0 });
        self.apply(&Op::Ready { worker: 6, service: 1 });
        while self.core.workable() > 0 {
            let before = (self.core.workable(), self.calls.len());
            for worker in [5, 6] {
                self.beat(worker);
                self.answer(worker);
            }
            self.apply(&Op::CallEnds { fails: false });
            let after = (self.core.workable(), self.calls.len());
            assert_ne!(before, after, "a request is held that nobody works on");
        }
        self.core.check();
        assert!(!self.far_waits(), "the other broker waits for ever");
        for (id, answered) in &self.here {
            assert!(answered, "{id:?} waits for ever");
        }
        self.asked.values().filter(|asked| asked.finals == 0 && !asked.hung_up).count()
    }
}

impl World {
    /// [`Self::settle`], and every unanswered request is accounted for.
    pub(super) fn settle_and_account(&mut self) {
        let unanswered = self.settle() as u64;
        let counters = self.core.counters().requests;
        assert!(
            unanswered <= counters.lost + counters.dropped.total(),
            "{unanswered} {counters:?}"
        );
    }
}

fn service(number: u8) -> ServiceName {
    format!("s{number}").parse().unwrap()
}

impl BrokerCore {
    /// Returns how many requests are in hand for services that have a worker.
    fn workable(&self) -> usize {
        let workable = self.services.iter().filter(|(_, service)| service.workers > 0);
        workable.map(|(_, service)| service.held).sum()
    }

    /// Checks the tables against each other and against their bounds.
    pub(super) fn check(&self) {
        let mut workers = 0;
        let (mut held, mut queued) = (0, 0);
        for (key, service) in self.services.iter() {
            assert_eq!(self.names.get(&service.name), Some(&key));
            assert!(self.late.len() <= self.requests.len());
            // Beyond the bound there are only requests that workers or other brokers once had and lost.
            let far = self.config.links.as_ref().map_or(0, |links| links.in_flight_max);
            let most = service.policy.queue_max + self.config.workers_max + far;
            assert!(service.queued <= most);
            let stuck =
                service.paused || service.waiting.is_empty() && !self.has_room_elsewhere(key);
            assert!(stuck || service.queued == 0, "work and a worker wait");
            let in_queues: usize = service.queues.values().map(VecDeque::len).sum();
            assert_eq!(in_queues, service.queued);
            assert_eq!(service.queues.len(), service.turn.len());
            assert!(service.queues.values().all(|queue| !queue.is_empty()));
            for queue in service.queues.values() {
                let sequence = queue.iter().map(|key| self.requests.get(*key).unwrap().sequence);
                assert!(sequence.is_sorted(), "a client's requests are out of order");
            }
            for worker in &service.waiting {
                assert!(self.workers.get(*worker).unwrap().assignment.is_none());
            }
            for request in service.queues.values().flatten() {
                let request = self.requests.get(*request).unwrap();
                assert!(request.place == Place::Queue && request.timer_at.is_some());
                let of_another = matches!(request.from, Origin::Broker(..));
                assert!(!of_another || service.offered, "it waits where no worker is");
                assert!(request.deadline >= self.now || request.timer_at.is_some());
            }
            let unused = service.unused_since.is_some();
            assert_eq!(unused, service.is_unused(), "{:?}", service.name);
            workers += service.workers;
            held += service.held;
            queued += service.queued;
        }
        assert_eq!(workers, self.workers.len());
        assert_eq!(held, self.requests.len());
        let assigned: usize =
            self.workers.iter().filter(|(_, worker)| worker.assignment.is_some()).count();
        assert_eq!(assigned + queued + self.check_links(), held);
        let bytes: usize = self.requests.iter().map(|(_, request)| request.cost).sum();
        assert_eq!(bytes, self.held_bytes);
        assert!(bytes <= self.config.held_bytes_max);
        let clients: usize = self.clients.iter().map(|(_, client)| client.held).sum();
        assert_eq!(clients, held);
        assert_eq!(self.clients.len(), self.routes.len());
        assert!(self.services.len() <= self.config.services_max);
        let timers = self.workers.iter().filter(|(_, worker)| worker.timer_at.is_some()).count()
            + self.requests.iter().filter(|(_, request)| request.timer_at.is_some()).count()
            + self.link_timers();
        assert_eq!(timers, self.timers.len());
    }
}
