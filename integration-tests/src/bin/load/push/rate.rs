//! PUTs at a rate that does not wait for the server, and when their frames come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{connect, server::Server, socket::Socket};
use crate::{http::Connection, stats::cpu_of};

/// How long a frame may take after the last PUT before it counts as lost.
const GRACE: Duration = Duration::from_secs(3);
/// How often it is looked whether all frames have come.
const LOOK_EVERY: Duration = Duration::from_millis(20);
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
    /// Frames that came in time, a second.
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
    time: Duration,
    /// When each PUT was due that waits for its frame, in nanoseconds after the start; 0 for others.
    due: Vec<AtomicU64>,
    next: AtomicUsize,
    over: CancellationToken,
}

impl Book {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }

    /// The PUTs that wait for their frames.
    fn waiting(&self) -> impl Iterator<Item = usize> {
        let slots = self.due.iter().enumerate();
        slots.filter(|(_, due)| due.load(Ordering::Relaxed) > 0).map(|(tag, _)| tag)
    }

    /// Waits for frames that are under way, and ends it.
    async fn settle(&self) {
        let end = Instant::now() + GRACE;
        while Instant::now() < end && self.waiting().next().is_some() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.over.cancel();
    }
}

/// Connects `clients` and measures for `time`.
pub(super) async fn run(server: Server, clients: usize, pace: Pace, time: Duration) -> Outcome {
    let server = Arc::new(server);
    let opened = connect(&server, clients, async |server, number| server.client(number).await);
    let (sockets, paths): (Vec<_>, Vec<_>) = opened.await.into_iter().unzip();
    let paths = Arc::new(paths);
    let (publishers, most) = match pace {
        Pace::FlatOut => (PUBLISHERS_FLAT_OUT, FASTEST),
        Pace::PerSecond(rate) => (PUBLISHERS, rate),
    };
    let mut connections = Vec::new();
    for _ in 0..publishers {
        connections.push(Connection::open(server.address()).await);
    }
    let tags = usize::try_from(most * time.as_secs()).unwrap();
    let book = Arc::new(Book {
        start: Instant::now(),
        time,
        due: (0..tags).map(|_| AtomicU64::new(0)).collect(),
        next: AtomicUsize::new(0),
        over: CancellationToken::new(),
    });
    let cpu = cpu_of(server.pid());
    let is_acknowledged = server.is_acknowledged();
    let listening: Vec<_> = sockets
        .into_iter()
        .enumerate()
        .map(|(number, socket)| listen(socket, number, is_acknowledged, Arc::clone(&book)))
        .map(tokio::task::spawn_local)
        .collect();
    let publishing: Vec<_> = connections
        .into_iter()
        .map(|connection| (connection, Arc::clone(&server), Arc::clone(&paths)))
        .map(|(connection, server, paths)| {
            publish(server, paths, connection, Arc::clone(&book), pace)
        })
        .map(tokio::task::spawn_local)
        .collect();
    for publisher in publishing {
        publisher.await.unwrap();
    }
    book.settle().await;
    let mut heard = Vec::new();
    for client in listening {
        heard.push(client.await.unwrap());
    }
    let spent = cpu_of(server.pid()).saturating_sub(cpu);
    outcome(&book, heard, spent)
}

fn outcome(book: &Book, heard: Vec<Heard>, spent: Duration) -> Outcome {
    let (lost, skipped): (Vec<_>, Vec<_>) = book
        .waiting()
        .partition(|tag| FIRST_VERSION + *tag as u64 > heard[tag % heard.len()].greatest);
    let in_time: usize = heard.iter().map(|heard| heard.in_time).sum();
    let mut latencies: Vec<_> = heard.into_iter().flat_map(|heard| heard.latencies).collect();
    latencies.sort_by(f64::total_cmp);
    Outcome {
        rate: in_time as f64 / book.time.as_secs_f64(),
        lost: lost.len(),
        skipped: skipped.len(),
        cpu: spent.as_secs_f64() * 1e6 / latencies.len().max(1) as f64,
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
        if book.start.elapsed() >= book.time {
            return;
        }
        slot.store(due.max(1), Ordering::Relaxed);
        let path = &paths[tag % paths.len()];
        let answer = connection.exchange(&server.publish(path, FIRST_VERSION + tag as u64)).await;
        assert!((200..300).contains(&answer.status()), "{}", answer.head);
    }
}

/// What one client heard.
#[derive(Default)]
struct Heard {
    /// Milliseconds of each PUT.
    latencies: Vec<f64>,
    /// How many of them came before the time was over.
    in_time: usize,
    /// The greatest version.
    greatest: u64,
}

/// Takes frames in until all is over.
async fn listen(
    mut socket: Socket,
    number: usize,
    is_acknowledged: bool,
    book: Arc<Book>,
) -> Heard {
    let mut heard = Heard::default();
    while let Some(Some(text)) = book.over.run_until_cancelled(socket.hear()).await {
        let at = book.now();
        let digits = text.rsplit("version").next().unwrap_or_default();
        let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
        let version: u64 = digits.parse().unwrap_or_else(|_| panic!("no version: {text}"));
        heard.greatest = heard.greatest.max(version);
        let tag = usize::try_from(version - FIRST_VERSION).unwrap();
        let due = book.due[tag].swap(0, Ordering::Relaxed);
        // What comes again is not counted again.
        if due > 0 {
            let latency = Duration::from_nanos(at.saturating_sub(due));
            heard.latencies.push(latency.as_secs_f64() * 1e3);
            heard.in_time += usize::from(book.start.elapsed() <= book.time);
        }
        if is_acknowledged {
            socket.acknowledge(number, version).await;
        }
    }
    heard
}
