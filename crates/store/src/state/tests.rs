//! The rules of a batch, case by case.

use super::*;
use crate::{
    Applied, Batch, Expectation, Operation, Outcome, RowValue,
    read::{Position, Revision},
};

const NOW: Timestamp = Timestamp::from_secs(1_709_993_121);

fn partition() -> Partition {
    Partition::new("bus/a").unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text.to_owned()).unwrap()
}

fn log() -> LogName {
    LogName::new("messages").unwrap()
}

fn put(text: &str, expires: Option<Timestamp>) -> Operation {
    Operation::Put { key: key(text), value: Bytes::from_static(b"x"), expires }
}

fn append(dedupe: Option<&'static str>, expires: Timestamp) -> Operation {
    let dedupe = dedupe.map(|id| DedupeId::new(id).unwrap());
    Operation::Append { log: log(), dedupe, body: Bytes::from_static(b"body"), expires }
}

fn commit(state: &mut State, operations: Vec<Operation>, now: Timestamp) -> Vec<Applied> {
    let mut plan = Plan::new(state);
    let mut batch = Batch::new(partition());
    batch.operations.extend(operations);
    let outcome = plan.batch(batch, now).unwrap();
    let planned = plan.finish();
    state.apply(planned);
    match outcome {
        Outcome::Committed(applied) => applied.to_vec(),
        Outcome::Conflict(index) => panic!("expectation {index} does not hold"),
    }
}

fn after(millis: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + millis)
}

#[test]
fn batches_of_one_plan_see_each_other() {
    let mut state = State::new(Epoch(1), Sequence::ZERO);
    let mut plan = Plan::new(&state);
    let first =
        Batch::new(partition()).then(put("a", None)).then(append(Some("d"), Timestamp::MAX));
    let Outcome::Committed(first) = plan.batch(first, NOW).unwrap() else { panic!("a conflict") };
    let [Applied::Row(revision), Applied::Appended(position)] = first.as_slice() else {
        panic!("{first:?}")
    };
    let absent = Batch::new(partition()).expect(Expectation::Absent(key("a")));
    assert_eq!(plan.batch(absent, NOW), Ok(Outcome::Conflict(0)));
    let second = Batch::new(partition())
        .expect(Expectation::Unchanged(key("a"), *revision))
        .then(append(Some("d"), Timestamp::MAX))
        .then(Operation::Delete { key: key("a") });
    let expected = [Applied::Repeated(*position), Applied::Deleted];
    assert_eq!(plan.batch(second, NOW), Ok(Outcome::Committed(expected.into())));
    let planned = plan.finish();
    assert!(state.get(&partition(), &key("a"), NOW).is_none());
    state.apply(planned);
    assert!(state.get(&partition(), &key("a"), NOW).is_none());
    assert_eq!(state.read_log(&partition(), &log(), None, 10, NOW).entries.len(), 1);
}

#[test]
fn what_is_swept_leaves_nothing_behind() {
    let mut state = State::new(Epoch(1), Sequence::ZERO);
    let operations = vec![
        put("a", Some(after(1))),
        put("b", Some(after(1))),
        append(Some("d"), after(1)),
        append(None, after(2)),
    ];
    commit(&mut state, operations, NOW);
    let mut removed = 0;
    for now in [NOW, after(1), after(2)] {
        let mut plan = Plan::new(&state);
        removed += plan.sweep(now, 100).removed;
        let planned = plan.finish();
        state.apply(planned);
    }
    assert_eq!(removed, 4);
    assert!(state.partitions.is_empty() && state.logs.is_empty() && state.expiry.is_empty());
    assert_eq!(state.bytes(), 0);
}

#[test]
fn a_row_that_was_written_again_is_not_swept_with_its_old_expiry() {
    let mut state = State::new(Epoch(1), Sequence::ZERO);
    commit(&mut state, vec![put("a", Some(after(1))), put("a", None)], NOW);
    let mut plan = Plan::new(&state);
    assert_eq!(plan.sweep(after(10), 100).removed, 0);
    assert!(state.expiry.is_empty());
    assert!(state.get(&partition(), &key("a"), after(10)).is_some());
}

#[test]
fn a_row_keeps_its_place_while_it_changes() {
    let mut state = State::new(Epoch(1), Sequence::ZERO);
    let first = commit(&mut state, vec![put("a", None)], NOW);
    commit(&mut state, vec![put("b", None), put("a", None)], NOW);
    let stored = state.stored_row(&partition(), &key("a")).unwrap();
    assert_eq!(first, [Applied::Row(Revision(stored.id))]);
    assert_ne!(stored.row.revision.0, stored.id);
}

#[test]
fn the_last_sequence_is_refused_before_anything_is_planned() {
    let state = State::new(Epoch(1), Sequence::from_u64(Sequence::MAX.as_u64() - 1).unwrap());
    let mut plan = Plan::new(&state);
    let batch = Batch::new(partition()).then(put("a", None)).then(put("b", None));
    assert!(matches!(plan.batch(batch, NOW), Err(crate::StoreError::Unavailable(_))));
    assert!(plan.finish().changes.is_empty());
}

#[test]
fn a_position_of_an_older_epoch_has_a_gap() {
    let mut state = State::new(Epoch(2), Sequence::ZERO);
    commit(&mut state, vec![append(None, Timestamp::MAX)], NOW);
    let old = Position { epoch: Epoch(1), sequence: Sequence::MAX };
    let page = state.read_log(&partition(), &log(), Some(old), 10, NOW);
    assert!(page.gap && page.entries.len() == 1 && page.next.epoch == Epoch(2));
}

#[test]
fn a_raise_compares_integers_beyond_what_a_double_holds() {
    let mut state = State::new(Epoch(1), Sequence::ZERO);
    let raise = |version| Operation::Raise { key: key("v"), version, expires: None };
    let version =
        |state: &State| state.get(&partition(), &key("v"), NOW).map(|row| row.value.clone());
    commit(&mut state, vec![raise((1 << 53) + 1), raise(1 << 53), raise(9)], NOW);
    assert_eq!(version(&state), Some(RowValue::Version((1 << 53) + 1)));
    commit(&mut state, vec![raise(u64::MAX), raise(u64::MAX - 1)], NOW);
    assert_eq!(version(&state), Some(RowValue::Version(u64::MAX)));
}

#[test]
fn of_entries_with_one_dedupe_id_the_newest_counts_in_whatever_order_they_are_loaded() {
    let mut state = State::new(Epoch(1), Sequence::from_u64(9).unwrap());
    for number in [3, 2] {
        let sequence = Sequence::from_u64(number).unwrap();
        let entry = StoredEntry {
            body: Body::resident(sequence, Bytes::new()),
            expires: if number == 3 { Timestamp::MAX } else { NOW },
            dedupe: DedupeId::new("d"),
        };
        state.insert_entry(&partition(), &log(), sequence, entry);
    }
    let applied = commit(&mut state, vec![append(Some("d"), Timestamp::MAX)], NOW);
    let sequence = Sequence::from_u64(3).unwrap();
    assert_eq!(applied, [Applied::Repeated(Position { epoch: Epoch(1), sequence })]);
}
