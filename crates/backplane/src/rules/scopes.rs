//! From the scope that is asked for to the scope that is given (Backplane §8.5, §8.6).
//!
//! Pure. Never here: which grants a client holds.

use buswire_message::{BusName, ChannelName, Field, Scope};

/// Why no scope is given. `Display` is the `error_description`; all are `invalid_scope`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScopeRefusal {
    #[error("{0}")]
    Syntax(#[from] buswire_message::ScopeError),
    #[error("unauthorized scope: {0}")]
    Unauthorized(String),
    #[error("invalid scope/grant: the client has no grant")]
    NoGrant,
    #[error("Buses and channels not allowed in the scope of anonymous token requests")]
    BusOrChannel,
    #[error("invalid scope for refresh token")]
    Wider,
}

/// The scope of a privileged token for a client whose relevant grants name the buses `granted`
/// (§8.5): every bus asked for must be among them, and asking for none means all of them.
pub(crate) fn privileged(granted: &[BusName], requested: &Scope) -> Result<Scope, ScopeRefusal> {
    if granted.is_empty() {
        return Err(ScopeRefusal::NoGrant);
    }
    if requested.has(Field::Bus) {
        let mut asked = requested.values(Field::Bus).map(str::parse::<BusName>);
        if asked.all(|bus| bus.is_ok_and(|bus| granted.contains(&bus))) {
            return storable(requested.clone());
        }
        return Err(ScopeRefusal::Unauthorized(requested.to_string()));
    }
    let buses =
        granted.iter().fold(Scope::all(), |scope, bus| scope.with(Field::Bus, &bus.to_string()));
    // A field that one of both lacks is added as it is, so this never finds nothing.
    let narrowed = buses.narrow(requested);
    storable(narrowed.map_err(|_| ScopeRefusal::Unauthorized(requested.to_string()))?)
}

/// The same scope, if it is within the bounds of one when it is written down: what two scopes within
/// them add up to need not be, and a token whose scope can't be read back is of no use.
fn storable(scope: Scope) -> Result<Scope, ScopeRefusal> {
    let text = scope.to_string();
    text.parse::<Scope>().map(|_| scope).map_err(ScopeRefusal::Syntax)
}

/// The scope of a refreshed privileged token: it only narrows (§8.5).
pub(crate) fn refreshed(old: &Scope, requested: &Scope) -> Result<Scope, ScopeRefusal> {
    let narrowed = old.narrow(requested).map_err(|field| match field {
        Field::Bus => ScopeRefusal::Unauthorized(requested.to_string()),
        Field::Source | Field::Type | Field::Channel | Field::Sticky | Field::MessageUrl => {
            ScopeRefusal::Wider
        }
    });
    storable(narrowed?)
}

/// The scope of an anonymous token: the filters asked for, then the bus if the channel is bound, then
/// the channel last, since published clients read it from the end (§8.6).
pub(crate) fn anonymous(
    filters: &Scope,
    bus: Option<&BusName>,
    channel: &ChannelName,
) -> Result<Scope, ScopeRefusal> {
    if filters.has(Field::Bus) || filters.has(Field::Channel) {
        return Err(ScopeRefusal::BusOrChannel);
    }
    let scope = filters.clone();
    let scope = bus.iter().fold(scope, |scope, bus| scope.with(Field::Bus, &bus.to_string()));
    storable(scope.with(Field::Channel, channel.as_str()))
}

/// The scope of a refreshed anonymous token; `old` is the whole scope of the token before.
pub(crate) fn anonymous_refreshed(old: &Scope, requested: &Scope) -> Result<Scope, ScopeRefusal> {
    if requested.has(Field::Bus) || requested.has(Field::Channel) {
        return Err(ScopeRefusal::BusOrChannel);
    }
    let last = |scope: Scope, field: Field| {
        let values: Vec<String> = scope.values(field).map(str::to_owned).collect();
        values.iter().fold(scope.without(field), |scope, value| scope.with(field, value))
    };
    let narrowed = old.narrow(requested).map_err(|_| ScopeRefusal::Wider)?;
    storable(last(last(narrowed, Field::Bus), Field::Channel))
}

#[cfg(test)]
mod tests {
    use buswire_message::Subject;
    use proptest::prelude::*;

    use super::*;

    fn buses(names: &str) -> Vec<BusName> {
        names.split_whitespace().map(|name| name.parse().unwrap()).collect()
    }

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn reduction_of_section_19_5() {
        // Rule: backplane §19.5 — a request with bus entries is granted as it is or refused whole
        let cases = [
            ("a b c", "", Some("bus:a bus:b bus:c")),
            ("a b c", "bus:a", Some("bus:a")),
            ("a b c", "type:x", Some("bus:a bus:b bus:c type:x")),
            ("a b c", "channel:k", Some("bus:a bus:b bus:c channel:k")),
            ("a b c", "bus:a bus:z", None),
            ("b c", "", Some("bus:b bus:c")),
            ("b c", "bus:a", None),
            ("test", "sticky:true", Some("bus:test sticky:true")),
            ("a", "bus:v1/a", None),
        ];
        for (granted, requested, result) in cases {
            let scope = privileged(&buses(granted), &scope(requested));
            assert_eq!(scope.ok().map(|s| s.to_string()).as_deref(), result, "{requested}");
        }
        assert_eq!(
            privileged(&buses("a"), &scope("bus:a bus:z")).unwrap_err().to_string(),
            "unauthorized scope: bus:a bus:z"
        );
        assert_eq!(privileged(&[], &scope("")), Err(ScopeRefusal::NoGrant));
    }

    #[test]
    fn a_refresh_only_narrows() {
        // Rule: backplane §8.5 — on refresh the filters of the old token stay and only narrow
        // Rule: backplane §16 row 29 — a refresh only narrows
        let cases = [
            ("bus:a type:x", "", Some("bus:a type:x")),
            ("bus:a type:x", "bus:b", None),
            ("bus:a bus:b", "bus:b sticky:true", Some("bus:b sticky:true")),
            ("bus:a type:x", "sticky:true", Some("bus:a type:x sticky:true")),
            ("bus:a type:x", "type:y", None),
        ];
        for (old, requested, result) in cases {
            let scope = refreshed(&scope(old), &scope(requested));
            assert_eq!(scope.ok().map(|s| s.to_string()).as_deref(), result, "{requested}");
        }
    }

    #[test]
    fn an_anonymous_scope_ends_with_the_channel() {
        let (bus, channel) = ("g.example".parse().unwrap(), "0a92".parse().unwrap());
        // Rule: backplane §8.6 — the issued scope is the filters, then the bus, then the channel last
        // Rule: backplane §16 row 34 — an anonymous scope is filters, bus, channel
        let issued = anonymous(&scope("type:identity/login"), Some(&bus), &channel).unwrap();
        assert_eq!(issued.to_string(), "type:identity/login bus:g.example channel:0a92");
        // Rule: backplane §8.6 — bus and channel entries are refused in anonymous requests
        for text in ["bus:g.example", "type:x channel:0a92"] {
            assert_eq!(
                anonymous(&scope(text), Some(&bus), &channel),
                Err(ScopeRefusal::BusOrChannel)
            );
            assert_eq!(anonymous_refreshed(&issued, &scope(text)), Err(ScopeRefusal::BusOrChannel));
        }
        // Rule: backplane §8.6 — no later refresh widens a filter
        assert_eq!(anonymous_refreshed(&issued, &scope("type:y")), Err(ScopeRefusal::Wider));
        assert_eq!(
            anonymous_refreshed(&issued, &scope("sticky:true")).unwrap().to_string(),
            "type:identity/login sticky:true bus:g.example channel:0a92"
        );
    }

    #[test]
    fn an_issued_scope_can_be_read_back() {
        let (bus, channel) = ("g.example".parse().unwrap(), "0a92".parse().unwrap());
        // Rule: backplane §5.4 — a scope has at most 1000 entries and 16 KiB, also when it is issued
        let entries: Vec<String> = (0..1000).map(|n| format!("type:t{n}")).collect();
        let full = scope(&entries.join(" "));
        assert!(matches!(anonymous(&full, Some(&bus), &channel), Err(ScopeRefusal::Syntax(_))));
        let many: Vec<BusName> =
            (0..100).map(|n| format!("{n}{}", "x".repeat(250)).parse().unwrap()).collect();
        assert!(matches!(privileged(&many, &Scope::all()), Err(ScopeRefusal::Syntax(_))));
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        let entry = prop_oneof![
            "bus:[a-c]",
            "type:[x-z]",
            "channel:[k-m]",
            "sticky:(true|false)",
            "source:https://[s-t]\\.example/",
        ];
        proptest::collection::vec(entry, 0..5).prop_map(|entries| scope(&entries.join(" ")))
    }

    fn matches(scope: &Scope, bus: &str, kind: &str, channel: &str, sticky: bool) -> bool {
        scope.matches(&Subject {
            bus: &bus.parse().unwrap(),
            channel,
            kind,
            source: "https://s.example/",
            sticky,
            message_url: None,
        })
    }

    proptest! {
        #[test]
        fn a_privileged_scope_stays_within_the_grant(
            granted in proptest::sample::subsequence(vec!["a", "b", "c"], 0..=3),
            requested in any_scope(),
        ) {
            // Rule: backplane §8.3 — only buses need authorisation, and every one of them has it
            let granted = buses(&granted.join(" "));
            if let Ok(scope) = privileged(&granted, &requested) {
                prop_assert!(scope.has(Field::Bus));
                prop_assert!(scope.buses().all(|bus| granted.contains(&bus)));
            }
        }

        #[test]
        fn a_refreshed_scope_matches_nothing_new(
            old in any_scope(), requested in any_scope(),
            bus in "[a-c]", kind in "[x-z]", channel in "[k-m]", sticky: bool,
        ) {
            if let Ok(new) = refreshed(&old, &requested) {
                prop_assert!(!matches(&new, &bus, &kind, &channel, sticky) || matches(&old, &bus, &kind, &channel, sticky));
            }
            let whole = anonymous(&old.clone().without(Field::Bus).without(Field::Channel), Some(&"a".parse().unwrap()), &"k".parse().unwrap()).unwrap();
            if let Ok(new) = anonymous_refreshed(&whole, &requested) {
                prop_assert!(!matches(&new, &bus, &kind, &channel, sticky) || matches(&whole, &bus, &kind, &channel, sticky));
                prop_assert!(new.to_string().ends_with("bus:a channel:k"));
            }
        }
    }
}
