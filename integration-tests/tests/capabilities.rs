//! Capabilities as sinks of routes, and from Majordomo.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{Gateway, curl, python};
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
    let (here, there) = (Gateway::spawn(), Gateway::spawn());
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

#[test]
fn majordomo_clients_publish_read_and_invoke_with_a_capability() {
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "b"]);
    let target = json!({"bus": "b", "channel": "c"});
    let granted = grant(&gateway, "bus.publish", &target);
    let (write, read) = (granted["cap"].as_str().unwrap(), grant(&gateway, "bus.read", &target));
    let read = read["cap"].as_str().unwrap();
    let call = |service: &str, frames: &[&str]| {
        let endpoint = gateway.bound().mdp.as_str();
        let answer = python("mdp_client", &[&[endpoint, service], frames].concat()).json();
        let answer: Vec<String> = serde_json::from_value(answer).unwrap();
        assert_eq!(answer[..2], ["MDPC01".to_owned(), service.to_owned()]);
        (answer[2].clone(), answer[3].clone())
    };
    let message = r#"{"type":"t","payload":{"n":1}}"#;
    let (status, id) = call("bus.publish", &[write, message]);
    assert_eq!((status.as_str(), id.len()), ("200", 35));
    let (status, body) = call("bus.read", &[read, ""]);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status.as_str(), &body["messages"][0]["id"]), ("200", &json!(id)));
    assert_eq!(call("cap.invoke", &[write, "POST", message]).0, "200");
    // A capability of another kind, a method that it has not, one that is unknown, and nonsense.
    assert_eq!(call("bus.publish", &[read, message]), ("403".into(), "forbidden".into()));
    assert_eq!(call("cap.invoke", &[write, "GET"]).0, "405");
    let unknown = gateway.url(&format!("/cap/{}", "A".repeat(43)));
    assert_eq!(call("bus.read", &[&unknown, ""]), ("404".into(), "not found".into()));
    assert_eq!(call("bus.publish", &[write, "{"]), ("400".into(), "bad request".into()));
    gateway.admin(&["cap", "revoke", granted["handle"].as_str().unwrap()]);
    assert_eq!(call("bus.publish", &[write, message]).0, "404");
    assert_eq!(curl(read).send().json()["value"]["messages"].as_array().unwrap().len(), 2);
}
