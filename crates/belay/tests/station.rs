//! The directory of memberships and the pages for people, spoken to in raw bytes (Belay §13, §21.7).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use buswire_belay::{Bcap, Config, GrantRequest, SealKeys, Station};
use buswire_message::Clock as _;
use buswire_store::{Direction, KeyRange, Partition};
use common::{Answer, World};
use futures::future::join_all;
use serde_json::{Value, json};

const TARGET: &str = r#"{"directory":"ann"}"#;
const LAUNCH: &str = "https://shop.example/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936";

const INSTANCE: &str = "926c0c63-b02a-40a9-a19f-edb19190c143";

struct Home {
    world: World,
    cap: Bcap,
}

impl Home {
    async fn new() -> Self {
        let sealed = |mut config: Config| {
            config.seal_keys = Some(SealKeys::new(1, [7; 32]));
            config
        };
        let world = World::with(sealed).await;
        world.server.register(Station::KIND, Station::new(&world.server)).unwrap();
        let cap = world.grant(Station::KIND, TARGET, "").await.cap;
        Self { world, cap }
    }

    async fn post(&self, request: Value) -> Answer {
        self.world.call("POST", &self.cap, &json!({ "value": request }).to_string()).await
    }

    async fn add(&self, name: &str) -> Value {
        let added = self.post(json!({"add": {"launch": {"@": LAUNCH}, "name": name}})).await;
        assert_eq!(added.status, 200, "{added:?}");
        added.json()["value"].clone()
    }

    async fn list(&self, cap: &Bcap) -> Vec<Value> {
        let listed = self.world.call("GET", cap, "").await.json();
        listed["value"]["memberships"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn memberships_are_kept_relabelled_and_forgotten() {
    // Rule: belay 13.3 — a station stores launch capability, name, icon, section and time of a membership under an id of its own
    let home = Home::new().await;
    let new = json!({"add": {"launch": {"@": LAUNCH}, "name": "Shop", "icon": "data:image/png;base64,AA==",
        "section": "Work", "control": {"@": format!("{LAUNCH}x")}}});
    let shop = home.post(new).await.json()["value"].clone();
    let id = shop["id"].as_str().unwrap();
    assert_eq!((id.len(), id.get(14..15)), (36, Some("4")), "a v4 UUID");
    let expected = json!({"id": id, "launch": {"@": LAUNCH}, "control": {"@": format!("{LAUNCH}x")},
        "name": "Shop", "icon": "data:image/png;base64,AA==", "section": "Work",
        "created": null, "instance": null, "opened": null});
    let mut created = expected.clone();
    created["created"] = shop["created"].clone();
    assert_eq!(shop, created);
    home.world.clock.advance(Duration::from_secs(60));
    let mail = home.add("Mail").await;
    assert_eq!(home.list(&home.cap).await, [shop.clone(), mail.clone()]);

    for (request, member, value) in [
        (json!({"change": {"id": id, "name": "Corner shop"}}), "name", "Corner shop"),
        (json!({"change": {"id": id, "section": ""}}), "section", ""),
        (json!({"change": {"id": id, "icon": "/i.png"}}), "icon", "/i.png"),
        (json!({"opened": {"id": id, "instance": INSTANCE}}), "instance", INSTANCE),
        (
            json!({"opened": {"id": id, "instance": INSTANCE}}),
            "opened",
            mail["created"].as_str().unwrap(),
        ),
    ] {
        let changed = home.post(request).await;
        assert_eq!((changed.status, changed.body.as_str()), (200, ""));
        assert_eq!(home.list(&home.cap).await[0][member], value);
    }
    for _ in 0..2 {
        assert_eq!(home.post(json!({"remove": {"id": id}})).await.status, 200, "removed or gone");
        assert_eq!(home.list(&home.cap).await, std::slice::from_ref(&mail));
    }
    home.post(json!({"opened": {"id": id, "instance": INSTANCE}}))
        .await
        .is_failure(400, "bad request");
}

#[tokio::test]
async fn a_directory_is_seen_by_its_holders_alone() {
    // Rule: belay 13.3 — launch capabilities show to whoever holds the station capability, narrowed as it was granted
    let home = Home::new().await;
    let shop = home.add("Shop").await;
    // Rule: belay 23.10 — secrets are kept at the server behind one capability, which can be replaced
    let again = home.world.grant(Station::KIND, TARGET, "").await;
    assert_eq!(home.list(&again.cap).await, std::slice::from_ref(&shop));
    let other = home.world.grant(Station::KIND, r#"{"directory":"bob"}"#, "").await;
    assert_eq!(home.list(&other.cap).await, Vec::<Value>::new());
    let reader = home.world.wrap(&home.cap, r#"{"methods":["GET"]}"#).await;
    assert_eq!(home.list(&reader.cap).await, [shop]);
    let refused = home.world.call("POST", &reader.cap, r#"{"value":{}}"#).await;
    refused.is_failure(405, "method not allowed");
    let listed = home.world.server.list(None, 10).await.unwrap();
    assert!(!format!("{listed:?}").contains("shop.example"), "administrators see no launch");

    for target in ["", r#"{"directory":""}"#, r#"{"directory":"A"}"#, r#"{"directory":"a","x":1}"#]
    {
        let request = GrantRequest::parse(Station::KIND, target, "", "").unwrap();
        assert!(home.world.server.grant(request).await.is_err(), "{target}");
    }
}

#[tokio::test]
async fn memberships_are_sealed_in_the_store() {
    // Rule: belay 23.10 — launch capabilities are stored encrypted
    let home = Home::new().await;
    home.add("Shop").await;
    let (store, now) = (&home.world.store, home.world.clock.now());
    let partition = Partition::new("cap/station/ann").unwrap();
    let all = store.scan(&partition, KeyRange::prefix(b"m/"), 10, Direction::Ascending, now);
    let rows = all.await.unwrap().rows;
    let row = String::from_utf8(rows[0].1.value.as_bytes().unwrap().to_vec()).unwrap();
    assert!(row.starts_with("1.") && !row.contains("shop"), "{row}");
}

#[tokio::test]
async fn what_is_not_understood_is_refused() {
    // Rule: belay 13.3 — a description holds a launch capability, a name and an icon that loads from nowhere else
    let home = Home::new().await;
    let launch = json!({"@": LAUNCH});
    for bad in [
        json!({}),
        json!({"add": {"launch": launch}}),
        json!({"add": {"launch": launch, "name": ""}}),
        json!({"add": {"launch": LAUNCH, "name": "Shop"}}),
        json!({"add": {"launch": launch, "name": "Shop", "extra": 1}}),
        json!({"add": {"launch": launch, "name": "Shop", "icon": "https://shop.example/i.png"}}),
        json!({"add": {"launch": {"@": format!("{LAUNCH}{}", "x".repeat(2048))}, "name": "Shop"}}),
        json!({"add": {"launch": launch, "name": "Shop"}, "remove": {}}),
        json!({"change": {"id": "7D9F1C52-3B6E-4F08-A1D4-2C85E07B9936"}}),
        json!({"remove": {}}),
        json!({"opened": {"id": INSTANCE}}),
        json!("add"),
    ] {
        home.post(bad.clone()).await.is_failure(400, "bad request");
    }
    home.world.call("POST", &home.cap, "").await.is_failure(400, "bad request");
    assert_eq!(
        home.world.call("DELETE", &home.cap, "").await.header("allow"),
        Some("GET, HEAD, POST")
    );
    assert_eq!(home.list(&home.cap).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_directory_is_bounded_whoever_fills_it() {
    // Rule: belay 23.11 — a directory has a bound, also for those who fill it at the same time
    let home = Home::new().await;
    for some in 0..13 {
        let adding = (0..10).map(|one| {
            let add = json!({"add": {"launch": {"@": LAUNCH}, "name": format!("{some}.{one}")}});
            home.post(add)
        });
        let statuses: Vec<u16> = join_all(adding).await.iter().map(|it| it.status).collect();
        let expected = if some < 12 { 200 } else { 403 };
        assert_eq!(statuses, [expected; 10]);
    }
    let full = home.list(&home.cap).await;
    assert_eq!(full.len(), 120);
    home.post(json!({"remove": {"id": full[0]["id"]}})).await;
    home.add("one more").await;
    assert_eq!(home.list(&home.cap).await.len(), 120);
}

#[tokio::test]
async fn a_link_is_described_without_being_used() {
    // Rule: belay 21.7 — looking at a one-use capability in user form does not consume it
    let home = Home::new().await;
    let world = &home.world;
    let once = world.grant("test.echo", "", r#"{"methods":["GET","POST"],"uses":1}"#).await;
    let of = |cap: &Bcap| json!({"value": {"@": cap.expose()}}).to_string();
    for _ in 0..3 {
        let described = world.send("POST", "/belay/describe", &of(&once.cap)).await;
        let expected = json!({"value": {"kind": "test.echo", "label": "", "methods": ["GET", "POST"],
            "expires": null, "usesLeft": 1}});
        assert_eq!((described.status, described.json()), (200, expected));
    }
    assert_eq!(world.call("GET", &once.cap, "").await.status, 200);
    let dead = world.send("POST", "/belay/describe", &of(&once.cap)).await;
    dead.is_failure(404, "not found");
    // A use is one of every level that counts.
    let twice = world.grant("test.echo", "", r#"{"uses":2}"#).await;
    let child = world.wrap(&twice.cap, r#"{"uses":5,"readOnly":true}"#).await;
    let described = world.send("POST", "/belay/describe", &of(&child.cap)).await.json();
    assert_eq!(described["value"]["usesLeft"], 2);
    assert_eq!(described["value"]["methods"], json!(["GET"]));
    let control = world.send("POST", "/belay/describe", &of(&child.control)).await.json();
    let expected = json!({"kind": "control", "label": "", "methods": ["GET", "PUT", "DELETE"]});
    assert_eq!(control["value"], expected);

    for bad in [json!({"value": LAUNCH}), json!({"value": {"@": LAUNCH}}), json!({"value": null})] {
        let refused = world.send("POST", "/belay/describe", &bad.to_string()).await;
        refused.is_failure(400, "bad request");
    }
}

#[tokio::test]
async fn pages_are_static_and_shut_off() {
    // Rule: belay 21.7 — the user form is a static, cacheable page that sends no referrer
    let world = World::new().await;
    for (path, kind) in [
        ("/belay/open", "text/html; charset=utf-8"),
        ("/belay/open.js", "text/javascript; charset=utf-8"),
        ("/belay/page.css", "text/css; charset=utf-8"),
        ("/belay/station", "text/html; charset=utf-8"),
        ("/belay/station/loading", "text/html; charset=utf-8"),
        ("/belay/station.js", "text/javascript; charset=utf-8"),
        ("/belay/station.css", "text/css; charset=utf-8"),
    ] {
        let page = world.send("GET", path, "").await;
        assert_eq!((page.status, page.header("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("x-robots-tag"), Some("noindex"));
        assert_eq!(page.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(page.header("cache-control"), Some("public, no-cache"));
        assert_eq!(page.header("set-cookie"), None);
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
        for part in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIf-None-Match: {}\r\n\r\n",
            page.header("etag").unwrap()
        );
        let cached = world.raw(&request).await;
        assert_eq!((cached.status, cached.body.as_str()), (304, ""));
    }
    let page = world.send("GET", "/belay/open", "").await.body;
    assert!(page.contains(r#"data-caps="https://gw.example/cap/""#));
}
