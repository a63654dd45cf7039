//! Payloads: JSON text that is validated once and then only carried.
//!
//! Never here: a parsed JSON tree. Numbers keep every digit because nobody reads them.

use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;

/// The payload of a message: one JSON value other than `null`, as its poster wrote it.
///
/// Cheap to clone; the bytes are shared. `Debug` shows the length only, since payloads are personal.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

/// Why bytes are not a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not one JSON text in UTF-8, or nested deeper than 127 levels.
    #[error("the payload is not JSON")]
    NotJson,
    /// The JSON value `null`.
    #[error("the payload is null")]
    Null,
}

impl Payload {
    /// Checks that `text` is one JSON value and keeps it, without surrounding white space.
    ///
    /// # Errors
    ///
    /// [`PayloadError::NotJson`] and [`PayloadError::Null`] (Backplane §6.1, §7.1).
    pub fn parse(text: &Bytes) -> Result<Self, PayloadError> {
        let value: &RawValue = serde_json::from_slice(text).map_err(|_| PayloadError::NotJson)?;
        match value.get() {
            "null" => Err(PayloadError::Null),
            json => Ok(Self(text.slice_ref(json.as_bytes()))),
        }
    }

    /// Keeps a value that serde_json already split off.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Null`].
    pub fn from_raw(value: &RawValue) -> Result<Self, PayloadError> {
        match value.get() {
            "null" => Err(PayloadError::Null),
            json => Ok(Self(Bytes::copy_from_slice(json.as_bytes()))),
        }
    }

    /// Takes bytes that [`as_bytes`](Self::as_bytes) gave to a store, without looking at them again.
    pub const fn from_stored(json: Bytes) -> Self {
        Self(json)
    }

    /// The JSON text.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The JSON text as a string.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Its length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a JSON value is never empty")]
    pub const fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Result<Payload, PayloadError> {
        Payload::parse(&Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn json_is_kept_to_the_letter() {
        // Rule: backplane §6.1 — any JSON value except null, numbers keep their precision
        for text in [r#"{"a": 1.00000000000000000001, "b":[ ]}"#, "0", "\"x\"", "false", "1e400"] {
            assert_eq!(parse(text).unwrap().as_str(), text);
        }
        assert_eq!(parse(" \n[1, 2] ").unwrap().as_str(), "[1, 2]");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "{", "{}{}", "nul", "'a'", "{\"a\":01}"] {
            assert_eq!(parse(text), Err(PayloadError::NotJson), "{text}");
        }
        assert_eq!(parse(" null "), Err(PayloadError::Null));
        let deep = Bytes::from("[".repeat(100_000));
        assert_eq!(Payload::parse(&deep), Err(PayloadError::NotJson));
        assert_eq!(Payload::parse(&Bytes::from_static(b"\"\xff\"")), Err(PayloadError::NotJson));
    }
}
