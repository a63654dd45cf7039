//! Durable posts over HTTP, each publisher waiting for its answer.

use std::time::{Duration, Instant};

use buswire_integration_tests::{Gateway, Site};

use crate::{
    http::{Connection, post},
    stats::{Floor, Plan, Run, compare as table, cpu_of},
};

pub(crate) fn compare(plan: &Plan) {
    let title = format!("durable posts, {} publishers", plan.clients);
    table(
        &title,
        plan,
        || {
            let gateway = Gateway::spawn();
            let site = Site::create(&gateway, "load", &["--max-messages", "1000000"]);
            let visits: Vec<_> = (0..8).map(|_| site.visit(&gateway)).collect();
            let authorization = format!("Bearer {}", site.token);
            let payload = format!("\"{}\"", "x".repeat(64));
            let requests: Vec<_> = visits
                .iter()
                .map(|visit| site.message(&visit.channel, "load/post", &payload))
                .map(|body| post("/v2/message", &authorization, "application/json", &body))
                .collect();
            run(plan, &gateway.bound().http, &requests, gateway.pid())
        },
        || {
            // Where the gateway keeps its data too.
            let file = tempfile::NamedTempFile::new().unwrap();
            let floor = Floor::start(&["posts", &file.path().display().to_string()]);
            let request = post("/", "none", "application/json", &"x".repeat(400));
            run(plan, &floor.address, &[request], floor.pid())
        },
    );
}

fn run(plan: &Plan, address: &str, requests: &[Vec<u8>], pid: u32) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let cpu = cpu_of(pid);
        let start = Instant::now();
        let publishers: Vec<_> = (0..plan.clients)
            .map(|at| requests[at % requests.len()].clone())
            .map(|request| {
                tokio::task::spawn_local(publish(address.to_owned(), request, start, plan.time))
            })
            .collect();
        let mut latencies = Vec::new();
        for publisher in publishers {
            latencies.extend(publisher.await.unwrap());
        }
        let elapsed = start.elapsed();
        let server_cpu = cpu_of(pid).saturating_sub(cpu);
        Run { operations: latencies.len(), lost: 0, elapsed, server_cpu, latencies }
    })
}

async fn publish(
    address: String,
    request: Vec<u8>,
    start: Instant,
    time: Duration,
) -> Vec<Duration> {
    let mut connection = Connection::open(&address).await;
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        let at = Instant::now();
        let answer = connection.exchange(&request).await;
        assert_eq!(answer.status(), 201, "{}", String::from_utf8_lossy(&answer.body));
        latencies.push(at.elapsed());
    }
    latencies
}
