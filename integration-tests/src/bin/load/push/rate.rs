//! PUTs at a rate that does not wait for the server, and when their frames come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{server::Server, socket::Socket};
use crate::{http::Connection, stats::cpu_of};

/// How long a frame may take after the last PUT before it counts as lost.
const GRACE: Duration = Duration::from_secs(3);
/// Connections of application servers; a PUT that finds all busy waits, and its time counts.
const PUBLISHERS: usize = 256;
/// Application servers that PUT again as soon as they are answered.
const PUBLISHERS_FLAT_OUT: usize = 64;
/// PUTs a second that no server takes.
const FASTEST: u64 = 200_000;
/// The first version, so that every version has the same length.
const FIRST_VERSION: u64 = 1_000_000_000;

/// How fast PUTs come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As fast as they are answered.
    FlatOut,
    /// So many a second.
    PerSecond(u64),
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Frames that came, a second.
    pub(super) rate: f64,
    /// PUTs that no frame told of, neither their own nor one of a later version.
    pub(super) lost: usize,
    /// PUTs without a frame of their own whose client got a later version, as SimplePush allows.
    pub(super) skipped: usize,
    /// Processor time of the server for each frame, in microseconds.
    pub(super) cpu: f64,
    /// Milliseconds from PUT to frame, sorted.
    latencies: Vec<f64>,
}

impl Outcome {
    /// The latency that so many of a thousand do not exceed, in milliseconds.
    pub(super) fn latency(&self, of_thousand: usize) -> f64 {
        let at = (self.latencies.len() * of_thousand / 1000).min(self.latencies.len() - 1);
        self.latencies[at]
    }
}

/// What publishers and clients share.
struct Book {
    start: Instant,
    /// When each PUT was due that waits for its frame, in nanoseconds after the start; 0 for others.
    due: Vec<AtomicU64>,
    next: AtomicUsize,
}

impl Book {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }
}

/// Connects `clients` and measures for `time`.
pub(super) async fn run(server: Server, clients: usize, pace: Pace, time: Duration) -> Outcome {
    let server = Arc::new(server);
    let mut sockets = Vec::with_capacity(clients);
    let mut paths = Vec::with_capacity(clients);
    for number in 0..clients {
        let (socket, path) = server.client(number).await;
        sockets.push(socket);
        paths.push(path);
    }
    let paths = Arc::new(paths);
    let (publishers, most) = match pace {
        Pace::FlatOut => (PUBLISHERS_FLAT_OUT, FASTEST),
        Pace::PerSecond(rate) => (PUBLISHERS, rate),
    };
    let mut connections = Vec::new();
    for _ in 0..publishers {
        connections.push(Connection::open(server.address()).await);
    }
    let book = Arc::new(Book {
        start: Instant::now(),
        due: (0..usize::try_from(most * time.as_secs()).unwrap())
            .map(|_| AtomicU64::new(0))
            .collect(),
        next: AtomicUsize::new(0),
    });
    let cpu = cpu_of(server.pid());
    let is_acknowledged = server.is_acknowledged();
    let listening: Vec<_> = sockets
        .into_iter()
        .enumerate()
        .map(|(number, socket)| listen(socket, number, is_acknowledged, Arc::clone(&book), time))
        .map(tokio::task::spawn_local)
        .collect();
    for connection in connections {
        let (server, paths, book) = (Arc::clone(&server), Arc::clone(&paths), Arc::clone(&book));
        tokio::task::spawn_local(publish(server, paths, connection, book, pace, time));
    }
    let (mut latencies, mut reached) = (Vec::new(), Vec::new());
    for client in listening {
        let (of_client, greatest) = client.await.unwrap();
        latencies.extend(of_client);
        reached.push(greatest);
    }
    let spent = cpu_of(server.pid()).saturating_sub(cpu);
    latencies.sort_by(f64::total_cmp);
    let came = latencies.len();
    let waiting = book.due.iter().enumerate().filter(|(_, due)| due.load(Ordering::Relaxed) > 0);
    let (skipped, lost): (Vec<_>, Vec<_>) = waiting
        .map(|(tag, _)| tag)
        .partition(|tag| FIRST_VERSION + *tag as u64 <= reached[tag % clients]);
    Outcome {
        rate: came as f64 / time.as_secs_f64(),
        lost: lost.len(),
        skipped: skipped.len(),
        cpu: spent.as_secs_f64() * 1e6 / came.max(1) as f64,
        latencies,
    }
}

/// Sends the PUTs whose turn it is until the time is over.
async fn publish(
    server: Arc<Server>,
    paths: Arc<Vec<String>>,
    mut connection: Connection,
    book: Arc<Book>,
    pace: Pace,
    time: Duration,
) {
    loop {
        let tag = book.next.fetch_add(1, Ordering::Relaxed);
        let mut due = book.now();
        if let Pace::PerSecond(rate) = pace {
            let intended = Duration::from_secs_f64(tag as f64 / rate as f64);
            if book.start.elapsed() < intended {
                // A timer that fires late is the tool's fault, not the server's.
                tokio::time::sleep_until((book.start + intended).into()).await;
                due = book.now();
            } else {
                due = u64::try_from(intended.as_nanos()).unwrap();
            }
        }
        let Some(slot) = book.due.get(tag) else { return };
        if book.start.elapsed() >= time {
            return;
        }
        slot.store(due.max(1), Ordering::Relaxed);
        let path = &paths[tag % paths.len()];
        let answer = connection.exchange(&server.publish(path, FIRST_VERSION + tag as u64)).await;
        assert!((200..300).contains(&answer.status()), "{}", answer.head);
    }
}

/// Takes frames in until the time is over and some more; the latency of each, and the greatest
/// version.
async fn listen(
    mut socket: Socket,
    number: usize,
    is_acknowledged: bool,
    book: Arc<Book>,
    time: Duration,
) -> (Vec<f64>, u64) {
    let mut latencies = Vec::new();
    let end = tokio::time::Instant::from_std(book.start + time + GRACE);
    let mut last = 0;
    while let Ok(Some(text)) = tokio::time::timeout_at(end, socket.hear()).await {
        let at = book.now();
        let digits = text.rsplit("version").next().unwrap_or_default();
        let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
        let version: u64 = digits.parse().unwrap_or_else(|_| panic!("no version: {text}"));
        last = last.max(version);
        let tag = usize::try_from(version - FIRST_VERSION).unwrap();
        let due = book.due[tag].swap(0, Ordering::Relaxed);
        // What comes again is not counted again.
        if due > 0 {
            latencies.push(Duration::from_nanos(at.saturating_sub(due)).as_secs_f64() * 1e3);
        }
        if is_acknowledged {
            socket.acknowledge(number, version).await;
        }
    }
    (latencies, last)
}
