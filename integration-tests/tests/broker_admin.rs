//! The Majordomo broker in the hands of an administrator: the built commands, workers of pyzmq.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use buswire_integration_tests::{Gateway, Peer, Single, binary, python, until};
use serde_json::{Value, json};

fn worker(gateway: &Gateway, mode: &str) -> Peer {
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "work", mode]);
    assert_eq!(worker.json()["event"], "ready");
    worker
}

fn client(gateway: &Gateway, body: &str) -> Peer {
    python("mdp_client", &[&gateway.bound().mdp, "work", body])
}

/// What arrives next, heartbeats left out.
fn event(worker: &Peer) -> Value {
    loop {
        let event = worker.json();
        if event["event"] != "heartbeat" {
            return event;
        }
    }
}

fn shown(gateway: &Gateway, words: &[&str]) -> Value {
    let text = gateway.admin(&[words, &["--output", "json"]].concat());
    serde_json::from_str(&text).unwrap()
}

/// The service, as soon as `field` has the wanted value.
fn service_when(gateway: &Gateway, field: &str, wanted: &Value) -> Value {
    until(&format!("the service has {field} {wanted}"), || {
        let all = shown(gateway, &["service", "list"]);
        all.as_array()?.iter().find(|it| it["name"] == "work" && it[field] == *wanted).cloned()
    });
    shown(gateway, &["service", "show", "work"])
}

fn only_worker(gateway: &Gateway, state: &str) -> Value {
    let workers = shown(gateway, &["worker", "list", "--service", "work"]);
    assert_eq!((workers.as_array().unwrap().len(), &workers[0]["state"]), (1, &json!(state)));
    workers[0].clone()
}

/// What `service call` prints; its frames are the last words.
fn called(gateway: &Gateway, service: &str, frames: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.args(["service", "call", service, "--admin", &gateway.bound().admin, "--token-file"]);
    command.arg(gateway.path("data/admin.token")).arg("--").args(frames);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_worker_drained_while_busy_answers_and_is_disconnected() {
    // Rule: mdp §8.10 — a worker drained by an administrator finishes its request, then gets DISCONNECT
    let gateway = Gateway::single(Single::Broker).start();
    let mut held = worker(&gateway, "held");
    let first = client(&gateway, "first");
    assert_eq!(event(&held), json!({"event": "request", "body": ["first"]}));
    let busy = only_worker(&gateway, "busy");
    assert_eq!((&busy["version"], &busy["delimited"]), (&json!("0.1"), &json!(true)));
    let id = busy["id"].to_string();
    assert_eq!(gateway.admin(&["worker", "drain", &id]), format!("worker {id} draining"));
    only_worker(&gateway, "draining");
    let second = client(&gateway, "second");
    service_when(&gateway, "queued", &json!(1));
    held.say("done");
    assert_eq!(first.json(), json!(["MDPC01", "work", "done"]));
    assert_eq!(event(&held), json!({"event": "disconnect"}), "the second request is not for it");
    let _other = worker(&gateway, "echo");
    assert_eq!(second.json(), json!(["MDPC01", "work", "second"]));
    let gone = gateway.command(&["worker", "drain", &id]);
    assert_eq!(gone.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(stderr.starts_with("buswire: no such worker is registered"), "{stderr}");
}

#[test]
fn a_disconnected_worker_loses_its_request_to_another() {
    // Rule: mdp §8.9 — the request of a worker that an administrator disconnects goes to another
    let gateway = Gateway::single(Single::Broker).start();
    let silent = worker(&gateway, "silent");
    let client = client(&gateway, "x");
    assert_eq!(event(&silent)["event"], "request");
    let id = only_worker(&gateway, "busy")["id"].to_string();
    gateway.admin(&["worker", "disconnect", &id]);
    assert_eq!(event(&silent), json!({"event": "disconnect"}));
    let _other = worker(&gateway, "echo");
    assert_eq!(client.json(), json!(["MDPC01", "work", "x"]));
    let service = shown(&gateway, &["service", "show", "work"]);
    assert_eq!(
        [&service["accepted"], &service["requeued"], &service["completed"]],
        [&json!(1), &json!(1), &json!(1)]
    );
}

#[test]
fn a_paused_service_keeps_requests_until_it_is_resumed() {
    let gateway = Gateway::single(Single::Broker).start();
    assert_eq!(gateway.admin(&["service", "pause", "work"]), "service work paused");
    let echo = worker(&gateway, "echo");
    let client = client(&gateway, "later");
    let service = service_when(&gateway, "queued", &json!(1));
    assert_eq!((&service["paused"], &service["idle"]), (&json!(true), &json!(1)));
    assert_ne!(service["oldest_wait"], "0s");
    assert_eq!(gateway.admin(&["service", "resume", "work"]), "service work resumed");
    assert_eq!(client.json(), json!(["MDPC01", "work", "later"]));
    assert_eq!(event(&echo)["body"], json!(["later"]));
    assert_eq!(called(&gateway, "work", &["a", "b c"]), "a\nb c\n");
    let refused = gateway.command(&["service", "pause", "mmi.service"]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn what_the_broker_counts_is_scraped() {
    // Rule: mdp §12.5 — counters by type, version and reason, queue lengths, ages and histograms are exposed
    let gateway =
        Gateway::single(Single::Broker).set("mdp.metrics_services", "[\"listed\"]").start();
    let _worker = worker(&gateway, "echo");
    let _listed = python("mdp_worker", &[&gateway.bound().mdp, "listed", "echo"]);
    assert_eq!(client(&gateway, "x").json(), json!(["MDPC01", "work", "x"]));
    let lines = [
        r#"buswire_mdp_messages_received_total{version="0.1",kind="worker_ready"} 2"#,
        r#"buswire_mdp_messages_received_total{version="0.1",kind="client_request"} 1"#,
        r#"buswire_mdp_messages_sent_total{version="0.1",kind="client_final"} 1"#,
        r#"buswire_mdp_messages_invalid_total{reason="header"} 0"#,
        r#"buswire_mdp_requests_dropped_total{reason="queue_full"} 0"#,
        r#"buswire_mdp_disconnects_total{reason="expired"} 0"#,
        "buswire_mdp_requests_accepted_total 1",
        "buswire_mdp_requests_completed_total 1",
        "buswire_mdp_requests_queued 0",
        "buswire_mdp_oldest_wait_seconds 0",
        "buswire_mdp_unreachable_total 0",
        "buswire_mdp_peer_full_total 0",
        r#"buswire_mdp_round_trip_seconds_bucket{le="+Inf"} 1"#,
        "buswire_mdp_round_trip_seconds_count 1",
        "buswire_mdp_queue_wait_seconds_count 1",
        r#"buswire_mdp_service_queued{service="listed"} 0"#,
        r#"buswire_mdp_service_workers{service="listed",state="idle"} 1"#,
        r#"buswire_mdp_service_oldest_wait_seconds{service="listed"} 0"#,
    ];
    let scrape = || gateway.metrics();
    // They are published about once a second.
    until("everything is scraped", || {
        let body = scrape();
        lines.iter().all(|wanted| body.lines().any(|line| line == *wanted)).then_some(())
    });
    let body = scrape();
    assert!(!body.contains("work\""), "no label names a service that is not listed: {body}");
}
