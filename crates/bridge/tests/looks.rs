//! How often a gateway looks after the others, over the memory store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buswire_bridge::{
    LeaseTiming, OpenSink, Reach, RouteError, RouteProblem, Routes, RoutesConfig, Sink, SinkUri,
};
use buswire_bus::{BusConfig, BusLimits, Buses};
use buswire_message::{Clock, Timestamp};
use buswire_store::{
    Ack, Batch, BoxFuture, Direction, Key, KeyRange, Operation, Partition, RowPage, Store,
    StoreError,
    memory::MemoryStore,
    system::{SystemClock, SystemEntropy},
};
use buswire_testkit::FaultyStore;
use tokio::time::Instant;

/// Other gateways that share the store, and how often they say in all that they live.
const GATEWAYS: u8 = 12;
const BEATS: u8 = 120;
/// So seldom does the gateway itself: a slow machine does not make it look more often.
const BEAT: Duration = Duration::from_secs(20);

/// A store that counts how often the rows of all gateways are read.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn Store>,
    looks: AtomicUsize,
}

impl Store for Counting {
    buswire_store::forward!(inner: commit get read_log grown hints sweep status close);

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        range: KeyRange,
        limit: usize,
        direction: Direction,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        if partition.as_str() == "route-gateways" {
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.scan(partition, range, limit, direction, now)
    }
}

/// No route is made.
#[derive(Debug)]
struct NoSinks;

impl OpenSink for NoSinks {
    fn open(&self, _: &SinkUri) -> Result<Arc<dyn Sink>, RouteProblem> {
        Err(RouteProblem::SinkUnavailable("there is none".into()))
    }

    fn check<'a>(&'a self, _: &'a SinkUri) -> BoxFuture<'a, Result<(), RouteError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn reach<'a>(&'a self, uris: &'a [SinkUri]) -> BoxFuture<'a, Vec<Reach>> {
        Box::pin(std::future::ready(vec![Reach::Anywhere; uris.len()]))
    }
}

async fn routes(store: Arc<dyn Store>) -> Routes {
    let clock = Arc::new(SystemClock);
    let config = BusConfig {
        message_url_prefix: "https://gw.example/v2/message/".into(),
        limits: BusLimits::default(),
        tracer: None,
    };
    let buses = Buses::open(store.clone(), clock.clone(), config).await.unwrap();
    let mut config = RoutesConfig::new("https://gw.example/".parse().unwrap());
    config.lease = LeaseTiming { beat: BEAT, lease: BEAT * 5, ..LeaseTiming::default() };
    Routes::open(buses, store, clock, Arc::new(SystemEntropy), Arc::new(NoSinks), config)
        .await
        .unwrap()
}

#[tokio::test]
async fn looks_at_the_other_gateways_do_not_grow_with_their_number() {
    let store = Arc::new(MemoryStore::new());
    let shared = Arc::new(FaultyStore::new(store.clone(), 1).shared());
    let counting = Arc::new(Counting { inner: shared, looks: AtomicUsize::new(0) });
    let gateway = routes(counting.clone()).await;
    let begun = Instant::now();
    for number in 0..BEATS {
        beat(&store, number % GATEWAYS).await;
        // In between it has the time for a look.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let looks = counting.looks.load(Ordering::Relaxed);
    // One at the start, one with each beat of its own, and four in the time of a beat since it was told of
    // others. Without a bound there is one for nearly every beat of any gateway.
    let own = begun.elapsed().as_secs() / BEAT.as_secs() + 1;
    let most = 1 + 5 * usize::try_from(own).unwrap();
    assert!((1..=most).contains(&looks), "{looks} looks for {BEATS} beats, at most {most}");
    gateway.stop().await;
}

/// Another gateway says that it lives.
async fn beat(store: &MemoryStore, number: u8) {
    let value = br#"{"called":"other","has_left":false}"#;
    let (key, value) = (Key::new(vec![number; 8]).unwrap(), bytes::Bytes::from_static(value));
    let put = Operation::Put { key, value, expires: None };
    let batch = Batch::new(Partition::new("route-gateways").unwrap()).then(put);
    store.commit(batch, Ack::Accepted, SystemClock.now()).await.unwrap();
}
