//! The same messages as the DEALER of a client or a worker sees them: no routing id in front.

use std::ops::Deref;

use smallvec::SmallVec;

use super::decode::copy_body;
use super::encode::Part;
use super::envelope::{Hop, Shape, Version};
use crate::{Frames, ServiceName};

/// Appends a client's REQUEST to `parts`.
///
/// `id` is the correlation frame in front of the delimiter (mdp.md §11.1); without one the message
/// is plain. Both versions are sent delimited, since the bare form has no room for an id.
pub fn encode_request(
    version: Version,
    id: Option<&[u8]>,
    service: &ServiceName,
    body: Frames,
    parts: &mut Vec<Part>,
) {
    if let Some(id) = id {
        parts.push(Part::Hop(Hop::from(id)));
    }
    parts.push(Part::Static(b""));
    parts.push(Part::Static(version.client_header()));
    if version == Version::V02 {
        parts.push(Part::Static(b"\x01"));
    }
    parts.push(Part::Bytes(service.as_bytes().clone()));
    parts.extend(body.into_iter().map(Part::Bytes));
}

/// Whether more follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// PARTIAL of 0.2.
    Partial,
    /// REPLY or FINAL.
    Final,
}

/// A reply as a client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The correlation frame, if one stood before the delimiter.
    pub id: Option<Hop>,
    /// Whether more follows.
    pub kind: ReplyKind,
    /// The service frame.
    pub service: Hop,
    /// The frames after it.
    pub body: Frames,
}

/// Decodes what a client's DEALER received; `None` is anything that is no reply of `version`.
///
/// Source: mdp.md §8.4 (check code and service, discard, never abort).
pub fn decode_reply<F: Deref<Target = [u8]>>(version: Version, frames: &[F]) -> Option<Reply> {
    let (id, rest) = match frames {
        [empty, rest @ ..] if empty.is_empty() => (None, rest),
        [id, empty, rest @ ..] if empty.is_empty() => (Some(Hop::from(&**id)), rest),
        rest => (None, rest),
    };
    let (header, rest) = rest.split_first()?;
    if **header != *version.client_header() {
        return None;
    }
    let (kind, rest) = match version {
        Version::V01 => (ReplyKind::Final, rest),
        Version::V02 => match rest {
            [code, rest @ ..] if **code == *b"\x02" => (ReplyKind::Partial, rest),
            [code, rest @ ..] if **code == *b"\x03" => (ReplyKind::Final, rest),
            _ => return None,
        },
    };
    let (service, body) = rest.split_first()?;
    Some(Reply { id, kind, service: Hop::from(&**service), body: copy_body(body) })
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToBroker {
    /// READY.
    Ready(ServiceName),
    /// PARTIAL of 0.2; there is none in 0.1.
    Partial {
        /// The address frames of the request, echoed.
        address: SmallVec<[Hop; 1]>,
        /// The part's body.
        body: Frames,
    },
    /// REPLY of 0.1, FINAL of 0.2.
    Reply {
        /// The address frames of the request, echoed.
        address: SmallVec<[Hop; 1]>,
        /// The reply's body.
        body: Frames,
    },
    /// HEARTBEAT.
    Heartbeat,
    /// DISCONNECT.
    Disconnect,
}

/// Appends a worker's message to `parts`.
pub fn encode_to_broker(version: Version, shape: Shape, message: ToBroker, parts: &mut Vec<Part>) {
    if shape == Shape::Delimited {
        parts.push(Part::Static(b""));
    }
    parts.push(Part::Static(version.worker_header()));
    match message {
        ToBroker::Ready(service) => {
            parts.push(Part::Static(b"\x01"));
            parts.push(Part::Bytes(service.as_bytes().clone()));
        }
        ToBroker::Partial { address, body } => write_answer(b"\x03", address, body, parts),
        ToBroker::Reply { address, body } => write_answer(version.reply(), address, body, parts),
        ToBroker::Heartbeat => parts.push(Part::Static(version.heartbeat())),
        ToBroker::Disconnect => parts.push(Part::Static(version.disconnect())),
    }
}

fn write_answer(
    code: &'static [u8],
    address: SmallVec<[Hop; 1]>,
    body: Frames,
    parts: &mut Vec<Part>,
) {
    parts.push(Part::Static(code));
    parts.extend(address.into_iter().map(Part::Hop));
    parts.push(Part::Static(b""));
    parts.extend(body.into_iter().map(Part::Bytes));
}

/// What a worker received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBroker {
    /// REQUEST with the address to echo: one frame, or several from a Backbone broker.
    Request {
        /// The frames up to the first empty one.
        address: SmallVec<[Hop; 1]>,
        /// The frames after it.
        body: Frames,
    },
    /// HEARTBEAT.
    Heartbeat,
    /// DISCONNECT.
    Disconnect,
}

/// Decodes what a worker's DEALER received; `None` is anything else, to be ignored (mdp.md §8.3).
///
/// The delimiter may be missing: a Backbone broker sends DISCONNECT without it.
pub fn decode_from_broker<F: Deref<Target = [u8]>>(
    version: Version,
    frames: &[F],
) -> Option<FromBroker> {
    let frames = match frames {
        [empty, rest @ ..] if empty.is_empty() => rest,
        rest => rest,
    };
    let (header, command, rest) = match frames {
        [header, command, rest @ ..] => (&**header, &**command, rest),
        _ => return None,
    };
    if *header != *version.worker_header() {
        return None;
    }
    if *command == *version.heartbeat() {
        return Some(FromBroker::Heartbeat);
    }
    if *command == *version.disconnect() {
        return Some(FromBroker::Disconnect);
    }
    if *command != *b"\x02" {
        return None;
    }
    let end = rest.iter().position(|frame| frame.is_empty())?;
    let address: SmallVec<[Hop; 1]> =
        rest.get(..end)?.iter().map(|frame| Hop::from(&**frame)).collect();
    if address.is_empty() {
        return None;
    }
    Some(FromBroker::Request { address, body: copy_body(rest.get(end + 1..)?) })
}
