//! The Redis engine on a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod servers;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use buswire_store::{
    Ack, Batch, BoxFuture, Hint, HintFilter, Key, Operation, Store,
    conformance::{self, Engine, Instance, START},
    redis::{RedisAddress, RedisConfig, RedisOpenError, RedisStore},
};
use buswire_testkit::RedisServer;
use bytes::Bytes;
use futures::StreamExt;
use servers::{PATIENCE, add_documented_user, bodies, brisk, open, partition, publish};
use tokio::{task::JoinHandle, time::timeout};

/// One cluster for all stores of a test, which differ in their prefix, used by the user of
/// `docs/redis.md`.
struct OnCluster {
    nodes: [RedisServer; 3],
    stores: AtomicUsize,
}

impl OnCluster {
    fn start() -> Self {
        let nodes = RedisServer::cluster();
        for node in &nodes {
            add_documented_user(node);
        }
        Self { nodes, stores: AtomicUsize::new(0) }
    }

    /// Names two of the nodes; the third is found.
    fn config(&self) -> RedisConfig {
        let [first, second, _] = &self.nodes;
        let url = format!(
            "redis+cluster://buswire:sesame@127.0.0.1:{},127.0.0.1:{}",
            first.port(),
            second.port()
        );
        let number = self.stores.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("test-{number}").into();
        RedisConfig { prefix, ..RedisConfig::new(RedisAddress::parse(&url).unwrap()) }
    }
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
    conformance::logs_that_grew_are_told_and_nothing_smaller_follows(&engine).await;
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

fn put(to: &str, value: &str) -> Batch {
    let (key, value) = (Key::new("k").unwrap(), Bytes::from(value.to_owned()));
    Batch::new(partition(to)).then(Operation::Put { key, value, expires: None })
}

/// On how many partitions each of the writers writes, by turns: together they are in most shards.
const EACH: usize = 8;

/// Writers, each on partitions of its own, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(store: &Arc<RedisStore>, writers: usize) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let write = |writer: usize| {
            let (store, stop, count) = (Arc::clone(store), Arc::clone(&stop), Arc::clone(&count));
            #[expect(clippy::disallowed_methods, reason = "the test waits for each")]
            tokio::spawn(async move {
                let mut written = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let body = format!("{writer}/{}", written.len());
                    publish(&store, &of(writer, written.len()), &body).await;
                    written.push(body);
                    count.fetch_add(1, Ordering::SeqCst);
                }
                written
            })
        };
        let writers = (0..writers).map(write).collect();
        Self { stop, count, writers }
    }

    /// Waits until so many more were acknowledged.
    async fn reach(&self, more: usize) {
        let goal = self.count.load(Ordering::SeqCst) + more;
        let reached = async {
            while self.count.load(Ordering::SeqCst) < goal {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("writers go on");
    }

    /// Stops, and compares what each partition has with what was acknowledged: the same, each once.
    async fn check(self, store: &RedisStore, is_in_order: bool) {
        self.stop.store(true, Ordering::SeqCst);
        for (writer, written) in self.writers.into_iter().enumerate() {
            let written = written.await.unwrap();
            for number in 0..EACH {
                let mut written: Vec<_> = written.iter().skip(number).step_by(EACH).collect();
                let found = bodies(store, &of(writer, number)).await;
                let mut found: Vec<_> = found.iter().collect();
                if !is_in_order {
                    written.sort_unstable();
                    found.sort_unstable();
                }
                assert_eq!(found, written, "partition {}", of(writer, number));
            }
        }
    }
}

/// The partition that a writer writes to by its turn.
fn of(writer: usize, turn: usize) -> String {
    format!("p/{writer}/{}", turn % EACH)
}

/// Moves so many slots, as an operator does.
async fn reshard(nodes: &[RedisServer; 3], from: usize, to: usize, slots: &str) {
    let id = |node: usize| nodes[node].cli(&["cluster", "myid"]);
    let (from, to, address) = (id(from), id(to), format!("127.0.0.1:{}", nodes[0].port()));
    let port = nodes[0].port().to_string();
    let slots = slots.to_owned();
    let moved = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new("redis-cli");
        command.args(["-p", &port, "--cluster", "reshard", &address, "--cluster-from", &from]);
        command.args(["--cluster-to", &to, "--cluster-slots", &slots, "--cluster-yes"]);
        command.output().unwrap()
    });
    let moved = moved.await.unwrap();
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_under_load_lose_nothing_and_hints_follow_them() {
    let engine = OnCluster::start();
    let config = engine.config();
    let store = Arc::new(RedisStore::open(brisk(config.clone())).await.unwrap());
    let other = RedisStore::open(brisk(config)).await.unwrap();
    let mut hints = other.hints(HintFilter::All);
    let epoch = store.status().epoch;
    let load = Load::start(&store, 8);
    load.reach(200).await;
    reshard(&engine.nodes, 0, 1, "700").await;
    load.reach(200).await;
    load.check(&store, true).await;
    assert_eq!(store.status().epoch, epoch, "nothing was lost, so no epoch began");
    // A node ends the subscriptions of a slot that moves: whoever listens is told, and hears the rest.
    let missed = async { while hints.next().await != Some(Hint::Missed) {} };
    timeout(PATIENCE, missed).await.expect("it is told that hints were missed");
    let mut unheard: BTreeSet<_> = (0..16).map(|number| format!("q/{number}")).collect();
    let heard = async {
        while !unheard.is_empty() {
            for name in &unheard {
                publish(&store, name, "more").await;
                store.commit(put(name, "1"), Ack::Safe, START).await.unwrap();
            }
            while let Ok(Some(hint)) = timeout(Duration::from_millis(100), hints.next()).await {
                if let Hint::Changed(changed) = hint {
                    unheard.remove(changed.as_str());
                }
            }
        }
    };
    timeout(PATIENCE, heard).await.expect("every shard is heard of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_from_a_master_of_the_cluster_that_dies_under_load() {
    let mut nodes = RedisServer::cluster_with_replicas();
    let url =
        format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", nodes[0].port(), nodes[1].port());
    let config = brisk(RedisConfig::new(RedisAddress::parse(&url).unwrap()));
    let store = Arc::new(RedisStore::open(config).await.unwrap());
    let load = Load::start(&store, 8);
    load.reach(200).await;
    nodes[0].kill();
    // Every partition goes on, those of the node that died too.
    load.reach(2000).await;
    for number in 0..16 {
        publish(&store, &format!("q/{number}"), "after").await;
    }
    // What the replica lacked was written again, after what was written since.
    load.check(&store, false).await;
    for number in 0..16 {
        assert_eq!(bodies(&store, &format!("q/{number}")).await, ["after"]);
    }
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
