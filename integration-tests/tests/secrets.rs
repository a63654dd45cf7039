//! No secret in the log at its most talkative, in the metrics, or in what commands print.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, process::Command};

use buswire_integration_tests::{Gateway, Site, binary, curl, python, until};
use serde_json::{Value, json};

/// Every secret that was handed out, with what it is.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 9, "{what} is long enough to be found: {secret}");
        self.0.push((what, secret.to_owned()));
    }

    fn add_url(&mut self, what: &'static str, url: &Value) {
        self.add(what, url.as_str().unwrap().rsplit('/').next().unwrap());
    }

    fn assert_absent(&self, place: &str, text: &str) {
        for (what, secret) in &self.0 {
            assert!(!text.contains(secret), "{place} shows the {what}");
        }
    }
}

/// A device that registers a channel and gets a notification. Returns the endpoint.
fn push(gateway: &Gateway, secrets: &mut Secrets) -> Value {
    let mut agent = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    secrets.add("UAID", agent.json()["uaid"].as_str().unwrap());
    agent.say(r#"{"messageType":"register","channelID":"8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b11"}"#);
    let endpoint = agent.json()["pushEndpoint"].clone();
    secrets.add_url("token of the endpoint", &endpoint);
    let put = curl(endpoint.as_str().unwrap()).method("PUT").args(&["--data", "version=5"]).send();
    assert_eq!(put.status, 200);
    assert_eq!(agent.json()["messageType"], "notification");
    endpoint
}

/// A capability that reads, one that publishes, and routes into it and to the endpoint.
fn capabilities(
    gateway: &Gateway,
    secrets: &mut Secrets,
    channel: &str,
    endpoint: &Value,
) -> String {
    let target = json!({"bus": "shop.example", "channel": channel}).to_string();
    let mut urls = Vec::new();
    for kind in ["bus.read", "bus.publish"] {
        let granted = gateway.admin(&["cap", "grant", kind, "--target", &target]);
        let granted: Value = serde_json::from_str(&granted).unwrap();
        secrets.add_url("capability", &granted["cap"]);
        secrets.add_url("control capability", &granted["control"]);
        urls.push(granted["cap"].as_str().unwrap().to_owned());
    }
    let sinks = [format!("push:{}", endpoint.as_str().unwrap()), format!("cap:{}", urls[1])];
    for (name, sink) in ["ring", "post"].iter().zip(&sinks) {
        gateway.admin(&["route", "create", name, "--scope", "bus:shop.example", "--sink", sink]);
    }
    urls.swap_remove(0)
}

#[test]
fn nothing_that_is_printed_shows_a_secret() {
    // Rule: belay 21.7 — ids are in no log, no metric, no error text and no listing
    let mut secrets = Secrets(Vec::new());
    let gateway = Gateway::builder().set("log.filter", "trace").start();
    secrets
        .add("admin token", fs::read_to_string(gateway.path("data/admin.token")).unwrap().trim());
    secrets
        .add("key of Belay", fs::read_to_string(gateway.path("data/belay.keys")).unwrap().trim());
    gateway.admin(&["owner", "create", "olga", "--password", "Parsley-owner-7"]);
    secrets.add("owner's password", "Parsley-owner-7");
    let site = Site::create(&gateway, "shop.example", &[]);
    let visit = site.visit(&gateway);
    secrets.add("client secret", &site.secret);
    secrets.add("privileged token", &site.token);
    secrets.add("anonymous token", &visit.token);
    let endpoint = push(&gateway, &mut secrets);
    let read = capabilities(&gateway, &mut secrets, &visit.channel, &endpoint);
    site.post(&gateway, &visit.channel, "order/new", r#""Payload-parsley""#);
    secrets.add("payload", "Payload-parsley");
    until("both routes delivered", || {
        let listed = gateway.admin(&["route", "list", "--output", "json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let done = |route: &Value| route["delivered"].as_u64() > Some(0);
        listed.as_array().unwrap().iter().all(done).then_some(())
    });
    assert_eq!(curl(&read).send().status, 200);
    let wrong = format!("{}x", visit.token);
    let refused = curl(&gateway.url(&format!("/v2/messages?access_token={wrong}"))).send();
    assert_eq!(refused.status, 403);
    secrets.assert_absent("a refusal", &refused.body);

    for list in ["route", "cap", "client", "grant", "owner", "bus"] {
        secrets.assert_absent(list, &gateway.admin(&[list, "list"]));
    }
    for arguments in [["cap", "revoke", &read], ["push", "notify", &format!("{read}x")]] {
        let output = gateway.command(&arguments);
        assert_eq!(output.status.code(), Some(1));
        secrets.assert_absent("an error", &String::from_utf8(output.stderr).unwrap());
    }
    let url = format!("http://{}", gateway.bound().admin);
    let output =
        Command::new(binary()).args(["status", "--admin", &url, "--token", &wrong]).output();
    secrets.assert_absent("an error", &String::from_utf8(output.unwrap().stderr).unwrap());
    let metrics = gateway.metrics();
    secrets.assert_absent("/metrics", &metrics);
    let log = gateway.log();
    assert!(log.contains("DEBUG buswire") || log.contains("TRACE buswire"), "the filter works");
    secrets.assert_absent("the log", &log);
}
