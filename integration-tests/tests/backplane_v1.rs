//! Backplane 1.2 through the built gateway, with curl.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{Gateway, curl};
use serde_json::json;

#[test]
fn a_back_end_posts_and_a_page_reads() {
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "v1/shop.example"]);
    let password = gateway.path("password");
    std::fs::write(&password, "s3cret:with colon").unwrap();
    let file = password.display().to_string();
    gateway.admin(&["user", "create", "shop", "--password-file", &file]);
    gateway.admin(&["user", "permit", "shop", "v1/shop.example", "GETALL", "POST"]);
    let user = ["--user", "shop:s3cret:with colon"];

    // Rule: backplane §6.3 — a new channel has 32 lower-case hexadecimal digits
    let channel = curl(&gateway.url("/v1.2/bus/shop.example/channel/new")).send().json();
    let channel = channel.as_str().unwrap();
    assert!(channel.len() == 32 && channel.bytes().all(|b| b.is_ascii_hexdigit()));
    let url = gateway.url(&format!("/v1.2/bus/shop.example/channel/{channel}"));
    let message =
        r#"{"source":"https://shop.example/","type":"identity/login","payload":{"n":1.10}}"#;
    let posted = curl(&url).args(&user).json(&format!("[{message},{message}]")).send();
    // Rule: backplane §6.7 — a post is answered 200 with an empty body
    assert_eq!((posted.status, posted.body.as_str()), (200, ""));

    // Rule: backplane §6.4 — anybody who knows the channel reads it, padded if it asks so
    let page = curl(&format!("{url}?callback=got")).send();
    let frames = page.body.strip_prefix("got(").and_then(|rest| rest.strip_suffix(");")).unwrap();
    assert!(frames.contains(r#""payload":{"n":1.10}"#), "numbers keep their digits: {frames}");
    let frames: serde_json::Value = serde_json::from_str(frames).unwrap();
    let since = frames[0]["id"].as_str().unwrap();
    let later = curl(&format!("{url}?since={since}")).send().json();
    assert_eq!((later.as_array().unwrap().len(), &later[0]["id"]), (1, &frames[1]["id"]));

    let bus = gateway.url("/v1.2/bus/shop.example");
    assert_eq!(curl(&bus).args(&user).send().json().as_array().unwrap().len(), 2);
    let denied = curl(&bus).args(&["--user", "shop:wrong"]).send();
    assert_eq!((denied.status, denied.json()), (401, json!({"ERR_MSG": "Access denied."})));
    // Rule: backplane §1.4 — a message of one generation is never visible through the other
    let other = gateway.admin(&["bus", "list", "--output", "json"]);
    assert!(other.contains("v1/shop.example"), "{other}");
}
