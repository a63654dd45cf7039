//! The real broker against peers written with pyzmq.
//!
//! Needs Debian's `python3-zmq`; `BUSWIRE_PYTHON` names another interpreter that has it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use buswire_mdp::core::{CoreConfig, Farewell};
use buswire_mdp::wire::{Dialects, Invalid, WireLimits};
use buswire_mdp::{
    BoxFuture, Broker, BrokerConfig, BrokerHandle, Client, Frames, LocalRequest, LocalService,
};

const PATIENCE: Duration = Duration::from_secs(20);

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

fn python(script: &str, arguments: &[&str]) -> Command {
    let interpreter = std::env::var("BUSWIRE_PYTHON").unwrap_or("/usr/bin/python3".to_owned());
    let probe = Command::new(&interpreter).args(["-c", "import zmq"]).output();
    let usable = probe.is_ok_and(|probe| probe.status.success());
    assert!(usable, "{interpreter} cannot import zmq: install the Debian package python3-zmq");
    let mut command = Command::new(interpreter);
    command.arg(format!("{}/tests/py/{script}", env!("CARGO_MANIFEST_DIR"))).args(arguments);
    command
}

/// Runs a script to its end and fails with what it said.
async fn run(script: &str, endpoint: &str) {
    run_with(script, &[endpoint]).await;
}

async fn run_with(script: &str, arguments: &[&str]) {
    let mut command = tokio::process::Command::from(python(script, arguments));
    let output = tokio::time::timeout(PATIENCE * 2, command.kill_on_drop(true).output());
    let output = output.await.expect("the script hangs").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    assert_eq!(output.stdout, b"ok\n", "{script}: {errors}");
}

/// A script that runs until dropped.
struct Running(Child);

impl Running {
    fn start(script: &str, arguments: &[&str]) -> Self {
        Self(python(script, arguments).stdout(Stdio::piped()).spawn().unwrap())
    }

    async fn wait_for_line(&mut self) -> String {
        let stdout = self.0.stdout.take().unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            line
        });
        tokio::time::timeout(PATIENCE, read).await.expect("no line in time").unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
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
    assert_eq!((counters.requests.accepted, counters.requests.completed), (4, 4));
    assert_eq!(counters.mmi, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn dealer_client_with_many_in_flight() {
    // Rule: mdp §11.1 — the frame before the delimiter comes back, so replies find their requests
    let (broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    run("dealer_many.py", &endpoint).await;
    assert_eq!(broker.counters().await.requests.completed, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn streaming_with_02() {
    // Rule: mdp §5.1 — a 0.2 client gets PARTIAL 02 in the worker's order and one FINAL 03
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
    let farewells = broker.counters().await.disconnects;
    assert_eq!(farewells.of(Farewell::Expired), 1);
    assert_eq!(farewells.of(Farewell::BusyTimeout), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_oversize() {
    // Rule: mdp §6.1 — invalid messages are dropped and counted
    // Rule: mdp §15.2 — frames and messages beyond the bounds never reach a service
    let (broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    run("garbage.py", &endpoint).await;
    assert!(broker.counters().await.invalid.total() > 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn backbone_habits() {
    // Rule: mdp §9.1 — register, request, response and heart beat are the frames of the document
    // Rule: mdp §9.3 — the Backbone compatibility checklist holds
    let (_broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    run("backbone.py", &endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_request_goes_to_another() {
    // Rule: mdp §8.9 — the request of a lost worker is handed to another one
    // Rule: mdp §11.3 — a heartbeat to a vanished worker fails and shows the loss
    let (broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    let mut stuck = Running::start("stuck_worker.py", &[&endpoint]);
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let request = client.request("work", ["x"], PATIENCE);
    let meanwhile = async {
        assert_eq!(stuck.wait_for_line().await, "got it\n");
        drop(stuck);
        Running::start("guide_worker.py", &[&endpoint, "work"])
    };
    let (reply, _worker) = tokio::join!(request, meanwhile);
    assert_eq!(reply.unwrap(), Frames::from(["x"]));
    let counters = broker.counters().await;
    assert_eq!((counters.requests.requeued, counters.requests.completed), (1, 1));
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

#[tokio::test(flavor = "multi_thread")]
async fn separate_sockets_for_clients_and_workers() {
    // Rule: mdp §12.3 — with separate sockets each serves its side and drops the other's headers
    let broker = Broker::start(BrokerConfig {
        endpoints: vec!["tcp://127.0.0.1:0".to_owned()],
        worker_endpoints: vec!["tcp://127.0.0.1:0".to_owned()],
        ..BrokerConfig::default()
    })
    .unwrap();
    run_with("two_sides.py", &[&broker.endpoints()[0], &broker.worker_endpoints()[0]]).await;
    assert_eq!(broker.counters().await.invalid.of(Invalid::WrongSide), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn dialects_when_they_are_on() {
    // Rule: mdp §6.3 — c, d and e: majortomo clients and zproto peers are served when switched on
    let dialects = Dialects { majortomo: true, zproto: true };
    let wire = WireLimits { dialects, ..WireLimits::default() };
    let core = CoreConfig { wire, ..CoreConfig::default() };
    let (_broker, endpoint) = start(core, "tcp://127.0.0.1:0");
    run("dialects.py", &endpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worked_examples_over_real_sockets() {
    // Rule: mdp §21 — the examples 21.1 to 21.5, 21.7 and 21.8 run as written over a real ROUTER
    for number in [1, 2, 3, 4, 5, 7, 8] {
        let (_broker, endpoint) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
        let file = format!("{}/tests/examples/21.{number}.txt", env!("CARGO_MANIFEST_DIR"));
        run_with("examples.py", &[&endpoint, &file]).await;
    }
}

fn dealer(endpoint: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
    socket.set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).unwrap()).unwrap();
    socket.set_linger(0).unwrap();
    socket.connect(endpoint).unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_starves_no_timer() {
    // Rule: mdp §12.2 — messages are handled in batches, so that timers run under any load
    let broker = Broker::start(BrokerConfig {
        endpoints: vec!["tcp://127.0.0.1:0".to_owned()],
        core: quick(),
        batch_max: 10,
        ..BrokerConfig::default()
    })
    .unwrap();
    let endpoint = broker.endpoints().remove(0);
    let over = Arc::new(AtomicBool::new(false));
    let (flooded, ended) = (endpoint.clone(), Arc::clone(&over));
    let flood = std::thread::spawn(move || {
        let socket = dealer(&flooded);
        while !ended.load(Ordering::SeqCst) {
            socket.send_multipart(["nothing", "of", "sense"], 0).unwrap();
        }
    });
    let silent = tokio::task::spawn_blocking(move || {
        let worker = dealer(&endpoint);
        worker.send_multipart([&b""[..], b"MDPW01", b"\x01", b"work"], 0).unwrap();
        let mut heard = worker.recv_multipart(0).expect("a heartbeat");
        while heard[2] == b"\x04" {
            heard = worker.recv_multipart(0).expect("the end");
        }
        heard[2].clone()
    });
    assert_eq!(silent.await.unwrap(), b"\x05", "it expires in the middle of the flood");
    over.store(true, Ordering::SeqCst);
    flood.join().unwrap();
}

struct Echo;

impl LocalService for Echo {
    fn call(&self, request: LocalRequest) -> BoxFuture<'static, Frames> {
        Box::pin(async move { request.frames })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_wakes_the_broker() {
    // Rule: mdp §16.3 — work from other threads wakes the poll; none waits for its longest pause
    let (broker, _) = start(CoreConfig::default(), "tcp://127.0.0.1:0");
    let echo = "echo".parse().unwrap();
    broker.register(&echo, Arc::new(Echo)).await.unwrap();
    let calls = async {
        for _ in 0..300 {
            let body = Frames::from(["x"]);
            assert_eq!(broker.request(&echo, body.clone(), PATIENCE).await, Ok(body));
        }
    };
    tokio::time::timeout(PATIENCE, calls).await.expect("300 calls, each a fraction of a pause");
}
