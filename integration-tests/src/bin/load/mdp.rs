//! Requests through the broker: clients with many in flight, a few echo workers.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use buswire_integration_tests::Gateway;

use crate::stats::{Floor, Plan, Run, compare as table, cpu_of};

/// How many work at once.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    in_flight: usize,
    workers: usize,
}

pub(crate) const MANY: Load = Load { in_flight: 32, workers: 4 };
pub(crate) const LOCK_STEP: Load = Load { in_flight: 1, workers: 1 };

const BODY: [u8; 64] = [b'x'; 64];
/// How long an answer may take after the end before it counts as lost.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Broker,
    Proxy,
    /// Like the proxy, but a worker says first that it waits.
    Turns,
}

/// The floor to compare with.
#[derive(Clone, Copy)]
pub(crate) enum Against {
    /// ZeroMQ's proxy, which hands out requests without waiting for a worker.
    Proxy,
    /// One request at a time for each worker, as MDP wants it.
    Turns,
}

pub(crate) fn compare(plan: &Plan, load: Load, against: Against) {
    let (name, floor_peer) = match against {
        Against::Proxy => ("mdp", Peer::Proxy),
        Against::Turns => ("turns", Peer::Turns),
    };
    let Load { in_flight, workers } = load;
    let clients = plan.clients;
    let title = format!(
        "MDP against floor {name}; clients: {clients}, in flight each: {in_flight}, workers: {workers}"
    );
    table(
        &title,
        plan,
        || {
            let gateway = Gateway::spawn();
            let endpoint = gateway.bound().mdp.clone();
            run(plan, load, [&endpoint, &endpoint], Peer::Broker, gateway.pid())
        },
        || {
            let floor = Floor::start(&[name]);
            let (front, back) = floor.address.split_once(' ').unwrap();
            run(plan, load, [front, back], floor_peer, floor.pid())
        },
    );
}

fn run(plan: &Plan, load: Load, [front, back]: [&str; 2], peer: Peer, pid: u32) -> Run {
    let context = zmq::Context::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..load.workers {
            scope.spawn(|| work(&context, back, peer, &stop));
        }
        // Every worker has registered when requests to a service of its own come back.
        warm_up(&context, front, peer);
        let cpu = cpu_of(pid);
        let start = Instant::now();
        let clients: Vec<_> = (0..plan.clients)
            .map(|_| scope.spawn(|| ask(&context, front, peer, (plan.time, load.in_flight))))
            .collect();
        let results: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        let elapsed = start.elapsed();
        let server_cpu = cpu_of(pid).saturating_sub(cpu);
        stop.store(true, Ordering::Relaxed);
        let lost = results.iter().map(|(_, lost)| lost).sum();
        let latencies: Vec<_> = results.into_iter().flat_map(|(latencies, _)| latencies).collect();
        Run { operations: latencies.len(), lost, elapsed, server_cpu, latencies }
    })
}

fn socket(context: &zmq::Context, endpoint: &str) -> zmq::Socket {
    let socket = context.socket(zmq::DEALER).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_sndhwm(0).unwrap();
    socket.set_rcvhwm(0).unwrap();
    socket.connect(endpoint).unwrap();
    socket
}

fn work(context: &zmq::Context, endpoint: &str, peer: Peer, stop: &AtomicBool) {
    let socket = socket(context, endpoint);
    if peer == Peer::Broker {
        let ready: [&[u8]; 4] = [b"", b"MDPW01", b"\x01", b"echo"];
        socket.send_multipart(ready, 0).unwrap();
    }
    if peer == Peer::Turns {
        socket.send("", 0).unwrap();
    }
    let mut beat = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if peer == Peer::Broker && beat.elapsed() > Duration::from_millis(500) {
            let heartbeat: [&[u8]; 3] = [b"", b"MDPW01", b"\x04"];
            socket.send_multipart(heartbeat, 0).unwrap();
            beat = Instant::now();
        }
        if socket.poll(zmq::POLLIN, 100).unwrap() == 0 {
            continue;
        }
        let mut frames = socket.recv_multipart(0).unwrap();
        if peer == Peer::Broker {
            if frames[2] != b"\x02" {
                continue;
            }
            frames[2] = b"\x03".to_vec();
        }
        socket.send_multipart(frames, 0).unwrap();
    }
}

fn request(peer: Peer, tag: u64) -> Vec<Vec<u8>> {
    let tag = tag.to_be_bytes().to_vec();
    match peer {
        Peer::Broker => vec![vec![], b"MDPC01".to_vec(), b"echo".to_vec(), tag, BODY.to_vec()],
        Peer::Proxy | Peer::Turns => vec![tag, BODY.to_vec()],
    }
}

fn tag_of(frames: &[Vec<u8>]) -> u64 {
    let tag = &frames[frames.len() - 2];
    u64::from_be_bytes(tag.as_slice().try_into().unwrap())
}

fn warm_up(context: &zmq::Context, endpoint: &str, peer: Peer) {
    let socket = socket(context, endpoint);
    for tag in 0..1000 {
        socket.send_multipart(request(peer, tag), 0).unwrap();
        assert_ne!(socket.poll(zmq::POLLIN, 10_000).unwrap(), 0, "the workers answer");
        socket.recv_multipart(0).unwrap();
    }
}

fn ask(
    context: &zmq::Context,
    endpoint: &str,
    peer: Peer,
    (time, in_flight): (Duration, usize),
) -> (Vec<Duration>, usize) {
    let socket = socket(context, endpoint);
    let mut sent = HashMap::new();
    let mut latencies = Vec::with_capacity(100_000);
    let start = Instant::now();
    let mut tag = 0;
    let mut end = None;
    loop {
        if start.elapsed() < time {
            while sent.len() < in_flight {
                socket.send_multipart(request(peer, tag), 0).unwrap();
                sent.insert(tag, Instant::now());
                tag += 1;
            }
        } else if sent.is_empty() {
            return (latencies, 0);
        } else if end.get_or_insert_with(Instant::now).elapsed() > GRACE {
            return (latencies, sent.len());
        }
        if socket.poll(zmq::POLLIN, 100).unwrap() == 0 {
            continue;
        }
        while let Ok(frames) = socket.recv_multipart(zmq::DONTWAIT) {
            let at = sent.remove(&tag_of(&frames)).expect("an answer to a request of ours, once");
            latencies.push(at.elapsed());
        }
    }
}
