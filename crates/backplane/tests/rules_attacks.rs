//! Rows of Backplane §16 and §17 that are rules of no single endpoint.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::{CLIENT, Door, USER};

const MESSAGE: &str = r#"[{"source":"https://a.example/","type":"t","payload":1}]"#;

#[tokio::test]
async fn five_endpoints_are_padded_and_no_other() {
    let door = Door::start().await;
    assert_eq!(door.post_v1("c1", MESSAGE).await.status, 200);
    let visit = door.visit().await;
    let (access, _) = door.client_tokens().await;
    let posted = format!(
        r#"{{"message":{{"type":"t","bus":"gazette.example","channel":"{}","payload":1}}}}"#,
        visit.channel
    );
    assert_eq!(door.post_message(&access, &posted).await.status, 201);
    let token = format!("access_token={}", visit.access);
    let messages = door.get(&format!("/v2/messages?{token}")).await.json();
    let url = messages["messages"][0]["messageURL"].as_str().unwrap();
    let message = url.strip_prefix("https://bp.example.net").unwrap();
    // Rule: backplane §16 row 5 — five endpoints are padded, no other is
    for target in [
        "/v1/bus/gazette.example/channel/new?callback=f".to_owned(),
        "/v1/bus/gazette.example/channel/c1?callback=f".to_owned(),
        "/v2/token?bus=gazette.example&callback=f".to_owned(),
        format!("/v2/messages?{token}&callback=f"),
        format!("{message}?{token}&callback=f"),
    ] {
        let answer = door.get(&target).await;
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert!(answer.body.starts_with("f(") && answer.body.ends_with(");"), "{target}");
        // Rule: backplane §17 row 2 — a padded answer tells no other site where it came from
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{target}");
        // Rule: backplane §3.6 — API answers are not cached, padded ones send no referrer
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{target}");
        // Rule: backplane §17 row 5 — no answer is taken for another type
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
    }
    // Rule: backplane §17 row 4 — what Basic protects is never padded
    let bus = "/v1/bus/gazette.example?callback=f";
    let answer = door.get_as(bus, &format!("Basic {USER}")).await;
    assert!(answer.status == 200 && answer.body.starts_with("[{"), "{}", answer.body);
    let form = "grant_type=client_credentials&callback=f";
    let kind = "application/x-www-form-urlencoded";
    let target = "/v2/token?callback=f";
    let answer = door.post(target, &format!("Basic {CLIENT}"), kind, form).await;
    assert!(answer.json()["access_token"].is_string());
}

#[tokio::test]
async fn a_channel_holds_a_hundred_messages() {
    let door = Door::start().await;
    let many = |count: usize| {
        let one = MESSAGE.trim_matches(['[', ']']);
        format!("[{}]", vec![one; count].join(","))
    };
    // Rule: backplane §16 row 19 — a channel holds 100 messages by default
    assert_eq!(door.post_v1("c1", &many(101)).await.status, 403);
    assert_eq!(door.post_v1("c1", &many(100)).await.status, 200);
    let refused = door.post_v1("c1", MESSAGE).await;
    assert_eq!(refused.body, r#"{"ERR_MSG":"Message limit exceeded for this channel"}"#);
}

#[tokio::test]
async fn a_host_header_shows_nowhere() {
    let door = Door::start().await;
    let visit = door.visit().await;
    let (access, _) = door.client_tokens().await;
    let posted = format!(
        r#"{{"message":{{"type":"t","bus":"gazette.example","channel":"{}","payload":1}}}}"#,
        visit.channel
    );
    assert_eq!(door.post_message(&access, &posted).await.status, 201);
    // Rule: backplane §17 row 24 — URLs are made from the configured public URL
    for target in [
        format!("/v2/messages?access_token={}", visit.access),
        "/v2/authorize?client_id=comments-svc&response_type=code".to_owned(),
        "/v2/.well-known/host-meta".to_owned(),
    ] {
        let request = format!(
            "GET {target} HTTP/1.1\nHost: evil.example\nX-Forwarded-Host: evil.example\n\n"
        );
        let answer = door.send(&request).await;
        let location = answer.header("location").unwrap_or_default();
        assert!(!format!("{location}{}", answer.body).contains("evil"), "{answer:?}");
        assert!(format!("{location}{}", answer.body).contains("https://bp.example.net"));
    }
}
