//! How a route changes messages on their way: another type, another channel, chosen fields.
//!
//! There is no scripting: a mapping is a few rules, `type:NEW`, `channel:NEW` and
//! `field:NAME=POINTER`. With `field` rules the payload becomes an object of the named members, each
//! copied, digit for digit, from where its JSON Pointer (RFC 6901) leads; one that leads nowhere is
//! left out. Never here: a decision whether a message is delivered.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use buswire_bus::StoredMessage;
use buswire_message::{ChannelName, MessageType, Payload};
use bytes::Bytes;
use serde_json::value::RawValue;

/// The most `field` rules of one mapping.
pub const FIELDS_MAX: usize = 64;

/// What a route changes about messages. The default changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mapping {
    /// The type that messages get.
    pub kind: Option<MessageType>,
    /// The channel that messages get.
    pub channel: Option<ChannelName>,
    /// The members of the new payload, each with where it comes from; empty keeps the payload.
    pub fields: Vec<(String, JsonPointer)>,
}

/// A JSON Pointer (RFC 6901), such as `/order/lines/0`; the empty one is the whole value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer(Vec<String>);

/// Why a text is not a rule of a mapping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// None of the known rules.
    #[error("a rule is type:NEW, channel:NEW or field:NAME=POINTER, not {0}")]
    Rule(String),
    /// What it gives is not a name.
    #[error("{0}: not a name")]
    Name(String),
    /// The pointer is not one.
    #[error("{0}: a JSON Pointer is empty or begins with a slash, and ~ stands only before 0 or 1")]
    Pointer(String),
    /// Said twice.
    #[error("{0}: there is a rule for this already")]
    Twice(String),
    /// Too many.
    #[error("more than {FIELDS_MAX} fields")]
    TooMany,
}

/// A message can't be changed as the mapping says; it never will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("fields can't be chosen from a body that is not JSON")]
pub(crate) struct NotJson;

impl Mapping {
    /// Reads rules.
    ///
    /// # Errors
    ///
    /// Every problem, not only the first.
    pub fn parse<S: AsRef<str>>(rules: &[S]) -> Result<Self, Vec<MappingError>> {
        let mut mapping = Self::default();
        let add = |rule: &S| mapping.add(rule.as_ref()).err();
        let mut problems: Vec<_> = rules.iter().filter_map(add).collect();
        if mapping.fields.len() > FIELDS_MAX {
            problems.push(MappingError::TooMany);
        }
        if problems.is_empty() { Ok(mapping) } else { Err(problems) }
    }

    fn add(&mut self, rule: &str) -> Result<(), MappingError> {
        let twice = || MappingError::Twice(rule.to_owned());
        let name = || MappingError::Name(rule.to_owned());
        match rule.split_once(':') {
            Some(("type", kind)) => {
                let kind = kind.parse().map_err(|_| name())?;
                self.kind.replace(kind).map_or(Ok(()), |_| Err(twice()))
            }
            Some(("channel", channel)) => {
                let channel = channel.parse().map_err(|_| name())?;
                self.channel.replace(channel).map_or(Ok(()), |_| Err(twice()))
            }
            Some(("field", field)) => {
                let (member, pointer) = field.split_once('=').ok_or_else(name)?;
                if self.fields.iter().any(|(known, _)| known == member) {
                    return Err(twice());
                }
                let pointer = JsonPointer::parse(pointer);
                let pointer = pointer.ok_or_else(|| MappingError::Pointer(rule.to_owned()))?;
                self.fields.push((member.to_owned(), pointer));
                Ok(())
            }
            _ => Err(MappingError::Rule(rule.to_owned())),
        }
    }

    /// The rules that [`parse`](Self::parse) reads.
    pub fn rules(&self) -> Vec<String> {
        let kind = self.kind.iter().map(|kind| format!("type:{kind}"));
        let channel = self.channel.iter().map(|channel| format!("channel:{channel}"));
        let fields = self.fields.iter().map(|(name, pointer)| format!("field:{name}={pointer}"));
        kind.chain(channel).chain(fields).collect()
    }

    /// The message as the sink gets it.
    pub(crate) fn apply(
        &self,
        message: &Arc<StoredMessage>,
    ) -> Result<Arc<StoredMessage>, NotJson> {
        if *self == Self::default() {
            return Ok(Arc::clone(message));
        }
        let mut changed = (***message).clone();
        if !self.fields.is_empty() {
            if changed.headers.content_type.is_some() {
                return Err(NotJson);
            }
            changed.payload = self.choose(&changed.payload)?;
        }
        if let Some(kind) = &self.kind {
            changed.kind = kind.clone();
        }
        if let Some(channel) = &self.channel {
            changed.channel = channel.clone();
        }
        Ok(StoredMessage::detached(changed))
    }

    fn choose(&self, payload: &Payload) -> Result<Payload, NotJson> {
        let whole: &RawValue = serde_json::from_str(payload.as_str()).map_err(|_| NotJson)?;
        let found = self
            .fields
            .iter()
            .filter_map(|(name, pointer)| Some((name.as_str(), pointer.follow(whole)?)));
        let members: BTreeMap<&str, &RawValue> = found.collect();
        let text = serde_json::to_vec(&members).map_err(|_| NotJson)?;
        Payload::parse(&Bytes::from(text)).map_err(|_| NotJson)
    }
}

impl JsonPointer {
    fn parse(text: &str) -> Option<Self> {
        let Some(rest) = text.strip_prefix('/') else {
            return text.is_empty().then(|| Self(Vec::new()));
        };
        rest.split('/').map(unescape).collect::<Option<_>>().map(Self)
    }

    fn follow<'v>(&self, value: &'v RawValue) -> Option<&'v RawValue> {
        self.0.iter().try_fold(value, |value, token| {
            let text = value.get();
            if text.starts_with('{') {
                let members: BTreeMap<Cow<'v, str>, &'v RawValue> =
                    serde_json::from_str(text).ok()?;
                members.get(token.as_str()).copied()
            } else if text.starts_with('[') && is_index(token) {
                let items: Vec<&'v RawValue> = serde_json::from_str(text).ok()?;
                items.get(token.parse::<usize>().ok()?).copied()
            } else {
                None
            }
        })
    }
}

/// `~1` is a slash, `~0` a tilde; a tilde before anything else is an error.
fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix('0'), part.strip_prefix('1')) {
            (Some(rest), _) => ('~', rest),
            (_, Some(rest)) => ('/', rest),
            _ => return None,
        };
        text.push(sign);
        text.push_str(rest);
    }
    Some(text)
}

/// Digits without a leading zero.
fn is_index(token: &str) -> bool {
    token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

#[cfg(test)]
mod tests {
    use buswire_message::{Headers, Message, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn message(payload: &str) -> Arc<StoredMessage> {
        StoredMessage::detached(Message {
            id: "2024-03-09T14:05:21.337Z-0000000000".parse().unwrap(),
            bus: "a.example".parse().unwrap(),
            channel: "c".parse().unwrap(),
            source: "https://v.example/".parse().unwrap(),
            kind: "t".parse().unwrap(),
            sticky: false,
            expires_at: Timestamp::from_secs(1),
            payload: Payload::parse(&Bytes::from(payload.to_owned())).unwrap(),
            headers: Headers::default(),
        })
    }

    #[test]
    fn type_and_channel_change_and_fields_are_chosen_digit_for_digit() {
        let rules = ["type:u", "channel:d", "field:n=/o/n", "field:second=/o/l/1", "field:x=/no"];
        let mapping = Mapping::parse(&rules).unwrap();
        assert_eq!(mapping.rules(), rules);
        let original = message(r#"{"o":{"n":1.000000000000000000001,"l":[0,{"a/b":"é"}]}}"#);
        let changed = mapping.apply(&original).unwrap();
        assert_eq!((changed.kind.as_str(), changed.channel.as_str()), ("u", "d"));
        let expected = r#"{"n":1.000000000000000000001,"second":{"a/b":"é"}}"#;
        assert_eq!(changed.payload.as_str(), expected);
        assert_eq!(changed.id, original.id);
    }

    #[test]
    fn nothing_changes_without_rules() {
        let original = message("1");
        assert!(Arc::ptr_eq(&Mapping::default().apply(&original).unwrap(), &original));
    }

    #[test]
    fn every_problem_is_named() {
        let rules =
            ["type:", "type:a", "type:b", "field:a", "field:b=c", "field:b=/~2", "script:x"];
        let problems = Mapping::parse(&rules).unwrap_err();
        let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(all.len(), 6, "{all:?}");
        let many: Vec<_> = (0..65).map(|n| format!("field:{n}=")).collect();
        assert_eq!(Mapping::parse(&many), Err(vec![MappingError::TooMany]));
    }

    #[test]
    fn the_examples_of_rfc_6901() {
        let text = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4," ":7,"m~n":8}"#;
        let whole: &RawValue = serde_json::from_str(text).unwrap();
        for (pointer, found) in [
            ("", Some(text)),
            ("/foo", Some(r#"["bar","baz"]"#)),
            ("/foo/0", Some(r#""bar""#)),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/c%d", Some("2")),
            ("/e^f", Some("3")),
            ("/g|h", Some("4")),
            ("/ ", Some("7")),
            ("/m~0n", Some("8")),
            ("/foo/2", None),
            ("/foo/00", None),
            ("/foo/-", None),
            ("/foo/0/x", None),
        ] {
            let parsed = JsonPointer::parse(pointer).unwrap();
            assert_eq!(parsed.follow(whole).map(RawValue::get), found, "{pointer}");
            assert_eq!(parsed.to_string(), pointer);
        }
    }

    proptest! {
        #[test]
        fn a_pointer_reads_what_it_prints(tokens in proptest::collection::vec("\\PC{0,8}", 0..5)) {
            let pointer = JsonPointer(tokens);
            prop_assert_eq!(JsonPointer::parse(&pointer.to_string()), Some(pointer));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(rule in "(type|channel|field)?:?\\PC{0,20}") {
            if let Ok(mapping) = Mapping::parse(&[&rule]) {
                prop_assert_eq!(Mapping::parse(&mapping.rules()), Ok(mapping));
            }
        }
    }
}
