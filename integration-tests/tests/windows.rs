//! Windows at the relay of the real gateway, as clients of other people see it (Belay §22.4, §22.5).
//!
//! Windows are programs on PyPI's `websockets` and on npm's `ws`, and bytes on a socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use buswire_integration_tests::{Gateway, Peer, Single, curl, python, until};
use serde_json::{Value, json};

const TEMPORARY: &str = "926c0c63-b02a-40a9-a19f-edb19190c143";
const HASHED: &str = "66c6bd1f4cda24069debe0efa2193f64baeae867";
const PREIMAGE: &str = "eba68eea-75f2-4b05-b87a-08365cc58043";
const CAP: &str = "d859f7a0-4008-4c35-a99a-b7a23a5fc35d";

/// A window whose messages are written out here.
struct Window(Peer);

impl Window {
    fn open(gateway: &Gateway) -> Self {
        Self(python("push_client", &[&url(gateway)]))
    }

    fn ask(&mut self, message: &Value) -> Value {
        self.say(message);
        self.0.json()
    }

    fn say(&mut self, message: &Value) {
        self.0.say(&message.to_string());
    }

    fn register(&mut self, id: &str, proof: Option<&str>) -> Value {
        match proof {
            Some(proof) => self.ask(&json!({"op": "register", "id": id, "proof": proof})),
            None => self.ask(&json!({"op": "register", "id": id})),
        }
    }

    /// The token of an id that is now its own.
    fn resume_token(&mut self, id: &str, proof: Option<&str>) -> String {
        let answer = self.register(id, proof);
        answer["resume"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

fn url(gateway: &Gateway) -> String {
    format!("ws://{}/belay/relay", gateway.bound().http)
}

/// A window that doubles what is posted to it.
fn doubling_window(gateway: &Gateway) -> Peer {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/js/window.mjs");
    let window = Peer::start(Command::new("node").args([script, &url(gateway), HASHED, PREIMAGE]));
    assert_eq!(window.json()["op"], "registered");
    window
}

fn invoke(tx: u64, id: &str, method: &str, data: Option<&str>) -> Value {
    let ser = format!("urn:x-cap:{id}:{CAP}");
    let mut message = json!({"op": "invoke", "txId": tx, "ser": ser, "method": method});
    if let Some(data) = data {
        message["data"] = data.into();
    }
    message
}

fn refused(id: &str, status: u16, message: &str) -> Value {
    json!({"op": "refused", "id": id, "status": status, "message": message})
}

#[test]
fn windows_of_two_libraries_invoke_each_other() {
    // Rule: belay 22.4 — windows in different browsers invoke each other through the gateway
    // Rule: belay 23 — a pre-image, a resume token and a serialisation are in no log and no metric
    let gateway = Gateway::builder().set("log.filter", "trace").start();
    let mut node = doubling_window(&gateway);
    let mut window = Window::open(&gateway);
    let token = window.resume_token(TEMPORARY, None);
    let answer = window.ask(&invoke(1000, HASHED, "POST", Some(r#"{"value":21}"#)));
    let success =
        json!({"op": "response", "txId": 1000, "type": "success", "data": r#"{"value":42}"#});
    assert_eq!(answer, success);
    let answer = window.ask(&invoke(1001, HASHED, "GET", None));
    assert_eq!(answer["data"], json!({"status": 405, "message": "method not allowed"}));
    assert_eq!(
        [node.json()["data"].as_str(), node.json()["data"].as_str()],
        [Some(r#"{"value":21}"#), None]
    );
    node.say(&invoke(1, TEMPORARY, "DELETE", None).to_string());
    let asked = window.0.json();
    assert_eq!(asked, invoke(1000, TEMPORARY, "DELETE", None));
    window.say(&json!({"op": "response", "txId": 1000, "type": "success"}));
    assert_eq!(node.json(), json!({"op": "response", "txId": 1, "type": "success"}));
    let status = gateway.admin(&["status", "--output", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let shown = status.to_string();
    assert!(shown.contains("belay.relay.connections"), "{shown}");
    let metrics = gateway.metrics();
    assert!(metrics.contains("buswire_belay_relay_connections 2"), "{metrics}");
    assert!(metrics.contains(r#"buswire_belay_relay_messages_total{direction="in"} "#));
    for secret in [PREIMAGE, CAP, HASHED, TEMPORARY, &token] {
        assert!(!gateway.log().contains(secret) && !metrics.contains(secret), "{secret}");
    }
}

#[test]
fn nobody_takes_the_place_of_a_window_not_even_after_a_crash() {
    // Rule: belay 23 — relay impersonation after a disconnect is refused, also across a restart
    let mut gateway = Gateway::builder().set("belay.relay.grace", "0s").start();
    let conflict = refused(TEMPORARY, 409, "already routed");
    let mut owner = Window::open(&gateway);
    let token = owner.resume_token(TEMPORARY, None);
    assert_eq!(Window::open(&gateway).register(TEMPORARY, None), conflict);
    gateway.kill();
    gateway.start();
    let mut stranger = Window::open(&gateway);
    assert_eq!(stranger.register(TEMPORARY, None), conflict);
    assert_eq!(stranger.register(TEMPORARY, Some(&"x".repeat(43))), conflict);
    let mut back = Window::open(&gateway);
    assert_eq!(back.resume_token(TEMPORARY, Some(&token)), token);
    drop(back);
    // There is no grace here: it is retired at once, for the owner too, and for good.
    let gone = refused(TEMPORARY, 410, "gone");
    until("the id is retired", || {
        Some(stranger.register(TEMPORARY, None)).filter(|answer| *answer == gone)
    });
    gateway.kill();
    gateway.start();
    let mut window = Window::open(&gateway);
    assert_eq!(window.register(TEMPORARY, None), gone);
    assert_eq!(window.register(TEMPORARY, Some(&token)), gone);
    // A hashed id is whoever knows its secret.
    assert_eq!(window.register(HASHED, None), refused(HASHED, 403, "forbidden"));
    assert_eq!(window.register(HASHED, Some(TEMPORARY)), refused(HASHED, 403, "forbidden"));
    window.resume_token(HASHED, Some(PREIMAGE));
    let mut second = Window::open(&gateway);
    assert_eq!(second.register(HASHED, Some(PREIMAGE)), refused(HASHED, 409, "already routed"));
    drop(window);
    until("the id is free", || {
        Some(second.register(HASHED, Some(PREIMAGE))).filter(|it| it["op"] == "registered")
    });
    // Any program can claim any origin.
    let origin = "https://myserv.com";
    assert_eq!(second.register(origin, None), refused(origin, 403, "forbidden"));
}

#[test]
fn floods_and_giants_end_their_own_connection_alone() {
    // Rule: belay 22.4 — a flood is answered 429 and then closed; a message over the limit closes
    let gateway = Gateway::single(Single::Sockets)
        .set("belay.relay.rate", "1")
        .set("belay.relay.message_max", "2KiB")
        .start();
    let mut good = doubling_window(&gateway);
    let mut flood = Window::open(&gateway);
    for tx in 0..200 {
        flood.say(&invoke(tx, TEMPORARY, "GET", None));
    }
    let mut answers = Vec::new();
    let closed = until("the flood is closed", || {
        let line = flood.0.json();
        answers.push(line["data"]["status"].as_u64().unwrap_or_default());
        line["closed"].as_u64()
    });
    assert_eq!(closed, 1008);
    assert!(answers.contains(&404) && answers.len() < 100, "{answers:?}");
    let mut giant = Window::open(&gateway);
    giant.say(&json!({"op": "ping", "x": "x".repeat(3000)}));
    assert_eq!(giant.0.json(), json!({"closed": 1009}));
    good.say(r#"{"op":"ping"}"#);
    assert_eq!(good.json(), json!({"op": "pong"}));
}

#[test]
fn a_window_that_does_not_read_is_closed_and_its_callers_are_told() {
    // Rule: belay 23.11 — what waits for a slow window is bounded
    // Rule: belay 9 — when a connection ends, its pending calls fail 504
    let gateway = Gateway::single(Single::Sockets)
        .set("belay.relay.rate", "100000")
        .set("belay.relay.pending_max", "1000")
        .start();
    let mut deaf = TcpStream::connect(&gateway.bound().http).unwrap();
    let opening = "GET /belay/relay HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    deaf.write_all(opening.as_bytes()).unwrap();
    let register = json!({"op": "register", "id": HASHED, "proof": PREIMAGE}).to_string();
    // A final text frame, masked with zeros, which leave it as it is.
    let head = [0x81, 0xfe, 0, u8::try_from(register.len()).unwrap(), 0, 0, 0, 0];
    deaf.write_all(&[&head[..], register.as_bytes()].concat()).unwrap();
    let mut read = Vec::new();
    until("it is registered", || {
        let mut some = [0; 1024];
        let many = deaf.read(&mut some).unwrap();
        read.extend_from_slice(&some[..many]);
        String::from_utf8_lossy(&read).contains("registered").then_some(())
    });
    let mut caller = Window::open(&gateway);
    let data = "x".repeat(900_000);
    let calls = 40;
    for tx in 0..calls {
        caller.say(&invoke(tx, HASHED, "POST", Some(&data)));
    }
    for _ in 0..calls {
        let failure = caller.0.json()["data"].clone();
        let lost = json!({"status": 504, "message": "CapTunnel communication failed"});
        let absent = json!({"status": 404, "message": "not found"});
        assert!(failure == lost || failure == absent, "{failure}");
    }
    let metrics = gateway.metrics();
    assert!(metrics.contains(r#"buswire_belay_relay_closed_total{reason="slow"} 1"#), "{metrics}");
}

fn tail(gateway: &Gateway, bus: &str, count: &str) -> Vec<Value> {
    let tail = ["message", "tail", "--scope", &format!("bus:{bus}"), "--count", count];
    let printed = gateway.admin(&[&tail[..], &["--since", "beginning"]].concat());
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn publish(gateway: &Gateway, payload: &str) {
    let message = ["message", "publish", "--bus", "orders", "--channel", "c", "--type", "t"];
    gateway.admin(&[&message[..], &["--payload", payload]].concat());
}

#[test]
fn a_route_delivers_into_a_window() {
    // Rule: belay 22.4 — a message of a bus reaches a capability of a window
    let gateway = Gateway::builder().set("bridge.backoff", "50ms").start();
    gateway.admin(&["bus", "create", "orders"]);
    let sink = format!("cap:urn:x-cap:{HASHED}:{CAP}");
    let scope = "bus:orders type:t";
    let route = ["route", "create", "r", "--scope", scope, "--sink", &sink];
    gateway.admin(&[&route[..], &["--reply-type", "receipt"]].concat());
    let shown = gateway.admin(&["route", "show", "r"]);
    assert!(shown.contains("cap:urn:x-cap:") && !shown.contains(CAP), "{shown}");
    // The window is not there yet; the message waits for it.
    publish(&gateway, r#"{"n":1.50}"#);
    let mut window = Window::open(&gateway);
    window.resume_token(HASHED, Some(PREIMAGE));
    let asked = window.0.json();
    assert_eq!((&asked["op"], &asked["method"]), (&json!("invoke"), &json!("POST")));
    let data = asked["data"].as_str().unwrap();
    assert!(data.contains(r#""payload":{"n":1.50}"#), "numbers keep their digits: {data}");
    let argument: Value = serde_json::from_str(data).unwrap();
    assert_eq!(argument["value"]["type"], "t");
    assert_eq!(argument["value"]["from"]["channel"], "c");
    let answer = json!({"op": "response", "txId": asked["txId"], "type": "success",
        "data": r#"{"value":{"seen":true}}"#});
    window.say(&answer);
    let receipt = &tail(&gateway, "orders", "2")[1];
    assert_eq!(
        (&receipt["type"], &receipt["payload"]),
        (&json!("receipt"), &json!({"seen": true}))
    );
    // What the window's capability refuses is a dead letter.
    publish(&gateway, "2");
    let asked = window.0.json();
    let refusal = json!({"status": 404, "message": "not found"});
    window.say(&json!({"op": "response", "txId": asked["txId"], "type": "failure",
        "data": refusal}));
    until("the message is a dead letter", || {
        let shown = gateway.admin(&["route", "show", "r", "--output", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        (shown["dead_letters"] == 1).then_some(())
    });
}

#[test]
fn a_majordomo_client_invokes_a_window() {
    // Rule: mdp gateway services — cap.invoke takes the urn:x-cap of a window too
    let gateway = Gateway::spawn();
    let cap = format!("urn:x-cap:{HASHED}:{CAP}");
    let call = |frames: &[&str]| -> Vec<String> {
        let arguments = [&[gateway.bound().mdp.as_str(), "cap.invoke"], frames].concat();
        let frames: Vec<String> =
            serde_json::from_value(python("mdp_client", &arguments).json()).unwrap();
        frames[2..].to_vec()
    };
    assert_eq!(call(&[&cap, "GET"]), ["404", "not found"]);
    let window = doubling_window(&gateway);
    assert_eq!(call(&[&cap, "POST", "21"]), ["200", "42"]);
    assert_eq!(window.json()["data"], r#"{"value":21}"#);
    assert_eq!(call(&[&cap, "GET"]), ["405", "method not allowed"]);
    // To publish or read takes a capability of the gateway.
    let arguments = [gateway.bound().mdp.as_str(), "bus.read", &cap];
    let refused = python("mdp_client", &arguments).json();
    assert_eq!(refused, json!(["MDPC01", "bus.read", "404", "not found"]));
}

#[test]
fn a_shutdown_says_bye() {
    let mut gateway = Gateway::spawn();
    let mut window = Window::open(&gateway);
    window.resume_token(HASHED, Some(PREIMAGE));
    assert!(gateway.terminate().success());
    assert_eq!(window.0.json(), json!({"op": "bye"}));
    assert_eq!(window.0.json(), json!({"closed": 1001}));
}

#[test]
fn the_relay_can_be_off() {
    let gateway = Gateway::builder().set("belay.relay.enabled", "false").start();
    assert_eq!(curl(&gateway.url("/belay/relay")).send().status, 404);
    gateway.admin(&["bus", "create", "orders"]);
    let sink = format!("cap:urn:x-cap:{HASHED}:{CAP}");
    let create = ["route", "create", "r", "--scope", "bus:orders", "--sink", &sink];
    let refused = String::from_utf8(gateway.command(&create).stderr).unwrap();
    assert!(refused.contains("belay.relay.enabled") && !refused.contains(CAP), "{refused}");
}

#[test]
fn start_records_cross_once() {
    // Rule: belay 22.5 — a start record is given out once, by HTTP, to pages of the gateway alone
    let gateway = Gateway::builder().set("log.filter", "trace").start();
    let secret = format!("urn:x-cap:{HASHED}:{CAP}");
    let body = json!({"value": {"record": {"startLaunch": {"@": secret}}}}).to_string();
    let put = curl(&gateway.url("/belay/start")).method("POST").json(&body).send();
    assert_eq!((put.status, put.header("cache-control")), (200, Some("no-store")));
    assert_eq!(put.header("access-control-allow-origin"), None);
    let id = put.json()["value"]["startId"].as_str().unwrap().to_owned();
    let take = |site: &str| {
        let take = curl(&gateway.url("/belay/start/take")).method("POST");
        take.header(&format!("Sec-Fetch-Site: {site}")).json(&json!({"value": id}).to_string())
    };
    assert_eq!(take("cross-site").send().status, 403);
    assert_eq!(take("same-origin").send().json(), json!({"value": {"startLaunch": {"@": secret}}}));
    assert_eq!(take("same-origin").send().status, 404);
    for secret in [id.as_str(), CAP, HASHED] {
        assert!(!gateway.log().contains(secret), "{secret}");
    }
}
