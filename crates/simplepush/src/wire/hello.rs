//! `hello`: who the UserAgent is and what it believes is registered (SimplePush §7.1).

use serde_json::value::RawValue;

use super::{
    envelope::{Envelope, MessageType, text_of},
    failure::push_error,
};
use crate::{
    error::ClientFault,
    id::{ChannelId, SpelledUaid},
    wakeup::WakePlace,
};

const TYPE: &str = "hello";

/// The UAID that a UserAgent says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// None: absent, null or empty (H5).
    None,
    /// A text in no accepted form (H6).
    Malformed,
    /// This one.
    Uaid(SpelledUaid),
}

/// A `hello` that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Who the UserAgent says it is.
    pub(crate) claim: Claim,
    /// The channels that it lists, sorted, each once.
    pub(crate) channels: Vec<ChannelId>,
    /// How many entries the list has, readable or not.
    pub(crate) listed: usize,
    /// Whether entries can't be the name of a channel (R-ID-10).
    pub(crate) strangers: bool,
    /// Where the UserAgent says that it can be woken.
    pub(crate) wake_place: Option<Box<WakePlace>>,
    /// The type in the client's spelling.
    pub(crate) message_type: MessageType,
}

impl Hello {
    /// Takes what a `hello` needs. At most `channels_max` channels are kept; more are only counted.
    ///
    /// # Errors
    ///
    /// [`ClientFault::MissingFields`] without `channelIDs` (H1), [`ClientFault::InvalidFields`] if it
    /// is not an array or `uaid` is neither string nor null (H2).
    pub(crate) fn read(message: &Envelope<'_>, channels_max: usize) -> Result<Self, ClientFault> {
        let listed = message
            .channel_ids()
            .filter(|raw| raw.get() != "null")
            .ok_or(ClientFault::MissingFields)?;
        let claim = match message.uaid().filter(|raw| raw.get() != "null") {
            None => Claim::None,
            Some(raw) => match &*text_of(raw).ok_or(ClientFault::InvalidFields)? {
                "" => Claim::None,
                text => SpelledUaid::parse(text).map_or(Claim::Malformed, Claim::Uaid),
            },
        };
        let entries: Vec<&RawValue> =
            serde_json::from_str(listed.get()).map_err(|_| ClientFault::InvalidFields)?;
        let mut hello = Self {
            claim,
            channels: Vec::new(),
            listed: entries.len(),
            strangers: false,
            wake_place: wake_place(message).map(Box::new),
            message_type: message.message_type(TYPE),
        };
        for raw in entries.iter().take(channels_max) {
            match text_of(raw).and_then(|text| ChannelId::parse(&text)) {
                Some(channel) => hello.channels.push(channel),
                None => hello.strangers = true,
            }
        }
        hello.channels.sort_unstable();
        hello.channels.dedup();
        Ok(hello)
    }

    /// The successful reply.
    pub(crate) fn reply(message_type: &MessageType, uaid: SpelledUaid) -> String {
        let mut out = open(message_type, uaid);
        out.push_str("\"status\":200}");
        out
    }

    /// The reply that sends the UserAgent to another server (§15.4). `url` is one of ours: it needs no
    /// escaping.
    pub(crate) fn redirect(message_type: &MessageType, uaid: SpelledUaid, url: &str) -> String {
        let mut out = open(message_type, uaid);
        out.push_str("\"status\":307,\"redirect\":\"");
        out.push_str(url);
        out.push_str("\"}");
        out
    }

    /// The reply when the store can't be used: it carries the UserAgent's own UAID, since a client
    /// that looks at nothing else must not take it for a new one (R-HELLO-5).
    pub(crate) fn unavailable(message_type: &MessageType, uaid: SpelledUaid) -> String {
        let mut out = open(message_type, uaid);
        push_error(503, "The server is not available", &mut out);
        out
    }
}

/// Nothing of it fails the handshake (R-HELLO-4).
fn wake_place(message: &Envelope<'_>) -> Option<WakePlace> {
    WakePlace::read(message.wakeup()?.get(), message.mobile_network()?.get())
}

fn open(message_type: &MessageType, uaid: SpelledUaid) -> String {
    let mut out = String::with_capacity(96);
    out.push_str("{\"messageType\":");
    message_type.push_to(TYPE, &mut out);
    out.push_str(",\"uaid\":\"");
    uaid.push_to(&mut out);
    out.push_str("\",");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Hello, ClientFault> {
        Hello::read(&Envelope::read(text, 32).unwrap(), 1000)
    }

    #[test]
    fn a_hello_names_the_user_agent_and_its_channels() {
        let hello = read(
            "{\"messageType\":\"hello\",\"uaid\":\"6f1c0b7a52d94e0c9b3ad41e8f27c650\",\"channelIDs\":[\"0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\",\"0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\"]}",
        )
        .unwrap();
        // Rule: simplepush §9.3 — duplicated entries count once
        assert_eq!((hello.channels.len(), hello.listed, hello.strangers), (1, 2, false));
        let Claim::Uaid(uaid) = hello.claim else { panic!("a UAID") };
        assert_eq!(
            Hello::reply(&hello.message_type, uaid),
            "{\"messageType\":\"hello\",\"uaid\":\"6f1c0b7a52d94e0c9b3ad41e8f27c650\",\"status\":200}"
        );
        assert_eq!(
            Hello::unavailable(&hello.message_type, uaid),
            "{\"messageType\":\"hello\",\"uaid\":\"6f1c0b7a52d94e0c9b3ad41e8f27c650\",\"status\":503,\"error\":\"The server is not available\"}"
        );
    }

    #[test]
    fn a_reply_repeats_the_spelling_of_the_type() {
        // Rule: simplepush §6.1 — replies repeat the text that the client used
        let hello = read("{\"messageType\":\"HeLLo\",\"channelIDs\":[]}").unwrap();
        let uaid = SpelledUaid::parse("3E9B7C54-18aa-4d2f-a6b1-5c0d9e8f7a62").unwrap();
        assert_eq!(
            Hello::reply(&hello.message_type, uaid),
            "{\"messageType\":\"HeLLo\",\"uaid\":\"3E9B7C54-18aa-4d2f-a6b1-5c0d9e8f7a62\",\"status\":200}"
        );
    }

    #[test]
    fn no_uaid_is_absent_null_or_empty() {
        // Rule: simplepush H5 — an absent, null or empty uaid asks for a new one
        for uaid in ["", "\"uaid\":null,", "\"uaid\":\"\","] {
            let text = format!("{{{uaid}\"messageType\":\"hello\",\"channelIDs\":[]}}");
            assert_eq!(read(&text).unwrap().claim, Claim::None, "{text}");
        }
        // Rule: simplepush R-ID-4 — a text in no accepted form is not an error
        for uaid in [" fooey barrey ", "null", "0", &"x".repeat(100_000)] {
            let text =
                format!("{{\"uaid\":\"{uaid}\",\"messageType\":\"hello\",\"channelIDs\":[]}}");
            assert_eq!(read(&text).unwrap().claim, Claim::Malformed);
        }
    }

    #[test]
    fn wrong_members_are_faults() {
        // Rule: simplepush H1 — channelIDs absent or null
        for list in ["", ",\"channelIDs\":null", ",\"channelIds\":[]"] {
            let text = format!("{{\"messageType\":\"hello\",\"uaid\":7{list}}}");
            assert_eq!(read(&text), Err(ClientFault::MissingFields), "{text}");
        }
        // Rule: simplepush H2 — channelIDs not an array, or uaid neither string nor null
        for list in ["\"\"", "{}", "1", "true"] {
            let text = format!("{{\"messageType\":\"hello\",\"channelIDs\":{list}}}");
            assert_eq!(read(&text), Err(ClientFault::InvalidFields), "{text}");
        }
        // Rule: simplepush R-ID-5 — a uaid that is no string is an error
        for uaid in ["-66000", "true", "[]", "{}"] {
            let text = format!("{{\"messageType\":\"hello\",\"uaid\":{uaid},\"channelIDs\":[]}}");
            assert_eq!(read(&text), Err(ClientFault::InvalidFields), "{text}");
        }
    }

    #[test]
    fn entries_are_not_validated() {
        // Rule: simplepush R-ID-10 — an entry that can't be a channel counts as an unknown one
        let hello =
            read("{\"messageType\":\"hello\",\"channelIDs\":[1,true,null,{\"a\":[]},\"x\"]}")
                .unwrap();
        assert_eq!((hello.channels.len(), hello.listed, hello.strangers), (0, 5, true));
    }

    #[test]
    fn unknown_members_are_ignored() {
        // Rule: simplepush R-JSON-2 — unknown members are ignored everywhere
        // Rule: simplepush R-WAKE-1 — wake-up members are parsed and ignored
        let hello = read(
            "{\"messageType\":\"hello\",\"channelIDs\":[],\"wakeup_hostport\":{\"ip\":\"10.1.2.3\",\"port\":2442},\"mobilenetwork\":{\"mcc\":\"214\",\"mnc\":\"07\"},\"connect\":[7],\"use_webpush\":true}",
        );
        assert_eq!(hello.unwrap().claim, Claim::None);
    }
}
