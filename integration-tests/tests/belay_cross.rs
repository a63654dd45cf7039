//! One page on a site of its own, with one capability for each transport; and the other transports with
//! capabilities of that page (Belay §20.1, the crossing of §1).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use buswire_integration_tests::{
    Gateway, GatewayBuilder, Peer, Running, Shop, binary, chromium, eval, python, text_when,
    value_when,
};
use serde_json::{Value, json};
use thirtyfour::WebDriver;

struct World {
    gateway: Gateway,
    page: WebDriver,
    _shop: Shop,
    _driver: Running,
}

impl World {
    /// A gateway with a bus, and a browser that shows a page of a shop.
    async fn start(gateway: GatewayBuilder) -> Self {
        let gateway = gateway.start();
        gateway.admin(&["bus", "create", "shop"]);
        let shop = Shop::start(&gateway).await;
        let (driver, page) = chromium().await;
        page.goto(shop.url("shop", "/")).await.unwrap();
        text_when(&page, "#told", |text| text == "nobody yet").await;
        Self { gateway, page, _shop: shop, _driver: driver }
    }

    fn grant(&self, kind: &str, target: &Value) -> String {
        let target = target.to_string();
        let granted = self.gateway.admin(&["cap", "grant", kind, "--target", &target]);
        let granted: Value = serde_json::from_str(&granted).unwrap();
        granted["cap"].as_str().unwrap().to_owned()
    }

    /// What a capability gives the page: `call` is such as `post({ a: 1 })`.
    async fn invoke(&self, cap: &str, call: &str) -> Value {
        let cap = json!(cap);
        eval(&self.page, &format!("capServer.restore({cap}).{call}")).await.unwrap()
    }

    /// What the page grants, as whoever it is handed to holds it.
    async fn granted_by_page(&self, item: &str) -> String {
        let cap = eval(&self.page, &format!("capServer.grant({item}).serialize()")).await.unwrap();
        let cap = cap.as_str().unwrap().to_owned();
        assert!(cap.starts_with("urn:x-cap:"), "{cap}");
        cap
    }

    /// The frames that an MDP service answers, without header and name.
    fn call(&self, service: &str, frames: &[&str]) -> Vec<String> {
        let address = self.gateway.bound().mdp.as_str();
        let client = python("mdp_client", &[&[address, service], frames].concat());
        let frames: Vec<String> = serde_json::from_value(client.json()).unwrap();
        frames[2..].to_vec()
    }

    fn publish(&self, kind: &str, payload: &str) {
        let message = ["--channel", "orders", "--type", kind, "--payload", payload];
        let publish = ["message", "publish", "--bus", "shop"];
        self.gateway.admin(&[&publish[..], &message[..]].concat());
    }
}

/// `{"service": NAME}` answered by a command, as anybody would start one.
fn worker(gateway: &Gateway, name: &str, command: &[&str]) -> Peer {
    let port = gateway.bound().mdp.rsplit_once(':').unwrap().1.to_owned();
    let serve = ["mdp", "cmd-service", name, "--port", &port, "--"];
    Peer::start(Command::new(binary()).args(serve).args(command))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_uses_every_transport_with_one_capability_each() {
    let world = World::start(Gateway::builder()).await;
    let target = json!({"bus": "shop", "channel": "orders"});
    // Rule: belay 20.2 — bus.publish and bus.read, from a page by the library
    let publish = world.grant("bus.publish", &target);
    let order = "post({ type: 'order/new', payload: { item: 'two tickets' } })";
    let id = world.invoke(&publish, order).await["id"].clone();
    let read = world.invoke(&world.grant("bus.read", &target), "get()").await;
    let message = &read["messages"][0];
    assert_eq!((&message["id"], &message["payload"]), (&id, &json!({"item": "two tickets"})));

    // Rule: belay 20.2 — rpc.call, from a page by the library
    let _worker = worker(&world.gateway, "confirm", &["/usr/bin/printf", r#"{"confirmed":%s}"#]);
    let confirm = world.grant("rpc.call", &json!({"service": "confirm"}));
    let confirmed = world.invoke(&confirm, "post({ order: 7 })").await;
    assert_eq!(confirmed, json!({"confirmed": {"order": 7}}));

    // Rule: belay 20.2 — push.notify, from a page by the library
    let script = world.gateway.url("/simplepush.js");
    let load = format!(
        "new Promise((resolve) => {{ const script = document.createElement('script'); \
         script.src = {}; script.onload = resolve; document.head.append(script); }}) \
         .then(() => navigator.push.register())",
        json!(script)
    );
    let endpoint = eval(&world.page, &load).await.unwrap();
    let listen = "navigator.setMessageHandler('push', ({ version }) => { window.rang = version; })";
    eval(&world.page, listen).await.unwrap();
    let ring = world.grant("push.notify", &json!({ "endpoint": endpoint }));
    let told = world.invoke(&ring, "post({ version: 7 })").await;
    assert_eq!(told["version"].to_string().trim_matches('"'), "7");
    value_when(&world.page, "window.rang", |version| *version == json!(7)).await;
    world.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_transports_use_capabilities_of_a_window() {
    let world = World::start(Gateway::builder()).await;
    // What a route brings is a message, as `bus.publish` takes it.
    let take = "({ payload: { item } }) => { (window.items = window.items || []).push(item); return { taken: item }; }";
    let window = world.granted_by_page(take).await;
    // Rule: belay 22.4 — the gateway invokes a window's capability over the relay: a route delivers a bus into it
    let sink = format!("cap:{window}");
    let create = ["route", "create", "r", "--scope", "bus:shop type:order/new", "--sink", &sink];
    world.gateway.admin(&[&create[..], &["--reply-type", "order/taken"]].concat());
    world.publish("order/new", r#"{"item":"a hat"}"#);
    value_when(&world.page, "window.items", |items| *items == json!(["a hat"])).await;
    let scope = ["message", "tail", "--scope", "bus:shop type:order/taken", "--since", "beginning"];
    let taken = world.gateway.admin(&[&scope[..], &["--count", "1"]].concat());
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!(taken["payload"], json!({"taken": "a hat"}));

    // Rule: mdp gateway services — cap.invoke invokes capabilities of this gateway and of windows
    let coat = r#"{"payload":{"item":"a coat"}}"#;
    let posted = world.call("cap.invoke", &[&window, "POST", coat]);
    assert_eq!(posted, ["200", r#"{"taken":"a coat"}"#]);
    let publish = world.grant("bus.publish", &json!({"bus": "shop", "channel": "orders"}));
    let message = r#"{"type":"order/new","payload":{"item":"a scarf"}}"#;
    let published = world.call("cap.invoke", &[&publish, "POST", message]);
    assert_eq!(published[0], "200");
    let all = json!(["a hat", "a coat", "a scarf"]);
    value_when(&world.page, "window.items", |items| *items == all).await;

    // Rule: belay 6.9 — a page that revokes its capability ends it for other transports too
    eval(&world.page, &format!("capServer.revoke({})", json!(window))).await.unwrap();
    let refused = world.call("cap.invoke", &[&window, "POST", coat]);
    assert_eq!(refused, ["404", "not found"]);
    world.page.quit().await.unwrap();
}
