//! The object that every message is, and which message it is (SimplePush §6.1).

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::ClientFault;

/// Text that is not a JSON object, or nested too deeply: the connection is closed without a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The members of a message that mean something, as they were written.
///
/// Of repeated members the last counts (R-JSON-3); names are compared exactly (R-JSON-1); members
/// that mean nothing are skipped (R-JSON-2).
#[derive(Default)]
struct Members<'a> {
    message_type: Option<&'a RawValue>,
    uaid: Option<&'a RawValue>,
    channel_ids: Option<&'a RawValue>,
    channel_id: Option<&'a RawValue>,
    updates: Option<&'a RawValue>,
    expired: Option<&'a RawValue>,
    wakeup: Option<&'a RawValue>,
    mobile_network: Option<&'a RawValue>,
    /// How many members there are, known or not.
    count: usize,
    /// Whether a member has the name of one that an error reply adds.
    clashes: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<MemberName>()? {
                    members.count += 1;
                    let slot = match name {
                        MemberName::MessageType => &mut members.message_type,
                        MemberName::Uaid => &mut members.uaid,
                        MemberName::ChannelIds => &mut members.channel_ids,
                        MemberName::ChannelId => &mut members.channel_id,
                        MemberName::Updates => &mut members.updates,
                        MemberName::Expired => &mut members.expired,
                        MemberName::Wakeup => &mut members.wakeup,
                        MemberName::MobileNetwork => &mut members.mobile_network,
                        MemberName::StatusOrError | MemberName::Other => {
                            members.clashes |= matches!(name, MemberName::StatusOrError);
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *slot = Some(map.next_value()?);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

enum MemberName {
    MessageType,
    Uaid,
    ChannelIds,
    ChannelId,
    Updates,
    Expired,
    Wakeup,
    MobileNetwork,
    StatusOrError,
    Other,
}

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = MemberName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }

            fn visit_str<E>(self, name: &str) -> Result<MemberName, E> {
                Ok(match name {
                    "messageType" => MemberName::MessageType,
                    "uaid" => MemberName::Uaid,
                    "channelIDs" => MemberName::ChannelIds,
                    "channelID" => MemberName::ChannelId,
                    "updates" => MemberName::Updates,
                    "expired" => MemberName::Expired,
                    // Under both names that clients use (§18).
                    "wakeup_hostport" | "wakeup_host" => MemberName::Wakeup,
                    "mobilenetwork" => MemberName::MobileNetwork,
                    "status" | "error" => MemberName::StatusOrError,
                    _ => MemberName::Other,
                })
            }
        }
        deserializer.deserialize_identifier(NameVisitor)
    }
}

/// Which message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `{}` or `ping`.
    Ping,
    /// `hello`.
    Hello,
    /// `register`.
    Register,
    /// `unregister`.
    Unregister,
    /// `ack`.
    Ack,
    /// `purge`, which does nothing (R-PURGE-1).
    Purge,
}

/// A message type in the client's own spelling, to be repeated in the reply (§6.1 step 7).
///
/// The usual spelling takes no memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MessageType(Option<Box<str>>);

impl MessageType {
    /// Appends it as a JSON string; `usual` if the client wrote it so.
    pub(crate) fn push_to(&self, usual: &str, out: &mut String) {
        if let Some(raw) = &self.0 {
            out.push_str(raw);
        } else {
            out.push('"');
            out.push_str(usual);
            out.push('"');
        }
    }
}

impl fmt::Debug for Envelope<'_> {
    /// Shows no text: it holds UAIDs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} bytes)", self.text.len())
    }
}

/// A message that could be read, whatever it is.
pub(crate) struct Envelope<'a> {
    text: &'a str,
    members: Members<'a>,
}

impl<'a> Envelope<'a> {
    /// Reads the outermost object; `depth_max` is how deeply it may be nested.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if there is no such object (§6.1 steps 3 and 4).
    pub(crate) fn read(text: &'a str, depth_max: usize) -> Result<Self, Unreadable> {
        if depth(text) > depth_max {
            return Err(Unreadable);
        }
        let members = serde_json::from_str(text).map_err(|_| Unreadable)?;
        Ok(Self { text: text.trim_ascii(), members })
    }

    /// Which message it is (§6.1 steps 2 and 5 to 7); the type is compared without regard to ASCII
    /// case.
    ///
    /// # Errors
    ///
    /// [`ClientFault::HeaderNotText`], [`ClientFault::UnsupportedType`].
    pub(crate) fn kind(&self) -> Result<Kind, ClientFault> {
        if self.members.count == 0 {
            return Ok(Kind::Ping);
        }
        let Some(raw) = self.members.message_type.filter(|raw| raw.get() != "null") else {
            return Err(ClientFault::UnsupportedType);
        };
        let text = text_of(raw).ok_or(ClientFault::HeaderNotText)?;
        let kinds = [
            ("ack", Kind::Ack),
            ("hello", Kind::Hello),
            ("register", Kind::Register),
            ("unregister", Kind::Unregister),
            ("ping", Kind::Ping),
            ("purge", Kind::Purge),
        ];
        let known = kinds.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        known.map(|(_, kind)| kind).ok_or(ClientFault::UnsupportedType)
    }

    /// The type as the client wrote it, where that is not `usual`.
    pub(super) fn message_type(&self, usual: &str) -> MessageType {
        let raw = self.members.message_type.map(RawValue::get).unwrap_or_default();
        let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        MessageType((inner != Some(usual)).then(|| raw.into()))
    }

    pub(super) const fn uaid(&self) -> Option<&'a RawValue> {
        self.members.uaid
    }

    pub(super) const fn channel_ids(&self) -> Option<&'a RawValue> {
        self.members.channel_ids
    }

    pub(super) const fn channel_id(&self) -> Option<&'a RawValue> {
        self.members.channel_id
    }

    pub(super) const fn updates(&self) -> Option<&'a RawValue> {
        self.members.updates
    }

    pub(super) const fn expired(&self) -> Option<&'a RawValue> {
        self.members.expired
    }

    pub(super) const fn wakeup(&self) -> Option<&'a RawValue> {
        self.members.wakeup
    }

    pub(super) const fn mobile_network(&self) -> Option<&'a RawValue> {
        self.members.mobile_network
    }

    pub(super) const fn raw_type(&self) -> Option<&'a RawValue> {
        self.members.message_type
    }

    /// The whole object, if an error reply may repeat it.
    pub(super) fn echo(&self, bytes_max: usize) -> Option<&'a str> {
        (self.text.len() <= bytes_max && !self.members.clashes).then_some(self.text)
    }

    /// Whether the object has no members.
    pub(super) const fn is_bare(&self) -> bool {
        self.members.count == 0
    }
}

/// The text of a JSON string; `None` for any other type. A string that is not Unicode after
/// unescaping is taken as empty, which no message accepts.
pub(super) fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    Some(if inner.contains('\\') {
        Cow::Owned(serde_json::from_str(raw.get()).unwrap_or_default())
    } else {
        Cow::Borrowed(inner)
    })
}

/// How deeply arrays and objects are nested in `text`, whether or not it is JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Result<Kind, ClientFault> {
        Envelope::read(text, 32).expect("an object").kind()
    }

    #[test]
    fn what_is_not_an_object_is_unreadable() {
        // Rule: simplepush §6.1 — bad JSON and JSON that is no object close without a reply
        for text in
            ["{", "nonsense", "[]", "\"hello\"", "42", "null", "{}{}", "{\"a\":1,}", "\u{feff}{}"]
        {
            assert_eq!(Envelope::read(text, 32).err(), Some(Unreadable), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        // Rule: simplepush R-JSON-4 — nesting deeper than 32 is refused before trees are built
        let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(Envelope::read(&nested(31), 32).is_ok());
        assert!(Envelope::read(&nested(32), 32).is_err());
        assert!(Envelope::read(&nested(60_000), 32).is_err());
        let in_string = format!("{{\"x\":\"\\\"{}\"}}", "[".repeat(60));
        assert!(Envelope::read(&in_string, 32).is_ok());
    }

    #[test]
    fn an_empty_object_is_a_ping() {
        // Rule: simplepush §7.6 — an empty object with any white space is a ping
        for text in
            ["{}", "\t{\r\n} ", "{\"messageType\":\"ping\"}", "{\"x\":1,\"messageType\":\"PING\"}"]
        {
            assert_eq!(kind(text), Ok(Kind::Ping), "{text}");
        }
    }

    #[test]
    fn types_are_compared_without_case() {
        // Rule: simplepush §6.1 — the message type is compared without regard to ASCII case
        for text in ["hello", "HELLO", "Hello", "h\\u0065llo"] {
            assert_eq!(kind(&format!("{{\"messageType\":\"{text}\"}}")), Ok(Kind::Hello), "{text}");
        }
        assert_eq!(kind("{\"messageType\":\"unRegister\"}"), Ok(Kind::Unregister));
        assert_eq!(kind("{\"messageType\":\"purge\"}"), Ok(Kind::Purge));
    }

    #[test]
    fn an_unknown_type_is_a_fault() {
        // Rule: simplepush §6.1 — a type that is no string: 401 "Invalid command header"
        for raw in ["1", "true", "[]", "{}"] {
            let text = format!("{{\"messageType\":{raw}}}");
            assert_eq!(kind(&text), Err(ClientFault::HeaderNotText), "{text}");
        }
        // Rule: simplepush §6.1 — a type that is missing, null, empty or unknown: 401 "Unsupported command type"
        for text in [
            "{\"messageType\":null}",
            "{\"messageType\":\"\"}",
            "{\"messageType\":\"broadcast\"}",
            "{\"messageType\":\"hello \"}",
            "{\"channelID\":\"x\",\"version\":1}",
            // Rule: simplepush R-JSON-1 — member names match exactly
            "{\"messagetype\":\"hello\"}",
            "{\" messageType\":\"hello\"}",
        ] {
            assert_eq!(kind(text), Err(ClientFault::UnsupportedType), "{text}");
        }
    }

    #[test]
    fn of_repeated_members_the_last_counts() {
        // Rule: simplepush R-JSON-3 — duplicate member names: the last one wins
        assert_eq!(kind("{\"messageType\":\"hello\",\"messageType\":\"ack\"}"), Ok(Kind::Ack));
    }
}
