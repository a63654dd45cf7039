//! bcapJson against the worked examples and rules of Belay §4 and §25.1.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn plain(json: serde_json::Value) -> BcapValue {
    BcapValue::from_json(json).unwrap()
}

fn decode_text(text: &str) -> Result<Option<BcapValue>, DecodeError> {
    decode(text.as_bytes(), WireLimits::default())
}

#[test]
fn no_data_is_no_text() {
    // Rule: belay 4.2 — no data is the absence of any text, and null is data
    assert_eq!(encode(None, WireLimits::default()).unwrap(), "");
    for text in ["", " ", "\r\n\t"] {
        assert_eq!(decode_text(text), Ok(None));
    }
    assert_eq!(decode_text(r#"{"value":null}"#), Ok(Some(BcapValue::Null)));
}

#[test]
fn malformed_texts_are_refused() {
    // Rule: belay 4.3 — a text that is not an object with a member value is malformed
    // Rule: belay 4.3 — @ with other members, or not a string, is malformed
    // Rule: belay 18 D7 — @ with other members is an error
    let cases = [
        ("[1]", DecodeError::NotAnObject),
        ("5", DecodeError::NotAnObject),
        ("null", DecodeError::NotAnObject),
        ("\"value\"", DecodeError::NotAnObject),
        ("{}", DecodeError::NoValue),
        (r#"{"valu":1}"#, DecodeError::NoValue),
        (r#"{"value":{"@":"x","also":1}}"#, DecodeError::MalformedReference),
        (r#"{"value":{"also":1,"@":"x"}}"#, DecodeError::MalformedReference),
        (r#"{"value":{"@":"x","@":"y"}}"#, DecodeError::MalformedReference),
        (r#"{"value":{"@":5}}"#, DecodeError::MalformedReference),
        (r#"{"value":{"@":{"@":"x"}}}"#, DecodeError::MalformedReference),
        (r#"{"value":1,"value":2}"#, DecodeError::RepeatedMember),
        (r#"{"value":{"a":1,"a":2}}"#, DecodeError::RepeatedMember),
        (r#"{"value":1"#, DecodeError::Syntax),
        (r#"{"value":1}x"#, DecodeError::Syntax),
        (r#"{"value":1e999}"#, DecodeError::Syntax),
        (r#"{"value":"\ud800"}"#, DecodeError::Syntax),
        ("{'value':1}", DecodeError::Syntax),
    ];
    for (text, error) in cases {
        assert_eq!(decode_text(text), Err(error), "{text}");
    }
    assert_eq!(decode(b"{\"value\":\"\xff\"}", WireLimits::default()), Err(DecodeError::Syntax));
}

#[test]
fn members_beside_value_are_ignored() {
    // Rule: belay 4.3 — other members beside value are ignored
    assert_eq!(decode_text(r#"{"v":{"@":5},"value":1,"x":[]}"#), Ok(Some(1_u64.into())));
}

#[test]
fn nesting_is_bounded_at_64_levels() {
    // Rule: belay 4.3 — nesting is limited to 64 levels
    let nested = |levels| format!("{{\"value\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    let deepest = decode_text(&nested(64)).unwrap();
    assert_eq!(encode(deepest.as_ref(), WireLimits::default()).unwrap(), nested(64));
    assert_eq!(decode_text(&nested(65)), Err(DecodeError::TooDeep));
    assert_eq!(decode_text(&nested(100_000)), Err(DecodeError::TooDeep));
    let deeper = BcapValue::Array(vec![deepest.unwrap()]);
    assert_eq!(encode(Some(&deeper), WireLimits::default()), Err(EncodeError::TooDeep));
}

#[test]
fn capabilities_are_bounded_at_256() {
    // Rule: belay 21.6 — a message holds at most 256 capabilities
    let caps = |count| vec![BcapValue::from(Bcap::restore("https://a/cap/x")); count];
    let text = encode(Some(&caps(256).into()), WireLimits::default()).unwrap();
    assert!(decode_text(&text).is_ok());
    assert_eq!(
        encode(Some(&caps(257).into()), WireLimits::default()),
        Err(EncodeError::TooManyCaps)
    );
    let more = text.replacen('[', r#"[{"@":"https://a/cap/x"},"#, 1);
    assert_eq!(decode_text(&more), Err(DecodeError::TooManyCaps));
}

#[test]
fn forged_references_and_minus_zero_are_not_written() {
    // Rule: belay 4.1 — encoding an object with the member @ fails as a forged reference
    let forged = BcapValue::from(Members::new().with("@", "x"));
    assert_eq!(encode(Some(&forged), WireLimits::default()), Err(EncodeError::ForgedReference));
    // Rule: belay 4.1 — minus zero is written as 0
    assert_eq!(encode(Some(&plain(json!(-0.0))), WireLimits::default()).unwrap(), r#"{"value":0}"#);
}

fn any_value() -> impl Strategy<Value = BcapValue> {
    let leaf = prop_oneof![
        Just(BcapValue::Null),
        any::<bool>().prop_map(BcapValue::from),
        any::<u64>().prop_map(BcapValue::from),
        any::<i64>().prop_map(|number| BcapValue::Number(number.into())),
        // Minus zero is written as 0.
        (proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL)
            .prop_map(|number| plain(number.into())),
        any::<String>().prop_map(BcapValue::from),
        any::<String>().prop_map(|text| Bcap::restore(text).into()),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(BcapValue::from),
            proptest::collection::btree_map("[^@]{0,4}", inner, 0..6).prop_map(|members| {
                let members = members.into_iter();
                members.fold(Members::new(), |all, (name, value)| all.with(name, value)).into()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(value in any_value()) {
        // Rule: belay 4.5 — a round trip gives a deep copy with equal serialisations
        let text = encode(Some(&value), WireLimits::default()).unwrap();
        prop_assert_eq!(decode_text(&text).unwrap(), Some(value.clone()));
        let bare = encode_bare(&value, WireLimits::default()).unwrap();
        prop_assert_eq!(decode_bare(&bare, WireLimits::default()).unwrap(), value);
    }

    #[test]
    fn no_text_makes_the_decoder_panic(text in any::<Vec<u8>>()) {
        let _outcome = decode(&text, WireLimits::default());
    }
}
