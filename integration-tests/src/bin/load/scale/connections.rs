//! Memory of connections: of a gateway with its own store, and of one on Redis with what Redis takes.
//!
//! Never here: connections that do something.

use std::time::Duration;

use buswire_integration_tests::Site;
use futures::{StreamExt as _, stream};

use super::{
    fleet::{Fleet, Layout},
    redis::Fsync,
};
use crate::{
    http::{Connection, get},
    push::{Socket, raise_limit},
    stats::option,
};

/// Connections of a kind, unless `--connections` says otherwise.
const EACH: usize = 5000;
/// Time in which a gateway takes in what was sent to it.
const SETTLE: Duration = Duration::from_secs(2);
/// Connections that are opened at once.
const AT_ONCE: usize = 64;

/// KiB of a gateway on Redis, and of Redis, for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connections {
    /// A long poll that waits, with its connection.
    pub(crate) poll: f64,
    /// A silent WebSocket with one channel.
    pub(crate) socket: f64,
    /// What Redis keeps of the user agent behind it.
    pub(crate) agent: f64,
}

/// Memory of all processes, in bytes.
struct Memory {
    gateway: f64,
    redis: f64,
}

impl Memory {
    fn of(fleet: &Fleet) -> Self {
        std::thread::sleep(SETTLE);
        Self { gateway: fleet.resident(), redis: fleet.stored() }
    }

    /// KiB for each of `count` that came since `before`.
    fn each(&self, before: &Self, count: usize) -> (f64, f64) {
        let kib = |after: f64, before: f64| (after - before) / 1024.0 / count as f64;
        (kib(self.gateway, before.gateway), kib(self.redis, before.redis))
    }
}

pub(crate) fn measure(words: &[&str]) -> Connections {
    raise_limit();
    let count = option(words, "--connections").unwrap_or(EACH);
    println!("\nKiB of memory for each of {count} connections.\n");
    println!("| | gateway, own store | gateway on Redis | Redis |");
    println!("|---|---|---|---|");
    let redis = Layout::Redis { gateways: 1, fsync: Fsync::Everysec };
    let [own, shared] = [Layout::Embedded, redis].map(|layout| one(layout, count));
    let names =
        ["HTTP connection at rest", "long poll that waits, beyond it", "WebSocket with a channel"];
    for (name, (own, shared)) in names.iter().zip(own.iter().zip(&shared)) {
        println!("| {name} | {:.2} | {:.2} | {:.2} |", own.0, shared.0, shared.1);
    }
    let [connection, wait, socket] = shared;
    Connections { poll: connection.0 + wait.0, socket: socket.0, agent: socket.1 }
}

/// Of a connection at rest, of a wait beyond that, of a WebSocket: of the gateway and of Redis.
fn one(layout: Layout, count: usize) -> [(f64, f64); 3] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (connection, wait) = {
        let fleet = Fleet::start(layout, &[], "");
        let visit = Site::create(fleet.at(0), "load", &[]).visit(fleet.at(0));
        let before = Memory::of(&fleet);
        let mut readers = runtime.block_on(polls(fleet.address(0), &visit.token, count));
        let idle = Memory::of(&fleet);
        let wait = get("/v2/messages?block=25", &visit.token);
        runtime.block_on(async {
            for reader in &mut readers {
                reader.send(&wait).await;
            }
        });
        let waiting = Memory::of(&fleet);
        (idle.each(&before, count), waiting.each(&idle, count))
    };
    let fleet = Fleet::start(layout, &[], "");
    let before = Memory::of(&fleet);
    let held = runtime.block_on(sockets(fleet.address(0), count));
    let socket = Memory::of(&fleet).each(&before, count);
    drop(held);
    [connection, wait, socket]
}

/// Connections on which one read was answered.
async fn polls(address: &str, token: &str, count: usize) -> Vec<Connection> {
    let request = get("/v2/messages", token);
    let open = stream::iter(0..count).map(async |_| {
        let mut reader = Connection::open(address).await;
        let answer = reader.exchange(&request).await;
        assert!(answer.status() < 400, "{}", answer.head);
        reader
    });
    open.buffered(AT_ONCE).collect().await
}

/// User agents with one channel each.
pub(crate) async fn sockets(address: &str, count: usize) -> Vec<(Socket, String)> {
    let open = stream::iter(0..count).map(async |number| {
        let mut socket = Socket::open(address, "/push", number).await;
        socket.hello().await;
        let path = socket.register(number).await;
        (socket, path)
    });
    open.buffered(AT_ONCE).collect().await
}
