//! Titanic over real sockets, as a Rust programmer uses it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buswire_mdp::titanic::{Config, MemoryStorage, Titanic};
use buswire_mdp::{
    BoxFuture, Broker, BrokerConfig, BrokerHandle, Frames, LocalRequest, LocalService, ServiceName,
};
use tokio::sync::{Barrier, oneshot};
use tokio::task::JoinSet;

#[path = "../examples/titanic.rs"]
#[allow(dead_code, reason = "its main function is not used here")]
mod example;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_example_runs() {
    let answer = tokio::time::timeout(PATIENCE, example::run()).await.expect("it hangs");
    assert_eq!(answer.unwrap(), Frames::from(["200", "Hello"]));
}

/// A broker with a Titanic that runs until it is dropped.
struct Station {
    broker: BrokerHandle,
    titanic: Titanic,
    _stop: oneshot::Sender<()>,
    _run: JoinSet<()>,
}

impl Station {
    async fn start(config: Config) -> Self {
        let endpoints = vec!["tcp://127.0.0.1:0".to_owned()];
        let broker = Broker::start(BrokerConfig { endpoints, ..BrokerConfig::default() }).unwrap();
        let randomness = Arc::new(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
        let storage = Arc::new(MemoryStorage::new());
        let titanic = Titanic::open(broker.clone(), storage, randomness, config).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut run, runner) = (JoinSet::new(), titanic.clone());
        run.spawn(async move { runner.run(async { stopped.await.unwrap_or_default() }).await });
        Self { broker, titanic, _stop: stop, _run: run }
    }

    async fn call<T: Into<Frames>>(&self, service: &str, frames: T) -> Frames {
        let name: ServiceName = service.parse().unwrap();
        self.broker.request(&name, frames.into(), PATIENCE).await.unwrap()
    }

    async fn submit(&self, service: &str) -> Frames {
        let answer = self.call("titanic.request", [service.to_owned()]).await;
        assert_eq!((answer.len(), answer.get(0).unwrap().as_ref()), (2, b"200".as_slice()));
        Frames::from([answer.get(1).unwrap().clone()])
    }

    async fn reply(&self, id: &Frames) -> Frames {
        let ask = async {
            loop {
                let answer = self.call("titanic.reply", id.clone()).await;
                if answer != Frames::from(["300"]) {
                    return answer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ask).await.expect("no reply in time")
    }

    async fn offer(&self, service: &str, handler: impl LocalService + 'static) {
        self.broker.register(&service.parse().unwrap(), Arc::new(handler)).await.unwrap();
    }
}

/// Answers only when so many are called at once.
struct Together(Arc<Barrier>);

impl LocalService for Together {
    fn call(&self, _: LocalRequest) -> BoxFuture<'static, Frames> {
        let barrier = Arc::clone(&self.0);
        Box::pin(async move {
            barrier.wait().await;
            Frames::from(["together"])
        })
    }
}

/// Answers with so many bytes, and counts.
struct Filler(Arc<AtomicUsize>, usize);

impl LocalService for Filler {
    fn call(&self, _: LocalRequest) -> BoxFuture<'static, Frames> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let reply = Frames::from([vec![b'x'; self.1]]);
        Box::pin(async move { reply })
    }
}

/// Fails by a panic, so often, before it answers.
struct Failing(Arc<AtomicUsize>, usize);

impl LocalService for Failing {
    fn call(&self, _: LocalRequest) -> BoxFuture<'static, Frames> {
        let failed = self.0.fetch_add(1, Ordering::SeqCst) < self.1;
        Box::pin(async move {
            assert!(!failed, "on purpose");
            Frames::from(["at last"])
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_requests_are_in_flight_and_begin_when_a_worker_appears() {
    // Rule: mdp §17 — execution is asynchronous, with several requests in flight
    let station = Station::start(Config::default()).await;
    let mut ids = Vec::new();
    for _ in 0..16 {
        ids.push(station.submit("together").await);
    }
    assert_eq!(station.titanic.counts().in_flight, 0);
    station.offer("together", Together(Arc::new(Barrier::new(16)))).await;
    for id in &ids {
        assert_eq!(station.reply(id).await, Frames::from(["200", "together"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_repeated_until_there_is_a_reply() {
    // Rule: mdp §17 — execution is at least once: a failed attempt leaves the request pending
    let backoff = Duration::from_millis(5);
    let station = Station::start(Config { backoff, ..Config::default() }).await;
    let calls = Arc::new(AtomicUsize::new(0));
    station.offer("failing", Failing(Arc::clone(&calls), 4)).await;
    let id = station.submit("failing").await;
    assert_eq!(station.reply(&id).await, Frames::from(["200", "at last"]));
    assert_eq!(station.reply(&id).await, Frames::from(["200", "at last"]));
    let counts = station.titanic.counts();
    assert_eq!((calls.load(Ordering::SeqCst), counts.failed_attempts), (5, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_too_long_is_500_and_not_asked_for_again() {
    // Rule: mdp §17 — a reply beyond the limit on size is answered 500
    let config = Config { message_bytes_max: 1000, ..Config::default() };
    let station = Station::start(config).await;
    let calls = Arc::new(AtomicUsize::new(0));
    station.offer("fits", Filler(Arc::clone(&calls), 995)).await;
    station.offer("long", Filler(Arc::clone(&calls), 996)).await;
    let (fits, long) = (station.submit("fits").await, station.submit("long").await);
    assert_eq!(station.reply(&fits).await.byte_len(), 3 + 995);
    for _ in 0..3 {
        assert_eq!(station.reply(&long).await, Frames::from(["500"]));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(station.call("titanic.close", long.clone()).await, Frames::from(["200"]));
    assert_eq!(station.reply(&long).await, Frames::from(["400"]));
}
