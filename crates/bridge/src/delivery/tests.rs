//! The delivery core against its promises.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::harness::{FleetOp, Op, Reaction, Sent, Step, exercise, exercise_fleet};

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

/// What happens when every gateway does its work and now and then something fails: mostly one thing,
/// or a process that stalls with everything under way, or wakes while what it sent arrives.
fn any_fleet_ops() -> impl Strategy<Value = Vec<FleetOp>> {
    use FleetOp::{Arrive, Gateway, Stall};
    let stall = (0_u8..3).prop_map(|at| {
        let (read, store) = (Gateway(at, Step::Read(8)), Gateway(at, Step::Store));
        vec![read, Gateway(at, Step::Beat), store, Gateway(at, Step::Look), Stall(at, true)]
    });
    let wake = (0_u8..3).prop_map(|at| {
        let sent = [Sent::Record(true), Sent::Beat, Sent::Claim].map(|sent| Arrive(at, sent));
        [&[Gateway(at, Step::Beaten)][..], &sent, &[Stall(at, false), Gateway(at, Step::Beaten)]]
            .concat()
    });
    prop_oneof![30 => any_fleet_op().prop_map(|op| vec![op]), 1 => stall, 1 => wake]
}

fn any_fleet_op() -> impl Strategy<Value = FleetOp> {
    let step = prop_oneof![
        3 => Just(Step::Beat),
        3 => Just(Step::Beaten),
        3 => Just(Step::Scan),
        3 => any::<bool>().prop_map(Step::Scanned),
        5 => Just(Step::Look),
        3 => (1_u8..8).prop_map(Step::Read),
        3 => Just(Step::Store),
        3 => Just(Step::Stored),
    ];
    let sent = prop_oneof![
        3 => Just(Sent::Beat),
        3 => Just(Sent::Claim),
        3 => (0_u8..4).prop_map(|lost| Sent::Record(lost > 0)),
    ];
    let reaction = prop_oneof![6 => Just(Reaction::Take), 3 => Just(Reaction::Fail), 1 => Just(Reaction::Refuse)];
    let gateway = || 0_u8..3;
    prop_oneof![
        24 => gateway().prop_map(FleetOp::Round),
        24 => (gateway(), step).prop_map(|(at, step)| FleetOp::Gateway(at, step)),
        8 => (gateway(), sent).prop_map(|(at, sent)| FleetOp::Arrive(at, sent)),
        24 => (any::<u8>(), reaction).prop_map(|(call, how)| FleetOp::Answer(call, how)),
        16 => (any::<u8>(), (0_u8..8)).prop_map(|(to, looped)| FleetOp::Publish(to, looped == 0)),
        10 => (0_u16..400).prop_map(FleetOp::Advance),
        1 => (500_u16..4000).prop_map(FleetOp::Advance),
        1 => gateway().prop_map(FleetOp::Crash),
        1 => gateway().prop_map(|at| FleetOp::Gateway(at, Step::Leave)),
        1 => (gateway(), -4000_i16..4000).prop_map(|(at, off)| FleetOp::Step(at, off)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn gateways_that_fight_for_a_route_lose_and_reorder_nothing(
        gateways in 2_u8..4,
        ops in proptest::collection::vec(any_fleet_ops(), 0..800),
    ) {
        exercise_fleet(gateways, &ops.concat());
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
    core.handle_attempted(now, of(1), Attempted::Retry(Cause::new(Class::Unavailable, "busy")), 0);
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
        core.handle_attempted(
            now,
            attempt.sequence,
            Attempted::Retry(Cause::new(Class::Unavailable, "down")),
            7,
        );
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

#[test]
fn the_position_stays_before_dead_letters_that_the_next_record_brings() {
    let now = Timestamp::from_secs(1_700_000_000);
    let of = |n| Sequence::from_u64(n).unwrap();
    let mut core = core();
    // The first one is under way; the others are refused, and are more than a record takes.
    let refused =
        |n| Arrival { fate: Fate::Refuse(Cause::new(Class::HopLimit, "no")), ..arrival(n, 1) };
    let all = std::iter::once(arrival(1, 0)).chain((2..=1501).map(refused));
    core.handle_arrivals(now, all, Cursor::Start);
    assert_eq!(attempts(&mut core, now), [1]);
    let record = core.take_record().unwrap();
    assert_eq!((record.dead.len(), record.position), (1000, Cursor::After(Sequence::ZERO)));
    assert_eq!(record.ahead, (2..=1001).map(of).collect::<Vec<_>>());
    core.handle_attempted(now, of(1), Attempted::Delivered, 0);
    core.handle_arrivals(now, (1502..=2400).map(refused), Cursor::Start);
    let record = core.take_record().unwrap();
    assert_eq!((record.dead.len(), record.position), (1000, Cursor::After(of(2001))));
    assert_eq!(record.ahead, []);
    let records: Vec<_> = std::iter::from_fn(|| core.take_record()).collect();
    assert_eq!(records.iter().map(|record| record.dead.len()).sum::<usize>(), 399);
    assert_eq!(records.last().unwrap().position, Cursor::After(of(2400)));
}
