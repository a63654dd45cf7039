//! An in-process instance that invokes capabilities of an HTTP server (Belay §6.6).
#![cfg(feature = "egress")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::Arc;

use buswire_belay::{
    Allowed, Egress, EgressConfig, EgressPolicy, Members, SystemResolver,
    instance::{CapServer, Capability, Failure, InvokeError},
};
use buswire_store::system::SystemEntropy;
use common::World;

/// An instance that may ask what `allow` names beyond public addresses.
fn instance(allow: &[&str]) -> CapServer {
    let allow = allow.iter().map(|text| text.parse::<Allowed>().unwrap()).collect();
    let policy = EgressPolicy { allow_http: true, allow };
    let config = EgressConfig { policy, ..EgressConfig::default() };
    let id = "https://instance.example";
    let id = buswire_belay::InstanceId::parse(id).unwrap();
    let server = CapServer::new(id, Arc::new(SystemEntropy));
    server.set_transport(Arc::new(Egress::new(config, Arc::new(SystemResolver)).unwrap()));
    server
}

async fn failure(cap: &Capability) -> Failure {
    match cap.get().await {
        Err(InvokeError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_instance_uses_capabilities_of_a_server() {
    // Rule: belay 6.6 — a URL is invoked by HTTP with the same method; 200 to 299 is success
    // Rule: belay 16.2 — a client sends no headers of its own, its body is text/plain
    let world = World::new().await;
    let granted = world.grant("test.echo", r#"{"channel":"orders"}"#, "").await;
    let server = instance(&["127.0.0.1"]);
    let cap = server.restore(world.url_of(&granted.cap));
    let lent = server.wrap(&cap).unwrap();
    for cap in [&cap, &lent] {
        let orders = Members::new().with("channel", "orders");
        assert_eq!(cap.get().await, Ok(Some(orders.into())));
        assert_eq!(cap.post("x").await, Ok(Some("x".into())));
        assert_eq!(cap.put("x").await, Ok(()));
        assert_eq!(cap.remove().await, Ok(()));
    }
    // Rule: belay 6.6 — any other status is a failure with that status
    let write_only = world.grant("test.echo", "", r#"{"methods":["POST"]}"#).await;
    let write_only = server.restore(world.url_of(&write_only.cap));
    assert_eq!(failure(&write_only).await, Failure::new(405, "method not allowed"));
    world.server.revoke(&granted.handle).await.unwrap();
    for cap in [&cap, &lent] {
        assert_eq!(failure(cap).await, Failure::new(404, "not found"));
    }
}

#[tokio::test]
async fn an_instance_asks_only_whom_it_may() {
    // Rule: belay 23 — an instance goes out under the egress policy too
    // Rule: belay 7.2 — without any HTTP answer the status is 0 and the reason network
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    let url = world.url_of(&granted.cap);
    let refused = failure(&instance(&[]).restore(url.as_str())).await;
    assert_eq!((refused.status(), refused.reason()), (0, Some("network")));
    drop(world);
    let gone = failure(&instance(&["127.0.0.1"]).restore(url.as_str())).await;
    assert_eq!((gone.status(), gone.message()), (0, ""));
}
