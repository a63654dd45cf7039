//! Padded answers, JSONP (Backplane §3.5).

use bytes::Bytes;

use crate::config::PaddingPrefix;

const LENGTH_MAX: usize = 128;

/// The name of the function that a padded answer calls: identifiers joined by dots, at most 128
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Callback(Box<str>);

/// A `callback` parameter that is not such a name. It is never repeated in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedCallback;

impl Callback {
    /// Reads the `callback` parameter; a blank one counts as absent.
    pub(crate) fn from_param(value: Option<&str>) -> Result<Option<Self>, MalformedCallback> {
        let Some(text) = value.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
        if text.len() <= LENGTH_MAX && text.split('.').all(is_identifier) {
            Ok(Some(Self(text.into())))
        } else {
            Err(MalformedCallback)
        }
    }

    /// The body that calls the function with `json`.
    ///
    /// `<`, U+2028 and U+2029 are written as escapes, so that the body is the same JSON but can
    /// neither end a script element nor a line of an old JavaScript. They occur in JSON only inside
    /// of strings.
    pub(crate) fn pad(&self, json: &[u8], prefix: PaddingPrefix) -> Bytes {
        let prefix: &[u8] = match prefix {
            PaddingPrefix::None => b"",
            PaddingPrefix::Comment => b"/**/",
        };
        let mut body = Vec::with_capacity(prefix.len() + self.0.len() + json.len() + 3);
        body.extend_from_slice(prefix);
        body.extend_from_slice(self.0.as_bytes());
        body.push(b'(');
        extend_escaped(&mut body, json);
        body.extend_from_slice(b");");
        body.into()
    }
}

fn is_identifier(text: &str) -> bool {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$';
    text.bytes().next().is_some_and(is_start)
        && text.bytes().all(|byte| is_start(byte) || byte.is_ascii_digit())
}

fn extend_escaped(body: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|&byte| byte == b'<' || byte == 0xe2) {
        let (plain, from) = rest.split_at(at);
        body.extend_from_slice(plain);
        let (escape, length): (&[u8], usize) = match from {
            [b'<', ..] => (b"\\u003c", 1),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            _ => (b"\xe2", 1),
        };
        body.extend_from_slice(escape);
        rest = from.get(length..).unwrap_or_default();
    }
    body.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Option<Callback>, MalformedCallback> {
        Callback::from_param(Some(text))
    }

    #[test]
    fn callbacks_of_section_19_2() {
        // Rule: backplane §19.2 — a callback is identifiers joined by dots, at most 128 characters
        // Rule: backplane §16 row 2 — a callback is dotted identifiers, at most 128 characters
        // Rule: backplane §17 row 5 — a callback has a strict pattern and length
        for text in ["f", "Backplane.response", "Backplane.call_back", "a1.b2._c", "$cb"] {
            assert!(parse(text).unwrap().is_some(), "{text}");
        }
        assert!(parse(&"a".repeat(128)).is_ok());
        for text in [
            "a(b)",
            "a;b",
            "alert(1)//",
            "a-b",
            "a b",
            "a..b",
            ".a",
            "a.",
            "1a",
            "<x>",
            &"a".repeat(129),
        ] {
            assert_eq!(parse(text), Err(MalformedCallback), "{text}");
        }
        for text in ["", "  "] {
            assert_eq!(parse(text), Ok(None), "{text:?}");
        }
        assert_eq!(Callback::from_param(None), Ok(None));
    }

    #[test]
    fn a_padded_body_has_nothing_around_it() {
        // Rule: backplane §3.5 — callback(JSON); with nothing before or after it
        // Rule: backplane §16 row 1 — the padding ends with );, a prefix is optional
        let f = parse("f").unwrap().unwrap();
        assert_eq!(f.pad(b"[]", PaddingPrefix::None), "f([]);");
        assert_eq!(f.pad(b"[]", PaddingPrefix::Comment), "/**/f([]);");
        // Rule: backplane §19.9 — < and the line separators are escaped in padded bodies
        // Rule: backplane §17 row 6 — what could end a script is escaped
        let json = "[\"a</script>\u{2028}b\u{2029}\u{2020}é\"]";
        assert_eq!(
            f.pad(json.as_bytes(), PaddingPrefix::None),
            "f([\"a\\u003c/script>\\u2028b\\u2029\u{2020}é\"]);"
        );
    }

    proptest! {
        #[test]
        fn padding_keeps_the_value(text in "\\PC{0,40}", odd in "[<\u{2028}\u{2029}\u{20ac}x]{0,20}") {
            // Rule: backplane §3.5 — a padded body holds the same JSON value
            let value = serde_json::json!({ "text": text, "odd": odd });
            let body = parse("f.g").unwrap().unwrap().pad(value.to_string().as_bytes(), PaddingPrefix::None);
            let body = std::str::from_utf8(&body).unwrap();
            let has_escaped = body.contains(['<', '\u{2028}', '\u{2029}']);
            prop_assert!(!has_escaped);
            let inner = body.strip_prefix("f.g(").unwrap().strip_suffix(");").unwrap();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(inner).unwrap(), value);
        }

        #[test]
        fn any_callback_is_taken_or_refused(text in "\\PC{0,140}") {
            if let Ok(Some(callback)) = parse(&text) {
                prop_assert!(callback.0.bytes().all(|b| b.is_ascii_alphanumeric() || b"_$.".contains(&b)));
            }
        }
    }
}
