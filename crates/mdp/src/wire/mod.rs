//! Frames to messages and back: MDP/0.1 and MDP/0.2, bare and delimited, two dialects, and what
//! brokers say to each other.
//!
//! Nothing here keeps state, reads a socket or knows a service.

mod dealer;
mod decode;
mod encode;
mod envelope;
#[cfg(test)]
mod examples;
mod kind;
mod link;
#[cfg(test)]
pub(crate) mod notation;
mod zproto;

pub use dealer::{
    FromBroker, Reply, ReplyKind, ToBroker, decode_from_broker, decode_reply, encode_request,
    encode_to_broker,
};
pub use decode::{
    ClientMessage, Dialects, Incoming, Invalid, Peer, Side, WireLimits, WorkerMessage, decode,
};
pub use encode::{Outgoing, Part, ToPeer};
pub(crate) use envelope::PeerKey;
pub use envelope::{Envelope, Hop, Shape, Version};
pub use kind::MessageKind;
pub use link::{BadLinkMessage, BrokerId, LINK_VERSION, LinkMessage, Refusal, Returned};

/// Header of a client message of MDP/0.1.
pub const CLIENT_01: &[u8] = b"MDPC01";
/// Header of a client message of MDP/0.2.
pub const CLIENT_02: &[u8] = b"MDPC02";
/// Header of a worker message of MDP/0.1.
pub const WORKER_01: &[u8] = b"MDPW01";
/// Header of a worker message of MDP/0.2.
pub const WORKER_02: &[u8] = b"MDPW02";
