//! Limits: what is refused, and that a child never widens (Belay §20.8).

use proptest::{option::of, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::method::Method;

fn limits(json: Value) -> Result<Limits, LimitsError> {
    Limits::parse(&BcapValue::from_json(json).unwrap())
}

#[test]
fn every_member_is_read_and_written_again() {
    // Rule: belay 20.8 — the members of limits are methods, readOnly, channels, types, expires, notBefore, uses, rate, maxBytes
    let json = json!({
        "methods": ["GET", "POST"], "readOnly": true, "channels": ["a", "b.*"],
        "types": ["order/new"], "expires": "2030-01-01T00:00:00.000Z",
        "notBefore": "2020-01-01T00:00:00.000Z", "uses": 3,
        "rate": {"count": 5, "per": 60}, "maxBytes": 1000,
    });
    let parsed = limits(json.clone()).unwrap();
    assert_eq!(parsed.to_value().to_json(), Ok(json));
    assert_eq!(limits(json!({})).unwrap(), Limits::default());
}

#[test]
fn what_is_not_understood_is_refused() {
    // Rule: belay 20.5 — unknown members are refused, since an ignored restriction would widen authority
    assert_eq!(limits(json!({"use": 3})), Err(LimitsError::UnknownMember));
    assert_eq!(limits(json!([])), Err(LimitsError::NotAnObject));
    let too_many: Vec<_> = (0..65).map(|n| format!("c{n}")).collect();
    for (member, bad) in [
        ("methods", json!(["get"])),
        ("methods", json!(["HEAD"])),
        ("methods", json!("GET")),
        ("readOnly", json!(1)),
        ("channels", json!(["*"])),
        ("channels", json!([1])),
        ("channels", json!(too_many)),
        ("types", json!([""])),
        ("expires", json!("2030-01-01T00:00:00+00:00")),
        ("expires", json!(1)),
        ("notBefore", json!("soon")),
        ("uses", json!(0)),
        ("uses", json!(-1)),
        ("uses", json!(1.5)),
        ("uses", json!(9_007_199_254_740_993_u64)),
        ("rate", json!({"count": 0, "per": 1})),
        ("rate", json!({"count": 1})),
        ("rate", json!({"count": 1, "per": 1, "burst": 2})),
        ("maxBytes", json!("1")),
    ] {
        let refused = limits(json!({ member: bad }));
        assert_eq!(refused, Err(LimitsError::BadMember(member)), "{bad}");
    }
}

#[test]
fn read_only_leaves_the_methods_that_read() {
    // Rule: belay 20.8 — readOnly leaves GET, and POST on bus.read
    let read_only = limits(json!({"readOnly": true})).unwrap();
    let reading = MethodSet::of(&[Method::Get, Method::Post]);
    assert_eq!(read_only.bounds().methods(MethodSet::ALL, MethodSet::GET), MethodSet::GET);
    assert_eq!(read_only.bounds().methods(reading, reading), reading);
}

#[test]
fn a_grant_lives_from_not_before_until_expires() {
    // Rule: belay 20.8 — a grant is alive from notBefore on and while the time is before expires
    let limits = limits(json!({
        "notBefore": "2024-01-01T00:00:00Z", "expires": "2024-01-02T00:00:00Z",
    }))
    .unwrap();
    let at = |text| Timestamp::parse(text).unwrap();
    assert!(!limits.bounds().is_current(at("2023-12-31T23:59:59.999Z")));
    assert!(limits.bounds().is_current(at("2024-01-01T00:00:00Z")));
    assert!(limits.bounds().is_current(at("2024-01-01T23:59:59.999Z")));
    assert!(!limits.bounds().is_current(at("2024-01-02T00:00:00Z")));
}

const CHANNELS: [&str; 5] = ["a", "a.b", "a.b.c", "b", "b.c"];
const PATTERNS: [&str; 7] = ["a", "a.b", "a.*", "a.b.*", "b", "b.*", "c"];
const TYPES: [&str; 3] = ["x", "y", "z"];

pub(crate) fn any_limits() -> impl Strategy<Value = Limits> {
    let time = (0..6_u64).prop_map(Timestamp::from_millis);
    (
        of((0..16_u8).prop_map(|bits| {
            Method::ALL
                .into_iter()
                .enumerate()
                .filter(|(at, _)| bits >> at & 1 == 1)
                .map(|(_, m)| m)
                .collect()
        })),
        any::<bool>(),
        of(proptest::sample::subsequence(PATTERNS.to_vec(), 0..=7)
            .prop_map(|p| NameSet::parse(p).unwrap())),
        of(proptest::sample::subsequence(TYPES.to_vec(), 0..=3)
            .prop_map(|t| t.into_iter().map(str::to_owned).collect())),
        of(time.clone()),
        of(time),
        of(0..4_u64),
    )
        .prop_map(|(methods, read_only, channels, types, expires, not_before, max_bytes)| {
            Bounds { methods, read_only, channels, types, expires, not_before, max_bytes }.into()
        })
}

/// Everything that a bounds value says yes to, over small alphabets.
fn admitted(bounds: &Bounds) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let reading = MethodSet::of(&[Method::Get, Method::Post]);
    for (of_item, reads) in [(MethodSet::ALL, MethodSet::GET), (MethodSet::ALL, reading)] {
        let left = bounds.methods(of_item, reads);
        all.extend(left.iter().map(|method| format!("{method} with {reads:?}")));
    }
    let channels = CHANNELS.into_iter().filter(|name| bounds.admits_channel(name));
    all.extend(channels.map(|name| format!("channel {name}")));
    let types = TYPES.into_iter().filter(|name| bounds.admits_type(name));
    all.extend(types.map(|name| format!("type {name}")));
    let times = (0..7).filter(|ms| bounds.is_current(Timestamp::from_millis(*ms)));
    all.extend(times.map(|ms| format!("at {ms}")));
    let sizes = (0..5).filter(|bytes| bounds.max_bytes().is_none_or(|max| *bytes <= max));
    all.extend(sizes.map(|bytes| format!("{bytes} bytes")));
    all
}

proptest! {
    #[test]
    fn a_child_never_widens(parent in any_limits(), child in any_limits()) {
        // Rule: belay 20.8 — combination over the chain is intersection; a child can never widen
        let chain = parent.bounds().intersection(child.bounds());
        let both: BTreeSet<_> =
            &admitted(parent.bounds()) & &admitted(child.bounds());
        prop_assert_eq!(admitted(&chain), both);
    }

    #[test]
    fn the_order_of_a_chain_does_not_matter(
        a in any_limits(), b in any_limits(), c in any_limits(),
    ) {
        let (a, b, c) = (a.bounds(), b.bounds(), c.bounds());
        prop_assert_eq!(a.intersection(b), b.intersection(a));
        prop_assert_eq!(a.intersection(b).intersection(c), a.intersection(&b.intersection(c)));
        prop_assert_eq!(&a.intersection(a), a);
        prop_assert_eq!(&a.intersection(&Bounds::default()), a);
    }

    #[test]
    fn parsing_undoes_printing(limits in any_limits()) {
        prop_assert_eq!(Limits::parse(&limits.to_value()), Ok(limits));
    }
}
