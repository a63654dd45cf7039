//! Clients that each send a request again as soon as it is answered.

use std::time::{Duration, Instant};

use crate::{
    http::{Connection, Message},
    stats::{Plan, Run, cpu_of},
};

/// Runs `plan` against the server `pid` at `address`. Each client sends its share of `requests` over
/// and over, or one of them if there are fewer than clients; `check` stops the tool at a wrong answer.
pub(crate) fn run(
    plan: &Plan,
    address: &str,
    requests: &[Vec<u8>],
    pid: u32,
    check: fn(&Message),
) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let cpu = cpu_of(pid);
        let start = Instant::now();
        let clients: Vec<_> = (0..plan.clients)
            .map(|first| share(requests, first, plan.clients))
            .map(|requests| {
                let client = repeat(address.to_owned(), requests, start, plan.time, check);
                tokio::task::spawn_local(client)
            })
            .collect();
        let mut latencies = Vec::new();
        for client in clients {
            latencies.extend(client.await.unwrap());
        }
        let elapsed = start.elapsed();
        let server_cpu = cpu_of(pid).saturating_sub(cpu);
        Run { operations: latencies.len(), lost: 0, wrong: 0, elapsed, server_cpu, latencies }
    })
}

fn share(requests: &[Vec<u8>], first: usize, clients: usize) -> Vec<Vec<u8>> {
    let first = first % requests.len();
    requests.iter().skip(first).step_by(clients).cloned().collect()
}

async fn repeat(
    address: String,
    requests: Vec<Vec<u8>>,
    start: Instant,
    time: Duration,
    check: fn(&Message),
) -> Vec<Duration> {
    let mut connection = Connection::open(&address).await;
    let mut latencies = Vec::new();
    for request in requests.iter().cycle() {
        let at = Instant::now();
        if start.elapsed() >= time {
            break;
        }
        let answer = connection.exchange(request).await;
        check(&answer);
        latencies.push(at.elapsed());
    }
    latencies
}
