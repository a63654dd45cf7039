//! `register`: a UserAgent asks for an endpoint (SimplePush §7.2).

use super::{
    envelope::{Envelope, MessageType, text_of},
    failure::push_error,
};
use crate::{error::ClientFault, id::ChannelId};

const TYPE: &str = "register";

/// A `register` that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Register {
    /// The channel to register.
    pub(crate) channel: ChannelId,
    /// The type in the client's spelling.
    pub(crate) message_type: MessageType,
}

impl Register {
    /// Takes what a `register` needs.
    ///
    /// # Errors
    ///
    /// [`ClientFault::InvalidFields`] if `channelID` is missing, no string or malformed (R-ID-7).
    pub(crate) fn read(message: &Envelope<'_>) -> Result<Self, ClientFault> {
        let text = message.channel_id().and_then(text_of).ok_or(ClientFault::InvalidFields)?;
        let channel = ChannelId::parse(&text).ok_or(ClientFault::InvalidFields)?;
        Ok(Self { channel, message_type: message.message_type(TYPE) })
    }

    /// The successful reply. `endpoint` is a URL of ours: it needs no escaping.
    pub(crate) fn reply(&self, endpoint: &str) -> String {
        let mut out = String::with_capacity(128 + endpoint.len());
        out.push_str("{\"messageType\":");
        self.message_type.push_to(TYPE, &mut out);
        out.push_str(",\"status\":200,\"channelID\":\"");
        self.channel.push_to(&mut out);
        out.push_str("\",\"pushEndpoint\":\"");
        out.push_str(endpoint);
        out.push_str("\"}");
        out
    }

    /// The reply when the channel can't be granted; the connection stays open (R-ERR-4).
    pub(crate) fn refusal(&self, error: &str) -> String {
        let mut out = String::with_capacity(128);
        out.push_str("{\"messageType\":");
        self.message_type.push_to(TYPE, &mut out);
        out.push_str(",\"channelID\":\"");
        self.channel.push_to(&mut out);
        out.push_str("\",");
        push_error(500, error, &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Register, ClientFault> {
        Register::read(&Envelope::read(text, 32).unwrap())
    }

    #[test]
    fn a_reply_carries_the_channel_as_it_was_written() {
        let register = read(
            "{\"messageType\":\"register\",\"uaid\":\"x\",\"channelID\":\"0D5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\"}",
        )
        .unwrap();
        // Rule: simplepush §7.2 — the reply has status, channelID and pushEndpoint
        assert_eq!(
            register.reply("https://push.example.net/update/TOKA"),
            "{\"messageType\":\"register\",\"status\":200,\"channelID\":\"0D5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\",\"pushEndpoint\":\"https://push.example.net/update/TOKA\"}"
        );
        assert_eq!(
            register.refusal("Too many channels"),
            "{\"messageType\":\"register\",\"channelID\":\"0D5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\",\"status\":500,\"error\":\"Too many channels\"}"
        );
    }

    #[test]
    fn a_malformed_channel_is_a_fault() {
        // Rule: simplepush R-ID-7 — any channelID in no accepted form is status 401
        for member in [
            "",
            ",\"channelID\":null",
            ",\"channelID\":\"\"",
            ",\"channelID\":7",
            ",\"channelID\":\"hello\"",
            ",\"channelIDs\":[\"0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\"]",
        ] {
            let text = format!("{{\"messageType\":\"register\"{member}}}");
            assert_eq!(read(&text), Err(ClientFault::InvalidFields), "{text}");
        }
    }
}
