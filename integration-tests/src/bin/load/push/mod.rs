//! SimplePush beside the least program that could do it and beside nginx with nchan, in turns.
//!
//! Never here: what travels on a socket, which is `socket`; who serves it, which is `server`.

mod floor;
mod rate;
mod server;
mod socket;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};

pub(crate) use floor::serve as floor;
use rate::{Outcome, Pace};
use server::{Contestant, Server};
pub(crate) use socket::Socket;

use crate::stats::{Plan, cpu_of, median, option, resident_kib};

/// The rates of the table, in per cent of what Buswire takes flat out.
const PER_CENT: [f64; 5] = [25.0, 50.0, 75.0, 90.0, 110.0];
/// A rate is sustained if this part of it comes within the time, nothing is lost, and ...
const SUSTAINED: f64 = 0.99;
/// ... 99 of a hundred frames come within so many milliseconds.
const SUSTAINED_P99: f64 = 1000.0;
/// Connections that are opened at once.
const AT_ONCE: usize = 64;
/// How long memory and processor time of idle connections are watched.
const WATCH: Duration = Duration::from_secs(5);

/// Measures what the words ask for: `--idle N`, `--connects N`, or PUT to frame.
pub(crate) fn measure(words: &[&str]) {
    raise_limit();
    match (option(words, "--idle"), option(words, "--connects")) {
        (Some(count), _) => idle(count),
        (None, Some(count)) => connects(&Plan::parse(words, count)),
        (None, None) => frames(&Plan::parse(words, 1000)),
    }
}

fn contestants() -> Vec<Contestant> {
    let (here, absent): (Vec<_>, Vec<_>) =
        Contestant::ALL.into_iter().partition(|contestant| contestant.is_installed());
    for contestant in absent {
        eprintln!("{} is not installed: left out", contestant.name());
    }
    here
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// Files for all connections of the tool, and for those of the servers that it starts.
pub(crate) fn raise_limit() {
    let pid = std::process::id().to_string();
    for limit in ["1000000", "524288"] {
        let arguments = ["--pid", &pid, &format!("--nofile={limit}:{limit}")];
        let mut raise = Command::new("prlimit");
        let raised = raise.args(arguments).stderr(Stdio::null()).status();
        if raised.is_ok_and(|status| status.success()) {
            return;
        }
    }
    eprintln!("the limit of open files stays: `ulimit -Hn` bounds the connections of a run");
}

/// From PUT to frame: flat out first, then at rates that do not wait for the server.
fn frames(plan: &Plan) {
    let contestants = contestants();
    println!(
        "PUT to frame, {} sockets; medians of {} rounds of {} s, in turns.\n",
        plan.clients,
        plan.rounds,
        plan.time.as_secs()
    );
    println!(
        "| PUTs per second | server | frames per second | p50 ms | p99 ms | p99.9 ms | CPU us | skipped \
         | lost |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let flat_out = rounds(plan, &contestants, Pace::FlatOut);
    let most = median(flat_out[0].iter().map(|outcome| outcome.rate).collect());
    rows("flat out", &contestants, &flat_out);
    let mut sustained = vec![0; contestants.len()];
    // Whole hundreds, and at least one.
    let steps = PER_CENT.map(|per_cent| ((most / 1e4 * per_cent).round() as u64).max(1) * 100);
    for rate in steps {
        let outcomes = rounds(plan, &contestants, Pace::PerSecond(rate));
        rows(&rate.to_string(), &contestants, &outcomes);
        for (sustained, outcomes) in sustained.iter_mut().zip(&outcomes) {
            let of = |field: fn(&Outcome) -> f64| median(outcomes.iter().map(field).collect());
            let lost: usize = outcomes.iter().map(|outcome| outcome.lost).sum();
            let is_sustained = lost == 0
                && of(|outcome| outcome.rate) >= rate as f64 * SUSTAINED
                && of(|outcome| outcome.latency(990)) <= SUSTAINED_P99;
            if is_sustained {
                *sustained = rate;
            }
        }
    }
    println!();
    for (contestant, rate) in contestants.iter().zip(sustained) {
        println!("* greatest of these rates that {} sustained: {rate}", contestant.name());
    }
}

/// All contestants in turns; the outcomes of each.
fn rounds(plan: &Plan, contestants: &[Contestant], pace: Pace) -> Vec<Vec<Outcome>> {
    let mut outcomes: Vec<_> = contestants.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        for (contestant, outcomes) in contestants.iter().zip(&mut outcomes) {
            let server = Server::start(*contestant);
            outcomes.push(block_on(rate::run(server, plan.clients, pace, plan.time)));
        }
    }
    outcomes
}

fn rows(pace: &str, contestants: &[Contestant], outcomes: &[Vec<Outcome>]) {
    for (contestant, outcomes) in contestants.iter().zip(outcomes) {
        let of = |field: &dyn Fn(&Outcome) -> f64| median(outcomes.iter().map(field).collect());
        println!(
            "| {pace} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {} | {} |",
            contestant.name(),
            of(&|outcome| outcome.rate),
            of(&|outcome| outcome.latency(500)),
            of(&|outcome| outcome.latency(990)),
            of(&|outcome| outcome.latency(999)),
            of(&|outcome| outcome.cpu),
            outcomes.iter().map(|outcome| outcome.skipped).sum::<usize>(),
            outcomes.iter().map(|outcome| outcome.lost).sum::<usize>()
        );
    }
}

/// How many clients a second connect and say hello.
fn connects(plan: &Plan) {
    let contestants = [Contestant::Buswire, Contestant::Bare];
    let mut rates = [Vec::new(), Vec::new()];
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..plan.rounds {
        for (at, contestant) in contestants.into_iter().enumerate() {
            let server = Server::start(contestant);
            let (cpu, start) = (cpu_of(server.pid()), Instant::now());
            let held = block_on(connect(&server, plan.clients, async |server, number| {
                let mut socket = Socket::open(server.address(), "/push", number).await;
                socket.hello().await;
                socket
            }));
            assert_eq!(held.len(), plan.clients);
            rates[at].push(plan.clients as f64 / start.elapsed().as_secs_f64());
            let spent = cpu_of(server.pid()).saturating_sub(cpu).as_secs_f64();
            costs[at].push(spent * 1e6 / plan.clients as f64);
        }
    }
    println!("{} connections with hello; medians of {} rounds.\n", plan.clients, plan.rounds);
    println!("| server | connections per second | CPU us |\n|---|---|---|");
    for ((contestant, rates), costs) in contestants.iter().zip(rates).zip(costs) {
        println!("| {} | {:.0} | {:.1} |", contestant.name(), median(rates), median(costs));
    }
}

/// Opens clients, some at once; in the order of their numbers.
async fn connect<T>(
    server: &Server,
    count: usize,
    open: impl AsyncFn(&Server, usize) -> T,
) -> Vec<T> {
    let opening = stream::iter(0..count).map(|number| open(server, number));
    opening.buffered(AT_ONCE).collect().await
}

/// What a connection costs that has said hello and registered one channel, and then is silent.
fn idle(count: usize) {
    println!("{count} idle connections with one channel each.\n");
    println!("| server | KiB per connection | CPU while idle, % of a core |\n|---|---|---|");
    for contestant in contestants() {
        if contestant == Contestant::Durable {
            continue;
        }
        let server = Server::start(contestant);
        let before = resident_kib(server.pid());
        let held = block_on(async {
            let held =
                connect(&server, count, async |server, number| server.client(number).await.0);
            let held = held.await;
            tokio::time::sleep(WATCH).await;
            held
        });
        let cpu = cpu_of(server.pid());
        std::thread::sleep(WATCH);
        let spent = cpu_of(server.pid()).saturating_sub(cpu).as_secs_f64();
        println!(
            "| {} | {:.2} | {:.1} |",
            contestant.name(),
            (resident_kib(server.pid()) - before) / count as f64,
            spent / WATCH.as_secs_f64() * 100.0
        );
        drop(held);
    }
}
