//! The property test, and the cases that it found.

use proptest::{collection::vec, prelude::*};

use super::{CHANNELS, ChannelIx, Failure, Listed, Op, PEERS, PeerIx, exercise};

fn peer() -> impl Strategy<Value = PeerIx> {
    0..PEERS
}

fn channel() -> impl Strategy<Value = ChannelIx> {
    0..CHANNELS
}

fn listed() -> impl Strategy<Value = Listed> {
    prop_oneof![
        6 => Just(Listed::All),
        1 => Just(Listed::None),
        1 => channel().prop_map(Listed::AllBut),
    ]
}

fn version() -> impl Strategy<Value = u64> {
    prop_oneof![1_u64..20, Just(0), Just(1_709_993_200), Just((1 << 63) - 1)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (peer(), listed()).prop_map(|(peer, listed)| Op::Connect(peer, listed)),
        1 => peer().prop_map(Op::HelloAgain),
        4 => (peer(), channel()).prop_map(|(peer, channel)| Op::Register(peer, channel)),
        2 => (peer(), channel()).prop_map(|(peer, channel)| Op::Unregister(peer, channel)),
        12 => (peer(), channel(), version()).prop_map(|(peer, channel, v)| Op::Put(peer, channel, v)),
        6 => (peer(), channel()).prop_map(|(peer, channel)| Op::Ack(peer, channel)),
        2 => (peer(), channel(), version()).prop_map(|(peer, channel, v)| Op::AckWrong(peer, channel, v)),
        2 => peer().prop_map(Op::DropLink),
        1 => peer().prop_map(Op::Block),
        2 => peer().prop_map(Op::Unblock),
        2 => (1_u32..100).prop_map(Op::Advance),
        1 => Just(Op::Hold),
        2 => Just(Op::Release),
    ]
}

fn faulty_op() -> impl Strategy<Value = Op> {
    let failure = prop_oneof![Just(Failure::Before), Just(Failure::After)];
    prop_oneof![
        20 => op(),
        1 => (failure, 1_u8..4).prop_map(|(failure, times)| Op::Fail(failure, times)),
        1 => (1_u8..40).prop_map(Op::AdvanceDays),
    ]
}

fn connected() -> Vec<Op> {
    let start =
        |peer| [Op::Connect(peer, Listed::All), Op::Register(peer, 0), Op::Register(peer, 1)];
    (0..PEERS).flat_map(start).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    // Rule: simplepush §17.3 — S1 to S5, S8 to S12 and S14 hold in random histories with disconnects and takeovers
    // Rule: simplepush §17.4 — L1, L3, L5, L6 and L9: after a history every version is shown or the UAID is new
    #[test]
    fn histories_keep_the_guarantees(ops in vec(op(), 1..80)) {
        exercise(&[connected(), ops].concat());
    }

    // Rule: simplepush §17.3 — S1 to S5 and S14 hold although the store fails before or after it acts
    // Rule: simplepush S7 — a UAID that is still honoured has all its channels
    #[test]
    fn failures_of_the_store_keep_the_guarantees(ops in vec(faulty_op(), 1..80)) {
        exercise(&[connected(), ops].concat());
    }
}
