//! What the hosted frame is made of, run in Node as it is served (Belay §10.2, §13, §14.2, §22.4). Each
//! test runs the one of its name in `tests/browser`; Chromium has the frame whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{fs, path::Path, process::Command};

use axum::{body::Body, extract::Request};
use common::World;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

/// Runs the test of this name on the script that is served, without the scope around it.
async fn in_node(name: &str) {
    let world = World::new().await;
    let request = Request::get("/belay/frame.js").body(Body::empty()).unwrap();
    let served = world.server.router().oneshot(request).await.unwrap().into_body();
    let script = String::from_utf8(served.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let parts = script.strip_prefix("(() => {\n").and_then(|rest| rest.strip_suffix("})();\n"));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("frame-{name}.js"));
    fs::write(&file, parts.expect("one scope")).unwrap();
    let output = Command::new("node")
        .args(["--test-reporter=tap", &format!("--test-name-pattern=^{name}$")])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/frame.test.mjs"))
        .env("BELAY_FRAME_PARTS", file)
        .output()
        .expect("node is installed: apt-get install nodejs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    // A name that no test has would pass too.
    assert!(told.contains("\n# pass 1\n"), "{told}");
}

#[tokio::test]
async fn local_then_partition_then_404() {
    // Rule: belay 10.2 — local interfaces first, then the partition by broadcast, members v, op, to, tx, reply, ser, method, data
    // Rule: belay 10.2 — an instance known to be unroutable in all tiers is 404 at once
    // Rule: belay 10.1 — resolver gives the local interface, else the router's own; what does not decode is 400 Unparsable capability
    in_node("local_then_partition_then_404").await;
}

#[tokio::test]
async fn an_id_has_one_owner() {
    // Rule: belay 10.2 — a frame holds the lock belay:inst:ID while it routes the id; isRoutable is whether it is held, as a promise
    in_node("an_id_has_one_owner").await;
}

#[tokio::test]
async fn a_call_takes_thirty_seconds_at_most() {
    // Rule: belay 10.2 — 30 s from dispatch unless set otherwise, then 504 Router Timeout
    // Rule: belay 19 row 17 — the router waits longer than the original's second
    in_node("a_call_takes_thirty_seconds_at_most").await;
}

#[tokio::test]
async fn calls_and_routes_are_bounded() {
    // Rule: belay 9 — at most 256 calls are pending per direction, further ones fail 429
    in_node("calls_and_routes_are_bounded").await;
}

#[tokio::test]
async fn what_waits_fails_when_a_frame_is_put_away() {
    // Rule: belay 9 — at the end every pending call fails 504 CapTunnel communication failed
    in_node("what_waits_fails_when_a_frame_is_put_away").await;
}

#[tokio::test]
async fn the_relay_is_the_last_tier() {
    // Rule: belay 22.4 — invoke and response of the relay are those of the tunnel
    // Rule: belay 22.4 — origin ids are not routed over the relay; data of more than 1 MiB is 413
    in_node("the_relay_is_the_last_tier").await;
}

#[tokio::test]
async fn whether_an_instance_is_routed_its_frame_says() {
    // Rule: belay 10.2 — isRoutable is a promise; what is at the relay its frame answers for
    in_node("whether_an_instance_is_routed_its_frame_says").await;
}

#[tokio::test]
async fn ids_are_registered_with_what_proves_them() {
    // Rule: belay 22.4 — a temporary id registers without proof and later with its resume token, a hashed one with its pre-image
    in_node("ids_are_registered_with_what_proves_them").await;
}

#[tokio::test]
async fn an_id_that_another_has_is_refused() {
    // Rule: belay 22.4 — 409 of a second registration is AlreadyRouted for the page
    in_node("an_id_that_another_has_is_refused").await;
}

#[tokio::test]
async fn the_relay_is_asked_less_and_less_often() {
    // Rule: belay 22.4 — a lost socket is opened again after 1 s, then after longer, up to a minute
    in_node("the_relay_is_asked_less_and_less_often").await;
}

#[tokio::test]
async fn a_silent_relay_is_left() {
    // Rule: belay 9 — after 30 s of silence a ping; without an answer in 30 s more it is closed
    in_node("a_silent_relay_is_left").await;
}

#[tokio::test]
async fn a_token_of_a_launched_instance_outlives_a_reload() {
    // Rule: belay 22.1 — reload and relaunch in one window work by its partitioned sessionStorage
    in_node("a_token_of_a_launched_instance_outlives_a_reload").await;
}

#[tokio::test]
async fn start_records_wait_at_the_gateway() {
    // Rule: belay 22.5 — POST /belay/start with the record gives a start id, POST /belay/start/take gives the record; the frame reports its page's origin
    in_node("start_records_wait_at_the_gateway").await;
}

#[tokio::test]
async fn activate_records_are_parsed() {
    // Rule: belay 13.2 — an activate record has instanceId, pageUrl, isStation, relaunch, outpostData
    in_node("activate_records_are_parsed").await;
}

#[tokio::test]
async fn one_offer_is_armed_in_a_partition() {
    // Rule: belay 14.2 — one armed offer per partition, for 60 s; other windows' acceptors of the class are highlighted
    in_node("one_offer_is_armed_in_a_partition").await;
}

#[tokio::test]
async fn a_station_needs_the_person() {
    // Rule: belay 13.6 — station callbacks need the person's consent, which is remembered per origin
    // Rule: belay 13.6 — getSuggestions gets the origin and gives a list of name and doLaunch
    // Rule: belay 13.3 — without a station becomeInstance fails 404; launch is a capability or its serialisation
    in_node("a_station_needs_the_person").await;
}
