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
use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, BoxFuture, Direction, HintFilter, Hints, Key, KeyRange, LogName, Outcome, Page,
    Partition, Position, Row, RowPage, Store, StoreError, StoreStatus, Swept,
    memory::MemoryStore,
    system::{SystemClock, SystemEntropy},
};
use buswire_testkit::FaultyStore;
use tokio::time::Instant;

/// Gateways that share the store.
const GATEWAYS: u32 = 12;
const BEAT: Duration = Duration::from_millis(40);
/// Beats in which looks are counted.
const BEATS: u32 = 20;

/// A store that counts how often the rows of all gateways are read.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn Store>,
    looks: AtomicUsize,
}

impl Store for Counting {
    fn commit(
        &self,
        batch: Batch,
        ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        self.inner.commit(batch, ack, now)
    }

    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a Key,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        self.inner.get(partition, key, now)
    }

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

    fn read_log<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
        after: Option<Position>,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.inner.read_log(partition, log, after, limit, now)
    }

    fn hints(&self, filter: HintFilter) -> Hints {
        self.inner.hints(filter)
    }

    fn sweep(&self, now: Timestamp, budget: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.inner.sweep(now, budget)
    }

    fn status(&self) -> StoreStatus {
        self.inner.status()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
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

async fn routes(store: Arc<dyn Store>, called: u32) -> Routes {
    let clock = Arc::new(SystemClock);
    let config = BusConfig {
        message_url_prefix: "https://gw.example/v2/message/".into(),
        limits: BusLimits::default(),
        tracer: None,
    };
    let buses = Buses::open(store.clone(), clock.clone(), config).await.unwrap();
    let mut config = RoutesConfig::new("https://gw.example/".parse().unwrap());
    config.gateway = called.to_string();
    config.lease = LeaseTiming { beat: BEAT, ..LeaseTiming::default() };
    Routes::open(buses, store, clock, Arc::new(SystemEntropy), Arc::new(NoSinks), config)
        .await
        .unwrap()
}

#[tokio::test]
async fn looks_at_the_other_gateways_do_not_grow_with_their_number() {
    let store = Arc::new(MemoryStore::new());
    let shared = || Arc::new(FaultyStore::new(store.clone(), 1).shared());
    let counting = Arc::new(Counting { inner: shared(), looks: AtomicUsize::new(0) });
    let mut gateways = vec![routes(counting.clone(), 0).await];
    for called in 1..GATEWAYS {
        // Their beats come one after the other.
        tokio::time::sleep(BEAT / GATEWAYS).await;
        gateways.push(routes(shared(), called).await);
    }
    let (before, begun) = (counting.looks.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(BEAT * BEATS).await;
    let looks = counting.looks.load(Ordering::Relaxed) - before;
    // One of its own with each beat, four that the beats of others are the reason for, and one of each
    // kind at the end. Without a bound it would be one for each beat of each gateway.
    let beats = begun.elapsed().as_millis() / BEAT.as_millis();
    let most = usize::try_from(beats).unwrap() * 5 + 7;
    assert!((1..=most).contains(&looks), "{looks} looks in {beats} beats, at most {most}");
    for gateway in gateways {
        gateway.stop().await;
    }
}
