//! Slow, endless and giant input at every door: it ends, is refused or is dropped, and the gateway
//! stays up, small and ready.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, net::TcpStream, thread};

use buswire_integration_tests::{DEADLINE, Gateway, Site, curl, python, raw, until};
use serde_json::json;

/// Resident memory in MiB.
fn resident(gateway: &Gateway) -> u64 {
    gateway.resident_kib() / 1024
}

fn assert_well(gateway: &Gateway) {
    let ready = curl(&format!("http://{}/readyz", gateway.bound().ops)).send();
    assert_eq!(ready.status, 200);
    assert!(resident(gateway) < 400, "{} MiB", resident(gateway));
}

#[test]
fn slow_requests_are_cut_off() {
    let gateway = Gateway::builder()
        .by_connection()
        .set("http.header_timeout", "300ms")
        .set("http.body_timeout", "300ms");
    let gateway = gateway.start();
    let http = &gateway.bound().http;
    assert_eq!(raw(http, b"GET / HTTP/1.1\r\nHos"), b"", "half a head");
    let head =
        "HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    for path in ["POST /v2/message", "PUT /update/x", "POST /v1.2/bus/b/channel/c"] {
        let answer = raw(http, format!("{path} {head}").as_bytes());
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    assert_well(&gateway);
}

#[test]
fn a_thousand_idle_connections_hinder_nobody_and_are_closed() {
    let gateway = Gateway::builder().by_connection().set("http.header_timeout", "1s").start();
    let idle: Vec<_> =
        (0..1000).map(|_| TcpStream::connect(&gateway.bound().http).unwrap()).collect();
    assert_eq!(curl(&gateway.url("/v2/message/x")).send().status, 403, "others are served");
    assert_well(&gateway);
    for stream in &idle {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut byte = [0];
        assert_eq!(std::io::Read::read(&mut &*stream, &mut byte).unwrap(), 0, "closed");
    }
}

#[test]
fn header_floods_and_depth_bombs_are_refused() {
    let gateway = Gateway::builder().by_connection().start();
    let site = Site::create(&gateway, "shop.example", &[]);
    let visit = site.visit(&gateway);
    for flood in ["a: b\r\n".repeat(10_000), format!("a: {}\r\n", "b".repeat(100_000))] {
        let request = format!("GET /v2/messages HTTP/1.1\r\nHost: x\r\n{flood}\r\n");
        let answer = raw(&gateway.bound().http, request.as_bytes());
        // The gateway may have closed before it was sent everything, so that its answer is lost.
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bomb = gateway.path("bomb");
    fs::write(&bomb, site.message(&visit.channel, "t", &deep)).unwrap();
    let target = json!({"bus": "shop.example", "channel": visit.channel}).to_string();
    let granted = gateway.admin(&["cap", "grant", "bus.publish", "--target", &target]);
    let granted: serde_json::Value = serde_json::from_str(&granted).unwrap();
    for url in [gateway.url("/v2/message").as_str(), granted["cap"].as_str().unwrap()] {
        let reply = curl(url)
            .header(&format!("Authorization: Bearer {}", site.token))
            .header("Content-Type: application/json")
            .args(&["--data-binary", &format!("@{}", bomb.display())])
            .send();
        assert_eq!(reply.status, 400, "{}", reply.body);
    }
    for since in ["9".repeat(3000).as_str(), "%00", "%ff%fe", "9999-99-99T99:99:99.999Z-0000000000"]
    {
        let messages = site.read(&gateway, &format!("?since={since}&block=0"));
        assert!(messages["messages"].is_array(), "{since}");
    }
    assert_well(&gateway);
}

#[test]
fn websocket_garbage_and_floods_end_the_connection() {
    let gateway =
        Gateway::builder().by_connection().set("simplepush.hello_timeout", "500ms").start();
    let upgrade: &[u8] = b"GET /push HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let huge = [&[0x81, 0xff][..], &[0x3f; 8], &[0; 4], b"x"].concat();
    let ping = [&[0x89, 0x80][..], &[0; 4]].concat();
    let fragments = [&[0x00, 0x80][..], &[0; 4]].concat();
    let flood = [&[0x01, 0x80, 0, 0, 0, 0][..], &fragments.repeat(50_000)].concat();
    let inputs = [vec![], vec![0x81], vec![0xff; 1000], b"\x81\x02{}".to_vec(), huge];
    // At once, since the gateway waits a few seconds for the other side of each closing handshake.
    thread::scope(|scope| {
        for input in inputs.into_iter().chain([ping.repeat(20_000), flood]) {
            let http = &gateway.bound().http;
            scope.spawn(move || {
                let answer = raw(http, &[upgrade, &input].concat());
                assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 101"), "{answer:?}");
            });
        }
    });
    let mut agent = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    assert_eq!(agent.json()["status"], 200, "others are served");
    assert_well(&gateway);
}

#[test]
fn majordomo_drops_what_is_too_much_and_serves_others() {
    let gateway = Gateway::builder()
        .by_connection()
        .set("mdp.max_services", "50")
        .set("mdp.queue_bytes", "1MiB")
        .set("mdp.max_frame_size", "1MiB")
        .start();
    let flood = python("mdp_flood", &[&gateway.bound().mdp]);
    assert_eq!(flood.line(), "sent");
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "w0", "echo"]);
    assert_eq!(worker.json()["event"], "ready");
    until("a client is served", || {
        let client = python("mdp_client", &[&gateway.bound().mdp, "mmi.service", "w0"]);
        (client.json() == json!(["MDPC01", "mmi.service", "200"])).then_some(())
    });
    let services = gateway.admin(&["service", "list", "--output", "json"]);
    let services: serde_json::Value = serde_json::from_str(&services).unwrap();
    assert!(services.as_array().unwrap().len() <= 50, "mdp.max_services holds");
    assert_well(&gateway);
}
