//! The examples of docs/belay.md, done as they stand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, os::unix::fs::symlink, process::Command};

use axum::{Router, response::Html, routing::get};
use buswire_integration_tests::{Gateway, Website, binary, chromium, root, text_when};
use serde_json::Value;

/// The first code block of a language.
fn block(language: &str) -> String {
    let guide = fs::read_to_string(root().join("docs/belay.md")).unwrap();
    let (_, after) = guide.split_once(&format!("\n```{language}\n")).expect("a block");
    after.split_once("\n```").unwrap().0.to_owned()
}

#[test]
fn the_terminal_example_grants_narrows_and_revokes() {
    // Rule: belay 16.2 — holders need nothing but HTTP: the guide's example by curl
    let gateway = Gateway::spawn();
    let programs = tempfile::tempdir().unwrap();
    symlink(binary(), programs.path().join("buswire")).unwrap();
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-euc", &block("sh")])
        .env("PATH", path)
        .env("BUSWIRE_ADMIN", format!("http://{}", gateway.bound().admin))
        .env("BUSWIRE_ADMIN_TOKEN", gateway.admin_token())
        .output()
        .unwrap();
    let (out, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    assert_eq!(out.matches(r#"{"value":{"id":"#).count(), 2, "{out}");
    assert!(out.contains(r#""kind":"bus.publish","label":"courier","methods":["POST"]"#), "{out}");
    assert!(out.contains(r#""usesLeft":2"#), "{out}");
    assert!(out.ends_with(r#"{"error":{"status":404,"message":"not found"}}"#), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_example_reads_grants_and_publishes() {
    // Rule: belay 12.1 — the guide's example of a page
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "example.com"]);
    let target = r#"{"bus":"example.com","channel":"orders"}"#;
    let [read, publish] = ["bus.read", "bus.publish"].map(|kind| {
        let granted = gateway.admin(&["cap", "grant", kind, "--target", target]);
        serde_json::from_str::<Value>(&granted).unwrap()["cap"].as_str().unwrap().to_owned()
    });
    let html = block("html")
        .replace("https://gw.example", &gateway.url(""))
        .replace("PUBLISH-LINK", &publish)
        .replace("READ-LINK", &read);
    let page = format!("<!doctype html><title>A page</title><body>{html}</body>");
    let site =
        Website::start(Router::new().route("/", get(async move || Html(page.clone())))).await;
    let (_driver, browser) = chromium().await;
    browser.goto(site.other_url("/")).await.unwrap();
    text_when(&browser, "body", |text| text == "0 orders").await;

    let tail = ["message", "tail", "--scope", "bus:example.com", "--since", "beginning"];
    let message = gateway.admin(&[&tail[..], &["--count", "1"]].concat());
    let message: Value = serde_json::from_str(&message).unwrap();
    let sink = format!("cap:{}", message["payload"]["cap"].as_str().unwrap());
    let scope = "bus:example.com type:order/new";
    gateway.admin(&["route", "create", "r", "--scope", scope, "--sink", &sink]);
    gateway.admin(&[
        "message",
        "publish",
        "--bus",
        "example.com",
        "--channel",
        "orders",
        "--type",
        "order/new",
        "--payload",
        r#"{"item":"a hat"}"#,
    ]);
    text_when(&browser, "body", |text| text == "0 orders, now a hat").await;
    browser.quit().await.unwrap();
}

#[test]
fn the_rust_example_is_that_of_the_crate() {
    let example = root().join("crates/belay/examples/belay_server.rs");
    let example = fs::read_to_string(example).unwrap();
    for line in block("rust").lines() {
        assert!(example.contains(line), "{line}");
    }
}
