//! The property test, and the cases that it found.

use proptest::{collection::vec, prelude::*};

use super::{CHANNELS, ChannelIx, Failure, GATEWAYS, Listed, Op, PEERS, PeerIx, exercise};

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
        3 => (0..GATEWAYS).prop_map(Op::Use),
        1 => (0..GATEWAYS).prop_map(Op::Crash),
        1 => (1_u32..5000).prop_map(Op::StepBack),
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

    #[test]
    fn histories_keep_the_guarantees(ops in vec(op(), 1..80)) {
        // Rule: simplepush S1 — every version that is sent was PUT
        // Rule: simplepush S2 — a channel is named only to its own UA
        // Rule: simplepush S3 — a pending version goes only by a covering ack, unregister, pruning or the end of the UAID
        // Rule: simplepush S4 — a pending version never decreases
        // Rule: simplepush S5 — an ack never clears a greater version, whatever the interleaving
        // Rule: simplepush S6 — an accepted version survives a crash of its gateway
        // Rule: simplepush S7 — a UAID that is still honoured has all its channels
        // Rule: simplepush S8 — after the unregister reply nothing names the channel
        // Rule: simplepush S9 — no notification precedes the hello reply; none is empty
        // Rule: simplepush S10 — at most one identified connection per UAID over all gateways
        // Rule: simplepush S11 — register of an existing channel keeps its endpoint and what is pending
        // Rule: simplepush S12 — no request of one UA changes state of another
        // Rule: simplepush S14 — nothing is accepted for a channel that is not registered
        // Rule: simplepush L1 — every accepted version is shown, or a greater one, or the UAID is new
        // Rule: simplepush L2 — a connected UA that reads is shown it at once, whatever the gateway
        // Rule: simplepush L3 — a UA that was away is shown it after its next hello
        // Rule: simplepush L5 — when everything is acknowledged nothing more is sent
        // Rule: simplepush L6 — every hello, register, unregister and PUT is answered
        // Rule: simplepush L9 — a UA below its limit can register
        exercise(&[connected(), ops].concat());
    }

    #[test]
    fn failures_of_the_store_keep_the_guarantees(ops in vec(faulty_op(), 1..80)) {
        // Rule: simplepush §17.3 — S1 to S5 and S14 hold although the store fails before or after it acts
        // Rule: simplepush S7 — a UAID that is still honoured has all its channels
        // Rule: simplepush L3 — what is pending is shown when the store works again
        exercise(&[connected(), ops].concat());
    }
}

#[test]
fn a_greater_version_from_elsewhere_is_shown_although_a_lesser_one_came_here() {
    // Rule: simplepush L2 — a connected UA that reads is shown it at once, whatever the gateway
    let put_elsewhere = [Op::Use(1), Op::Hold, Op::Put(1, 0, 0)];
    let put_here = [Op::Use(0), Op::Put(1, 0, 1)];
    exercise(&[connected(), put_elsewhere.to_vec(), put_here.to_vec()].concat());
}
