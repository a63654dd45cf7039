//! How a stored message is shown (Backplane §6.1, §7.1).
//!
//! Each form is encoded once for a message and its bytes are shared by all readers.

use buswire_message::Message;
use bytes::Bytes;

use super::{json::push_string, path::FrameForm};
use crate::config::StickyForm;

/// The 1.x frame of a message.
pub(crate) fn one(message: &Message, form: FrameForm) -> Bytes {
    let mut out = Vec::with_capacity(256 + message.payload.len());
    out.extend_from_slice(b"{\"id\":\"");
    push_display(&mut out, &message.id);
    out.extend_from_slice(b"\",\"channel_name\":");
    push_string(&mut out, message.channel.as_str());
    out.extend_from_slice(b",\"message\":{\"source\":");
    push_string(&mut out, message.source.as_str());
    out.extend_from_slice(b",\"type\":");
    push_string(&mut out, message.kind.as_str());
    out.extend_from_slice(b",\"sticky\":");
    out.extend_from_slice(boolean(message.sticky));
    if form == FrameForm::WithExpire {
        out.extend_from_slice(b",\"expire\":\"");
        push_display(&mut out, &message.expires_at.to_rfc3339());
        out.push(b'"');
    }
    out.extend_from_slice(b",\"payload\":");
    out.extend_from_slice(message.payload.as_bytes());
    out.extend_from_slice(b"}}");
    out.into()
}

/// Whether a 2.0 message is shown with its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Regular access: the member is absent.
    Header,
    /// Privileged access.
    Full,
}

/// The 2.0 form of a message. `url_prefix` is the public URL of messages without the id.
pub(crate) fn two(
    message: &Message,
    access: Access,
    url_prefix: &str,
    sticky_form: StickyForm,
) -> Bytes {
    let payload_length = if access == Access::Full { message.payload.len() } else { 0 };
    let mut out = Vec::with_capacity(320 + payload_length);
    out.extend_from_slice(b"{\"messageURL\":\"");
    out.extend_from_slice(url_prefix.as_bytes());
    push_display(&mut out, &message.id);
    out.extend_from_slice(b"\",\"source\":");
    push_string(&mut out, message.source.as_str());
    out.extend_from_slice(b",\"type\":");
    push_string(&mut out, message.kind.as_str());
    out.extend_from_slice(b",\"bus\":");
    push_string(&mut out, message.bus.name());
    out.extend_from_slice(b",\"channel\":");
    push_string(&mut out, message.channel.as_str());
    out.extend_from_slice(b",\"sticky\":");
    match sticky_form {
        StickyForm::Boolean => out.extend_from_slice(boolean(message.sticky)),
        StickyForm::Text => {
            out.push(b'"');
            out.extend_from_slice(boolean(message.sticky));
            out.push(b'"');
        }
    }
    out.extend_from_slice(b",\"expire\":\"");
    push_display(&mut out, &message.expires_at.to_rfc3339());
    out.push(b'"');
    if access == Access::Full {
        out.extend_from_slice(b",\"payload\":");
        out.extend_from_slice(message.payload.as_bytes());
    }
    out.push(b'}');
    out.into()
}

/// Joins shown messages to a JSON array.
pub(crate) fn push_array(out: &mut Vec<u8>, shown: &[Bytes]) {
    out.reserve(shown.iter().map(|one| one.len() + 1).sum::<usize>() + 2);
    out.push(b'[');
    for (at, one) in shown.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(one);
    }
    out.push(b']');
}

const fn boolean(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

/// Appends what `value` prints; it must need no escaping in JSON.
pub(crate) fn push_display(out: &mut Vec<u8>, value: &impl std::fmt::Display) {
    use std::io::Write as _;
    // Writing to memory can't fail.
    if write!(out, "{value}").is_err() {
        debug_assert!(false, "a vector takes every write");
    }
}

#[cfg(test)]
mod tests {
    use buswire_message::{Headers, Payload, Timestamp};

    use super::*;

    fn message(bus: &str) -> Message {
        Message {
            id: "2024-03-09T14:05:21.337Z-0000000001".parse().unwrap(),
            bus: bus.parse().unwrap(),
            channel: "c1".parse().unwrap(),
            source: "https://comments.example/".parse().unwrap(),
            kind: "comment/posted \"x\"".parse().unwrap(),
            sticky: true,
            expires_at: Timestamp::parse("2024-03-09T22:05:21Z").unwrap(),
            payload: Payload::parse(&Bytes::from_static(b"{ \"n\":12345678901234567890123 }"))
                .unwrap(),
            headers: Headers::default(),
        }
    }

    #[test]
    fn a_frame_has_its_members_in_order() {
        // Rule: backplane §6.1 — source, type, sticky, (expire), payload; sticky always a boolean
        assert_eq!(
            one(&message("v1/b"), FrameForm::Plain),
            r#"{"id":"2024-03-09T14:05:21.337Z-0000000001","channel_name":"c1","message":{"source":"https://comments.example/","type":"comment/posted \"x\"","sticky":true,"payload":{ "n":12345678901234567890123 }}}"#
        );
        // Rule: backplane §6.6 — expire is shown only under /v1.3
        assert_eq!(
            one(&message("v1/b"), FrameForm::WithExpire),
            r#"{"id":"2024-03-09T14:05:21.337Z-0000000001","channel_name":"c1","message":{"source":"https://comments.example/","type":"comment/posted \"x\"","sticky":true,"expire":"2024-03-09T22:05:21Z","payload":{ "n":12345678901234567890123 }}}"#
        );
    }

    #[test]
    fn a_header_has_no_payload() {
        let prefix = "https://bp.example.net/v2/message/";
        // Rule: backplane §7.1 — a regular client gets every field except payload, which is absent
        assert_eq!(
            two(&message("b"), Access::Header, prefix, StickyForm::Boolean),
            r#"{"messageURL":"https://bp.example.net/v2/message/2024-03-09T14:05:21.337Z-0000000001","source":"https://comments.example/","type":"comment/posted \"x\"","bus":"b","channel":"c1","sticky":true,"expire":"2024-03-09T22:05:21Z"}"#
        );
        assert_eq!(
            two(&message("b"), Access::Full, prefix, StickyForm::Text),
            r#"{"messageURL":"https://bp.example.net/v2/message/2024-03-09T14:05:21.337Z-0000000001","source":"https://comments.example/","type":"comment/posted \"x\"","bus":"b","channel":"c1","sticky":"true","expire":"2024-03-09T22:05:21Z","payload":{ "n":12345678901234567890123 }}"#
        );
    }

    #[test]
    fn arrays_are_joined() {
        let mut out = Vec::new();
        push_array(&mut out, &[]);
        push_array(&mut out, &[Bytes::from_static(b"1"), Bytes::from_static(b"2")]);
        assert_eq!(out, b"[][1,2]");
    }
}
