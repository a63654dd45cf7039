//! Channels that the first post binds to a bus, for pages of the twelfth draft (Backplane §7.2).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use buswire_backplane::{ChannelBinding, Config};
use buswire_message::Retention;
use support::{Answer, Door, Visit, bus, config, put_bus};

/// A door that lets the first post bind, and the visit of a page that names no bus.
async fn unbound() -> (Door, Visit) {
    let channel_binding = ChannelBinding::FirstPostToo;
    let door = Door::start_with(Config { channel_binding, ..config() }, Retention::default()).await;
    put_bus(&door.backplane, "other.example", Retention::default()).await;
    let client = "comments-svc".parse().unwrap();
    door.backplane.grant(&client, &[bus("other.example")]).await.unwrap();
    let visit = Visit::read(&door.get("/v2/token?callback=f").await);
    (door, visit)
}

async fn post(door: &Door, token: &str, bus: &str, visit: &Visit) -> Answer {
    let channel = &visit.channel;
    let body =
        format!(r#"{{"message":{{"type":"t","bus":"{bus}","channel":"{channel}","payload":1}}}}"#);
    door.post_message(token, &body).await
}

async fn read(door: &Door, visit: &Visit, query: &str) -> Answer {
    door.get(&format!("/v2/messages?access_token={}{query}", visit.access)).await
}

#[tokio::test]
async fn a_request_without_a_bus_is_refused_unless_it_is_allowed() {
    let door = Door::start().await;
    let refused = door.get("/v2/token?callback=f").await.unpadded();
    assert_eq!(refused["error"], "invalid_request");
    let (_door, visit) = unbound().await;
    // Rule: backplane §10.1 — a page of the twelfth draft gets "scope":"channel:…" where that is allowed
    assert_eq!(visit.scope, format!("channel:{}", visit.channel));
}

#[tokio::test]
async fn the_first_accepted_post_binds_the_channel() {
    let (door, visit) = unbound().await;
    let empty = read(&door, &visit, "&block=25").await.json();
    assert_eq!(empty["messages"], serde_json::json!([]));
    let (token, _) = door.client_tokens().await;
    // What is refused binds nothing.
    let narrow = door.token_request("grant_type=client_credentials&scope=type:x").await.json();
    let narrow = narrow["access_token"].as_str().unwrap();
    assert_eq!(post(&door, narrow, "other.example", &visit).await.status, 403);
    // Rule: backplane §7.2 — with allow_unbound_channels the first accepted post binds, atomically
    let (one, other) = tokio::join!(
        post(&door, &token, "gazette.example", &visit),
        post(&door, &token, "other.example", &visit),
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403]);
    let bound = if one.status == 201 { "gazette.example" } else { "other.example" };
    let page = read(&door, &visit, "").await.json();
    assert_eq!(
        (page["messages"].as_array().unwrap().len(), &page["messages"][0]["bus"]),
        (1, &bound.into())
    );
    let url = page["messages"][0]["messageURL"].as_str().unwrap();
    let path = url.strip_prefix("https://bp.example.net").unwrap();
    assert_eq!(door.get(&format!("{path}?access_token={}", visit.access)).await.status, 200);
    let channels = door.backplane.channels(&bus(bound), None, 10).await.unwrap();
    assert_eq!(channels[0].name.as_str(), visit.channel);
}

#[tokio::test]
async fn a_refresh_keeps_the_binding_and_a_deleted_bus_ends_it() {
    let (door, visit) = unbound().await;
    let refresh = async |visit: &Visit| {
        door.get(&format!("/v2/token?callback=f&refresh_token={}", visit.refresh)).await
    };
    let visit = Visit::read(&refresh(&visit).await);
    let (token, _) = door.client_tokens().await;
    assert_eq!(post(&door, &token, "other.example", &visit).await.status, 201);
    let visit = Visit::read(&refresh(&visit).await);
    assert_eq!(visit.scope, format!("channel:{}", visit.channel));
    assert_eq!(read(&door, &visit, "").await.json()["messages"][0]["bus"], "other.example");
    assert_eq!(post(&door, &token, "gazette.example", &visit).await.status, 403);
    assert!(door.backplane.delete_bus(&bus("other.example"), None).await.unwrap());
    assert_eq!(read(&door, &visit, "").await.status, 403);
    assert_eq!(refresh(&visit).await.unpadded()["error_description"], "invalid token");
}
