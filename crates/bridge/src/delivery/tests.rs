//! The delivery core against its promises.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::harness::{Op, exercise};

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => any::<u8>().prop_map(Op::Publish),
        1 => any::<u8>().prop_map(Op::PublishLooped),
        4 => (1_u8..8).prop_map(Op::Read),
        6 => any::<u8>().prop_map(Op::Deliver),
        4 => any::<u8>().prop_map(Op::Fail),
        1 => any::<u8>().prop_map(Op::Reject),
        3 => (0_u16..2000).prop_map(Op::Advance),
        4 => Just(Op::Store),
        1 => any::<bool>().prop_map(Op::Crash),
        1 => any::<bool>().prop_map(Op::Pause),
    ]
}

proptest! {
    #[test]
    fn nothing_is_lost_and_channels_keep_their_order(ops in proptest::collection::vec(any_op(), 0..200)) {
        exercise(&ops);
    }
}

fn arrival(number: u64, lane: u8) -> Arrival<u8, u64> {
    let sequence = Sequence::from_u64(number).unwrap();
    Arrival { sequence, lane, message: number, fate: Fate::Deliver }
}

fn core() -> Core<u8, u64> {
    Core::new(RetryPolicy::default(), Limits::default(), Cursor::Start, [])
}

fn attempts(core: &mut Core<u8, u64>, now: Timestamp) -> Vec<u64> {
    std::iter::from_fn(|| core.poll_attempt(now)).map(|attempt| attempt.message).collect()
}

#[test]
fn a_stuck_channel_delays_no_other() {
    let now = Timestamp::from_secs(1_700_000_000);
    let mut core = core();
    core.handle_arrivals(now, [arrival(1, 0), arrival(2, 0), arrival(3, 1)], Cursor::Start);
    assert_eq!(attempts(&mut core, now), [1, 3]);
    let of = |n| Sequence::from_u64(n).unwrap();
    core.handle_attempted(now, of(1), Attempted::Retry("busy".into()), 0);
    core.handle_attempted(now, of(3), Attempted::Delivered, 0);
    core.handle_arrivals(now, [arrival(4, 1)], Cursor::Start);
    assert_eq!(attempts(&mut core, now), [4]);
    // Message 3 is settled beyond the position, which stays before message 1.
    let record = core.take_record().unwrap();
    assert_eq!((record.position, record.ahead), (Cursor::After(Sequence::ZERO), vec![of(3)]));
    let due = core.poll_timeout(now).unwrap();
    assert!(due > now);
    assert_eq!(attempts(&mut core, due), [1]);
}

#[test]
fn a_message_is_given_up_after_the_last_attempt() {
    let mut now = Timestamp::from_secs(1_700_000_000);
    let mut core = core();
    core.handle_arrivals(now, [arrival(1, 0)], Cursor::Start);
    for number in 1..=RetryPolicy::default().attempts_max {
        let attempt = core.poll_attempt(now).unwrap();
        assert_eq!(attempt.number, number);
        core.handle_attempted(now, attempt.sequence, Attempted::Retry("down".into()), 7);
        now = now.saturating_add(Duration::from_secs(31));
    }
    let record = core.take_record().unwrap();
    assert_eq!(record.dead.len(), 1);
    let dead = &record.dead[0];
    assert_eq!((dead.attempts, dead.failures.iter().len()), (12, 12));
    assert_eq!(dead.failures.last().map(|failure| &*failure.error), Some("down"));
    assert_eq!(core.pending(), 0);
    assert_eq!(core.take_record(), None);
}

#[test]
fn a_late_result_changes_nothing() {
    let now = Timestamp::from_secs(1_700_000_000);
    let mut core = core();
    core.handle_arrivals(now, [arrival(1, 0)], Cursor::Start);
    let unknown = Sequence::from_u64(9).unwrap();
    core.handle_attempted(now, unknown, Attempted::Delivered, 0);
    core.handle_attempted(now, Sequence::from_u64(1).unwrap(), Attempted::Delivered, 0);
    assert_eq!(core.pending(), 1);
}
