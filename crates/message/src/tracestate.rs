//! What other systems keep of a trace, after W3C Trace Context §3.3: `tracestate`.
//!
//! Nothing is read out of it and nothing is put in: it is passed on with its trace. Never here: the
//! trace itself.

use std::{fmt, sync::Arc};

/// A W3C `tracestate`: 1 to 32 members `key=value`, separated by commas, at most 512 bytes. Cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// The name of the HTTP header and of the gRPC metadata.
    pub const HEADER: &str = "tracestate";
    /// The most bytes that are kept. Trace Context asks for at least that.
    pub const BYTES_MAX: usize = 512;
    /// The most members of a list; a longer one is malformed.
    pub const MEMBERS_MAX: usize = 32;
    /// Members longer than that go first if a list is too long.
    const LONG_MEMBER_BYTES: usize = 128;

    /// Reads the values of the header in a request, as one list. `None` if there is no member, or if
    /// one is malformed, occurs twice, or is one too many: then nothing of it is passed on (§4.3). What
    /// is longer than [`BYTES_MAX`](Self::BYTES_MAX) loses members as §3.3.1.5 says: first those of more
    /// than 128 bytes, then the last ones, each whole.
    pub fn received<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut members: Vec<(&str, &str)> = Vec::new();
        for value in values {
            for member in std::str::from_utf8(value).ok()?.split(',') {
                let member = member.trim_matches([' ', '\t']);
                if member.is_empty() {
                    continue;
                }
                let (key, value) = member.split_once('=')?;
                let is_new = members.iter().all(|(known, _)| *known != key);
                if !is_new || !is_key(key) || !is_value(value) || members.len() == Self::MEMBERS_MAX
                {
                    return None;
                }
                members.push((key, value));
            }
        }
        Self::bounded(members.iter().map(|(key, value)| format!("{key}={value}")).collect())
    }

    /// The list of these members, as far as it has room.
    fn bounded(mut members: Vec<String>) -> Option<Self> {
        let length = |members: &[String]| {
            members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1)
        };
        if length(&members) > Self::BYTES_MAX {
            members.retain(|member| member.len() <= Self::LONG_MEMBER_BYTES);
        }
        while length(&members) > Self::BYTES_MAX {
            members.pop();
        }
        (!members.is_empty()).then(|| Self(members.join(",").into()))
    }

    /// The list as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Trace Context level 2, §3.3.1.3.1; the keys of level 1 are among them.
fn is_key(key: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_other = |byte: u8| is_first(byte) || b"_-*/@".contains(&byte);
    let mut bytes = key.bytes();
    key.len() <= 256 && bytes.next().is_some_and(is_first) && bytes.all(is_other)
}

/// 1 to 256 printable characters without comma and equals sign; the last is no space (§3.3.1.3.2).
fn is_value(value: &str) -> bool {
    let is_inner = |byte: u8| (0x20..=0x7e).contains(&byte) && !b",=".contains(&byte);
    (1..=256).contains(&value.len()) && value.bytes().all(is_inner) && !value.ends_with(' ')
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        let state = TraceState::received(values.iter().map(|value| value.as_bytes()));
        state.map(|state| state.as_str().to_owned())
    }

    #[test]
    fn a_list_is_kept_in_its_order_without_what_is_empty() {
        let kept = |text: &str| Some(text.to_owned());
        assert_eq!(read(&["rojo=00f0,congo=t61rcWkgMzE"]), kept("rojo=00f0,congo=t61rcWkgMzE"));
        assert_eq!(read(&["a=1 ,\t b=2,,", "", "1c@d=x y"]), kept("a=1,b=2,1c@d=x y"));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["", " , "]), None);
    }

    #[test]
    fn a_malformed_list_is_dropped_whole() {
        for bad in ["a", "=1", "a=", "A=1", "a b=1", "a=1=2", "a=ü", "_a=1", "a=1,a=2", "a=\u{7f}"]
        {
            assert_eq!(read(&["ok=1", bad]), None, "{bad}");
        }
        assert_eq!(TraceState::received([&b"a=\xff"[..]]), None);
        let members: Vec<_> = (0..33).map(|n| format!("k{n}=1")).collect();
        assert_eq!(read(&[&members[..32].join(",")]), Some(members[..32].join(",")));
        assert_eq!(read(&[&members.join(",")]), None);
        assert_eq!(read(&[&format!("{}=1", "k".repeat(257))]), None);
        assert_eq!(read(&[&format!("a={}", "v".repeat(257))]), None);
    }

    #[test]
    fn a_list_that_is_too_long_loses_long_members_and_then_the_last_ones() {
        let long = format!("long={}", "v".repeat(200));
        let short: Vec<_> = (0..5).map(|n| format!("k{n}={}", "v".repeat(100))).collect();
        let list = format!("{},{long},{}", short[0], short[1..].join(","));
        assert_eq!(read(&[&list]), Some(short[..4].join(",")));
        let fits = format!("{long},a=1");
        assert_eq!(read(&[&fits]), Some(fits));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_within_its_bounds_and_read_again_as_it_is(text in "([a-c0-9@=, ]|\\PC){0,600}") {
            if let Some(kept) = read(&[&text]) {
                prop_assert!(kept.len() <= TraceState::BYTES_MAX);
                prop_assert_eq!(read(&[&kept]), Some(kept));
            }
        }
    }
}
