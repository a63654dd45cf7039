//! Cases about rows and batches.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    Engine, START, after, append, bodies, bytes, commit, get, key, log, partition, put, put_until,
    read_all, text,
};
use crate::{
    Ack, Applied, Batch, BatchError, Direction, Expectation, KeyRange, OPERATIONS_MAX, Operation,
    Outcome, Revision, Row, RowValue, StoreError, VALUE_BYTES_MAX,
};

fn a() -> Batch {
    Batch::new(partition("a"))
}

fn revision(applied: Applied) -> Revision {
    match applied {
        Applied::Row(revision) => revision,
        other => panic!("{other:?} is not a revision"),
    }
}

/// A row is visible one millisecond before its expiry and not at its expiry; then it is absent.
pub async fn rows_expire_on_the_exact_millisecond(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let batch = a()
        .then(put_until("k", "v", after(10)))
        .then(Operation::Raise { key: key("n"), version: 7, expires: Some(after(10)) })
        .then(put("for-ever", "v"));
    commit(&*store, batch, START).await;
    assert_eq!(text(&*store, "a", "k", after(9)).await.as_deref(), Some("v"));
    assert!(get(&*store, "a", "n", after(9)).await.is_some());
    let absent = || a().expect(Expectation::Absent(key("k")));
    assert_eq!(store.commit(absent(), Ack::Safe, after(9)).await, Ok(Outcome::Conflict(0)));
    assert_eq!(text(&*store, "a", "k", after(10)).await, None);
    assert_eq!(get(&*store, "a", "n", after(10)).await, None);
    let of = partition("a");
    let page = store.scan(&of, KeyRange::all(), 10, Direction::Ascending, after(10));
    assert_eq!(page.await.unwrap().rows.len(), 1);
    commit(&*store, absent(), after(10)).await;
    let raise = a().then(Operation::Raise { key: key("n"), version: 3, expires: None });
    commit(&*store, raise, after(10)).await;
    let row = get(&*store, "a", "n", after(10)).await.unwrap();
    assert_eq!(row.value, RowValue::Version(3), "an expired version counts for nothing");
    assert_eq!(text(&*store, "a", "for-ever", after(1_000_000)).await.as_deref(), Some("v"));
}

/// The first expectation that does not hold is named, and nothing of the batch happens.
pub async fn conflicts_change_nothing(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let first = revision(commit(&*store, a().then(put("k", "1")), START).await[0]);
    let same = a().expect(Expectation::Unchanged(key("k"), first)).then(put("k", "2"));
    let second = revision(commit(&*store, same.clone(), START).await[0]);
    assert_ne!(first, second);
    assert_eq!(get(&*store, "a", "k", START).await.unwrap().revision, second);
    for (index, batch) in [
        (0, same),
        (0, a().expect(Expectation::Absent(key("k")))),
        (1, a().expect(Expectation::Absent(key("x"))).expect(Expectation::Absent(key("k")))),
        (0, a().expect(Expectation::Unchanged(key("x"), first))),
        (
            1,
            a().expect(Expectation::Unchanged(key("k"), second))
                .expect(Expectation::Absent(key("k"))),
        ),
    ] {
        let batch = batch.then(put("y", "z")).then(append("z"));
        assert_eq!(store.commit(batch, Ack::Safe, START).await, Ok(Outcome::Conflict(index)));
    }
    assert_eq!(text(&*store, "a", "k", START).await.as_deref(), Some("2"));
    assert_eq!(get(&*store, "a", "y", START).await, None);
    assert!(read_all(&*store, "a", None, START).await.is_empty());
    // Expectations are about the state before the batch.
    let own = a().expect(Expectation::Absent(key("y"))).then(put("y", "1"));
    commit(&*store, own, START).await;
}

/// Of writers that count up one row by expecting it unchanged, none overwrites another.
pub async fn competing_writers_lose_no_update(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    commit(&*store, a().then(put("n", "0")), START).await;
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for _ in 0..5 {
                loop {
                    let row = get(&*store, "a", "n", START).await.unwrap();
                    let number = std::str::from_utf8(row.value.as_bytes().unwrap()).unwrap();
                    let number: u32 = number.parse().unwrap();
                    let batch = a()
                        .expect(Expectation::Unchanged(key("n"), row.revision))
                        .then(put("n", &(number + 1).to_string()));
                    let outcome = store.commit(batch, Ack::Safe, START).await.unwrap();
                    if matches!(outcome, Outcome::Committed(_)) {
                        break;
                    }
                }
            }
        });
    }
    writers.join_all().await;
    assert_eq!(text(&*store, "a", "n", START).await.as_deref(), Some("40"));
}

/// A version only grows, whoever raises it in whatever order, and is compared as a 64-bit integer.
pub async fn versions_only_grow(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let raise = |version| Operation::Raise { key: key("v"), version, expires: None };
    let version = |row: Option<Row>| row.and_then(|row| row.value.as_version());
    let exact = (1_u64 << 53) + 1;
    commit(&*store, a().then(raise(exact)).then(raise(exact - 1)), START).await;
    assert_eq!(version(get(&*store, "a", "v", START).await), Some(exact));
    let mut writers = JoinSet::new();
    for number in 0..32_u64 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let version = u64::MAX - (number * 13) % 32;
            commit(
                &*store,
                a().then(Operation::Raise { key: key("v"), version, expires: None }),
                START,
            )
            .await;
            let seen = get(&*store, "a", "v", START).await.unwrap().value.as_version().unwrap();
            assert!(seen >= version, "an answered raise is visible");
        });
    }
    writers.join_all().await;
    assert_eq!(version(get(&*store, "a", "v", START).await), Some(u64::MAX));
    // The expiry is always set; bytes are replaced.
    let short = Operation::Raise { key: key("v"), version: 1, expires: Some(after(5)) };
    commit(&*store, a().then(short).then(put("b", "x")), START).await;
    assert_eq!(get(&*store, "a", "v", START).await.unwrap().expires, Some(after(5)));
    let over = Operation::Raise { key: key("b"), version: 0, expires: None };
    commit(&*store, a().then(over), START).await;
    assert_eq!(version(get(&*store, "a", "b", START).await), Some(0));
}

/// Until a tombstone ends nothing brings the row back, and of two the later end stays.
pub async fn tombstones_outlive_late_replays(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let first = revision(commit(&*store, a().then(put("k", "1")), START).await[0]);
    let bury = |until| a().then(Operation::Tombstone { key: key("k"), until });
    commit(&*store, bury(after(100)), START).await;
    commit(&*store, bury(after(50)), START).await;
    let row = get(&*store, "a", "k", after(99)).await.unwrap();
    assert_eq!((&row.value, row.expires), (&RowValue::Tombstone, Some(after(100))));
    for replay in [
        put("k", "1"),
        put_until("k", "1", after(1_000)),
        Operation::Raise { key: key("k"), version: 9, expires: None },
        Operation::Delete { key: key("k") },
    ] {
        assert_eq!(commit(&*store, a().then(replay), after(99)).await, [Applied::Buried]);
    }
    for expectation in [
        Expectation::Absent(key("k")),
        Expectation::Unchanged(key("k"), first),
        Expectation::Unchanged(key("k"), row.revision),
    ] {
        let batch = a().expect(expectation);
        assert_eq!(store.commit(batch, Ack::Safe, after(99)).await, Ok(Outcome::Conflict(0)));
    }
    commit(&*store, bury(after(200)), after(99)).await;
    let buried = commit(&*store, a().then(put("k", "2")), after(199)).await;
    assert_eq!(buried, [Applied::Buried]);
    assert_eq!(get(&*store, "a", "k", after(200)).await, None);
    commit(&*store, a().expect(Expectation::Absent(key("k"))).then(put("k", "3")), after(200))
        .await;
    assert_eq!(text(&*store, "a", "k", after(200)).await.as_deref(), Some("3"));
    // Burying what is not there keeps it from coming.
    let early = a().then(Operation::Tombstone { key: key("x"), until: after(500) });
    commit(&*store, early.then(put("x", "1")), after(200)).await;
    assert_eq!(text(&*store, "a", "x", after(200)).await, None);
}

/// Readers see all of a batch or nothing of it.
pub async fn batches_are_seen_whole(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..2 {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        readers.spawn(async move {
            let of = partition("a");
            while !done.load(Ordering::Acquire) {
                let page = store.scan(&of, KeyRange::all(), 10, Direction::Ascending, START);
                let rows = page.await.unwrap().rows;
                let values: BTreeSet<_> =
                    rows.iter().map(|(_, row)| row.value.as_bytes().cloned()).collect();
                assert!(
                    values.len() <= 1 && [0, 3].contains(&rows.len()),
                    "half a batch: {rows:?}"
                );
                if let Some(value) = values.into_iter().next().flatten() {
                    let number: usize = std::str::from_utf8(&value).unwrap().parse().unwrap();
                    let log = store.read_log(&of, &log(), None, 1000, START).await.unwrap();
                    assert!(log.entries.len() >= 2 * number, "rows came before entries");
                    assert!(log.entries.len().is_multiple_of(2), "half a batch of entries");
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for number in 1..=60 {
        let value = number.to_string();
        let mut batch = a();
        for name in ["x", "y", "z"] {
            batch = batch.then(put(name, &value));
        }
        commit(&*store, batch.then(append("one")).then(append("two")), START).await;
    }
    done.store(true, Ordering::Release);
    readers.join_all().await;
}

/// What is beyond the bounds is refused, whole, and what is just within is taken.
pub async fn refused_batches_change_nothing(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let mut many = a();
    for _ in 0..OPERATIONS_MAX {
        many = many.then(Operation::Delete { key: key("k") });
    }
    assert_eq!(commit(&*store, many.clone(), START).await.len(), OPERATIONS_MAX);
    let large = |length| Operation::Put {
        key: key("large"),
        value: Bytes::from(vec![b'x'; length]),
        expires: None,
    };
    let refused = |error| Err(StoreError::Refused(error));
    for (batch, error) in [
        (many.then(put("k", "v")), BatchError::TooManyOperations),
        (a().then(put("k", "v")).then(large(VALUE_BYTES_MAX + 1)), BatchError::ValueTooLarge),
    ] {
        assert_eq!(store.commit(batch, Ack::Safe, START).await, refused(error));
        assert_eq!(get(&*store, "a", "k", START).await, None);
    }
    let body = Bytes::from(vec![b'y'; VALUE_BYTES_MAX]);
    let entry = Operation::Append { log: log(), dedupe: None, body, expires: after(10) };
    commit(&*store, a().then(large(VALUE_BYTES_MAX)).then(entry), START).await;
    let row = get(&*store, "a", "large", START).await.unwrap();
    assert_eq!(row.value.as_bytes().unwrap().len(), VALUE_BYTES_MAX);
    assert_eq!(bodies(&read_all(&*store, "a", None, START).await)[0].len(), VALUE_BYTES_MAX);
    assert_eq!(
        store.commit(a(), Ack::Safe, START).await,
        Ok(Outcome::Committed(Vec::new().into()))
    );
}

/// A scan gives the rows of its range alone, in the order asked for, and goes on where it ended.
pub async fn scans_give_ranges_in_both_directions(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let mut batch = a();
    for name in ["a", "b/", "b/1", "b/2", "b/3", "b0", "c"] {
        batch = batch.then(put(name, name));
    }
    commit(&*store, batch.then(Operation::Tombstone { key: key("b/2"), until: after(10) }), START)
        .await;
    commit(&*store, Batch::new(partition("other")).then(put("b/9", "x")), START).await;
    let scan = async |range: KeyRange, limit, direction| {
        let page = store.scan(&partition("a"), range, limit, direction, START).await.unwrap();
        let names = page
            .rows
            .into_iter()
            .map(|(key, _)| String::from_utf8(key.as_bytes().to_vec()).unwrap());
        (names.collect::<Vec<_>>(), page.more)
    };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let prefix = || KeyRange::prefix(b"b/");
    let (ascending, descending) = (Direction::Ascending, Direction::Descending);
    let all = owned(&["b/", "b/1", "b/2", "b/3"]);
    assert_eq!(scan(prefix(), 10, ascending).await, (all.clone(), false));
    assert_eq!(scan(prefix(), 4, ascending).await, (all.clone(), false));
    assert_eq!(scan(prefix(), 3, ascending).await, (owned(&["b/", "b/1", "b/2"]), true));
    assert_eq!(scan(prefix(), 2, descending).await, (owned(&["b/3", "b/2"]), true));
    assert_eq!(scan(prefix(), 0, descending).await, (owned(&["b/3"]), true));
    let rest = scan(prefix().after(&key("b/1")), 10, ascending).await;
    assert_eq!(rest, (owned(&["b/2", "b/3"]), false));
    assert_eq!(scan(KeyRange::all(), 100, ascending).await.0.len(), 7);
    assert_eq!(scan(KeyRange::prefix(b"x"), 9, ascending).await, (Vec::new(), false));
    let inverted = KeyRange { start: Some(bytes("c")), end: Some(bytes("a")) };
    assert_eq!(scan(inverted, 9, descending).await, (Vec::new(), false));
}

/// A key never has the same revision twice, not even after the row was deleted or had expired.
pub async fn revisions_never_repeat(engine: &dyn Engine) {
    let mut instance = engine.fresh().await;
    let mut seen = BTreeSet::new();
    for round in 0..4_u64 {
        let store = &*instance.store;
        let raise = Operation::Raise { key: key("k"), version: 1, expires: Some(after(round)) };
        let batch = a().then(put("k", "1")).then(put("k", "1")).then(raise);
        for applied in commit(store, batch, after(round)).await {
            assert!(seen.insert(revision(applied)), "a revision came again");
        }
        commit(store, a().then(put("k", "2")).then(Operation::Delete { key: key("k") }), START)
            .await;
        store.sweep(after(1000), 100).await.unwrap();
        if instance.reopen.is_some() {
            instance = instance.reopened().await.unwrap();
        }
    }
}
