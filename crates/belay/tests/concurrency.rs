//! Counting and revoking while others invoke (Belay §20.6, §20.8).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buswire_belay::{BcapError, Config, GrantError, Label, Limits, Method};
use buswire_store::memory::MemoryStore;
use buswire_testkit::VirtualClock;
use common::{BASE, World};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Invokes with 32 tasks until each is told 404, and counts the successes.
async fn drain(world: &World, ids: &[String]) -> usize {
    let mut tasks = JoinSet::new();
    for n in 0..32 {
        let (server, id) = (world.server.clone(), ids[n % ids.len()].clone());
        tasks.spawn(async move {
            let mut successes = 0_usize;
            loop {
                match server.invoke(&id, Method::Get, None).await {
                    Ok(_) => successes += 1,
                    Err(BcapError::NotFound) => return successes,
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    tasks.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_uses_are_a_hundred_successes() {
    // Rule: belay 20.6 — a use is counted in the transaction that checks validity: never one more
    let world = World::new().await;
    let granted = world.grant("test.echo", "", r#"{"uses":100}"#).await;
    let id = world.server.local_id(&granted.cap).unwrap().expose().clone();
    assert_eq!(drain(&world, &[id]).await, 100);
    assert_eq!(world.echo.invoked.load(Ordering::SeqCst), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn siblings_share_the_uses_of_their_parent() {
    // Rule: belay 20.8 — uses are counted at every level, so children share those of the parent
    let world = World::new().await;
    let parent = world.grant("test.echo", "", r#"{"uses":100}"#).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let child = world.wrap(&parent.cap, r#"{"uses":40}"#).await;
        ids.push(world.server.local_id(&child.cap).unwrap().expose().clone());
    }
    assert_eq!(drain(&world, &ids).await, 100);
    let left = world.server.status(&parent.handle).await.unwrap();
    assert_eq!((left.uses_left, left.children), (Some(0), 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_servers_count_together() {
    // Rule: belay 20.6 — with several nodes the row in the database is the authority
    let store = Arc::new(MemoryStore::new());
    let clock = VirtualClock::default();
    let config = Config::new(BASE).unwrap();
    let one = World::over(store.clone(), clock.clone(), config.clone(), 1).await;
    let other = World::over(store, clock, config, 2).await;
    let granted = one.grant("test.echo", "", r#"{"uses":60}"#).await;
    let ids = [one.server.local_id(&granted.cap).unwrap().expose().clone()];
    let (first, second) = tokio::join!(drain(&one, &ids), drain(&other, &ids));
    assert_eq!(first + second, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_revocation_no_invocation_starts() {
    // Rule: belay 6.9 — after the revocation no new invocation succeeds
    for round in 0..20 {
        let world = World::new().await;
        let root = world.grant("test.echo", "", r#"{"uses":1000000}"#).await;
        let child = world.wrap(&root.cap, "").await;
        let id = world.server.local_id(&child.cap).unwrap().expose().clone();
        let revoked = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let (server, id, revoked) = (world.server.clone(), id.clone(), Arc::clone(&revoked));
            tasks.spawn(async move {
                loop {
                    let after = revoked.load(Ordering::SeqCst);
                    match server.invoke(&id, Method::Get, None).await {
                        Ok(_) => assert!(!after, "an invocation started after the revocation"),
                        Err(error) => return error,
                    }
                }
            });
        }
        while world.echo.invoked.load(Ordering::SeqCst) < 10 + round {
            tokio::task::yield_now().await;
        }
        world.server.revoke(&root.handle).await.unwrap();
        let at_reply = world.echo.invoked.load(Ordering::SeqCst);
        revoked.store(true, Ordering::SeqCst);
        for error in tasks.join_all().await {
            assert_eq!(error, BcapError::NotFound);
        }
        // Whoever had passed the last check when the reply was given is among these.
        assert!(world.echo.invoked.load(Ordering::SeqCst) <= at_reply + 8);
    }
}

#[tokio::test]
async fn blocked_reads_end_with_the_grant() {
    // Rule: belay 20.6 — blocked reads are cancelled on revocation and answered 404
    let world = World::new().await;
    let root = world.grant("test.wait", "", "").await;
    let child = world.wrap(&root.cap, "").await;
    let other = world.grant("test.wait", "", "").await;
    let blocked = world.call("POST", &child.cap, r#"{"value":{"block":60}}"#);
    let cut = async {
        world.wait.waiting.acquire().await.unwrap().forget();
        world.call("DELETE", &root.control, "").await
    };
    let (answer, deleted) = tokio::join!(blocked, cut);
    assert_eq!((deleted.status, deleted.body.as_str()), (200, ""));
    answer.is_failure(404, "not found");
    // Suspension ends them too, and nobody else's.
    let suspend = async {
        world.wait.waiting.acquire_many(2).await.unwrap().forget();
        world.server.set_suspended(&other.handle, true).await.unwrap();
    };
    let unrelated = world.grant("test.wait", "", "").await;
    let id = world.server.local_id(&unrelated.cap).unwrap();
    tokio::select! {
        _ = world.server.invoke(id.expose(), Method::Get, None) => panic!("it waits for ever"),
        (answer, ()) = async { tokio::join!(world.call("GET", &other.cap, ""), suspend) } => {
            answer.is_failure(404, "not found");
        }
    }
}

#[tokio::test]
async fn draining_ends_blocked_reads() {
    // Rule: belay 21.5 — 503 with Retry-After while the gateway shuts down
    let world = World::new().await;
    let granted = world.grant("test.wait", "", "").await;
    let drain = async {
        world.wait.waiting.acquire().await.unwrap().forget();
        world.server.drain();
    };
    let (answer, ()) = tokio::join!(world.call("GET", &granted.cap, ""), drain);
    answer.is_failure(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    world.call("GET", &granted.cap, "").await.is_failure(503, "unavailable");
}

#[tokio::test]
async fn a_revocation_by_another_server_ends_blocked_reads() {
    // Rule: belay 20.6 — what another node revoked ends here too
    let store = Arc::new(MemoryStore::new());
    let clock = VirtualClock::default();
    let config = Config::new(BASE).unwrap();
    let one = World::over(store.clone(), clock.clone(), config.clone(), 1).await;
    let other = World::over(store, clock, config, 2).await;
    let granted = one.grant("test.wait", "", "").await;
    let stop = CancellationToken::new();
    let revoke = async {
        other.wait.waiting.acquire().await.unwrap().forget();
        one.server.revoke(&granted.handle).await.unwrap();
    };
    let finished = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            () = other.server.watch(stop.clone()) => panic!("nobody stopped it"),
            (answer, ()) = async { tokio::join!(other.call("GET", &granted.cap, ""), revoke) } => {
                answer
            }
        }
    });
    finished.await.unwrap().is_failure(404, "not found");
    stop.cancel();
    other.server.watch(stop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn children_are_counted_exactly_while_many_wrap() {
    // Rule: belay 20.8 — live children per parent are bounded
    let world = World::with(|mut config| {
        config.children_max = 10;
        config
    })
    .await;
    let parent = world.grant("test.echo", "", "").await;
    let id = world.server.local_id(&parent.cap).unwrap().expose().clone();
    let mut tasks = JoinSet::new();
    for _ in 0..24 {
        let (server, id) = (world.server.clone(), id.clone());
        tasks
            .spawn(async move { server.wrap(&id, Limits::default(), Label::default()).await.ok() });
    }
    let made: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(made.len(), 10);
    // A revoked child makes room for another.
    world.server.revoke(&made[0].handle).await.unwrap();
    world.wrap(&parent.cap, "").await;
    let full = world.server.wrap(&id, Limits::default(), Label::default()).await;
    assert_eq!(full, Err(GrantError::Full));
}
