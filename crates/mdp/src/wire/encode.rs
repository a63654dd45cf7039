//! What a ROUTER sends, as frames.

use bytes::Bytes;

use super::envelope::{Envelope, Hop, Shape, Version};
use super::zproto;
use crate::{Frames, ServiceName};

/// One frame to be sent, in whatever form is cheapest to hand over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A constant of the protocol.
    Static(&'static [u8]),
    /// A routing id, stack frame or client address.
    Hop(Hop),
    /// A service name or body frame.
    Bytes(Bytes),
}

impl Part {
    /// Returns the bytes of the frame.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Hop(hop) => hop.as_slice(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// One message of the broker to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The peer's return envelope.
    pub to: Envelope,
    /// What is said.
    pub message: ToPeer,
}

/// What the broker may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToPeer {
    /// REQUEST to a worker.
    Request {
        /// The client-address frame: a token the worker echoes (mdp.md §11.2).
        address: Hop,
        /// The request's body.
        body: Frames,
    },
    /// HEARTBEAT to a worker.
    Heartbeat,
    /// DISCONNECT to a worker.
    Disconnect,
    /// PARTIAL to a 0.2 client.
    Partial {
        /// The requested service.
        service: ServiceName,
        /// The part's body.
        body: Frames,
    },
    /// REPLY to a 0.1 client, FINAL to a 0.2 client.
    Reply {
        /// The requested service.
        service: ServiceName,
        /// The reply's body.
        body: Frames,
    },
}

impl Outgoing {
    /// Appends the frames of the message to `parts`, routing id first.
    pub fn write_to(self, parts: &mut Vec<Part>) {
        let Envelope { route, stack, shape, version } = self.to;
        parts.push(Part::Hop(route));
        parts.extend(stack.into_iter().map(Part::Hop));
        match shape {
            Shape::Bare => self.message.write_to(version, parts),
            Shape::Delimited => {
                parts.push(Part::Static(b""));
                self.message.write_to(version, parts);
            }
            Shape::Majortomo => {
                parts.push(Part::Static(b""));
                self.message.write_to_majortomo(version, parts);
            }
            Shape::Zproto => zproto::write(self.message, parts),
        }
    }

    /// Says whether this goes to a worker; otherwise it goes to a client.
    pub(crate) fn is_to_worker(&self) -> bool {
        match self.message {
            ToPeer::Request { .. } | ToPeer::Heartbeat | ToPeer::Disconnect => true,
            ToPeer::Partial { .. } | ToPeer::Reply { .. } => false,
        }
    }
}

impl ToPeer {
    fn write_to(self, version: Version, parts: &mut Vec<Part>) {
        match self {
            Self::Request { address, body } => {
                parts.push(Part::Static(version.worker_header()));
                parts.push(Part::Static(b"\x02"));
                parts.push(Part::Hop(address));
                parts.push(Part::Static(b""));
                parts.extend(body.into_iter().map(Part::Bytes));
            }
            Self::Heartbeat => {
                parts.push(Part::Static(version.worker_header()));
                parts.push(Part::Static(version.heartbeat()));
            }
            Self::Disconnect => {
                parts.push(Part::Static(version.worker_header()));
                parts.push(Part::Static(version.disconnect()));
            }
            Self::Partial { service, body } => write_reply(version, b"\x02", &service, body, parts),
            Self::Reply { service, body } => write_reply(version, b"\x03", &service, body, parts),
        }
    }

    /// PARTIAL is 03, FINAL 04, and the service is not named (mdp.md §6.3 c).
    fn write_to_majortomo(self, version: Version, parts: &mut Vec<Part>) {
        let (code, body): (&'static [u8], _) = match self {
            Self::Partial { body, .. } => (b"\x03", body),
            Self::Reply { body, .. } => (b"\x04", body),
            to_worker => return to_worker.write_to(version, parts),
        };
        parts.push(Part::Static(version.client_header()));
        parts.push(Part::Static(code));
        parts.extend(body.into_iter().map(Part::Bytes));
    }
}

/// The client's codes are not the worker's: PARTIAL 03 becomes 02, FINAL 04 becomes 03 (§5.2).
fn write_reply(
    version: Version,
    code: &'static [u8],
    service: &ServiceName,
    body: Frames,
    parts: &mut Vec<Part>,
) {
    parts.push(Part::Static(version.client_header()));
    if version == Version::V02 {
        parts.push(Part::Static(code));
    }
    parts.push(Part::Bytes(service.as_bytes().clone()));
    parts.extend(body.into_iter().map(Part::Bytes));
}
