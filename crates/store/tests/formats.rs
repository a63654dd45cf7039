//! Files of every format that was ever released open and show what was put into them.
//!
//! A fixture holds the blocks of a file that are not all zero. `BUSWIRE_WRITE_FIXTURE=1` makes the one
//! of the present format anew; that of a released format is never made again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path};

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, DedupeId, Direction, Key, KeyRange, LogName, Operation, Partition, RowValue, Store,
    conformance::START,
    embedded::{EmbeddedConfig, EmbeddedStore},
};
use bytes::Bytes;

const BLOCK: usize = 512;
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/format-1.blocks");

fn partition(name: &str) -> Partition {
    Partition::new(name).unwrap()
}

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

fn log() -> LogName {
    LogName::new("messages").unwrap()
}

fn entry(id: Option<&str>, body: &str, minutes: u64) -> Operation {
    Operation::Append {
        log: log(),
        dedupe: id.and_then(|id| DedupeId::new(id.to_owned())),
        body: Bytes::from(body.to_owned()),
        expires: Timestamp::from_secs(START.as_secs() + 60 * minutes),
    }
}

/// Some of everything that a file can hold.
async fn write(store: &dyn Store) {
    let batch = Batch::new(partition("bus/v2/example.com"))
        .then(Operation::Put { key: key("k"), value: Bytes::from_static(b"value"), expires: None })
        .then(Operation::Raise { key: key("n"), version: u64::MAX, expires: None })
        .then(Operation::Tombstone { key: key("t"), until: Timestamp::MAX })
        .then(entry(Some("id"), "short-lived", 10))
        .then(entry(None, "long-lived", 480))
        .then(entry(None, "", 480));
    store.commit(batch, Ack::Safe, START).await.unwrap();
    let batch = Batch::new(partition("uaid/1")).then(entry(None, &"x".repeat(10_000), 480));
    store.commit(batch, Ack::Safe, START).await.unwrap();
}

async fn check(store: &dyn Store) {
    let of = partition("bus/v2/example.com");
    let rows = store.scan(&of, KeyRange::all(), 9, Direction::Ascending, START).await.unwrap().rows;
    let values: Vec<_> = rows.into_iter().map(|(_, row)| (row.value, row.expires)).collect();
    let expected = [
        (RowValue::Bytes(Bytes::from_static(b"value")), None),
        (RowValue::Version(u64::MAX), None),
        (RowValue::Tombstone, Some(Timestamp::MAX)),
    ];
    assert_eq!(values, expected);
    let page = store.read_log(&of, &log(), None, 9, START).await.unwrap();
    let bodies: Vec<_> = page.entries.iter().map(|entry| entry.body.clone()).collect();
    assert_eq!(bodies, ["short-lived", "long-lived", ""]);
    let other = store.read_log(&partition("uaid/1"), &log(), None, 9, START).await.unwrap();
    assert_eq!(other.entries[0].body, "x".repeat(10_000));
    let again =
        Batch::new(of.clone()).then(entry(Some("id"), "again", 10)).then(entry(None, "new", 10));
    store.commit(again, Ack::Safe, START).await.unwrap();
    let page = store.read_log(&of, &log(), Some(page.next), 9, START).await.unwrap();
    assert_eq!(page.entries.len(), 1, "the dedupe id is remembered, and positions go on");
}

fn pack(file: &[u8]) -> Vec<u8> {
    let mut packed = (file.len() as u64).to_le_bytes().to_vec();
    for (number, block) in file.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            packed.extend((number as u64).to_le_bytes());
            packed.extend(block);
        }
    }
    packed
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let number =
        |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().unwrap())).unwrap();
    let (length, blocks) = packed.split_at(8);
    let mut file = vec![0; number(length)];
    for block in blocks.chunks(8 + BLOCK) {
        let (at, bytes) = block.split_at(8);
        let at = number(at) * BLOCK;
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }
    file
}

#[tokio::test]
async fn format_1_opens() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("buswire.redb");
    if std::env::var_os("BUSWIRE_WRITE_FIXTURE").is_some() {
        let store = EmbeddedStore::open(directory.path(), EmbeddedConfig::default()).unwrap();
        write(&store).await;
        store.close().await;
        fs::create_dir_all(Path::new(FIXTURE).parent().unwrap()).unwrap();
        fs::write(FIXTURE, pack(&fs::read(&file).unwrap())).unwrap();
    }
    fs::write(&file, unpack(&fs::read(FIXTURE).unwrap())).unwrap();
    let store = EmbeddedStore::open(directory.path(), EmbeddedConfig::default()).unwrap();
    check(&store).await;
    store.close().await;
}
