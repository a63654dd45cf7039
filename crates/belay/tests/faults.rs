//! What a store that fails leaves behind: no half of a grant, no promise that is not kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::{Arc, atomic::Ordering};

use buswire_belay::{
    AdminError, Config, GrantError, GrantRequest, GrantState, Label, Limits, Revoked,
};
use buswire_store::StoreError;
use buswire_testkit::VirtualClock;
use common::{
    BASE, World,
    tap::{Fault, Tap},
};

async fn world() -> (World, Arc<Tap>) {
    let store = Tap::new();
    let config = Config::new(BASE).unwrap();
    (World::over(store.clone(), VirtualClock::default(), config, 1).await, store)
}

fn down() -> StoreError {
    StoreError::Unavailable("the test said so".to_owned())
}

/// Lets the commit with this number fail, counted from 0, and no other.
fn fail_at(store: &Tap, number: usize, fault: fn(StoreError) -> Fault) {
    let mut seen = 0;
    store.on_commit(move |_| {
        seen += 1;
        if seen == number + 1 { fault(down()) } else { Fault::None }
    });
}

#[tokio::test]
async fn a_grant_is_there_whole_or_not_at_all() {
    // Rule: belay 20.4 — a grant whose commit failed is answered as an error and is not half there
    for fault in [Fault::Before as fn(StoreError) -> Fault, Fault::After] {
        for number in 0..5 {
            let (world, store) = world().await;
            let parent = world.grant("test.echo", "", "").await;
            let id = world.server.local_id(&parent.cap).unwrap();
            fail_at(&store, number, fault);
            let request = GrantRequest::parse("test.echo", "", "", "").unwrap();
            let root = world.server.grant(request).await;
            let child = world.server.wrap(id.expose(), Limits::default(), Label::default()).await;
            store.on_commit(|_| Fault::None);
            let mut whole = 1;
            for granted in [root, child] {
                match granted {
                    Ok(granted) => {
                        whole += 1;
                        assert_eq!(world.call("GET", &granted.cap, "").await.status, 200);
                    }
                    Err(error) => assert_eq!(error, GrantError::Store(down())),
                }
            }
            let listed = world.server.list(None, 10).await.unwrap().grants;
            // One that was committed though the store said otherwise is listed, so that it can be
            // revoked.
            assert!((whole..=3).contains(&listed.len()), "{number}: {listed:?}");
            assert!(listed.iter().all(|info| info.state == GrantState::Live));
        }
    }
}

#[tokio::test]
async fn an_invocation_that_was_not_counted_is_not_made() {
    // Rule: belay 20.6 — counting comes first: if it fails the operation is not invoked
    let (world, store) = world().await;
    let granted = world.grant("test.echo", "", r#"{"uses":5}"#).await;
    for fault in [Fault::Before as fn(StoreError) -> Fault, Fault::After] {
        store.on_commit(move |_| fault(down()));
        world.call("GET", &granted.cap, "").await.is_failure(503, "unavailable");
        store.on_commit(|_| Fault::None);
    }
    assert_eq!(world.echo.invoked.load(Ordering::SeqCst), 0);
    let left = world.server.status(&granted.handle).await.unwrap().uses_left;
    assert_eq!(left, Some(4), "the second commit took a use");
    fail_at(&store, 0, |_| Fault::Before(StoreError::Retry("busy".to_owned())));
    assert_eq!(world.call("GET", &granted.cap, "").await.status, 200);
}

#[tokio::test]
async fn a_revocation_that_was_not_answered_is_confirmed_by_a_commit_of_its_own() {
    // Rule: belay 20.6 — a revocation is answered after its commit, also one that finds itself done
    let (world, store) = world().await;
    let granted = world.grant("test.echo", "", "").await;
    store.on_commit(|_| Fault::After(down()));
    assert_eq!(world.server.revoke(&granted.handle).await, Err(AdminError::Store(down())));
    world.call("GET", &granted.cap, "").await.is_failure(404, "not found");
    // Nobody was told so far: what can't be stored is not confirmed, though it looks done.
    store.on_commit(|_| Fault::Before(down()));
    assert_eq!(world.server.revoke(&granted.handle).await, Err(AdminError::Store(down())));
    store.on_commit(|_| Fault::None);
    assert_eq!(world.server.revoke(&granted.handle).await, Ok(Revoked::Already));
}

#[tokio::test]
async fn a_revocation_is_confirmed_only_when_it_is_stored() {
    // Rule: belay 20.6 — a revocation is answered after its commit
    let (world, store) = world().await;
    let granted = world.grant("test.echo", "", "").await;
    store.on_commit(|_| Fault::Before(down()));
    assert_eq!(world.server.revoke(&granted.handle).await, Err(AdminError::Store(down())));
    world.call("DELETE", &granted.control, "").await.is_failure(503, "unavailable");
    store.on_commit(|_| Fault::None);
    assert_eq!(world.call("GET", &granted.cap, "").await.status, 200);
    // The commit that revokes, and whatever is done afterwards in the background fails.
    let mut first = true;
    store.on_commit(
        move |_| if std::mem::take(&mut first) { Fault::None } else { Fault::Before(down()) },
    );
    assert_eq!(world.call("DELETE", &granted.control, "").await.status, 200);
    assert_eq!(world.call("GET", &granted.cap, "").await.status, 404);
}
