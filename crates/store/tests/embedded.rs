//! What the embedded engine promises beyond the trait: damage is noticed and explained, a failed
//! commit ends the store, and a loss of power at any moment costs nothing that was acknowledged.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, path::Path, sync::Arc};

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, DedupeId, Direction, Entry, Key, KeyRange, LogName, Operation, Outcome, Partition,
    Position, Row, Store, StoreError,
    conformance::START,
    embedded::{EmbeddedConfig, EmbeddedStore, OpenError},
};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::support::{Random, disk::Disk, small};

fn partition() -> Partition {
    Partition::new("bus/a").unwrap()
}

fn log() -> LogName {
    LogName::new("messages").unwrap()
}

/// A row and an entry that belong together.
fn pair(name: &str) -> Batch {
    let value = Bytes::from(format!("{name:->300}"));
    Batch::new(partition())
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
        })
}

/// Everything that the store shows, in order; the contents of rows and entries.
async fn everything(store: &dyn Store) -> Result<(Vec<(Key, Row)>, Vec<Entry>), StoreError> {
    let of = partition();
    let rows = store.scan(&of, KeyRange::all(), 65_536, Direction::Ascending, START);
    let rows = rows.await?.rows;
    let (mut entries, mut after): (_, Option<Position>) = (Vec::new(), None);
    loop {
        let page = store.read_log(&partition(), &log(), after, 1000, START).await?;
        entries.extend(page.entries);
        after = Some(page.next);
        if !page.more {
            return Ok((rows, entries));
        }
    }
}

/// Writes some of everything into a fresh store in `directory` and closes it.
async fn fill(directory: &Path, count: usize) -> (Vec<(Key, Row)>, Vec<Entry>) {
    let store = EmbeddedStore::open(directory, small()).unwrap();
    for number in 0..count {
        store.commit(pair(&number.to_string()), Ack::Safe, START).await.unwrap();
    }
    let all = everything(&store).await.unwrap();
    store.close().await;
    all
}

fn open(directory: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(directory, EmbeddedConfig::default())
}

fn refusal(directory: &Path) -> OpenError {
    match open(directory) {
        Err(error) => error,
        Ok(store) => panic!("{store:?} is open"),
    }
}

/// One line that names the path.
fn assert_clear(error: &OpenError, path: &Path) {
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && !text.contains('\n'), "{text}");
}

#[tokio::test]
async fn a_directory_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert_clear(&error, directory.path());
    drop(store);
    open(directory.path()).unwrap().close().await;
    open(directory.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_one_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = refusal(&path);
        assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
        assert_clear(&error, &path);
    }
}

#[test]
fn missing_directories_are_made() {
    let directory = tempfile::tempdir().unwrap();
    open(&directory.path().join("a/b")).unwrap();
}

#[test]
fn an_unfinished_creation_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("buswire.redb.new"), "half of a fi").unwrap();
    open(directory.path()).unwrap();
    assert!(!directory.path().join("buswire.redb.new").exists());
}

#[test]
fn files_of_others_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("buswire.redb");
    fs::write(&file, "To whom it may concern: this is a letter. ".repeat(1000)).unwrap();
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert_clear(&error, &file);

    fs::remove_file(&file).unwrap();
    let table = redb::TableDefinition::<&str, u64>::new("theirs");
    let database = redb::Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert("x", 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

#[tokio::test]
async fn a_newer_format_is_refused_by_its_number() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 1).await;
    let file = directory.path().join("buswire.redb");
    let database = redb::Database::open(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("buswire");
    transaction.open_table(meta).unwrap().insert("format", 7).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = refusal(directory.path());
    assert!(matches!(error, OpenError::Newer { found: 7, known: 1, .. }), "{error:?}");
    assert_clear(&error, &file);
}

#[tokio::test]
async fn a_restored_directory_begins_a_new_epoch() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path(), 3).await;
    let store = open(directory.path()).unwrap();
    let before = store.status().epoch;
    let page = store.read_log(&partition(), &log(), None, 9, START).await.unwrap();
    store.close().await;
    fs::write(directory.path().join("RESTORED"), "").unwrap();
    let store = open(directory.path()).unwrap();
    assert!(store.status().epoch > before);
    let page = store.read_log(&partition(), &log(), Some(page.next), 9, START).await.unwrap();
    assert!(page.gap && page.entries.len() == 3);
    let epoch = store.status().epoch;
    drop(store);
    assert_eq!(open(directory.path()).unwrap().status().epoch, epoch, "the marker counts once");
}

#[tokio::test]
async fn a_backup_under_load_has_everything_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (live, restored) = (directory.path().join("live"), directory.path().join("restored"));
    let file = directory.path().join("backup");
    let store = Arc::new(open(&live).unwrap());
    let mut writers = JoinSet::new();
    let acknowledged = Arc::new(std::sync::Mutex::new(Vec::new()));
    for writer in 0..8 {
        let (store, acknowledged) = (Arc::clone(&store), Arc::clone(&acknowledged));
        writers.spawn(async move {
            for n in 0.. {
                let name = format!("{writer}-{n}");
                if store.commit(pair(&name), Ack::Safe, START).await.is_err() {
                    break;
                }
                acknowledged.lock().unwrap().push(name);
            }
        });
    }
    while acknowledged.lock().unwrap().len() < 200 {
        tokio::task::yield_now().await;
    }
    let before = acknowledged.lock().unwrap().clone();
    store.backup(&file).await.unwrap();
    assert!(acknowledged.lock().unwrap().len() > before.len(), "writers were not held up");
    assert!(matches!(store.backup(&file).await, Err(StoreError::Unavailable(_))), "never over one");
    store.close().await;
    writers.join_all().await;
    EmbeddedStore::restore(&file, &restored).unwrap();
    let again = EmbeddedStore::restore(&file, &restored).unwrap_err();
    assert!(matches!(again, OpenError::Occupied { .. }), "{again:?}");
    let copy = open(&restored).unwrap();
    assert!(copy.status().epoch > store.status().epoch, "readers learn that something is missing");
    check(&copy, &before).await;

    let half = fs::read(&file).unwrap();
    fs::write(&file, &half[..half.len() / 2]).unwrap();
    let elsewhere = directory.path().join("elsewhere");
    assert_clear(&EmbeddedStore::restore(&file, &elsewhere).unwrap_err(), &file);
}

#[tokio::test]
async fn without_room_on_the_disk_nothing_is_begun_and_everything_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let kept = fill(directory.path(), 3).await;
    let config = EmbeddedConfig { free_bytes: u64::MAX, ..small() };
    let store = EmbeddedStore::open(directory.path(), config).unwrap();
    let to = directory.path().join("backup");
    for error in [
        store.commit(pair("more"), Ack::Safe, START).await.unwrap_err(),
        store.backup(&to).await.unwrap_err(),
    ] {
        assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("free")), "{error}");
    }
    assert!(!to.exists());
    assert_eq!(everything(&store).await.unwrap(), kept);
    let status = store.status();
    assert_eq!((status.unavailable, status.is_full), (None, true));
    assert!(status.disk_free_bytes.is_some());
    // What removes makes room, so it goes on.
    store.sweep(START, 1).await.unwrap();
    drop(store);

    // With even less it is refused, and the store stays whole.
    let config = EmbeddedConfig { sweep_free_bytes: u64::MAX, ..config };
    let store = EmbeddedStore::open(directory.path(), config).unwrap();
    let error = store.sweep(START, 1).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("free")), "{error}");
    assert_eq!(store.status().unavailable, None);
    assert_eq!(everything(&store).await.unwrap(), kept);
}

/// Opens a damaged file and reads all of it: either somebody says that it is damaged, or everything
/// is as it was. Gives whether it was noticed.
async fn is_noticed(
    directory: &Path,
    what: &str,
    config: EmbeddedConfig,
    intact: &(Vec<(Key, Row)>, Vec<Entry>),
) -> bool {
    match EmbeddedStore::open(directory, config) {
        Err(error) => {
            assert!(
                matches!(error, OpenError::Damaged { .. } | OpenError::Foreign { .. }),
                "{error:?}"
            );
            assert_clear(&error, directory);
            true
        }
        Ok(store) => {
            let shown = everything(&store).await;
            store.close().await;
            match shown {
                Ok(shown) => {
                    let same = (shown.0 == intact.0, shown.1 == intact.1);
                    let counts = (shown.0.len(), shown.1.len());
                    assert_eq!(same, (true, true), "damage went unnoticed: {what}, {counts:?}");
                    false
                }
                Err(error) => {
                    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
                    true
                }
            }
        }
    }
}

#[tokio::test]
async fn truncated_zeroed_and_overwritten_files_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    let intact = fill(directory.path(), 60).await;
    let file = directory.path().join("buswire.redb");
    let good = fs::read(&file).unwrap();
    let mut random = Random::new(7);
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for length in [0, 1, 8, 63, 64, 320, 4095, 4096, 5000, good.len() / 2, good.len() - 1] {
        cases.push((format!("cut to {length}"), good[..length].to_vec()));
    }
    cases.push(("all zeroes".to_owned(), vec![0; good.len()]));
    cases.push(("garbage".to_owned(), random.bytes(good.len())));
    for part in [4096, good.len() / 4] {
        let mut bytes = good.clone();
        bytes[..part].fill(0);
        cases.push((format!("{part} zeroes at the start"), bytes));
    }
    let mut bytes = good.clone();
    let garbage = random.bytes(bytes.len() - 4096);
    bytes[4096..].copy_from_slice(&garbage);
    cases.push(("garbage after the header".to_owned(), bytes));
    for check_up_to_bytes in [0, u64::MAX] {
        for (case, bytes) in &cases {
            fs::write(&file, bytes).unwrap();
            let config = EmbeddedConfig { check_up_to_bytes, ..small() };
            let noticed = is_noticed(directory.path(), case, config, &intact).await;
            assert!(noticed, "{case} went unnoticed");
        }
    }
    fs::write(&file, &good).unwrap();
    assert!(!is_noticed(directory.path(), "nothing", small(), &intact).await);
}

#[tokio::test]
async fn flipped_bits_are_noticed_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let intact = fill(directory.path(), 60).await;
    let file = directory.path().join("buswire.redb");
    let good = fs::read(&file).unwrap();
    let used: Vec<usize> = (0..good.len()).filter(|at| good[*at] != 0).collect();
    for check_up_to_bytes in [0, u64::MAX] {
        let mut random = Random::new(check_up_to_bytes);
        let mut noticed = 0;
        for _ in 0..150 {
            let mut bytes = good.clone();
            // Most of the file is unused; hit what is used.
            let at = used[random.below(used.len())];
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            fs::write(&file, &bytes).unwrap();
            let config = EmbeddedConfig { check_up_to_bytes, ..small() };
            let what = format!("bit {bit} of byte {at}");
            let seen = is_noticed(directory.path(), &what, config, &intact).await;
            noticed += usize::from(seen);
        }
        println!("{noticed} of 150 flipped bits noticed, the others harmless");
        assert!(noticed > 20);
    }
}

#[tokio::test]
async fn a_failed_commit_ends_the_store_and_loses_nothing() {
    for allowed in 0..40 {
        let disk = Disk::default();
        let store = EmbeddedStore::open_on(disk.clone(), small()).unwrap();
        store.commit(pair("first"), Ack::Safe, START).await.unwrap();
        disk.fail_after(allowed);
        let mut acknowledged = vec!["first".to_owned()];
        let failure = loop {
            let name = acknowledged.len().to_string();
            match store.commit(pair(&name), Ack::Safe, START).await {
                Ok(_) => acknowledged.push(name),
                Err(error) => break error,
            }
        };
        assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
        for error in [
            store.commit(pair("later"), Ack::Safe, START).await.err(),
            store.sweep(START, 1).await.err(),
            everything(&store).await.err(),
        ] {
            assert!(matches!(error, Some(StoreError::Unavailable(_))), "{error:?}");
        }
        drop(store);
        let store = EmbeddedStore::open_on(disk.reopened(), small()).unwrap();
        check(&store, &acknowledged).await;
    }
}

/// Every acknowledged pair is there, no half of one, and the store works.
async fn check(store: &dyn Store, acknowledged: &[String]) {
    let (rows, entries) = everything(store).await.unwrap();
    let mut rows: Vec<Bytes> =
        rows.into_iter().map(|(_, row)| row.value.as_bytes().unwrap().clone()).collect();
    let mut bodies: Vec<Bytes> = entries.into_iter().map(|entry| entry.body).collect();
    rows.sort();
    bodies.sort();
    assert_eq!(rows, bodies, "half of a batch is there");
    for name in acknowledged {
        let value = Bytes::from(format!("{name:->300}"));
        assert!(bodies.binary_search(&value).is_ok(), "{name} was acknowledged and is gone");
    }
    let more = store.commit(pair("more"), Ack::Safe, START).await;
    assert!(matches!(more, Ok(Outcome::Committed(_))), "{more:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_lost_at_any_moment_costs_nothing_acknowledged() {
    for seed in 0..120 {
        let mut random = Random::new(seed);
        let mut disk = Disk::default();
        let mut acknowledged = Vec::new();
        drop(EmbeddedStore::open_on(disk.clone(), small()).unwrap());
        // Several losses one after the other, so that recovering is interrupted too.
        for round in 0..3 {
            disk.fail_after(random.below(150) as u64);
            if let Ok(store) = EmbeddedStore::open_on(disk.clone(), small()) {
                acknowledged.extend(write_until_it_fails(Arc::new(store), round).await);
            }
            disk = disk.after_power_loss(|length| match random.below(4) {
                0 => 0,
                1 => random.below(length + 1),
                _ => length,
            });
        }
        let store = EmbeddedStore::open_on(disk, small()).unwrap();
        check(&store, &acknowledged).await;
    }
}

async fn write_until_it_fails(store: Arc<EmbeddedStore>, round: usize) -> Vec<String> {
    let mut writers = JoinSet::new();
    for writer in 0..6 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            loop {
                let name = format!("{round}/{writer}/{}", acknowledged.len());
                match store.commit(pair(&name), Ack::Safe, START).await {
                    Ok(_) => acknowledged.push(name),
                    Err(_) => return acknowledged,
                }
            }
        });
    }
    writers.join_all().await.concat()
}

#[tokio::test]
async fn one_that_lives_longer_does_not_keep_the_others_on_disk() {
    let disk = Disk::default();
    let store = EmbeddedStore::open_on(disk.clone(), small()).unwrap();
    let entry = |minutes: u64| Operation::Append {
        log: log(),
        dedupe: None,
        body: Bytes::from(vec![b'x'; 1000]),
        expires: Timestamp::from_secs(START.as_secs() + 60 * minutes),
    };
    let at = |minutes: u64| Timestamp::from_secs(START.as_secs() + 60 * minutes);
    for minute in 0..200 {
        let mut batch = Batch::new(partition()).then(entry(minute + 500));
        for _ in 0..50 {
            batch = batch.then(entry(minute + 10));
        }
        store.commit(batch, Ack::Safe, at(minute)).await.unwrap();
    }
    // 10,000 short-lived ones of 1000 bytes were written; 500 of them are live at a time.
    let length = redb::StorageBackend::len(&disk).unwrap();
    assert!(length < 6_000_000, "{length} bytes");
    let page = store.read_log(&partition(), &log(), None, 9999, at(300)).await.unwrap();
    assert_eq!(page.entries.len(), 200);
}
