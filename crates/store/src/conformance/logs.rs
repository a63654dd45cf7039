//! Cases about logs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use buswire_message::{Sequence, Timestamp};
use tokio::task::JoinSet;

use super::{
    Engine, START, after, append, append_once, before, bodies, commit, log, partition, position,
    read_all,
};
use crate::{Applied, Batch, Epoch, Operation, Position};

const WRITERS: usize = 64;
const EACH: usize = 20;

/// How long a case waits for what must come. Reached only when it does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Positions of 64 writers at once are unique over all logs, and each log has all of its entries in
/// the order of their positions, those of one writer in the order in which they were written.
pub async fn order_holds_under_64_writers(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let of = partition(&format!("bus/{}", writer % 4));
            let mut positions = Vec::new();
            for number in 0..EACH {
                let batch = Batch::new(of.clone()).then(append(&format!("{writer}:{number}")));
                positions.push(position(commit(&*store, batch, START).await[0]).sequence);
            }
            positions
        });
    }
    let mut all = BTreeSet::new();
    for positions in writers.join_all().await {
        assert!(positions.is_sorted(), "a writer's positions grow");
        all.extend(positions);
    }
    assert_eq!(all.len(), WRITERS * EACH, "no position is given twice");
    let mut found = BTreeSet::new();
    for bus in 0..4 {
        let entries = read_all(&*store, &format!("bus/{bus}"), None, START).await;
        assert_eq!(entries.len(), WRITERS * EACH / 4);
        assert!(entries.is_sorted_by(|a, b| a.sequence < b.sequence));
        found.extend(entries.iter().map(|entry| entry.sequence));
        for writer in (0..WRITERS).filter(|writer| writer % 4 == bus) {
            let prefix = format!("{writer}:");
            let own: Vec<_> =
                bodies(&entries).into_iter().filter(|body| body.starts_with(&prefix)).collect();
            let written: Vec<_> = (0..EACH).map(|number| format!("{writer}:{number}")).collect();
            assert_eq!(own, written);
        }
    }
    assert_eq!(found, all);
}

/// Whoever follows a log by its positions sees every entry once, in order: no smaller sequence
/// becomes visible after a greater one.
pub async fn followers_see_no_holes(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let total = 32 * EACH;
    let mut followers = JoinSet::new();
    for limit in [1, 3, 1000] {
        let store = Arc::clone(&store);
        followers.spawn(async move {
            let (of, log) = (partition("bus"), log());
            let (mut at, mut seen) = (None, Vec::new());
            while seen.len() < total {
                let page = store.read_log(&of, &log, at, limit, START).await.unwrap();
                at = Some(page.next);
                seen.extend(page.entries.iter().map(|entry| entry.sequence));
                tokio::task::yield_now().await;
            }
            seen
        });
    }
    let mut writers = JoinSet::new();
    for writer in 0..32 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for number in 0..EACH {
                let batch =
                    Batch::new(partition("bus")).then(append(&format!("{writer}:{number}")));
                commit(&*store, batch, START).await;
            }
        });
    }
    writers.join_all().await;
    let seen = tokio::time::timeout(PATIENCE, followers.join_all()).await;
    let stored = read_all(&*store, "bus", None, START).await;
    let stored: Vec<_> = stored.iter().map(|entry| entry.sequence).collect();
    for seen in seen.expect("every follower sees every entry") {
        assert_eq!(seen, stored);
    }
}

/// Pages of any size join to the whole log, and say rightly whether there is more.
pub async fn pages_of_a_log_join_without_gap_or_overlap(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let of = partition("bus");
    let empty = store.read_log(&of, &log(), None, 10, START).await.unwrap();
    assert!(empty.entries.is_empty() && !empty.more && !empty.gap);
    assert_eq!(empty.next.sequence, Sequence::ZERO);
    let mut batch = Batch::new(of.clone());
    for number in 0..10 {
        batch = batch.then(append(&number.to_string()));
    }
    let applied = commit(&*store, batch, START).await;
    for limit in [0, 1, 3, 10, 11, usize::MAX] {
        let (mut at, mut all) = (Some(empty.next), Vec::new());
        loop {
            let page = store.read_log(&of, &log(), at, limit, START).await.unwrap();
            assert!(page.entries.len() <= limit.max(1));
            all.extend(bodies(&page.entries));
            at = Some(page.next);
            assert_eq!(page.more, all.len() < 10);
            if !page.more {
                break;
            }
        }
        assert_eq!(all, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
        let end = store.read_log(&of, &log(), at, limit, START).await.unwrap();
        assert!(end.entries.is_empty() && !end.more);
        assert_eq!(Some(end.next), at, "a reader at the end stays where it was");
    }
    let middle = position(applied[4]);
    assert_eq!(bodies(&read_all(&*store, "bus", Some(middle), START).await).len(), 5);
    let other = store.read_log(&partition("other"), &log(), None, 10, START).await.unwrap();
    assert!(other.entries.is_empty());
}

/// An append with the dedupe id of a live entry of the same log is answered with its position,
/// however often and from wherever it comes.
pub async fn duplicates_are_stored_once(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let of = partition("bus");
    let one = || Batch::new(partition("bus")).then(append_once("id", "first", after(100)));
    let first = commit(&*store, one(), START).await[0];
    assert!(matches!(first, Applied::Appended(_)));
    let repeated = Applied::Repeated(position(first));
    assert_eq!(commit(&*store, one(), after(99)).await, [repeated]);

    let twice = Batch::new(of.clone())
        .then(append_once("two", "second", after(100)))
        .then(append_once("two", "second", after(100)));
    let applied = commit(&*store, twice, START).await;
    assert_eq!(applied[1], Applied::Repeated(position(applied[0])));

    let elsewhere = Batch::new(partition("other")).then(append_once("id", "x", after(100)));
    assert!(matches!(commit(&*store, elsewhere, START).await[0], Applied::Appended(_)));

    let mut racers = JoinSet::new();
    for _ in 0..32 {
        let store = Arc::clone(&store);
        racers.spawn(async move {
            let batch = Batch::new(partition("bus")).then(append_once("race", "third", after(100)));
            commit(&*store, batch, START).await[0]
        });
    }
    let outcomes = racers.join_all().await;
    let appended = outcomes.iter().filter(|outcome| matches!(outcome, Applied::Appended(_)));
    assert_eq!(appended.count(), 1);
    let positions: BTreeSet<_> = outcomes.into_iter().map(position).collect();
    assert_eq!(positions.len(), 1);
    assert_eq!(bodies(&read_all(&*store, "bus", None, START).await), ["first", "second", "third"]);

    let later = Batch::new(of).then(append_once("id", "again", Timestamp::MAX));
    let again = commit(&*store, later, after(100)).await[0];
    assert!(matches!(again, Applied::Appended(_)), "an id is forgotten with its entry");
}

/// An entry is visible one millisecond before its expiry and not at its expiry, swept or not.
pub async fn entries_expire_on_the_exact_millisecond(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let of = partition("bus");
    let entry = |body: &str, expires| Operation::Append {
        log: log(),
        dedupe: None,
        body: super::bytes(body),
        expires,
    };
    let batch = Batch::new(of.clone())
        .then(entry("long", after(1000)))
        .then(entry("short", after(10)))
        .then(entry("over", START));
    commit(&*store, batch, START).await;
    for (now, visible) in [
        (START, vec!["long", "short"]),
        (after(9), vec!["long", "short"]),
        (after(10), vec!["long"]),
        (after(999), vec!["long"]),
        (after(1000), vec![]),
    ] {
        assert_eq!(bodies(&read_all(&*store, "bus", None, now).await), visible, "at {now}");
    }
    let page = store.read_log(&of, &log(), None, 1, after(10)).await.unwrap();
    assert!(!page.more, "an expired entry is not more");
    store.sweep(after(10), 100).await.unwrap();
    assert_eq!(bodies(&read_all(&*store, "bus", None, after(999)).await), ["long"]);
    assert!(read_all(&*store, "bus", None, after(1000)).await.is_empty());
}

/// A log that grew after a position is told of, and what is appended to any of those asked for has a
/// sequence greater than the one that was named, though the clock of who appends is slow.
pub async fn logs_that_grew_are_told_and_nothing_smaller_follows(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let (names, mut places) = (["bus/a", "bus/b", "bus/c", "bus/d"].map(partition), Vec::new());
    for name in &names {
        let batch = Batch::new(name.clone()).then(append("first"));
        places.push((name.clone(), position(commit(&*store, batch, START).await[0])));
    }
    let batch = Batch::new(names[3].clone()).then(append("second"));
    let passed = position(commit(&*store, batch, after(3_600_000)).await[0]).sequence;
    assert_eq!(store.grown(&log(), &[], passed).await, Ok(vec![]));
    let grown = store.grown(&log(), &places, passed).await.unwrap();
    assert_eq!((grown.len(), grown[3]), (4, true));
    for name in &names {
        let batch = Batch::new(name.clone()).then(append("later"));
        assert!(position(commit(&*store, batch, START).await[0]).sequence > passed);
    }
    assert_eq!(store.grown(&log(), &places, passed).await, Ok(vec![true; 4]));
    // A position of another epoch says nothing of this one.
    let other = Position { epoch: Epoch(places[0].1.epoch.0 + 1), sequence: Sequence::MAX };
    assert_eq!(store.grown(&log(), &[(names[0].clone(), other)], passed).await, Ok(vec![true]));
}

/// A position of another epoch is answered with the window from its start and with the gap.
pub async fn an_older_epoch_is_told_of_the_gap(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let of = partition("bus");
    let applied = commit(&*store, Batch::new(of.clone()).then(append("a")), START).await;
    let at = position(applied[0]);
    assert_eq!(at.epoch, store.status().epoch);
    let old = Position { epoch: Epoch(at.epoch.0.wrapping_sub(1)), ..at };
    let page = store.read_log(&of, &log(), Some(old), 10, START).await.unwrap();
    assert!(page.gap);
    assert_eq!(bodies(&page.entries), ["a"]);
    assert_eq!(page.next, at);
    let page = store.read_log(&of, &log(), Some(page.next), 10, START).await.unwrap();
    assert!(!page.gap && page.entries.is_empty());
}

/// Sequences grow although the clock goes back, and follow it again once it has caught up.
pub async fn a_clock_that_steps_back_an_hour_changes_no_order(engine: &dyn Engine) {
    let store = engine.fresh().await.store;
    let hour = 3_600_000;
    let times =
        [START, before(hour), before(hour), before(1), START, after(1), after(hour), before(hour)];
    let mut positions = Vec::new();
    for (number, now) in times.into_iter().enumerate() {
        let batch = Batch::new(partition("bus")).then(append(&number.to_string()));
        positions.push(position(commit(&*store, batch, now).await[0]).sequence);
    }
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    assert_eq!(positions[0].timestamp(), START);
    assert_eq!(positions[5].timestamp(), after(1));
    assert_eq!(positions[6].timestamp(), after(hour));
    let entries = read_all(&*store, "bus", None, before(hour)).await;
    assert_eq!(bodies(&entries), ["0", "1", "2", "3", "4", "5", "6", "7"]);
}
