//! What a read that waits costs in memory, beyond the connection that it waits on.

use std::time::Duration;

use buswire_integration_tests::{Gateway, Site};

use crate::{
    http::{Connection, get},
    stats::{Plan, median, resident_kib},
};

/// Time in which the server takes in what was sent to it.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn measure(plan: &Plan) {
    let runs: Vec<_> = (0..plan.rounds)
        .map(|_| {
            let gateway = Gateway::spawn();
            let visit = Site::create(&gateway, "load", &[]).visit(&gateway);
            let [idle, wait] = ["/v2/messages", "/v2/messages?block=25"];
            let [idle, wait] = [idle, wait].map(|path| get(path, &visit.token));
            run(plan.clients, &gateway.bound().http, gateway.pid(), &idle, &wait)
        })
        .collect();
    println!("reads that wait: {}; medians of {} rounds", plan.clients, plan.rounds);
    let (connection, waiting) = medians(&runs);
    println!("a connection at rest, KiB     {connection:>8.2}");
    println!("a wait beyond that, KiB       {waiting:>8.2}");
}

/// The medians of both figures.
pub(crate) fn medians(runs: &[(f64, f64)]) -> (f64, f64) {
    let (connections, waits) = runs.iter().copied().unzip();
    (median(connections), median(waits))
}

/// KiB of a connection on which `idle` was answered, and of a wait for the answer to `wait` on it.
pub(crate) fn run(clients: usize, address: &str, pid: u32, idle: &[u8], wait: &[u8]) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let none = resident_kib(pid);
    let (idle, waiting) = runtime.block_on(async {
        let mut readers = Vec::new();
        for _ in 0..clients {
            let mut reader = Connection::open(address).await;
            let answer = reader.exchange(idle).await;
            assert!(answer.status() < 400, "{}", answer.head);
            readers.push(reader);
        }
        tokio::time::sleep(SETTLE).await;
        let idle = resident_kib(pid);
        for reader in &mut readers {
            reader.send(wait).await;
        }
        tokio::time::sleep(SETTLE).await;
        (idle, resident_kib(pid))
    });
    let each = |kib: f64| kib / clients as f64;
    (each(idle - none), each(waiting - idle))
}
