//! Wake-up on mobile networks (SimplePush §13).

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

use buswire_simplepush::{MobileNetwork, WakeUp};
use support::{DEADLINE, Device, Server};
use tokio::net::UdpSocket;

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
const U: &str = "6f1c0b7a52d94e0c9b3ad41e8f27c650";

/// A server with a relay for the network 214/07.
async fn with_relay() -> (Server, UdpSocket) {
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let network = MobileNetwork {
        mcc: "214".into(),
        mnc: "07".into(),
        relay: relay.local_addr().unwrap(),
        addresses: vec![("10.20.0.0".parse().unwrap(), 16)],
    };
    let wakeup = Some(WakeUp::new(vec![network]));
    (Server::start_with(|config| config.wakeup = wakeup).await, relay)
}

async fn hello(device: &mut Device, list: &str, wakeup: &str) {
    let hello =
        format!("{{\"messageType\":\"hello\",\"uaid\":\"{U}\",\"channelIDs\":[{list}]{wakeup}}}");
    let reply = format!("{{\"messageType\":\"hello\",\"uaid\":\"{U}\",\"status\":200}}");
    assert_eq!(device.exchange(&hello).await, reply);
}

const PLACE: &str = ",\"wakeup_hostport\":{\"ip\":\"10.20.30.40\",\"port\":2442},\"mobilenetwork\":{\"mcc\":\"214\",\"mnc\":\"07\"}";

async fn received(relay: &UdpSocket) -> String {
    let mut bytes = [0; 2048];
    let length = tokio::time::timeout(DEADLINE, relay.recv(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn an_idle_user_agent_is_woken_through_its_relay() {
    // Rule: simplepush §20.20 — idle: close 4774; a PUT wakes through the relay; hello brings the version
    let (server, relay) = with_relay().await;
    let mut device = server.device().await;
    hello(&mut device, "", PLACE).await;
    let endpoint = device.register(A).await;
    server.clock.advance(Duration::from_secs(9));
    device.settle().await;
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(device.closed().await, 4774);
    assert_eq!(server.put(&endpoint, "version=60").await.status, 202);
    assert_eq!(received(&relay).await, "wake 10.20.30.40:2442");
    // Rule: simplepush §19.6 — one datagram per UA in a minute, however many PUTs
    for version in 61..70 {
        assert_eq!(server.put(&endpoint, &format!("version={version}")).await.status, 202);
    }
    let mut byte = [0];
    assert!(relay.try_recv(&mut byte).is_err(), "one datagram");
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(server.put(&endpoint, "version=70").await.status, 202);
    assert_eq!(received(&relay).await, "wake 10.20.30.40:2442");
    let mut device = server.device().await;
    hello(&mut device, &format!("\"{A}\""), PLACE).await;
    assert_eq!(device.notified(A).await, 70);
    // While something is unacknowledged it is not sent away.
    server.clock.advance(Duration::from_secs(15));
    device.settle().await;
    device.ack(A, 70).await;
    device.settle().await;
    server.clock.advance(Duration::from_secs(10));
    assert_eq!(device.closed().await, 4774);
}

#[tokio::test]
async fn whoever_cannot_be_woken_stays_connected() {
    // Rule: simplepush R-WS-14 — 4774 is never sent to a UA whose wake-up data can't be acted on
    // Rule: simplepush R-WAKE-1 — only configured networks are contacted
    let (server, relay) = with_relay().await;
    for place in [
        "",
        ",\"wakeup_hostport\":{\"ip\":\"10.20.30.40\",\"port\":2442}",
        &PLACE.replace("10.20.", "10.21."),
        &PLACE.replace("\"07\"", "\"01\""),
        &PLACE.replace("2442", "53"),
        &PLACE.replace("\"10.20.30.40\"", "7"),
    ] {
        let mut device = server.device().await;
        hello(&mut device, "", place).await;
        let endpoint = device.register(A).await;
        server.clock.advance(Duration::from_secs(20));
        device.settle().await;
        device.exchange(&format!("{{\"messageType\":\"unregister\",\"channelID\":\"{A}\"}}")).await;
        let endpoint_again = device.register(A).await;
        assert_eq!(endpoint, endpoint_again);
        device.close().await;
        assert_eq!(server.put(&endpoint, "version=1").await.status, 202);
        server
            .push
            .drop_user_agent(buswire_simplepush::UserAgentId::of_uaid(U).unwrap())
            .await
            .unwrap();
        server.clock.advance(Duration::from_secs(60));
    }
    let mut byte = [0];
    assert!(relay.try_recv(&mut byte).is_err(), "no datagram");
}

#[tokio::test]
async fn a_user_agent_that_left_the_network_is_not_woken() {
    let (server, relay) = with_relay().await;
    let mut device = server.device().await;
    hello(&mut device, "", PLACE).await;
    let endpoint = device.register(A).await;
    device.close().await;
    let mut device = server.device().await;
    hello(&mut device, &format!("\"{A}\""), "").await;
    device.register(A).await;
    device.close().await;
    assert_eq!(server.put(&endpoint, "version=1").await.status, 202);
    let mut byte = [0];
    assert!(relay.try_recv(&mut byte).is_err(), "no datagram");
}
