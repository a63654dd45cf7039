//! The laws and the published vectors of the scope language.

use proptest::prelude::*;

use super::*;
use crate::{Realm, id::Sequence};

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

fn kind(text: &str) -> ScopeParseErrorKind {
    text.parse::<Scope>().unwrap_err().kind()
}

#[test]
fn published_matching_vectors() {
    // Rule: backplane §19.4 — same key is or, different keys are and, compared byte by byte
    let bus = BusName::new(Realm::V2, "a").unwrap();
    let id = MessageId::from_sequence(Sequence::ZERO);
    let subject = Subject {
        bus: &bus,
        channel: "c1",
        kind: "t1",
        source: "https://s.example/",
        sticky: false,
        message_url: Some(("https://bp.example/v2/message/", id)),
    };
    let cases = [
        ("", true),
        ("bus:a", true),
        ("bus:v2/a", true),
        ("bus:v1/a", false),
        ("bus:b", false),
        ("bus:a bus:b", true),
        ("bus:a type:t1", true),
        ("bus:a type:t2", false),
        ("bus:a type:t2 type:t1", true),
        ("bus:A", false),
        ("bus:a sticky:false", true),
        ("bus:a sticky:true", false),
        ("bus:a sticky:true sticky:false", true),
        ("bus:a source:https://s.example/", true),
        ("bus:a source:https://s.example", false),
        ("bus:a channel:c1", true),
        ("bus:a channel:c2", false),
        ("messageURL:https://bp.example/v2/message/2020-01-01T00:00:00.000Z-0000000000", true),
        ("messageURL:https://bp.example/v2/message/2020-01-01T00:00:00.000Z-0000000001", false),
        ("messageURL:https://other.example/v2/message/2020-01-01T00:00:00.000Z-0000000000", false),
    ];
    for (text, expected) in cases {
        assert_eq!(scope(text).matches(&subject), expected, "{text}");
    }
}

#[test]
fn published_syntax_vectors() {
    // Rule: backplane §19.5 — split at the first colon, known keys only, duplicates collapse
    assert_eq!(scope("type:x").values(Field::Type).collect::<Vec<_>>(), ["x"]);
    let source = scope("source:https://s.example/p?q=1:2");
    assert_eq!(source.values(Field::Source).collect::<Vec<_>>(), ["https://s.example/p?q=1:2"]);
    for text in ["type:", "type", "type: sticky:", "payload.a.b", "bus;mybus.com bus:yourbus.com"] {
        assert_eq!(kind(text), ScopeParseErrorKind::Malformed, "{text}");
    }
    for text in [":x", "payload:x", "id:x", "expire:x", "Type:x"] {
        assert_eq!(kind(text), ScopeParseErrorKind::UnknownField, "{text}");
    }
    for text in ["sticky:meh", "source:httpgoogle.com", "bus:a/b", "messageURL:x"] {
        assert_eq!(kind(text), ScopeParseErrorKind::InvalidValue, "{text}");
    }
    assert_eq!(scope("  type:x   type:x ").to_string(), "type:x");
    assert_eq!(scope("bus:a type:x bus:b").to_string(), "bus:a bus:b type:x");
    assert_eq!(scope("sticky:TRUE").to_string(), "sticky:true");
    // Rule: backplane §8.1 — the texts of the errors
    assert_eq!(
        "type".parse::<Scope>().unwrap_err().to_string(),
        "Malformed scope, token: 'type' not in format: '<key>:<value>'"
    );
    assert_eq!(
        "id:x".parse::<Scope>().unwrap_err().to_string(),
        "invalid scope key / message field in token: id:x"
    );
}

#[test]
fn a_scope_has_bounds() {
    // Rule: backplane §5.4 — at most 1000 entries and 16 KiB
    let entries = |n: usize| (0..n).map(|i| format!("type:{i}")).collect::<Vec<_>>().join(" ");
    assert!(entries(1000).parse::<Scope>().is_ok());
    assert_eq!(kind(&entries(1001)), ScopeParseErrorKind::TooLarge);
    assert_eq!(kind(&format!("type:{}", "x".repeat(16 * 1024))), ScopeParseErrorKind::TooLarge);
}

#[test]
fn published_narrowing_vectors() {
    // Rule: backplane §8.5 — a refresh may only narrow
    let narrow = |old: &str, asked: &str| scope(old).narrow(&scope(asked)).map(|s| s.to_string());
    assert_eq!(narrow("bus:a type:x", ""), Ok("bus:a type:x".into()));
    assert_eq!(narrow("bus:a type:x", "bus:b"), Err(Field::Bus));
    assert_eq!(narrow("bus:a bus:b", "bus:b sticky:true"), Ok("bus:b sticky:true".into()));
    assert_eq!(narrow("bus:a type:x", "sticky:true"), Ok("bus:a type:x sticky:true".into()));
    assert_eq!(narrow("bus:a type:x", "type:y"), Err(Field::Type));
}

fn any_entry() -> impl Strategy<Value = String> {
    let of = |key: &'static str, values: &'static [&'static str]| {
        proptest::sample::select(values).prop_map(move |value| format!("{key}:{value}"))
    };
    prop_oneof![
        of("bus", &["a", "b", "v1/a"]),
        of("type", &["x", "y", "z:z"]),
        of("channel", &["c", "d"]),
        of("source", &["https://s.example/", "https://t.example/p?q=1:2"]),
        of("sticky", &["true", "false"]),
    ]
}

fn any_scope() -> impl Strategy<Value = Scope> {
    proptest::collection::vec(any_entry(), 0..6).prop_map(|entries| scope(&entries.join(" ")))
}

prop_compose! {
    fn any_message()(
        bus in prop_oneof![Just("a"), Just("b"), Just("v1/a")],
        kind in prop_oneof![Just("x"), Just("y"), Just("z:z")],
        channel in prop_oneof![Just("c"), Just("d")],
        source in prop_oneof![Just("https://s.example/"), Just("https://t.example/p?q=1:2")],
        sticky: bool,
    ) -> (BusName, &'static str, &'static str, &'static str, bool) {
        (bus.parse().unwrap(), kind, channel, source, sticky)
    }
}

proptest! {
    #[test]
    fn parse_undoes_print(scope in any_scope()) {
        prop_assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
    }

    #[test]
    fn intersection_matches_what_both_match(a in any_scope(), b in any_scope(), message in any_message()) {
        let (bus, kind, channel, source, sticky) = &message;
        let subject = Subject { bus, kind, channel, source, sticky: *sticky, message_url: None };
        let both = a.intersect(&b).is_some_and(|both| both.matches(&subject));
        prop_assert_eq!(both, a.matches(&subject) && b.matches(&subject));
        let swapped = b.intersect(&a).is_some_and(|both| both.matches(&subject));
        prop_assert_eq!(both, swapped);
    }

    #[test]
    fn narrowing_never_widens(old in any_scope(), asked in any_scope(), message in any_message()) {
        let (bus, kind, channel, source, sticky) = &message;
        let subject = Subject { bus, kind, channel, source, sticky: *sticky, message_url: None };
        if let Ok(narrowed) = old.narrow(&asked) {
            prop_assert_eq!(
                narrowed.matches(&subject),
                old.matches(&subject) && asked.matches(&subject)
            );
        }
    }

    #[test]
    fn garbage_is_refused_without_a_panic(text in "\\PC{0,80}") {
        if let Ok(scope) = text.parse::<Scope>() {
            prop_assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
        }
    }
}
