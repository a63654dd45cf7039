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

use support::Server;

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

#[tokio::test]
async fn a_version_reaches_its_user_agent() {
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    // Rule: simplepush §12.3 — 200 if the UA is connected
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
