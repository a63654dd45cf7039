//! Peers that mean harm, while another client's latency and the memory of the process are measured.
//!
//! One test, because memory is measured for the whole process. The peers write ZMTP themselves:
//! greeting, READY, then whatever they like.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and measures with the clock"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use buswire_mdp::core::{CoreConfig, Farewell};
use buswire_mdp::wire::Invalid;
use buswire_mdp::{
    BoxFuture, Broker, BrokerConfig, BrokerHandle, Frames, LocalRequest, LocalService,
};

const PATIENCE: Duration = Duration::from_secs(20);
const REPLY_BYTES: usize = 16 << 10;
/// Requests of the client that never reads: 320 MiB of replies, if they were all kept.
const UNREAD: u32 = 20_000;

/// Answers each request with a body of [`REPLY_BYTES`].
struct Large;

impl LocalService for Large {
    fn call(&self, _: LocalRequest) -> BoxFuture<'static, Frames> {
        Box::pin(async { Frames::from([vec![b'x'; REPLY_BYTES]]) })
    }
}

/// A connection that has shaken hands as a DEALER.
struct Raw(TcpStream);

impl Raw {
    fn connect(address: &str, identity: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = [0; 64];
        greeting[..12].copy_from_slice(&[0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 1]);
        greeting[12..16].copy_from_slice(b"NULL");
        stream.write_all(&greeting).unwrap();
        stream.read_exact(&mut greeting).unwrap();
        let mut ready = b"\x05READY\x0BSocket-Type\x00\x00\x00\x06DEALER\x08Identity".to_vec();
        ready.extend(u32::try_from(identity.len()).unwrap().to_be_bytes());
        ready.extend(identity);
        let mut it = Self(stream);
        it.write_frame(4, &ready);
        it.read_frame();
        it
    }

    fn write_frame(&mut self, flags: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).unwrap();
        self.0.write_all(&[&[flags, length], body].concat()).unwrap();
    }

    fn send(&mut self, frames: &[&[u8]]) {
        for (at, frame) in frames.iter().enumerate() {
            self.write_frame(u8::from(at + 1 < frames.len()), frame);
        }
    }

    /// Reads one short frame.
    fn read_frame(&mut self) -> Vec<u8> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut body).unwrap();
        body
    }

    /// Says whether the broker closed the connection.
    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset is an end as well.
        matches!(
            self.0.read_to_end(&mut rest).map_err(|error| error.kind()),
            Ok(_) | Err(std::io::ErrorKind::ConnectionReset)
        )
    }
}

/// A REQ client that asks one request after the other and notes how long each took.
struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Witness {
    fn start(endpoint: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let socket = zmq::Context::new().socket(zmq::REQ).unwrap();
            socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
            socket.connect(&endpoint).unwrap();
            let mut times = Vec::new();
            while !stopped.load(Ordering::SeqCst) || times.len() < 300 {
                let asked = Instant::now();
                socket.send_multipart(["MDPC01", "large", "x"], 0).unwrap();
                let reply = socket.recv_multipart(0).expect("an answer in time");
                assert_eq!((reply.len(), reply[2].len()), (3, REPLY_BYTES));
                times.push(asked.elapsed());
            }
            times
        });
        Self { stop, thread }
    }

    /// Returns what 99 of 100 requests took at most.
    fn finish(self) -> Duration {
        self.stop.store(true, Ordering::SeqCst);
        let mut times = self.thread.join().unwrap();
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }
}

/// Kibibytes of memory the process has in use, and the most it ever had.
fn memory_kib() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn unfinished_messages(address: &str) {
    for cut in 0..4 {
        let mut peer = Raw::connect(address, b"");
        let frames: [&[u8]; 4] = [b"", b"MDPC01", b"large", b"x"];
        for frame in &frames[..cut] {
            peer.write_frame(1, frame);
        }
        // In the middle of a frame's head, too.
        peer.0.write_all(&[1][..cut % 2]).unwrap();
    }
}

fn announced_gigabyte(address: &str) {
    let mut peer = Raw::connect(address, b"");
    peer.0.write_all(&[2]).unwrap();
    peer.0.write_all(&(1u64 << 30).to_be_bytes()).unwrap();
    peer.0.write_all(&[7; 1024]).unwrap();
    assert!(peer.is_closed(), "a frame beyond the bound costs the connection");
}

fn random_bytes(address: &str) {
    let mut state = 20161u32;
    let mut noise = || {
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u8::try_from(state >> 24).unwrap()
        });
        bytes.take(4096).collect::<Vec<u8>>()
    };
    for number in 0..40 {
        // Half of them shake hands first.
        let noise = noise();
        let sent = if number % 2 == 0 {
            TcpStream::connect(address).unwrap().write_all(&noise)
        } else {
            Raw::connect(address, b"").0.write_all(&noise)
        };
        match sent {
            // The broker may have closed it in the middle.
            Ok(()) | Err(_) => {}
        }
    }
}

/// Two peers with one identity: the second takes over, and is told that the name was registered.
fn one_identity_twice(address: &str) {
    let ready: [&[u8]; 4] = [b"", b"MDPW01", b"\x01", b"twice"];
    let mut first = Raw::connect(address, b"same");
    first.send(&ready);
    // Its heartbeats show that it is registered.
    assert_eq!([first.read_frame(), first.read_frame(), first.read_frame()][2], b"\x04");
    let mut second = Raw::connect(address, b"same");
    second.send(&ready);
    let mut said = [second.read_frame(), second.read_frame(), second.read_frame()];
    while said[2] == b"\x04" {
        said = [second.read_frame(), second.read_frame(), second.read_frame()];
    }
    assert_eq!(said, [b"".to_vec(), b"MDPW01".to_vec(), b"\x05".to_vec()]);
    // As it should, it comes back, and is a worker like any other.
    second.send(&ready);
    second.send(&[b"", b"MDPC01", b"mmi.service", b"twice"]);
    let reply = [(); 4].map(|()| second.read_frame());
    assert_eq!(reply[3], b"200");
}

/// Asks and asks, and never reads an answer.
async fn never_reads(broker: &BrokerHandle, address: &str) {
    let mut peer = Raw::connect(address, b"");
    for _ in 0..UNREAD {
        peer.send(&[b"", b"MDPC01", b"large", b"x"]);
    }
    let deadline = Instant::now() + PATIENCE * 5;
    loop {
        let requests = broker.counters().await.requests;
        if requests.undelivered > 0
            && requests.completed + requests.dropped.total() >= UNREAD.into()
        {
            return;
        }
        assert!(Instant::now() < deadline, "{requests:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_peers_harm_nobody_else() {
    // Rule: mdp §11.6 — a client that never reads loses its replies and holds nobody up
    // Rule: mdp §11.7 — memory stays bounded whatever peers send or do not read
    // Rule: mdp §11.4 — of two peers with one identity the second takes over, then registers anew
    // Rule: mdp §15.2 — an announced frame beyond MAXMSGSIZE closes its connection only
    // Rule: mdp §11.10 — truncated messages and bytes that mean nothing do not stop the broker
    let broker = Broker::start(BrokerConfig {
        endpoints: vec!["tcp://127.0.0.1:0".to_owned()],
        queue_per_peer: 1000,
        core: CoreConfig {
            heartbeat_interval: Duration::from_millis(300),
            ..CoreConfig::default()
        },
        ..BrokerConfig::default()
    })
    .unwrap();
    broker.register(&"large".parse().unwrap(), Arc::new(Large)).await.unwrap();
    let endpoint = broker.endpoints().remove(0);
    let address = endpoint.strip_prefix("tcp://").unwrap().to_owned();
    let witness = Witness::start(endpoint);
    let (before, _) = memory_kib();

    let attacked = address.clone();
    let attacks = tokio::task::spawn_blocking(move || {
        unfinished_messages(&attacked);
        announced_gigabyte(&attacked);
        random_bytes(&attacked);
        one_identity_twice(&attacked);
    });
    attacks.await.unwrap();
    never_reads(&broker, &address).await;

    let slowest = tokio::task::spawn_blocking(|| witness.finish()).await.unwrap();
    let (_, most) = memory_kib();
    let counters = broker.counters().await;
    println!("p99 {slowest:?}, memory {before} KiB, at most {most} KiB");
    assert!(slowest < Duration::from_secs(1), "99 of 100 requests took up to {slowest:?}");
    assert!(most - before < 96 << 10, "{before} KiB grew to {most} KiB");
    assert_eq!(counters.disconnects.of(Farewell::SecondReady), 1);
    assert_eq!(counters.invalid.of(Invalid::TooLarge), 0, "libzmq refused it, not the decoder");
}
