//! How cost grows with gateways: what each process uses for an operation, alone and together.
//!
//! All gateways, Redis and the clients share this machine, so rates of several gateways say nothing of
//! several machines: processor time of each process does, and rates where every gateway gets the same
//! small part of a processor. Never here: how cost grows with data, which is `growth`.

mod client;
mod connections;
mod ending;
mod fanout;
pub(crate) mod fleet;
mod model;
mod redis;
mod share;
pub(crate) mod work;

use std::time::Duration;

pub(crate) use client::{Task, put};
pub(crate) use ending::after;
pub(crate) use redis::Fsync;

use crate::stats::{Plan, median, option};
use fleet::{Fleet, Layout, Used};
use model::Model;
use work::{Counting, Done, Work};

/// Clients in all.
const CLIENTS: usize = 64;
/// Per cent of a processor that each gateway gets where they are compared by their rates.
const SHARE: usize = 15;
/// Gateways that share a store and are compared with one.
const SEVERAL: usize = 3;
/// How long requests to Redis are counted.
const COUNTED: Duration = Duration::from_secs(1);

/// Measures everything and says what it comes to, or the part that the first word names.
pub(crate) fn measure(words: &[&str]) {
    let part = words.first().copied().filter(|word| !word.starts_with("--"));
    let plan = Plan::parse(words, CLIENTS);
    let is_wanted = |name| part.is_none_or(|wanted| wanted == name);
    let one = |gateways, fsync| Layout::Redis { gateways, fsync };
    let layouts = [
        Layout::Embedded,
        one(1, Fsync::Everysec),
        one(SEVERAL, Fsync::Everysec),
        one(1, Fsync::Always),
        one(SEVERAL, Fsync::Always),
    ];
    let operations = is_wanted("operations").then(|| operations(&plan, &layouts));
    let ends = is_wanted("ends").then(|| ending::measure(&plan, &layouts[..3]));
    if is_wanted("shares") {
        shares(&plan, option(words, "--share").unwrap_or(SHARE) as u64);
    }
    let fanout = is_wanted("fanout").then(|| fanout::measure(&plan));
    if is_wanted("idle") {
        fanout::idle(&plan);
    }
    let connections = is_wanted("connections").then(|| connections::measure(words));
    if let (Some(operations), Some(ends), Some(fanout), Some(connections)) =
        (operations, ends, fanout, connections)
    {
        Model::new(&operations, ends[1], &fanout, &connections).print();
    }
}

/// What gateways on Redis, `appendfsync everysec`, used for one operation.
pub(crate) struct PerOperation {
    pub(crate) work: Work,
    /// How many gateways there were.
    pub(crate) gateways: usize,
    pub(crate) gateway: f64,
    pub(crate) redis: f64,
}

/// One gateway with its own store, one on Redis, several on Redis: in turns.
fn operations(plan: &Plan, layouts: &[Layout; 5]) -> Vec<PerOperation> {
    println!(
        "{} clients; medians of {} rounds of {} s, in turns. CPU in us of a processor, all gateways together; \
         requests to Redis, bytes of them and of answers, bytes of its file: for one operation.\n",
        plan.clients,
        plan.rounds,
        plan.time.as_secs()
    );
    println!(
        "| work | store | per second | p50 ms | p99 ms | CPU gateways | CPU Redis | requests \
         | bytes in | bytes out | file |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut kept = Vec::new();
    for work in Work::ALL {
        let mut runs = layouts.map(|_| Vec::new());
        for _ in 0..plan.rounds {
            for (layout, runs) in layouts.iter().zip(&mut runs) {
                let fleet = Fleet::start(*layout, &[], "");
                runs.push(work::run(work, &fleet, plan, Counting::No));
            }
        }
        for (layout, runs) in layouts.iter().zip(&runs) {
            let row = Row::of(runs);
            row.print(work, *layout, requests(work, *layout, plan));
            if let Layout::Redis { gateways, fsync: Fsync::Everysec } = *layout {
                let (gateway, redis) = (row.gateway, row.redis);
                kept.push(PerOperation { work, gateways, gateway, redis });
            }
        }
    }
    kept
}

/// Requests to Redis for one operation, from a run of their own: counting slows the server.
fn requests(work: Work, layout: Layout, plan: &Plan) -> Option<f64> {
    let Layout::Redis { .. } = layout else { return None };
    let fleet = Fleet::start(layout, &[], "");
    let plan = Plan { rounds: 1, time: COUNTED, clients: plan.clients };
    let done = work::run(work, &fleet, &plan, Counting::Yes);
    done.requests.map(|requests| requests / done.operations)
}

/// Medians of runs, for one operation.
struct Row {
    rate: f64,
    p50: f64,
    p99: f64,
    gateway: f64,
    redis: f64,
    received: f64,
    sent: f64,
    file: f64,
}

impl Row {
    fn of(runs: &[Done]) -> Self {
        let of = |figure: &dyn Fn(&Done) -> f64| median(runs.iter().map(figure).collect());
        let each = |figure: fn(&Used) -> f64| of(&|done| figure(&done.used) / done.operations);
        Self {
            rate: of(&Done::rate),
            p50: of(&|done| done.p50),
            p99: of(&|done| done.p99),
            gateway: each(Used::gateway),
            redis: each(|used| used.redis),
            received: each(|used| used.received),
            sent: each(|used| used.sent),
            file: each(|used| used.file),
        }
    }

    fn print(&self, work: Work, layout: Layout, requests: Option<f64>) {
        let Self { rate, p50, p99, gateway, redis, received, sent, file } = self;
        let start = format!("| {} | {} | {rate:.0} |", work.name(), layout.name());
        let own = format!("{start} {p50:.2} | {p99:.2} | {gateway:.1} |");
        match requests {
            Some(requests) => println!(
                "{own} {redis:.1} | {requests:.2} | {received:.0} | {sent:.0} | {file:.0} |"
            ),
            None => println!("{own} | | | | |"),
        }
    }
}

/// One and several gateways, each with the same small part of a processor, as if on machines of their
/// own that are as much slower.
fn shares(plan: &Plan, per_cent: u64) {
    println!(
        "\nEach gateway has {per_cent} % of a processor; {} clients for each; medians of {} rounds of {} s, \
         in turns.\n",
        plan.clients,
        plan.rounds,
        plan.time.as_secs()
    );
    println!(
        "| work | one per second | {SEVERAL} per second | ratio | CPU Redis with {SEVERAL}, % of a processor |"
    );
    println!("|---|---|---|---|---|");
    for work in Work::ALL {
        let mut runs = [1, SEVERAL].map(|gateways| (gateways, Vec::new()));
        for _ in 0..plan.rounds {
            for (gateways, runs) in &mut runs {
                match shared(work, *gateways, plan, per_cent) {
                    Ok(done) => runs.push(done),
                    Err(error) => {
                        println!("not measured: no control group can be made: {error}");
                        return;
                    }
                }
            }
        }
        let rate = |runs: &[Done]| median(runs.iter().map(Done::rate).collect());
        let busy = |done: &Done| done.used.redis / done.seconds / 1e4;
        let redis = median(runs[1].1.iter().map(busy).collect());
        let [one, several] = [0, 1].map(|at: usize| rate(&runs[at].1));
        let name = work.name();
        println!("| {name} | {one:.0} | {several:.0} | {:.2} | {redis:.0} |", several / one);
    }
}

fn shared(work: Work, gateways: usize, plan: &Plan, per_cent: u64) -> std::io::Result<Done> {
    let layout = Layout::Redis { gateways, fsync: Fsync::Everysec };
    let fleet = Fleet::start(layout, &[], "");
    let tasks = work.tasks(&fleet, plan.clients * gateways);
    let gateways = fleet.gateways().iter();
    let given = gateways.map(|gateway| share::Share::give(gateway.pid(), per_cent));
    let _given = given.collect::<Result<Vec<_>, _>>()?;
    Ok(work::drive(tasks, &fleet, work::WARM_UP, plan.time, Counting::No))
}
