//! What is kept of acknowledged writes when Redis loses them: more than once, of several processes, and
//! while answers are under way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{sync::Arc, time::Duration};

use buswire_message::Clock as _;
use buswire_store::{
    Ack, Applied, Batch, DedupeId, Hint, HintFilter, Key, LogName, Operation, Outcome, Partition,
    Position, RowValue, Store, StoreError,
    conformance::START,
    redis::{RedisAddress, RedisConfig, RedisStore},
    system::SystemClock,
};
use buswire_testkit::RedisServer;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_stream::StreamExt;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store that looks at the server only when it is used.
async fn open(port: u16, check_interval: Duration) -> RedisStore {
    let address = RedisAddress::parse(&format!("redis://127.0.0.1:{port}")).unwrap();
    RedisStore::open(RedisConfig { check_interval, ..RedisConfig::new(address) }).await.unwrap()
}

async fn lazy(server: &RedisServer) -> RedisStore {
    open(server.port(), 2 * PATIENCE).await
}

/// A server whose files have all that it acknowledged: with `everysec` a write may wait for the disk for
/// up to two seconds while the server goes on.
fn safe() -> RedisServer {
    RedisServer::start(&["--appendfsync", "always"])
}

fn bus() -> Partition {
    Partition::new("bus/v2/example.com").unwrap()
}

fn append(body: &str) -> Operation {
    Operation::Append {
        log: LogName::new("messages").unwrap(),
        dedupe: DedupeId::new(body.to_owned()),
        body: Bytes::from(body.to_owned()),
        expires: buswire_message::Timestamp::MAX,
    }
}

fn key(name: &'static str) -> Key {
    Key::new(name).unwrap()
}

fn put(value: &'static str) -> Operation {
    Operation::Put { key: key("row"), value: Bytes::from(value), expires: None }
}

fn raise(version: u64) -> Operation {
    Operation::Raise { key: key("version"), version, expires: None }
}

/// Commits, again until it is answered.
async fn commit(store: &RedisStore, operation: Operation) -> Applied {
    let commit = async {
        loop {
            let batch = Batch::new(bus()).then(operation.clone());
            match store.commit(batch, Ack::Safe, START).await {
                Ok(Outcome::Committed(applied)) => break applied[0],
                Err(StoreError::Unavailable(_)) => sleep(Duration::from_millis(10)).await,
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(PATIENCE, commit).await.expect("it is committed in time")
}

async fn publish(store: &RedisStore, body: &str) -> Position {
    match commit(store, append(body)).await {
        Applied::Appended(position) | Applied::Repeated(position) => position,
        other => panic!("{other:?} is not a position"),
    }
}

async fn bodies(store: &RedisStore) -> Vec<String> {
    let log = LogName::new("messages").unwrap();
    let page = store.read_log(&bus(), &log, None, 1000, START).await.unwrap();
    page.entries.iter().map(|entry| String::from_utf8_lossy(&entry.body).into_owned()).collect()
}

async fn value(store: &RedisStore, name: &'static str) -> RowValue {
    store.get(&bus(), &key(name), START).await.unwrap().expect("the row is there").value
}

/// Kills the server and starts it with what it had when `state` was copied.
fn fail_over(server: &mut RedisServer, state: &tempfile::TempDir) {
    server.kill();
    server.restore(state);
    server.restart();
}

#[tokio::test]
async fn what_the_first_failover_kept_and_the_second_lost_is_written_again() {
    let mut server = safe();
    let store = lazy(&server).await;
    publish(&store, "kept").await;
    let behind = server.snapshot();
    publish(&store, "1").await;
    commit(&store, put("1")).await;
    let ahead = server.snapshot();
    publish(&store, "2").await;
    fail_over(&mut server, &ahead);
    publish(&store, "3").await;
    fail_over(&mut server, &behind);
    publish(&store, "4").await;
    assert_eq!(bodies(&store).await, ["kept", "1", "2", "3", "4"]);
    assert_eq!(value(&store, "row").await, RowValue::Bytes(Bytes::from_static(b"1")));
}

#[tokio::test]
async fn a_repeat_that_was_acknowledged_is_written_again_without_whoever_was_first() {
    let mut server = safe();
    let store = lazy(&server).await;
    publish(&store, "kept").await;
    let behind = server.snapshot();
    let first = lazy(&server).await;
    let place = publish(&first, "1").await;
    first.close().await;
    assert_eq!(publish(&store, "1").await, place);
    fail_over(&mut server, &behind);
    publish(&store, "2").await;
    assert_eq!(bodies(&store).await, ["kept", "1", "2"]);
}

#[tokio::test]
async fn what_is_written_again_keeps_its_place_only_before_anybody_reads() {
    let mut server = safe();
    let (here, there) = (lazy(&server).await, lazy(&server).await);
    publish(&here, "kept").await;
    let behind = server.snapshot();
    let first = publish(&here, "1").await;
    let second = publish(&there, "2").await;
    fail_over(&mut server, &behind);
    let (again, other) = tokio::join!(publish(&here, "1"), publish(&there, "2"));
    assert_eq!((again.sequence, other.sequence), (first.sequence, second.sequence));
    assert!(again.epoch > first.epoch, "readers are told to look again");
    assert_eq!(bodies(&here).await, ["kept", "1", "2"]);
    // Beyond an entry that readers may have seen nothing is put in.
    fail_over(&mut server, &behind);
    publish(&there, "2").await;
    assert!(publish(&here, "1").await.sequence > second.sequence);
    assert_eq!(bodies(&here).await, ["kept", "2", "1"]);
}

#[tokio::test]
async fn what_comes_too_late_is_after_every_cursor_although_its_log_has_nothing_later() {
    let mut server = safe();
    let (here, there) = (lazy(&server).await, lazy(&server).await);
    publish(&here, "kept").await;
    let behind = server.snapshot();
    let lost = publish(&there, "lost").await;
    fail_over(&mut server, &behind);
    // Somebody reads two logs with one cursor, and is beyond the old place of what was lost.
    let other = Partition::new("bus/v2/other.example").unwrap();
    let messages = LogName::new("messages").unwrap();
    let append = Operation::Append {
        log: messages.clone(),
        dedupe: None,
        body: Bytes::from("later"),
        expires: buswire_message::Timestamp::MAX,
    };
    let later = async {
        loop {
            let batch = Batch::new(other.clone()).then(append.clone());
            match here.commit(batch, Ack::Safe, START).await {
                Ok(Outcome::Committed(_)) => break,
                Err(StoreError::Unavailable(_)) => sleep(Duration::from_millis(10)).await,
                unexpected => panic!("{unexpected:?}"),
            }
        }
    };
    timeout(PATIENCE, later).await.expect("it is committed in time");
    let page = here.read_log(&other, &messages, None, 10, START).await.unwrap();
    let cursor = page.next;
    assert!(cursor.sequence >= lost.sequence, "the reader is there or beyond");
    assert_eq!(bodies(&here).await, ["kept"]);
    let again = publish(&there, "lost").await;
    assert!(again.sequence > cursor.sequence, "{again:?} is behind {cursor:?}");
    assert_eq!(bodies(&here).await, ["kept", "lost"]);
}

#[tokio::test]
async fn what_several_processes_write_again_is_in_its_old_order_before_anybody_reads() {
    let mut server = safe();
    let stores = [lazy(&server).await, lazy(&server).await, lazy(&server).await];
    publish(&stores[0], "kept").await;
    let behind = server.snapshot();
    let mut places = Vec::new();
    for number in 0..30 {
        places.push(publish(&stores[number % 3], &number.to_string()).await.sequence);
    }
    fail_over(&mut server, &behind);
    // All at once: each commit waits until the others have written again what they had, and is later.
    let [a, b, c] = &stores;
    tokio::join!(publish(a, "a"), publish(b, "b"), publish(c, "c"));
    let log = LogName::new("messages").unwrap();
    let page = a.read_log(&bus(), &log, None, 1000, START).await.unwrap();
    let found: Vec<_> = page.entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!((&found[1..31], found.len()), (&places[..], 34), "in their old places");
    assert_eq!(page.entries[1].body, "0");
}

#[tokio::test]
async fn nobody_reads_or_adds_while_somebody_still_writes_again() {
    let mut server = safe();
    let address = RedisAddress::parse(&server.url()).unwrap();
    // What is written again takes far longer than the others would wait.
    let settling = Duration::from_millis(100);
    let config =
        RedisConfig { check_interval: 2 * PATIENCE, settling, ..RedisConfig::new(address) };
    let many = RedisStore::open(config.clone()).await.unwrap();
    let few = RedisStore::open(config).await.unwrap();
    publish(&many, "kept").await;
    let behind = server.snapshot();
    for number in 0..1000 {
        publish(&many, &number.to_string()).await;
    }
    let last = publish(&few, "last").await;
    fail_over(&mut server, &behind);
    let late = async {
        // The one that has much to write began, so that nothing ends before it has.
        let log = "buswire:{00}:l:messages:bus/v2/example.com";
        while server.cli(&["xlen", log]).parse::<u32>().is_ok_and(|count| count < 2) {
            sleep(Duration::from_millis(1)).await;
        }
        publish(&few, "after").await
    };
    let (next, after) = tokio::join!(publish(&many, "next"), late);
    assert!(next.sequence > last.sequence && after.sequence > last.sequence);
    let log = LogName::new("messages").unwrap();
    let page = few.read_log(&bus(), &log, None, 4000, START).await.unwrap();
    let bodies: Vec<_> = page.entries.iter().map(|entry| entry.body.clone()).collect();
    assert_eq!((bodies.len(), &bodies[1001][..]), (1004, &b"last"[..]));
    assert_eq!(page.entries[1001].sequence, last.sequence, "in its old place");
}

#[tokio::test]
async fn of_rows_that_two_processes_write_again_the_later_one_stays() {
    let mut server = safe();
    let (here, there) = (lazy(&server).await, lazy(&server).await);
    publish(&here, "kept").await;
    let behind = server.snapshot();
    commit(&here, put("1")).await;
    commit(&there, put("2")).await;
    commit(&there, raise(10)).await;
    commit(&here, raise(8)).await;
    for order in [[&here, &there], [&there, &here]] {
        fail_over(&mut server, &behind);
        for store in order {
            publish(store, "next").await;
        }
        assert_eq!(value(&here, "row").await, RowValue::Bytes(Bytes::from_static(b"2")));
        assert_eq!(value(&here, "version").await, RowValue::Version(10), "versions only grow");
    }
}

#[tokio::test]
async fn a_process_that_knows_nothing_begins_an_epoch_after_a_run_that_may_have_lost_something() {
    for (fsync, is_told) in [("everysec", true), ("always", false)] {
        let mut server = RedisServer::start(&["--appendfsync", fsync]);
        let store = lazy(&server).await;
        let before = publish(&store, "1").await;
        store.close().await;
        assert_eq!(lazy(&server).await.status().epoch, before.epoch, "the same run of the server");
        // Power fails at everything: what was not yet on the disk is gone, and nobody knows of it.
        server.kill();
        server.restart();
        let store = lazy(&server).await;
        assert_eq!(store.status().epoch > before.epoch, is_told, "appendfsync {fsync}");
        let log = LogName::new("messages").unwrap();
        let page = store.read_log(&bus(), &log, Some(before), 10, START).await.unwrap();
        assert_eq!(page.gap, is_told);
    }
}

#[tokio::test]
async fn a_process_whose_clock_is_ahead_removes_nothing_that_is_live() {
    let server = safe();
    let store = lazy(&server).await;
    let now = SystemClock.now();
    let later = |hours: u64| now.saturating_add(Duration::from_secs(3600 * hours));
    let expires = Some(later(1));
    let put = Operation::Put { key: key("row"), value: Bytes::from("1"), expires };
    let batch = Batch::new(bus()).then(put);
    store.commit(batch, Ack::Safe, now).await.unwrap();
    let swept = store.sweep(later(2), 1000).await.unwrap();
    assert_eq!((swept.removed, swept.more), (0, false));
    assert!(store.get(&bus(), &key("row"), now).await.unwrap().is_some());
}

/// A way to a server on which answers can be held back.
struct Way {
    port: u16,
    held: watch::Sender<bool>,
    /// Grows when all connections but the first of each store are to be cut.
    cut: watch::Sender<u32>,
    _tasks: JoinSet<()>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (held, cut) = (watch::Sender::new(false), watch::Sender::new(0));
        let (is_held, is_cut) = (held.subscribe(), cut.subscribe());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0_u32.. {
                let Ok((from, _)) = listener.accept().await else { break };
                let to = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // A store opens the connection for its requests first, then the one for hints.
                let cut = (number == 1).then(|| is_cut.clone());
                let held = (number == 0).then(|| is_held.clone());
                connections.spawn(carry(from, to, held, cut));
            }
        });
        Self { port: own, held, cut, _tasks: tasks }
    }
}

async fn carry(
    from: TcpStream,
    to: TcpStream,
    held: Option<watch::Receiver<bool>>,
    cut: Option<watch::Receiver<u32>>,
) {
    let ((mut requests, mut answers), (mut reader, mut writer)) =
        (from.into_split(), to.into_split());
    let there = tokio::io::copy(&mut requests, &mut writer);
    let back = async {
        let mut bytes = vec![0; 65_536];
        while let Ok(count @ 1..) = reader.read(&mut bytes).await {
            if let Some(mut held) = held.clone() {
                held.wait_for(|is_held| !is_held).await.unwrap();
            }
            answers.write_all(&bytes[..count]).await.unwrap_or_default();
        }
    };
    let cut = async {
        match cut {
            Some(mut cut) => cut.changed().await.unwrap_or_default(),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = there => {}
        () = back => {}
        () = cut => {}
    }
}

#[tokio::test]
async fn an_answer_that_comes_over_a_connection_that_was_given_up_acknowledges_nothing() {
    let server = safe();
    let way = Way::to(server.port()).await;
    let store = Arc::new(open(way.port, Duration::from_secs(2)).await);
    let direct = lazy(&server).await;
    publish(&store, "1").await;
    let mut hints = store.hints(HintFilter::All);
    way.held.send_replace(true);
    let mut committing = JoinSet::new();
    committing.spawn({
        let store = Arc::clone(&store);
        async move { store.commit(Batch::new(bus()).then(append("2")), Ack::Safe, START).await }
    });
    let is_there = async {
        while bodies(&direct).await.len() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, is_there).await.expect("the server has it, and its answer is held back");
    way.cut.send_modify(|count| *count += 1);
    let connected = async { while hints.next().await != Some(Hint::Missed) {} };
    timeout(PATIENCE, connected).await.expect("it connects again");
    way.held.send_replace(false);
    let answer = timeout(PATIENCE, committing.join_next()).await.unwrap().unwrap().unwrap();
    // The next server would have been given what was acknowledged before, and not this.
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
}
