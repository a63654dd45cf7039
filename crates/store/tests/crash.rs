//! A process that writes under load is killed at random moments; whatever it had acknowledged is there
//! afterwards, and nothing is there by half.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use buswire_message::{Sequence, Timestamp};
use buswire_store::{
    Ack, Applied, Batch, DedupeId, Direction, Key, KeyRange, LogName, Operation, Outcome,
    Partition, Store,
    conformance::START,
    embedded::{EmbeddedConfig, EmbeddedStore},
};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::support::Random;

/// Tells the test executable to be the process that is killed, and where to write.
const DIRECTORY: &str = "BUSWIRE_CRASH_DIRECTORY";
const KILLS: usize = 60;
const WRITERS: usize = 8;

fn partition(writer: usize) -> Partition {
    Partition::new(&format!("bus/{}", writer % 3)).unwrap()
}

fn log() -> LogName {
    LogName::new("messages").unwrap()
}

/// The process that is killed: writes as fast as it can and prints each acknowledged write. Does
/// nothing when it is run as a test.
#[test]
fn writer_process() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async move {
        let store = EmbeddedStore::open(Path::new(&directory), EmbeddedConfig::default());
        let store = Arc::new(store.unwrap());
        // Names of an earlier process are not used again: they count from what is stored.
        let first = everything(&*store).await.len();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                for number in first.. {
                    write(&*store, writer, &format!("{writer}/{number}")).await;
                }
            });
        }
        writers.join_all().await;
    });
}

async fn write(store: &dyn Store, writer: usize, name: &str) {
    let value = Bytes::from(name.repeat(20));
    let batch = Batch::new(partition(writer))
        .then(Operation::Put {
            key: Key::new(name.to_owned()).unwrap(),
            value: value.clone(),
            expires: None,
        })
        .then(Operation::Append {
            log: log(),
            dedupe: DedupeId::new(name.to_owned()),
            body: value,
            expires: Timestamp::MAX,
        });
    let Outcome::Committed(applied) = store.commit(batch, Ack::Safe, START).await.unwrap() else {
        panic!("a conflict without expectations")
    };
    let Applied::Appended(position) = applied[1] else { panic!("{name} was there already") };
    let line = format!("stored {name} {}\n", position.sequence.as_u64());
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// Every entry with its sequence, after checking that each has its row and each row its entry.
async fn everything(store: &dyn Store) -> BTreeMap<String, Sequence> {
    let mut all = BTreeMap::new();
    for bus in 0..3 {
        let of = partition(bus);
        let rows = store.scan(&of, KeyRange::all(), usize::MAX, Direction::Ascending, START);
        let rows = rows.await.unwrap();
        assert!(!rows.more);
        let page = store.read_log(&of, &log(), None, usize::MAX, START).await.unwrap();
        assert!(!page.more);
        assert_eq!(rows.rows.len(), page.entries.len(), "half of a batch is there");
        let rows: BTreeMap<_, _> = rows
            .rows
            .into_iter()
            .map(|(key, row)| (row.value.as_bytes().unwrap().clone(), key))
            .collect();
        for entry in page.entries {
            let key = rows.get(&entry.body).expect("an entry is there without its row");
            let name = String::from_utf8(key.as_bytes().to_vec()).unwrap();
            assert_eq!(entry.body, name.repeat(20));
            all.insert(name, entry.sequence);
        }
    }
    all
}

#[test]
fn kill_9_at_any_moment_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut random = Random::new(9);
    let mut acknowledged = BTreeMap::new();
    let mut unanswered = 0;
    for _ in 0..KILLS {
        let before = acknowledged.len();
        acknowledged.extend(run_and_kill(directory.path(), random.below(160)));
        let stored = runtime.block_on(async {
            let store = EmbeddedStore::open(directory.path(), EmbeddedConfig::default());
            let store = store.expect("a killed store opens again");
            let stored = everything(&store).await;
            store.close().await;
            stored
        });
        for (name, sequence) in &acknowledged {
            assert_eq!(stored.get(name), Some(sequence), "{name} was acknowledged");
        }
        assert!(acknowledged.len() >= before);
        unanswered = stored.len() - acknowledged.len();
    }
    println!(
        "{KILLS} kills, {} acknowledged writes, all there; {unanswered} more that were stored before \
         the answer could be printed",
        acknowledged.len()
    );
    assert!(acknowledged.len() > KILLS);
}

/// Runs the writer until it has printed `writes` acknowledged writes and kills it then. Gives those
/// that it had printed until it was dead.
fn run_and_kill(directory: &Path, writes: usize) -> BTreeMap<String, Sequence> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["writer_process", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = BTreeMap::new();
    let mut line = String::new();
    let mut killed = false;
    loop {
        if acknowledged.len() >= writes && !killed {
            child.kill().unwrap();
            killed = true;
        }
        line.clear();
        let length = output.read_line(&mut line).unwrap();
        if length == 0 {
            break;
        }
        // The last line may be cut off. The test harness prints lines of its own.
        if let Some(stored) = line.strip_suffix('\n').and_then(|line| line.split_once("stored ")) {
            let (name, sequence) = stored.1.split_once(' ').unwrap();
            let sequence = Sequence::from_u64(sequence.parse().unwrap()).unwrap();
            acknowledged.insert(name.to_owned(), sequence);
        }
    }
    assert!(killed, "the writer ended by itself");
    child.wait().unwrap();
    acknowledged
}
