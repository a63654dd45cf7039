//! The worker and the command service over real sockets, as a Rust programmer uses them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use buswire_mdp::core::{CoreConfig, Counters, Farewell};
use buswire_mdp::wire::{MessageKind, Shape, Version};
use buswire_mdp::{
    Broker, BrokerConfig, Client, CmdOptions, CmdService, Frames, Outcome, Responder, Unwanted,
    Worker, WorkerError,
};
use common::{PATIENCE, config, in_time, name, start, until};

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
        let many = |counters: Counters| counters.received[0].of(MessageKind::WorkerHeartbeat) > 40;
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
    assert!(client.send("echo", ["a"], PATIENCE).await.is_ok());
    broker.shutdown(Duration::ZERO).await;
    let endpoints = vec![endpoint];
    let _again = Broker::start(BrokerConfig { endpoints, ..BrokerConfig::default() }).unwrap();
    assert!(client.send("echo", ["a"], PATIENCE).await.is_ok());
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
#[tokio::test]
async fn a_command_service_serves_until_it_is_stopped() {
    // Rule: mdp §9.5 — the reply of a command service is its standard output as one frame
    let (broker, endpoint) = start();
    let options = CmdOptions { endpoints: vec![endpoint], ..CmdOptions::default() };
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

#[tokio::test]
async fn a_responder_may_be_used_elsewhere_and_later() {
    // Rule: mdp §18 — a Responder is movable to another thread; dropped unanswered it rejects
    let (broker, endpoint) = start();
    let (sender, responders) = mpsc::sync_channel::<Responder>(4);
    let sender = Mutex::new(sender);
    let worker = Worker::builder(name("later"))
        .endpoint(&endpoint)
        .reconnect(Duration::from_millis(10), Duration::from_millis(10))
        .streaming_handler(move |_request, responder| {
            sender.lock().unwrap().send(responder).unwrap();
        })
        .start()
        .unwrap();
    let answering = tokio::task::spawn_blocking(move || {
        drop(responders.recv().unwrap());
        let again = responders.recv().unwrap();
        assert!(again.is_wanted());
        again.partial(["1", "2"]).unwrap();
        again.reply("3").unwrap();
    });
    // Rule: mdp §10 — handed back by DISCONNECT, the request comes again
    let reply = in_time(broker.request(&name("later"), "a".into(), PATIENCE)).await;
    assert_eq!(reply, Ok(Frames::from(["1", "2", "3"])));
    answering.await.unwrap();
    in_time(worker.stop()).await;
}

#[tokio::test]
async fn a_future_answers_without_a_thread() {
    let (broker, endpoint) = start();
    let worker = Worker::builder(name("future"))
        .endpoint(&endpoint)
        .concurrency(2)
        .reconnect(Duration::from_millis(10), Duration::from_millis(10))
        .async_handler({
            let met = Arc::new(tokio::sync::Barrier::new(2));
            let panicked = Arc::new(AtomicUsize::new(0));
            move |request: Frames| {
                let (met, panicked) = (Arc::clone(&met), Arc::clone(&panicked));
                async move {
                    met.wait().await;
                    let first = panicked.fetch_add(1, Ordering::SeqCst) == 0;
                    assert!(!first, "the first of all panics, and its request comes again");
                    request
                }
            }
        })
        .start()
        .unwrap();
    let future = name("future");
    let ask = |body| broker.request(&future, Frames::from(body), PATIENCE);
    let asked = async { tokio::join!(ask("a"), ask("b"), ask("c")) };
    let (a, b, c) = in_time(asked).await;
    assert_eq!([a, b, c], ["a", "b", "c"].map(|body| Ok(Frames::from(body))));
    in_time(worker.stop()).await;
}

#[test]
fn a_future_needs_a_runtime() {
    let builder = Worker::builder(name("future")).async_handler(async |request: Frames| request);
    assert!(matches!(builder.start(), Err(WorkerError::NoRuntime)));
}

#[tokio::test]
async fn one_worker_serves_several_brokers() {
    // Rule: mdp §12.7 — a worker opens one DEALER for each broker, live/live
    let ((one, first), (two, second)) = (start(), start());
    let worker = Worker::builder(name("echo"))
        .endpoints([&first, &second])
        .handler(|request: Frames| request)
        .start()
        .unwrap();
    for broker in [&one, &two] {
        let reply = in_time(broker.request(&name("echo"), "a".into(), PATIENCE)).await;
        assert_eq!(reply, Ok(Frames::from("a")));
    }
    one.shutdown(Duration::ZERO).await;
    let reply = in_time(two.request(&name("echo"), "b".into(), PATIENCE)).await;
    assert_eq!(reply, Ok(Frames::from("b")));
    in_time(worker.stop()).await;
    until(&two, |services| services.iter().all(|info| info.workers == 0)).await;
}

#[tokio::test]
async fn a_handler_learns_that_its_answer_is_not_wanted() {
    // Rule: mdp §8.5 — a result computed for a request of an old socket is discarded
    let (broker, endpoint) = start();
    let (entered, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let inside = (Arc::clone(&entered), Arc::clone(&gate));
    let (said, heard) = mpsc::sync_channel(1);
    let said = Mutex::new(said);
    let worker = Worker::builder(name("slow"))
        .endpoint(&endpoint)
        .streaming_handler(move |_request, responder: Responder| {
            inside.0.wait();
            inside.1.wait();
            // The loss of the broker is noticed by another thread.
            while responder.is_wanted() {
                std::thread::yield_now();
            }
            said.lock().unwrap().send(responder.partial("late")).unwrap();
        })
        .start()
        .unwrap();
    let slow = name("slow");
    let asking = broker.request(&slow, "a".into(), PATIENCE);
    let ending = async {
        tokio::task::spawn_blocking(move || entered.wait()).await.unwrap();
        // DISCONNECT to the busy worker.
        broker.shutdown(Duration::ZERO).await;
        tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
    };
    let (reply, ()) = in_time(async { tokio::join!(asking, ending) }).await;
    assert!(reply.is_err());
    let heard = tokio::task::spawn_blocking(move || heard.recv().unwrap());
    assert_eq!(in_time(heard).await.unwrap(), Err(Unwanted));
    in_time(worker.stop()).await;
}

#[tokio::test]
async fn a_stopping_worker_finishes_the_request_in_hand() {
    // Rule: mdp §8.10 — a worker finishes the current request, sends DISCONNECT, closes
    let (broker, endpoint) = start();
    let (entered, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let inside = (Arc::clone(&entered), Arc::clone(&gate));
    let builder = Worker::builder(name("slow")).endpoint(&endpoint);
    let handler = move |request: Frames| {
        inside.0.wait();
        inside.1.wait();
        request
    };
    let worker = builder.handler(handler).start().unwrap();
    let slow = name("slow");
    let asking = broker.request(&slow, "a".into(), PATIENCE);
    let stopping = async {
        tokio::task::spawn_blocking(move || entered.wait()).await.unwrap();
        let opening = tokio::task::spawn_blocking(move || gate.wait());
        worker.stop().await;
        opening.await.unwrap();
    };
    let (reply, ()) = in_time(async { tokio::join!(asking, stopping) }).await;
    assert_eq!(reply, Ok(Frames::from("a")));
    until(&broker, |services| services.iter().all(|info| info.workers == 0)).await;
}
