//! Where an invocation came from, and the text of what it was given.
//!
//! Never here: a reason to allow or refuse anything.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use buswire_message::{Door, TraceParent};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Where an invocation came from. Cheap to clone.
#[derive(Clone)]
pub struct Origin {
    door: Door,
    traceparent: Option<TraceParent>,
    text: Option<Text>,
}

/// An argument as it was sent: what the value of the invocation was read from.
#[derive(Clone)]
enum Text {
    /// `{"value":V}` (Belay §4.3).
    Wrapped(Bytes),
    /// `V` alone.
    Bare(Bytes),
}

impl Origin {
    /// An invocation through a door, in no trace.
    pub const fn new(door: Door) -> Self {
        Self { door, traceparent: None, text: None }
    }

    /// The same, as a part of a trace.
    #[must_use]
    pub fn traced(self, traceparent: Option<TraceParent>) -> Self {
        Self { traceparent, ..self }
    }

    /// The same, where the argument was read from the text of its value, without `{"value": …}`. It must
    /// be exactly what it was read from: operations take parts of it as they are.
    #[must_use]
    pub fn with_text(self, text: Bytes) -> Self {
        Self { text: Some(Text::Bare(text)), ..self }
    }

    /// The same, where the argument was read from a whole bcapJson text.
    pub(crate) fn with_body(self, body: Bytes) -> Self {
        Self { text: Some(Text::Wrapped(body)), ..self }
    }

    /// The same for what is invoked within: its argument is another.
    pub(crate) fn within(&self) -> Self {
        Self { door: self.door, traceparent: self.traceparent.clone(), text: None }
    }

    /// The door that it came in by.
    pub const fn door(&self) -> Door {
        self.door
    }

    /// Its place in a trace.
    pub const fn traceparent(&self) -> Option<&TraceParent> {
        self.traceparent.as_ref()
    }

    /// The text of a member of the argument as it was sent, with the spelling of its numbers and the order
    /// of its members, sharing the bytes that came. `None` if there is no such member, or the argument did
    /// not come as text. It says what the argument says, and may hold capabilities where that does.
    pub fn member_text(&self, name: &str) -> Option<Bytes> {
        let (all, value) = match self.text.as_ref()? {
            Text::Wrapped(body) => (body, member(std::str::from_utf8(body).ok()?, "value")?.get()),
            Text::Bare(text) => (text, std::str::from_utf8(text).ok()?),
        };
        Some(all.slice_ref(member(value, name)?.get().as_bytes()))
    }
}

/// A member of an object that is known to have each once.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut members: BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(object).ok()?;
    members.remove(name)
}

impl fmt::Debug for Origin {
    /// Leaves out the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("door", &self.door)
            .field("traceparent", &self.traceparent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_part_of_what_was_sent() {
        let origin = Origin::new(Door::Belay);
        assert_eq!(origin.member_text("a"), None);
        let body =
            Bytes::from_static(br#" {"x":[], "value" : {"b":1, "a" : {"z":1.0e1,"y": -0} } }"#);
        let part = origin.clone().with_body(body.clone()).member_text("a").unwrap();
        assert_eq!(&*part, br#"{"z":1.0e1,"y": -0}"#);
        assert!(body.as_ptr_range().contains(&part.as_ptr()), "shared, not copied");
        let bare = origin.with_text(Bytes::from_static(br#"{"a":1.10}"#));
        assert_eq!(bare.member_text("a").as_deref(), Some(&b"1.10"[..]));
        assert_eq!((bare.member_text("b"), bare.within().member_text("a")), (None, None));
        assert!(!format!("{bare:?}").contains("1.10"));
    }
}
