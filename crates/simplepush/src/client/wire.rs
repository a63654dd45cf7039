//! The messages as a UserAgent writes and reads them (SimplePush §7).
//!
//! Reading is lenient: what a server adds is ignored, what it leaves out is `None`. Never here: what a
//! message does.

use std::fmt::Write as _;

use buswire_message::Version;
use serde_json::Value;

use crate::id::ChannelId;

/// Asks whether the server is there (§7.6).
pub(super) const PING: &str = "{}";

/// The longest UAID that is taken (§2.1).
const UAID_LEN_MAX: usize = 128;

/// `hello` with a UAID, empty for none, and every channel that is registered (§7.1).
pub(super) fn hello(uaid: &str, channels: impl Iterator<Item = ChannelId>) -> String {
    let mut out = String::from("{\"messageType\":\"hello\",\"uaid\":");
    out.push_str(&Value::from(uaid).to_string());
    out.push_str(",\"channelIDs\":[");
    for (index, channel) in channels.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(out, "{comma}\"{channel}\"").unwrap_or_default();
    }
    out.push_str("]}");
    out
}

/// `register` (§7.2).
pub(super) fn register(channel: ChannelId) -> String {
    format!("{{\"messageType\":\"register\",\"channelID\":\"{channel}\"}}")
}

/// `unregister` (§7.3).
pub(super) fn unregister(channel: ChannelId) -> String {
    format!("{{\"messageType\":\"unregister\",\"channelID\":\"{channel}\"}}")
}

/// `ack` of one version. The channel may be one that is not ours: it is written as it came (§7.5).
pub(super) fn ack(channel: &str, version: Version) -> String {
    let channel = Value::from(channel);
    format!(
        "{{\"messageType\":\"ack\",\"updates\":[{{\"channelID\":{channel},\"version\":{version}}}]}}"
    )
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The answer to `hello`.
    Hello(Greeted),
    /// The answer to `register`.
    Register { channel: ChannelId, status: u64, endpoint: Option<String>, error: Option<String> },
    /// Versions that are pending.
    Notification(Vec<Entry>),
    /// Anything else. It shows that the server is there.
    Other,
}

/// The answer to `hello`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Greeted {
    /// The UAID, if it is one that can be taken.
    pub(super) uaid: Option<String>,
    /// The status; servers of 2014 sent none.
    pub(super) status: u64,
    /// Where else to connect (§15.4).
    pub(super) redirect: Option<String>,
}

/// One channel in a notification.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The channel as the server wrote it.
    pub(super) channel: String,
    pub(super) version: Version,
    pub(super) data: Option<String>,
}

/// Reads a text message.
pub(super) fn read(text: &str) -> Heard {
    let Ok(Value::Object(message)) = serde_json::from_str(text) else { return Heard::Other };
    let text = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
    let status = message.get("status").and_then(Value::as_u64).unwrap_or(200);
    let kind = text("messageType").unwrap_or_default().to_ascii_lowercase();
    match kind.as_str() {
        "hello" => {
            let uaid = text("uaid").filter(|uaid| (1..=UAID_LEN_MAX).contains(&uaid.len()));
            Heard::Hello(Greeted { uaid, status, redirect: text("redirect") })
        }
        "register" => {
            let channel = text("channelID").and_then(|channel| channel.parse().ok());
            channel.map_or(Heard::Other, |channel| Heard::Register {
                channel,
                status,
                endpoint: text("pushEndpoint"),
                error: text("error"),
            })
        }
        "notification" => {
            let updates = message.get("updates").and_then(Value::as_array);
            Heard::Notification(updates.into_iter().flatten().filter_map(entry).collect())
        }
        _ => Heard::Other,
    }
}

/// Entries that name no channel or no version are skipped; a version may be a text (§7.4).
fn entry(value: &Value) -> Option<Entry> {
    let version = match value.get("version")? {
        Value::Number(number) => Version::new(number.as_u64()?)?,
        Value::String(text) => Version::parse(text).ok()??,
        _ => return None,
    };
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Entry { channel: text("channelID")?, version, data: text("data") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

    #[test]
    fn messages_are_those_of_the_worked_examples() {
        let a: ChannelId = A.parse().unwrap();
        let b: ChannelId = "c2a7d915-33e8-4b6d-9f02-71e4a80b5cdd".parse().unwrap();
        assert_eq!(
            hello("6f1c0b7a52d94e0c9b3ad41e8f27c650", [a, b].into_iter()),
            "{\"messageType\":\"hello\",\"uaid\":\"6f1c0b7a52d94e0c9b3ad41e8f27c650\",\"channelIDs\":[\"0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\",\"c2a7d915-33e8-4b6d-9f02-71e4a80b5cdd\"]}"
        );
        assert_eq!(
            hello("", std::iter::empty()),
            "{\"messageType\":\"hello\",\"uaid\":\"\",\"channelIDs\":[]}"
        );
        assert_eq!(
            ack(A, Version::MAX),
            "{\"messageType\":\"ack\",\"updates\":[{\"channelID\":\"0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\",\"version\":9223372036854775807}]}"
        );
    }

    #[test]
    fn a_server_may_say_more_or_less() {
        let greeted = |uaid: Option<&str>, status| {
            Heard::Hello(Greeted { uaid: uaid.map(str::to_owned), status, redirect: None })
        };
        // Rule: simplepush §7.1 — servers of 2014 send no status; the type is compared without case
        assert_eq!(
            read("{\"messageType\":\"HELLO\",\"uaid\":\"x\",\"ping\":60}"),
            greeted(Some("x"), 200)
        );
        // Rule: simplepush §2.1 — the UAID of a reply is a string of 1 to 128 characters
        for uaid in ["\"\"", "7", "null", &format!("\"{}\"", "x".repeat(129))] {
            let text = format!("{{\"messageType\":\"hello\",\"uaid\":{uaid},\"status\":503}}");
            assert_eq!(read(&text), greeted(None, 503));
        }
        for other in ["", "{}", "[]", "{\"messageType\":7}", "{\"messageType\":\"register\"}"] {
            assert_eq!(read(other), Heard::Other, "{other}");
        }
    }

    #[test]
    fn entries_that_say_nothing_are_skipped() {
        // Rule: simplepush §7.4 — entries without a channelID or a version are skipped, a text is parsed
        let text = "{\"messageType\":\"notification\",\"updates\":[{\"channelID\":\"a\",\"version\":\"12\"},{\"channelID\":\"b\",\"version\":9007199254740993,\"data\":\"hi\"},{\"channelID\":7,\"version\":1},{\"channelID\":\"c\"},{\"channelID\":\"c\",\"version\":true},{\"channelID\":\"c\",\"version\":-1},5]}";
        let entry = |channel: &str, version, data: Option<&str>| Entry {
            channel: channel.into(),
            version: Version::new(version).unwrap(),
            data: data.map(str::to_owned),
        };
        assert_eq!(
            read(text),
            Heard::Notification(vec![
                entry("a", 12, None),
                entry("b", 9_007_199_254_740_993, Some("hi"))
            ])
        );
        assert_eq!(read("{\"messageType\":\"notification\"}"), Heard::Notification(Vec::new()));
    }
}
