//! bcapJson to text (Belay §4.2).
//!
//! Never here: bounds on the length of the text; whoever sends it has them.

use crate::wire::{
    WireLimits,
    value::{BcapValue, CAP_MEMBER, Members},
};

/// Why a value has no text that the receiver would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// An object has a member `@` (Belay §4.1, §4.4).
    #[error("forged reference")]
    ForgedReference,
    /// Nested deeper than [`WireLimits::depth_max`].
    #[error("nested too deeply")]
    TooDeep,
    /// More capabilities than [`WireLimits::caps_max`].
    #[error("too many capabilities")]
    TooManyCaps,
}

/// Writes a value as `{"value":V}`; no data is the empty text.
///
/// # Errors
///
/// [`EncodeError`].
pub fn encode(value: Option<&BcapValue>, limits: WireLimits) -> Result<String, EncodeError> {
    let Some(value) = value else { return Ok(String::new()) };
    let mut encoder = Encoder::new(limits);
    encoder.out.push_str("{\"value\":");
    encoder.value(value, 0)?;
    encoder.out.push('}');
    Ok(encoder.out)
}

/// Writes a value without the wrapper, as it is kept in a store.
///
/// # Errors
///
/// [`EncodeError`].
pub fn encode_bare(value: &BcapValue, limits: WireLimits) -> Result<String, EncodeError> {
    let mut encoder = Encoder::new(limits);
    encoder.value(value, 0)?;
    Ok(encoder.out)
}

struct Encoder {
    out: String,
    caps_left: usize,
    depth_max: usize,
}

impl Encoder {
    fn new(limits: WireLimits) -> Self {
        Self { out: String::new(), caps_left: limits.caps_max, depth_max: limits.depth() }
    }

    fn value(&mut self, value: &BcapValue, depth: usize) -> Result<(), EncodeError> {
        match value {
            BcapValue::Null => self.out.push_str("null"),
            BcapValue::Bool(true) => self.out.push_str("true"),
            BcapValue::Bool(false) => self.out.push_str("false"),
            // JavaScript writes minus zero as 0 (Belay §4.1).
            BcapValue::Number(number) if number.as_f64() == Some(0.0) => self.out.push('0'),
            BcapValue::Number(number) => self.out.push_str(&number.to_string()),
            BcapValue::String(text) => self.string(text),
            BcapValue::Array(items) => {
                let depth = self.deeper(depth)?;
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.separate(index);
                    self.value(item, depth)?;
                }
                self.out.push(']');
            }
            BcapValue::Object(members) => self.object(members, depth)?,
            BcapValue::Cap(cap) => {
                self.deeper(depth)?;
                self.caps_left = self.caps_left.checked_sub(1).ok_or(EncodeError::TooManyCaps)?;
                self.out.push_str("{\"@\":");
                self.string(cap.expose());
                self.out.push('}');
            }
        }
        Ok(())
    }

    fn object(&mut self, members: &Members, depth: usize) -> Result<(), EncodeError> {
        let depth = self.deeper(depth)?;
        self.out.push('{');
        for (index, (name, value)) in members.iter().enumerate() {
            if name == CAP_MEMBER {
                return Err(EncodeError::ForgedReference);
            }
            self.separate(index);
            self.string(name);
            self.out.push(':');
            self.value(value, depth)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn deeper(&self, depth: usize) -> Result<usize, EncodeError> {
        if depth < self.depth_max { Ok(depth + 1) } else { Err(EncodeError::TooDeep) }
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.out.push(',');
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push_str(&serde_json::Value::from(text).to_string());
    }
}
