//! Reads that find nothing, each reader asking again at once.

use std::time::{Duration, Instant};

use buswire_integration_tests::{Gateway, Site};

use crate::{
    http::{Connection, get},
    stats::{Floor, Plan, Run, compare as table, cpu_of},
};

pub(crate) fn compare(plan: &Plan) {
    let title = format!("reads that find nothing, {} readers", plan.clients);
    table(
        &title,
        plan,
        || {
            let gateway = Gateway::spawn();
            let site = Site::create(&gateway, "load", &[]);
            let visits: Vec<_> = (0..8).map(|_| site.visit(&gateway)).collect();
            let requests: Vec<_> =
                visits.iter().map(|visit| get("/v2/messages", &visit.token)).collect();
            run(plan, &gateway.bound().http, &requests, gateway.pid())
        },
        || {
            let floor = Floor::start(&["reads"]);
            run(plan, &floor.address, &[get("/v2/messages", "none")], floor.pid())
        },
    );
}

fn run(plan: &Plan, address: &str, requests: &[Vec<u8>], pid: u32) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let cpu = cpu_of(pid);
        let start = Instant::now();
        let readers: Vec<_> = (0..plan.clients)
            .map(|at| requests[at % requests.len()].clone())
            .map(|request| {
                tokio::task::spawn_local(read(address.to_owned(), request, start, plan.time))
            })
            .collect();
        let mut latencies = Vec::new();
        for reader in readers {
            latencies.extend(reader.await.unwrap());
        }
        let elapsed = start.elapsed();
        let server_cpu = cpu_of(pid).saturating_sub(cpu);
        Run { operations: latencies.len(), lost: 0, elapsed, server_cpu, latencies }
    })
}

async fn read(address: String, request: Vec<u8>, start: Instant, time: Duration) -> Vec<Duration> {
    let mut connection = Connection::open(&address).await;
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        let at = Instant::now();
        let answer = connection.exchange(&request).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert!(answer.status() == 200 && body.contains("\"messages\":[]"), "{body}");
        latencies.push(at.elapsed());
    }
    latencies
}
