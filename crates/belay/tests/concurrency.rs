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

use buswire_belay::{
    Bcap, BcapError, Config, GrantError, Label, Limits, Method, RegrantKey, Revoked,
};
use buswire_store::{Operation, memory::MemoryStore};
use buswire_testkit::VirtualClock;
use common::{
    BASE, World,
    tap::{Fault, Tap},
};
use tokio::{sync::Semaphore, task::JoinSet};
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

#[tokio::test]
async fn two_servers_count_together() {
    // Rule: belay 20.6 — with several nodes the row in the database is the authority
    for seed in 0..8 {
        let store = Tap::turbulent(seed);
        let clock = VirtualClock::default();
        let config = Config::new(BASE).unwrap();
        let one = World::over(store.clone(), clock.clone(), config.clone(), 1).await;
        let other = World::over(store, clock, config, 2).await;
        let granted = one.grant("test.echo", "", r#"{"uses":60}"#).await;
        let ids = [one.server.local_id(&granted.cap).unwrap().expose().clone()];
        let (first, second) = tokio::join!(drain(&one, &ids), drain(&other, &ids));
        assert_eq!(first + second, 60, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_use_is_spent_once_by_64_callers_of_two_servers() {
    // Rule: belay 20.6 — uses: 1 is spent once, whoever calls where
    for seed in 0..4 {
        let store = Tap::turbulent(seed);
        let clock = VirtualClock::default();
        let config = Config::new(BASE).unwrap();
        let one = World::over(store.clone(), clock.clone(), config.clone(), 1).await;
        let other = World::over(store, clock, config, 2).await;
        let granted = one.grant("test.echo", "", r#"{"uses":1}"#).await;
        let id = one.server.local_id(&granted.cap).unwrap().expose().clone();
        let mut callers = JoinSet::new();
        for n in 0..64 {
            let server = if n % 2 == 0 { one.server.clone() } else { other.server.clone() };
            let id = id.clone();
            callers.spawn(async move { server.invoke(&id, Method::Get, None).await });
        }
        let (done, refused): (Vec<_>, Vec<_>) =
            callers.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((done.len(), refused.len()), (1, 63), "seed {seed}");
        assert!(refused.iter().all(|refused| *refused == Err(BcapError::NotFound)), "{refused:?}");
        let invoked = |world: &World| world.echo.invoked.load(Ordering::SeqCst);
        assert_eq!(invoked(&one) + invoked(&other), 1);
    }
}

#[tokio::test]
async fn a_rate_is_kept_by_two_servers_together() {
    // Rule: belay 20.6 — limits counters are never cached
    let store = Tap::turbulent(5);
    let clock = VirtualClock::default();
    let config = Config::new(BASE).unwrap();
    let one = World::over(store.clone(), clock.clone(), config.clone(), 1).await;
    let other = World::over(store, clock, config, 2).await;
    let granted = one.grant("test.echo", "", r#"{"rate":{"count":20,"per":60}}"#).await;
    let id = one.server.local_id(&granted.cap).unwrap().expose().clone();
    let mut tasks = JoinSet::new();
    for n in 0..60 {
        let server = if n % 2 == 0 { one.server.clone() } else { other.server.clone() };
        let id = id.clone();
        tasks.spawn(async move { server.invoke(&id, Method::Get, None).await.is_ok() });
    }
    let admitted = tasks.join_all().await.into_iter().filter(|admitted| *admitted).count();
    assert_eq!(admitted, 20);
}

#[tokio::test]
async fn what_was_counted_is_not_made_once_the_grant_is_revoked() {
    // Rule: belay 20.6 — after the reply to a revocation no invocation starts
    let store = Tap::new();
    let config = Config::new(BASE).unwrap();
    let world = World::over(store.clone(), VirtualClock::default(), config, 1).await;
    let granted = world.grant("test.echo", "", r#"{"uses":5}"#).await;
    let (counted, revoked) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (reached, gate) = (Arc::clone(&counted), Arc::clone(&revoked));
    store.on_commit(move |batch| {
        if batch.operations.iter().any(|operation| matches!(operation, Operation::Raise { .. })) {
            reached.add_permits(1);
            return Fault::Held(Arc::clone(&gate));
        }
        Fault::None
    });
    let revoke = async {
        counted.acquire().await.unwrap().forget();
        world.server.revoke(&granted.handle).await.unwrap();
        revoked.add_permits(1);
    };
    let (answer, ()) = tokio::join!(world.call("PUT", &granted.cap, r#"{"value":1}"#), revoke);
    answer.is_failure(404, "not found");
    assert_eq!(world.echo.invoked.load(Ordering::SeqCst), 0);
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

#[tokio::test]
async fn no_read_blocks_past_a_revocation_that_it_raced() {
    // Rule: belay 20.6 — a revocation racing an invocation never leaves it blocked
    for seed in 0..60 {
        let store = Tap::turbulent(seed);
        let config = Config::new(BASE).unwrap();
        let world = World::over(store, VirtualClock::default(), config, 1).await;
        let granted = world.grant("test.wait", "", "").await;
        let id = world.server.local_id(&granted.cap).unwrap();
        let race = async {
            tokio::join!(
                world.server.invoke(id.expose(), Method::Get, None),
                world.server.revoke(&granted.handle)
            )
        };
        let raced = tokio::time::timeout(Duration::from_secs(20), race).await;
        let (outcome, revoked) = raced.unwrap_or_else(|_| panic!("seed {seed} blocks"));
        assert_eq!((outcome, revoked), (Err(BcapError::NotFound), Ok(Revoked::Now)), "seed {seed}");
    }
}

#[tokio::test]
async fn children_are_counted_exactly_while_many_wrap() {
    // Rule: belay 20.8 — live children per parent are bounded
    let mut config = Config::new(BASE).unwrap();
    config.children_max = 10;
    let store = Tap::turbulent(9);
    let world = World::over(store, VirtualClock::default(), config, 1).await;
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

#[tokio::test]
async fn concurrent_regrants_agree_on_one() {
    // Rule: belay 20.7 — regrants of one request that race give one URL, or leave one alive
    for (regrant, alive) in [("stable", 8), ("rotate", 1)] {
        let mut config = Config::new(BASE).unwrap();
        config.regrant_key = Some(RegrantKey::new(1, [7; 32]));
        let store = Tap::turbulent(3);
        let world = World::over(store, VirtualClock::default(), config, 1).await;
        let target = format!(r#"{{"kinds":["test.echo"],"regrant":"{regrant}"}}"#);
        let grantor = world.grant("grantor", &target, "").await;
        let body = r#"{"value":{"kind":"test.echo","regrant":true}}"#;
        let calls = (0..8).map(|_| world.call("POST", &grantor.cap, body));
        let mut live = 0;
        for answer in futures::future::join_all(calls).await {
            assert_eq!(answer.status, 200, "{answer:?}");
            let json = answer.json();
            let cap = Bcap::restore(json["value"]["cap"]["@"].as_str().unwrap());
            live += usize::from(world.call("GET", &cap, "").await.status == 200);
        }
        assert_eq!(live, alive, "{regrant}");
    }
}
