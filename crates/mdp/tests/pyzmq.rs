//! The real broker against peers written with pyzmq.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use buswire_mdp::core::CoreConfig;
use buswire_mdp::{Broker, BrokerConfig, BrokerHandle, Client, Frames};
use common::PATIENCE;
use common::python::{Running, run};

fn start(core: CoreConfig, endpoint: &str) -> (BrokerHandle, String) {
    let config = BrokerConfig {
        endpoints: vec![endpoint.to_owned()],
        core,
        frame_bytes_max: 1 << 20,
        ..BrokerConfig::default()
    };
    let broker = Broker::start(config).unwrap();
    let endpoint = broker.endpoints().remove(0);
    (broker, endpoint)
}

fn quick() -> CoreConfig {
    CoreConfig {
        heartbeat_interval: Duration::from_millis(300),
        worker_expiry: Duration::from_secs(2),
        ..CoreConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn req_client_and_worker() {
    // Rule: mdp §4.1 — a REQ client gets one REPLY with header, service and the body unchanged
    // Rule: mdp §9.3 — zero body frames are accepted in both directions
    // Rule: mdp §3.4 — the address stack of a correlating REQ client is returned
    let (broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    run("req_echo.py", &endpoint).await;
    let counters = broker.counters().await;
    assert_eq!((counters.accepted, counters.completed, counters.mmi), (4, 4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn dealer_client_with_many_in_flight() {
    // Rule: mdp §11.1 — the frame before the delimiter comes back, so replies find their requests
    let (broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    run("dealer_many.py", &endpoint).await;
    assert_eq!(broker.counters().await.completed, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn streaming_with_02() {
    // Rule: mdp §5 — PARTIAL and FINAL are translated to the client's codes
    // Rule: mdp §6.2 — a 0.1 client gets the parts and the final frames in one REPLY
    let (_broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    run("streaming_02.py", &endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_both_ways() {
    // Rule: mdp §8.6 — idle and busy workers get heartbeats; a silent idle worker expires
    let (broker, endpoint) = start(quick(), "tcp://127.0.0.1:0");
    run("heartbeats.py", &endpoint).await;
    let counters = broker.counters().await;
    assert_eq!((counters.expiries, counters.busy_timeouts), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_oversize() {
    // Rule: mdp §6.1 — invalid messages are dropped and counted
    // Rule: mdp §15.2 — frames and messages beyond the bounds never reach a service
    let (broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    run("garbage.py", &endpoint).await;
    assert!(broker.counters().await.invalid.iter().sum::<u64>() > 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn backbone_habits() {
    // Rule: mdp §9.3 — the Backbone compatibility checklist holds
    let (_broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    run("backbone.py", &endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_request_goes_to_another() {
    // Rule: mdp §8.9 — the request of a lost worker is handed to another one
    // Rule: mdp §11.3 — a heartbeat to a vanished worker fails and shows the loss
    let (broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    let stuck = Running::start("stuck_worker.py", &[&endpoint]);
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let request = client.send("work", ["x"], PATIENCE);
    let meanwhile = async {
        let stuck = tokio::task::spawn_blocking(move || (stuck.line(), stuck)).await.unwrap();
        assert_eq!(stuck.0, "got it");
        drop(stuck);
        Running::start("guide_worker.py", &[&endpoint, "work"])
    };
    let (reply, _worker) = tokio::join!(request, meanwhile);
    assert_eq!(reply.unwrap(), Frames::from(["x"]));
    let counters = broker.counters().await;
    assert_eq!((counters.requeued, counters.completed), (1, 1));
    assert!(counters.unreachable >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_registers_again_after_a_restart() {
    // Rule: mdp §21.7 — a restarted broker answers a stranger's heartbeat with DISCONNECT
    let (broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    let _worker = Running::start("guide_worker.py", &[&endpoint, "echo"]);
    let echo = "echo".parse().unwrap();
    let body = Frames::from(["a"]);
    assert_eq!(broker.request(&echo, body.clone(), PATIENCE).await, Ok(body.clone()));
    broker.shutdown(Duration::ZERO).await;
    let (broker, _) = start(CoreConfig::default(), &endpoint);
    assert_eq!(broker.request(&echo, body.clone(), PATIENCE).await, Ok(body));
}
