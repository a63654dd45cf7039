//! Bad input at every door of the built gateway: the reference's answer, and nothing accepted is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use buswire_integration_tests::{Gateway, Site, binary, curl, python, raw};
use serde_json::json;

#[test]
fn backplane_refuses_with_the_reference_s_statuses() {
    let gateway = Gateway::spawn();
    let site = Site::create(&gateway, "shop.example", &[]);
    let visit = site.visit(&gateway);
    site.post(&gateway, &visit.channel, "t", "1");
    let post = |token: &str, body: &str| {
        let authorization = format!("Authorization: Bearer {token}");
        curl(&gateway.url("/v2/message")).header(&authorization).json(body).send().status
    };
    let good = site.message(&visit.channel, "t", "2");
    // Rule: backplane §10.5 — the status of every refused post
    assert_eq!(post("invented", &good), 403);
    assert_eq!(post(&visit.token, &good), 403);
    assert_eq!(post(&site.token, "{"), 400);
    assert_eq!(post(&site.token, "[]"), 400);
    assert_eq!(post(&site.token, r#"{"message":{}}"#), 403);
    assert_eq!(post(&site.token, &good.replace("\"type\":\"t\"", "\"type\":\"\"")), 400);
    assert_eq!(post(&site.token, &good.replace(&visit.channel, &"A".repeat(32))), 403);
    // Rule: backplane §10.3 — block is a number from 0 to 25
    for block in ["26", "-1", "x"] {
        let url = format!("/v2/messages?access_token={}&block={block}", visit.token);
        assert_eq!(curl(&gateway.url(&url)).send().status, 400, "{block}");
    }
    let reply = curl(&gateway.url("/v1.2/bus/shop.example")).args(&["--user", "a:b"]).send();
    // Rule: backplane §6.2 — every failure of authentication is one and the same answer
    assert_eq!((reply.status, reply.body.as_str()), (401, r#"{"ERR_MSG":"Access denied."}"#));
    let messages = site.read(&gateway, "?block=0")["messages"].as_array().unwrap().clone();
    assert_eq!(messages.len(), 1, "what was accepted is there, and nothing else");
}

#[test]
fn floods_and_garbage_cost_their_sender() {
    let gateway = Gateway::builder().by_connection().start();
    let http = &gateway.bound().http;
    let garbage = [
        &b"\0\x01\x02\x03\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v2/message HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ];
    for bytes in garbage {
        let answer = raw(http, bytes);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    }
    let mut long = b"GET /".to_vec();
    long.extend(vec![b'a'; 200_000]);
    let answer = String::from_utf8_lossy(&raw(http, &long)).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let body = "x".repeat(16 * 1024 * 1024);
    let oversize = gateway.path("oversize");
    std::fs::write(&oversize, body).unwrap();
    let file = format!("@{}", oversize.display());
    for path in ["/v2/message", "/v1.2/bus/b/channel/c", "/update/x"] {
        let status =
            curl(&gateway.url(path)).method("POST").args(&["--data-binary", &file]).send().status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    assert_eq!(curl(&format!("http://{}/healthz", gateway.bound().ops)).send().status, 200);
}

#[test]
fn simplepush_closes_on_garbage_and_hides_bad_tokens() {
    let gateway = Gateway::spawn();
    let url = format!("ws://{}/push", gateway.bound().http);
    let mut agent = python("push_client", &[&url]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    assert_eq!(agent.json()["status"], 200);
    agent.say("{}");
    assert_eq!(agent.json(), json!({}), "an empty object is a ping");
    // Rule: simplepush R-EP-4 — a token that does not decode is 404, whatever is wrong with it
    for token in ["x", "AAAA", &"A".repeat(200)] {
        let reply = curl(&gateway.url(&format!("/update/{token}"))).method("PUT").send();
        assert_eq!(reply.status, 404, "{token}");
    }
}

#[test]
fn majordomo_survives_garbage() {
    let gateway = Gateway::spawn();
    let address = gateway.bound().mdp.strip_prefix("tcp://").unwrap();
    raw(address, &[0xff; 64]);
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "echo", "echo"]);
    assert_eq!(worker.json()["event"], "ready");
    let client = python("mdp_client", &[&gateway.bound().mdp, "echo", "hello"]);
    assert_eq!(client.json(), json!(["MDPC01", "echo", "hello"]));
}

#[test]
fn belay_hides_what_exists() {
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "b"]);
    let target = r#"{"bus":"b","channel":"c"}"#;
    let granted: serde_json::Value =
        serde_json::from_str(&gateway.admin(&["cap", "grant", "bus.publish", "--target", target]))
            .unwrap();
    let cap = granted["cap"].as_str().unwrap();
    let unknown = curl(&gateway.url(&format!("/cap/{}", "A".repeat(43)))).send();
    let malformed = curl(&gateway.url("/cap/x")).send();
    // Rule: belay §21.5 — unknown and malformed ids are one and the same 404
    assert_eq!((unknown.status, &unknown.body), (404, &malformed.body));
    let post = |body: &str| curl(cap).method("POST").json(body).send().status;
    // Rule: belay §21.3 — body rules: not JSON, no value, a value that the operation can't use
    assert_eq!((post("{"), post("{}"), post(r#"{"value":1}"#)), (400, 400, 400));
    assert_eq!(curl(cap).send().status, 405);
}

#[test]
fn administration_needs_the_token_and_says_so() {
    let gateway = Gateway::spawn();
    let run = |arguments: &[&str]| {
        Command::new(binary())
            .args(arguments)
            .args(["--admin", &format!("http://{}", gateway.bound().admin)])
            .output()
            .unwrap()
    };
    let output = run(&["status", "--token", "wrong"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line: {stderr}");
    assert!(stderr.contains("token"), "{stderr}");
    assert_eq!(run(&["bus", "frobnicate"]).status.code(), Some(2));
}
