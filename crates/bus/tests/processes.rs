//! Several processes on one store: one cursor over several buses, whose messages come from everywhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use buswire_bus::{BusConfig, BusError, BusLimits, Buses};
use buswire_message::{
    BusName, Clock, Cursor, Headers, MessageId, NewMessage, Payload, Retention, Scope, Sequence,
    Timestamp,
};
use buswire_store::{
    BoxFuture, LogName, Partition, Position, Store, StoreError, StoreStatus,
    memory::MemoryStore,
    redis::{RedisAddress, RedisConfig, RedisStore},
    system::SystemClock,
};
use buswire_testkit::{FaultyStore, RedisServer};
use bytes::Bytes;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many messages each publisher publishes.
const EACH: usize = 60;

/// A clock that is wrong by so many milliseconds.
#[derive(Debug)]
struct Wrong(i64);

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now().as_millis();
        Timestamp::from_millis(now.saturating_add_signed(self.0))
    }
}

async fn open(store: Arc<dyn Store>, wrong: i64) -> Buses {
    let limits = BusLimits { poll_interval: Duration::from_secs(3600), ..BusLimits::default() };
    let config = BusConfig { message_url_prefix: "https://h/".into(), limits, tracer: None };
    Buses::open(store, Arc::new(Wrong(wrong)), config).await.unwrap()
}

fn bus(number: usize) -> BusName {
    format!("b{number}.example").parse().unwrap()
}

fn scope(buses: usize) -> Scope {
    let names: Vec<_> = (0..buses).map(|number| format!("bus:{}", bus(number))).collect();
    names.join(" ").parse().unwrap()
}

async fn create(buses: &Buses, count: usize) {
    let hour = Duration::from_secs(3600);
    for number in 0..count {
        buses.create(&bus(number), Retention::new(hour, hour, 10_000).unwrap()).await.unwrap();
    }
}

fn message(text: &str) -> NewMessage {
    NewMessage {
        channel: "c".parse().unwrap(),
        source: "https://s.example/".parse().unwrap(),
        kind: "t".parse().unwrap(),
        sticky: false,
        expires_at: None,
        payload: Payload::parse(&Bytes::from(format!("\"{text}\""))).unwrap(),
        headers: Headers::default(),
    }
}

async fn ids(buses: &Buses, scope: &Scope, since: Cursor) -> Vec<MessageId> {
    let page = buses.read(scope, since, 10_000).await.unwrap();
    page.messages.iter().map(|message| message.id).collect()
}

/// Reads at one process what another one, whose clock may be slow, publishes. Nobody follows hints:
/// they are on their way for ever.
async fn pass(here: Buses, there: Buses) {
    create(&there, 2).await;
    let scope = scope(2);
    assert_eq!(ids(&here, &scope, Cursor::Start).await, []);
    let first = there.publish(&bus(1), message("1")).await.unwrap();
    let second = here.publish(&bus(0), message("2")).await.unwrap();
    assert_eq!(ids(&here, &scope, Cursor::Start).await, [first, second]);
    let third = there.publish(&bus(1), message("3")).await.unwrap();
    assert!(third > second, "{third:?} comes after what was read, {second:?}");
}

#[tokio::test]
async fn a_message_whose_hint_is_on_its_way_is_not_passed() {
    // Rule: backplane §5.3 — who has seen id X and reads since X misses no greater id
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = || Arc::new(FaultyStore::new(Arc::clone(&inner), 1).shared());
    pass(open(store(), 0).await, open(store(), 0).await).await;
}

#[tokio::test]
async fn a_message_is_not_passed_on_a_server_that_is_shared_though_clocks_differ() {
    // Rule: backplane §5.3 — who has seen id X and reads since X misses no greater id
    let server = RedisServer::start(&[]);
    let url = server.url();
    pass(open(redis(&url).await, 0).await, open(redis(&url).await, -60_000).await).await;
}

#[tokio::test]
async fn a_message_is_not_passed_on_a_cluster_though_clocks_differ() {
    // Rule: backplane §5.3 — who has seen id X and reads since X misses no greater id
    let nodes = RedisServer::cluster();
    let url = format!("redis+cluster://127.0.0.1:{}", nodes[0].port());
    pass(open(redis(&url).await, 0).await, open(redis(&url).await, -60_000).await).await;
}

/// A store that others share, which counts how often it is asked what grew, and may fail to tell.
#[derive(Debug)]
struct Counting(MemoryStore, AtomicUsize, AtomicBool);

impl Counting {
    fn new() -> Self {
        Self(MemoryStore::new(), AtomicUsize::new(0), AtomicBool::new(false))
    }
}

impl Store for Counting {
    fn grown<'a>(
        &'a self,
        log: &'a LogName,
        places: &'a [(Partition, Position)],
        through: Sequence,
    ) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            // So that every reader is on its way before there is an answer.
            tokio::task::yield_now().await;
            if self.2.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("it is away".to_owned()));
            }
            self.0.grown(log, places, through).await
        })
    }

    fn status(&self) -> StoreStatus {
        StoreStatus { is_shared: true, ..self.0.status() }
    }

    buswire_store::forward!(0: commit get scan read_log hints sweep close);
}

#[tokio::test]
async fn many_readers_of_the_same_buses_ask_the_store_once_for_a_message() {
    let store = Arc::new(Counting::new());
    let buses = open(Arc::<Counting>::clone(&store), 0).await;
    create(&buses, 3).await;
    let scope = scope(3);
    ids(&buses, &scope, Cursor::Start).await;
    for number in 1..=5 {
        let before = store.1.load(Ordering::SeqCst);
        buses.publish(&bus(0), message("1")).await.unwrap();
        let readers = (0..64).map(|_| ids(&buses, &scope, Cursor::Start));
        for found in futures::future::join_all(readers).await {
            assert_eq!(found.len(), number);
        }
        assert_eq!(store.1.load(Ordering::SeqCst) - before, 1);
    }
    // While nothing comes nothing is asked.
    let before = store.1.load(Ordering::SeqCst);
    ids(&buses, &scope, Cursor::Start).await;
    assert_eq!(store.1.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn readers_that_wait_for_a_look_at_the_store_share_its_failure() {
    let store = Arc::new(Counting::new());
    let buses = open(Arc::<Counting>::clone(&store), 0).await;
    create(&buses, 3).await;
    let scope = scope(3);
    ids(&buses, &scope, Cursor::Start).await;
    buses.publish(&bus(0), message("1")).await.unwrap();
    for _ in 0..2 {
        store.2.store(true, Ordering::SeqCst);
        let before = store.1.load(Ordering::SeqCst);
        let readers = (0..64).map(|_| buses.read(&scope, Cursor::Start, 10));
        for read in futures::future::join_all(readers).await {
            assert!(matches!(read, Err(BusError::Store(StoreError::Unavailable(_)))), "{read:?}");
        }
        assert_eq!(store.1.load(Ordering::SeqCst) - before, 1, "the store is not asked 64 times");
    }
    // Whoever comes afterwards asks anew.
    store.2.store(false, Ordering::SeqCst);
    assert_eq!(ids(&buses, &scope, Cursor::Start).await.len(), 1);
}

/// Publishes through `processes` on every bus, a reader with one cursor at each.
async fn cross(processes: Vec<Buses>, buses: usize) {
    create(&processes[0], buses).await;
    let (stop, shutdown) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let (mut runs, mut readers, mut publishers) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for process in &processes {
        runs.spawn(process.run(shutdown.clone()));
        let (process, stop) = (process.clone(), Arc::clone(&stop));
        readers.spawn(async move {
            let (scope, mut since, mut seen) = (scope(buses), Cursor::Start, Vec::new());
            loop {
                let is_last = stop.load(Ordering::SeqCst);
                let page = process.read(&scope, since, 7).await.unwrap();
                seen.extend(page.messages.iter().map(|message| message.id));
                since = page.next;
                if is_last && !page.more {
                    return seen;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for (number, process) in processes.iter().enumerate() {
        for to in 0..buses {
            let process = process.clone();
            publishers.spawn(async move {
                for index in 0..EACH {
                    let text = format!("{number}/{to}/{index}");
                    process.publish(&bus(to), message(&text)).await.unwrap();
                }
            });
        }
    }
    publishers.join_all().await;
    // Whatever any process knows of, every reader finds with one more look.
    for process in &processes {
        ids(process, &scope(buses), Cursor::Start).await;
    }
    let fresh = &processes[0];
    for to in 0..buses {
        ids(fresh, &format!("bus:{}", bus(to)).parse().unwrap(), Cursor::Start).await;
    }
    stop.store(true, Ordering::SeqCst);
    let followed = timeout(PATIENCE, readers.join_all()).await.expect("readers come to their end");
    let all = ids(fresh, &scope(buses), Cursor::Start).await;
    assert_eq!(all.len(), processes.len() * buses * EACH);
    for seen in followed {
        assert!(seen.is_sorted(), "ids are in order");
        assert!(all.starts_with(&seen), "{} of {} without a hole", seen.len(), all.len());
    }
    shutdown.cancel();
    runs.join_all().await;
}

async fn redis(url: &str) -> Arc<dyn Store> {
    let config = RedisConfig::new(RedisAddress::parse(url).unwrap());
    Arc::new(RedisStore::open(config).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cursor_over_several_buses_misses_nothing_on_a_server_that_is_shared() {
    let server = RedisServer::start(&[]);
    let mut processes = Vec::new();
    for _ in 0..2 {
        processes.push(open(redis(&server.url()).await, 0).await);
    }
    cross(processes, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cursor_over_several_buses_misses_nothing_on_a_cluster_though_clocks_differ() {
    // Each of these buses is in another shard, and they are spread over the nodes.
    let nodes = RedisServer::cluster();
    let url = format!("redis+cluster://127.0.0.1:{}", nodes[0].port());
    let mut processes = Vec::new();
    for wrong in [0, -1500] {
        processes.push(open(redis(&url).await, wrong).await);
    }
    cross(processes, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_told_of_a_repeat_writes_it_again_when_the_first_is_gone() {
    // Whoever stored it may never have been told: the message is there, and answers rest on it.
    let mut server = RedisServer::start(&["--appendfsync", "always"]);
    let first = redis(&server.url()).await;
    let (one, two) = (open(Arc::clone(&first), 0).await, open(redis(&server.url()).await, 0).await);
    create(&two, 1).await;
    let keyed = || {
        let mut keyed = message("1");
        keyed.headers.dedupe_key = Some("k".parse().unwrap());
        keyed
    };
    let id = one.publish(&bus(0), keyed()).await.unwrap();
    assert_eq!(ids(&two, &scope(1), Cursor::Start).await, [id]);
    assert_eq!(two.publish(&bus(0), keyed()).await.unwrap(), id);
    first.close().await;
    server.kill();
    server.empty();
    server.restart();
    let next = async {
        loop {
            match two.publish(&bus(0), message("2")).await {
                Ok(id) => break id,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let next = timeout(PATIENCE, next).await.expect("it goes on");
    let fresh = open(redis(&server.url()).await, 0).await;
    assert_eq!(ids(&fresh, &scope(1), Cursor::Start).await, [id, next]);
}
