//! Bad input and bad manners at the WebSocket of SimplePush: the reference's answer, and others are
//! served meanwhile (§6, §8, §19).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use buswire_integration_tests::{DEADLINE, Gateway, Peer, Single, curl, python, until};
use serde_json::json;

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

fn agent(gateway: &Gateway) -> Peer {
    python("push_client", &[&format!("ws://{}/push", gateway.bound().http)])
}

fn greeted(gateway: &Gateway) -> Peer {
    let mut agent = agent(gateway);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    assert_eq!(agent.json()["status"], 200);
    agent
}

/// A WebSocket of bare bytes.
fn open(gateway: &Gateway) -> TcpStream {
    let mut stream = TcpStream::connect(&gateway.bound().http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
        .write_all(
            b"GET /push HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// A client frame with the mask 0.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[first, 0xfe], &length[..], &[0; 4], payload].concat()
}

#[test]
fn bad_messages_get_the_answer_of_the_reference() {
    let gateway = Gateway::builder().by_connection().start();
    let deep = format!("{{\"messageType\":\"hello\",\"x\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let cases = [
        // Rule: simplepush §6.1 — not JSON, no object, too deep: close 1008 without a reply
        ("{", json!({"closed": 1008})),
        ("[]", json!({"closed": 1008})),
        ("nonsense", json!({"closed": 1008})),
        (&deep, json!({"closed": 1008})),
        // Rule: simplepush R-JSON-3 — duplicate member names: the last one wins
        (
            r#"{"messageType":"hello","messageType":"x"}"#,
            json!({"messageType": "x", "status": 401, "error": "Unsupported command type"}),
        ),
        (
            r#"{"messageType":7}"#,
            json!({"messageType": 7, "status": 401, "error": "Invalid command header"}),
        ),
        // Rule: simplepush O2 — register, unregister and ack before hello: 401, close
        (
            r#"{"messageType":"register","channelID":"x"}"#,
            json!({"messageType": "register", "channelID": "x", "status": 401,
                   "error": "Command requires handshake"}),
        ),
        // Rule: simplepush R-ID-5 — a uaid that is no string is an error
        (
            r#"{"messageType":"hello","uaid":[],"channelIDs":[]}"#,
            json!({"messageType": "hello", "uaid": [], "channelIDs": [], "status": 401,
                   "error": "Command contains one or more invalid fields"}),
        ),
    ];
    for (text, answer) in cases {
        let mut agent = agent(&gateway);
        agent.say(text);
        assert_eq!(agent.json(), answer, "{text}");
        if answer.get("closed").is_none() {
            assert_eq!(agent.json(), json!({"closed": 1008}), "{text}");
        }
    }
    // Rule: simplepush R-ID-4 — a UAID in no accepted form gets a new one
    for uaid in [" fooey barrey ", "null", "0", &"x".repeat(100_000)] {
        let mut agent = agent(&gateway);
        agent.say(&json!({"messageType": "hello", "uaid": uaid, "channelIDs": []}).to_string());
        let reply = agent.json();
        assert_eq!((&reply["status"], reply["uaid"].as_str().unwrap().len()), (&json!(200), 32));
    }
}

#[test]
fn bad_frames_close_with_their_code() {
    let gateway =
        Gateway::builder().by_connection().set("simplepush.message_timeout", "300ms").start();
    let huge = [&[0x81, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    let endless = [frame(0x01, b"{"), frame(0x00, b"").repeat(2000)].concat();
    for (bytes, code) in [
        // Rule: simplepush R-WS-7 — a binary message closes with 1003
        (frame(0x82, b"{}"), 1003_u16),
        // Rule: simplepush R-WS-8 — frames that RFC 6455 forbids close with 1002, bad UTF-8 with 1007
        (b"\x81\x02{}".to_vec(), 1002),
        (frame(0xc1, b"{}"), 1002),
        (frame(0x81, b"\xff"), 1007),
        // Rule: simplepush R-WS-9 — a message over the limit closes with 1009 before it is buffered
        (huge, 1009),
        // Rule: simplepush R-WS-8 — endless empty fragments are counted against their sender
        (endless, 1008),
        // Rule: simplepush §19.4 — a message that never ends closes at its deadline
        (frame(0x01, b"{"), 1008),
    ] {
        let mut stream = open(&gateway);
        stream.write_all(&bytes).unwrap();
        let mut close = [0; 4];
        stream.read_exact(&mut close).unwrap();
        assert_eq!(close[..2], [0x88, 2], "a close frame");
        assert_eq!(u16::from_be_bytes([close[2], close[3]]), code);
    }
}

#[test]
fn two_thousand_connections_without_hello_hinder_nobody() {
    // Rule: simplepush §19.4 — connections that never say hello are closed at its deadline
    let gateway = Gateway::single(Single::Sockets).set("simplepush.hello_timeout", "15s").start();
    let before = gateway.resident_kib();
    let silent = python("push_holders", &[&gateway.bound().http, "silent", "2000"]);
    assert_eq!(silent.line(), "open");
    // Rule: simplepush §19.5 — what they cost is bounded: no buffers while there are no bytes
    let each = gateway.resident_kib().saturating_sub(before) * 1024 / 2000;
    assert!(each < 16 * 1024, "{each} bytes for each");
    let mut agent = greeted(&gateway);
    agent.say(&json!({"messageType": "register", "channelID": A}).to_string());
    assert_eq!(agent.json()["status"], 200, "others are served");
    assert_eq!(silent.line(), "2000");
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    // Rule: simplepush §19.4 — a client that does not read costs one entry a channel and is closed
    let gateway = Gateway::builder()
        .by_connection()
        .set("simplepush.write_timeout", "1s")
        .set("simplepush.refused_puts_per_minute", "0")
        .start();
    let unread = python("push_holders", &[&gateway.bound().http, "unread", "1"]);
    let endpoint = unread.line();
    let before = gateway.resident_kib();
    let data = "x".repeat(4000);
    // 202 says that the connection is gone; until then the versions coalesce.
    let mut status = 200;
    for version in 1..20_000_u32 {
        let form = format!("version={version}&data={data}");
        status = curl(&endpoint).method("PUT").args(&["--data", &form]).send().status;
        if status != 200 {
            break;
        }
    }
    assert_eq!(status, 202, "it is closed");
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
    greeted(&gateway);
}

#[test]
fn half_open_connections_are_found_out() {
    // Rule: simplepush L7 — a dead connection is detected in bounded time, then PUTs answer 202
    let gateway = Gateway::builder()
        .by_connection()
        .set("simplepush.probe_interval", "1s")
        .set("simplepush.probe_timeout", "1s")
        .start();
    // This one never answers a PING, as if its network were gone.
    let mut stream = open(&gateway);
    let hello = r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#;
    let register = json!({"messageType": "register", "channelID": A}).to_string();
    for text in [hello, &register] {
        stream.write_all(&frame(0x81, text.as_bytes())).unwrap();
    }
    let mut received = Vec::new();
    let mut bytes = [0; 4096];
    let endpoint = until("an endpoint", || {
        let read = stream.read(&mut bytes).unwrap();
        received.extend_from_slice(&bytes[..read]);
        let text = String::from_utf8_lossy(&received).into_owned();
        let (_, rest) = text.split_once("pushEndpoint\":\"")?;
        rest.split_once('"').map(|(endpoint, _)| endpoint.to_owned())
    });
    let put = || curl(&endpoint).method("PUT").send().status;
    assert_eq!(put(), 200);
    until("it is found out", || (put() == 202).then_some(()));
}
