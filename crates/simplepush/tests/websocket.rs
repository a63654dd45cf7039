//! The WebSocket itself: opening, frames, timers, closing (SimplePush §5).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use buswire_simplepush::Subprotocol;
use support::{DEADLINE, Http, Server};
use tokio_tungstenite::tungstenite::Message;

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

fn opening(extra: &str) -> String {
    format!(
        "GET /push HTTP/1.1\r\nHost: push.example.net\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
}

/// A client frame with the mask 0, so that the payload reads as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

#[tokio::test]
async fn the_subprotocol_is_selected_if_offered() {
    let server = Server::start().await;
    // Rule: simplepush R-WS-1 — the WebSocket is served on a path of its own; others can serve it too
    // Rule: simplepush R-WS-2 — `push-notification` is selected among those offered
    let reply = server.http(opening("Sec-WebSocket-Protocol: chat, push-notification\r\n")).await;
    assert_eq!(reply.status, 101);
    assert_eq!(reply.header("sec-websocket-protocol"), Some("push-notification"));
    // Rule: simplepush Appendix A — Sec-WebSocket-Accept is derived from the key
    assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    // Rule: simplepush R-WS-4 — no extension is negotiated
    let reply = server.http(opening("Sec-WebSocket-Extensions: permessage-deflate\r\n")).await;
    assert_eq!((reply.status, reply.header("sec-websocket-extensions")), (101, None));
    // Rule: simplepush R-WS-2 — without an offer, or with others only, none is selected
    for offer in ["", "Sec-WebSocket-Protocol: chat\r\n"] {
        let reply = server.http(opening(offer)).await;
        assert_eq!((reply.status, reply.header("sec-websocket-protocol")), (101, None));
    }
    let strict = Server::start_with(|config| config.subprotocol = Subprotocol::Required).await;
    assert_eq!(strict.http(opening("")).await.status, 400);
    let offer = "Sec-WebSocket-Protocol: push-notification\r\n";
    assert_eq!(strict.http(opening(offer)).await.status, 101);
}

#[tokio::test]
async fn origins_may_be_restricted() {
    // Rule: simplepush R-WS-3 — with an empty allow-list every origin is accepted
    let server = Server::start().await;
    assert_eq!(server.http(opening("Origin: nonsense\r\n")).await.status, 101);
    // Rule: simplepush R-WS-3 — with a list the origin must equal an entry; `:443` is not implied
    let server =
        Server::start_with(|config| config.origins = vec!["https://app.example".into()]).await;
    for (origin, status) in [
        ("Origin: https://app.example\r\n", 101),
        ("Origin: https://app.example:443\r\n", 403),
        ("Origin: http://app.example\r\n", 403),
        ("Origin: nonsense\r\n", 403),
        ("Origin: https://app.example\r\nOrigin: https://evil.example\r\n", 403),
        ("", 403),
    ] {
        assert_eq!(server.http(opening(origin)).await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn what_is_no_opening_is_refused() {
    let server = Server::start().await;
    // Rule: simplepush R-WS-5 — a request without upgrade gets an ordinary HTTP error
    let reply = server.http("GET /push HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((reply.status, reply.header("upgrade")), (426, Some("websocket")));
    // Rule: simplepush Appendix A — a wrong version is answered 426 with the right one
    let reply = server.http(opening("").replace("Version: 13", "Version: 8")).await;
    assert_eq!((reply.status, reply.header("sec-websocket-version")), (426, Some("13")));
    // Rule: simplepush Appendix A — a malformed key is answered 400
    for key in ["c2hvcnQ=", "not base64 at all!", ""] {
        let request = opening("").replace("dGhlIHNhbXBsZSBub25jZQ==", key);
        assert_eq!(server.http(request).await.status, 400, "{key}");
    }
    assert_eq!(server.http(opening("").replace("GET", "POST")).await.status, 405);
}

#[tokio::test]
async fn a_full_server_says_so() {
    // Rule: simplepush §16 — connections beyond the limit are refused before the handshake
    let server = Server::start_with(|config| config.limits.connections_max = 1).await;
    let device = server.device().await;
    let reply = server.http(opening("")).await;
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
    device.close().await;
    server.wait_for_connections(0).await;
    assert_eq!(server.http(opening("")).await.status, 101);
}

#[tokio::test]
async fn forbidden_frames_close_with_their_code() {
    let server = Server::start_with(|config| config.limits.message_bytes_max = 1000).await;
    let mut unmasked = b"\x81\x02{}".to_vec();
    unmasked.extend([0; 8]);
    let cases: Vec<(u16, Vec<u8>)> = vec![
        // Rule: simplepush R-WS-7 — a binary message closes with 1003
        (1003, frame(0x82, b"{}")),
        // Rule: simplepush R-WS-8 — unmasked frames, reserved bits and bad opcodes close with 1002
        (1002, unmasked),
        (1002, frame(0xc1, b"{}")),
        (1002, frame(0x83, b"{}")),
        (1002, frame(0x80, b"{}")),
        // Rule: simplepush R-WS-8 — fragmented control frames close with 1002
        (1002, frame(0x09, b"")),
        // Rule: simplepush R-WS-8 — invalid UTF-8 closes with 1007
        (1007, frame(0x81, b"\xff\xfe")),
        // Rule: simplepush R-WS-9 — a message over the limit closes with 1009
        (1009, frame(0x81, &[b' '; 1001])),
        (1009, [frame(0x01, &[b' '; 600]), frame(0x80, &[b' '; 600])].concat()),
        // Rule: simplepush §6.1 — text that is no JSON object closes with 1008
        (1008, frame(0x81, b"[]")),
        (1008, frame(0x81, b"nonsense")),
    ];
    for (code, bytes) in cases {
        let mut socket = Http::open(&server).await;
        assert_eq!(socket.exchange(opening("").as_bytes()).await.status, 101);
        socket.send(&bytes).await;
        assert_eq!(socket.close_code().await, code, "{bytes:?}");
    }
}

#[tokio::test]
async fn fragments_are_put_together() {
    // Rule: simplepush R-WS-8 — fragments are reassembled, control frames between them handled
    let server = Server::start().await;
    let mut socket = Http::open(&server).await;
    assert_eq!(socket.exchange(opening("").as_bytes()).await.status, 101);
    // Rule: simplepush R-WS-11 — a PING is answered with a PONG of the same payload
    socket.send(&[frame(0x01, b"{"), frame(0x89, b"now"), frame(0x80, b"}")].concat()).await;
    socket.expect(b"\x8a\x03now").await;
    // Rule: simplepush R-WS-6 — the server sends text frames
    socket.expect(b"\x81\x02{}").await;
    // Rule: simplepush R-WS-10 — an empty text message is ignored
    socket.send(&[frame(0x81, b""), frame(0x89, b"again")].concat()).await;
    socket.expect(b"\x8a\x05again").await;
    // Rule: simplepush R-WS-11 — an unsolicited PONG is accepted
    socket.send(&[frame(0x8a, b"x"), frame(0x89, b"third")].concat()).await;
    socket.expect(b"\x8a\x05third").await;
    // Rule: simplepush Appendix A — a close is answered with a close, then the server closes TCP
    socket.send(&frame(0x88, &1000_u16.to_be_bytes())).await;
    socket.expect(b"\x88\x02\x03\xe8").await;
    socket.closed().await;
}

#[tokio::test]
async fn a_message_may_come_with_the_opening() {
    // Rule: simplepush Appendix A — bytes that come together with the upgrade request are not lost
    let server = Server::start().await;
    let mut socket = Http::open(&server).await;
    let together = [opening("").into_bytes(), frame(0x81, b"{}")].concat();
    assert_eq!(socket.exchange(&together).await.status, 101);
    socket.expect(b"\x81\x02{}").await;
}

#[tokio::test]
async fn hello_must_come_in_time() {
    // Rule: simplepush R-WS-13 — no hello within 30 s of opening closes; pings do not extend that
    // Rule: simplepush R-PING-2 — a ping before hello is answered
    let server = Server::start().await;
    let mut device = server.device().await;
    assert_eq!(device.exchange("{}").await, "{}");
    server.clock.advance(Duration::from_secs(29));
    assert_eq!(device.exchange("{}").await, "{}");
    device.send("").await;
    device.settle().await;
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(device.closed().await, 1008);
}

#[tokio::test]
async fn a_silent_client_is_probed() {
    let server = Server::start().await;
    let mut device = server.device().await;
    device.hello("", "").await;
    let endpoint = device.register(A).await;
    device.settle().await;
    // Rule: simplepush R-WS-12 — the server probes with a WebSocket PING, never with `{}`
    server.advance(Duration::from_secs(300)).await;
    device.probed().await;
    device.settle().await;
    // Rule: simplepush §5.3 — an answered probe keeps the connection
    server.advance(Duration::from_secs(60)).await;
    device.settle().await;
    // Rule: simplepush L7 — a dead connection is detected, after which PUTs answer 202
    server.advance(Duration::from_secs(300)).await;
    server.advance(Duration::from_secs(31)).await;
    server.wait_for_connections(0).await;
    assert_eq!(server.put(&endpoint, "version=1").await.status, 202);
}

#[tokio::test]
async fn a_flood_of_control_frames_closes() {
    // Rule: simplepush R-WS-11 — a flood of control frames is a reason to close
    let server = Server::start_with(|config| config.limits.control_frames_max = 10).await;
    let mut device = server.device().await;
    for _ in 0..10 {
        device.settle().await;
    }
    server.clock.advance(Duration::from_secs(10));
    for _ in 0..10 {
        device.settle().await;
    }
    device.send_frame(Message::Ping("more".into())).await;
    assert_eq!(device.closed().await, 1008);
}

#[tokio::test]
async fn pings_are_counted_from_one_to_the_next() {
    // Rule: simplepush R-PING-3 — a ping sooner than 20 s after the last accepted one closes
    let server = Server::start().await;
    let mut device = server.device().await;
    // Rule: simplepush R-PING-1 — every ping is answered `{}`
    assert_eq!(device.exchange("{\"messageType\":\"Ping\",\"x\":[]}").await, "{}");
    device.hello("", "").await;
    server.clock.advance(Duration::from_secs(20));
    assert_eq!(device.exchange("{}").await, "{}");
    server.clock.advance(Duration::from_millis(19_999));
    assert_eq!(
        device.exchange("{\"messageType\":\"Ping\"}").await,
        "{\"messageType\":\"Ping\",\"status\":401,\"error\":\"Client sent too many pings\"}"
    );
    // Rule: simplepush O8 — after an error reply nothing of the client is processed
    assert_eq!(device.closed().await, 1008);
}

#[tokio::test]
async fn a_server_that_drains_closes_its_connections() {
    // Rule: simplepush R-OPS-4 — shutting down closes WebSockets with 1001 and takes nothing new
    let server = Server::start().await;
    let mut devices = Vec::new();
    for _ in 0..60 {
        devices.push(server.device().await);
    }
    let mut identified = devices.pop().unwrap();
    identified.hello("", "").await;
    let endpoint = identified.register(A).await;
    let draining = server.push.drain();
    let watching = async {
        assert_eq!(identified.closed().await, 1001);
        for mut device in devices {
            assert_eq!(device.closed().await, 1001);
        }
        assert_eq!(server.http(opening("")).await.status, 503);
        assert_eq!(server.put(&endpoint, "version=1").await.status, 503);
    };
    let both = async { tokio::join!(draining, watching) };
    tokio::time::timeout(DEADLINE, both).await.expect("an end in time");
    assert_eq!(server.push.status().connections, 0);
}
