//! The interface for application servers, and what is thrown at it (SimplePush §12, §19.7).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use buswire_message::Version;
use buswire_simplepush::{Cors, NotifyError, Presence, UserAgentPresence};
use support::{Http, Server, put_request};

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

/// A server, the path of an endpoint, and the device that has it, which is away.
async fn endpoint(configure: impl FnOnce(&mut buswire_simplepush::Config)) -> (Server, String) {
    let server = Server::start_with(configure).await;
    let mut device = server.device().await;
    device.hello("", "").await;
    let url = device.register(A).await;
    device.close().await;
    let path = url.strip_prefix("https://push.example.net").unwrap().to_owned();
    (server, path)
}

#[tokio::test]
async fn bad_tokens_are_all_the_same() {
    let (server, path) = endpoint(|_| {}).await;
    let truncated = &path[..path.len() - 1];
    let flipped = format!("{}{}", truncated, if path.ends_with('A') { 'Q' } else { 'A' });
    let mut bodies = std::collections::BTreeSet::new();
    for bad in [
        "/update",
        "/update/",
        "/update/garbage",
        "/update/%00%ff",
        "/update/../update/x",
        truncated,
        &flipped,
        &format!("{path}="),
        &format!("{path}/"),
        &format!("/update/{}", "A".repeat(90)),
        &format!("/update/{}", "A".repeat(3000)),
        "/update/6f1c0b7a52d94e0c9b3ad41e8f27c650.0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90",
    ] {
        // Rule: simplepush R-EP-4 — every bad token is 404 with the same body
        // Rule: simplepush R-EP-6 — over-long paths are refused before any work
        let reply = server.http(put_request(bad, "version=1")).await;
        assert_eq!(reply.status, 404, "{bad}");
        // Rule: simplepush §12.3 — the content type of every body is application/json
        assert_eq!(reply.header("content-type"), Some("application/json"));
        bodies.insert(reply.body);
    }
    assert_eq!(
        bodies.into_iter().collect::<Vec<_>>(),
        ["{\"code\":404,\"error\":\"Invalid Token\"}"]
    );
}

#[tokio::test]
async fn only_put_and_options_are_methods() {
    let (server, path) = endpoint(|_| {}).await;
    // Rule: simplepush R-HTTP-4 — GET, POST and HEAD are 405
    for method in ["GET", "POST", "HEAD", "DELETE", "PATCH", "BREW"] {
        let reply = server.http(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("PUT, OPTIONS"));
    }
    // Rule: simplepush R-HTTP-3 — OPTIONS is 200 with an empty body regardless of the token
    let reply = server.http("OPTIONS /update/x HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn other_origins_may_be_allowed() {
    // Rule: simplepush R-HTTP-3 — with CORS on all responses carry the headers
    let (server, path) = endpoint(|config| config.cors = Cors::AnyOrigin).await;
    for request in [
        put_request(&path, "version=1"),
        put_request("/update/x", ""),
        format!("OPTIONS {path} HTTP/1.1\r\nHost: x\r\n\r\n"),
    ] {
        let reply = server.http(request).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-methods"), Some("PUT, OPTIONS"));
    }
}

#[tokio::test]
async fn sizes_are_bounded() {
    let (server, path) = endpoint(|_| {}).await;
    // Rule: simplepush §12.4 — data of more than 4096 bytes after decoding is 413
    let fits = format!("version=1&data={}", "%41".repeat(4096));
    assert_eq!(server.http(put_request(&path, &fits)).await.status, 202);
    let long = format!("version=1&data={}", "x".repeat(4097));
    assert_eq!(server.http(put_request(&path, &long)).await.status, 413);
    // Rule: simplepush §16 — a body over the hard limit is 413
    let huge = format!("x={}", "x".repeat(16 * 1024));
    assert_eq!(server.http(put_request(&path, &huge)).await.status, 413);
    // The same without an announced length.
    let mut http = Http::open(&server).await;
    let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    http.send(head.as_bytes()).await;
    http.send(format!("4001\r\n{}\r\n0\r\n\r\n", "x".repeat(0x4001)).as_bytes()).await;
    assert_eq!(http.receive(true).await.status, 413);
    // Rule: simplepush §12.1 — a chunked body within the limit is accepted
    let mut http = Http::open(&server).await;
    http.send(head.as_bytes()).await;
    http.send(b"5\r\nversi\r\n4\r\non=3\r\n0\r\n\r\n").await;
    assert_eq!(http.receive(true).await.status, 202);
}

#[tokio::test]
async fn data_may_be_ignored() {
    // Rule: simplepush R-DATA-1 — with a maximum of 0 the field is ignored
    let (server, path) = endpoint(|config| config.limits.data_bytes_max = 0).await;
    let long = format!("version=1&data={}", "x".repeat(4097));
    assert_eq!(server.http(put_request(&path, &long)).await.status, 202);
}

#[tokio::test]
async fn unreadable_forms_are_bad_requests() {
    let (server, path) = endpoint(|_| {}).await;
    for form in ["version=%", "version=%4", "data=%ff", "version=5 ", "version=0x1", "version=１"]
    {
        assert_eq!(server.http(put_request(&path, form)).await.status, 400, "{form}");
    }
    let multipart = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 3\r\n\r\nabc"
    );
    assert_eq!(server.http(multipart).await.status, 400);
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    // Rule: simplepush R-HTTP-5 — the connection is reusable, also after an error with a small body
    let (server, path) = endpoint(|_| {}).await;
    let mut http = Http::open(&server).await;
    for (request, status) in [
        (put_request(&path, "version=1"), 202),
        (put_request("/update/bad", "version=1"), 404),
        (put_request(&path, "version=x"), 400),
        (put_request(&path, &format!("data={}", "x".repeat(4097))), 413),
        (format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"), 405),
        (put_request(&path, "version=2"), 202),
    ] {
        assert_eq!(http.exchange(request.as_bytes()).await.status, status, "{request}");
    }
    // Rule: simplepush §12.1 — `Expect: 100-continue` is honoured
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    );
    assert_eq!(http.exchange(head.as_bytes()).await.status, 100);
    http.send(b"version=3").await;
    assert_eq!(http.receive(true).await.status, 202);
}

#[tokio::test]
async fn presence_may_be_hidden() {
    // Rule: simplepush §12.3 — a switch `always_200` hides whether the UA is connected
    let (server, path) = endpoint(|config| config.presence = Presence::Hidden).await;
    assert_eq!(server.http(put_request(&path, "version=1")).await.status, 200);
}

#[tokio::test]
async fn the_answer_does_not_depend_on_the_version() {
    // Rule: simplepush R-VER-8 — higher, equal and lower versions are answered alike
    let (server, path) = endpoint(|_| {}).await;
    for version in ["version=5", "version=5", "version=4", "version=6"] {
        assert_eq!(server.http(put_request(&path, version)).await.status, 202, "{version}");
    }
}

#[tokio::test]
async fn concurrent_puts_without_a_version_get_different_ones() {
    // Rule: simplepush R-VER-4 — an assigned version is greater than every earlier one
    let server = Server::start().await;
    let mut device = server.device().await;
    device.hello("", "").await;
    let endpoint = device.register(A).await;
    let notifications = (0..50).map(|_| server.push.notify(&endpoint, None));
    let results = futures::future::join_all(notifications).await;
    let versions: std::collections::BTreeSet<u64> =
        results.into_iter().map(|notified| notified.unwrap().version.get()).collect();
    assert_eq!(versions.len(), 50);
}

#[tokio::test]
async fn a_program_notifies_as_an_application_server_does() {
    let server = Server::start().await;
    let mut device = server.device().await;
    device.hello("", "").await;
    let endpoint = device.register(A).await;
    let notified = server.push.notify(&endpoint, Version::new(7)).await.unwrap();
    assert_eq!(notified.version.get(), 7);
    assert_eq!(notified.user_agent, UserAgentPresence::Connected);
    assert_eq!(device.notified(A).await, 7);
    for url in ["", "https://push.example.net/update/x", "https://push.example.net/"] {
        let refused = server.push.notify(url, None).await;
        assert_eq!(refused.unwrap_err(), NotifyError::NotAnEndpoint, "{url}");
    }
    let request = format!("{{\"messageType\":\"unregister\",\"channelID\":\"{A}\"}}");
    device.exchange(&request).await;
    // Rule: simplepush S14 — nothing is accepted for a channel that is not registered
    assert_eq!(server.push.notify(&endpoint, None).await.unwrap_err(), NotifyError::Gone);
    // Rule: simplepush R-EP-7 — the old URL is valid again when the channel is registered again
    assert_eq!(device.register(A).await, endpoint);
    assert!(server.push.notify(&endpoint, None).await.is_ok());
}
