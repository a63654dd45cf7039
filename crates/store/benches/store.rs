//! Durable appends of 400 bytes, 1, 64 and 512 at a time, against the floor: a plain file, one write
//! and one sync for as many records. `commit/N` is one commit of N entries, `publish/N` one commit of
//! one entry by each of N publishers at once.
//!
//! Disks are noisy: what counts are the ratios to the floor, which are measured first, the three
//! interleaved, medians of the rounds. Criterion follows, for comparison with earlier runs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark fails by panicking, and criterion writes the main function"
)]

use std::{
    fs::File,
    io::Write,
    time::{Duration, Instant},
};

use buswire_message::{Clock, Timestamp};
use buswire_store::{
    Ack, Batch, LogName, Operation, Outcome, Partition, Store,
    embedded::{EmbeddedConfig, EmbeddedStore},
    system::SystemClock,
};
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const RECORD: usize = 400;

fn append() -> Operation {
    Operation::Append {
        log: LogName::new("messages").unwrap(),
        dedupe: None,
        body: Bytes::from(vec![b'x'; RECORD]),
        expires: Timestamp::MAX,
    }
}

/// All in one commit.
async fn commit(store: &dyn Store, count: usize) {
    let mut batch = Batch::new(Partition::new("bus/a").unwrap());
    for _ in 0..count {
        batch = batch.then(append());
    }
    let outcome = store.commit(batch, Ack::Safe, SystemClock.now()).await;
    assert!(matches!(outcome, Ok(Outcome::Committed(_))));
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

/// What is measured: a store and a plain file on the same disk.
struct Subjects {
    runtime: Runtime,
    store: EmbeddedStore,
    file: File,
    directory: TempDir,
}

impl Subjects {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let directory = tempfile::tempdir_in(".").unwrap();
        let path = directory.path().join("store");
        let store = EmbeddedStore::open(path, EmbeddedConfig::default()).unwrap();
        let file = File::create(directory.path().join("floor")).unwrap();
        Self { runtime, store, file, directory }
    }

    fn floor(&mut self, records: &[u8]) {
        self.file.write_all(records).unwrap();
        self.file.sync_data().unwrap();
    }
}

const COUNTS: [usize; 3] = [1, 64, 512];
const ROUNDS: usize = 9;
const PER_ROUND: usize = 40;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..PER_ROUND {
        work();
    }
    start.elapsed()
}

fn median(mut durations: Vec<Duration>) -> f64 {
    durations.sort_unstable();
    durations.get(durations.len() / 2).unwrap().as_secs_f64()
}

#[expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "the result is for people")]
fn ratios() {
    let mut subjects = Subjects::new();
    println!("records at a time | floor, records/s | commit, of the floor | publish, of the floor");
    for count in COUNTS {
        let records = vec![b'x'; RECORD * count];
        let (mut floor, mut one, mut many) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            floor.push(timed(|| subjects.floor(&records)));
            let Subjects { runtime, store, .. } = &subjects;
            one.push(timed(|| runtime.block_on(commit(store, count))));
            many.push(timed(|| runtime.block_on(publish(store, count))));
        }
        let [floor, one, many] = [floor, one, many].map(median);
        let rate = (count * PER_ROUND) as f64 / floor;
        println!("{count} | {rate:.0} | {:.2} | {:.2}", floor / one, floor / many);
    }
    drop(subjects.directory);
}

fn durable_appends(c: &mut Criterion) {
    let mut subjects = Subjects::new();
    let mut group = c.benchmark_group("durable-appends");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    group.sample_size(20);
    for count in COUNTS {
        group.throughput(Throughput::Elements(count as u64));
        let records = vec![b'x'; RECORD * count];
        group.bench_function(BenchmarkId::new("floor", count), |b| {
            b.iter(|| subjects.floor(&records));
        });
        let Subjects { runtime, store, .. } = &subjects;
        group.bench_function(BenchmarkId::new("commit", count), |b| {
            b.iter(|| runtime.block_on(commit(store, count)));
        });
        group.bench_function(BenchmarkId::new("publish", count), |b| {
            b.iter(|| runtime.block_on(publish(store, count)));
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

fn main() {
    ratios();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
