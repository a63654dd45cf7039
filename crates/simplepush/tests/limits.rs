//! Floods, guesses and peers that are slow: what is refused, and that others are served (§19).

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

use support::Server;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
const B: &str = "C2A7D91533E84B6D9F0271E4A80B5CDD";

#[tokio::test]
async fn puts_to_one_channel_may_be_limited() {
    // Rule: simplepush §19.3 — beyond the rate of a channel a PUT is answered 429 with Retry-After
    let server = Server::start_with(|config| config.rates.channel_puts = 2).await;
    let mut device = server.device().await;
    device.hello("", "").await;
    let (a, b) = (device.register(A).await, device.register(B).await);
    for version in 1..=2 {
        assert_eq!(server.put(&a, &format!("version={version}")).await.status, 200);
        assert_eq!(device.notified(A).await, version);
    }
    let reply = server.put(&a, "version=3").await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("60")));
    assert_eq!(reply.body, "{\"code\":429,\"error\":\"Too Many Requests\"}");
    device.settle().await;
    assert_eq!(server.put(&b, "version=3").await.status, 200);
    assert_eq!(device.notified(B).await, 3);
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(server.put(&a, "version=3").await.status, 200);
}

#[tokio::test]
async fn a_source_of_refused_puts_is_limited() {
    // Rule: simplepush §19.3 — 404 and 410 answers are limited for each source
    let server = Server::start_with(|config| config.rates.refused_puts = 2).await;
    let mut device = server.device().await;
    device.hello("", "").await;
    let endpoint = device.register(A).await;
    assert_eq!(server.put("/update/garbage", "").await.status, 404);
    assert_eq!(server.put(&endpoint, "").await.status, 200);
    assert_eq!(server.put("/update/garbage", "").await.status, 404);
    for endpoint in ["/update/garbage", endpoint.as_str()] {
        let reply = server.put(endpoint, "").await;
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some("60")));
    }
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(server.put(&endpoint, "").await.status, 200);
}

#[tokio::test]
async fn a_source_of_guessed_uaids_is_limited() {
    // Rule: simplepush §19.1 — hello attempts are limited for each source address
    let server = Server::start_with(|config| config.rates.refused_uaids = 3).await;
    let mut honest = server.device().await;
    let uaid = honest.hello("", "").await;
    honest.register(A).await;
    for (uaid, list) in [
        ("6f1c0b7a52d94e0c9b3ad41e8f27c650", format!("\"{A}\"")),
        ("nonsense", String::new()),
        (&uaid, format!("\"{B}\"")),
    ] {
        assert_ne!(server.device().await.hello(uaid, &list).await, uaid);
    }
    assert_eq!(server.opening_status().await, 429);
    server.clock.advance(Duration::from_secs(60));
    let mut device = server.device().await;
    device.hello("", "").await;
}

#[tokio::test]
async fn connections_of_one_source_may_be_limited() {
    // Rule: simplepush §19.5 — connections per address are limited
    let server = Server::start_with(|config| config.limits.address_connections_max = 2).await;
    let (one, _two) = (server.device().await, server.device().await);
    assert_eq!(server.opening_status().await, 429);
    server.wait_for_connections(2).await;
    one.close().await;
    server.wait_for_connections(1).await;
    assert_eq!(server.opening_status().await, 101);
}

#[tokio::test]
async fn devices_that_displace_each_other_are_slowed_down() {
    // Rule: simplepush §19.1 — after more than 5 takeovers of a UAID in a minute the handshake waits
    let server = Server::start_with(|config| config.timing.probe_after = Duration::ZERO).await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    for _ in 0..5 {
        let mut newer = server.device().await;
        newer.hello(&uaid, "").await;
        assert_eq!(device.closed().await, 1000);
        device = newer;
    }
    let mut sixth = server.device().await;
    let hello = format!("{{\"messageType\":\"hello\",\"uaid\":\"{uaid}\",\"channelIDs\":[]}}");
    sixth.send_settled(&hello).await;
    server.clock.advance(Duration::from_secs(4));
    // Meanwhile the older connection keeps its place.
    device.register(A).await;
    server.clock.advance(Duration::from_secs(1));
    // Rule: simplepush R-HELLO-1 — a hello never fails because of another connection
    let reply = sixth.receive().await;
    assert_eq!(reply, format!("{{\"messageType\":\"hello\",\"uaid\":\"{uaid}\",\"status\":200}}"));
    assert_eq!(device.closed().await, 1000);
}

#[tokio::test]
async fn a_flood_of_messages_ends_the_connection() {
    // Rule: simplepush §19.3 — requests of one connection are limited
    let server = Server::start_with(|config| config.limits.messages_max = 10).await;
    let mut device = server.device().await;
    device.hello("", "").await;
    for _ in 0..10 {
        device.send("{\"messageType\":\"purge\"}").await;
    }
    assert_eq!(device.closed().await, 1008);
}

#[tokio::test]
async fn a_message_that_never_ends_ends_the_connection() {
    // Rule: simplepush §19.4 — a message has 30 s from its first byte
    let server = Server::start().await;
    let mut device = server.device().await;
    device.hello("", "").await;
    let part = |opcode| Message::Frame(Frame::message("{", OpCode::Data(opcode), false));
    device.send_frame(part(Data::Text)).await;
    device.settle().await;
    server.clock.advance(Duration::from_secs(20));
    device.send_frame(part(Data::Continue)).await;
    device.settle().await;
    server.clock.advance(Duration::from_secs(10));
    assert_eq!(device.closed().await, 1008);
    // Rule: simplepush R-WS-8 — endless empty fragments are counted against their sender
    let mut device = server.device().await;
    let empty = |opcode| Message::Frame(Frame::message("", OpCode::Data(opcode), false));
    device.send_frame(empty(Data::Text)).await;
    for _ in 0..1025 {
        device.send_frame(empty(Data::Continue)).await;
    }
    assert_eq!(device.closed().await, 1008);
}
