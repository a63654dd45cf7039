//! What operators rely on: status, redirects, policies of versions, rotation of keys, clean logs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::{Arc, Mutex};

use buswire_simplepush::{
    Redirect, RedirectUrl, TokenKey, TokenKeys, UserAgentPresence, VersionPolicy,
};
use support::Server;

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

async fn status(server: &Server, path: &str) -> (u16, String) {
    let reply = server.http(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    (reply.status, reply.body)
}

#[tokio::test]
async fn load_balancers_see_the_status() {
    // Rule: simplepush R-OPS-1 — 200 with status, clients and version; 503 while draining or without a store
    let server = Server::start().await;
    let version = env!("CARGO_PKG_VERSION");
    let body = |text: &str, clients: usize| {
        format!("{{\"status\":\"{text}\",\"clients\":{clients},\"version\":\"{version}\"}}")
    };
    assert_eq!(status(&server, "/status").await, (200, body("OK", 0)));
    let device = server.device().await;
    assert_eq!(status(&server, "/status/").await, (200, body("OK", 1)));
    server.store.close().await;
    assert_eq!(status(&server, "/status").await, (503, body("UNAVAILABLE", 1)));
    drop(device);
    server.push.drain().await;
    assert_eq!(status(&server, "/status").await, (503, body("DRAINING", 0)));
}

#[tokio::test]
async fn a_crowded_server_sends_newcomers_elsewhere() {
    // Rule: simplepush §20.19 — redirect: status 307 with the UA's own UAID, then close
    // Rule: simplepush §15.4 — duplicate hellos are never redirected
    let url = RedirectUrl::new("wss://push2.example.net/").unwrap();
    let server = Server::start_with(|config| {
        config.redirect = Some(Redirect { connections: 1, url });
    })
    .await;
    let mut first = server.device().await;
    let own = first.hello("", "").await;
    let mut second = server.device().await;
    let uaid = "6F1C0B7A52D94E0C9B3AD41E8F27C650";
    let hello =
        format!("{{\"messageType\":\"hello\",\"uaid\":\"{uaid}\",\"channelIDs\":[\"{A}\"]}}");
    assert_eq!(
        second.exchange(&hello).await,
        format!(
            "{{\"messageType\":\"hello\",\"uaid\":\"{uaid}\",\"status\":307,\"redirect\":\"wss://push2.example.net/\"}}"
        )
    );
    assert_eq!(second.closed().await, 1000);
    assert_eq!(first.hello("", "").await, own);
}

async fn shown_at_hello(policy: VersionPolicy, puts: &[u64]) -> Vec<u64> {
    let server = Server::start_with(|config| config.version_policy = policy).await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    device.close().await;
    for version in puts {
        assert_eq!(server.put(&endpoint, &format!("version={version}")).await.status, 202);
    }
    let mut shown = Vec::new();
    let mut device = server.device().await;
    device.hello(&uaid, &format!("\"{A}\"")).await;
    shown.push(device.notified(A).await);
    device.ack(A, shown[0]).await;
    device.settle().await;
    // What a lower version does after the acknowledgement.
    assert_eq!(server.put(&endpoint, "version=2").await.status, 200);
    if policy == VersionPolicy::Strict {
        device.settle().await;
    } else {
        shown.push(device.notified(A).await);
    }
    shown
}

#[tokio::test]
async fn the_version_that_stays_is_a_policy() {
    // Rule: simplepush R-VER-6 — while P is pending a PUT of N changes pending to the greater
    assert_eq!(shown_at_hello(VersionPolicy::Greatest, &[7, 9, 5]).await, [9, 2]);
    // Rule: simplepush R-VER-7 — `strict` ignores what is not greater than every earlier version
    assert_eq!(shown_at_hello(VersionPolicy::Strict, &[7, 9, 5]).await, [9]);
    // Rule: simplepush R-VER-7 — `last` takes the last that arrived
    assert_eq!(shown_at_hello(VersionPolicy::Last, &[7, 9, 5]).await, [5, 2]);
}

#[tokio::test]
async fn the_last_version_is_what_a_connected_client_must_acknowledge() {
    // Rule: simplepush R-VER-7 — under `last` a lower version replaces an unacknowledged one
    let server = Server::start_with(|config| config.version_policy = VersionPolicy::Last).await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    for version in [9, 5] {
        server.put(&endpoint, &format!("version={version}")).await;
        assert_eq!(device.notified(A).await, version);
    }
    device.ack(A, 5).await;
    device.settle().await;
    device.close().await;
    let mut device = server.device().await;
    device.hello(&uaid, &format!("\"{A}\"")).await;
    device.settle().await;
}

#[tokio::test]
async fn keys_are_rotated_without_breaking_endpoints() {
    // Rule: simplepush R-EP-2 — the newest key encrypts, all listed keys decrypt
    // Rule: simplepush R-EP-3 — every endpoint ever returned for a live channel keeps working
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let before = device.register(A).await;
    device.close().await;
    let rotated = |keys: TokenKeys| {
        let (store, clock) = (server.store.clone(), server.clock.clone());
        Server::start_on(store, clock, |config| config.token_keys = Arc::new(keys))
    };
    let key = |id: u8, byte: u8| TokenKey::new(id, [byte; 32]);
    let next = rotated(TokenKeys::new(&key(2, 8), &[key(1, 7)]).unwrap()).await;
    let mut device = next.device().await;
    device.hello(&uaid, &format!("\"{A}\"")).await;
    let after = device.register(A).await;
    assert_ne!(before, after);
    for (version, endpoint) in [(1, &before), (2, &after)] {
        assert_eq!(next.put(endpoint, &format!("version={version}")).await.status, 200);
        assert_eq!(device.notified(A).await, version);
    }
    device.close().await;
    let last = rotated(TokenKeys::new(&key(2, 8), &[]).unwrap()).await;
    assert_eq!(last.put(&before, "version=3").await.status, 404);
    let notified = last.push.notify(&after, None).await.unwrap();
    assert_eq!(notified.user_agent, UserAgentPresence::Away);
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_hold_no_names() {
    // Rule: simplepush R-OPS-3 — logs never hold a UAID, a channelID, a token or data
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    server.put(&endpoint, "version=7&data=a+secret+word").await;
    device.receive().await;
    server.put("/update/garbage", "").await;
    server.store.close().await;
    // What fails is logged.
    assert_eq!(server.put(&endpoint, "version=8&data=a+secret+word").await.status, 503);
    device.exchange(&format!("{{\"messageType\":\"unregister\",\"channelID\":\"{A}\"}}")).await;
    let mut other = server.device().await;
    other
        .exchange(&format!("{{\"messageType\":\"hello\",\"uaid\":\"{uaid}\",\"channelIDs\":[]}}"))
        .await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("registry operation failed"), "{log}");
    let token = endpoint.rsplit('/').next().unwrap();
    for secret in [&*uaid, A, token, "secret"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    // Rule: simplepush R-OPS-2 — metrics of clients, application servers and delivery
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    for version in [1, 2] {
        server.put(&endpoint, &format!("version={version}")).await;
        device.notified(A).await;
    }
    device.ack(A, 2).await;
    device.exchange("{}").await;
    device.close().await;
    server.put(&endpoint, "version=3").await;
    server.put(&endpoint, "version=x").await;
    server.put(&endpoint, &format!("data={}", "x".repeat(4097))).await;
    server.put("/update/garbage", "").await;
    let mut device = server.device().await;
    device.hello(&uaid, "\"nonsense\"").await;
    server.put(&endpoint, "").await;
    device.exchange("{}").await;
    device.exchange("{}").await;
    assert_eq!(device.closed().await, 1008);
    server.wait_for_connections(0).await;
    let text = handle.render();
    for line in [
        "simplepush_connections 0",
        "simplepush_connects_total 2",
        "simplepush_connection_seconds_count 2",
        "simplepush_requests_total{type=\"hello\"} 2",
        "simplepush_requests_total{type=\"register\"} 1",
        "simplepush_requests_total{type=\"ack\"} 1",
        "simplepush_requests_total{type=\"ping\"} 3",
        "simplepush_too_many_pings_total 1",
        "simplepush_resets_total{cause=\"missing\"} 1",
        "simplepush_closes_total{reason=\"client_fault\"} 1",
        "simplepush_updates_sent_total 2",
        "simplepush_flush_seconds_count 1",
        "simplepush_puts_total{result=\"delivered\"} 2",
        "simplepush_puts_total{result=\"stored\"} 1",
        "simplepush_puts_total{result=\"invalid\"} 2",
        "simplepush_puts_total{result=\"too_long\"} 1",
        "simplepush_puts_total{result=\"gone\"} 1",
        "simplepush_put_seconds_count 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}
