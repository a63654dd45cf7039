//! One message through all four doors, each driven by a client that is not ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod tracing;

use buswire_integration_tests::{Gateway, Site, again, curl, fleet_size, python, until};
use serde_json::{Value, json};

/// The messages that a capability reads, or its status if it answers otherwise.
fn read_cap(url: &str) -> Result<Vec<Value>, u16> {
    let reply = curl(url).send();
    if reply.status != 200 {
        return Err(reply.status);
    }
    Ok(reply.json()["value"]["messages"].as_array().unwrap().clone())
}

pub(crate) fn grant(gateway: &Gateway, kind: &str, target: &Value) -> Value {
    let granted = gateway.admin(&["cap", "grant", kind, "--target", &target.to_string()]);
    serde_json::from_str(&granted).unwrap()
}

#[test]
fn a_message_crosses_backplane_majordomo_simplepush_and_belay() {
    let gateway = Gateway::spawn();
    let site = Site::create(&gateway, "shop.example", &[]);
    let visit = site.visit(&gateway);
    let order = format!("bus:shop.example channel:{} type:order/new", visit.channel);
    let answer = format!("bus:shop.example channel:{} type:order/answer", visit.channel);

    // Majordomo: a pyzmq worker; SimplePush: a user agent on `websockets`.
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "orders", "json"]);
    assert_eq!(worker.json()["event"], "ready");
    let mut agent = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    assert_eq!(agent.json()["status"], 200);
    agent.say(r#"{"messageType":"register","channelID":"8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b11"}"#);
    let endpoint = agent.json()["pushEndpoint"].as_str().unwrap().to_owned();

    let push = format!("push:{endpoint}");
    let work = ["route", "create", "work", "--scope", &order, "--sink", "mdp:orders"];
    gateway.admin(&[&work[..], &["--reply-type", "order/answer"]].concat());
    gateway.admin(&["route", "create", "ring", "--scope", &answer, "--sink", &push]);
    let target = json!({"bus": "shop.example", "channel": visit.channel});
    let granted = grant(&gateway, "bus.read", &target);
    let cap = granted["cap"].as_str().unwrap();

    // Backplane: curl posts, and long-polls with the anonymous token for the answer.
    site.post(&gateway, &visit.channel, "order/new", r#"{"tickets":2}"#);
    let request = until("the worker gets the order", || {
        Some(worker.json()).filter(|line| line["event"] == "request")
    });
    assert_eq!(request["body"], json!([r#"{"tickets":2}"#]));
    let notification = agent.json();
    assert_eq!(notification["messageType"], "notification");
    let version = notification["updates"][0]["version"].as_u64().unwrap();
    assert!(version < 1 << 53, "exact in a browser");
    let url = gateway.url(&format!("/v2/messages?access_token={}&block=20", visit.token));
    let headers = until("the browser sees both headers", || {
        let messages = curl(&url).send().json()["messages"].as_array().unwrap().clone();
        Some(messages).filter(|messages| messages.len() == 2)
    });
    assert_eq!([&headers[0]["type"], &headers[1]["type"]], ["order/new", "order/answer"]);
    assert!(headers.iter().all(|header| header.get("payload").is_none()), "headers only");

    // Belay: a link reads both; when it is revoked it reads nothing.
    let messages = read_cap(cap).unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[1]["payload"], json!({"seen": {"tickets": 2}}));
    gateway.admin(&["cap", "revoke", granted["handle"].as_str().unwrap()]);
    assert_eq!(read_cap(cap), Err(404));
}

#[test]
fn capabilities_publish_and_call() {
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "shop.example"]);
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "orders", "json"]);
    assert_eq!(worker.json()["event"], "ready");

    let target = json!({"bus": "shop.example", "channel": "orders"});
    let publish = grant(&gateway, "bus.publish", &target);
    let body = r#"{"value":{"type":"order/new","payload":{"tickets":1}}}"#;
    let reply = curl(publish["cap"].as_str().unwrap()).method("POST").json(body).send();
    assert_eq!(reply.status, 200, "{}", reply.body);
    let id = reply.json()["value"]["id"].as_str().unwrap().to_owned();
    let read = grant(&gateway, "bus.read", &target);
    let messages = read_cap(read["cap"].as_str().unwrap()).unwrap();
    assert_eq!((messages.len(), &messages[0]["id"]), (1, &json!(id)));

    let call = grant(&gateway, "rpc.call", &json!({"service": "orders"}));
    let call = call["cap"].as_str().unwrap();
    let reply = until("the worker is registered", || {
        let reply = curl(call).method("POST").json(r#"{"value":{"n":7}}"#).send();
        Some(reply).filter(|reply| reply.status == 200)
    });
    assert_eq!(reply.json(), json!({"value": {"seen": {"n": 7}}}));
    assert_eq!(curl(call).send().status, 405, "rpc.call has no GET");
}

#[test]
fn a_route_goes_on_after_a_kill_and_repeats_nothing_on_a_bus() {
    let mut gateway = Gateway::spawn();
    for bus in ["from.example", "to.example"] {
        gateway.admin(&["bus", "create", bus]);
    }
    let create = ["route", "create", "copy", "--scope", "bus:from.example", "--sink"];
    gateway.admin(&[&create[..], &["bus:to.example", "--from", "beginning"]].concat());
    let publish = |gateway: &Gateway, n: usize| {
        let payload = n.to_string();
        let message = ["--channel", "c", "--type", "t", "--payload", &payload];
        gateway.admin(&[&["message", "publish", "--bus", "from.example"], &message[..]].concat())
    };
    for round in 0..3 {
        for n in 0..4 {
            publish(&gateway, round * 4 + n);
        }
        gateway.kill();
        gateway.start();
    }
    let tail = ["message", "tail", "--scope", "bus:to.example", "--since", "beginning"];
    let lines = gateway.admin(&[&tail[..], &["--count", "12"]].concat());
    let payloads: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["payload"].as_u64().unwrap())
        .collect();
    assert_eq!(payloads, (0..12).collect::<Vec<_>>());
    let target = json!({"bus": "to.example", "channel": "c"});
    let read = grant(&gateway, "bus.read", &target);
    assert_eq!(read_cap(read["cap"].as_str().unwrap()).unwrap().len(), 12, "each exactly once");
}

#[test]
fn a_route_whose_service_is_missing_waits_for_it() {
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "shop.example"]);
    let scope = "bus:shop.example type:order/new";
    let create = ["route", "create", "work", "--scope", scope, "--sink", "mdp:orders"];
    gateway.admin(&[&create[..], &["--reply-type", "order/answer", "--timeout", "200ms"]].concat());
    let message = ["--channel", "c", "--type", "order/new", "--payload", "1"];
    gateway.admin(&[&["message", "publish", "--bus", "shop.example"], &message[..]].concat());
    // One gateway tries; of several each waits, since none has the service.
    until("the first attempt failed, or the route waits", || {
        let shown = gateway.admin(&["route", "show", "work", "--output", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let waits = fleet_size() > 1 && shown["state"] == "waiting";
        (shown["failed_attempts"].as_u64() > Some(0) || waits).then_some(())
    });
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "orders", "json"]);
    assert_eq!(worker.json()["event"], "ready");
    let scope = "bus:shop.example type:order/answer";
    let tail = ["message", "tail", "--scope", scope, "--since", "beginning", "--count", "1"];
    let answer: Value = serde_json::from_str(&gateway.admin(&tail)).unwrap();
    assert_eq!(answer["payload"], json!({"seen": 1}));
}

#[test]
fn messages_cross_when_each_request_goes_to_any_gateway() {
    again(
        3,
        &[
            "a_message_crosses_backplane_majordomo_simplepush_and_belay",
            "a_route_goes_on_after_a_kill_and_repeats_nothing_on_a_bus",
        ],
    );
}
