//! Titanic of the built gateway, with pyzmq clients and workers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use buswire_integration_tests::{Gateway, Peer, binary, python, until};
use serde_json::{Value, json};

/// A pyzmq client that speaks one of the two versions.
struct Client(Peer);

impl Client {
    fn connect(gateway: &Gateway, version: &str) -> Self {
        Self(python("titanic_calls", &[&gateway.bound().mdp, version]))
    }

    /// Sends the service and body frames, and returns the body frames of the answer.
    fn call(&mut self, frames: &[&[u8]]) -> Vec<Vec<u8>> {
        let text = |frame: &&[u8]| frame.iter().copied().map(char::from).collect::<String>();
        self.0.say(&json!(frames.iter().map(text).collect::<Vec<_>>()).to_string());
        let bytes = |frame: &Value| {
            let characters = frame.as_str().unwrap().chars();
            characters.map(|character| u8::try_from(character).unwrap()).collect()
        };
        self.0.json().as_array().unwrap().iter().map(bytes).collect()
    }

    fn submit(&mut self, frames: &[&[u8]]) -> Vec<u8> {
        let mut answer = self.call(&[&[b"titanic.request".as_slice()], frames].concat());
        assert_eq!((answer.len(), answer[0].as_slice()), (2, b"200".as_slice()));
        answer.remove(1)
    }

    /// Asks until the answer is not `300`.
    fn reply(&mut self, id: &[u8]) -> Vec<Vec<u8>> {
        until("there is a reply", || {
            Some(self.call(&[b"titanic.reply", id])).filter(|answer| *answer != [b"300"])
        })
    }
}

fn echo(gateway: &Gateway) -> Peer {
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "echo", "echo"]);
    assert_eq!(worker.json()["event"], "ready");
    worker
}

fn metric(gateway: &Gateway, name: &str) -> Option<u64> {
    let text = gateway.metrics();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn the_example_of_the_reference_runs_as_written() {
    // Rule: mdp §21.6 — the whole conversation, as a REQ application sees it
    // Rule: mdp §17 — titanic.request answers 200 and a UUID, titanic.reply 300 until there is a reply
    // Rule: mdp §17 — titanic.close answers 200, and again 200 for what is closed
    // Rule: mdp §17 — a UUID is a bearer secret: it never shows in the log
    let gateway = Gateway::builder().set("log.filter", "trace").start();
    let mut client = python("titanic_example", &[&gateway.bound().mdp]);
    let id = client.line();
    let worker = echo(&gateway);
    client.say("");
    let request = until("the worker gets the request", || {
        Some(worker.json()).filter(|line| line["event"] == "request")
    });
    assert_eq!(request["body"], json!(["Hello world"]));
    assert_eq!(client.line(), "ok");
    let log = gateway.log();
    assert!(!log.contains(&id) && !log.contains(&id.to_lowercase()), "an id is in the log");
}

#[test]
fn every_malformed_call_has_its_status_alone() {
    // Rule: mdp §17 — a malformed titanic.request, and one for mmi.* or titanic.*, is answered 400
    // Rule: mdp §17 — a malformed id is answered 400 by titanic.reply and 200 by titanic.close
    // Rule: mdp §17 — statuses go as bare digits
    let gateway = Gateway::spawn();
    for version in ["0.1", "0.2"] {
        let mut client = Client::connect(&gateway, version);
        let long = [b'a'; 256];
        let targets: [&[&[u8]]; 8] = [
            &[],
            &[b""],
            &[b"a\0b"],
            &[&long],
            &[b"\xFF"],
            &[b"mmi.service", b"echo"],
            &[b"titanic.request", b"echo"],
            &[b"titanic.other"],
        ];
        for target in targets {
            let call = [&[b"titanic.request".as_slice()], target].concat();
            assert_eq!(client.call(&call), [b"400"], "{target:?}");
        }
        let unknown = b"7C2E91B0A54D4F0C8E3B6A19D2F05E77".as_slice();
        let ids: [&[&[u8]]; 5] =
            [&[], &[b""], &[b"../../x"], &[b"7C2E91B0-A54D-4F0C-8E3B-6A19D2F05E77"], &[unknown]];
        for id in ids {
            assert_eq!(client.call(&[&[b"titanic.reply".as_slice()], id].concat()), [b"400"]);
            assert_eq!(client.call(&[&[b"titanic.close".as_slice()], id].concat()), [b"200"]);
        }
        for service in [b"titanic.request".as_slice(), b"titanic.reply", b"titanic.close"] {
            assert_eq!(client.call(&[b"mmi.service", service]), [b"200"]);
        }
    }
}

#[test]
fn frame_boundaries_survive_a_restart() {
    // Rule: mdp §17 — body frame boundaries survive storage, empty frames and zero frames too
    // Rule: mdp §17 — a request with a service frame and no body frames is accepted
    // Rule: mdp §17 — Titanic works identically over 0.2
    let mut gateway = Gateway::spawn();
    let bodies: [&[&[u8]]; 4] = [&[], &[b""], &[b"", b"a\0\xFF", b"", b""], &[b"one", b"two"]];
    for (before, after) in [("0.1", "0.2"), ("0.2", "0.1")] {
        let mut client = Client::connect(&gateway, before);
        let ids = bodies.map(|body| client.submit(&[&[b"echo".as_slice()], body].concat()));
        gateway.kill();
        gateway.start();
        let _worker = echo(&gateway);
        let mut client = Client::connect(&gateway, after);
        for _ in 0..2 {
            for (id, body) in ids.iter().zip(bodies) {
                assert_eq!(client.reply(id), [&[b"200".as_slice()], body].concat());
            }
        }
    }
}

#[test]
fn limits_are_answered_500_and_counted() {
    // Rule: mdp §17 — beyond the limits on size and count a request is answered 500
    let gateway = Gateway::builder()
        .set("mdp.titanic.requests_max", "3")
        .set("mdp.titanic.message_max", "1KiB")
        .start();
    let mut client = Client::connect(&gateway, "0.1");
    let long = [b'x'; 1024];
    assert_eq!(client.call(&[b"titanic.request", b"echo", &long]), [b"500"]);
    let ids = [(); 3].map(|()| client.submit(&[b"echo", b"a"]));
    assert_eq!(client.call(&[b"titanic.request", b"echo", b"a"]), [b"500"]);
    let counted = |name: &str| metric(&gateway, name).unwrap();
    assert!(counted("buswire_titanic_pending ") >= 3 && counted("buswire_titanic_bytes ") > 0);
    assert!(counted("buswire_titanic_refused_total ") >= 2);
    assert_eq!(client.call(&[b"titanic.close", &ids[0]]), [b"200"]);
    client.submit(&[b"echo", b"a"]);
}

#[test]
fn a_closed_request_has_no_reply_and_a_lost_worker_is_no_end() {
    // Rule: mdp §17 — a result that arrives after titanic.close is discarded
    // Rule: mdp §17 — execution is at least once: a request whose worker is lost is sent again
    // Rule: mdp §17 — 300 covers a request that is being executed
    let gateway = Gateway::builder().set("mdp.titanic.backoff", "50ms").start();
    let mut client = Client::connect(&gateway, "0.1");
    let closed = client.submit(&[b"echo", b"closed"]);
    let taken = |worker: &Peer| {
        until("the worker gets a request", || {
            let line = worker.json();
            Some(line["body"].clone()).filter(|_| line["event"] == "request")
        })
    };
    let mut stuck = python("mdp_worker", &[&gateway.bound().mdp, "echo", "silent"]);
    assert_eq!(stuck.json()["event"], "ready");
    assert_eq!(taken(&stuck), json!(["closed"]));
    let kept = client.submit(&[b"echo", b"kept"]);
    assert_eq!(client.call(&[b"titanic.reply", &closed]), [b"300"]);
    let in_flight = |expected: u64| {
        until("so many are in flight", || {
            metric(&gateway, "buswire_titanic_in_flight ").filter(|count| *count == expected)
        })
    };
    in_flight(2);
    assert_eq!(client.call(&[b"titanic.close", &closed]), [b"200"]);
    in_flight(1);
    stuck.kill();
    let _worker = echo(&gateway);
    assert_eq!(client.reply(&kept), [b"200".as_slice(), b"kept"]);
    assert_eq!(client.call(&[b"titanic.reply", &closed]), [b"400"]);
}

#[test]
fn a_stop_leaves_what_is_under_way_for_the_next_start() {
    // Rule: mdp §17 — what is being executed when Titanic stops is pending again
    let mut gateway = Gateway::builder().set("mdp.drain", "200ms").start();
    let mut client = Client::connect(&gateway, "0.1");
    let stuck = python("mdp_worker", &[&gateway.bound().mdp, "echo", "silent"]);
    assert_eq!(stuck.json()["event"], "ready");
    let id = client.submit(&[b"echo", b"a"]);
    until("the worker has the request", || {
        Some(stuck.json()).filter(|line| line["event"] == "request")
    });
    assert!(gateway.terminate().success(), "nothing is left over at the end");
    gateway.start();
    let _worker = echo(&gateway);
    let mut client = Client::connect(&gateway, "0.1");
    assert_eq!(client.reply(&id), [b"200".as_slice(), b"a"]);
}

#[test]
fn workers_may_offer_titanic_where_the_gateway_does_not() {
    // Rule: mdp §7 — titanic.* are ordinary services
    let gateway = Gateway::builder().set("mdp.titanic.enabled", "false").start();
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "titanic.reply", "echo"]);
    assert_eq!(worker.json()["event"], "ready");
    let mut client = Client::connect(&gateway, "0.1");
    assert_eq!(client.call(&[b"titanic.reply", b"mine"]), [b"mine"]);
    assert_eq!(client.call(&[b"mmi.service", b"titanic.request"]), [b"404"]);
}

#[test]
fn what_was_acknowledged_survives_twenty_kills_under_load() {
    // Rule: mdp §17 — a request is durable before it is acknowledged, and answered after any restart
    // Rule: mdp §17 — repeated calls of titanic.reply give the same answer until titanic.close
    let mut gateway = Gateway::spawn();
    let mut acknowledged = BTreeMap::new();
    for round in 0..20 {
        // In every other round requests are executed while others are stored.
        let worker = (round % 2 == 1).then(|| echo(&gateway));
        let load = python("titanic_load", &[&gateway.bound().mdp, &format!("round{round}")]);
        for _ in 0..40 {
            let line = load.line();
            let (id, body) = line.split_once(' ').unwrap();
            acknowledged.insert(id.to_owned(), body.to_owned());
        }
        gateway.kill();
        // What was printed and not yet read was acknowledged too, but need not be waited for.
        drop((load, worker));
        gateway.start();
    }
    let bodies: BTreeSet<_> = acknowledged.values().collect();
    assert_eq!((acknowledged.len(), bodies.len()), (800, 800));
    let _worker = echo(&gateway);
    let mut client = Client::connect(&gateway, "0.1");
    for (id, body) in &acknowledged {
        let expected = [b"200".as_slice(), body.as_bytes()];
        assert_eq!(client.reply(id.as_bytes()), expected, "the answer to its own request");
        assert_eq!(client.call(&[b"titanic.reply", id.as_bytes()]), expected);
        assert_eq!(client.call(&[b"titanic.close", id.as_bytes()]), [b"200"]);
        assert_eq!(client.call(&[b"titanic.reply", id.as_bytes()]), [b"400"]);
    }
    gateway.kill();
    gateway.start();
    let mut client = Client::connect(&gateway, "0.1");
    for id in acknowledged.keys() {
        assert_eq!(client.call(&[b"titanic.reply", id.as_bytes()]), [b"400"], "closed is closed");
    }
}

#[test]
fn the_command_line_leaves_a_request_and_fetches_its_reply() {
    // Rule: mdp §18 — titanic request, reply and close are commands for clients
    let gateway = Gateway::spawn();
    let titanic = |words: &[&str]| {
        let command = [&["mdp", "titanic"], words, &["--endpoint", &gateway.bound().mdp]].concat();
        let output = std::process::Command::new(binary()).args(command).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, id) = titanic(&["request", "echo", "Hello"]);
    let id = id.trim();
    assert_eq!((code, id.len()), (0, 32));
    assert_eq!(titanic(&["reply", id]), (3, String::new()), "not answered yet");
    let _worker = echo(&gateway);
    assert_eq!(titanic(&["reply", id, "--wait", "20000"]), (0, "Hello\n".to_owned()));
    assert_eq!(titanic(&["close", id]).0, 0);
    assert_eq!(titanic(&["reply", id]).0, 4);
}
