//! The worked examples of SimplePush, replayed against the built gateway by a client that is not ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;

use buswire_integration_tests::{Gateway, Single, python};

#[test]
fn websockets_replays_every_worked_example() {
    // Rule: simplepush §20 — the worked examples, byte for byte, with the PyPI package `websockets`
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/simplepush/tests/examples");
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert!(files.len() >= 20, "{files:?}");
    // A twentieth of the reference's times; resends are a little later than 60 s, since the gateway's
    // clock does not stand still while an example is checked.
    let gateway = Gateway::single(Single::LowerVersions)
        .set("http.public_url", "https://push.example.net")
        .set("simplepush.ping_interval_min", "900ms")
        .set("simplepush.resend_interval", "3400ms")
        .start();
    let mut arguments = vec![gateway.bound().http.as_str()];
    arguments.extend(files.iter().map(String::as_str));
    let replay = python("push_replay", &arguments);
    for file in &files {
        assert_eq!(&replay.line(), file);
    }
}
