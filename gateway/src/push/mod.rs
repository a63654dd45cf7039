//! What the gateway keeps so that buses and push endpoints find each other.
//!
//! | module | holds |
//! |---|---|
//! | `inbound` | endpoints at which a PUT becomes a message |
//! | `subscriptions` | which endpoints are told of the messages of a scope |
//!
//! Both are records in the store, made under a capability or by an administrator. Never here: calling
//! a door; sinks and operations do.

pub(crate) mod inbound;
pub(crate) mod subscriptions;

use std::fmt::Write as _;

use buswire_message::SecretHash;

/// The part of a hash that names something in a key: 128 bits.
type Name = [u8; 16];

/// The name of a text in keys.
fn name_of(text: &str) -> Name {
    SecretHash::of(text).as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// Undoes [`hex`]; `None` for any other text.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.len().is_multiple_of(2)
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    if digits { (0..text.len()).step_by(2).map(byte).collect() } else { None }
}
