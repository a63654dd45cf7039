//! Parameters of query strings and form bodies, and percent-decoding of path segments.

use std::borrow::Cow;

use url::form_urlencoded;

/// The most parameters that are read; further ones are ignored.
const PARAMS_MAX: usize = 64;

/// Decoded parameters in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Params<'a> {
    /// Reads `name=value&…`; what is not UTF-8 after decoding is replaced.
    pub(crate) fn parse(text: &'a [u8]) -> Self {
        Self(form_urlencoded::parse(text).take(PARAMS_MAX).collect())
    }

    /// The first value of `name`, blank or not.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
    }

    /// The first value of `name`; an empty or blank one counts as absent.
    pub(crate) fn non_blank(&self, name: &str) -> Option<&str> {
        self.first(name).filter(|value| !value.trim().is_empty())
    }
}

/// Decodes one path segment; `None` if it is not UTF-8 afterwards. A broken escape stays as it is.
pub(crate) fn decode_segment(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| h * 16 + l),
            _ => None,
        };
        decoded.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_once() {
        let params = Params::parse(b"a=x%3Ay+z&b=&c&a=2&d=%2541");
        assert_eq!(params.first("a"), Some("x:y z"));
        assert_eq!(params.first("b"), Some(""));
        assert_eq!(params.non_blank("b"), None);
        assert_eq!(params.non_blank("c"), None);
        assert_eq!(params.first("d"), Some("%41"));
        assert_eq!(params.first("e"), None);
    }

    #[test]
    fn segments_are_decoded_once() {
        let cases = [
            ("a.example", Some("a.example")),
            ("14%3A05", Some("14:05")),
            ("a%2Fb", Some("a/b")),
            ("100%", Some("100%")),
            ("%zz%4", Some("%zz%4")),
            ("%2541", Some("%41")),
            ("a+b", Some("a+b")),
            ("%ff", None),
        ];
        for (segment, decoded) in cases {
            assert_eq!(decode_segment(segment).as_deref(), decoded, "{segment}");
        }
    }
}
