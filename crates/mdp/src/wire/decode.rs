//! What a ROUTER received, as a message (mdp.md §6.1).
//!
//! A pure function of the frames. What is invalid in itself is an [`Invalid`]; a worker message
//! whose envelope is sound but whose command is not is [`WorkerMessage::Malformed`], because the
//! broker answers it with DISCONNECT (mdp.md §8.2).

use std::ops::Deref;

use bytes::Bytes;
use smallvec::SmallVec;

use super::envelope::{Envelope, Hop, Shape, Version};
use super::zproto;
use crate::Frames;
use crate::closed_set::closed_set;

/// Bounds of one message (mdp.md §12.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLimits {
    /// Most frames of a message, routing id included; default 1024. More is dropped and counted.
    pub frames_max: usize,
    /// Most bytes of a message over all frames; default 64 MiB, because `MAXMSGSIZE` limits each
    /// frame only (mdp.md §15.2). More is dropped and counted.
    pub bytes_max: usize,
    /// Most frames before the delimiter; default 8, enough for several proxies in a row.
    pub stack_max: usize,
    /// Most bytes of one frame before the delimiter or of a client address; default 255, the
    /// longest routing id.
    pub hop_bytes_max: usize,
    /// Dialects accepted beside the published ones; default none.
    pub dialects: Dialects,
}

/// Dialects that are not the published protocol, each off by default (mdp.md §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialects {
    /// Clients of the Python package `majortomo`, whose REQUEST is 02.
    pub majortomo: bool,
    /// Peers of the C library `majordomo`, which packs header and command into one frame.
    pub zproto: bool,
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            frames_max: 1024,
            bytes_max: 64 << 20,
            stack_max: 8,
            hop_bytes_max: 255,
            dialects: Dialects::default(),
        }
    }
}

closed_set! {
    /// Why a message is dropped without an answer.
    pub enum Invalid {
        /// `[id, '']` of `ZMQ_PROBE_ROUTER`, or fewer than two frames.
        Probe = "probe",
        /// No known header where one must stand.
        Header = "header",
        /// MDP/0.1 without the delimiter.
        Bare01 = "bare_01",
        /// A client message without a service frame.
        NoService = "no_service",
        /// A client message of 0.2 whose command is not REQUEST.
        ClientCommand = "client_command",
        /// A service name that mdp.md §7 does not allow.
        ServiceName = "service_name",
        /// More frames than allowed.
        TooManyFrames = "too_many_frames",
        /// More bytes than allowed.
        TooLarge = "too_large",
        /// A client message on a socket for workers, or the reverse.
        WrongSide = "wrong_side",
    }
}

/// One message as the broker received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// How to answer.
    pub envelope: Envelope,
    /// What was said.
    pub peer: Peer,
}

/// For whom a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Clients and workers.
    Both,
    /// Clients only.
    Clients,
    /// Workers only.
    Workers,
}

impl Incoming {
    /// Returns the message if a socket for `side` may carry it (mdp.md §8.5, §12.3).
    ///
    /// # Errors
    ///
    /// [`Invalid::WrongSide`].
    pub fn arrived_at(self, side: Side) -> Result<Self, Invalid> {
        match (side, &self.peer) {
            (Side::Both, _)
            | (Side::Clients, Peer::Client(_))
            | (Side::Workers, Peer::Worker(_)) => Ok(self),
            (Side::Clients, Peer::Worker(_)) | (Side::Workers, Peer::Client(_)) => {
                Err(Invalid::WrongSide)
            }
        }
    }
}

/// The two kinds of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client message.
    Client(ClientMessage),
    /// A worker message.
    Worker(WorkerMessage),
}

/// A client's REQUEST, the only client message there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMessage {
    /// The service frame, not yet checked.
    pub service: Hop,
    /// The frames after it.
    pub body: Frames,
}

/// What a worker may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerMessage {
    /// READY with the service frame, not yet checked.
    Ready {
        /// The service frame.
        service: Hop,
    },
    /// REPLY of 0.1, FINAL of 0.2.
    Reply {
        /// The echoed client-address frame.
        address: Hop,
        /// The frames after the empty frame.
        body: Frames,
    },
    /// PARTIAL of 0.2.
    Partial {
        /// The echoed client-address frame.
        address: Hop,
        /// The frames after the empty frame.
        body: Frames,
    },
    /// HEARTBEAT, whatever frames follow it.
    Heartbeat,
    /// DISCONNECT, whatever frames follow it.
    Disconnect,
    /// A worker header followed by nothing a worker may say.
    Malformed,
}

/// Decodes the frames of one multipart message as a ROUTER delivers it, routing id first.
///
/// # Errors
///
/// An [`Invalid`] for what is dropped silently and counted.
pub fn decode<F: Deref<Target = [u8]>>(
    frames: &[F],
    limits: &WireLimits,
) -> Result<Incoming, Invalid> {
    let (Some(route), Some(second)) = (frames.first(), frames.get(1)) else {
        return Err(Invalid::Probe);
    };
    if frames.len() == 2 && second.is_empty() {
        return Err(Invalid::Probe);
    }
    if frames.len() > limits.frames_max {
        return Err(Invalid::TooManyFrames);
    }
    if frames.iter().map(|frame| frame.len()).sum::<usize>() > limits.bytes_max {
        return Err(Invalid::TooLarge);
    }
    if limits.dialects.zproto && zproto::is_packed(second) {
        return decode_packed(route, second, frames.get(2..).unwrap_or_default(), limits);
    }
    let (header_at, mut shape) = locate_header(frames, limits)?;
    let header: &[u8] = frames.get(header_at).ok_or(Invalid::Header)?;
    let (version, from_client) = parse_header(header).ok_or(Invalid::Header)?;
    if shape == Shape::Bare && version == Version::V01 {
        return Err(Invalid::Bare01);
    }
    let rest = frames.get(header_at + 1..).unwrap_or_default();
    let stack_end = header_at - usize::from(shape == Shape::Delimited);
    let stack: SmallVec<[Hop; 1]> = frames
        .get(1..stack_end)
        .unwrap_or_default()
        .iter()
        .map(|frame| Hop::from(&**frame))
        .collect();
    if stack.iter().any(|hop| hop.as_slice().len() > limits.hop_bytes_max) {
        return Err(Invalid::TooLarge);
    }
    let shifted = limits.dialects.majortomo
        && from_client
        && version == Version::V02
        && shape == Shape::Delimited
        && rest.first().is_some_and(|code| **code == *b"\x02");
    if shifted {
        shape = Shape::Majortomo;
    }
    let envelope = Envelope { route: Hop::from(&**route), stack, shape, version };
    let peer = if from_client {
        Peer::Client(decode_client(version, shape, rest)?)
    } else {
        Peer::Worker(decode_worker(version, rest, limits))
    };
    Ok(Incoming { envelope, peer })
}

/// Decodes a message of the zproto dialect as the bare one it stands for.
fn decode_packed<F: Deref<Target = [u8]>>(
    route: &F,
    packed: &[u8],
    body: &[F],
    limits: &WireLimits,
) -> Result<Incoming, Invalid> {
    let unpacked = zproto::unpack(packed).ok_or(Invalid::Header)?;
    let mut frames = unpacked.frames;
    frames.extend(body.iter().map(|frame| &**frame));
    let (version, shape) = (Version::V02, Shape::Zproto);
    let peer = if unpacked.from_client {
        Peer::Client(decode_client(version, shape, &frames)?)
    } else {
        Peer::Worker(decode_worker(version, &frames, limits))
    };
    let stack = SmallVec::new();
    Ok(Incoming { envelope: Envelope { route: Hop::from(&**route), stack, shape, version }, peer })
}

fn locate_header<F: Deref<Target = [u8]>>(
    frames: &[F],
    limits: &WireLimits,
) -> Result<(usize, Shape), Invalid> {
    if frames.get(1).is_some_and(|frame| parse_header(frame).is_some()) {
        return Ok((1, Shape::Bare));
    }
    frames
        .iter()
        .enumerate()
        .skip(1)
        .take(limits.stack_max + 1)
        .find(|(_, frame)| frame.is_empty())
        .map(|(at, _)| (at + 1, Shape::Delimited))
        .ok_or(Invalid::Header)
}

/// Returns version and whether the header is a client's; only the four exact texts are known.
fn parse_header(frame: &[u8]) -> Option<(Version, bool)> {
    match frame {
        super::CLIENT_01 => Some((Version::V01, true)),
        super::CLIENT_02 => Some((Version::V02, true)),
        super::WORKER_01 => Some((Version::V01, false)),
        super::WORKER_02 => Some((Version::V02, false)),
        _ => None,
    }
}

fn decode_client<F: Deref<Target = [u8]>>(
    version: Version,
    shape: Shape,
    rest: &[F],
) -> Result<ClientMessage, Invalid> {
    let request = if shape == Shape::Majortomo { b"\x02" } else { b"\x01" };
    let rest = match version {
        Version::V01 => rest,
        Version::V02 => match rest.split_first() {
            Some((code, rest)) if **code == *request => rest,
            _ => return Err(Invalid::ClientCommand),
        },
    };
    let (service, body) = rest.split_first().ok_or(Invalid::NoService)?;
    if service.is_empty() || service.len() > 255 {
        return Err(Invalid::ServiceName);
    }
    Ok(ClientMessage { service: Hop::from(&**service), body: copy_body(body) })
}

fn decode_worker<F: Deref<Target = [u8]>>(
    version: Version,
    rest: &[F],
    limits: &WireLimits,
) -> WorkerMessage {
    let Some((command, rest)) = rest.split_first() else {
        return WorkerMessage::Malformed;
    };
    let command: &[u8] = command;
    if command == b"\x01" {
        return match rest.first() {
            Some(service) if service.len() <= 255 => {
                WorkerMessage::Ready { service: Hop::from(&**service) }
            }
            _ => WorkerMessage::Malformed,
        };
    }
    if command == version.heartbeat() {
        return WorkerMessage::Heartbeat;
    }
    if command == version.disconnect() {
        return WorkerMessage::Disconnect;
    }
    let is_final = command == version.reply();
    let is_partial = version == Version::V02 && command == b"\x03";
    match rest {
        [address, delimiter, body @ ..]
            if (is_final || is_partial)
                && delimiter.is_empty()
                && !address.is_empty()
                && address.len() <= limits.hop_bytes_max =>
        {
            let (address, body) = (Hop::from(&**address), copy_body(body));
            if is_final {
                WorkerMessage::Reply { address, body }
            } else {
                WorkerMessage::Partial { address, body }
            }
        }
        _ => WorkerMessage::Malformed,
    }
}

pub(super) fn copy_body<F: Deref<Target = [u8]>>(frames: &[F]) -> Frames {
    frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()
}
