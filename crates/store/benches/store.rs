//! Durable appends of 400 bytes, 1, 64 and 512 at a time, against the floor: a plain file, one write
//! and one sync for as many records.
//!
//! Compare `embedded/N` with `floor/N` of the same run; absolute figures depend on the disk.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark fails by panicking, and criterion writes the main function"
)]

use std::{fs::File, io::Write, time::Duration};

use buswire_message::{Clock, Timestamp};
use buswire_store::{
    Ack, Batch, LogName, Operation, Outcome, Partition, Store,
    embedded::{EmbeddedConfig, EmbeddedStore},
    system::SystemClock,
};
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;

const RECORD: usize = 400;

fn append() -> Operation {
    Operation::Append {
        log: LogName::new("messages").unwrap(),
        dedupe: None,
        body: Bytes::from(vec![b'x'; RECORD]),
        expires: Timestamp::MAX,
    }
}

/// One request each, as publishers make them: the committer has to gather them.
async fn publish(store: &dyn Store, count: usize) {
    let partition = Partition::new("bus/a").unwrap();
    let now = SystemClock.now();
    let commits = (0..count)
        .map(|_| store.commit(Batch::new(partition.clone()).then(append()), Ack::Safe, now));
    for outcome in join_all(commits).await {
        assert!(matches!(outcome, Ok(Outcome::Committed(_))));
    }
}

fn durable_appends(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir_in(".").unwrap();
    let store = {
        let _entered = runtime.enter();
        EmbeddedStore::open(directory.path().join("store"), EmbeddedConfig::default()).unwrap()
    };
    let mut file = File::create(directory.path().join("floor")).unwrap();
    let mut group = c.benchmark_group("durable-appends");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    group.sample_size(20);
    for count in [1, 64, 512] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("floor", count), &count, |b, count| {
            let records = vec![b'x'; RECORD * count];
            b.iter(|| {
                file.write_all(&records).unwrap();
                file.sync_data().unwrap();
            });
        });
        group.bench_with_input(BenchmarkId::new("embedded", count), &count, |b, count| {
            b.iter(|| runtime.block_on(publish(&store, *count)));
        });
    }
    group.finish();
}

fn opening(c: &mut Criterion) {
    const ENTRIES: usize = 1_000_000;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir_in(".").unwrap();
    runtime.block_on(async {
        let store = EmbeddedStore::open(directory.path(), EmbeddedConfig::default()).unwrap();
        for number in 0..ENTRIES / 1000 {
            let partition = Partition::new(&format!("bus/{}", number % 100)).unwrap();
            let mut batch = Batch::new(partition);
            for _ in 0..1000 {
                batch = batch.then(append());
            }
            store.commit(batch, Ack::Safe, SystemClock.now()).await.unwrap();
        }
        store.close().await;
    });
    let mut group = c.benchmark_group("open");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.bench_function("a-million-entries", |b| {
        b.iter_batched(
            || (),
            |()| EmbeddedStore::open(directory.path(), EmbeddedConfig::default()).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, durable_appends, opening);
criterion_main!(benches);
