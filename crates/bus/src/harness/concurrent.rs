//! Many publishers and readers at once, over a store whose answers take turns.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use buswire_message::{
    BusName, Clock, Cursor, Headers, MessageId, NewMessage, Payload, Retention, Scope, Timestamp,
};
use buswire_store::{memory::MemoryStore, system::SystemClock};
use buswire_testkit::{SplitMix64, VirtualClock};
use bytes::Bytes;
use futures::{StreamExt, poll};
use tokio::task::{JoinSet, yield_now};
use tokio_util::sync::CancellationToken;

use super::FaultyStore;
use crate::{BusConfig, BusLimits, Buses, PublishError};

fn config() -> BusConfig {
    let limits = BusLimits::default();
    BusConfig { message_url_prefix: "https://h.example/v2/message/".into(), limits, tracer: None }
}

async fn open(store: &Arc<FaultyStore>, clock: impl Clock + 'static) -> Buses {
    Buses::open(Arc::<FaultyStore>::clone(store), Arc::new(clock), config()).await.unwrap()
}

fn store(seed: u64) -> Arc<FaultyStore> {
    Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())).with_turns(seed))
}

fn bus(number: u64) -> BusName {
    format!("b{number}.example").parse().unwrap()
}

fn retention(messages: u32) -> Retention {
    Retention::new(Duration::from_secs(600), Duration::from_secs(600), messages).unwrap()
}

fn message(channel: &str, json: String) -> NewMessage {
    NewMessage {
        channel: channel.parse().unwrap(),
        source: "https://s.example/".parse().unwrap(),
        kind: "t".parse().unwrap(),
        sticky: false,
        expires_at: None,
        payload: Payload::parse(&Bytes::from(json)).unwrap(),
        headers: Headers::default(),
    }
}

/// Polls `future` so many times at most, then drops it.
async fn poll_times<F: Future>(future: F, times: u64) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        if let Poll::Ready(output) = poll!(&mut future) {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_limit_of_a_channel_holds_exactly() {
    // Rule: backplane §5.4 — the limit of messages per channel holds with any number of posts at once
    for seed in 1..=20 {
        let buses = open(&store(seed), VirtualClock::default()).await;
        buses.create(&bus(0), retention(50)).await.unwrap();
        let mut publishers = JoinSet::new();
        for publisher in 0..16 {
            let buses = buses.clone();
            publishers.spawn(async move {
                let mut accepted = 0;
                for number in 0..4 {
                    let text = format!("[{publisher},{number}]");
                    match buses.publish(&bus(0), message("c", text)).await {
                        Ok(_) => accepted += 1,
                        Err(error) => assert_eq!(error, PublishError::ChannelFull { limit: 50 }),
                    }
                }
                accepted
            });
        }
        assert_eq!(publishers.join_all().await.into_iter().sum::<usize>(), 50, "seed {seed}");
        let scope: Scope = "bus:b0.example".parse().unwrap();
        let page = buses.read(&scope, Cursor::Start, 1000).await.unwrap();
        assert_eq!(page.messages.len(), 50);
    }
}

/// Publishes on three buses at once, some publishes dropped under way, until all are done.
async fn publish_under_way(buses: &Buses, seed: u64) {
    let mut publishers = JoinSet::new();
    for publisher in 0..9 {
        let buses = buses.clone();
        publishers.spawn(async move {
            let mut random = SplitMix64::new(seed * 1000 + publisher);
            for number in 0..40 {
                let text = format!("[{publisher},{number}]");
                let name = bus(publisher % 3);
                let publish = buses.publish(&name, message("c", text));
                if random.below(4) == 0 {
                    poll_times(publish, random.below(8)).await;
                } else {
                    publish.await.unwrap();
                }
            }
        });
    }
    publishers.join_all().await;
}

async fn all_ids(buses: &Buses, scope: &Scope) -> Vec<(BusName, MessageId)> {
    let page = buses.read(scope, Cursor::Start, usize::MAX).await.unwrap();
    page.messages.iter().map(|message| (message.bus.clone(), message.id)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_neither_skip_nor_repeat_while_many_publish() {
    // Rule: backplane §5.3 — who has seen id X and reads since X misses no greater id
    for seed in 1..=20 {
        let buses = open(&store(seed), VirtualClock::default()).await;
        for number in 0..3 {
            buses.create(&bus(number), retention(1000)).await.unwrap();
        }
        let scope: Scope = "bus:b0.example bus:b1.example bus:b2.example".parse().unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        {
            let (buses, scope, done) = (buses.clone(), scope.clone(), Arc::clone(&done));
            readers.spawn(async move {
                let mut seen = Vec::new();
                let mut next = Cursor::Start;
                loop {
                    let is_last = done.load(Ordering::SeqCst);
                    let page = buses.read(&scope, next, 7).await.unwrap();
                    seen.extend(page.messages.iter().map(|m| (m.bus.clone(), m.id)));
                    next = page.next;
                    if is_last && !page.more {
                        return seen;
                    }
                    yield_now().await;
                }
            });
        }
        let mut feed = buses.subscribe(scope.clone(), Cursor::Start);
        let feeder = async {
            let mut seen: BTreeMap<BusName, Vec<MessageId>> = BTreeMap::new();
            loop {
                let is_last = done.load(Ordering::SeqCst);
                while let Poll::Ready(item) = poll!(feed.next()) {
                    let message = item.unwrap().unwrap();
                    seen.entry(message.bus.clone()).or_default().push(message.id);
                }
                if is_last {
                    return seen;
                }
                yield_now().await;
            }
        };
        let publishing = async {
            publish_under_way(&buses, seed).await;
            // What was dropped under way has happened or never will: the store is the memory one.
            all_ids(&buses, &scope).await;
            done.store(true, Ordering::SeqCst);
        };
        let (seen, ()) = tokio::join!(feeder, publishing);
        let all = all_ids(&buses, &scope).await;
        let followed = readers.join_all().await;
        let sorted: Vec<_> = all.iter().map(|(_, id)| *id).collect();
        assert!(sorted.is_sorted(), "ids are in order");
        assert_eq!(followed, std::slice::from_ref(&all), "seed {seed}: one cursor across buses");
        let mut by_bus: BTreeMap<BusName, Vec<MessageId>> = BTreeMap::new();
        for (bus, id) in all {
            by_bus.entry(bus).or_default().push(id);
        }
        // A subscriber looks without waiting for the store at the end: what it has is a beginning.
        for (bus, ids) in &by_bus {
            let seen = seen.get(bus).map_or(&[][..], Vec::as_slice);
            assert!(ids.starts_with(seen), "seed {seed}: {bus}");
        }
        let mut rest = buses.subscribe(scope.clone(), Cursor::Start);
        for _ in 0..by_bus.values().map(Vec::len).sum() {
            rest.next().await.unwrap().unwrap();
        }
        assert!(poll!(rest.next()).is_pending());
    }
}

#[tokio::test]
async fn a_publish_may_be_dropped_anywhere() {
    for times in 0..30 {
        let buses = open(&store(times + 1), VirtualClock::default()).await;
        buses.create(&bus(0), retention(2)).await.unwrap();
        let name = bus(0);
        let done = poll_times(buses.publish(&name, message("c", "1".into())), times).await;
        let scope: Scope = "bus:b0.example".parse().unwrap();
        let page = buses.read(&scope, Cursor::Start, 10).await.unwrap();
        assert!(page.messages.len() == 1 || done.is_none());
        // Nothing is stuck, and the place is held until it is known what became of it.
        buses.publish(&name, message("c", "2".into())).await.unwrap();
        let page = buses.read(&scope, Cursor::Start, 10).await.unwrap();
        let texts: Vec<_> = page.messages.iter().map(|m| m.payload.as_str()).collect();
        assert!(texts == ["1", "2"] || texts == ["2"], "{texts:?}");
        let more = buses.publish(&name, message("c", "3".into())).await;
        assert!(more.is_err() || texts == ["2"], "the limit holds");
    }
}

#[tokio::test]
async fn a_read_may_be_dropped_anywhere() {
    let scope: Scope = "bus:b0.example bus:b1.example".parse().unwrap();
    for times in 0..30 {
        let store = store(times + 1);
        let writer = open(&store, VirtualClock::default()).await;
        writer.create(&bus(0), retention(100)).await.unwrap();
        for number in 0..12 {
            writer.publish(&bus(0), message("c", number.to_string())).await.unwrap();
        }
        let reader = open(&store, VirtualClock::default()).await;
        let deadline = Timestamp::MAX;
        poll_times(reader.read_wait(&scope, Cursor::Start, 5, deadline), times).await;
        let end = Cursor::After(buswire_message::Sequence::MAX);
        poll_times(reader.read_wait(&scope, end, 5, deadline), times).await;
        assert_eq!(reader.waiting(), 0, "a dropped reader leaves nothing behind");
        assert_eq!(all_ids(&reader, &scope).await.len(), 12);
    }
}

#[tokio::test]
async fn reads_of_a_loaded_bus_do_not_touch_the_store() {
    let store = store(0);
    let buses = open(&store, VirtualClock::default()).await;
    buses.create(&bus(0), retention(100)).await.unwrap();
    let id = buses.publish(&bus(0), message("c", "1".into())).await.unwrap();
    let scope: Scope = "bus:b0.example channel:c".parse().unwrap();
    let before = store.reads();
    for _ in 0..100 {
        buses.read(&scope, Cursor::Start, 25).await.unwrap();
        buses.read(&scope, Cursor::After(id.sequence()), 25).await.unwrap();
        assert!(buses.message(id, &scope).await.unwrap().is_some());
    }
    assert_eq!(store.reads(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_another_gateway_wakes_readers_here() {
    let store = store(3);
    // Nothing but hints can wake the reader in time.
    let limits = BusLimits { poll_interval: Duration::from_secs(3600), ..BusLimits::default() };
    let config = BusConfig { limits, ..config() };
    let here = Buses::open(Arc::<FaultyStore>::clone(&store), Arc::new(SystemClock), config);
    let (here, there) = (here.await.unwrap(), open(&store, SystemClock).await);
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(here.run(shutdown.clone()));
    there.create(&bus(0), retention(100)).await.unwrap();
    let scope: Scope = "bus:b0.example channel:c".parse().unwrap();
    let deadline = SystemClock.now().saturating_add(Duration::from_secs(60));
    let (page, id) = tokio::join!(here.read_wait(&scope, Cursor::Start, 5, deadline), async {
        while here.waiting() == 0 {
            yield_now().await;
        }
        there.publish(&bus(0), message("c", "1".into())).await.unwrap()
    });
    assert_eq!(page.unwrap().messages[0].id, id);
    // Settings follow too: a bus that is created there can be published on here.
    there.create(&bus(1), retention(100)).await.unwrap();
    here.publish(&bus(1), message("c", "2".into())).await.unwrap();
    shutdown.cancel();
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_hints_delay_what_other_gateways_do_and_no_more() {
    let inner = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(inner).without_hints());
    let limits = BusLimits { poll_interval: Duration::from_millis(100), ..BusLimits::default() };
    let config = BusConfig { limits, ..config() };
    let here = Buses::open(Arc::<FaultyStore>::clone(&store), Arc::new(SystemClock), config);
    let (here, there) = (here.await.unwrap(), open(&store, SystemClock).await);
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(here.run(shutdown.clone()));
    // Room for all that is published until the next look.
    there.create(&bus(0), retention(1_000_000)).await.unwrap();
    here.publish(&bus(0), message("d", "0".into())).await.unwrap();
    let scope: Scope = "bus:b0.example channel:c".parse().unwrap();
    let deadline = SystemClock.now().saturating_add(Duration::from_secs(60));
    let (page, id) = tokio::join!(here.read_wait(&scope, Cursor::Start, 5, deadline), async {
        while here.waiting() == 0 {
            yield_now().await;
        }
        there.publish(&bus(0), message("c", "1".into())).await.unwrap()
    });
    assert_eq!(page.unwrap().messages[0].id, id);
    // A bus that is deleted there is soon unknown here.
    assert!(there.delete(&bus(0), None).await.unwrap());
    loop {
        match here.publish(&bus(0), message("d", "2".into())).await {
            Err(error) => break assert_eq!(error, PublishError::UnknownBus),
            Ok(_) => assert!(SystemClock.now() < deadline, "it is never noticed"),
        }
    }
    shutdown.cancel();
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_end_at_their_deadline_and_when_the_process_stops() {
    // Rule: backplane §10.3 — a blocked read ends with an empty list when its time is over
    let buses = open(&store(0), SystemClock).await;
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(buses.run(shutdown.clone()));
    let scope: Scope = "bus:b0.example".parse().unwrap();
    for millis in [80, 20, 50] {
        let deadline = SystemClock.now().saturating_add(Duration::from_millis(millis));
        let page = buses.read_wait(&scope, Cursor::Start, 5, deadline).await.unwrap();
        assert!(page.messages.is_empty());
        assert!(SystemClock.now() >= deadline, "not before its time");
    }
    let mut feed = buses.subscribe(scope.clone(), Cursor::Start);
    let poll = buses.read_wait(&scope, Cursor::Start, 5, Timestamp::MAX);
    let (page, end, ()) = tokio::join!(poll, feed.next(), async {
        while buses.waiting() < 2 {
            yield_now().await;
        }
        shutdown.cancel();
    });
    assert!(page.unwrap().messages.is_empty());
    assert!(end.is_none());
    tasks.join_all().await;
    let page = buses.read_wait(&scope, Cursor::Start, 5, Timestamp::MAX).await.unwrap();
    assert!(page.messages.is_empty(), "nobody waits any more");
}
