//! `unregister`: a UserAgent gives a channel up (SimplePush §7.3).

use super::{
    envelope::{Envelope, MessageType, text_of},
    failure::push_error,
};
use crate::{error::ClientFault, id::ChannelId};

const TYPE: &str = "unregister";

/// An `unregister` that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unregister {
    /// The channel to give up; `None` if no channel can have that name.
    pub(crate) channel: Option<ChannelId>,
    /// The JSON string that the client sent, to be repeated.
    raw: Box<str>,
    message_type: MessageType,
}

impl Unregister {
    /// Takes what an `unregister` needs: any string but the empty one (R-UNREG-1).
    ///
    /// # Errors
    ///
    /// [`ClientFault::MissingFields`] without `channelID` or with an empty one,
    /// [`ClientFault::InvalidFields`] if it is no string (R-UNREG-2).
    pub(crate) fn read(message: &Envelope<'_>) -> Result<Self, ClientFault> {
        let raw = message
            .channel_id()
            .filter(|raw| raw.get() != "null")
            .ok_or(ClientFault::MissingFields)?;
        let text = text_of(raw).ok_or(ClientFault::InvalidFields)?;
        if text.is_empty() {
            return Err(ClientFault::MissingFields);
        }
        let message_type = message.message_type(TYPE);
        Ok(Self { channel: ChannelId::parse(&text), raw: raw.get().into(), message_type })
    }

    /// The successful reply.
    pub(crate) fn reply(&self) -> String {
        let mut out = String::with_capacity(96);
        out.push_str("{\"messageType\":");
        self.message_type.push_to(TYPE, &mut out);
        out.push_str(",\"status\":200,\"channelID\":");
        out.push_str(&self.raw);
        out.push('}');
        out
    }

    /// The reply when the channel could not be deleted; the connection stays open (R-UNREG-5).
    pub(crate) fn refusal(&self) -> String {
        let mut out = String::with_capacity(128);
        out.push_str("{\"messageType\":");
        self.message_type.push_to(TYPE, &mut out);
        out.push_str(",\"channelID\":");
        out.push_str(&self.raw);
        out.push(',');
        push_error(500, "Could not update channel record", &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Unregister, ClientFault> {
        Unregister::read(&Envelope::read(text, 32).unwrap())
    }

    #[test]
    fn any_string_is_answered() {
        // Rule: simplepush R-UNREG-1 — 200 whenever channelID is a non-empty string, malformed ones too
        let unregister =
            read("{\"messageType\":\"unregister\",\"channelID\":\"never-known\"}").unwrap();
        assert_eq!(unregister.channel, None);
        assert_eq!(
            unregister.reply(),
            "{\"messageType\":\"unregister\",\"status\":200,\"channelID\":\"never-known\"}"
        );
        // Rule: simplepush R-UNREG-5 — a store failure is status 500
        assert_eq!(
            unregister.refusal(),
            "{\"messageType\":\"unregister\",\"channelID\":\"never-known\",\"status\":500,\"error\":\"Could not update channel record\"}"
        );
        let known = read(
            "{\"messageType\":\"unregister\",\"channelID\":\"6f1c0b7a52d94e0c9b3ad41e8f27c650\"}",
        );
        assert!(known.unwrap().channel.is_some());
    }

    #[test]
    fn no_string_is_a_fault() {
        // Rule: simplepush R-UNREG-2 — a missing, non-string or empty channelID is status 401
        for (member, fault) in [
            ("", ClientFault::MissingFields),
            (",\"channelID\":\"\"", ClientFault::MissingFields),
            (",\"channelID\":null", ClientFault::MissingFields),
            (",\"channelID\":7", ClientFault::InvalidFields),
        ] {
            let text = format!("{{\"messageType\":\"unregister\"{member}}}");
            assert_eq!(read(&text), Err(fault), "{text}");
        }
    }
}
