//! The Redis engine on the master that sentinels name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod servers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, BoxFuture, Hint, HintFilter, Key, Operation, Partition, Store,
    conformance::{Engine, Instance, START},
    redis::{RedisAddress, RedisConfig, RedisStore},
};
use buswire_testkit::{RedisSentinel, RedisServer};
use bytes::Bytes;
use futures::StreamExt;
use servers::{
    PATIENCE, add_documented_user, bodies, brisk, documented_rules, open, partition, publish,
};
use tokio::time::timeout;

fn config(sentinel: &RedisSentinel, login: &str) -> RedisConfig {
    // The first one that is named is not there.
    let url = format!("redis+sentinel://{login}127.0.0.1:1,127.0.0.1:{}/main", sentinel.port());
    brisk(RedisConfig::new(RedisAddress::parse(&url).unwrap()))
}

/// One master with a sentinel for all stores of a test, used by the user of `docs/redis.md`.
struct OnSentinel {
    _master: RedisServer,
    sentinel: RedisSentinel,
    stores: AtomicUsize,
}

impl Default for OnSentinel {
    fn default() -> Self {
        let master = RedisServer::start(&[]);
        add_documented_user(&master);
        let rules = documented_rules("user buswire ").join(" ");
        let sentinel = RedisSentinel::of(master.port(), &format!("user buswire {rules}\n"));
        Self { _master: master, sentinel, stores: AtomicUsize::new(0) }
    }
}

impl Engine for OnSentinel {
    fn fresh(&self) -> BoxFuture<'_, Instance> {
        Box::pin(async {
            let number = self.stores.fetch_add(1, Ordering::Relaxed);
            let prefix = format!("test-{number}").into();
            let config = RedisConfig { prefix, ..config(&self.sentinel, "buswire:sesame@") };
            let store = open(config.clone()).await;
            Instance { store, reopen: Some(Box::new(move || open(config.clone()))) }
        })
    }
}

mod suite {
    use super::OnSentinel;

    buswire_store::conformance_tests!(OnSentinel::default());
}

/// A master with a replica that is in step, and a sentinel that knows both.
struct Pair {
    master: RedisServer,
    replica: RedisServer,
    sentinel: RedisSentinel,
}

impl Pair {
    fn start() -> Self {
        let master = RedisServer::start(&[]);
        let port = master.port().to_string();
        let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
        replica.until("the replica is in step", || is_in_step(&replica));
        let sentinel = RedisSentinel::watch(&master, &[&replica], "");
        Self { master, replica, sentinel }
    }
}

fn is_in_step(replica: &RedisServer) -> bool {
    replica.cli(&["info", "replication"]).contains("master_link_status:up")
}

fn put(to: &str, value: &str) -> Batch {
    let (key, value) = (Key::new("k").unwrap(), Bytes::from(value.to_owned()));
    Batch::new(partition(to)).then(Operation::Put { key, value, expires: None })
}

#[tokio::test]
async fn sentinels_that_know_no_users_are_asked_without_one() {
    let master = RedisServer::start(&[]);
    add_documented_user(&master);
    let sentinel = RedisSentinel::of(master.port(), "");
    let store = RedisStore::open(config(&sentinel, "buswire:sesame@")).await.unwrap();
    publish(&store, "a", "1").await;
    assert_eq!(bodies(&store, "a").await, ["1"]);
}

#[tokio::test]
async fn another_master_takes_over_and_what_it_lacks_is_written_again() {
    let Pair { mut master, replica, sentinel } = Pair::start();
    let store = RedisStore::open(config(&sentinel, "")).await.unwrap();
    store.commit(put("a", "replicated"), Ack::Safe, START).await.unwrap();
    let offset = |server: &RedisServer| {
        let info = server.cli(&["info", "replication"]);
        let line = info.lines().find(|line| line.starts_with("master_repl_offset")).unwrap();
        line.trim().to_owned()
    };
    replica.until("it is replicated", || offset(&replica) == offset(&master));
    // The replica is cut off and not let in again, then the master dies.
    master.cli(&["config", "set", "requirepass", "nobody"]);
    replica.cli(&["client", "kill", "type", "master"]);
    replica.until("the replica is cut off", || !is_in_step(&replica));
    let lost = store.commit(put("a", "lost"), Ack::Safe, START).await;
    let epoch = store.status().epoch;
    master.kill();
    let later = Timestamp::from_millis(START.as_millis() + 1);
    let goes_on = async {
        while store.commit(put("b", "after"), Ack::Safe, later).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, goes_on).await.expect("another master takes over");
    let row = store.get(&partition("a"), &Key::new("k").unwrap(), START).await;
    let kept = row.unwrap().unwrap().value.as_bytes().unwrap().clone();
    assert_eq!((lost.is_ok(), &kept[..]), (true, &b"lost"[..]), "it was written again");
    assert!(store.status().epoch > epoch, "what was lost is told of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_master_dies_under_load() {
    let Pair { mut master, replica, sentinel } = Pair::start();
    let store = Arc::new(RedisStore::open(config(&sentinel, "")).await.unwrap());
    let mut hints = store.hints(HintFilter::All);
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (store, stop, count) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&count));
            #[expect(clippy::disallowed_methods, reason = "the test waits for each")]
            tokio::spawn(async move {
                let mut written = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let body = format!("{writer}/{}", written.len());
                    publish(&store, "a", &body).await;
                    written.push(body);
                    count.fetch_add(1, Ordering::SeqCst);
                }
                written
            })
        })
        .collect();
    let reach = async |more: usize| {
        let goal = count.load(Ordering::SeqCst) + more;
        while count.load(Ordering::SeqCst) < goal {
            tokio::task::yield_now().await;
        }
    };
    reach(200).await;
    master.kill();
    timeout(PATIENCE, reach(200)).await.expect("writers go on at the other master");
    assert!(replica.cli(&["role"]).starts_with("master"));
    stop.store(true, Ordering::SeqCst);
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    let mut found = bodies(&store, "a").await;
    found.sort_unstable();
    written.sort_unstable();
    assert_eq!(found, written, "each is there, and once");
    let missed = async { while hints.next().await != Some(Hint::Missed) {} };
    timeout(PATIENCE, missed).await.expect("whoever listens is told that hints were missed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_is_left_when_the_sentinels_name_another_although_it_answers() {
    let [before, after] = [0; 2].map(|_: i32| RedisServer::start(&[]));
    let sentinel = RedisSentinel::of(before.port(), "");
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port());
    let config = RedisConfig {
        check_interval: Duration::from_millis(50),
        ..RedisConfig::new(RedisAddress::parse(&url).unwrap())
    };
    let store = RedisStore::open(config).await.unwrap();
    store.commit(put("a", "1"), Ack::Safe, START).await.unwrap();
    assert_eq!(sentinel.cli(&["sentinel", "remove", "main"]), "OK");
    let port = after.port().to_string();
    assert_eq!(sentinel.cli(&["sentinel", "monitor", "main", "127.0.0.1", &port, "1"]), "OK");
    // What the other one lacks is written there, without anybody asking for anything.
    after.until("it is at the other master", || after.cli(&["dbsize"]) != "0");
    let row = store.get(&Partition::new("a").unwrap(), &Key::new("k").unwrap(), START).await;
    assert_eq!(row.unwrap().unwrap().value.as_bytes().unwrap(), "1");
}
