//! The data model of bcapJson: JSON whose leaves may be capabilities (Belay §4.1).
//!
//! Never here: text; see `decode` and `encode`.

use serde_json::{Number, Value};

use crate::wire::bcap::Bcap;

/// JSON that may hold capabilities.
///
/// `Debug` shows the data but no capability; data is payload and belongs in no log line either.
#[derive(Clone, Debug, PartialEq)]
pub enum BcapValue {
    /// `null`, which is data.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A JSON number; beyond 2^53 a browser loses digits (Belay §4.3).
    Number(Number),
    /// A string, never a capability.
    String(String),
    /// An array.
    Array(Vec<BcapValue>),
    /// An object, its members in the order of the text.
    Object(Members),
    /// A capability.
    Cap(Bcap),
}

/// The members of an object: names are unique and keep the order in which they came.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Members(Vec<(String, BcapValue)>);

/// An object that has a member `@` is no data: a receiver would make a capability of it
/// (Belay §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("forged reference")]
pub struct ForgedReference;

/// The value holds a capability where plain JSON is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a capability is not plain JSON")]
pub struct HasCapability;

/// The member whose presence makes an object a capability.
pub(crate) const CAP_MEMBER: &str = "@";

impl Members {
    /// No members.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes members in order; `None` if two have the same name.
    pub(crate) fn unique(members: Vec<(String, BcapValue)>) -> Option<Self> {
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let repeated = names.windows(2).any(|pair| pair.first() == pair.last());
        (!repeated).then_some(Self(members))
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&BcapValue> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Sets a member, in its place if there is one of that name, at the end otherwise.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<BcapValue>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(own, _)| *own == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// The same members with one more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<BcapValue>) -> Self {
        self.set(name, value);
        self
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BcapValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Members {
    type Item = (String, BcapValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl BcapValue {
    /// Takes plain JSON.
    ///
    /// # Errors
    ///
    /// [`ForgedReference`] if an object in it has a member `@`.
    pub fn from_json(json: Value) -> Result<Self, ForgedReference> {
        Ok(match json {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(value) => Self::Number(value),
            Value::String(value) => Self::String(value),
            Value::Array(items) => {
                Self::Array(items.into_iter().map(Self::from_json).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| {
                    if name == CAP_MEMBER {
                        return Err(ForgedReference);
                    }
                    Ok((name, Self::from_json(value)?))
                });
                Self::Object(Members(members.collect::<Result<_, _>>()?))
            }
        })
    }

    /// The same value as plain JSON.
    ///
    /// # Errors
    ///
    /// [`HasCapability`] if it holds a capability.
    pub fn to_json(&self) -> Result<Value, HasCapability> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(value.clone()),
            Self::String(value) => Value::String(value.clone()),
            Self::Array(items) => {
                Value::Array(items.iter().map(Self::to_json).collect::<Result<_, _>>()?)
            }
            Self::Object(members) => {
                let members =
                    members.iter().map(|(name, value)| Ok((name.to_owned(), value.to_json()?)));
                Value::Object(members.collect::<Result<_, _>>()?)
            }
            Self::Cap(_) => return Err(HasCapability),
        })
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is a whole one that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// The items, if it is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub const fn as_object(&self) -> Option<&Members> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The capability, if it is one.
    pub const fn as_cap(&self) -> Option<&Bcap> {
        match self {
            Self::Cap(cap) => Some(cap),
            _ => None,
        }
    }
}

impl From<bool> for BcapValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for BcapValue {
    fn from(value: u64) -> Self {
        Self::Number(value.into())
    }
}

impl From<&str> for BcapValue {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<String> for BcapValue {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

impl From<Vec<Self>> for BcapValue {
    fn from(items: Vec<Self>) -> Self {
        Self::Array(items)
    }
}

impl From<Members> for BcapValue {
    fn from(members: Members) -> Self {
        Self::Object(members)
    }
}

impl From<Bcap> for BcapValue {
    fn from(cap: Bcap) -> Self {
        Self::Cap(cap)
    }
}

impl<T: Into<Self>> From<Option<T>> for BcapValue {
    /// `None` is `null`.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_json_goes_both_ways() {
        let json = json!({"a": [1, 2.5, true, null], "b": {"c": "d"}});
        assert_eq!(BcapValue::from_json(json.clone()).unwrap().to_json(), Ok(json));
    }

    #[test]
    fn a_forged_reference_is_no_data() {
        // Rule: belay 4.4 — data that a receiver would take for a capability is refused
        assert_eq!(BcapValue::from_json(json!([{"@": "x"}])), Err(ForgedReference));
        assert_eq!(BcapValue::from_json(json!({"@": 5, "a": 1})), Err(ForgedReference));
        assert_eq!(BcapValue::Cap(Bcap::restore("x")).to_json(), Err(HasCapability));
    }

    #[test]
    fn debug_shows_no_capability() {
        let value =
            BcapValue::from(Members::new().with("c", Bcap::restore("https://a/cap/s3cret")));
        assert!(!format!("{value:?}").contains("s3cret"));
    }

    #[test]
    fn names_are_unique() {
        let pair = |name: &str| (name.to_owned(), BcapValue::Null);
        assert!(Members::unique(vec![pair("a"), pair("b"), pair("a")]).is_none());
        assert!(Members::unique(vec![pair("b"), pair("a")]).is_some());
        let members = Members::new().with("a", 1).with("a", 2);
        assert_eq!((members.len(), members.get("a").unwrap().as_u64()), (1, Some(2)));
    }
}
