//! How cost grows with what is there: an operation with so much and with ten times as much, in turns.
//!
//! Never here: how it got there and what is asked, which is `fill`.

mod fill;

use std::time::Duration;

use crate::{
    push::raise_limit,
    scale::{
        Fsync,
        fleet::{Fleet, Layout},
        work::{Counting, Done, drive},
    },
    stats::{Plan, median, option},
};
use fill::{Filled, Kind};

/// Clients that each ask again as soon as they are answered.
const CLIENTS: usize = 64;
/// How many times as much there is in the other one.
const TIMES: usize = 10;
/// Time in which connections and caches are made.
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures all kinds, or the one that the first word names.
pub(crate) fn measure(words: &[&str]) {
    raise_limit();
    let part = words.first().copied().filter(|word| !word.starts_with("--"));
    let plan = Plan::parse(words, CLIENTS);
    println!(
        "{} clients; medians of {} rounds of {} s, in turns. CPU in us for one operation; memory in bytes for one \
         more of what grows.\n",
        plan.clients,
        plan.rounds,
        plan.time.as_secs()
    );
    println!(
        "| what grows, operation | store | from, to | per second | rate | CPU gateway | CPU | CPU Redis | CPU \
         | memory of the gateway | of Redis |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let redis = Layout::Redis { gateways: 1, fsync: Fsync::Everysec };
    for kind in Kind::ALL {
        if part.is_none_or(|wanted| wanted == kind.word()) {
            let base = option(words, "--base").unwrap_or_else(|| kind.base());
            for layout in [Layout::Embedded, redis] {
                compare(kind, layout, base, &plan);
            }
        }
    }
}

/// Two gateways, one with ten times as much.
fn compare(kind: Kind, layout: Layout, base: usize, plan: &Plan) {
    let mut sides = [base, base * TIMES].map(|count| Side::new(kind, layout, count));
    for _ in 0..plan.rounds {
        for side in &mut sides {
            side.run(plan);
        }
    }
    let [few, many] = &sides;
    let of = |side: &Side, figure: fn(&Done) -> f64| median(side.runs.iter().map(figure).collect());
    let both = |figure: fn(&Done) -> f64| (of(few, figure), of(many, figure));
    let rate = both(Done::rate);
    let gateway = both(|done| done.used.gateway() / done.operations);
    let redis = both(|done| done.used.redis / done.operations);
    let more = (many.count - few.count) as f64;
    let store = if layout == Layout::Embedded { "embedded" } else { "Redis" };
    print!(
        "| {} | {store} | {}, {} | {:.0}, {:.0} | {:.2} | {:.1}, {:.1} | {:.2} |",
        kind.name(),
        few.count,
        many.count,
        rate.0,
        rate.1,
        rate.1 / rate.0,
        gateway.0,
        gateway.1,
        gateway.1 / gateway.0
    );
    if layout == Layout::Embedded {
        print!(" | |");
    } else {
        print!(" {:.1}, {:.1} | {:.2} |", redis.0, redis.1, redis.1 / redis.0);
    }
    print!(" {:.0} |", (many.resident - few.resident) / more);
    if layout == Layout::Embedded {
        println!(" |");
    } else {
        println!(" {:.0} |", (many.stored - few.stored) / more);
    }
}

/// A gateway with so much of a kind.
struct Side {
    fleet: Fleet,
    filled: Filled,
    count: usize,
    /// Bytes of the gateway and of Redis when it had been filled.
    resident: f64,
    stored: f64,
    runs: Vec<Done>,
}

impl Side {
    fn new(kind: Kind, layout: Layout, count: usize) -> Self {
        let settings = [("backplane.cleanup_interval_seconds", "1")];
        let fleet = Fleet::start(layout, &settings, &kind.declared(count));
        let filled = Filled::new(kind, &fleet, count);
        let (resident, stored) = (fleet.resident(), fleet.stored());
        Self { fleet, filled, count, resident, stored, runs: Vec::new() }
    }

    fn run(&mut self, plan: &Plan) {
        let lasts = WARM_UP + plan.time;
        let tasks = self.filled.tasks(self.fleet.address(0), plan.clients, lasts);
        self.runs.push(drive(tasks, &self.fleet, WARM_UP, plan.time, Counting::No));
    }
}
