//! Publishing, reading a channel, waking many.
#![allow(missing_docs, reason = "criterion makes undocumented items")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::{hint::black_box, pin::Pin, sync::Arc, time::Duration};

use buswire_bus::{BusConfig, BusError, BusLimits, Buses, ReadPage};
use buswire_message::{BusName, Cursor, Headers, NewMessage, Payload, Retention, Scope, Timestamp};
use buswire_store::{memory::MemoryStore, system::SystemClock};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::{future::join_all, poll};
use tokio::runtime::{Builder, Runtime};

const PUBLISHERS: u64 = 64;
const WAITERS: usize = 500;

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

fn name() -> BusName {
    "bench.example".parse().unwrap()
}

/// Buses with one that has `channels` × `messages` messages.
async fn buses(channels: u32, messages: u32) -> Buses {
    let limits = BusLimits { bus_messages_max: usize::MAX, ..BusLimits::default() };
    let config = BusConfig {
        message_url_prefix: "https://h.example/v2/message/".into(),
        limits,
        tracer: None,
    };
    let store = Arc::new(MemoryStore::new());
    let buses = Buses::open(store, Arc::new(SystemClock), config).await.unwrap();
    let hour = Duration::from_secs(3600);
    buses.create(&name(), Retention::new(hour, hour, 1_000_000).unwrap()).await.unwrap();
    for channel in 0..channels {
        let list = (0..messages).map(|_| message(&format!("c{channel}"))).collect();
        buses.publish_all(&name(), list).await.unwrap();
    }
    buses
}

fn message(channel: &str) -> NewMessage {
    let payload =
        Bytes::from_static(b"{\"text\":\"sixty-four bytes of payload, more or less, ok\"}");
    NewMessage {
        channel: channel.parse().unwrap(),
        source: "https://s.example/".parse().unwrap(),
        kind: "chat/message".parse().unwrap(),
        sticky: false,
        expires_at: None,
        payload: Payload::parse(&payload).unwrap(),
        headers: Headers::default(),
    }
}

fn publish(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("publish");
    // Growth: ten times as many retained messages must cost about as much.
    for (label, channels) in [("one, bus of 1,000", 10), ("one, bus of 10,000", 100)] {
        group.bench_function(label, |bencher| {
            bencher.iter_batched_ref(
                || runtime.block_on(buses(channels, 100)),
                |buses| {
                    runtime.block_on(async {
                        for _ in 0..100 {
                            buses.publish(&name(), message("c1")).await.unwrap();
                        }
                    });
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.throughput(Throughput::Elements(PUBLISHERS));
    group.bench_function("64 at once", |bencher| {
        bencher.iter_batched_ref(
            || runtime.block_on(buses(1, 100)),
            |buses| {
                runtime.block_on(async {
                    let name = name();
                    let all = (0..PUBLISHERS).map(|_| buses.publish(&name, message("c1")));
                    for id in join_all(all).await {
                        id.unwrap();
                    }
                });
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("read");
    for (label, channels) in [("25 of a channel, 100 channels", 100), ("1,000 channels", 1000)] {
        let buses = runtime.block_on(buses(channels, 50));
        let scope: Scope = "bus:bench.example channel:c7".parse().unwrap();
        group.bench_function(label, |bencher| {
            bencher.iter(|| {
                let page = runtime.block_on(buses.read(&scope, Cursor::Start, 25)).unwrap();
                black_box(page.messages.len())
            });
        });
    }
    let buses = runtime.block_on(buses(100, 50));
    let scope: Scope = "bus:bench.example channel:c7".parse().unwrap();
    let end = runtime.block_on(buses.read(&scope, Cursor::Start, 1000)).unwrap().next;
    group.bench_function("nothing new", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(buses.read(&scope, end, 25)).unwrap().more));
    });
    group.finish();
}

type Waiter = Pin<Box<dyn Future<Output = Result<ReadPage, BusError>>>>;

fn wake(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("wake");
    group.throughput(Throughput::Elements(u64::try_from(WAITERS).unwrap()));
    group.bench_function("500 waiters, to their pages", |bencher| {
        bencher.iter_batched(
            || {
                runtime.block_on(async {
                    let buses = buses(1, 1).await;
                    let mut waiters: Vec<Waiter> = Vec::new();
                    for _ in 0..WAITERS {
                        let buses = buses.clone();
                        let mut waiter: Waiter = Box::pin(async move {
                            let scope = "bus:bench.example channel:w".parse().unwrap();
                            buses.read_wait(&scope, Cursor::Start, 25, Timestamp::MAX).await
                        });
                        assert!(poll!(&mut waiter).is_pending());
                        waiters.push(waiter);
                    }
                    (buses, waiters)
                })
            },
            |(buses, waiters)| {
                runtime.block_on(async {
                    buses.publish(&name(), message("w")).await.unwrap();
                    for waiter in waiters {
                        assert_eq!(waiter.await.unwrap().messages.len(), 1);
                    }
                });
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, publish, read, wake);
criterion_main!(benches);
