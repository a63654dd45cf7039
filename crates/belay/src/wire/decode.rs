//! Text to bcapJson (Belay §4.3).
//!
//! Strict where a lenient reader could be made to see a capability that the writer did not mean: `@`
//! with other members, with anything but a string, or twice, is malformed. Never here: bounds on the
//! length of the text; whoever receives it has them.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::wire::{
    WireLimits,
    bcap::Bcap,
    value::{BcapValue, CAP_MEMBER, Members},
};

/// Why a text is no bcapJson.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text is not JSON in UTF-8.
    #[error("not JSON")]
    Syntax,
    /// The top level is not an object.
    #[error("the top level is not an object")]
    NotAnObject,
    /// The top level has no member `value`.
    #[error("there is no member \"value\"")]
    NoValue,
    /// An object has `@` beside other members, or with a value that is not a string.
    #[error("malformed reference")]
    MalformedReference,
    /// An object has two members of one name.
    #[error("two members have one name")]
    RepeatedMember,
    /// Nested deeper than [`WireLimits::depth_max`].
    #[error("nested too deeply")]
    TooDeep,
    /// More capabilities than [`WireLimits::caps_max`].
    #[error("too many capabilities")]
    TooManyCaps,
}

/// Reads `{"value":V}`; an empty text or one of white space alone is no data.
///
/// Members beside `value` are ignored (Belay §4.3).
///
/// # Errors
///
/// [`DecodeError`].
pub fn decode(text: &[u8], limits: WireLimits) -> Result<Option<BcapValue>, DecodeError> {
    let text = std::str::from_utf8(text).map_err(|_| DecodeError::Syntax)?;
    if text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
        return Ok(None);
    }
    let mut budget = Budget::new(limits);
    let read = read(text, Wrapper(&mut budget));
    budget.finish(read)?.ok_or(DecodeError::NoValue).map(Some)
}

/// Reads a value without the wrapper, as it is kept in a store.
///
/// # Errors
///
/// [`DecodeError`].
pub fn decode_bare(text: &str, limits: WireLimits) -> Result<BcapValue, DecodeError> {
    let mut budget = Budget::new(limits);
    let read = read(text, Node { budget: &mut budget, depth: 0 });
    budget.finish(read)
}

fn read<'t, S: DeserializeSeed<'t>>(text: &'t str, seed: S) -> serde_json::Result<S::Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

// What is left to spend, and the reason why reading stopped: the error of the JSON reader has text
// only.
struct Budget {
    depth_max: usize,
    caps_left: usize,
    failure: Option<DecodeError>,
}

impl Budget {
    fn new(limits: WireLimits) -> Self {
        Self { depth_max: limits.depth(), caps_left: limits.caps_max, failure: None }
    }

    fn fail<E: serde::de::Error>(&mut self, failure: DecodeError) -> E {
        self.failure = Some(failure);
        E::custom(failure)
    }

    fn finish<T>(self, read: serde_json::Result<T>) -> Result<T, DecodeError> {
        read.map_err(|error| match self.failure {
            Some(failure) => failure,
            // The only type that the visitors below ask for is the object at the top.
            None if error.is_data() => DecodeError::NotAnObject,
            None => DecodeError::Syntax,
        })
    }
}

struct Wrapper<'b>(&'b mut Budget);

impl<'t> DeserializeSeed<'t> for Wrapper<'_> {
    type Value = Option<BcapValue>;

    fn deserialize<D: serde::Deserializer<'t>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'t> Visitor<'t> for Wrapper<'_> {
    type Value = Option<BcapValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut value = None;
        while let Some(name) = members.next_key::<String>()? {
            if name != "value" {
                members.next_value::<IgnoredAny>()?;
            } else if value.is_some() {
                return Err(self.0.fail(DecodeError::RepeatedMember));
            } else {
                value = Some(members.next_value_seed(Node { budget: &mut *self.0, depth: 0 })?);
            }
        }
        Ok(value)
    }
}

struct Node<'b> {
    budget: &'b mut Budget,
    depth: usize,
}

impl Node<'_> {
    fn deeper<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.depth == self.budget.depth_max {
            return Err(self.budget.fail(DecodeError::TooDeep));
        }
        self.depth += 1;
        Ok(())
    }

    fn child(&mut self) -> Node<'_> {
        Node { budget: &mut *self.budget, depth: self.depth }
    }

    fn reference<'t, A: MapAccess<'t>>(self, mut members: A) -> Result<BcapValue, A::Error> {
        let text =
            members.next_value_seed(Node { budget: &mut *self.budget, depth: self.depth })?;
        let BcapValue::String(text) = text else {
            return Err(self.budget.fail(DecodeError::MalformedReference));
        };
        if members.next_key::<IgnoredAny>()?.is_some() {
            return Err(self.budget.fail(DecodeError::MalformedReference));
        }
        match self.budget.caps_left.checked_sub(1) {
            Some(left) => self.budget.caps_left = left,
            None => return Err(self.budget.fail(DecodeError::TooManyCaps)),
        }
        Ok(BcapValue::Cap(Bcap::restore(text)))
    }
}

impl<'t> DeserializeSeed<'t> for Node<'_> {
    type Value = BcapValue;

    fn deserialize<D: serde::Deserializer<'t>>(self, from: D) -> Result<BcapValue, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Node<'_> {
    type Value = BcapValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<BcapValue, E> {
        Ok(BcapValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<BcapValue, E> {
        Ok(BcapValue::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<BcapValue, E> {
        Ok(BcapValue::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<BcapValue, E> {
        Ok(BcapValue::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<BcapValue, E> {
        // JSON has no text for infinity, so the reader gives none; a custom error is a syntax error.
        Number::from_f64(value)
            .map(BcapValue::Number)
            .ok_or_else(|| self.budget.fail(DecodeError::Syntax))
    }

    fn visit_str<E>(self, value: &str) -> Result<BcapValue, E> {
        Ok(BcapValue::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<BcapValue, E> {
        Ok(BcapValue::String(value))
    }

    fn visit_seq<A: SeqAccess<'t>>(mut self, mut items: A) -> Result<BcapValue, A::Error> {
        self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.child())? {
            array.push(item);
        }
        Ok(BcapValue::Array(array))
    }

    fn visit_map<A: MapAccess<'t>>(mut self, mut members: A) -> Result<BcapValue, A::Error> {
        self.deeper()?;
        let mut object = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == CAP_MEMBER {
                if object.is_empty() {
                    return self.reference(members);
                }
                return Err(self.budget.fail(DecodeError::MalformedReference));
            }
            let value = members.next_value_seed(self.child())?;
            object.push((name, value));
        }
        match Members::unique(object) {
            Some(members) => Ok(BcapValue::Object(members)),
            None => Err(self.budget.fail(DecodeError::RepeatedMember)),
        }
    }
}
