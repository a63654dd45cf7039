//! Granting, wrapping and controlling over HTTP (Belay §20.5 to §20.9, §25.8).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use buswire_belay::{Bcap, GrantRequest, Granted, Origin, RegrantKey};
use buswire_message::Door;
use common::{Answer, BASE, World, path_of};
use serde_json::{Value, json};

const GRANTOR: &str = r#"{"kinds":["test.echo"]}"#;

/// The three members of a grant reply.
struct Made {
    cap: Bcap,
    control: Bcap,
    handle: String,
}

fn made(answer: &Answer) -> Made {
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let value = json["value"].as_object().unwrap();
    assert_eq!(value.len(), 3);
    let cap = |name: &str| {
        let reference = value[name].as_object().unwrap();
        assert_eq!(reference.len(), 1);
        Bcap::restore(reference["@"].as_str().unwrap())
    };
    Made {
        cap: cap("cap"),
        control: cap("control"),
        handle: value["handle"].as_str().unwrap().to_owned(),
    }
}

fn wrapped(value: &Value) -> String {
    json!({ "value": value }).to_string()
}

async fn ask(world: &World, grantor: &Bcap, request: Value) -> Answer {
    world.call("POST", grantor, &wrapped(&request)).await
}

async fn wrap(world: &World, of: &Bcap, limits: Value, label: &str) -> Answer {
    let request = json!({"of": {"@": of.expose()}, "limits": limits, "label": label});
    world.send("POST", "/belay/wrap", &wrapped(&request)).await
}

async fn status(world: &World, control: &Bcap) -> Value {
    let answer = world.call("GET", control, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["value"].clone()
}

#[tokio::test]
async fn the_worked_example_grants_attenuates_and_revokes() {
    // Rule: belay 20.5 — POST to a grantor answers cap, control and handle
    // Rule: belay 20.8 — whoever holds a capability may wrap it, with no other authority
    // Rule: belay 20.6 — DELETE on the control capability kills the grant and all below it
    let world = World::new().await;
    let grantor = world.grant("grantor", r#"{"kinds":["bus.publish"]}"#, "").await;
    let body = r#"{"value":{"kind":"bus.publish","target":{"bus":"b1","channel":"orders"},
        "limits":{"types":["order/new"],"expires":"2030-01-01T00:00:00Z"},"label":"shop front"}}"#;
    let a = made(&world.call("POST", &grantor.cap, body).await);
    assert!(a.handle.starts_with("g_"));
    let body = format!(
        r#"{{"value":{{"of":{{"@":"{}"}},"limits":{{"uses":3}},"label":"courier"}}}}"#,
        a.cap.expose()
    );
    let c = made(&world.send("POST", "/belay/wrap", &body).await);
    let order = r#"{"value":{"type":"order/new"}}"#;
    let other = r#"{"value":{"type":"order/gone"}}"#;
    for cap in [&a.cap, &c.cap] {
        assert_eq!(world.call("POST", cap, order).await.status, 200);
        world.call("POST", cap, other).await.is_failure(403, "forbidden");
    }
    let deleted = world.call("DELETE", &a.control, "").await;
    assert_eq!((deleted.status, deleted.body.as_str()), (200, ""));
    for dead in [&a.cap, &c.cap] {
        world.call("POST", dead, order).await.is_failure(404, "not found");
    }
    for dead in [&a.control, &c.control] {
        world.call("DELETE", dead, "").await.is_failure(404, "not found");
    }
}

#[tokio::test]
async fn a_grantor_fails_closed() {
    // Rule: belay 20.5 — unknown kinds or members are 400, authority beyond the grantor's is 403
    let world = World::new().await;
    let target = r#"{"kinds":["test.echo","bus.publish"],"channels":["orders.*"],
                     "targets":{"test.echo":{"methods":["GET"]}}}"#;
    let grantor = world.grant("grantor", target, "").await;
    let good = json!({"channel": "orders.eu", "methods": ["GET"]});
    for (request, status) in [
        (json!({"kind": "test.echo", "target": good}), 200),
        (json!({"kind": "nothing", "target": good}), 400),
        (json!({"kind": "wrap", "target": good}), 400),
        (json!({"kind": "test.echo", "target": good, "limit": {}}), 400),
        (json!({"kind": "test.echo", "target": good, "limits": {"use": 1}}), 400),
        (json!({"kind": "test.echo", "target": {"chanel": "orders.eu"}}), 400),
        (json!({"target": good}), 400),
        (json!({"kind": "test.wait", "target": good}), 403),
        (json!({"kind": "grantor", "target": {"kinds": ["test.echo"]}}), 403),
        (json!({"kind": "test.echo", "target": {"channel": "x", "methods": ["GET"]}}), 403),
        (json!({"kind": "test.echo", "target": {"channel": "orders.eu"}}), 403),
        (json!({"kind": "test.echo", "target": {"methods": ["GET"]}}), 403),
        (json!({"kind": "test.echo", "target": good, "detached": true}), 403),
        (json!({"kind": "test.echo", "target": good, "detached": 1}), 400),
    ] {
        let answer = ask(&world, &grantor.cap, request.clone()).await;
        assert_eq!(answer.status, status, "{request}");
    }
    assert_eq!(world.call("POST", &grantor.cap, "").await.status, 400);
    assert_eq!(world.call("PUT", &grantor.cap, r#"{"value":1}"#).await.status, 405);
    let described = world.call("GET", &grantor.cap, "").await.json();
    assert_eq!(described["value"]["kinds"], json!(["bus.publish", "test.echo"]));
}

#[tokio::test]
async fn limits_of_a_grantor_are_a_ceiling() {
    // Rule: belay 20.5 — limits of a grant are intersected with the grantor's
    let world = World::new().await;
    let target = r#"{"kinds":["test.echo"],"limits":{"methods":["GET","POST"],"uses":2}}"#;
    let grantor = world.grant("grantor", target, r#"{"expires":"2024-03-09T14:06:00Z"}"#).await;
    let request = json!({"kind": "test.echo", "limits": {"methods": ["GET", "PUT"], "uses": 9}});
    let granted = made(&ask(&world, &grantor.cap, request).await);
    let put = world.call("PUT", &granted.cap, r#"{"value":1}"#).await;
    assert_eq!((put.status, put.header("allow")), (405, Some("GET, HEAD")));
    for status in [200, 200, 404] {
        assert_eq!(world.call("GET", &granted.cap, "").await.status, status);
    }
    let granted = made(&ask(&world, &grantor.cap, json!({"kind": "test.echo"})).await);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.call("GET", &granted.cap, "").await.status, 404);
}

#[tokio::test]
async fn grants_die_with_their_grantor_but_not_with_its_uses() {
    // Rule: belay 20.5 — revoking a grantor kills what it granted, unless it was detached
    let world = World::new().await;
    let target = r#"{"kinds":["test.echo"],"detached":true}"#;
    let grantor = world.grant("grantor", target, r#"{"uses":2}"#).await;
    let below = made(&ask(&world, &grantor.cap, json!({"kind": "test.echo"})).await);
    let request = json!({"kind": "test.echo", "detached": true});
    let apart = made(&ask(&world, &grantor.cap, request).await);
    let third = ask(&world, &grantor.cap, json!({"kind": "test.echo"})).await;
    third.is_failure(404, "not found");
    assert_eq!(world.call("GET", &below.cap, "").await.status, 200);
    world.server.set_suspended(&grantor.handle, true).await.unwrap();
    assert_eq!(world.call("GET", &below.cap, "").await.status, 404);
    world.server.set_suspended(&grantor.handle, false).await.unwrap();
    assert_eq!(world.call("GET", &below.cap, "").await.status, 200);
    world.call("DELETE", &grantor.control, "").await;
    assert_eq!(world.call("GET", &below.cap, "").await.status, 404);
    assert_eq!(world.call("GET", &apart.cap, "").await.status, 200);
}

#[tokio::test]
async fn a_regrant_rotates() {
    // Rule: belay 20.7 — a regrant of the same request gives a new id and the old one dies
    let world = World::new().await;
    let grantor = world.grant("grantor", GRANTOR, "").await;
    let request = |label: &str| json!({"kind": "test.echo", "label": label, "regrant": true});
    let first = made(&ask(&world, &grantor.cap, request("a")).await);
    let other = made(&ask(&world, &grantor.cap, request("b")).await);
    let second = made(&ask(&world, &grantor.cap, request("a")).await);
    assert_ne!(first.cap, second.cap);
    for (cap, status) in [(&first.cap, 404), (&second.cap, 200), (&other.cap, 200)] {
        assert_eq!(world.call("GET", cap, "").await.status, status);
    }
    let plain = json!({"kind": "test.echo", "label": "a"});
    made(&ask(&world, &grantor.cap, plain).await);
    assert_eq!(world.call("GET", &second.cap, "").await.status, 200);
    // A rotation leaves one, however many there were.
    let third = made(&ask(&world, &grantor.cap, request("a")).await);
    assert_eq!(world.call("GET", &second.cap, "").await.status, 404);
    assert_eq!(world.call("GET", &third.cap, "").await.status, 200);
}

#[tokio::test]
async fn a_stable_regrant_gives_the_same_url() {
    // Rule: belay 20.7 — a stable regrant gives the same URL; two that fit are 409; none grants
    // Rule: belay 17 — grant then regrant gives one URL; grant, grant, regrant is ambiguous; revoked gives nothing
    // Rule: belay 18 D24 — an ambiguous regrant is 409
    let target = r#"{"kinds":["test.echo"],"regrant":"stable"}"#;
    let without_key = World::new().await;
    let request = GrantRequest::parse("grantor", target, "", "").unwrap();
    assert!(without_key.server.grant(request).await.is_err());
    let world = World::with(|mut config| {
        config.regrant_key = Some(RegrantKey::new(1, [7; 32]));
        config
    })
    .await;
    let grantor = world.grant("grantor", target, "").await;
    let again = json!({"kind": "test.echo", "label": "a", "regrant": true});
    let plain = json!({"kind": "test.echo", "label": "a"});
    let first = made(&ask(&world, &grantor.cap, again.clone()).await);
    let second = made(&ask(&world, &grantor.cap, again.clone()).await);
    assert_eq!((&first.cap, &first.control), (&second.cap, &second.control));
    assert_eq!(first.handle, second.handle);
    assert_eq!(world.call("GET", &second.cap, "").await.status, 200);
    let other = made(&ask(&world, &grantor.cap, plain).await);
    assert_ne!(other.cap, first.cap);
    ask(&world, &grantor.cap, again.clone()).await.is_failure(409, "ambiguous regrant");
    world.call("DELETE", &first.control, "").await;
    let third = made(&ask(&world, &grantor.cap, again).await);
    assert_eq!(third.cap, other.cap);
    assert_eq!(world.call("GET", &first.cap, "").await.status, 404);
    // Rule: belay 19 row 15 — a regrant fits what was granted for the same target alone
    let elsewhere =
        json!({"kind": "test.echo", "target": {"channel": "c"}, "label": "a", "regrant": true});
    let elsewhere = made(&ask(&world, &grantor.cap, elsewhere).await);
    assert_ne!(elsewhere.cap, third.cap);
}

#[tokio::test]
async fn every_grant_is_distinct() {
    // Rule: belay 1 — granting the same item twice gives two separately revocable capabilities
    let world = World::new().await;
    let grantor = world.grant("grantor", GRANTOR, "").await;
    let request = json!({"kind": "test.echo", "label": "same"});
    let one = made(&ask(&world, &grantor.cap, request.clone()).await);
    let other = made(&ask(&world, &grantor.cap, request).await);
    world.call("DELETE", &one.control, "").await;
    assert_eq!(world.call("GET", &one.cap, "").await.status, 404);
    assert_eq!(world.call("GET", &other.cap, "").await.status, 200);
}

#[tokio::test]
async fn wrapping_has_rules() {
    // Rule: belay 20.8 — of must be local to this gateway and alive; unknown members are refused
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    let dead = world.grant("test.echo", "", "").await;
    world.server.revoke(&dead.handle).await.unwrap();
    let remote = Bcap::restore("https://other.example/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936");
    for (of, status) in
        [(&granted.cap, 200), (&dead.cap, 404), (&remote, 400), (&granted.control, 403)]
    {
        assert_eq!(wrap(&world, of, json!({}), "").await.status, status);
    }
    for bad in [
        json!({}),
        json!({"of": granted.cap.expose()}),
        json!({"of": {"@": granted.cap.expose()}, "labl": "x"}),
        json!({"of": {"@": granted.cap.expose()}, "limits": {"use": 1}}),
    ] {
        let answer = world.send("POST", "/belay/wrap", &wrapped(&bad)).await;
        answer.is_failure(400, "bad request");
    }
    let got = world.send("GET", "/belay/wrap", "").await;
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn a_wrap_never_widens_and_dies_alone() {
    // Rule: belay 6.7 — revoking the wrapper leaves the inner working, revoking the inner kills both
    let world = World::new().await;
    let granted = world.grant("test.echo", "", r#"{"methods":["GET","POST"],"maxBytes":20}"#).await;
    let limits = json!({"methods": ["GET", "PUT", "POST", "DELETE"], "maxBytes": 1000});
    let child = made(&wrap(&world, &granted.cap, limits, "").await);
    assert_eq!(world.call("DELETE", &child.cap, "").await.status, 405);
    let long = r#"{"value":"xxxxxxxxxxxxxxxxxxxxx"}"#;
    assert_eq!(world.call("POST", &child.cap, long).await.status, 413);
    let read_only = made(&wrap(&world, &child.cap, json!({"readOnly": true}), "").await);
    assert_eq!(world.call("POST", &read_only.cap, r#"{"value":1}"#).await.status, 405);
    assert_eq!(world.call("GET", &read_only.cap, "").await.status, 200);
    world.call("DELETE", &child.control, "").await;
    for (cap, status) in [(&granted.cap, 200), (&child.cap, 404), (&read_only.cap, 404)] {
        assert_eq!(world.call("GET", cap, "").await.status, status);
    }
}

#[tokio::test]
async fn chains_and_rates_of_wraps_are_bounded() {
    // Rule: belay 20.6 — a chain has at most 32 grants
    let world = World::new().await;
    let mut last: Granted = world.grant("test.echo", "", "").await;
    for _ in 1..32 {
        last = world.wrap(&last.cap, "").await;
    }
    assert_eq!(world.call("GET", &last.cap, "").await.status, 200);
    wrap(&world, &last.cap, json!({}), "").await.is_failure(403, "forbidden");
    // Rule: belay 20.8 — wraps are rate-limited per parent
    let root = world.grant("test.echo", "", "").await;
    for _ in 0..100 {
        world.wrap(&root.cap, "").await;
    }
    let limited = wrap(&world, &root.cap, json!({}), "").await;
    limited.is_failure(429, "too many requests");
    assert_eq!(limited.header("retry-after"), Some("1"));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(wrap(&world, &root.cap, json!({}), "").await.status, 200);
}

#[tokio::test]
async fn what_is_derived_is_bounded_at_all_depths_together() {
    let world = World::with(|mut config| {
        config.derived_max = 3;
        config.target_bytes_max = 100;
        config
    })
    .await;
    let head = world.grant("test.echo", "", "").await;
    let child = world.wrap(&head.cap, r#"{"expires":"2024-03-09T14:05:22Z"}"#).await;
    world.wrap(&child.cap, "").await;
    world.wrap(&head.cap, "").await;
    wrap(&world, &child.cap, json!({}), "").await.is_failure(403, "forbidden");
    wrap(&world, &head.cap, json!({}), "").await.is_failure(403, "forbidden");
    let other = world.grant("test.echo", "", "").await;
    assert_eq!(wrap(&world, &other.cap, json!({}), "").await.status, 200);
    // Two of the three expire, which makes room.
    world.clock.advance(Duration::from_secs(1));
    for status in [200, 200, 403] {
        assert_eq!(wrap(&world, &head.cap, json!({}), "").await.status, status);
    }
    let grantor = world.grant("grantor", GRANTOR, "").await;
    let long = "x".repeat(100);
    let request = json!({"kind": "test.echo", "target": {"channel": long}});
    ask(&world, &grantor.cap, request).await.is_failure(400, "bad request");
}

#[tokio::test]
async fn the_control_capability_shows_and_changes_its_grant() {
    // Rule: belay 20.9 — GET on the control capability summarises the grant
    // Rule: belay 20.2 — PUT on the control capability changes label and suspension
    let world = World::new().await;
    let parent = world.grant("test.echo", "", "").await;
    let limits = json!({"uses": 3, "expires": "2030-01-01T00:00:00Z"});
    let child = made(&wrap(&world, &parent.cap, limits, "courier").await);
    assert_eq!(world.call("GET", &child.cap, "").await.status, 200);
    assert_eq!(
        status(&world, &child.control).await,
        json!({
            "handle": child.handle, "kind": "wrap", "label": "courier", "state": "live",
            "created": "2024-03-09T14:05:21.000Z", "expires": "2030-01-01T00:00:00.000Z",
            "usesLeft": 2, "parent": parent.handle.as_str(), "children": 0, "invocations": 1,
            "lastUsed": "2024-03-09T14:05:21.000Z",
        })
    );
    let shown = status(&world, &parent.control).await;
    assert_eq!((&shown["kind"], &shown["children"]), (&json!("test.echo"), &json!(1)));
    assert_eq!((&shown["parent"], &shown["lastUsed"]), (&Value::Null, &Value::Null));

    let put = |body: &'static str| world.call("PUT", &parent.control, body);
    assert_eq!(put(r#"{"value":{"label":"new","suspended":true}}"#).await.status, 200);
    let shown = status(&world, &parent.control).await;
    assert_eq!((&shown["label"], &shown["state"]), (&json!("new"), &json!("suspended")));
    assert_eq!(world.call("GET", &child.cap, "").await.status, 404);
    assert_eq!(status(&world, &child.control).await["state"], json!("suspended"));
    assert_eq!(put(r#"{"value":{"suspended":false}}"#).await.status, 200);
    assert_eq!(world.call("GET", &child.cap, "").await.status, 200);
    assert_eq!(world.call("GET", &child.cap, "").await.status, 200);
    assert_eq!(status(&world, &child.control).await["state"], json!("exhausted"));
    for bad in [r#"{"value":{"labl":"x"}}"#, r#"{"value":{"suspended":1}}"#, r#"{"value":5}"#, ""] {
        put(bad).await.is_failure(400, "bad request");
    }
    let post = world.call("POST", &parent.control, r#"{"value":1}"#).await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD, PUT, DELETE")));
}

#[tokio::test]
async fn revoking_by_handle_can_be_repeated() {
    // Rule: belay 20.6 — revoking by the operator is idempotent
    use buswire_belay::{AdminError, GrantState, Revoked};
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    assert_eq!(world.server.revoke(&granted.handle).await, Ok(Revoked::Now));
    assert_eq!(world.server.revoke(&granted.handle).await, Ok(Revoked::Already));
    let unknown = "g_aaaaaaaaaaaaaaaa".parse().unwrap();
    assert_eq!(world.server.revoke(&unknown).await, Err(AdminError::NotFound));
    let listed = world.server.list(None, 10).await.unwrap().grants;
    assert_eq!((listed.len(), listed[0].state), (1, GrantState::Revoked));
    assert_eq!(world.server.list(Some("x"), 10).await, Err(AdminError::BadCursor));
}

#[tokio::test]
async fn ids_of_the_reply_work_at_the_configured_prefix() {
    // Rule: belay 16.1 — the prefix is configurable and begins and ends with a slash
    // Rule: belay 18 D11 — the prefix is /cap/ unless it is set
    let world = World::with(|config| config.with_prefix("/caps/").unwrap()).await;
    let granted = world.grant("test.echo", "", "").await;
    assert!(granted.cap.expose().starts_with(&format!("{BASE}/caps/")));
    assert_eq!(world.call("GET", &granted.cap, "").await.status, 200);
    let id = path_of(granted.cap.expose()).strip_prefix("/caps/").unwrap();
    assert_eq!(world.send("GET", &format!("/cap/{id}"), "").await.status, 404);
}

#[tokio::test]
async fn a_door_can_insist_on_a_kind() {
    use buswire_belay::{BcapError, Method};
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    let id = world.server.local_id(&granted.cap).unwrap();
    let control = world.server.local_id(&granted.control).unwrap();
    let get = |kind, id| {
        let origin = Origin::new(Door::Belay);
        world.server.invoke_as(origin, kind, id, Method::Get, None)
    };
    assert!(get("test.echo", id.expose()).await.is_ok());
    assert_eq!(get("bus.publish", id.expose()).await, Err(BcapError::Forbidden));
    assert_eq!(get("test.echo", control.expose()).await, Err(BcapError::Forbidden));
    let with_data = world.server.invoke(id.expose(), Method::Get, Some(true.into())).await;
    assert_eq!(with_data, Err(BcapError::BadRequest));
}
