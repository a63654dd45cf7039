//! What the Redis engine does when the server restarts, loses writes, is missing or is the wrong one;
//! and two stores on one server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{sync::Arc, time::Duration};

use buswire_message::{Sequence, Timestamp};
use buswire_store::{
    Ack, Applied, Batch, DedupeId, Direction, Hint, HintFilter, Key, KeyRange, LogName, Operation,
    Outcome, Partition, Position, RowValue, Store, StoreError,
    conformance::START,
    redis::{Durability, RedisAddress, RedisConfig, RedisOpenError, RedisStore},
};
use buswire_testkit::RedisServer;
use bytes::Bytes;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(url: &str) -> RedisConfig {
    RedisConfig {
        check_interval: Duration::from_millis(50),
        ..RedisConfig::new(RedisAddress::parse(url).unwrap())
    }
}

async fn open(server: &RedisServer) -> RedisStore {
    RedisStore::open(config(&server.url())).await.unwrap()
}

async fn refused(config: RedisConfig) -> RedisOpenError {
    RedisStore::open(config).await.expect_err("it is refused")
}

fn bus() -> Partition {
    Partition::new("bus/v2/example.com").unwrap()
}

fn log() -> LogName {
    LogName::new("messages").unwrap()
}

fn append(body: &str) -> Batch {
    Batch::new(bus()).then(Operation::Append {
        log: log(),
        dedupe: DedupeId::new(body.to_owned()),
        body: Bytes::from(body.to_owned()),
        expires: Timestamp::MAX,
    })
}

/// Appends `body`, again until it is answered.
async fn publish(store: &RedisStore, body: &str) -> Position {
    let publish = async {
        loop {
            match store.commit(append(body), Ack::Safe, START).await {
                Ok(Outcome::Committed(applied)) => match applied[0] {
                    Applied::Appended(position) | Applied::Repeated(position) => break position,
                    other => panic!("{other:?} is not a position"),
                },
                Ok(conflict) => panic!("{conflict:?}"),
                Err(StoreError::Unavailable(_)) => sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(PATIENCE, publish).await.expect("it is published in time")
}

async fn bodies(store: &RedisStore, after: Option<Position>) -> (Vec<String>, bool) {
    let page = store.read_log(&bus(), &log(), after, 1000, START).await.unwrap();
    let body = |entry: buswire_store::Entry| String::from_utf8(entry.body.to_vec()).unwrap();
    (page.entries.into_iter().map(body).collect(), page.gap)
}

#[tokio::test]
async fn two_stores_share_one_server_and_hear_of_each_other() {
    let server = RedisServer::start(&[]);
    let (here, there) = (open(&server).await, open(&server).await);
    let mut hints = there.hints(HintFilter::All);
    let first = publish(&here, "1").await;
    let hint = timeout(PATIENCE, hints.next()).await.expect("a hint comes");
    assert_eq!(hint, Some(Hint::Changed(bus())));
    let second = publish(&there, "2").await;
    assert!(second > first);
    assert_eq!(publish(&there, "1").await, first, "a repeat anywhere has the same place");
    assert_eq!(bodies(&here, Some(first)).await, (vec!["2".to_owned()], false));
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = RedisServer::start(&[]);
    let store = open(&server).await;
    let first = publish(&store, "1").await;
    assert_eq!(server.cli(&["script", "flush"]), "OK");
    let second = publish(&store, "2").await;
    assert_eq!(first.epoch, second.epoch);
    assert_eq!(store.status().unavailable, None);
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_has_lost_nothing() {
    let mut server = RedisServer::start(&[]);
    let store = Arc::new(open(&server).await);
    let mut hints = store.hints(HintFilter::All);
    let mut written = Vec::new();
    for round in 0..3 {
        for number in 0..20 {
            let body = format!("{round}/{number}");
            publish(&store, &body).await;
            written.push(body);
        }
        server.kill();
        server.restart();
    }
    let last = publish(&store, "last").await;
    written.push("last".to_owned());
    let first = Position { sequence: buswire_message::Sequence::ZERO, ..last };
    assert_eq!(bodies(&store, Some(first)).await, (written, false), "and the epoch is the same");
    let missed = async { while hints.next().await != Some(Hint::Missed) {} };
    timeout(PATIENCE, missed).await.expect("whoever listens is told that hints were missed");
}

fn key(name: &'static str) -> Key {
    Key::new(name).unwrap()
}

fn put(name: &'static str, value: &'static str) -> Operation {
    Operation::Put { key: key(name), value: Bytes::from_static(value.as_bytes()), expires: None }
}

async fn commit(store: &RedisStore, operations: Vec<Operation>) {
    let mut batch = Batch::new(bus());
    batch.operations.extend(operations);
    store.commit(batch, Ack::Safe, START).await.unwrap();
}

async fn value(store: &RedisStore, name: &'static str) -> Option<RowValue> {
    store.get(&bus(), &key(name), START).await.unwrap().map(|row| row.value)
}

#[tokio::test]
async fn what_a_server_lost_is_written_again_in_a_new_epoch() {
    let mut server = RedisServer::start(&[]);
    let (witness, other) = (open(&server).await, open(&server).await);
    publish(&witness, "kept").await;
    commit(&other, vec![put("deleted", "1"), put("replaced", "1"), put("overtaken", "1")]).await;
    commit(&other, vec![put("buried", "1")]).await;
    let snapshot = server.snapshot();
    let lost = publish(&witness, "lost").await;
    let delete = Operation::Delete { key: key("deleted") };
    let bury = Operation::Tombstone { key: key("buried"), until: Timestamp::MAX };
    let changes = vec![delete, put("replaced", "2"), put("overtaken", "2"), bury, put("new", "2")];
    commit(&witness, changes).await;
    server.kill();
    server.restore(&snapshot);
    server.restart();
    // The other one knows of nothing that is gone, and goes on before the witness is back.
    let reopened = open(&server).await;
    for number in 0..10 {
        publish(&reopened, &format!("new {number}")).await;
    }
    commit(&reopened, vec![put("overtaken", "3")]).await;
    let next = publish(&witness, "next").await;
    assert!(next.epoch > lost.epoch && next.sequence > lost.sequence);
    let (read, gap) = bodies(&witness, Some(lost)).await;
    assert!(gap, "whoever read on is told");
    assert_eq!(read.iter().filter(|body| *body == "kept").count(), 1, "{read:?}");
    assert_eq!(read.iter().filter(|body| *body == "lost").count(), 1, "{read:?}");
    assert_eq!((read.len(), read.last().map(String::as_str)), (13, Some("next")));
    let bytes = |text: &'static str| Some(RowValue::Bytes(Bytes::from_static(text.as_bytes())));
    assert_eq!(value(&witness, "deleted").await, None);
    assert_eq!(value(&witness, "replaced").await, bytes("2"));
    assert_eq!(value(&witness, "overtaken").await, bytes("3"), "a later write stays");
    assert_eq!(value(&witness, "buried").await, Some(RowValue::Tombstone));
    assert_eq!(value(&witness, "new").await, bytes("2"));
    let seen = publish(&other, "same epoch").await;
    assert_eq!((seen.epoch, other.status().epoch), (next.epoch, next.epoch));
}

#[tokio::test]
async fn a_server_that_was_emptied_begins_a_new_epoch() {
    let mut server = RedisServer::start(&[]);
    let store = open(&server).await;
    let lost = publish(&store, "lost").await;
    assert_eq!(server.cli(&["flushall"]), "OK");
    server.kill();
    server.restart();
    let next = publish(&store, "next").await;
    assert!(next.epoch > lost.epoch && next.sequence > lost.sequence);
    let all = vec!["lost".to_owned(), "next".to_owned()];
    assert_eq!(bodies(&store, Some(lost)).await, (all, true));
}

#[tokio::test]
async fn what_waits_for_a_server_waits_no_longer_than_it_may() {
    let mut server = RedisServer::start(&[]);
    let patience = Duration::from_millis(300);
    let config = RedisConfig { patience, concurrency: 4, ..config(&server.url()) };
    let store = RedisStore::open(config).await.unwrap();
    publish(&store, "1").await;
    server.kill();
    let (of, log) = (bus(), log());
    let waiting = (0..32).map(|_| store.read_log(&of, &log, None, 1, START));
    let answers = timeout(10 * patience, futures::future::join_all(waiting)).await;
    for answer in answers.expect("all are answered in time") {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(store.status().unavailable.is_some());
    server.restart();
    publish(&store, "2").await;
    assert_eq!(store.status().unavailable, None);
}

#[tokio::test]
async fn what_waits_for_a_server_has_a_bound_of_requests_and_one_of_bytes() {
    let mut server = RedisServer::start(&[]);
    let config = RedisConfig {
        patience: PATIENCE,
        concurrency: 2,
        waiting_max: 5,
        waiting_bytes_max: 100_000,
        ..config(&server.url())
    };
    let store = RedisStore::open(config).await.unwrap();
    server.kill();
    let waits = async |mut batches: Vec<Batch>| {
        let last = batches.pop().unwrap();
        let commit = |batch| store.commit(batch, Ack::Safe, START);
        let mut waiting: Vec<_> = batches.into_iter().map(commit).collect();
        for commit in &mut waiting {
            assert!(futures::poll!(commit).is_pending());
        }
        assert_eq!(store.status().waiting, waiting.len());
        let refused = timeout(Duration::from_secs(5), commit(last)).await.expect("at once");
        let Err(StoreError::Unavailable(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("too much waits"), "{why}");
        drop(waiting);
        assert_eq!(store.status().waiting, 0, "whoever goes away makes room");
    };
    waits((0..6).map(|number| append(&number.to_string())).collect()).await;
    let large = |letter: &str| {
        Batch::new(bus()).then(Operation::Append {
            log: log(),
            dedupe: None,
            body: Bytes::from(letter.repeat(40_000)),
            expires: Timestamp::MAX,
        })
    };
    waits(vec![large("a"), large("b"), large("c")]).await;
    server.restart();
    publish(&store, "after").await;
    assert_eq!(bodies(&store, None).await.0, ["after"], "nothing of what was refused or dropped");
}

#[tokio::test]
async fn servers_that_would_lose_writes_are_refused_or_warned_of() {
    let server = RedisServer::start(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]);
    let RedisOpenError::NotDurable { problems, .. } = refused(config(&server.url())).await else {
        panic!("another error")
    };
    assert_eq!(problems.len(), 2, "{problems:?}");
    let lenient = RedisConfig { durability: Durability::Warn, ..config(&server.url()) };
    assert!(RedisStore::open(lenient).await.is_ok());
}

#[tokio::test]
async fn readers_go_on_when_the_memory_is_full() {
    let server = RedisServer::start(&[]);
    let store = open(&server).await;
    publish(&store, "1").await;
    let page = store.read_log(&bus(), &log(), None, 10, START).await.unwrap();
    // Another run of the server is met, with readers beyond what it has given.
    server.cli(&["hset", "buswire:{00}:meta", "run", "another"]);
    server.cli(&["config", "set", "maxmemory", "1"]);
    assert_eq!(bodies(&store, None).await.0, ["1"]);
    let refused = store.commit(append("2"), Ack::Safe, START).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let through = Sequence::from_u64(page.next.sequence.as_u64() + 1000).unwrap();
    let grown = store.grown(&log(), &[(bus(), page.next)], through).await;
    assert!(grown.is_ok(), "{grown:?}");
    server.cli(&["config", "set", "maxmemory", "0"]);
    publish(&store, "2").await;
    let page = store.read_log(&bus(), &log(), None, 10, START).await.unwrap();
    assert!(page.next.sequence > through, "what readers passed is given to nobody");
}

#[tokio::test]
async fn a_replica_and_a_missing_server_are_refused() {
    let server = RedisServer::start(&[]);
    let master = server.port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &master]);
    let error = refused(config(&replica.url())).await;
    assert!(matches!(error, RedisOpenError::Replica { .. }), "{error}");
    let error = refused(config("redis://127.0.0.1:1")).await;
    assert!(matches!(error, RedisOpenError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn the_layout_of_format_1_is_read_and_a_newer_one_refused() {
    // Another run of a server that may lose something would begin another epoch.
    let server = RedisServer::start(&["--appendfsync", "always"]);
    // Written by hand: what every later release has to read.
    let meta = "buswire:{00}:meta";
    server.cli(&["hset", meta, "format", "1", "shards", "1", "run", "r", "epoch", "7"]);
    let write = "redis.call('HSET', KEYS[1], 'last', struct.pack('>I4I4', 0, 9)) \
                 local forever = string.rep('\\255', 8) \
                 redis.call('HSET', KEYS[2], 'k', 'b' .. struct.pack('>I4I4', 0, 8) .. forever .. 'v') \
                 redis.call('ZADD', KEYS[3], 0, 'k') \
                 redis.call('XADD', KEYS[4], '9-0', 'e', '\\1' .. string.rep('\\0', 7), 'd', '', 'b', 'x')";
    let keys = ["r:bus/v2/example.com", "k:bus/v2/example.com", "l:messages:bus/v2/example.com"]
        .map(|key| format!("buswire:{{00}}:{key}"));
    server.cli(&["eval", write, "4", meta, &keys[0], &keys[1], &keys[2]]);
    let store = open(&server).await;
    assert_eq!(store.status().epoch.0, 7);
    assert_eq!(bodies(&store, None).await, (vec!["x".to_owned()], false));
    let rows = store.scan(&bus(), KeyRange::all(), 9, Direction::Ascending, START).await.unwrap();
    assert_eq!((rows.rows.len(), rows.rows[0].1.revision.0), (1, 8));
    let key = Key::new("k").unwrap();
    assert_eq!(store.get(&bus(), &key, START).await.unwrap().as_ref(), Some(&rows.rows[0].1));
    store.close().await;
    server.cli(&["hset", meta, "format", "0"]);
    let error = refused(config(&server.url())).await;
    assert!(matches!(error, RedisOpenError::Older { found: 0, .. }), "{error}");
    server.cli(&["hset", meta, "format", "2"]);
    let error = refused(config(&server.url())).await;
    assert!(matches!(error, RedisOpenError::Newer { found: 2, known: 1, .. }), "{error}");
}
