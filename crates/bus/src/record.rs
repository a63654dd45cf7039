//! The record of a message: the bytes that a store keeps for it.
//!
//! Everything but the id, which is the sequence of the entry, the bus, which is the partition, and
//! the expiry, which the entry has itself.
//!
//! ```text
//! version u8 = 1 | token u64 | flags u8 | channel u8+n | type u16+n | source u16+n
//! | via u8 × (u8+n) | [traceparent 55] | [tracestate u16+n] | [in_reply_to u64] | [dedupe_key u16+n]
//! | [content_type u16+n] | [door u8] | payload: the rest
//! ```
//!
//! Numbers are little-endian; what is in brackets is there if its flag is set. The payload is last so
//! that the message shares the bytes of the record. Never here: serde, a clock, I/O.

use std::str::FromStr;

use buswire_message::{
    ChannelName, Door, Headers, MessageId, MessageType, NewMessage, Payload, RouteName, Sequence,
    SourceUrl, TraceParent, TraceState,
};
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use crate::names::Names;

const VERSION: u8 = 1;
const STICKY: u8 = 1;
const TRACEPARENT: u8 = 1 << 1;
const IN_REPLY_TO: u8 = 1 << 2;
const DEDUPE_KEY: u8 = 1 << 3;
const CONTENT_TYPE: u8 = 1 << 4;
const DOOR: u8 = 1 << 5;
const TRACESTATE: u8 = 1 << 6;
const KNOWN_FLAGS: u8 =
    STICKY | TRACEPARENT | IN_REPLY_TO | DEDUPE_KEY | CONTENT_TYPE | DOOR | TRACESTATE;

/// More bytes than any record has beside its payload.
pub(crate) const OVERHEAD_MAX: usize = 8 * 1024;

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// Written by a newer release.
    #[error("version {0} of the record is not known")]
    Version(u8),
    /// Cut short, or a field that no message can have.
    #[error("the record is damaged")]
    Damaged,
}

/// What a record says about its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) channel: ChannelName,
    pub(crate) source: SourceUrl,
    pub(crate) kind: MessageType,
    pub(crate) sticky: bool,
    pub(crate) payload: Payload,
    pub(crate) headers: Headers,
}

/// Writes the record of `message`. `token` lets the process that wrote it know it again.
pub(crate) fn encode(token: u64, message: &NewMessage) -> Bytes {
    let headers = &message.headers;
    let state = headers.traceparent.as_ref().and_then(TraceParent::state);
    let payload = message.payload.as_bytes();
    let mut out = BytesMut::with_capacity(512 + payload.len());
    out.put_u8(VERSION);
    out.put_u64_le(token);
    let mut flags = 0;
    for (is_set, flag) in [
        (message.sticky, STICKY),
        (headers.traceparent.is_some(), TRACEPARENT),
        (state.is_some(), TRACESTATE),
        (headers.in_reply_to.is_some(), IN_REPLY_TO),
        (headers.dedupe_key.is_some(), DEDUPE_KEY),
        (headers.content_type.is_some(), CONTENT_TYPE),
        (headers.door.is_some(), DOOR),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    out.put_u8(flags);
    put_short(&mut out, message.channel.as_str());
    put_text(&mut out, message.kind.as_str());
    put_text(&mut out, message.source.as_str());
    out.put_u8(u8::try_from(headers.via.len()).unwrap_or(u8::MAX));
    for route in headers.via.iter().take(usize::from(u8::MAX)) {
        put_short(&mut out, route.as_str());
    }
    if let Some(traceparent) = &headers.traceparent {
        out.put_slice(&traceparent.to_text());
    }
    if let Some(state) = state {
        put_text(&mut out, state.as_str());
    }
    if let Some(id) = headers.in_reply_to {
        out.put_u64_le(id.sequence().as_u64());
    }
    if let Some(key) = &headers.dedupe_key {
        put_text(&mut out, key.as_str());
    }
    if let Some(content_type) = &headers.content_type {
        put_text(&mut out, content_type.as_str());
    }
    if let Some(door) = headers.door {
        // The position in the list is what is stored; the list only grows.
        let number = Door::ALL.iter().position(|known| *known == door);
        out.put_u8(number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX));
    }
    debug_assert!(out.len() < OVERHEAD_MAX, "the bounds of names bound what precedes the payload");
    out.put_slice(payload);
    out.freeze()
}

/// The part of a record that is its payload, given the length of that.
pub(crate) fn payload_of(record: &Bytes, payload_len: usize) -> Payload {
    Payload::from_stored(record.slice(record.len().saturating_sub(payload_len)..))
}

/// The token that a record was written with; `None` if it is no record.
pub(crate) fn token(record: &[u8]) -> Option<u64> {
    let mut fields = Fields(record);
    (fields.u8().ok()? == VERSION).then(|| fields.u64().ok())?
}

/// Reads a record. Its payload shares the bytes of `record`; repeated names come from `names`.
pub(crate) fn decode(record: &Bytes, names: &mut Names) -> Result<Record, RecordError> {
    let mut fields = Fields(record);
    let version = fields.u8()?;
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    fields.u64()?;
    let flags = fields.u8()?;
    if flags & !KNOWN_FLAGS != 0 {
        return Err(RecordError::Damaged);
    }
    let channel = parse(fields.short()?)?;
    let kind = names.kind(fields.text()?).ok_or(RecordError::Damaged)?;
    let source = names.source(fields.text()?).ok_or(RecordError::Damaged)?;
    let mut headers = Headers::default();
    let hops = fields.u8()?;
    headers.via = (0..hops)
        .map(|_| parse::<RouteName>(fields.short()?))
        .collect::<Result<SmallVec<_>, _>>()?;
    if flags & TRACEPARENT != 0 {
        headers.traceparent = Some(parse(utf8(fields.take(TraceParent::LENGTH)?)?)?);
    }
    if flags & TRACESTATE != 0 {
        let state = TraceState::received([fields.text()?.as_bytes()]);
        let parent = headers.traceparent.take().ok_or(RecordError::Damaged)?;
        headers.traceparent = Some(parent.with_state(state));
    }
    if flags & IN_REPLY_TO != 0 {
        let sequence = Sequence::from_u64(fields.u64()?).ok_or(RecordError::Damaged)?;
        headers.in_reply_to = Some(MessageId::from_sequence(sequence));
    }
    if flags & DEDUPE_KEY != 0 {
        headers.dedupe_key = Some(parse(fields.text()?)?);
    }
    if flags & CONTENT_TYPE != 0 {
        headers.content_type = Some(parse(fields.text()?)?);
    }
    if flags & DOOR != 0 {
        let door = Door::ALL.get(usize::from(fields.u8()?)).ok_or(RecordError::Damaged)?;
        headers.door = Some(*door);
    }
    let payload = payload_of(record, fields.0.len());
    if payload.as_bytes().is_empty() {
        return Err(RecordError::Damaged);
    }
    let sticky = flags & STICKY != 0;
    Ok(Record { channel, source, kind, sticky, payload, headers })
}

fn put_short(out: &mut BytesMut, text: &str) {
    let bytes = text.as_bytes();
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    out.put_u8(length);
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
}

fn put_text(out: &mut BytesMut, text: &str) {
    let bytes = text.as_bytes();
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16_le(length);
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
}

fn parse<T: FromStr>(text: &str) -> Result<T, RecordError> {
    text.parse().map_err(|_| RecordError::Damaged)
}

fn utf8(bytes: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(bytes).map_err(|_| RecordError::Damaged)
}

/// The rest of a record that is being read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(RecordError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        self.take(N)?.try_into().map_err(|_| RecordError::Damaged)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    fn short(&mut self) -> Result<&'a str, RecordError> {
        let length = self.u8()?;
        utf8(self.take(length.into())?)
    }

    fn text(&mut self) -> Result<&'a str, RecordError> {
        let length = self.array().map(u16::from_le_bytes)?;
        utf8(self.take(length.into())?)
    }
}

#[cfg(test)]
mod tests {
    use buswire_message::{HOP_LIMIT, TraceParent};
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Payload {
        Payload::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    prop_compose! {
        fn any_headers()(
            trace in proptest::option::of((1_u128.., 1_u64.., any::<bool>())),
            state in "|[a-z]{1,20}=[a-z]{1,250}",
            via in proptest::collection::vec("[a-z]{1,64}", 0..=HOP_LIMIT),
            reply in proptest::option::of(0..=Sequence::MAX.as_u64()),
            key in proptest::option::of("\\PC{1,60}"),
            content_type in proptest::option::of("[a-z]{1,20}/[a-z]{1,20}"),
            door in proptest::option::of(proptest::sample::select(&Door::ALL)),
        ) -> Headers {
            Headers {
                traceparent: trace.map(|(trace, span, on)| {
                    TraceParent::new(trace, span, on)
                        .with_state(TraceState::received([state.as_bytes()]))
                }),
                via: via.iter().map(|route| route.parse().unwrap()).collect(),
                in_reply_to: reply
                    .map(|n| MessageId::from_sequence(Sequence::from_u64(n).unwrap())),
                dedupe_key: key.map(|key| key.parse().unwrap()),
                content_type: content_type.map(|text| text.parse().unwrap()),
                door,
            }
        }
    }

    prop_compose! {
        fn any_message()(
            channel in "[A-Za-z0-9_-]{1,128}",
            kind in "[a-zé/]{1,500}",
            host in "[a-z]{1,50}",
            sticky: bool,
            text in "[a-z ]{0,300}",
            headers in any_headers(),
        ) -> NewMessage {
            NewMessage {
                channel: channel.parse().unwrap(),
                source: format!("https://{host}.example/").parse().unwrap(),
                kind: kind.parse().unwrap(),
                sticky,
                expires_at: None,
                payload: json(&format!("{{\"a\": \"{text}\"}}")),
                headers,
            }
        }
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(token_in: u64, message in any_message()) {
            let bytes = encode(token_in, &message);
            prop_assert_eq!(token(&bytes), Some(token_in));
            let record = decode(&bytes, &mut Names::default()).unwrap();
            prop_assert_eq!(&record.channel, &message.channel);
            prop_assert_eq!(&record.source, &message.source);
            prop_assert_eq!(&record.kind, &message.kind);
            prop_assert_eq!(record.sticky, message.sticky);
            prop_assert_eq!(&record.payload, &message.payload);
            prop_assert_eq!(&record.headers, &message.headers);
            let shared = bytes.as_ptr_range().contains(&record.payload.as_bytes().as_ptr());
            prop_assert!(shared, "the payload is a part of the record, not a copy");
        }

        #[test]
        fn a_record_cut_anywhere_before_its_payload_is_refused(message in any_message()) {
            let bytes = encode(7, &message);
            for end in 0..=bytes.len() - message.payload.len() {
                prop_assert!(decode(&bytes.slice(..end), &mut Names::default()).is_err());
            }
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let known = token(&bytes).is_some();
            let record = decode(&Bytes::from(bytes), &mut Names::default());
            prop_assert!(known || record.is_err());
        }
    }

    #[test]
    fn the_form_of_a_record_is_fixed() {
        let message = NewMessage {
            channel: "c".parse().unwrap(),
            source: "https://s.example/".parse().unwrap(),
            kind: "t".parse().unwrap(),
            sticky: true,
            expires_at: None,
            payload: json("1"),
            headers: Headers::default(),
        };
        let expected = b"\x01\x02\0\0\0\0\0\0\0\x01\x01c\x01\0t\x12\0https://s.example/\x001";
        assert_eq!(encode(2, &message), &expected[..]);
        let mut newer = expected.to_vec();
        newer[0] = 2;
        assert_eq!(
            decode(&newer.into(), &mut Names::default()).unwrap_err(),
            RecordError::Version(2)
        );
    }
}
