//! Random lists of operations.

use proptest::prelude::*;

use super::{BUSES, CHANNELS, Fault, Item, Op, Query, Since, exercise};

fn items() -> impl Strategy<Value = Vec<Item>> {
    let ttl = prop_oneof![
        4 => Just(None),
        3 => (1_u16..30).prop_map(Some),
        1 => (580_u16..620).prop_map(Some),
        1 => Just(Some(0)),
    ];
    let key = proptest::option::weighted(0.4, 0_u8..2);
    let item = (0..CHANNELS, 0_u8..2, any::<bool>(), ttl, key)
        .prop_map(|(channel, kind, sticky, ttl, key)| Item { channel, kind, sticky, ttl, key });
    proptest::collection::vec(item, 0..4)
}

fn query() -> impl Strategy<Value = Query> {
    let channels = proptest::option::of(0_u8..8);
    let kind = proptest::option::weighted(0.3, 0_u8..2);
    let sticky = proptest::option::weighted(0.3, any::<bool>());
    (0_u8..8, channels, kind, sticky).prop_map(|(buses, channels, kind, sticky)| Query {
        buses,
        channels,
        kind,
        sticky,
    })
}

fn since() -> impl Strategy<Value = Since> {
    prop_oneof![Just(Since::Start), any::<u8>().prop_map(Since::Message), Just(Since::Last)]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        8 => Just(Fault::None),
        1 => Just(Fault::Before),
        1 => Just(Fault::Answer),
        1 => Just(Fault::DropBefore),
        1 => Just(Fault::DropAfter),
        1 => Just(Fault::DropLate),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (0..BUSES, items(), fault())
            .prop_map(|(bus, items, fault)| Op::Publish { bus, items, fault }),
        3 => (query(), since(), 0_u8..4)
            .prop_map(|(query, since, limit)| Op::Read { query, since, limit }),
        1 => (query(), 0_u8..4).prop_map(|(query, limit)| Op::Walk { query, limit }),
        2 => (any::<u8>(), query()).prop_map(|(pick, query)| Op::Fetch { pick, query }),
        3 => (query(), since(), 0_u16..5000)
            .prop_map(|(query, since, millis)| Op::Wait { query, since, millis }),
        2 => (query(), since()).prop_map(|(query, since)| Op::Subscribe { query, since }),
        3 => any::<u8>().prop_map(|pick| Op::Drain { pick }),
        1 => any::<u8>().prop_map(|pick| Op::DropReaders { pick }),
        4 => prop_oneof![0_u32..3000, 0_u32..90_000].prop_map(|millis| Op::Advance { millis }),
        3 => any::<bool>().prop_map(|early| Op::NextExpiry { early }),
        1 => prop_oneof![0_u32..3000, 0_u32..3_600_000].prop_map(|millis| Op::StepBack { millis }),
        1 => Just(Op::Land),
        1 => Just(Op::Sweep),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn buses_do_what_a_plain_list_does(ops in proptest::collection::vec(op(), 1..60)) {
        // Rule: backplane §5.2 — a message is delivered while now is before its expiry
        // Rule: backplane §5.3 — no smaller id becomes visible after a greater one
        // Rule: backplane §5.5 — expiry is exact on read regardless of the sweep
        exercise(&ops);
    }
}

fn all() -> Query {
    Query { buses: 0, channels: None, kind: None, sticky: None }
}

#[test]
fn a_wait_that_is_disturbed_after_the_clock_stepped_back_ends_in_time() {
    let item = Item { channel: 0, kind: 0, sticky: false, ttl: Some(1), key: None };
    exercise(&[
        Op::Publish { bus: 0, items: vec![item], fault: Fault::DropLate },
        Op::Advance { millis: 20_000 },
        Op::Wait { query: all(), since: Since::Start, millis: 5000 },
        Op::StepBack { millis: 7999 },
        // Wakes the reader, which finds nothing since the message has expired.
        Op::Land,
        Op::Advance { millis: 5000 },
    ]);
}
