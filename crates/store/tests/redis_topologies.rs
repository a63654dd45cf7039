//! The Redis engine on a cluster, and on the master that sentinels name.

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
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, BoxFuture, Key, Operation, Partition, Store,
    conformance::{self, Engine, Instance, START},
    redis::{RedisAddress, RedisConfig, RedisOpenError, RedisStore},
};
use buswire_testkit::{RedisSentinel, RedisServer};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// One cluster for all stores of a test, which differ in their prefix.
struct OnCluster {
    nodes: [RedisServer; 3],
    stores: AtomicUsize,
}

impl OnCluster {
    fn start() -> Self {
        Self { nodes: RedisServer::cluster(), stores: AtomicUsize::new(0) }
    }

    /// Names two of the nodes; the third is found.
    fn config(&self) -> RedisConfig {
        let [first, second, _] = &self.nodes;
        let url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", first.port(), second.port());
        let number = self.stores.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("test-{number}").into();
        RedisConfig { prefix, ..RedisConfig::new(RedisAddress::parse(&url).unwrap()) }
    }
}

fn open(config: RedisConfig) -> BoxFuture<'static, Arc<dyn Store>> {
    Box::pin(async { Arc::new(RedisStore::open(config).await.unwrap()) as Arc<dyn Store> })
}

impl Engine for OnCluster {
    fn fresh(&self) -> BoxFuture<'_, Instance> {
        Box::pin(async {
            let config = self.config();
            let store = open(config.clone()).await;
            Instance { store, reopen: Some(Box::new(move || open(config.clone()))) }
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_passes_the_suite() {
    let engine = OnCluster::start();
    conformance::order_holds_under_64_writers(&engine).await;
    conformance::followers_see_no_holes(&engine).await;
    conformance::pages_of_a_log_join_without_gap_or_overlap(&engine).await;
    conformance::duplicates_are_stored_once(&engine).await;
    conformance::entries_expire_on_the_exact_millisecond(&engine).await;
    conformance::an_older_epoch_is_told_of_the_gap(&engine).await;
    conformance::a_clock_that_steps_back_an_hour_changes_no_order(&engine).await;
    conformance::rows_expire_on_the_exact_millisecond(&engine).await;
    conformance::conflicts_change_nothing(&engine).await;
    conformance::competing_writers_lose_no_update(&engine).await;
    conformance::versions_only_grow(&engine).await;
    conformance::tombstones_outlive_late_replays(&engine).await;
    conformance::batches_are_seen_whole(&engine).await;
    conformance::refused_batches_change_nothing(&engine).await;
    conformance::scans_give_ranges_in_both_directions(&engine).await;
    conformance::revisions_never_repeat(&engine).await;
    conformance::hints_name_what_changed(&engine).await;
    conformance::lost_hints_are_admitted(&engine).await;
    conformance::dropped_commits_happen_whole_or_not_at_all(&engine).await;
    conformance::sweeps_keep_to_their_budget(&engine).await;
    conformance::a_closed_store_is_unavailable(&engine).await;
    conformance::everything_is_there_after_reopening(&engine).await;
}

#[test]
fn a_cluster_agrees_with_memory() {
    conformance::harness::agrees_with_memory(&OnCluster::start(), 16, 60);
}

fn put(partition: &str, value: &str) -> Batch {
    let (key, value) = (Key::new("k").unwrap(), Bytes::from(value.to_owned()));
    Batch::new(Partition::new(partition).unwrap()).then(Operation::Put {
        key,
        value,
        expires: None,
    })
}

#[tokio::test]
async fn a_slot_that_moves_to_another_node_loses_nothing() {
    let engine = OnCluster::start();
    let config = RedisConfig { check_interval: Duration::from_millis(100), ..engine.config() };
    let store = RedisStore::open(config).await.unwrap();
    let names: Vec<_> = (0..64).map(|number| format!("p/{number}")).collect();
    for name in &names {
        store.commit(put(name, "1"), Ack::Safe, START).await.unwrap();
    }
    let epoch = store.status().epoch;
    let [first, second, _] = &engine.nodes;
    let (from, to) = (first.cli(&["cluster", "myid"]), second.cli(&["cluster", "myid"]));
    let address = format!("127.0.0.1:{}", first.port());
    let moved = ["--cluster", "reshard", &address, "--cluster-from", &from, "--cluster-to", &to];
    first.cli(&[&moved[..], &["--cluster-slots", "2000", "--cluster-yes"]].concat());
    for name in &names {
        store.commit(put(name, "2"), Ack::Safe, START).await.unwrap();
        let row = store.get(&Partition::new(name).unwrap(), &Key::new("k").unwrap(), START).await;
        assert_eq!(row.unwrap().unwrap().value.as_bytes().unwrap(), "2");
    }
    assert_eq!(store.status().epoch, epoch);
}

#[tokio::test]
async fn a_layout_for_another_kind_of_server_is_refused() {
    let server = RedisServer::start(&[]);
    let config = RedisConfig::new(RedisAddress::parse(&server.url()).unwrap());
    RedisStore::open(config.clone()).await.unwrap().close().await;
    server.cli(&["hset", "buswire:{00}:meta", "shards", "64"]);
    let error = RedisStore::open(config).await.expect_err("it is refused");
    assert!(matches!(error, RedisOpenError::Layout { found: 64, needed: 1, .. }), "{error}");
}

#[tokio::test]
async fn another_master_takes_over_and_what_it_lacks_is_written_again() {
    let mut master = RedisServer::start(&[]);
    let port = master.port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    let in_step = || replica.cli(&["info", "replication"]).contains("master_link_status:up");
    replica.until("the replica is in step", in_step);
    let sentinel = RedisSentinel::watch("127.0.0.1", &master, 1, Duration::from_millis(300));
    let known =
        || sentinel.cli(&["sentinel", "replicas", "main"]).contains(&replica.port().to_string());
    master.until("the sentinel knows the replica", known);
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port());
    let config = RedisConfig {
        check_interval: Duration::from_millis(100),
        ..RedisConfig::new(RedisAddress::parse(&url).unwrap())
    };
    let store = RedisStore::open(config).await.unwrap();
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
    replica.until("the replica is cut off", || !in_step());
    let lost = store.commit(put("a", "lost"), Ack::Safe, START).await;
    let epoch = store.status().epoch;
    master.kill();
    let later = Timestamp::from_millis(START.as_millis() + 1);
    let goes_on = async {
        while store.commit(put("b", "after"), Ack::Safe, later).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, goes_on).await.expect("another master takes over");
    let row = store.get(&Partition::new("a").unwrap(), &Key::new("k").unwrap(), START).await;
    let kept = row.unwrap().unwrap().value.as_bytes().unwrap().clone();
    assert_eq!((lost.is_ok(), &kept[..]), (true, &b"lost"[..]), "it was written again");
    assert!(store.status().epoch > epoch, "what was lost is told of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_is_left_when_the_sentinels_name_another_although_it_answers() {
    let [before, after] = [0; 2].map(|_: i32| RedisServer::start(&[]));
    let sentinel = RedisSentinel::watch("127.0.0.1", &before, 1, PATIENCE);
    before.until("the sentinel answers", || sentinel.cli(&["ping"]) == "PONG");
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
