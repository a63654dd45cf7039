//! The return envelope: how a peer is reached and in which shape it is answered.

use smallvec::SmallVec;

/// A short opaque frame: a routing id, a frame of the address stack, or a client address.
///
/// Up to 16 bytes are held in place.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Hop(SmallVec<[u8; 16]>);

impl Hop {
    /// Returns the bytes of the frame.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Hop {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl std::fmt::Debug for Hop {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hop(")?;
        for byte in &self.0 {
            write!(out, "{byte:02X}")?;
        }
        out.write_str(")")
    }
}

/// The form in which a peer writes, and is answered (mdp.md §6.1, §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    /// The header follows the routing id, as the text of MDP/0.2 wants it.
    Bare,
    /// An empty frame precedes the header.
    Delimited,
    /// As [`Self::Delimited`], but a client of the Python package `majortomo`: its commands are one
    /// higher and replies to it name no service.
    Majortomo,
    /// Header, command and service stand in one frame, as the C library `majordomo` packs them.
    Zproto,
}

/// The protocol version a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// MDP/0.1 (7/MDP).
    V01,
    /// MDP/0.2 (18/MDP).
    V02,
}

impl Version {
    /// Returns the header of client messages of this version.
    pub const fn client_header(self) -> &'static [u8] {
        match self {
            Self::V01 => super::CLIENT_01,
            Self::V02 => super::CLIENT_02,
        }
    }

    /// Returns the header of worker messages of this version.
    pub const fn worker_header(self) -> &'static [u8] {
        match self {
            Self::V01 => super::WORKER_01,
            Self::V02 => super::WORKER_02,
        }
    }

    /// Returns the command byte of HEARTBEAT.
    pub const fn heartbeat(self) -> &'static [u8] {
        match self {
            Self::V01 => b"\x04",
            Self::V02 => b"\x05",
        }
    }

    /// Returns the command byte of DISCONNECT.
    pub const fn disconnect(self) -> &'static [u8] {
        match self {
            Self::V01 => b"\x05",
            Self::V02 => b"\x06",
        }
    }

    /// Returns the command byte by which a worker ends a request: REPLY, or FINAL of 0.2.
    pub const fn reply(self) -> &'static [u8] {
        match self {
            Self::V01 => b"\x03",
            Self::V02 => b"\x04",
        }
    }
}

/// Everything needed to answer a peer in exactly the shape it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The ROUTER's routing id of the connection.
    pub route: Hop,
    /// The frames between the routing id and the delimiter, returned in order (mdp.md §3.4).
    pub stack: SmallVec<[Hop; 1]>,
    /// The form of the message.
    pub shape: Shape,
    /// The version of the header.
    pub version: Version,
}

/// A key for maps: routing id and stack, unambiguous, in place for an anonymous peer.
pub(crate) type PeerKey = SmallVec<[u8; 24]>;

impl Envelope {
    /// Returns the identity of the peer behind this envelope (mdp.md §8.2: routing id + stack).
    pub(crate) fn key(&self) -> PeerKey {
        let mut key = PeerKey::new();
        for hop in std::iter::once(&self.route).chain(&self.stack) {
            let bytes = hop.as_slice();
            // The length keeps two different stacks from giving one key.
            key.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            key.extend_from_slice(bytes);
        }
        key
    }
}
