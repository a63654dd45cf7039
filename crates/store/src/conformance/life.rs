//! Cases about hints, dropped futures, sweeping, closing and opening again.

use std::{
    collections::BTreeSet,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buswire_message::Timestamp;
use futures::future::join_all;
use tokio_stream::StreamExt;

use super::{
    Engine, START, after, append, append_once, bodies, bytes, commit, dedupe, get, key, log,
    partition, position, put, put_until, read_all, text,
};
use crate::{
    Ack, Applied, Batch, Direction, Expectation, Hint, HintFilter, Hints, KeyRange, Operation,
    Outcome, RowValue, StoreError,
};

/// How long a case waits for a hint. Reached only when it does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The next hint, which has to come.
async fn next(hints: &mut Hints) -> Hint {
    let hint = tokio::time::timeout(PATIENCE, hints.next()).await;
    hint.expect("a hint comes in time").expect("the stream goes on")
}

/// Whoever listens is told of each partition that it asked for.
pub async fn hints_name_what_changed(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let mut all = store.hints(HintFilter::All);
    let mut some = store.hints(HintFilter::Prefix("bus/".into()));
    let mut one = store.hints(HintFilter::Only(partition("bus/b")));
    let names = ["client/x", "bus/a", "bus/b"];
    for name in names {
        let batch = Batch::new(partition(name)).then(put("k", "v")).then(append("x"));
        commit(&*store, batch, START).await;
    }
    let changed = |name: &str| Hint::Changed(partition(name));
    // In any order: those of several servers come by different ways.
    let told = [next(&mut all).await, next(&mut all).await, next(&mut all).await];
    assert!(names.iter().all(|name| told.contains(&changed(name))), "{told:?}");
    assert_eq!(next(&mut some).await, changed("bus/a"));
    assert_eq!(next(&mut one).await, changed("bus/b"));
    // A hint means that what it tells of can be read.
    commit(&*store, Batch::new(partition("bus/b")).then(append("y")), START).await;
    assert_eq!(next(&mut one).await, changed("bus/b"));
    assert_eq!(bodies(&read_all(&*store, "bus/b", None, START).await), ["x", "y"]);
}

/// A listener that does not keep up is told that it missed something, or misses nothing.
pub async fn lost_hints_are_admitted(engine: &dyn Engine) {
    const PARTITIONS: usize = 6000;
    let store = engine.fresh().await.store;
    let mut hints = store.hints(HintFilter::All);
    let names: Vec<_> = (0..PARTITIONS).map(|number| format!("p/{number}")).collect();
    for chunk in names.chunks(500) {
        let commits = chunk.iter().map(|name| {
            store.commit(Batch::new(partition(name)).then(append("x")), Ack::Accepted, START)
        });
        for outcome in join_all(commits).await {
            assert!(matches!(outcome, Ok(Outcome::Committed(_))));
        }
    }
    let mut heard = BTreeSet::new();
    loop {
        match next(&mut hints).await {
            Hint::Missed => break,
            Hint::Changed(partition) => heard.insert(partition),
        };
        if heard.len() == PARTITIONS {
            break;
        }
    }
    // Whoever reads again has lost nothing.
    for name in &names {
        assert_eq!(read_all(&*store, name, None, START).await.len(), 1);
    }
}

/// A commit that is dropped, at once or after it was polled, is there whole or not at all, and can be
/// repeated.
pub async fn dropped_commits_happen_whole_or_not_at_all(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let batch = |name: &str| {
        Batch::new(partition("a"))
            .then(put(name, "v"))
            .then(append_once(name, name, Timestamp::MAX))
            .then(put(&format!("{name}'"), "v"))
    };
    drop(store.commit(batch("never"), Ack::Safe, START));
    for number in 0..50 {
        let mut commit = store.commit(batch(&number.to_string()), Ack::Safe, START);
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(outcome) = commit.as_mut().poll(&mut context) {
            assert!(matches!(outcome, Ok(Outcome::Committed(_))));
        }
        drop(commit);
    }
    // One that is waited for ends after those before it.
    commit(&*store, batch("last"), START).await;
    assert_eq!(get(&*store, "a", "never", START).await, None);
    let stored = bodies(&read_all(&*store, "a", None, START).await);
    for number in 0..50 {
        let name = number.to_string();
        let row = get(&*store, "a", &name, START).await.is_some();
        let other = get(&*store, "a", &format!("{name}'"), START).await.is_some();
        assert_eq!((row, other), (stored.contains(&name), row), "half of {name} is there");
        commit(&*store, batch(&name), START).await;
    }
    assert_eq!(read_all(&*store, "a", None, START).await.len(), 51);
}

/// A sweep removes at most as much as it was allowed, nothing that is live, and says whether more is
/// left.
pub async fn sweeps_keep_to_their_budget(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let mut batch = Batch::new(partition("a")).then(put("live", "v")).then(append("live"));
    for number in 0..10 {
        batch = batch.then(put_until(&number.to_string(), "v", after(10)));
        batch = batch.then(append_once(&number.to_string(), "old", after(10)));
    }
    commit(&*store, batch, START).await;
    let early = store.sweep(after(9), 100).await.unwrap();
    assert_eq!((early.removed, early.more), (0, false));
    let mut removed = 0;
    loop {
        let swept = store.sweep(after(10), 7).await.unwrap();
        assert!(swept.removed <= 7);
        removed += swept.removed;
        if !swept.more {
            break;
        }
    }
    assert!(removed <= 20, "an engine may have removed some by itself");
    let swept = store.sweep(after(10), 100).await.unwrap();
    assert_eq!((swept.removed, swept.more), (0, false));
    assert_eq!(bodies(&read_all(&*store, "a", None, START).await), ["live"]);
    let page = store.scan(&partition("a"), KeyRange::all(), 100, Direction::Ascending, START).await;
    assert_eq!(page.unwrap().rows.len(), 1);
}

/// After closing, every call says that the store is unavailable and every stream of hints ends.
pub async fn a_closed_store_is_unavailable(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let mut hints = store.hints(HintFilter::All);
    commit(&*store, Batch::new(partition("a")).then(put("k", "v")), START).await;
    assert_eq!(store.status().unavailable, None);
    store.close().await;
    store.close().await;
    let of = partition("a");
    let is_unavailable = |error: Option<StoreError>| {
        assert!(matches!(error, Some(StoreError::Unavailable(_))), "{error:?}");
    };
    is_unavailable(store.commit(Batch::new(of.clone()), Ack::Safe, START).await.err());
    is_unavailable(store.get(&of, &key("k"), START).await.err());
    let scan = store.scan(&of, KeyRange::all(), 1, Direction::Ascending, START);
    is_unavailable(scan.await.err());
    is_unavailable(store.read_log(&of, &log(), None, 1, START).await.err());
    is_unavailable(store.sweep(START, 1).await.err());
    assert!(store.status().unavailable.is_some());
    let rest = async { while hints.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, rest).await.expect("the stream of hints ends");
}

/// What was answered before closing is there after opening again: rows, versions, tombstones,
/// entries, dedupe ids, positions and the epoch; and sequences go on from where they were.
pub async fn everything_is_there_after_reopening(engine: &dyn Engine) {
    let instance = engine.fresh().await;
    let store = &*instance.store;
    let version = (1 << 53) + 1;
    let batch = Batch::new(partition("a"))
        .then(put("k", "v"))
        .then(put_until("soon", "v", after(10)))
        .then(Operation::Raise { key: key("n"), version, expires: None })
        .then(Operation::Tombstone { key: key("t"), until: after(100) })
        .then(append_once("id", "first", after(50)))
        .then(append("second"))
        .then(put("gone", "v"))
        .then(Operation::Delete { key: key("gone") });
    let applied = commit(store, batch, START).await;
    let last = commit(store, Batch::new(partition("b")).then(append("third")), after(5)).await[0];
    let epoch = store.status().epoch;
    let before = read_all(store, "a", None, START).await;
    let Some(instance) = instance.reopened().await else { return };
    let store = &*instance.store;
    assert_eq!(store.status().epoch, epoch);
    assert_eq!(read_all(store, "a", None, START).await, before);
    let row = get(store, "a", "k", START).await.unwrap();
    assert_eq!(Applied::Row(row.revision), applied[0]);
    assert_eq!(text(store, "a", "k", START).await.as_deref(), Some("v"));
    assert_eq!(text(store, "a", "soon", after(9)).await.as_deref(), Some("v"));
    assert_eq!(text(store, "a", "soon", after(10)).await, None);
    let row = get(store, "a", "n", START).await.unwrap();
    assert_eq!(row.value, RowValue::Version(version));
    let row = get(store, "a", "t", after(99)).await.unwrap();
    assert_eq!((row.value, row.expires), (RowValue::Tombstone, Some(after(100))));
    assert_eq!(get(store, "a", "gone", START).await, None);
    let unchanged =
        Expectation::Unchanged(key("k"), get(store, "a", "k", START).await.unwrap().revision);
    let batch = Batch::new(partition("a"))
        .expect(unchanged)
        .then(append_once("id", "first", after(50)))
        .then(append("fourth"));
    let again = commit(store, batch, START).await;
    assert_eq!(again[0], Applied::Repeated(position(applied[4])));
    assert!(position(again[1]).sequence > position(last).sequence);
    let page = store.read_log(&partition("a"), &log(), Some(position(applied[5])), 10, START).await;
    let page = page.unwrap();
    assert!(!page.gap);
    assert_eq!(bodies(&page.entries), ["fourth"]);
    assert_eq!(bodies(&read_all(store, "a", None, after(50)).await), ["second", "fourth"]);
}

/// When the disk is full, whoever is not answered knows that, everything afterwards is unavailable,
/// and whatever was answered is there after opening again.
pub async fn a_full_disk_loses_nothing_acknowledged(engine: &dyn Engine) {
    let Some(instance) = engine.nearly_full() else { return };
    let instance = instance.await;
    let store = &*instance.store;
    let batch = |number: usize| {
        let entry = Operation::Append {
            log: log(),
            dedupe: Some(dedupe(&number.to_string())),
            body: bytes(&format!("{number:0>4000}")),
            expires: Timestamp::MAX,
        };
        Batch::new(partition("a")).then(put(&number.to_string(), "v")).then(entry)
    };
    let mut answered = 0;
    let failure = loop {
        match store.commit(batch(answered), Ack::Safe, START).await {
            Ok(_) => answered += 1,
            Err(error) => break error,
        }
        assert!(answered < 100_000, "the disk is never full");
    };
    assert!(answered > 0 && matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    let after = store.commit(batch(answered + 1), Ack::Safe, START).await;
    assert!(matches!(after, Err(StoreError::Unavailable(_))), "{after:?}");
    assert!(store.status().unavailable.is_some());
    let instance = instance.reopened().await.expect("an engine with a medium can be reopened");
    let store = &*instance.store;
    let stored = bodies(&read_all(store, "a", None, START).await);
    for number in 0..=answered {
        let row = get(store, "a", &number.to_string(), START).await.is_some();
        let entry = stored.contains(&format!("{number:0>4000}"));
        assert_eq!(row, entry, "half of {number} is there");
        assert!(row || number == answered, "{number} of {answered} was answered and is gone");
    }
    commit(store, batch(answered), START).await;
}
