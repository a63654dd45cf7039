//! JSON from outside, taken apart without building a tree, and JSON strings to the outside.
//!
//! Values stay text ([`RawValue`]), so that a payload keeps every digit (Backplane §17).

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// How deep a request body may be nested (Backplane §3.4).
const DEPTH_MAX: usize = 64;

/// Whether brackets outside of strings are nested deeper than 64. What is not JSON may give any
/// answer; the parser refuses it.
pub(crate) fn is_too_deep(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// The members of a JSON object in the order in which they were sent, values as text.
#[derive(Debug)]
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object; `None` if `json` is another value or not JSON.
    pub(crate) fn parse(json: &'a RawValue) -> Option<Self> {
        serde_json::from_str(json.get()).ok()
    }

    /// The value of `name`; `None` if there is none.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    /// The value of `name` as a string; `None` if there is none or it is another value.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// Names and values, in the order in which they were sent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A name that occurs twice; `None` if none does.
    pub(crate) fn repeated(&self) -> Option<&str> {
        let is_earlier = |at: usize, name: &str| self.0.iter().take(at).any(|(n, _)| n == name);
        // Quadratic, so only as far as objects with rules go: the first 64 members.
        self.names().take(64).enumerate().find(|(at, name)| is_earlier(*at, name)).map(|(_, n)| n)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to memory can't fail; were it to, nothing would have been appended.
    let start = out.len();
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"\"\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        // Rule: backplane §3.4 — nesting deeper than 64 is refused
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_too_deep(nested(64).as_bytes()));
        assert!(is_too_deep(nested(65).as_bytes()));
        assert!(!is_too_deep(format!("{{\"a\\\"{}\":1}}", "[".repeat(100)).as_bytes()));
        assert!(!is_too_deep("[]".repeat(100).as_bytes()));
    }

    #[test]
    fn members_keep_order_and_text() {
        let raw: &RawValue = serde_json::from_str(r#"{"b": 1.0, "a":"x\u0041", "b":2}"#).unwrap();
        let members = Members::parse(raw).unwrap();
        assert_eq!(members.names().collect::<Vec<_>>(), ["b", "a", "b"]);
        assert_eq!(members.get("b").unwrap().get(), "1.0");
        assert_eq!(members.text("a").as_deref(), Some("xA"));
        assert_eq!(members.text("b"), None);
        assert_eq!(members.repeated(), Some("b"));
        assert!(Members::parse(serde_json::from_str("[]").unwrap()).is_none());
    }

    #[test]
    fn strings_are_escaped() {
        let mut out = Vec::new();
        push_string(&mut out, "a\"\\\n\u{1}é");
        assert_eq!(out, "\"a\\\"\\\\\\n\\u0001é\"".as_bytes());
    }
}
