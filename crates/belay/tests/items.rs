//! The kinds `record` and `named`, and grants in the form of a UUID.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use buswire_belay::{
    Bcap, BcapValue, GrantError, GrantRequest, Label, Limits, Method, RegisterError, RegrantKey,
    RequestError, TargetError,
};
use common::{Answer, World};
use serde_json::{Value, json};

async fn with_key() -> World {
    World::with(|mut config| {
        config.regrant_key = Some(RegrantKey::new(1, [7; 32]));
        config
    })
    .await
}

async fn record(world: &World, bcaps: &str, limits: &str) -> (buswire_belay::Granted, Bcap) {
    let facet = world.grant("test.echo", r#"{"channel":"a"}"#, "{}").await;
    let target = json!({"facets": {"echo": {"@": facet.cap.expose()}}, "bcaps": bcaps});
    (world.grant("record", &target.to_string(), limits).await, facet.cap)
}

fn facet(answer: &Answer) -> Bcap {
    assert_eq!(answer.status, 200, "{answer:?}");
    Bcap::restore(answer.json()["value"]["echo"]["@"].as_str().unwrap())
}

#[tokio::test]
async fn a_record_gives_its_facets_and_only_forwarders_to_them() {
    // Rule: belay 20.2 — GET on a record gives a record of capabilities; other methods are 405
    // Rule: belay 23.5 — what a record gives can be revoked with it: it is not what it holds
    let world = with_key().await;
    let (granted, held) = record(&world, "stable", "{}").await;
    let given = facet(&world.call("GET", &granted.cap, "").await);
    assert_ne!(given, held);
    let said = world.call("GET", &given, "").await;
    assert_eq!((said.status, said.body.as_str()), (200, r#"{"value":{"channel":"a"}}"#));
    let posted = world.call("POST", &granted.cap, r#"{"value":1}"#).await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    world.server.revoke(&granted.handle).await.unwrap();
    world.call("GET", &given, "").await.is_failure(404, "not found");
    assert_eq!(world.call("GET", &held, "").await.status, 200);
}

#[tokio::test]
async fn a_stable_record_gives_the_same_and_a_fresh_one_gives_others() {
    // Rule: belay 20.2 — a record gives stable or fresh capabilities, as its target says
    let world = with_key().await;
    let (stable, _) = record(&world, "stable", "{}").await;
    let (fresh, _) = record(&world, "fresh", "{}").await;
    let twice = async |cap: &Bcap| {
        let (one, two) = (world.call("GET", cap, "").await, world.call("GET", cap, "").await);
        (facet(&one), facet(&two))
    };
    let (one, two) = twice(&stable.cap).await;
    assert_eq!(one, two);
    let (one, two) = twice(&fresh.cap).await;
    assert_ne!(one, two);
    assert_eq!(world.server.status(&fresh.handle).await.unwrap().children, 2);
    assert_eq!(world.server.status(&stable.handle).await.unwrap().children, 1);
}

#[tokio::test]
async fn a_wrapped_record_gives_wrapped_facets() {
    // Rule: belay 23.7 — a wrap of a record is deep: what it returns has its limits and dies with it
    let world = with_key().await;
    let (granted, _) = record(&world, "stable", "{}").await;
    let whole = facet(&world.call("GET", &granted.cap, "").await);
    assert_eq!(world.call("POST", &whole, r#"{"value":{"channel":"b"}}"#).await.status, 200);
    let narrow = world.wrap(&granted.cap, r#"{"readOnly":true,"channels":["a"]}"#).await;
    let view = facet(&world.call("GET", &narrow.cap, "").await);
    assert_eq!(world.call("GET", &view, "").await.status, 200);
    assert_eq!(world.call("POST", &view, r#"{"value":1}"#).await.status, 405);
    let narrow = world.wrap(&granted.cap, r#"{"channels":["a"]}"#).await;
    let view = facet(&world.call("GET", &narrow.cap, "").await);
    assert_eq!(world.call("POST", &view, r#"{"value":{"channel":"a"}}"#).await.status, 200);
    assert_eq!(world.call("POST", &view, r#"{"value":{"channel":"b"}}"#).await.status, 403);
    world.server.revoke(&narrow.handle).await.unwrap();
    assert_eq!(world.call("GET", &view, "").await.status, 404);
    assert_eq!(world.call("GET", &whole, "").await.status, 200);
}

#[tokio::test]
async fn a_record_reached_through_a_narrower_capability_stays_narrow() {
    // Rule: belay 23.7 — limits follow through a capability that forwards to a record
    let world = with_key().await;
    let (granted, _) = record(&world, "stable", "{}").await;
    facet(&world.call("GET", &granted.cap, "").await);
    let target = json!({"url": {"@": granted.cap.expose()}}).to_string();
    let outer = world.grant("url", &target, r#"{"channels":["a"]}"#).await;
    let view = facet(&world.call("GET", &outer.cap, "").await);
    assert_eq!(world.call("POST", &view, r#"{"value":{"channel":"b"}}"#).await.status, 403);
}

#[tokio::test]
async fn a_record_without_a_key_must_be_fresh() {
    let world = World::new().await;
    let target = json!({"facets": {}}).to_string();
    let request = GrantRequest::parse("record", &target, "", "").unwrap();
    let refused = RequestError::Target(TargetError::BadMember("bcaps"));
    assert_eq!(world.server.grant(request).await, Err(GrantError::Request(refused)));
}

async fn named(world: &World, name: &str, args: Value) -> buswire_belay::Granted {
    let args = args.as_array().unwrap().iter().cloned();
    let args = args.map(|json| BcapValue::from_json(json).unwrap()).collect();
    world.server.grant_named(name, args, Limits::default(), Label::default()).await.unwrap()
}

#[tokio::test]
async fn a_name_means_what_is_registered_under_it() {
    // Rule: belay 20.2 — named is a registered name and arguments, with the methods of its handler
    // Rule: belay 6.10 — without a handler a named grant is 404, and works once there is one
    let world = World::new().await;
    let granted = named(&world, "reader", json!([{"channel": "a"}])).await;
    world.call("GET", &granted.cap, "").await.is_failure(404, "not found");
    world.server.set_named_handler("reader", world.wait.clone()).unwrap();
    let refused = world.call("DELETE", &granted.cap, "").await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST")));
    world.server.set_named_handler("reader", std::sync::Arc::new(common::Args)).unwrap();
    let said = world.call("GET", &granted.cap, "").await;
    assert_eq!(said.json(), json!({"value": [{"channel": "a"}]}));
    // Asked for by a request, a name must be known, and its handler checks the arguments.
    let ask = async |target: Value| {
        let request = GrantRequest::parse("named", &target.to_string(), "", "").unwrap();
        world.server.grant(request).await.map(drop)
    };
    assert_eq!(ask(json!({"name": "reader", "args": []})).await, Ok(()));
    assert_eq!(ask(json!({"name": "other", "args": []})).await, Err(GrantError::UnknownKind));
    let refused = RequestError::Target(TargetError::NotAnObject);
    let asked = ask(json!({"name": "reader", "args": [1]})).await;
    assert_eq!(asked, Err(GrantError::Request(refused)));
    assert_eq!(world.server.set_named_handler("", world.wait.clone()), Err(RegisterError::Name));
    assert_eq!(world.server.register("named", world.wait.clone()), Err(RegisterError::Reserved));
}

#[tokio::test]
async fn names_are_revoked_by_their_arguments_and_everything_at_once() {
    // Rule: belay 20.3 — revoke_named revokes the grants of a name whose arguments match
    // Rule: belay 20.3 — revoke_all revokes everything that was granted
    let world = World::new().await;
    for name in ["reader", "other"] {
        world.server.set_named_handler(name, std::sync::Arc::new(common::Args)).unwrap();
    }
    let [a, b] = [json!([{"of": "a"}]), json!([{"of": "b"}])];
    let granted =
        [named(&world, "reader", a.clone()), named(&world, "reader", b), named(&world, "other", a)];
    let granted = futures::future::join_all(granted).await;
    let child = world.wrap(&granted[0].cap, "{}").await;
    let is_a =
        |args: &[BcapValue]| args[0].as_object().unwrap().get("of").unwrap().as_str() == Some("a");
    assert_eq!(world.server.revoke_named("reader", is_a).await, Ok(1));
    let mut statuses = Vec::new();
    for cap in granted.iter().map(|granted| &granted.cap).chain([&child.cap]) {
        statuses.push(world.call("GET", cap, "").await.status);
    }
    assert_eq!(statuses, [404, 200, 200, 404]);
    assert_eq!(world.server.revoke_all().await, Ok(2));
    assert_eq!(world.call("GET", &granted[1].cap, "").await.status, 404);
    assert_eq!(world.server.revoke_all().await, Ok(0));
}

fn is_uuid(cap: &Bcap) -> bool {
    let id = cap.expose().rsplit('/').next().unwrap();
    let shape = id.char_indices().all(|(at, c)| match at {
        8 | 13 | 18 | 23 => c == '-',
        14 => c == '4',
        19 => "89ab".contains(c),
        _ => c.is_ascii_digit() || ('a'..='f').contains(&c),
    });
    id.len() == 36 && shape
}

#[tokio::test]
async fn a_grantor_may_issue_ids_in_the_form_of_a_uuid() {
    // Rule: belay 21.2 — a grantor may be told to issue UUID-shaped ids, and the lookup accepts them
    let world = with_key().await;
    let target = r#"{"kinds":["test.echo"],"form":"uuid"}"#;
    let grantor = world.grant("grantor", target, "{}").await;
    let answer = world.call("POST", &grantor.cap, r#"{"value":{"kind":"test.echo"}}"#).await;
    let value = &answer.json()["value"];
    let [cap, control] =
        ["cap", "control"].map(|it| Bcap::restore(value[it]["@"].as_str().unwrap()));
    assert!(is_uuid(&cap) && is_uuid(&control) && !is_uuid(&grantor.cap));
    assert_eq!(world.call("GET", &cap, "").await.status, 200);
    assert_eq!(world.call("GET", &control, "").await.status, 200);
    let description = world.call("GET", &grantor.cap, "").await.json();
    assert_eq!(description["value"]["form"], "uuid");
    for bad in [r#"{"kinds":[],"form":"x"}"#, r#"{"kinds":[],"form":"uuid","regrant":"stable"}"#] {
        let request = GrantRequest::parse("grantor", bad, "", "").unwrap();
        let refused = RequestError::Target(TargetError::BadMember("form"));
        assert_eq!(world.server.grant(request).await, Err(GrantError::Request(refused)));
    }
    let id = world.server.local_id(&cap).unwrap();
    assert!(world.server.invoke(id.expose(), Method::Get, None).await.is_ok());
}
