//! The broker and its handle over real sockets, as a Rust programmer uses them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use buswire_mdp::core::ServiceKind;
use buswire_mdp::{
    BoxFuture, Broker, BrokerConfig, Client, Frames, LocalRequest, LocalService, RegisterError,
    RequestError, StartError, Worker,
};
use common::{PATIENCE, config, echo_worker, in_time, name, start, until};

#[path = "../examples/echo.rs"]
#[allow(dead_code, reason = "its main function is not used here")]
mod echo_example;

#[tokio::test]
async fn the_example_runs() {
    let reply = in_time(echo_example::run()).await.unwrap();
    assert_eq!(reply, Frames::from(["Hello", "World"]));
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
    let reply = client.send("upper", ["a", "b"], PATIENCE).await.unwrap();
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
    assert!(client.send("echo", ["a"], PATIENCE).await.is_ok());
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
    let request = client.send("slow", ["a"], PATIENCE);
    let shutdown = async {
        tokio::task::spawn_blocking(move || entered.wait()).await.unwrap();
        let opening = tokio::task::spawn_blocking(move || gate.wait());
        broker.shutdown(PATIENCE).await;
        opening.await.unwrap();
    };
    let (reply, ()) = in_time(async { tokio::join!(request, shutdown) }).await;
    assert_eq!(reply.unwrap(), Frames::from(["a"]));
}
