//! The id of a request: what its client holds, and what is stored of it.
//!
//! Never here: a source of randomness; printing an id anywhere but in a frame.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Hexadecimal digits of an id: 128 bits.
const DIGITS: usize = 32;

/// What names a request to its client: whoever holds it reads the reply, so it never shows in
/// `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestId([u8; DIGITS / 2]);

impl RequestId {
    /// Makes an id of bytes that nobody can predict.
    pub(super) const fn new(random: [u8; DIGITS / 2]) -> Self {
        Self(random)
    }

    /// Parses exactly 32 hexadecimal digits, of either case.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        if frame.len() != DIGITS {
            return None;
        }
        let mut id = [0; DIGITS / 2];
        for (byte, digits) in id.iter_mut().zip(frame.chunks_exact(2)) {
            for digit in digits {
                let value = char::from(*digit).to_digit(16)?;
                *byte = *byte << 4 | u8::try_from(value).ok()?;
            }
        }
        Some(Self(id))
    }

    /// Returns the 32 upper-case digits.
    pub(super) fn to_frame(self) -> Bytes {
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        let digits = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        Bytes::from(digits.collect::<String>().to_ascii_uppercase())
    }

    /// Returns what it is stored under.
    pub(super) fn key(self) -> RecordKey {
        RecordKey(Sha256::digest(self.0).into())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RequestId(…)")
    }
}

/// What a record is stored under: the SHA-256 of its id, so that a look at the storage reveals no
/// id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey([u8; 32]);

impl RecordKey {
    /// Takes the bytes that [`as_bytes`](Self::as_bytes) gave.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RecordKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_exactly_32_hexadecimal_digits() {
        // Rule: mdp §17 — a UUID is exactly 32 hexadecimal digits, of either case, without dashes
        let upper = RequestId::parse(b"7C2E91B0A54D4F0C8E3B6A19D2F05E77").unwrap();
        assert_eq!(RequestId::parse(b"7c2e91b0a54d4f0c8e3b6a19d2f05e77"), Some(upper));
        assert_eq!(RequestId::parse(b"7C2E91B0A54D4F0C8E3B6a19d2f05e77"), Some(upper));
        assert_eq!(upper.to_frame(), "7C2E91B0A54D4F0C8E3B6A19D2F05E77");
        assert_eq!(RequestId::new([0xA5; 16]).to_frame(), "A5".repeat(16));
        let malformed: [&[u8]; 8] = [
            b"",
            b"../../x",
            b"7C2E91B0A54D4F0C8E3B6A19D2F05E7",
            b"7C2E91B0A54D4F0C8E3B6A19D2F05E777",
            b"7C2E91B0-A54D-4F0C-8E3B-6A19D2F05E77",
            b"7C2E91B0A54D4F0C8E3B6A19D2F05E7G",
            b"+C2E91B0A54D4F0C8E3B6A19D2F05E77",
            b"7C2E91B0A54D4F0C8E3B6A19D2F05E\xC3\xA9",
        ];
        for frame in malformed {
            assert_eq!(RequestId::parse(frame), None, "{frame:?}");
        }
    }

    #[test]
    fn neither_form_prints() {
        let id = RequestId::new([7; 16]);
        assert_eq!(format!("{id:?} {:?}", id.key()), "RequestId(…) RecordKey(…)");
        assert_ne!(id.key(), RequestId::new([8; 16]).key());
    }
}
