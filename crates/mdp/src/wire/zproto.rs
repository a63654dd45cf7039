//! The dialect of the C library `majordomo`: header, command and service packed into one frame.
//!
//! ```text
//! AA A4 | message id | length "MDPC02" or "MDPW02" | command | length service, if the message has one
//! ```
//!
//! Otherwise it is MDP/0.2 in bare form (mdp.md §6.3 d).

use bytes::Bytes;
use smallvec::SmallVec;

use super::encode::{Part, ToPeer};
use super::{CLIENT_02, WORKER_02};

const SIGNATURE: [u8; 2] = [0xAA, 0xA4];

/// Messages of clients have the ids 1 to 3, which are their commands; those of workers follow.
const CLIENT_IDS: u8 = 3;

/// READY, the only worker message that names a service.
const READY_ID: u8 = CLIENT_IDS + 1;

/// DISCONNECT, the last.
const LAST_ID: u8 = CLIENT_IDS + 6;

/// Says whether a frame is of this dialect, well-formed or not.
pub(super) fn is_packed(frame: &[u8]) -> bool {
    frame.starts_with(&SIGNATURE)
}

/// What a packed frame says.
pub(super) struct Unpacked<'a> {
    pub(super) from_client: bool,
    /// The frames that follow the header in bare form: the command, and the service if there is one.
    pub(super) frames: SmallVec<[&'a [u8]; 2]>,
}

/// Takes a packed frame apart; `None` when it breaks the format anywhere.
pub(super) fn unpack(frame: &[u8]) -> Option<Unpacked<'_>> {
    let rest = frame.strip_prefix(&SIGNATURE)?;
    let (id, rest) = rest.split_first()?;
    let from_client = (1..=CLIENT_IDS).contains(id);
    if !from_client && !(READY_ID..=LAST_ID).contains(id) {
        return None;
    }
    let (version, rest) = short_string(rest)?;
    if version != (if from_client { CLIENT_02 } else { WORKER_02 }) {
        return None;
    }
    let (command, mut rest) = rest.split_at_checked(1)?;
    if command != [if from_client { *id } else { id - CLIENT_IDS }] {
        return None;
    }
    let mut frames = SmallVec::from_slice(&[command]);
    if *id <= READY_ID {
        let (service, end) = short_string(rest)?;
        frames.push(service);
        rest = end;
    }
    rest.is_empty().then_some(Unpacked { from_client, frames })
}

fn short_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Appends a message of the broker to `parts`.
pub(super) fn write(message: ToPeer, parts: &mut Vec<Part>) {
    match message {
        ToPeer::Request { address, body } => {
            parts.push(pack(5, None));
            parts.push(Part::Hop(address));
            parts.push(Part::Static(b""));
            parts.extend(body.into_iter().map(Part::Bytes));
        }
        ToPeer::Heartbeat => parts.push(pack(8, None)),
        ToPeer::Disconnect => parts.push(pack(LAST_ID, None)),
        ToPeer::Partial { service, body } => {
            parts.push(pack(2, Some(service.as_bytes())));
            parts.extend(body.into_iter().map(Part::Bytes));
        }
        ToPeer::Reply { service, body } => {
            parts.push(pack(3, Some(service.as_bytes())));
            parts.extend(body.into_iter().map(Part::Bytes));
        }
    }
}

fn pack(id: u8, service: Option<&[u8]>) -> Part {
    let (version, command) =
        if id <= CLIENT_IDS { (CLIENT_02, id) } else { (WORKER_02, id - CLIENT_IDS) };
    let mut packed = Vec::with_capacity(16);
    packed.extend(SIGNATURE);
    packed.push(id);
    push_short_string(&mut packed, version);
    packed.push(command);
    if let Some(service) = service {
        push_short_string(&mut packed, service);
    }
    Part::Bytes(Bytes::from(packed))
}

/// A service name has at most 255 bytes, so its length fits (mdp.md §7).
fn push_short_string(packed: &mut Vec<u8>, text: &[u8]) {
    packed.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    packed.extend_from_slice(text);
}
