//! What the end of a message costs: it leaves the store and the memory of every gateway.
//!
//! Never here: what it costs while it lives.

use std::{process::Command, thread::sleep, time::Duration};

use serde_json::json;

use super::{
    client::Task,
    fanout::Cost,
    fleet::{Fleet, Layout, Used},
    work::{self, BUS, Counting},
};
use crate::{
    cap::{self, invoke, ok, text},
    stats::{Plan, median},
};

/// Gateways remove what has expired so often.
const SETTINGS: [(&str, &str); 1] = [("backplane.cleanup_interval_seconds", "1")];
/// Time in which it has all been removed.
const REMOVED: Duration = Duration::from_secs(8);

/// Messages that all end at once; what the store and the gateways use then, for each of them.
pub(crate) fn measure(plan: &Plan, layouts: &[Layout]) -> Vec<Cost> {
    println!(
        "\nMessages that end; medians of {} rounds. CPU in us for one message, all gateways together, beyond what they \
         use at rest.\n",
        plan.rounds
    );
    println!("| store | messages | CPU gateways | CPU Redis |\n|---|---|---|---|");
    let mut costs = Vec::new();
    for layout in layouts {
        let runs: Vec<_> = (0..plan.rounds).map(|_| run(plan, *layout)).collect();
        let of = |figure: fn(&(f64, Cost)) -> f64| median(runs.iter().map(figure).collect());
        let cost = Cost { gateway: of(|run| run.1.gateway), redis: of(|run| run.1.redis) };
        let Cost { gateway, redis } = cost;
        println!("| {} | {:.0} | {gateway:.1} | {redis:.1} |", layout.name(), of(|run| run.0));
        costs.push(cost);
    }
    costs
}

fn run(plan: &Plan, layout: Layout) -> (f64, Cost) {
    let fleet = Fleet::start(layout, &SETTINGS, "");
    let gateway = fleet.at(0);
    gateway.admin(&["bus", "create", BUS, "--max-messages", "1000000"]);
    let target = json!({"bus": BUS, "channel": "c"});
    let cap = text(&cap::grant(gateway, "bus.publish", &target)["cap"]);
    let value =
        json!({"type": "t", "payload": "x".repeat(64), "expire": after(plan.time + REMOVED / 2)});
    let requests = vec![invoke(&cap, &value)];
    let tasks = (0..plan.clients).map(|client| Task::Ask {
        address: fleet.address(client).to_owned(),
        requests: requests.clone(),
        check: ok,
    });
    let done = work::drive(tasks.collect(), &fleet, Duration::ZERO, plan.time, Counting::No);
    // The first reading is before the end, since less time than that has passed.
    let (before, used) = (fleet.read(), || fleet.read());
    sleep(REMOVED);
    let ended = used();
    sleep(REMOVED);
    let rest = Used::between(&ended, &used());
    let ending = Used::between(&before, &ended);
    let each = |ending: f64, rest: f64| (ending - rest).max(0.0) / done.operations;
    let gateway = each(ending.gateway(), rest.gateway());
    (done.operations, Cost { gateway, redis: each(ending.redis, rest.redis) })
}

/// The time after so long, as messages name it.
pub(crate) fn after(time: Duration) -> String {
    let seconds = format!("+{} seconds", time.as_secs_f64().ceil());
    let date = ["--utc", "--date", &seconds, "+%Y-%m-%dT%H:%M:%SZ"];
    let output = Command::new("date").args(date).output().expect("date runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
