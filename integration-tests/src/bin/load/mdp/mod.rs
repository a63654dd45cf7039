//! Requests to echo workers: the broker beside a plain proxy, a floor with MDP's rule, and NATS.
//!
//! Never here: what travels on the wire, which is `zeromq` and `nats`.

mod nats;
mod zeromq;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use buswire_integration_tests::Gateway;

use crate::{
    stats::{Floor, Plan, Run, cpu_of, option},
    table,
};
use nats::Nats;
use zeromq::{Dialect, ZeroMq};

/// How long an answer may take after the end before it counts as lost.
const GRACE: Duration = Duration::from_secs(3);
/// How long to wait for an answer before the clock is looked at.
const WAIT: Duration = Duration::from_millis(100);
/// The connections that share what is in flight.
const CLIENTS: usize = 8;
/// Requests one after the other before a measurement, so that every worker has registered.
const WARM_UP: u64 = 1000;
/// Every body begins with its request's tag.
const TAG_BYTES: usize = 8;

/// What is measured: one row of the table for each contestant.
#[derive(Clone, Copy, Debug)]
struct Work {
    body: usize,
    workers: usize,
    in_flight: usize,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contestant {
    Buswire,
    /// ZeroMQ's own proxy, which hands out requests without waiting for a worker.
    Proxy,
    /// Hands out one request at a time for each worker, as MDP wants it, and does nothing else.
    Turns,
    /// Debian's NATS server, whose workers take any number of requests at once.
    Nats,
}

impl Contestant {
    const ALL: [Self; 4] = [Self::Buswire, Self::Proxy, Self::Turns, Self::Nats];

    const fn name(self) -> &'static str {
        match self {
            Self::Buswire => "Buswire",
            Self::Proxy => "proxy",
            Self::Turns => "one at a time",
            Self::Nats => "NATS",
        }
    }
}

/// A worker of the service `echo` in a thread of its own, until it is dropped.
pub(crate) struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn start(endpoint: &str) -> Self {
        let worker = ZeroMq::new(Dialect::Mdp, endpoint, endpoint).worker();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || worker.work(&stopped)));
        Self { stop, thread }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

/// A client's connection.
trait Client: Send {
    /// Sends a request, or keeps it until an answer is asked for.
    fn ask(&mut self, body: &[u8]);
    /// Waits for the body of an answer, at most `wait`.
    fn answer(&mut self, wait: Duration) -> Option<&[u8]>;
}

/// A worker that sends every body back.
trait Worker: Send {
    /// Works until `stop`.
    fn work(self, stop: &AtomicBool);
}

/// Makes connections to one server.
trait Transport: Sync {
    type Client: Client;
    type Worker: Worker;
    fn client(&self) -> Self::Client;
    fn worker(&self) -> Self::Worker;
}

/// Measures every kind of work, or those that `--body`, `--workers` and `--in-flight` name.
pub(crate) fn compare(plan: &Plan, words: &[&str]) {
    let contestants = Contestant::ALL.iter().copied();
    let contestants: Vec<_> = contestants
        .filter(|contestant| *contestant != Contestant::Nats || nats::is_installed())
        .collect();
    if !contestants.contains(&Contestant::Nats) {
        eprintln!("nats-server is not installed: left out");
    }
    let wanted = |name, value: usize| option(words, name).is_none_or(|wanted| wanted == value);
    table::head(plan);
    for in_flight in [1, 1000].into_iter().filter(|n| wanted("--in-flight", *n)) {
        for workers in [1, 4].into_iter().filter(|n| wanted("--workers", *n)) {
            for body in [64, 1024].into_iter().filter(|n| wanted("--body", *n)) {
                let work = Work { body, workers, in_flight };
                let name = format!("{body} B, {workers} w, {in_flight} in flight");
                let mut runs: Vec<_> =
                    contestants.iter().map(|who| (who.name(), Vec::new())).collect();
                for _ in 0..plan.rounds {
                    for (who, (_, runs)) in contestants.iter().zip(&mut runs) {
                        runs.push(measure(plan, work, *who));
                    }
                }
                table::rows(&name, &runs);
            }
        }
    }
}

/// The broker of a gateway with nothing else to do, with one request of each client in flight.
pub(crate) fn alone(plan: &Plan) -> Run {
    let work = Work { body: 64, workers: 4, in_flight: plan.clients };
    measure(plan, work, Contestant::Buswire)
}

/// Starts the contestant and measures it once.
fn measure(plan: &Plan, work: Work, contestant: Contestant) -> Run {
    let floor = |name, dialect| {
        let floor = Floor::start(&[name]);
        let (front, back) = floor.address.split_once(' ').unwrap();
        run(plan, work, &ZeroMq::new(dialect, front, back), floor.pid())
    };
    match contestant {
        Contestant::Buswire => {
            let gateway = Gateway::spawn();
            let endpoint = &gateway.bound().mdp;
            run(plan, work, &ZeroMq::new(Dialect::Mdp, endpoint, endpoint), gateway.pid())
        }
        Contestant::Proxy => floor("mdp", Dialect::Bare),
        Contestant::Turns => floor("turns", Dialect::Turns),
        Contestant::Nats => {
            let server = Nats::start();
            run(plan, work, &server, server.pid())
        }
    }
}

fn run<T: Transport>(plan: &Plan, work: Work, transport: &T, pid: u32) -> Run {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..work.workers {
            let worker = transport.worker();
            let stop = &stop;
            scope.spawn(move || worker.work(stop));
        }
        let warm = Asking { body: work.body, in_flight: 1, first: 0, limit: Limit::Count(WARM_UP) };
        assert_eq!(warm.run(transport.client()).wrong, 0, "the workers echo");
        let clients = CLIENTS.min(work.in_flight);
        let cpu = cpu_of(pid);
        let start = Instant::now();
        let asking: Vec<_> = (0..clients)
            .map(|client| Asking {
                body: work.body,
                in_flight: work.in_flight / clients,
                first: (client as u64) << 32,
                limit: Limit::Time(plan.time),
            })
            .map(|asking| scope.spawn(move || asking.run(transport.client())))
            .collect();
        let tallies: Vec<_> = asking.into_iter().map(|asking| asking.join().unwrap()).collect();
        let elapsed = start.elapsed();
        let server_cpu = cpu_of(pid).saturating_sub(cpu);
        stop.store(true, Ordering::Relaxed);
        let lost = tallies.iter().map(|tally| tally.lost).sum();
        let wrong = tallies.iter().map(|tally| tally.wrong).sum();
        let latencies: Vec<_> = tallies.into_iter().flat_map(|tally| tally.latencies).collect();
        Run { operations: latencies.len(), lost, wrong, elapsed, server_cpu, latencies }
    })
}

/// When a client stops asking.
#[derive(Clone, Copy)]
enum Limit {
    Count(u64),
    Time(Duration),
}

/// What one client does.
#[derive(Clone, Copy)]
struct Asking {
    body: usize,
    in_flight: usize,
    /// The first tag; no two clients share one.
    first: u64,
    limit: Limit,
}

/// What came of it.
#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    lost: usize,
    /// Answers twice, to nothing that was asked, or with another body.
    wrong: usize,
}

impl Asking {
    fn run(self, mut client: impl Client) -> Tally {
        let mut tally = Tally { latencies: Vec::with_capacity(1 << 18), ..Tally::default() };
        let mut body = vec![b'x'; self.body];
        let mut waiting = HashMap::with_capacity(self.in_flight);
        let (start, mut tag, mut asked_at) = (Instant::now(), self.first, Instant::now());
        loop {
            let more = match self.limit {
                Limit::Count(count) => tag - self.first < count,
                Limit::Time(time) => start.elapsed() < time,
            };
            while more && waiting.len() < self.in_flight {
                body[..TAG_BYTES].copy_from_slice(&tag.to_be_bytes());
                client.ask(&body);
                asked_at = Instant::now();
                waiting.insert(tag, asked_at);
                tag += 1;
            }
            let mut wait = WAIT;
            while !waiting.is_empty()
                && let Some(answer) = client.answer(wait)
            {
                wait = Duration::ZERO;
                let tag = answer.first_chunk().map_or(0, |tag| u64::from_be_bytes(*tag));
                let is_same = answer.len() == body.len()
                    && answer[TAG_BYTES..].iter().all(|byte| *byte == b'x');
                match waiting.remove(&tag) {
                    Some(at) if is_same => tally.latencies.push(at.elapsed()),
                    _ => tally.wrong += 1,
                }
            }
            let is_over = waiting.is_empty() && !more || asked_at.elapsed() > GRACE;
            if is_over {
                tally.lost = waiting.len();
                return tally;
            }
        }
    }
}
