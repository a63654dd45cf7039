//! How a grant stands, as doors ask that act under it after the invocation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use buswire_belay::{Handle, Standing};
use common::World;

const TARGET: &str = r#"{"bus":"b1"}"#;

async fn word(world: &World, handle: &Handle) -> &'static str {
    match world.server.standing(handle).await.unwrap() {
        Standing::Current { .. } => "current",
        Standing::Dormant => "dormant",
        Standing::Ended => "ended",
    }
}

#[tokio::test]
async fn a_grant_stands_as_its_whole_chain_does() {
    // Rule: belay 20.6 — what is derived from a grant is suspended and revoked with it
    let world = World::new().await;
    let root = world.grant("bus.publish", TARGET, "").await;
    let child = world.wrap(&root.cap, r#"{"channels":["orders"],"uses":1}"#).await;
    let Standing::Current { kind, target, bounds } =
        world.server.standing(&child.handle).await.unwrap()
    else {
        panic!("it is current");
    };
    assert_eq!(kind.as_str(), "bus.publish");
    assert_eq!(target.as_object().unwrap().get("bus").unwrap().as_str(), Some("b1"));
    assert!(bounds.admits("orders", "t") && !bounds.admits("other", "t"));

    let order = r#"{"value":{"type":"order/new","channel":"orders"}}"#;
    assert_eq!(world.call("POST", &child.cap, order).await.status, 200);
    assert_eq!(world.call("POST", &child.cap, order).await.status, 404, "its use is taken");
    assert_eq!(word(&world, &child.handle).await, "current", "whatever its uses");
    world.server.set_suspended(&root.handle, true).await.unwrap();
    assert_eq!(word(&world, &child.handle).await, "dormant");
    world.server.set_suspended(&root.handle, false).await.unwrap();
    assert_eq!(word(&world, &child.handle).await, "current");
    world.server.revoke(&root.handle).await.unwrap();
    for handle in [&root.handle, &child.handle, &"g_aaaaaaaaaaaaaaaa".parse().unwrap()] {
        assert_eq!(word(&world, handle).await, "ended");
    }
}

#[tokio::test]
async fn a_grant_stands_between_its_beginning_and_its_end() {
    // Rule: belay 20.8 — a capability is alive from notBefore on, and while the time is before expires
    let world = World::new().await;
    let at = |seconds| {
        let now = buswire_message::Clock::now(&world.clock);
        now.saturating_add(Duration::from_secs(seconds)).to_rfc3339().to_string()
    };
    let limits = format!(r#"{{"notBefore":"{}","expires":"{}"}}"#, at(10), at(20));
    let granted = world.grant("bus.publish", TARGET, &limits).await;
    for expected in ["dormant", "current", "ended"] {
        assert_eq!(word(&world, &granted.handle).await, expected);
        world.clock.advance(Duration::from_secs(10));
    }
}
