//! The ledger by itself: its rules one by one, and any sequence of operations against a model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::titanic::id::RequestId;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    Config {
        requests_max: 12,
        bytes_max: 1000,
        message_bytes_max: 100,
        request_ttl: 100 * SECOND,
        reply_ttl: 50 * SECOND,
        in_flight_max: 5,
        service_in_flight_max: 3,
        backoff: SECOND,
        backoff_max: 8 * SECOND,
        ..Config::default()
    }
}

fn key(number: u8) -> RecordKey {
    RequestId::new([number; 16]).key()
}

fn name(name: &str) -> ServiceName {
    name.parse().unwrap()
}

fn submit(ledger: &mut Ledger, now: Duration, number: u8, service: &str) -> Result<(), Full> {
    ledger.reserve(now, key(number), &name(service), 10)?;
    ledger.accept(now, key(number));
    Ok(())
}

fn workers(services: &[&str]) -> Vec<(ServiceName, usize)> {
    services.iter().map(|service| (name(service), 9)).collect()
}

const DONE: Ended = Ended::Done { bytes: 10, remaining: Duration::from_secs(50) };

#[test]
fn a_request_is_tried_once_it_is_durable_and_a_worker_is_there() {
    // Rule: mdp §17 — a request is sent when it is stored and its target service is available
    let mut ledger = Ledger::new(config(), 1);
    ledger.reserve(MS, key(1), &name("echo"), 10).unwrap();
    assert!(!ledger.wants_look(MS), "it is not durable yet");
    assert_eq!(ledger.start(MS, &workers(&["echo"])), []);
    ledger.accept(MS, key(1));
    assert!(!ledger.wants_look(MS) && ledger.wants_look(MS + LOOK_GAP));
    assert_eq!(ledger.poll_timeout(), Some(MS + LOOK_GAP));
    let now = MS + LOOK_GAP;
    assert_eq!(ledger.start(now, &workers(&["other"])), []);
    assert!(!ledger.wants_look(now + SECOND), "nothing changed, so there is nothing to see");
    ledger.note_worker(now + SECOND);
    assert!(ledger.wants_look(now + SECOND));
    let attempts = ledger.start(now + SECOND, &workers(&["echo", "other"]));
    assert_eq!(attempts, [Attempt { key: key(1), service: name("echo") }]);
    ledger.ended(now + SECOND, &attempts[0], DONE);
    assert_eq!(ledger.follow(&name("echo")), None);
    let counts = ledger.counts();
    assert_eq!((counts.pending, counts.done, counts.answered), (0, 1, 1));
}

#[test]
fn a_full_ledger_refuses() {
    // Rule: mdp §17 — there are limits on size and count
    let mut ledger = Ledger::new(config(), 1);
    assert_eq!(ledger.reserve(MS, key(0), &name("a"), 101), Err(Full), "one beyond its own limit");
    for number in 0..12 {
        submit(&mut ledger, MS, number, "a").unwrap();
    }
    assert_eq!(submit(&mut ledger, MS, 12, "a"), Err(Full));
    ledger.close(MS, key(3));
    assert_eq!(submit(&mut ledger, MS, 12, "a"), Ok(()));
    assert_eq!(ledger.counts().refused, 2);

    let mut ledger = Ledger::new(config(), 1);
    for number in 0..9 {
        ledger.reserve(MS, key(number), &name("a"), 100).unwrap();
    }
    assert_eq!(ledger.reserve(MS, key(9), &name("a"), 1), Err(Full), "a reply must find room");
    ledger.withdraw(MS, key(0));
    assert_eq!(ledger.reserve(MS, key(9), &name("a"), 1), Ok(()));
}

#[test]
fn services_take_turns_within_their_limits() {
    // Rule: mdp §17 — several requests are in flight at once
    let mut ledger = Ledger::new(config(), 1);
    for (number, service) in ["a", "a", "a", "a", "b", "c"].into_iter().enumerate() {
        submit(&mut ledger, MS, u8::try_from(number).unwrap(), service).unwrap();
    }
    let order = |attempts: &[Attempt]| {
        attempts.iter().map(|attempt| attempt.service.to_string()).collect::<Vec<_>>().concat()
    };
    let first = ledger.start(MS, &workers(&["a", "b", "c"]));
    assert_eq!(order(&first), "abcaa", "each in turn, three of one service, five in all");
    ledger.ended(MS, &first[1], Ended::Gone);
    ledger.ended(MS, &first[0], DONE);
    let next = ledger.follow(&name("a")).unwrap();
    assert_eq!(next.key, key(3), "a worker that is free gets the next at once");

    let mut ledger = Ledger::new(config(), 1);
    for number in 0..4 {
        submit(&mut ledger, MS, number, "a").unwrap();
    }
    assert_eq!(ledger.start(MS, &[(name("a"), 1)]).len(), 2, "two for each worker");
}

#[test]
fn a_failed_service_rests_and_others_do_not() {
    // Rule: mdp §17 — each service has a back-off of its own, with jitter
    let mut ledger = Ledger::new(config(), 7);
    let mut now = SECOND;
    submit(&mut ledger, now, 1, "bad").unwrap();
    submit(&mut ledger, now, 2, "bad").unwrap();
    submit(&mut ledger, now, 3, "good").unwrap();
    let mut rests = Vec::new();
    for _ in 0..5 {
        now += LOOK_GAP;
        let attempts = ledger.start(now, &workers(&["bad", "good"]));
        let bad: Vec<_> = attempts.iter().filter(|a| a.service == name("bad")).collect();
        assert_eq!(bad.len(), 2);
        for attempt in bad {
            ledger.ended(now, attempt, Ended::Failed);
        }
        assert_eq!(ledger.start(now + LOOK_GAP, &workers(&["bad"])), [], "it rests");
        assert_eq!(ledger.follow(&name("bad")), None);
        let until = ledger.rests.first().unwrap().0;
        rests.push(until.saturating_sub(now));
        ledger.handle_timeout(until.saturating_sub(MS));
        assert!(ledger.start(until, &workers(&["bad"])).is_empty());
        ledger.handle_timeout(until);
        assert!(ledger.wants_look(until + LOOK_GAP));
        now = until;
    }
    for (rest, seconds) in rests.iter().zip([1, 2, 4, 8, 8]) {
        assert!((seconds * SECOND..seconds * SECOND * 5 / 4).contains(rest), "{rest:?}");
    }
    assert_eq!(ledger.counts().in_flight, 1, "the good one was begun, once");
}

#[test]
fn what_is_closed_or_past_its_time_is_not_tried_and_has_no_reply() {
    // Rule: mdp §17 — a result that arrives after titanic.close is discarded
    // Rule: mdp §17 — unclaimed replies and requests never served have an end
    let mut ledger = Ledger::new(config(), 1);
    for number in 1..=4 {
        submit(&mut ledger, MS, number, "a").unwrap();
    }
    ledger.close(MS, key(1));
    ledger.close(MS, key(1));
    let attempts = ledger.start(MS, &[(name("a"), 1)]);
    assert_eq!(attempts.iter().map(|a| a.key).collect::<Vec<_>>(), [key(2), key(3)]);
    ledger.close(MS, key(2));
    ledger.ended(MS, &attempts[0], Ended::Gone);
    ledger.ended(MS, &attempts[1], DONE);
    assert_eq!(ledger.follow(&name("a")).unwrap().key, key(4));
    assert_eq!(ledger.counts().closed, 2);

    ledger.handle_timeout(MS + 50 * SECOND);
    let counts = ledger.counts();
    assert_eq!(
        (counts.pending, counts.done, counts.expired),
        (1, 0, 1),
        "replies keep their own time"
    );
    ledger.handle_timeout(MS + 100 * SECOND);
    let counts = ledger.counts();
    assert_eq!((counts.pending, counts.bytes, counts.expired), (0, 0, 2));
    assert_eq!(ledger.poll_timeout(), None);
}

#[test]
fn what_an_earlier_start_stored_goes_on() {
    // Rule: mdp §17 — after a restart everything not closed and without reply is pending again
    let mut ledger = Ledger::new(Config { requests_max: 1, ..config() }, 1);
    ledger.restore(MS, key(1), Some(name("a")), 10, SECOND);
    ledger.restore(MS, key(2), None, 20, SECOND);
    ledger.restore(MS, key(3), Some(name("b")), 30, SECOND);
    let counts = ledger.counts();
    assert_eq!((counts.pending, counts.done, counts.bytes), (2, 1, 60), "whatever the bounds say");
    let attempts = ledger.start(MS, &workers(&["a", "b"]));
    assert_eq!(attempts.iter().map(|a| a.key).collect::<Vec<_>>(), [key(1), key(3)]);
    assert_eq!(submit(&mut ledger, MS, 4, "a"), Err(Full));
}

/// What can happen to a ledger.
#[derive(Clone, Debug)]
enum Op {
    Submit { service: u8, bytes: usize, stored: bool },
    Look { services: u8, workers: usize },
    Done { which: usize, bytes: usize },
    Fail { which: usize },
    Close { which: usize },
    Advance { ms: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..4_u8, 1..110_usize, prop::bool::weighted(0.9))
            .prop_map(|(service, bytes, stored)| Op::Submit { service, bytes, stored }),
        3 => (any::<u8>(), 1..3_usize).prop_map(|(services, workers)| Op::Look { services, workers }),
        3 => (any::<usize>(), 1..=100_usize).prop_map(|(which, bytes)| Op::Done { which, bytes }),
        1 => any::<usize>().prop_map(|which| Op::Fail { which }),
        2 => any::<usize>().prop_map(|which| Op::Close { which }),
        2 => (0..30_000_u32).prop_map(|ms| Op::Advance { ms }),
    ]
}

/// What the ledger should know of one request.
#[derive(Clone, Debug)]
struct Known {
    service: u8,
    bytes: usize,
    expires: Duration,
    done: bool,
}

#[derive(Debug)]
struct World {
    ledger: Ledger,
    known: BTreeMap<RecordKey, Known>,
    running: Vec<Attempt>,
    keys: Vec<RecordKey>,
    now: Duration,
}

fn service(number: u8) -> ServiceName {
    name(&format!("service-{number}"))
}

impl World {
    fn new() -> Self {
        let (known, running, keys) = Default::default();
        Self { ledger: Ledger::new(config(), 5), known, running, keys, now: SECOND }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Submit { service: number, bytes, stored } => {
                let key = key(u8::try_from(self.keys.len()).unwrap());
                if self.ledger.reserve(self.now, key, &service(number), bytes).is_err() {
                    return;
                }
                if stored {
                    self.ledger.accept(self.now, key);
                    let expires = self.now + config().request_ttl;
                    let known = Known { service: number, bytes, expires, done: false };
                    self.known.insert(key, known);
                    self.keys.push(key);
                } else {
                    self.ledger.withdraw(self.now, key);
                }
            }
            Op::Look { services, workers } => {
                let there = (0..4).filter(|number| services & (1 << number) != 0);
                let available: Vec<_> = there.map(|number| (service(number), workers)).collect();
                for attempt in self.ledger.start(self.now, &available) {
                    self.note_begun(attempt);
                }
            }
            Op::Done { which, bytes } => self.end(which, |world, key| {
                let remaining = config().reply_ttl;
                let Some(known) = world.known.get_mut(&key) else { return Ended::Gone };
                (known.done, known.bytes) = (true, bytes);
                known.expires = world.now + remaining;
                Ended::Done { bytes, remaining }
            }),
            Op::Fail { which } => self.end(which, |_, _| Ended::Failed),
            Op::Close { which } => {
                if let Some(key) = self.keys.get(which % self.keys.len().max(1)) {
                    self.ledger.close(self.now, *key);
                    self.known.remove(key);
                }
            }
            Op::Advance { ms } => {
                self.now += ms * MS;
                self.ledger.handle_timeout(self.now);
                self.known.retain(|_, known| known.expires > self.now);
            }
        }
    }

    fn end(&mut self, which: usize, how: impl FnOnce(&mut Self, RecordKey) -> Ended) {
        if self.running.is_empty() {
            return;
        }
        let attempt = self.running.swap_remove(which % self.running.len());
        let ended = how(self, attempt.key);
        self.ledger.ended(self.now, &attempt, ended);
        if matches!(ended, Ended::Done { .. })
            && let Some(next) = self.ledger.follow(&attempt.service)
        {
            self.note_begun(next);
        }
    }

    fn note_begun(&mut self, attempt: Attempt) {
        let known = &self.known[&attempt.key];
        assert!(!known.done && service(known.service) == attempt.service);
        assert!(self.running.iter().all(|running| running.key != attempt.key), "one at a time");
        self.running.push(attempt);
    }

    fn check(&self) {
        let (counts, config) = (self.ledger.counts(), config());
        let done = self.known.values().filter(|known| known.done).count();
        assert_eq!((counts.done, counts.pending), (done, self.known.len() - done));
        assert_eq!(counts.bytes, self.known.values().map(|known| known.bytes).sum::<usize>());
        assert_eq!(counts.in_flight, self.running.len());
        assert!(counts.bytes + counts.in_flight * config.message_bytes_max <= config.bytes_max);
        assert!(
            self.known.len() <= config.requests_max && counts.in_flight <= config.in_flight_max
        );
        for number in 0..4 {
            let running = self.running.iter().filter(|a| a.service == service(number)).count();
            assert!(running <= config.service_in_flight_max);
        }
        let waiting = self.ledger.lanes.values().map(|lane| lane.waiting.len()).sum::<usize>();
        assert_eq!(self.ledger.waiting, waiting);
        assert!(self.ledger.lanes.values().all(|lane| !lane.is_idle()), "no lane is left behind");
        assert_eq!(self.ledger.expiries.len(), self.known.len());
    }

    /// With workers everywhere that answer, everything is answered, without another request.
    fn drain(&mut self) {
        for _ in 0..1000 {
            while !self.running.is_empty() {
                self.apply(&Op::Done { which: 0, bytes: 1 });
            }
            let Some(due) = self.ledger.poll_timeout() else { break };
            self.now = self.now.max(due);
            self.apply(&Op::Advance { ms: 0 });
            if self.ledger.wants_look(self.now) {
                self.apply(&Op::Look { services: 0b1111, workers: 2 });
            }
            self.check();
        }
        assert_eq!(self.ledger.counts().pending, 0);
        assert_eq!(self.ledger.poll_timeout(), None, "what is done goes in its time");
    }
}

proptest! {
    #[test]
    fn any_operations_keep_the_bounds_and_end_in_answers(
        ops in prop::collection::vec(op(), 0..120),
    ) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.drain();
    }
}
