//! Few and many live grants: what an invocation costs, memory, and the end of them all.
//!
//! The grants hang in one tree: a root grantor, grantors below it, and below each of these a thousand
//! grants of `bus.read`. They are made through the capabilities of the grantors, as anybody would.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use buswire_integration_tests::Gateway;
use serde_json::{Value, json};

use super::{BUS, answer, grant, invoke, ok, path, text};
use crate::{
    exchange,
    http::{Connection, delete, get},
    stats::{Figures, Floor, Plan, Run, option, resident_kib},
};

/// Live grants, unless `--grants` names the greater number.
const FEW: usize = 1000;
const MANY: usize = 1_000_000;
/// How many grants each grantor makes.
const EACH: usize = 1000;
/// Connections that make grants.
const MAKERS: usize = 128;
/// The most grants that are invoked, evenly out of all.
const INVOKED_MAX: usize = 100_000;

/// A gateway with so many live grants in one tree.
struct Filled {
    gateway: Gateway,
    count: usize,
    took: Duration,
    /// Invocations of some of the grants.
    requests: Vec<Vec<u8>>,
    /// The control capability of the root.
    control: String,
    runs: Vec<Run>,
}

pub(crate) fn measure(plan: &Plan, words: &[&str]) {
    let many = option(words, "--grants").unwrap_or(MANY);
    let mut filled = [FEW, many].map(Filled::new);
    let length = answer(&filled[0].gateway.bound().http, &filled[0].requests[0]).body.len();
    let floor = Floor::start(&["answer", &length.to_string()]);
    let mut floor_runs = Vec::new();
    for _ in 0..plan.rounds {
        for one in &mut filled {
            let (address, pid) = (&one.gateway.bound().http, one.gateway.pid());
            one.runs.push(exchange::run(plan, address, &one.requests, pid, ok));
        }
        let request = &filled[0].requests[..1];
        floor_runs.push(exchange::run(plan, &floor.address, request, floor.pid(), ok));
    }
    println!(
        "\n| live grants | made per second | bus.read per second | p50 ms | p99 ms | CPU us \
         | resident MiB | root revoked in ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for one in &filled {
        let made = one.count as f64 / one.took.as_secs_f64();
        let resident = resident_kib(one.gateway.pid()) / 1024.0;
        let revoked = one.revoke().as_secs_f64() * 1e3;
        let figures = row(&Figures::median(&one.runs));
        println!("| {} | {made:.0} | {figures} | {resident:.1} | {revoked:.1} |", one.count);
    }
    println!("| bare floor | | {} | | |", row(&Figures::median(&floor_runs)));
}

fn row(Figures { rate, p50, p99, cpu }: &Figures) -> String {
    format!("{rate:.0} | {p50:.2} | {p99:.2} | {cpu:.1}")
}

impl Filled {
    fn new(count: usize) -> Self {
        let gateway = Gateway::spawn();
        gateway.admin(&["bus", "create", BUS]);
        let root = grant(&gateway, "grantor", &json!({"kinds": ["grantor", "bus.read"]}));
        let start = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        let address = gateway.bound().http.clone();
        let requests = local.block_on(&runtime, fill(address, text(&root["cap"]), count));
        let (took, control) = (start.elapsed(), text(&root["control"]));
        Self { gateway, count, took, requests, control, runs: Vec::new() }
    }

    /// Revokes the root; how long it took. Everything below it is dead then.
    fn revoke(&self) -> Duration {
        let address = &self.gateway.bound().http;
        let start = Instant::now();
        ok(&answer(address, &delete(&path(&self.control))));
        let took = start.elapsed();
        let dead = answer(address, self.requests.last().unwrap());
        assert_eq!(dead.status(), 404, "what hangs below a revoked root is dead");
        took
    }
}

/// Makes grants below `root`, and gives requests that invoke some of them.
async fn fill(address: String, root: String, count: usize) -> Vec<Vec<u8>> {
    let grantors = count.div_ceil(EACH);
    let next = Rc::new(Cell::new(0));
    let makers: Vec<_> = (0..MAKERS.min(grantors))
        .map(|_| {
            let (address, root, next) = (address.clone(), root.clone(), Rc::clone(&next));
            tokio::task::spawn_local(async move {
                let mut connection = Connection::open(&address).await;
                let mut requests = Vec::new();
                while next.get() < grantors {
                    next.set(next.get() + 1);
                    requests.extend(fill_one(&mut connection, &root, count).await);
                }
                requests
            })
        })
        .collect();
    let mut requests = Vec::new();
    for maker in makers {
        requests.extend(maker.await.unwrap());
    }
    requests
}

/// Makes a grantor and what it grants.
async fn fill_one(connection: &mut Connection, root: &str, count: usize) -> Vec<Vec<u8>> {
    let grantor = json!({"kind": "grantor", "target": {"kinds": ["bus.read"]}});
    let grantor = made(connection, root, &grantor).await;
    let one = json!({"kind": "bus.read", "target": {"bus": BUS, "channel": "c"}});
    let every = count.div_ceil(INVOKED_MAX);
    let mut requests = Vec::new();
    for number in 0..EACH.min(count) {
        let cap = made(connection, &grantor, &one).await;
        if number % every == 0 {
            requests.push(get(&path(&cap), "none"));
        }
    }
    requests
}

/// The capability that a grantor makes.
pub(crate) async fn made(connection: &mut Connection, grantor: &str, wanted: &Value) -> String {
    let reply = connection.exchange(&invoke(grantor, wanted)).await;
    ok(&reply);
    let reply: Value = serde_json::from_slice(&reply.body).unwrap();
    text(&reply["value"]["cap"]["@"])
}
