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
    let runs: Vec<_> = (0..plan.rounds).map(|_| run(plan.clients)).collect();
    let connection = median(runs.iter().map(|(connection, _)| *connection).collect());
    let waiting = median(runs.iter().map(|(_, waiting)| *waiting).collect());
    println!("reads that wait: {}; medians of {} rounds", plan.clients, plan.rounds);
    println!("a connection at rest, KiB     {connection:>8.2}");
    println!("a wait beyond that, KiB       {waiting:>8.2}");
}

/// KiB of a connection that has had an answer, and of a wait on it.
fn run(clients: usize) -> (f64, f64) {
    let gateway = Gateway::spawn();
    let site = Site::create(&gateway, "load", &[]);
    let visit = site.visit(&gateway);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pid = gateway.pid();
    let address = &gateway.bound().http;
    let none = resident_kib(pid);
    let (idle, waiting) = runtime.block_on(async {
        let mut readers = Vec::new();
        for _ in 0..clients {
            let mut reader = Connection::open(address).await;
            let answer = reader.exchange(&get("/v2/messages", &visit.token)).await;
            assert_eq!(answer.status(), 200);
            readers.push(reader);
        }
        tokio::time::sleep(SETTLE).await;
        let idle = resident_kib(pid);
        for reader in &mut readers {
            reader.send(&get("/v2/messages?block=25", &visit.token)).await;
        }
        tokio::time::sleep(SETTLE).await;
        (idle, resident_kib(pid))
    });
    let each = |kib: f64| kib / clients as f64;
    (each(idle - none), each(waiting - idle))
}
