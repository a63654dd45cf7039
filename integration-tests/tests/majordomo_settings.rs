//! What the settings of the broker do, seen by a peer of another make.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;

use buswire_integration_tests::{Gateway, until};

const SETTINGS: &str = r#"
[mdp]
mmi_extensions = true
dialects = ["majortomo"]

[[mdp.services]]
name = "strict"
queue_limit = 1
error_reply = "busy"

[[mdp.access]]
call = ["strict"]
"#;

/// A DEALER on its own context.
fn dealer(gateway: &Gateway) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
    socket.set_rcvtimeo(20_000).unwrap();
    socket.set_linger(0).unwrap();
    socket.connect(&gateway.bound().mdp).unwrap();
    socket
}

fn send(socket: &zmq::Socket, frames: &[&[u8]]) {
    socket.send_multipart(frames, 0).unwrap();
}

fn asked(socket: &zmq::Socket, frames: &[&[u8]]) -> Vec<Vec<u8>> {
    send(socket, frames);
    socket.recv_multipart(0).expect("an answer in time")
}

#[test]
fn services_have_settings_of_their_own() {
    // Rule: mdp §12.4 — a service may be configured to answer requests that fail
    // Rule: mdp §13.3 — the extensions of MMI can be switched on
    let gateway = Gateway::builder().file(SETTINGS).start();
    let client = dealer(&gateway);
    let stats = asked(&client, &[b"", b"MDPC01", b"mmi.stats"]);
    assert_eq!(stats[3], b"200");
    assert!(stats[4].starts_with(b"{\"services\":"));
    // The first waits for a worker, the second finds the queue full.
    send(&client, &[b"1", b"", b"MDPC01", b"strict"]);
    let failed = asked(&client, &[b"", b"MDPC02", b"\x02", b"strict"]);
    // Rule: mdp §6.3 — c: dialects can be switched on
    assert_eq!(failed, [&b""[..], b"MDPC02", b"\x04", b"busy"]);
}

#[test]
fn who_may_register_is_read_again_on_sighup() {
    // Rule: mdp §14.2 — who may register and call is read again on a signal
    let gateway = Gateway::builder().file(SETTINGS).start();
    let refused = asked(&dealer(&gateway), &[b"", b"MDPW01", b"\x01", b"strict"]);
    assert_eq!(refused, [&b""[..], b"MDPW01", b"\x05"]);
    let file = gateway.path("buswire.toml");
    fs::write(&file, format!("{SETTINGS}register = [\"strict\"]\n")).unwrap();
    gateway.signal("HUP");
    let client = dealer(&gateway);
    until("the worker may register", || {
        let worker = dealer(&gateway);
        send(&worker, &[b"", b"MDPW01", b"\x01", b"strict"]);
        // What the worker hears next shows that its READY was taken in: heartbeat or goodbye.
        let heard = worker.recv_multipart(0).unwrap();
        let registered = asked(&client, &[b"", b"MDPC01", b"mmi.service", b"strict"]);
        (heard[2] == b"\x04" && registered[3] == b"200").then_some(())
    });
    assert!(!gateway.log().contains("change at the next start"), "{}", gateway.log());
}
