//! `notification`: channels that changed (SimplePush §7.4).

use std::fmt::Write as _;

use buswire_message::Version;

use crate::id::ChannelId;

/// Builds one `notification`. It can't be built without an entry (R-NOTIF-1).
#[derive(Debug)]
pub(crate) struct NotificationWriter {
    out: String,
    entries: usize,
}

impl NotificationWriter {
    /// Begins a message.
    pub(crate) fn new() -> Self {
        let mut out = String::with_capacity(160);
        out.push_str("{\"messageType\":\"notification\",\"updates\":[");
        Self { out, entries: 0 }
    }

    /// Adds a channel, which must not be in the message yet (R-NOTIF-2).
    pub(crate) fn push(&mut self, channel: ChannelId, version: Version, data: Option<&str>) {
        if self.entries > 0 {
            self.out.push(',');
        }
        self.entries += 1;
        self.out.push_str("{\"channelID\":\"");
        channel.push_to(&mut self.out);
        // Writing to a string can't fail.
        let _written = write!(self.out, "\",\"version\":{version}");
        if let Some(data) = data {
            self.out.push_str(",\"data\":");
            self.out.push_str(&serde_json::Value::from(data).to_string());
        }
        self.out.push('}');
    }

    /// How many channels are in the message.
    pub(crate) const fn len(&self) -> usize {
        self.entries
    }

    /// The message, if it has an entry.
    pub(crate) fn finish(mut self) -> Option<String> {
        self.out.push_str("]}");
        (self.entries > 0).then_some(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_listed() {
        let channel = |text| ChannelId::parse(text).unwrap();
        let mut writer = NotificationWriter::new();
        writer.push(
            channel("0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90"),
            Version::new(10).unwrap(),
            None,
        );
        writer.push(channel("C2A7D91533E84B6D9F0271E4A80B5CDD"), Version::MAX, Some("a \"b\"\n"));
        assert_eq!(writer.len(), 2);
        // Rule: simplepush §3.1 — a version is a JSON integer
        assert_eq!(
            writer.finish().unwrap(),
            "{\"messageType\":\"notification\",\"updates\":[{\"channelID\":\"0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\",\"version\":10},{\"channelID\":\"C2A7D91533E84B6D9F0271E4A80B5CDD\",\"version\":9223372036854775807,\"data\":\"a \\\"b\\\"\\n\"}]}"
        );
    }

    #[test]
    fn an_empty_one_is_never_sent() {
        // Rule: simplepush R-NOTIF-1 — an empty list of updates is never sent
        assert_eq!(NotificationWriter::new().finish(), None);
    }
}
