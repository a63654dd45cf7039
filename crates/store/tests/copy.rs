//! Copying a store from one engine to another, and going on there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_message::{Sequence, Timestamp};
use buswire_store::{
    Ack, Applied, Batch, BoxFuture, DedupeId, Direction, Key, KeyRange, LogName, Operation,
    Outcome, Partition, Row, Store, StoreError,
    conformance::START,
    copy::{Chunk, CopyError, Part, Portable, copy},
    embedded::{EmbeddedConfig, EmbeddedStore},
    redis::{RedisAddress, RedisConfig, RedisStore},
};
use buswire_testkit::RedisServer;
use bytes::Bytes;

const BUSES: usize = 7;
const EACH: usize = 1300;

fn later(millis: u64) -> Timestamp {
    Timestamp::from_millis(START.as_millis() + millis)
}

fn partition(number: usize) -> Partition {
    Partition::new(&format!("bus/v2/{number}")).unwrap()
}

fn log() -> LogName {
    LogName::new("messages").unwrap()
}

fn append(number: usize) -> Operation {
    Operation::Append {
        log: log(),
        dedupe: number.is_multiple_of(3).then(|| DedupeId::new(number.to_string()).unwrap()),
        body: Bytes::from(vec![b'x'; number % 50]),
        expires: later(1000 + (number as u64) * 1000),
    }
}

/// Some of everything.
async fn fill(store: &dyn Portable) {
    for bus in 0..BUSES {
        let mut batch = Batch::new(partition(bus));
        for number in 0..EACH {
            let key = Key::new(format!("k{number}")).unwrap();
            batch = batch.then(append(number)).then(match number % 4 {
                0 => Operation::Raise { key, version: u64::MAX - number as u64, expires: None },
                1 => Operation::Tombstone { key, until: later(100 + number as u64) },
                2 => Operation::Put { key, value: Bytes::from_static(b"v"), expires: None },
                _ => Operation::Put {
                    key,
                    value: Bytes::from(number.to_string()),
                    expires: Some(later(number as u64)),
                },
            });
        }
        store.commit(batch, Ack::Safe, START).await.unwrap();
    }
}

type Seen = (Vec<(Key, Row)>, Vec<(u64, Bytes, Timestamp)>);

async fn seen(store: &dyn Portable, bus: usize) -> Seen {
    let of = partition(bus);
    let rows = store.scan(&of, KeyRange::all(), 5000, Direction::Ascending, later(50)).await;
    let page = store.read_log(&of, &log(), None, 5000, later(3000)).await.unwrap();
    let entries = page.entries.into_iter().map(|e| (e.sequence.as_u64(), e.body, e.expires));
    (rows.unwrap().rows, entries.collect())
}

async fn check(from: &dyn Portable, to: &dyn Portable) {
    let mut told = 0;
    let copied = copy(from, to, START, |_| told += 1).await.unwrap();
    assert_eq!((copied.parts, copied.of), (2 * BUSES, 2 * BUSES));
    assert_eq!((copied.rows, copied.entries), ((BUSES * EACH) as u64, (BUSES * EACH) as u64));
    assert!(told >= 6 * BUSES, "it tells of its progress: {told}");
    for bus in 0..BUSES {
        assert_eq!(seen(from, bus).await, seen(to, bus).await);
    }
    assert_eq!(copy(from, to, START, |_| ()).await, Err(CopyError::NotEmpty));
    // It goes on: a repeat is known, and what is new comes after everything.
    let batch = Batch::new(partition(0)).then(append(3)).then(append(4));
    let Outcome::Committed(applied) = to.commit(batch, Ack::Safe, START).await.unwrap() else {
        panic!("a conflict")
    };
    let all = seen(to, 0).await.1;
    let [Applied::Repeated(old), Applied::Appended(new)] = applied[..] else {
        panic!("{applied:?}")
    };
    assert!(all.iter().any(|(sequence, ..)| *sequence == old.sequence.as_u64()));
    assert_eq!(all.last().map(|(sequence, ..)| *sequence), Some(new.sequence.as_u64()));
    // And what has expired goes.
    let removed = to.sweep(Timestamp::MAX, 100).await.unwrap().removed;
    assert_eq!(removed, 100);
}

fn embedded(directory: &tempfile::TempDir) -> EmbeddedStore {
    EmbeddedStore::open(directory.path(), EmbeddedConfig::default()).unwrap()
}

async fn on(url: &str, prefix: &str) -> RedisStore {
    let address = RedisAddress::parse(url).unwrap();
    let config = RedisConfig { prefix: prefix.into(), ..RedisConfig::new(address) };
    RedisStore::open(config).await.unwrap()
}

#[tokio::test]
async fn from_embedded_to_redis() {
    let server = RedisServer::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (embedded(&directory), on(&server.url(), "to").await);
    fill(&from).await;
    check(&from, &to).await;
}

#[tokio::test]
async fn from_redis_to_embedded_which_has_it_after_a_restart() {
    let server = RedisServer::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (on(&server.url(), "from").await, embedded(&directory));
    fill(&from).await;
    check(&from, &to).await;
    let before = seen(&to, 1).await;
    drop(to);
    assert_eq!(seen(&embedded(&directory), 1).await, before);
}

/// A store that forgets the last of what is put in at once.
#[derive(Debug)]
struct Forgetful(EmbeddedStore);

impl Store for Forgetful {
    buswire_store::forward!(0: commit get scan read_log grown hints sweep status close);
}

impl Portable for Forgetful {
    fn parts(&self) -> BoxFuture<'_, Result<Vec<Part>, StoreError>> {
        self.0.parts()
    }

    fn dedupe_ids<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
    ) -> BoxFuture<'a, Result<Vec<(Sequence, DedupeId)>, StoreError>> {
        self.0.dedupe_ids(partition, log)
    }

    fn import(&self, mut chunk: Chunk, now: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        if let Chunk::Entries(_, _, entries) = &mut chunk {
            entries.pop();
        }
        self.0.import(chunk, now)
    }
}

#[tokio::test]
async fn a_copy_that_lacks_something_is_told_of() {
    let server = RedisServer::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (on(&server.url(), "from").await, Forgetful(embedded(&directory)));
    fill(&from).await;
    let error = copy(&from, &to, START, |_| ()).await.unwrap_err();
    let CopyError::Differs { copied, found } = error else { panic!("{error:?}") };
    assert_eq!((copied.rows, copied.entries), ((BUSES * EACH) as u64, (BUSES * EACH) as u64));
    assert!(found.entries < copied.entries && found.rows == copied.rows);
}

#[tokio::test]
async fn from_redis_to_a_cluster_and_back() {
    let (server, nodes) = (RedisServer::start(&[]), RedisServer::cluster());
    let from = on(&server.url(), "from").await;
    let url = format!("redis+cluster://127.0.0.1:{}", nodes[0].port());
    let cluster = on(&url, "middle").await;
    fill(&from).await;
    check(&from, &cluster).await;
    let back = on(&server.url(), "back").await;
    copy(&cluster, &back, START, |_| ()).await.unwrap();
    assert_eq!(seen(&back, 1).await, seen(&from, 1).await);
}
