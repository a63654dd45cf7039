//! From `hello` to `ack` over a real socket.

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

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

#[tokio::test]
async fn a_version_reaches_its_user_agent() {
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    // Rule: simplepush §12.3 — 200 if the UA is connected
    // Rule: simplepush R-HTTP-2 — the answer never waits for the ack
    let reply = server.put(&endpoint, "version=7").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "{}"));
    assert_eq!(device.notified(A).await, 7);
    device.ack(A, 7).await;
    device.settle().await;
    device.close().await;
    // Rule: simplepush R-DEL-11 — a PUT right after the closing handshake finds the UA away
    assert_eq!(server.put(&endpoint, "version=8").await.status, 202);
    let mut device = server.device().await;
    assert_eq!(device.hello(&uaid, &format!("\"{A}\"")).await, uaid);
    assert_eq!(device.notified(A).await, 8);
}

fn channel(number: usize) -> String {
    format!("0d5be3f4-7c11-4f0e-8a57-{number:012x}")
}

#[tokio::test]
async fn hundreds_of_registrations_may_be_pipelined() {
    // Rule: simplepush R-REG-3 — hundreds of pipelined registers on one connection all succeed
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    for number in 0..501 {
        let channel = channel(number);
        device.send(&format!("{{\"messageType\":\"register\",\"channelID\":\"{channel}\"}}")).await;
    }
    let mut endpoints = Vec::new();
    for number in 0..501 {
        let reply = device.receive().await;
        let channel = channel(number);
        assert!(reply.contains(&format!("\"status\":200,\"channelID\":\"{channel}\"")), "{reply}");
        endpoints.push(reply.split('"').nth_back(1).unwrap().to_owned());
    }
    // Rule: simplepush R-REG-4 — a registration causes no notification
    device.settle().await;
    device.close().await;
    for endpoint in &endpoints {
        server.push.notify(endpoint, None).await.unwrap();
    }
    let mut device = server.device().await;
    let channels = (0..501).map(|number| format!("\"{}\"", channel(number)));
    assert_eq!(device.hello(&uaid, &channels.collect::<Vec<_>>().join(",")).await, uaid);
    // Rule: simplepush R-NOTIF-3 — at most 200 entries a message
    // Rule: simplepush R-NOTIF-2 — a channel appears at most once per message
    for entries in [200, 200, 101] {
        let text = device.receive().await;
        assert_eq!(text.matches("\"channelID\"").count(), entries);
    }
    device.settle().await;
}

#[tokio::test]
async fn too_many_channels_are_refused() {
    // Rule: simplepush R-REG-5 — over the limit: status 500, connection open
    let server = Server::start_with(|config| config.limits.channels_max = 1).await;
    let mut device = server.device().await;
    device.hello("", "").await;
    device.register(A).await;
    let other = channel(1);
    assert_eq!(
        device
            .exchange(&format!("{{\"messageType\":\"register\",\"channelID\":\"{other}\"}}"))
            .await,
        format!(
            "{{\"messageType\":\"register\",\"channelID\":\"{other}\",\"status\":500,\"error\":\"Too many channels\"}}"
        )
    );
    // Rule: simplepush R-REG-2 — a channel that is registered may be registered again
    device.register(A).await;
}

#[tokio::test]
async fn equal_channels_of_two_user_agents_are_two_channels() {
    // Rule: simplepush R-ID-9 — the scope of a channelID is its UAID
    // Rule: simplepush S2 — a channel is named only to its own UA
    // Rule: simplepush S12 — no request of one UA changes state of another
    let server = Server::start().await;
    let (mut one, mut two) = (server.device().await, server.device().await);
    one.hello("", "").await;
    two.hello("", "").await;
    let (endpoint_one, endpoint_two) = (one.register(A).await, two.register(A).await);
    assert_ne!(endpoint_one, endpoint_two);
    server.put(&endpoint_one, "version=3").await;
    assert_eq!(one.notified(A).await, 3);
    two.ack(A, 3).await;
    two.exchange(&format!("{{\"messageType\":\"unregister\",\"channelID\":\"{A}\"}}")).await;
    two.settle().await;
    assert_eq!(server.put(&endpoint_one, "version=4").await.status, 200);
    assert_eq!(one.notified(A).await, 4);
}

#[tokio::test]
async fn every_put_to_a_reading_client_is_shown() {
    // Rule: simplepush R-DEL-6 — each accepted PUT is shown with its own version, also a lower one
    // Rule: simplepush R-VER-9 — a PUT equal to the pending version is shown again
    // Rule: simplepush R-DEL-5 — a newer version is sent although an older one is unacknowledged
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    for version in [12_345_789, 1, 12_345_789, 12_345_790] {
        server.put(&endpoint, &format!("version={version}")).await;
        assert_eq!(device.notified(A).await, version);
    }
    device.ack(A, 12_345_790).await;
    device.settle().await;
    // Rule: simplepush R-VER-7 — when nothing is pending a lower version becomes pending
    server.put(&endpoint, "version=2").await;
    assert_eq!(device.notified(A).await, 2);
    device.close().await;
    let mut device = server.device().await;
    device.hello(&uaid, &format!("\"{A}\"")).await;
    assert_eq!(device.notified(A).await, 2);
}

#[tokio::test]
async fn a_client_that_never_acknowledges_must_shake_hands_anew() {
    // Rule: simplepush R-DEL-7 — an unacknowledged version is sent again every 60 s
    // Rule: simplepush R-DEL-8 — after ten rounds without any ack the connection is closed
    let server = Server::start_with(|config| config.timing.probe_after = Duration::ZERO).await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    server.put(&endpoint, "version=3").await;
    assert_eq!(device.notified(A).await, 3);
    for _ in 0..10 {
        server.clock.advance(Duration::from_secs(60));
        assert_eq!(device.notified(A).await, 3);
    }
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(device.closed().await, 1008);
    // Rule: simplepush R-DEL-9 — at every hello all pending versions are sent again
    let mut device = server.device().await;
    device.hello(&uaid, "").await;
    assert_eq!(device.notified(A).await, 3);
    // Rule: simplepush R-ACK-5 — the ack may come on a later connection
    device.ack(A, 3).await;
    device.settle().await;
    device.close().await;
    let mut device = server.device().await;
    device.hello(&uaid, "").await;
    device.settle().await;
}

#[tokio::test]
async fn an_ack_is_never_answered() {
    // Rule: simplepush §7.5 — there is no reply to an ack
    // Rule: simplepush R-ACK-3 — acks of unknown channels or of nothing pending are ignored
    let server = Server::start().await;
    let mut device = server.device().await;
    device.hello("", "").await;
    device.register(A).await;
    device.ack(A, 5).await;
    device.ack(&channel(9), 5).await;
    device.ack("nonsense", 5).await;
    device.settle().await;
    device.exchange("{\"messageType\":\"ack\",\"updates\":[]}").await;
    assert_eq!(device.closed().await, 1008);
}

#[tokio::test]
async fn messages_before_hello_are_faults() {
    // Rule: simplepush R-UNREG-3 — unregister before hello: 401, close
    // Rule: simplepush O2 — register, unregister and ack before hello: 401, close
    let server = Server::start().await;
    for text in [
        format!("{{\"messageType\":\"register\",\"channelID\":\"{A}\"}}"),
        format!("{{\"messageType\":\"unregister\",\"channelID\":\"{A}\"}}"),
        "{\"messageType\":\"ack\"}".to_owned(),
    ] {
        let mut device = server.device().await;
        let reply = device.exchange(&text).await;
        let head = text.strip_suffix('}').unwrap();
        assert_eq!(
            reply,
            format!("{head},\"status\":401,\"error\":\"Command requires handshake\"}}")
        );
        assert_eq!(device.closed().await, 1008);
    }
    // Rule: simplepush R-PURGE-1 — purge is accepted at any time and does nothing
    let mut device = server.device().await;
    device.send("{\"messageType\":\"purge\"}").await;
    device.settle().await;
}
