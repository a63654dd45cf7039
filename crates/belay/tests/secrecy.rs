//! Ids are stored only as hashes and shown nowhere (Belay §20.4, §20.9, §25.9).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::{Arc, Mutex, atomic::Ordering};

use buswire_belay::{Config, Handle};
use buswire_message::{Clock as _, Secret, SecretHash};
use buswire_store::{Direction, KeyRange, Operation, Partition, Store as _};
use buswire_testkit::VirtualClock;
use common::{
    BASE, World,
    tap::{Fault, Tap},
};

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn an_id_is_stored_only_as_its_hash() {
    // Rule: belay 20.4 — ids are shown once and never stored
    let written = Arc::new(Mutex::new(Vec::new()));
    let (store, log) = (Tap::new(), Arc::clone(&written));
    store.on_commit(move |batch| {
        let mut written = log.lock().unwrap();
        written.extend(batch.partition.as_str().bytes());
        for operation in &batch.operations {
            if let Operation::Put { key, value, .. } = operation {
                written.extend(key.as_bytes());
                written.extend(value);
            }
        }
        Fault::None
    });
    let clock = VirtualClock::default();
    let world = World::over(store, clock, Config::new(BASE).unwrap(), 1).await;
    let root = world.grant("test.echo", "", r#"{"uses":9,"rate":{"count":9,"per":1}}"#).await;
    let child = world.wrap(&root.cap, "").await;
    assert_eq!(world.call("GET", &child.cap, "").await.status, 200);
    world.server.revoke(&root.handle).await.unwrap();
    world.server.close().await.unwrap();
    let written = written.lock().unwrap().clone();
    for cap in [&root.cap, &root.control, &child.cap, &child.control] {
        let id = world.server.local_id(cap).unwrap();
        assert!(!contains(&written, id.expose().as_bytes()));
        assert!(contains(&written, SecretHash::of(id.expose()).as_bytes()));
    }
}

async fn over(store: &Arc<Tap>, keys: &[[u8; 32]]) -> World {
    let keys: Vec<_> = keys.iter().map(|key| Secret::new(*key)).collect();
    let config = Config::new(BASE).unwrap().with_keys(&keys);
    World::over(store.clone(), VirtualClock::default(), config, keys.len() as u64).await
}

/// What the store has in the tree of a grant.
async fn rows(store: &Arc<Tap>, handle: &Handle) -> Vec<u8> {
    let partition = Partition::new(&format!("cap/tree/{handle}")).unwrap();
    let (range, now) = (KeyRange::all(), VirtualClock::default().now());
    let page = store.scan(&partition, range, 100, Direction::Ascending, now).await.unwrap();
    let bytes = page.rows.iter().filter_map(|(_, row)| row.value.as_bytes());
    bytes.flat_map(|bytes| bytes.to_vec()).collect()
}

#[tokio::test]
async fn targets_are_sealed_in_the_store() {
    // Rule: belay 20.4 — targets, which may hold capabilities and endpoints, are stored encrypted
    let store = Tap::new();
    let world = over(&store, &[[1; 32]]).await;
    let root = world.grant("test.echo", r#"{"channel":"s3cret"}"#, "{}").await;
    let child = world.wrap(&root.cap, "{}").await;
    let answer = world.call("GET", &child.cap, "").await;
    assert_eq!(answer.body, r#"{"value":{"channel":"s3cret"}}"#);
    assert!(!contains(&rows(&store, &root.handle).await, b"s3cret"));
    world.server.revoke(&root.handle).await.unwrap();
    world.server.close().await.unwrap();
    let rows = rows(&store, &root.handle).await;
    assert!(!rows.is_empty() && !contains(&rows, b"s3cret"), "nor what is still listed of it");
}

#[tokio::test]
async fn rows_in_clear_and_of_older_keys_are_sealed_when_they_are_read() {
    // Rule: belay 23.12 — keys have versions, stored per row: a new key takes over row by row
    let store = Tap::new();
    let clear = over(&store, &[]).await;
    let root = clear.grant("test.echo", r#"{"channel":"s3cret"}"#, "{}").await;
    assert!(contains(&rows(&store, &root.handle).await, b"s3cret"));
    let [one, two] = [[1; 32], [2; 32]];
    for (keys, mark) in [(&[one][..], b"\"1."), (&[one, two], b"\"2."), (&[one, two], b"\"2.")] {
        let world = over(&store, keys).await;
        let answer = world.call("GET", &root.cap, "").await;
        assert_eq!(answer.body, r#"{"value":{"channel":"s3cret"}}"#);
        let rows = rows(&store, &root.handle).await;
        assert!(!contains(&rows, b"s3cret") && contains(&rows, mark));
        world.server.set_label(&root.handle, "x".parse().unwrap()).await.unwrap();
    }
    // Without its key a target can't be read, and nothing is done under it.
    for keys in [&[][..], &[one]] {
        let world = over(&store, keys).await;
        assert_eq!(world.call("GET", &root.cap, "").await.status, 500);
        assert_eq!(world.echo.invoked.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn whatever_is_dead_takes_the_same_work() {
    // Rule: belay 23.9 — unknown and dead ids answer alike, after the same number of reads
    let store = Tap::new();
    let clock = VirtualClock::default();
    let config = Config::new(BASE).unwrap();
    let world = World::over(store.clone(), clock, config, 1).await;
    let limits = format!(r#"{{"expires":"{}"}}"#, world.clock.now());
    let [suspended, revoked] =
        [world.grant("test.echo", "", "").await, world.grant("test.echo", "", "").await];
    let expired = world.grant("test.echo", "", &limits).await;
    world.server.set_suspended(&suspended.handle, true).await.unwrap();
    world.server.revoke(&revoked.handle).await.unwrap();
    let unknown = buswire_belay::Bcap::restore(format!("{BASE}/cap/{}", "A".repeat(43)));
    let mut answers = Vec::new();
    for cap in [&unknown, &suspended.cap, &revoked.cap, &expired.cap] {
        let before = store.gets();
        let answer = world.call("POST", cap, r#"{"value":1}"#).await.comparable();
        answers.push((answer, store.gets() - before));
    }
    assert_eq!(answers[0].1, 2);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn the_worked_hashes() {
    // Rule: belay 25.9 — the worked ids have the worked hashes
    // Rule: belay 20.4 — an id is looked up by the SHA-256 of its text
    let hex =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    for (id, hash) in [
        (
            "7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936",
            "03c49ef021cea8aa746462da5884fe07318ba410aef658c795e2becd29831fbd",
        ),
        (
            "Qm2vR8xK1tZ4yLw0nS7dJc9fHb3aUe6gPiToXkVh5Yk",
            "54b4735d5ed46c81743d0ffce38fd72b4295e1b098a897695bdce0cf95a36fe3",
        ),
    ] {
        assert_eq!(hex(SecretHash::of(id).as_bytes()), hash);
    }
}

#[tokio::test]
async fn nothing_that_is_shown_has_an_id() {
    // Rule: belay 20.9 — ids, URLs and bodies are in no listing and no Debug output
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    let listed = world.server.list(None, 10).await.unwrap();
    let info = world.server.status(&granted.handle).await.unwrap();
    let shown = format!("{granted:?} {listed:?} {info:?} {:?}", world.server);
    for cap in [&granted.cap, &granted.control] {
        let id = world.server.local_id(cap).unwrap();
        assert!(!shown.contains(id.expose()));
    }
    assert!(shown.contains(granted.handle.as_str()));
}
