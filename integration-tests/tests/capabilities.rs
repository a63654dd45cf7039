//! Capabilities as sinks of routes, and from Majordomo.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::Gateway;
use serde_json::{Value, json};

fn grant(gateway: &Gateway, kind: &str, target: &Value) -> Value {
    let granted = gateway.admin(&["cap", "grant", kind, "--target", &target.to_string()]);
    serde_json::from_str(&granted).unwrap()
}

fn publish(gateway: &Gateway, bus: &str, payload: &str) {
    let message = ["--channel", "c", "--type", "t", "--payload", payload];
    gateway.admin(&[&["message", "publish", "--bus", bus], &message[..]].concat());
}

fn tail(gateway: &Gateway, bus: &str, count: &str) -> Vec<Value> {
    let scope = format!("bus:{bus}");
    let tail = ["message", "tail", "--scope", &scope, "--since", "beginning", "--count", count];
    let lines = gateway.admin(&tail);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_route_invokes_a_capability_of_its_own_gateway() {
    let gateway = Gateway::spawn();
    for bus in ["from.example", "to.example"] {
        gateway.admin(&["bus", "create", bus]);
    }
    let granted = grant(&gateway, "bus.publish", &json!({"bus": "to.example", "channel": "d"}));
    let sink = format!("cap:{}", granted["cap"].as_str().unwrap());
    let create = ["route", "create", "r", "--scope", "bus:from.example type:t", "--sink", &sink];
    gateway.admin(&[&create[..], &["--reply-type", "receipt"]].concat());
    publish(&gateway, "from.example", r#"{"n":1.50}"#);
    let copies = tail(&gateway, "to.example", "1");
    assert_eq!((&copies[0]["channel"], &copies[0]["payload"]), (&json!("d"), &json!({"n": 1.5})));
    // What the capability answers is published where the message was.
    let receipt = &tail(&gateway, "from.example", "2")[1];
    assert_eq!(
        (&receipt["type"], &receipt["payload"]["id"]),
        (&json!("receipt"), &copies[0]["id"])
    );
    let shown = gateway.admin(&["route", "show", "r"]);
    let id = sink.rsplit('/').next().unwrap();
    assert!(!shown.contains(id), "the link is not shown: {shown}");
}

#[test]
fn a_route_invokes_a_capability_of_another_gateway_until_it_is_revoked() {
    let there = Gateway::spawn();
    // The other gateway is on loopback and without TLS, which must be allowed.
    let here = Gateway::builder()
        .set("belay.egress.allow_http", "true")
        .set("belay.egress.allow", r#"["127.0.0.1"]"#)
        .start();
    here.admin(&["bus", "create", "from.example"]);
    there.admin(&["bus", "create", "to.example"]);
    let granted = grant(&there, "bus.publish", &json!({"bus": "to.example", "channel": "d"}));
    let sink = format!("cap:{}", granted["cap"].as_str().unwrap());
    here.admin(&["route", "create", "r", "--scope", "bus:from.example", "--sink", &sink]);
    publish(&here, "from.example", "1");
    assert_eq!(tail(&there, "to.example", "1")[0]["payload"], 1);
    there.admin(&["cap", "revoke", granted["handle"].as_str().unwrap()]);
    publish(&here, "from.example", "2");
    let dead = buswire_integration_tests::until("the second message is a dead letter", || {
        let shown = here.admin(&["route", "show", "r", "--output", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["dead_letters"].as_u64().filter(|dead| *dead > 0)
    });
    assert_eq!(dead, 1);
}
