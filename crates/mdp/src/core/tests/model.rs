//! Random histories against the world of the harness.

use proptest::prelude::*;

use super::super::harness::{FarOp, Op, World, patient, tight};

fn far() -> impl Strategy<Value = FarOp> {
    prop_oneof![
        3 => Just(FarOp::Up),
        1 => Just(FarOp::Down),
        1 => (0..2u8, any::<bool>()).prop_map(|(service, serves)| FarOp::Serve { service, serves }),
        4 => Just(FarOp::Answer),
        2 => Just(FarOp::Part),
        2 => (0..3u8).prop_map(|reason| FarOp::Return { reason }),
        1 => Just(FarOp::Lie),
        4 => (0..3u8).prop_map(|service| FarOp::Ask { service }),
        1 => Just(FarOp::Cancel),
        1 => Just(FarOp::Anew),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let frame = prop_oneof![
        Just(b"".to_vec()),
        Just(b"MDPC01".to_vec()),
        Just(b"MDPC02".to_vec()),
        Just(b"MDPW01".to_vec()),
        Just(b"MDPW02".to_vec()),
        Just(b"s0".to_vec()),
        Just(b"mmi.service".to_vec()),
        (0u8..8).prop_map(|byte| vec![byte]),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let op = prop_oneof![
        6 => (0..4u8, 0..3u8).prop_map(|(client, service)| Op::Ask { client, service }),
        4 => (0..5u8, 0..2u8).prop_map(|(worker, service)| Op::Ready { worker, service }),
        6 => (0..5u8).prop_map(|worker| Op::Answer { worker }),
        2 => (0..5u8).prop_map(|worker| Op::Part { worker }),
        1 => (0..5u8).prop_map(|worker| Op::AnswerAgain { worker }),
        3 => (0..5u8).prop_map(|worker| Op::Beat { worker }),
        1 => (0..5u8).prop_map(|worker| Op::Leave { worker }),
        1 => (0..5u8).prop_map(|worker| Op::Crash { worker }),
        1 => (0..4u8).prop_map(|client| Op::Hang { client }),
        2 => (0..3u8, 0..9000u16)
            .prop_map(|(service, timeout_ms)| Op::AskHere { service, timeout_ms }),
        1 => Just(Op::Cancel),
        2 => any::<bool>().prop_map(|fails| Op::CallEnds { fails }),
        3 => (0..3000u16).prop_map(|ms| Op::Pass { ms }),
        1 => (0..3u8, any::<bool>()).prop_map(|(service, paused)| Op::Pause { service, paused }),
        1 => (0..5u8, any::<bool>()).prop_map(|(worker, now)| Op::Dismiss { worker, now }),
        4 => far().prop_map(Op::Far),
        1 => proptest::collection::vec(frame, 1..7).prop_map(|frames| Op::Garbage { frames }),
    ];
    proptest::collection::vec(op, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_reach_their_request_once_and_as_long_as_a_worker_lives_always(ops in ops()) {
        // Rule: mdp §11.1 — no reply reaches another client or another request
        // Rule: mdp §8.9 — a request is kept until its final reply and handed out again
        let mut world = World::new(patient());
        for op in &ops {
            world.apply(op);
        }
        world.settle_and_account();
    }

    #[test]
    fn every_bound_holds_under_any_history(ops in ops()) {
        // Rule: mdp §11.7 — every queue and table of the broker is bounded
        let mut world = World::new(tight());
        for op in &ops {
            world.apply(op);
        }
    }

    #[test]
    fn nothing_panics_after_stop(ops in ops(), at in 0usize..60) {
        let mut world = World::new(tight());
        for (number, op) in ops.iter().enumerate() {
            if number == at {
                world.stop();
            }
            world.apply(op);
        }
    }
}
