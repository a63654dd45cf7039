//! What applications say to each other over Backplane (§15): builders, readers and validators.
//!
//! Optional: a server treats types and payloads as opaque, and nothing else in this crate looks into
//! them. What is read may hold members that nobody here knows; they are kept and written again.
//!
//! Never here: I/O, or a refusal of what is only unknown.

pub mod activity;
pub mod identity;

use serde_json::{Map, Value};

/// A member that must be a string that is not empty.
fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}
