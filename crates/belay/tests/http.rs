//! The HTTP endpoint, spoken to in raw bytes (Belay §16, §21, §25).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{net::IpAddr, sync::atomic::Ordering};

use axum::{Extension, body::Body, extract::Request};
use buswire_belay::ClientAddress;
use common::{World, path_of};
use tower::ServiceExt as _;

const NOT_FOUND: &str = r#"{"error":{"status":404,"message":"not found"}}"#;

#[tokio::test]
async fn grant_invoke_revoke() {
    // Rule: belay 20.6 — after a revocation the capability answers 404
    // Rule: belay 16.2 — PUT and POST carry bcapJson as their body, GET and DELETE carry none
    // Rule: belay 18 D12 — success without a result is 200 with an empty body
    let world = World::new().await;
    let granted = world.grant("test.echo", r#"{"channel":"orders"}"#, "").await;
    let got = world.call("GET", &granted.cap, "").await;
    assert_eq!((got.status, got.body.as_str()), (200, r#"{"value":{"channel":"orders"}}"#));
    let posted = world.call("POST", &granted.cap, r#"{"value":{"since":17,"block":0}}"#).await;
    assert_eq!((posted.status, posted.body.as_str()), (200, r#"{"value":{"since":17,"block":0}}"#));
    let put = world.call("PUT", &granted.cap, r#"{"value":{"version":12}}"#).await;
    assert_eq!((put.status, put.body.as_str()), (200, ""));
    let deleted = world.call("DELETE", &granted.cap, "").await;
    assert_eq!((deleted.status, deleted.body.as_str()), (200, ""));
    world.server.revoke(&granted.handle).await.unwrap();
    for method in ["GET", "DELETE"] {
        world.call(method, &granted.cap, "").await.is_failure(404, "not found");
    }
}

#[tokio::test]
async fn a_reply_has_exactly_these_headers() {
    // Rule: belay 21.4 — a result is text/plain in UTF-8 and has the security headers
    // Rule: belay 16.3 — a result is 200 with CORS for everybody
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    let answer = world.call("POST", &granted.cap, r#"{"value":5}"#).await.comparable();
    let expected = [
        ("access-control-allow-origin", "*"),
        ("cache-control", "no-store"),
        ("connection", "close"),
        ("content-length", "11"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
        ("content-type", "text/plain;charset=UTF-8"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(answer.headers, expected);
    assert_eq!(answer.body, r#"{"value":5}"#);
    // No data is an empty body without a type.
    let empty = world.call("POST", &granted.cap, "").await;
    assert_eq!((empty.status, empty.body.as_str(), empty.header("content-type")), (200, "", None));
}

#[tokio::test]
async fn json_only_for_those_who_name_it() {
    // Rule: belay 21.4 — application/json when Accept names it explicitly
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    let path = path_of(granted.cap.expose());
    for (accept, expected) in [
        ("application/json", "application/json"),
        ("text/html, application/json;q=0.9", "application/json"),
        ("*/*", "text/plain;charset=UTF-8"),
        ("application/*", "text/plain;charset=UTF-8"),
        ("application/json;q=0", "text/plain;charset=UTF-8"),
    ] {
        let answer = world
            .raw(&format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
    }
}

#[tokio::test]
async fn whatever_is_dead_looks_the_same() {
    // Rule: belay 20.8 — exhausted, expired, suspended, revoked and unknown look alike
    // Rule: belay 21.1 — anything after the id is 404, queries are ignored
    // Rule: belay 21.5 — a failure has a JSON body with status and message, and CORS
    // Rule: belay 19 row 13 — the body of a 404 does not tell the id
    let world = World::new().await;
    let revoked = world.grant("test.echo", "", "").await;
    world.server.revoke(&revoked.handle).await.unwrap();
    let suspended = world.grant("test.echo", "", "").await;
    world.server.set_suspended(&suspended.handle, true).await.unwrap();
    let expired = world.grant("test.echo", "", r#"{"expires":"2024-03-09T14:05:21Z"}"#).await;
    let early = world.grant("test.echo", "", r#"{"notBefore":"2024-03-09T14:05:22Z"}"#).await;
    let used_up = world.grant("test.echo", "", r#"{"uses":1}"#).await;
    assert_eq!(world.call("GET", &used_up.cap, "").await.status, 200);
    let alive = world.grant("test.echo", "", "").await;
    let mut paths: Vec<String> = [&revoked, &suspended, &expired, &early, &used_up]
        .map(|granted| path_of(granted.cap.expose()).to_owned())
        .into();
    let alive = path_of(alive.cap.expose());
    paths.extend(
        [
            "/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936",
            "/cap/Qm2vR8xK1tZ4yLw0nS7dJc9fHb3aUe6gPiToXkVh5Yk",
            "/cap/",
            "/cap/short",
            "/cap/%41%41%41%41%41%41%41%41%41%41%41%41%41%41%41%41%41%41%41%41%41%41",
        ]
        .map(str::to_owned),
    );
    paths.push(format!("{alive}/x"));
    paths.push(format!("{alive}/"));
    let mut answers = Vec::new();
    for path in &paths {
        let answer = world.send("GET", path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (404, NOT_FOUND), "{path}");
        answers.push(answer.comparable());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    let queried = world.send("GET", &format!("{alive}?secret=x"), "").await;
    assert_eq!(queried.status, 200);
}

#[tokio::test]
async fn a_preflight_tells_nothing() {
    // Rule: belay 21.3 — OPTIONS is answered without any lookup
    // Rule: belay 16.4 — a preflight allows every origin and lasts 30 days
    // Rule: belay 18 D16 — every origin may ask, never with credentials
    let world = World::new().await;
    let granted = world.grant("test.echo", "", r#"{"methods":["GET"]}"#).await;
    let preflight = |path: String| {
        let world = &world;
        async move {
            let request = format!(
                "OPTIONS {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\n\
                 Access-Control-Request-Method: PUT\r\n\
                 Access-Control-Request-Headers: content-type, x-a\r\nConnection: close\r\n\r\n"
            );
            world.raw(&request).await.comparable()
        }
    };
    let known = preflight(path_of(granted.cap.expose()).to_owned()).await;
    assert_eq!(known.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, HEAD, PUT, POST, DELETE"),
        ("access-control-allow-headers", "content-type, x-a"),
        ("access-control-max-age", "2592000"),
        ("vary", "Access-Control-Request-Headers"),
    ] {
        assert_eq!(known.header(name), Some(value), "{name}");
    }
    let unknown = "/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936".to_owned();
    assert_eq!(preflight(unknown).await, known);
    assert_eq!(preflight("/belay/wrap".to_owned()).await, known);
    assert_eq!(world.echo.invoked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn requests_are_judged_in_order() {
    // Rule: belay 21.3 — method, size, lookup, allowed method, body: the first that fails answers
    // Rule: belay 19 row 14 — 405 has the headers of CORS
    let world = World::with(|mut config| {
        config.body_bytes_max = 100;
        config
    })
    .await;
    let limits = r#"{"methods":["POST","GET"]}"#;
    let granted = world.grant("test.echo", "", limits).await;
    let unknown = "/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936";
    let large = "x".repeat(101);
    // 2 before 3 and 4.
    let trace = world.send("PATCH", unknown, &large).await;
    trace.is_failure(405, "method not allowed");
    assert_eq!(trace.header("allow"), Some("GET, HEAD, PUT, POST, DELETE"));
    // 3 before 4, declared and actual.
    world.send("POST", unknown, &large).await.is_failure(413, "too large");
    let chunked = format!(
        "POST {unknown} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n65\r\n{large}\r\n0\r\n\r\n"
    );
    world.raw(&chunked).await.is_failure(413, "too large");
    // 4 before 5 and 6.
    world.send("PUT", unknown, "nonsense").await.is_failure(404, "not found");
    // 5 before 6.
    let put = world.call("PUT", &granted.cap, "nonsense").await;
    put.is_failure(405, "method not allowed");
    assert_eq!(put.header("allow"), Some("GET, HEAD, POST"));
    assert_eq!(world.echo.invoked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn bodies_have_rules() {
    // Rule: belay 21.3 — GET and DELETE with a body are 400, a body that does not decode is 400
    // Rule: belay 6.5 — GET or DELETE carrying data fails 400 and the item is not called
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    for method in ["GET", "HEAD", "DELETE"] {
        let answer = world.call(method, &granted.cap, r#"{"value":1}"#).await;
        assert_eq!(answer.status, 400, "{method}");
    }
    for body in [r#"{"valu":1}"#, "[1]", "5", r#"{"value":{"@":"x","also":1}}"#, "nonsense"] {
        world.call("POST", &granted.cap, body).await.is_failure(400, "bad request");
    }
    assert_eq!(world.echo.invoked.load(Ordering::SeqCst), 0);
    // Rule: belay 21.3 — another media type or charset is 415, none at all is fine
    let path = path_of(granted.cap.expose());
    let typed = |header: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\
             Content-Length: 11\r\n\r\n{{\"value\":1}}"
        )
    };
    for header in ["Content-Type: text/html\r\n", "Content-Type: text/plain;charset=latin1\r\n"] {
        world.raw(&typed(header)).await.is_failure(415, "unsupported media type");
    }
    for header in ["", "Content-Type: application/json\r\n", "Content-Type: text/plain\r\n"] {
        let answer = world.raw(&typed(header)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"value":1}"#));
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    // Rule: belay 21.3 — HEAD is GET without a body and counts as GET
    let world = World::new().await;
    let granted = world.grant("test.echo", "", r#"{"methods":["GET"],"uses":2}"#).await;
    let head = world.call("HEAD", &granted.cap, "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(world.call("GET", &granted.cap, "").await.status, 200);
    assert_eq!(world.call("HEAD", &granted.cap, "").await.status, 404);
    let posting = world.grant("test.echo", "", r#"{"methods":["POST"]}"#).await;
    assert_eq!(world.call("HEAD", &posting.cap, "").await.status, 405);
}

#[tokio::test]
async fn limits_answer_with_their_statuses() {
    // Rule: belay 20.8 — channels and types 403, methods 405, maxBytes 413, rate 429, uses 404
    let world = World::new().await;
    let limits = r#"{"channels":["orders"],"types":["order/new"],"maxBytes":60,
                     "rate":{"count":1,"per":30},"uses":2,"methods":["POST"]}"#;
    let granted = world.grant("test.echo", "", limits).await;
    let post = |body: &'static str| world.call("POST", &granted.cap, body);
    post(r#"{"value":{"channel":"other"}}"#).await.is_failure(403, "forbidden");
    post(r#"{"value":{"channel":"orders","type":"x"}}"#).await.is_failure(403, "forbidden");
    post(r#"{"value":{"channel":"orders","pad":"xxxxxxxxxxxxxxxxxxxxxxxxx"}}"#)
        .await
        .is_failure(413, "too large");
    world.call("GET", &granted.cap, "").await.is_failure(405, "method not allowed");
    let good = r#"{"value":{"channel":"orders","type":"order/new"}}"#;
    assert_eq!(post(good).await.status, 200);
    let limited = post(good).await;
    limited.is_failure(429, "too many requests");
    assert_eq!(limited.header("retry-after"), Some("30"));
    world.clock.advance(std::time::Duration::from_secs(30));
    assert_eq!(post(good).await.status, 200);
    post(good).await.is_failure(404, "not found");
    assert_eq!(world.echo.invoked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn failures_of_operations_pass_through() {
    // Rule: belay 21.5 — 502, 503 and 504 pass through; 503 has Retry-After
    // Rule: belay 6.5 — an item that fails by a bug is 500, so is a result of PUT or DELETE
    let world = World::new().await;
    let granted = world.grant("test.broken", "", "").await;
    let post = |body: &'static str| world.call("POST", &granted.cap, body);
    post(r#"{"value":502}"#).await.is_failure(502, "bad gateway");
    let down = post(r#"{"value":503}"#).await;
    down.is_failure(503, "unavailable");
    assert_eq!(down.header("retry-after"), Some("7"));
    post(r#"{"value":504}"#).await.is_failure(504, "timeout");
    let internal = "internal server error";
    post(r#"{"value":0}"#).await.is_failure(500, internal);
    world.call("PUT", &granted.cap, r#"{"value":0}"#).await.is_failure(500, internal);
    world.call("DELETE", &granted.cap, "").await.is_failure(500, internal);
    // A result that would be a forged reference can't be encoded.
    world.call("GET", &granted.cap, "").await.is_failure(500, internal);
}

#[tokio::test]
async fn cookies_and_credentials_play_no_part() {
    // Rule: belay 21.4 — no Set-Cookie; Cookie and Authorization are ignored
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    let path = path_of(granted.cap.expose());
    let with = world
        .raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\nAuthorization: Bearer x\r\n\
             Connection: close\r\n\r\n"
        ))
        .await;
    let without = world.call("GET", &granted.cap, "").await;
    assert_eq!(with.clone().comparable(), without.comparable());
    assert_eq!(with.header("set-cookie"), None);
}

#[tokio::test]
async fn scanning_is_slowed_down_and_valid_ids_are_not() {
    // Rule: belay 21.6 — too many 404 get 429, and a valid id is never locked out
    let world = World::with(|mut config| {
        config.not_found_per_second = 3;
        config
    })
    .await;
    let granted = world.grant("test.echo", "", "").await;
    let scanner = ClientAddress(IpAddr::from([192, 0, 2, 1]));
    let router = world.server.router().layer(Extension(scanner));
    let get = |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let router = router.clone();
        async move { router.oneshot(request).await.unwrap().status().as_u16() }
    };
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(get("/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936").await);
    }
    assert_eq!(statuses, [404, 404, 404, 429, 429]);
    assert_eq!(get(path_of(granted.cap.expose())).await, 200);
}

#[tokio::test]
async fn granted_urls_come_from_the_configuration() {
    // Rule: belay 21.1 — the public base URL is configuration, never taken from Host
    // Rule: belay 21.2 — an id is 32 random bytes in base64url, 43 characters
    // Rule: belay 18 D3 — ids of URLs have 256 random bits, those of URNs are UUIDs
    let world = World::new().await;
    let granted = world.grant("test.echo", "", "").await;
    for cap in [&granted.cap, &granted.control] {
        let id = cap.expose().strip_prefix("https://gw.example/cap/").unwrap();
        assert_eq!(id.len(), 43);
        assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }
    assert_ne!(granted.cap, granted.control);
}
