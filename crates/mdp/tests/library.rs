//! Broker, client, worker and command service over real sockets, as a Rust programmer uses them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use buswire_mdp::core::{CoreConfig, Farewell, ServiceInfo, ServiceKind};
use buswire_mdp::wire::MessageKind;
use buswire_mdp::wire::{Shape, Version};
use buswire_mdp::{
    BoxFuture, Broker, BrokerConfig, BrokerHandle, Client, ClientError, CmdOptions, CmdService,
    Correlation, Frames, LocalRequest, LocalService, Outcome, RegisterError, RequestError,
    ServiceName, StartError, Worker, WorkerError,
};

#[path = "../examples/echo.rs"]
#[allow(dead_code, reason = "its main function is not used here")]
mod echo_example;

const PATIENCE: Duration = Duration::from_secs(20);

fn config() -> BrokerConfig {
    BrokerConfig { endpoints: vec!["tcp://127.0.0.1:0".to_owned()], ..BrokerConfig::default() }
}

fn start() -> (BrokerHandle, String) {
    let broker = Broker::start(config()).unwrap();
    let endpoint = broker.endpoints().remove(0);
    (broker, endpoint)
}

fn name(name: &str) -> ServiceName {
    name.parse().unwrap()
}

fn echo_worker(endpoint: &str) -> Worker {
    let builder = Worker::builder(name("echo")).endpoint(endpoint);
    builder.handler(|request: Frames| request).start().unwrap()
}

/// Waits until the broker's services look as wished.
async fn until(broker: &BrokerHandle, wished: impl Fn(&[ServiceInfo]) -> bool) {
    let look = async {
        while !wished(&broker.services().await) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the services never look as wished");
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}

#[tokio::test]
async fn the_example_runs() {
    let reply = in_time(echo_example::run()).await.unwrap();
    assert_eq!(reply, Frames::from(["Hello", "World"]));
}

#[tokio::test]
async fn many_requests_over_one_client_find_their_answers() {
    // Rule: mdp §11.1 — one DEALER client has many requests in flight, each gets its own answer
    let (broker, endpoint) = start();
    let workers: Vec<Worker> = (0..3).map(|_| echo_worker(&endpoint)).collect();
    for version in [Version::V01, Version::V02] {
        let client = Client::builder().endpoint(&endpoint).version(version).connect().unwrap();
        assert_eq!(client.endpoint(), endpoint);
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..300 {
            let client = client.clone();
            requests.spawn(async move {
                let body = Frames::from([number.to_string()]);
                assert_eq!(client.request("echo", body.clone(), PATIENCE).await.unwrap(), body);
            });
        }
        assert_eq!(in_time(requests.join_all()).await.len(), 300);
    }
    assert_eq!(broker.counters().await.requests.completed, 600);
    drop(workers);
}

#[tokio::test]
async fn a_plain_client_waits_for_its_turn() {
    // Rule: mdp §11.1 — plain mode works with brokers that do not return stacks
    let (_broker, endpoint) = start();
    let _worker = echo_worker(&endpoint);
    let builder = Client::builder().endpoint(&endpoint).correlation(Correlation::Plain);
    let client = builder.connect().unwrap();
    let nobody = client.request("nobody", ["x"], Duration::from_millis(50));
    let echoes = client.request("echo", ["a"], PATIENCE);
    let (nobody, echo) = tokio::join!(nobody, echoes);
    assert!(matches!(nobody, Err(ClientError::Timeout)));
    assert_eq!(echo.unwrap(), Frames::from(["a"]));
}

#[test]
fn a_client_blocks_where_there_is_no_runtime() {
    let (_broker, endpoint) = start();
    let _worker = echo_worker(&endpoint);
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let reply = client.request_blocking("echo", ["a"], PATIENCE).unwrap();
    assert_eq!(reply.single().unwrap(), "a");
    let reply = client.request_blocking("mmi.service", ["echo"], PATIENCE).unwrap();
    assert_eq!(reply.single().unwrap(), "200");
    let refused = client.request_blocking("", ["a"], PATIENCE);
    assert!(matches!(refused, Err(ClientError::ServiceName(_))));
}

#[tokio::test]
async fn large_and_many_frames_arrive_whole() {
    let (broker, endpoint) = start();
    let _worker = echo_worker(&endpoint);
    let mut body: Frames = (0..500).map(|number| vec![b'x'; number % 40]).collect();
    body.push(vec![7; 3_000_000]);
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    assert_eq!(client.request("echo", body.clone(), PATIENCE).await.unwrap(), body);
    assert_eq!(broker.request(&name("echo"), body.clone(), PATIENCE).await.unwrap(), body);
}

#[tokio::test]
async fn a_worker_speaks_02_in_both_shapes() {
    // Rule: mdp §6.1 — 0.2 workers are served bare and delimited
    let (broker, endpoint) = start();
    for shape in [Shape::Bare, Shape::Delimited] {
        let builder = Worker::builder(name("echo")).endpoint(&endpoint);
        let builder = builder.dialect(Version::V02, shape).handler(|request: Frames| request);
        let worker = builder.start().unwrap();
        let reply = broker.request(&name("echo"), ["a"].into(), PATIENCE).await;
        assert_eq!(reply, Ok(Frames::from(["a"])));
        in_time(worker.stop()).await;
    }
}

#[tokio::test]
async fn a_worker_stays_registered_while_its_handler_works() {
    // Rule: mdp §11.5 — a worker heartbeats from its own thread while the handler blocks
    let mut config = config();
    config.core = CoreConfig {
        heartbeat_interval: Duration::from_millis(50),
        worker_expiry: Duration::from_millis(1500),
        ..CoreConfig::default()
    };
    let broker = Broker::start(config).unwrap();
    let gate = Arc::new(Barrier::new(2));
    let inside = Arc::clone(&gate);
    let worker = Worker::builder(name("slow"))
        .endpoint(&broker.endpoints()[0])
        .heartbeat_interval(Duration::from_millis(50))
        .handler(move |request: Frames| {
            inside.wait();
            request
        })
        .start()
        .unwrap();
    let slow = name("slow");
    let request = broker.request(&slow, ["a"].into(), PATIENCE);
    let later = async {
        // Long enough for several expiries, were the worker silent.
        let many = |counters: buswire_mdp::core::Counters| {
            counters.received[0].of(MessageKind::WorkerHeartbeat) > 40
        };
        while !many(broker.counters().await) {
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
    };
    let (reply, ()) = in_time(async { tokio::join!(request, later) }).await;
    assert_eq!(reply, Ok(Frames::from(["a"])));
    let counters = broker.counters().await;
    assert_eq!((counters.disconnects.of(Farewell::Expired), counters.requests.requeued), (0, 0));
    in_time(worker.stop()).await;
}

#[tokio::test]
async fn concurrent_requests_run_at_once() {
    let (broker, endpoint) = start();
    let together = Arc::new(Barrier::new(3));
    let worker = Worker::builder(name("meet"))
        .endpoint(&endpoint)
        .concurrency(3)
        .handler(move |request: Frames| {
            together.wait();
            request
        })
        .start()
        .unwrap();
    until(&broker, |services| services.iter().any(|info| info.idle == 3)).await;
    let meet = name("meet");
    let ask = || broker.request(&meet, ["a"].into(), PATIENCE);
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    // Rule: mdp §8.10 — a stopped worker signs off, so the broker knows at once
    in_time(worker.stop()).await;
    until(&broker, |services| services.iter().all(|info| info.workers == 0)).await;
}

#[tokio::test]
async fn a_rejected_or_panicking_request_goes_to_another_worker() {
    // Rule: mdp §10 — a request handed back by DISCONNECT is given to another worker
    let (broker, endpoint) = start();
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    let _fussy = Worker::builder(name("work"))
        .endpoint(&endpoint)
        .handler(move |_request: Frames| {
            seen.fetch_add(1, Ordering::SeqCst);
            Outcome::Reject
        })
        .start()
        .unwrap();
    until(&broker, |services| services.iter().any(|info| info.idle == 1)).await;
    let work = name("work");
    let request = broker.request(&work, ["a"].into(), PATIENCE);
    let helper = async {
        while tries.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let builder = Worker::builder(name("work")).endpoint(&endpoint);
        builder.handler(|request: Frames| request).start().unwrap()
    };
    let (reply, _helper) = in_time(async { tokio::join!(request, helper) }).await;
    assert_eq!(reply, Ok(Frames::from(["a"])));
}

#[tokio::test]
async fn errors_tell_a_caller_in_this_process_what_happened() {
    let (broker, endpoint) = start();
    let nobody = broker.request(&name("nobody"), Frames::new(), Duration::from_millis(20)).await;
    assert_eq!(nobody, Err(RequestError::NoWorker));
    let gate = Arc::new(Barrier::new(2));
    let inside = Arc::clone(&gate);
    let worker =
        Worker::builder(name("slow")).endpoint(&endpoint).handler(move |request: Frames| {
            inside.wait();
            request
        });
    let worker = worker.start().unwrap();
    until(&broker, |services| services.iter().any(|info| info.idle == 1)).await;
    let slow = broker.request(&name("slow"), Frames::new(), Duration::from_millis(50)).await;
    assert_eq!(slow, Err(RequestError::Timeout));
    gate.wait();
    in_time(worker.stop()).await;

    let nobody = name("nobody");
    let dropped = broker.request(&nobody, Frames::new(), PATIENCE);
    assert!(tokio::time::timeout(Duration::from_millis(20), dropped).await.is_err());
    until(&broker, |services| services.iter().all(|info| info.queued == 0)).await;
    assert_eq!(broker.counters().await.requests.cancelled, 1);

    let waiting = {
        let broker = broker.clone();
        tokio::task::JoinSet::from_iter([async move {
            broker.request(&name("nobody"), Frames::new(), PATIENCE).await
        }])
    };
    until(&broker, |services| services.iter().any(|info| info.queued == 1)).await;
    broker.shutdown(Duration::ZERO).await;
    assert_eq!(in_time(waiting.join_all()).await, [Err(RequestError::Stopped)]);
    let late = broker.request(&name("echo"), Frames::new(), PATIENCE).await;
    assert_eq!(late, Err(RequestError::Stopped));
    assert!(broker.services().await.is_empty());
}

struct Upper;

impl LocalService for Upper {
    fn call(&self, request: LocalRequest) -> BoxFuture<'static, Frames> {
        assert!(request.user.is_none());
        Box::pin(async move {
            tokio::task::yield_now().await;
            let bodies = request.frames.iter();
            let bodies = bodies.map(|frame| String::from_utf8_lossy(frame).to_uppercase());
            let bodies: Vec<String> = bodies.collect();
            assert_ne!(bodies, ["PANIC"], "as asked for");
            Frames::from(bodies)
        })
    }
}

#[tokio::test]
async fn a_service_of_this_process_answers_everybody() {
    let (broker, endpoint) = start();
    broker.register(&name("upper"), Arc::new(Upper)).await.unwrap();
    let refused = broker.register(&name("mmi.upper"), Arc::new(Upper)).await;
    assert_eq!(refused, Err(RegisterError::Reserved));
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let reply = client.request("upper", ["a", "b"], PATIENCE).await.unwrap();
    assert_eq!(reply, Frames::from(["A", "B"]));
    let reply = broker.request(&name("upper"), ["c"].into(), PATIENCE).await;
    assert_eq!(reply, Ok(Frames::from(["C"])));
    let lost = broker.request(&name("upper"), ["panic"].into(), PATIENCE).await;
    assert_eq!(lost, Err(RequestError::Lost));
    let info = broker.services().await.remove(0);
    assert_eq!((info.kind, info.idle, info.busy), (ServiceKind::Local, 64, 0));
}

#[test]
fn without_a_runtime_no_service_of_this_process_runs() {
    let (broker, _) = start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let refused = runtime.block_on(broker.register(&name("upper"), Arc::new(Upper)));
    assert_eq!(refused, Err(RegisterError::NoRuntime));
}

#[tokio::test]
async fn an_occupied_or_wrong_endpoint_is_named() {
    let (_broker, endpoint) = start();
    let again = BrokerConfig { endpoints: vec![endpoint.clone()], ..BrokerConfig::default() };
    let error = Broker::start(again).unwrap_err();
    assert_eq!(error.to_string(), format!("endpoint {endpoint} is already in use"));
    let odd = BrokerConfig { endpoints: vec!["tcp:/x".to_owned()], ..BrokerConfig::default() };
    let error = Broker::start(odd).unwrap_err();
    assert_eq!(error.to_string(), "cannot listen on tcp:/x");
    let none = BrokerConfig { endpoints: Vec::new(), ..BrokerConfig::default() };
    assert!(matches!(Broker::start(none), Err(StartError::NoEndpoint)));
    // Rule: mdp §14.2 — listening publicly without CURVE must be asked for
    let public = vec!["tcp://0.0.0.0:0".to_owned()];
    let error = Broker::start(BrokerConfig { endpoints: public.clone(), ..config() }).unwrap_err();
    assert!(matches!(error, StartError::PublicWithoutCurve(_)));
    let insecure = BrokerConfig { endpoints: public, insecure_public: true, ..config() };
    assert!(Broker::start(insecure).is_ok());
}

#[tokio::test]
async fn a_socket_file_in_use_is_not_stolen() {
    // Rule: mdp §15.1 — a second broker does not take the path of a first one
    let directory = std::env::temp_dir();
    let path = directory.join(format!("buswire-mdp-{}.sock", std::process::id()));
    let endpoints = vec![format!("ipc://{}", path.display())];
    let with = |endpoints: &[String]| {
        Broker::start(BrokerConfig { endpoints: endpoints.to_vec(), ..BrokerConfig::default() })
    };
    let broker = with(&endpoints).unwrap();
    assert!(matches!(with(&endpoints), Err(StartError::InUse(_))));
    let _worker = echo_worker(&endpoints[0]);
    assert!(broker.request(&name("echo"), ["a"].into(), PATIENCE).await.is_ok());
    broker.shutdown(Duration::ZERO).await;
    assert!(with(&endpoints).is_ok());
}

#[tokio::test]
async fn several_endpoints_are_one_broker() {
    let endpoints = vec!["tcp://127.0.0.1:0".to_owned(), "tcp://127.0.0.1:*".to_owned()];
    let broker = Broker::start(BrokerConfig { endpoints, ..BrokerConfig::default() }).unwrap();
    let bound = broker.endpoints();
    assert_eq!(bound.iter().collect::<BTreeSet<_>>().len(), 2);
    let _worker = echo_worker(&bound[0]);
    let client = Client::builder().endpoint(&bound[1]).connect().unwrap();
    assert!(client.request("echo", ["a"], PATIENCE).await.is_ok());
}

#[tokio::test]
async fn a_port_is_free_when_its_last_handle_is_dropped() {
    let (broker, endpoint) = start();
    drop(broker.clone());
    assert!(broker.services().await.is_empty());
    drop(broker);
    let again = async {
        loop {
            let endpoints = vec![endpoint.clone()];
            let config = BrokerConfig { endpoints, ..BrokerConfig::default() };
            match Broker::start(config) {
                Ok(broker) => return broker,
                Err(StartError::InUse(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    in_time(again).await;
}

#[tokio::test]
async fn shutdown_waits_for_what_is_in_hand() {
    // Rule: mdp §8.10 — a broker that shuts down forwards outstanding replies first
    let (broker, endpoint) = start();
    let (entered, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let inside = (Arc::clone(&entered), Arc::clone(&gate));
    let builder = Worker::builder(name("slow")).endpoint(&endpoint);
    let handler = move |request: Frames| {
        inside.0.wait();
        inside.1.wait();
        request
    };
    let _worker = builder.handler(handler).start().unwrap();
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    let request = client.request("slow", ["a"], PATIENCE);
    let shutdown = async {
        tokio::task::spawn_blocking(move || entered.wait()).await.unwrap();
        let opening = tokio::task::spawn_blocking(move || gate.wait());
        broker.shutdown(PATIENCE).await;
        opening.await.unwrap();
    };
    let (reply, ()) = in_time(async { tokio::join!(request, shutdown) }).await;
    assert_eq!(reply.unwrap(), Frames::from(["a"]));
}

#[tokio::test]
async fn our_worker_registers_again_with_a_restarted_broker() {
    // Rule: mdp §8.1 — DISCONNECT makes a worker open a new socket and register again
    let (broker, endpoint) = start();
    let _worker = Worker::builder(name("echo"))
        .endpoint(&endpoint)
        .heartbeat_interval(Duration::from_millis(50))
        .reconnect(Duration::from_millis(10), Duration::from_millis(100))
        .handler(|request: Frames| request)
        .start()
        .unwrap();
    let client = Client::builder().endpoint(&endpoint).connect().unwrap();
    assert!(client.request("echo", ["a"], PATIENCE).await.is_ok());
    broker.shutdown(Duration::ZERO).await;
    let endpoints = vec![endpoint];
    let _again = Broker::start(BrokerConfig { endpoints, ..BrokerConfig::default() }).unwrap();
    assert!(client.request("echo", ["a"], PATIENCE).await.is_ok());
}

#[tokio::test]
async fn a_command_service_serves_until_it_is_stopped() {
    // Rule: mdp §9.5 — the reply of a command service is its standard output as one frame
    let (broker, endpoint) = start();
    let options = CmdOptions { endpoint, ..CmdOptions::default() };
    let command = vec!["printf".into(), "[%s]".into()];
    let service = CmdService::new(name("ls-service"), command, options);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = service.run(async {
        stopped.await.unwrap();
    });
    let asking = async {
        let body = Frames::from(["a b", "c"]);
        let reply = broker.request(&name("ls-service"), body, PATIENCE).await.unwrap();
        assert_eq!(reply, Frames::from(["[a b][c]"]));
        stop.send(()).unwrap();
    };
    let (served, ()) = in_time(async { tokio::join!(serving, asking) }).await;
    served.unwrap();
    until(&broker, |services| services.iter().all(|info| info.workers == 0)).await;
}

#[test]
fn a_worker_is_told_what_is_missing() {
    let no_handler = Worker::builder(name("echo")).start();
    assert!(matches!(no_handler, Err(WorkerError::NoHandler)));
    let reserved = Worker::builder(name("mmi.x")).handler(|request: Frames| request).start();
    assert!(matches!(reserved, Err(WorkerError::Reserved)));
    let builder = Worker::builder(name("echo")).endpoint("nonsense");
    let error = builder.handler(|request: Frames| request).start().unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to nonsense");
}
