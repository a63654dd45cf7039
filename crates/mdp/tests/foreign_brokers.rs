//! Our client and worker with the brokers of other people, and byte by byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use buswire_mdp::wire::{Shape, Version};
use buswire_mdp::{
    Client, ClientError, Correlation, Frames, MmiStatus, ReplyPart, Responder, Retries, Worker,
};
use common::python::Running;
use common::{PATIENCE, name};

/// Starts a broker and returns its endpoint too.
fn start(script: &str, arguments: &[&str]) -> (Running, String) {
    let broker = Running::start(script, arguments);
    let endpoint = broker.line();
    (broker, endpoint)
}

/// A worker that is quick to heartbeat and to come back.
fn quick_worker(endpoint: &str) -> Worker {
    Worker::builder(name("echo"))
        .endpoint(endpoint)
        .heartbeat_interval(Duration::from_millis(300))
        .reconnect(Duration::from_millis(10), Duration::from_millis(10))
        .handler(|request: Frames| request)
        .start()
        .unwrap()
}

#[test]
fn a_backbone_broker() {
    // Rule: mdp §9.3 — client and worker tolerate a Backbone broker
    let (mut broker, endpoint) = start("backbone_broker.py", &[]);
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let unknown = client.send_blocking("echo", "a", Duration::from_millis(100));
    assert!(matches!(unknown, Err(ClientError::Timeout)), "silence for an unknown service");
    assert_eq!(client.mmi_blocking(&name("echo"), PATIENCE).unwrap(), MmiStatus::NotRegistered);

    let _worker = quick_worker(&endpoint);
    assert_eq!(broker.line(), "ready echo");
    assert_eq!(client.mmi_blocking(&name("echo"), PATIENCE).unwrap(), MmiStatus::Registered);
    let both = Frames::from(["a", "b"]);
    assert_eq!(client.send_blocking("echo", both.clone(), PATIENCE).unwrap(), both);
    let none = client.send_blocking("echo", Frames::new(), PATIENCE).unwrap();
    assert!(none.is_empty());

    // Rule: mdp §8.3 — a DISCONNECT without the delimiter makes the worker register anew
    broker.say("disconnect");
    assert_eq!(broker.line(), "ready echo");
    assert_eq!(client.send_blocking("echo", "c", PATIENCE).unwrap(), Frames::from("c"));
}

#[test]
fn a_busy_worker_of_a_backbone_broker() {
    // Rule: mdp §8.6 — our worker heartbeats while busy: a Backbone broker counts nothing else
    let (broker, endpoint) = start("backbone_broker.py", &[]);
    let gate = Arc::new(Barrier::new(2));
    let inside = Arc::clone(&gate);
    let _worker = Worker::builder(name("slow"))
        .endpoint(&endpoint)
        .heartbeat_interval(Duration::from_millis(100))
        .handler(move |request: Frames| {
            inside.wait();
            request
        })
        .start()
        .unwrap();
    assert_eq!(broker.line(), "ready slow");
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let mut asking = client.send_stream_blocking("slow", "a", PATIENCE).unwrap();
    // Longer than the broker gives a silent worker; each probe takes all of its time.
    for _ in 0..5 {
        let probe = client.send_blocking("nobody", "", Duration::from_millis(500));
        assert!(matches!(probe, Err(ClientError::Timeout)));
    }
    assert_eq!(client.mmi_blocking(&name("slow"), PATIENCE).unwrap(), MmiStatus::Registered);
    gate.wait();
    assert_eq!(asking.next().unwrap().unwrap(), ReplyPart::Final("a".into()));
}

#[test]
fn a_guide_broker() {
    // Rule: mdp §11.1 — plain mode works with the guide's broker, which knows no address stacks
    let (_broker, endpoint) = start("guide_broker.py", &[]);
    let _worker = quick_worker(&endpoint);
    let builder = Client::builder().endpoint(&endpoint).correlation(Correlation::Plain);
    let client = builder.connect().unwrap();
    for body in [Frames::from(["a", "b"]), Frames::from(["", ""])] {
        assert_eq!(client.send_blocking("echo", body.clone(), PATIENCE).unwrap(), body);
    }
    assert_eq!(client.mmi_blocking(&name("echo"), PATIENCE).unwrap(), MmiStatus::Registered);
}

#[test]
fn a_worker_of_01_byte_by_byte() {
    // Rule: mdp §4.2 — READY, REPLY, HEARTBEAT and DISCONNECT of 0.1 as a worker sends them
    // Rule: mdp §8.3 — a REQUEST while busy makes it start over; what is no message is ignored
    let (broker, endpoint) = start("literal_broker.py", &["worker_01"]);
    let gate = Arc::new(Barrier::new(2));
    let inside = Arc::clone(&gate);
    let _worker = Worker::builder(name("echo"))
        .endpoint(&endpoint)
        .heartbeat_interval(Duration::from_millis(100))
        .reconnect(Duration::from_millis(10), Duration::from_millis(10))
        .streaming_handler(move |request: Frames, responder: Responder| {
            if request == Frames::from("wait") {
                // Until the broker was left; its result is discarded.
                while responder.is_wanted() {
                    std::thread::yield_now();
                }
                inside.wait();
            }
            responder.reply(request).unwrap_or_default();
        })
        .start()
        .unwrap();
    gate.wait();
    assert_eq!(broker.line(), "ok");
}

#[test]
fn a_worker_of_02_byte_by_byte() {
    // Rule: mdp §21.4 — a streaming worker of 0.2 in the bare form
    // Rule: mdp §8.10 — a worker that stops sends DISCONNECT
    let (broker, endpoint) = start("literal_broker.py", &["worker_02"]);
    let worker = Worker::builder(name("lines"))
        .endpoint(&endpoint)
        .dialect(Version::V02, Shape::Bare)
        .heartbeat_interval(Duration::from_millis(100))
        .streaming_handler(|request: Frames, responder: Responder| {
            assert_eq!(request, Frames::from("3"));
            responder.partial("line 1").unwrap();
            responder.partial("line 2").unwrap();
            responder.reply("line 3").unwrap();
        })
        .start()
        .unwrap();
    assert_eq!(broker.line(), "stop");
    drop(worker);
    assert_eq!(broker.line(), "ok");
}

#[test]
fn a_handler_waits_for_a_broker_that_is_slower() {
    // Rule: mdp §11.6 — no send blocks the I/O thread; a full queue holds up who fills it
    let (mut broker, endpoint) = start("literal_broker.py", &["worker_flood"]);
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let _worker = Worker::builder(name("flood"))
        .endpoint(&endpoint)
        .dialect(Version::V02, Shape::Bare)
        .heartbeat_interval(Duration::from_millis(100))
        .streaming_handler(move |_request, responder: Responder| {
            for number in 0..20_000 {
                responder.partial(format!("{number:2000}")).unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
            }
            responder.reply("end").unwrap();
        })
        .start()
        .unwrap();
    // As much as the queue of the socket holds; then the handler waits.
    let filled = || sent.load(Ordering::SeqCst);
    common::until_true(|| filled() > 10_000, || format!("only {} parts are sent", filled()));
    broker.say("read");
    assert_eq!(broker.line(), "ok");
}

#[test]
fn a_client_of_01_byte_by_byte() {
    // Rule: mdp §11.1 — a request is [id] '' MDPC01 service body, each try under an id of its own
    let (broker, endpoint) = start("literal_broker.py", &["client_01"]);
    let retries = Retries { try_timeout: Duration::from_millis(300), ..Retries::from(1) };
    let client = Client::builder().endpoint(&endpoint).retries(retries).connect().unwrap();
    let reply = client.send_blocking("echo", ["Hello", ""], PATIENCE).unwrap();
    assert_eq!(reply, Frames::from(["", "World"]));
    assert_eq!(broker.line(), "ok");
}

#[test]
fn a_client_of_02_byte_by_byte() {
    // Rule: mdp §5.1 — REQUEST 01, PARTIAL 02, FINAL 03 of a client, delimited to carry an id
    let (broker, endpoint) = start("literal_broker.py", &["client_02"]);
    let client = Client::builder().endpoint(&endpoint).version(Version::V02).connect().unwrap();
    let parts = client.send_stream_blocking("lines", "3", PATIENCE).unwrap();
    let parts: Vec<ReplyPart> = parts.map(Result::unwrap).collect();
    let [one, two, three] = ["line 1", "line 2", "line 3"].map(Frames::from);
    assert_eq!(parts, [ReplyPart::Partial(one), ReplyPart::Partial(two), ReplyPart::Final(three)]);
    assert_eq!(broker.line(), "ok");
}

#[test]
fn a_plain_client_byte_by_byte() {
    // Rule: mdp §8.4 — without an answer a plain client closes its socket and asks on a new one
    let (broker, endpoint) = start("literal_broker.py", &["client_plain"]);
    let client = Client::builder()
        .endpoint(&endpoint)
        .correlation(Correlation::Plain)
        .retries(Retries { try_timeout: Duration::from_millis(300), ..Retries::from(1) })
        .connect()
        .unwrap();
    assert_eq!(client.send_blocking("echo", "a", PATIENCE).unwrap(), Frames::from("A"));
    assert_eq!(broker.line(), "ok");
}
