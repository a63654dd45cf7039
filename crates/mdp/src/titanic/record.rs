//! A request or reply as it is stored.
//!
//! One byte says what it is. A request goes on with the length of its service's name in one byte and
//! the name; then, as in a reply, each frame with its length before it, four bytes, little-endian.
//! Never here: where it is stored.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::{Frames, ServiceName};

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const UNANSWERABLE: u8 = 3;

/// What is stored under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A request that has no reply yet.
    Request {
        /// Whom it is for.
        service: ServiceName,
        /// Its body.
        body: Frames,
    },
    /// The reply.
    Reply(Frames),
    /// The reply was longer than what may be stored.
    Unanswerable,
}

/// The bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored record is damaged or of a later release")]
pub(super) struct Damaged;

impl Record {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Self::Request { service, body } => {
                let name = service.as_bytes();
                bytes.put_u8(REQUEST);
                // A name has at most 255 bytes.
                bytes.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
                bytes.put_slice(name);
                put_frames(&mut bytes, body);
            }
            Self::Reply(body) => {
                bytes.put_u8(REPLY);
                put_frames(&mut bytes, body);
            }
            Self::Unanswerable => bytes.put_u8(UNANSWERABLE),
        }
        bytes.freeze()
    }

    /// Reads a record; the frames share its bytes.
    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, Damaged> {
        match bytes.try_get_u8().map_err(|_| Damaged)? {
            REQUEST => {
                let length = bytes.try_get_u8().map_err(|_| Damaged)?;
                let name = take(&mut bytes, usize::from(length))?;
                let service = ServiceName::parse(&name).map_err(|_| Damaged)?;
                Ok(Self::Request { service, body: take_frames(bytes)? })
            }
            REPLY => Ok(Self::Reply(take_frames(bytes)?)),
            UNANSWERABLE if bytes.is_empty() => Ok(Self::Unanswerable),
            _ => Err(Damaged),
        }
    }
}

fn put_frames(bytes: &mut BytesMut, frames: &Frames) {
    for frame in frames {
        // A frame of 4 GiB is far beyond what a message may have.
        bytes.put_u32_le(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        bytes.put_slice(frame);
    }
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, Damaged> {
    if bytes.len() < length { Err(Damaged) } else { Ok(bytes.split_to(length)) }
}

fn take_frames(mut bytes: Bytes) -> Result<Frames, Damaged> {
    let mut frames = Frames::new();
    while !bytes.is_empty() {
        let length = bytes.try_get_u32_le().map_err(|_| Damaged)?;
        frames.push(take(&mut bytes, usize::try_from(length).map_err(|_| Damaged)?)?);
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frames> {
        let frame = prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec(frame, 0..6).prop_map(Frames::from)
    }

    proptest! {
        #[test]
        fn frame_boundaries_survive(body in frames(), name in "[a-z.é]{1,60}") {
            // Rule: mdp §17 — frame boundaries survive storage, empty frames and zero frames too
            let service = name.parse().unwrap();
            for record in [
                Record::Request { service, body: body.clone() },
                Record::Reply(body),
                Record::Unanswerable,
            ] {
                let bytes = record.encode();
                // No shorter prefix reads as the same, and nothing may follow a frame's end.
                for end in 0..bytes.len() {
                    prop_assert_ne!(Record::decode(bytes.slice(..end)), Ok(record.clone()));
                }
                prop_assert_eq!(Record::decode(bytes), Ok(record));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(record) = Record::decode(bytes.clone().into()) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}
