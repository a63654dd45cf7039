//! WebSocket frames as bytes (RFC 6455 §5; SimplePush §5.2, Appendix A).
//!
//! A [`Reader`] puts messages together from whatever pieces the socket gives, and holds nothing
//! between messages: an idle connection costs no buffer. What it holds of a message never exceeds
//! what was received of it, nor the limit. Never here: sockets, what messages mean.

use crate::config::Limits;

/// The most bytes of a frame's head from a client.
const HEAD_MAX: usize = 14;
/// The most bytes in a control frame.
const CONTROL_MAX: u64 = 125;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A whole text message.
    Text(String),
    /// The beginning of a binary message: nobody wants the rest.
    Binary,
    /// A PING with this payload.
    Ping(Vec<u8>),
    /// A PONG.
    Pong,
    /// A close frame with this code, if any.
    Close(Option<u16>),
}

/// Why nothing more can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameFault {
    /// RFC 6455 forbids the frame (R-WS-8).
    BadFrame,
    /// Text that is not UTF-8 (R-WS-8).
    BadUtf8,
    /// The message exceeds the limit (R-WS-9).
    TooBig,
    /// The message has too many fragments.
    Fragments,
}

/// A frame whose payload is being received.
#[derive(Debug)]
struct Frame {
    is_final: bool,
    opcode: u8,
    mask: [u8; 4],
    length: u64,
    received: u64,
}

/// What was received of a message or of a control frame.
#[derive(Debug, Default)]
struct Progress {
    head: [u8; HEAD_MAX],
    head_len: usize,
    frame: Option<Frame>,
    control: Vec<u8>,
    /// The text so far, once its first frame began.
    message: Option<Vec<u8>>,
    fragments: u32,
}

/// Reads the frames of one client.
#[derive(Debug, Default)]
pub(crate) struct Reader(Option<Box<Progress>>);

impl Reader {
    /// Whether a frame or message has begun and not ended.
    pub(crate) const fn is_receiving(&self) -> bool {
        self.0.is_some()
    }

    /// Takes bytes from the front of `input`, up to the end of the first message or control frame.
    /// `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`FrameFault`]; nothing more must be read then.
    pub(crate) fn read(
        &mut self,
        input: &mut &[u8],
        limits: &Limits,
    ) -> Result<Option<Incoming>, FrameFault> {
        while !input.is_empty() {
            let progress = self.0.get_or_insert_default();
            if progress.frame.is_none() {
                let Some(frame) = progress.read_head(input)? else { return Ok(None) };
                progress.begin(&frame, limits)?;
                if frame.opcode == BINARY {
                    return Ok(Some(Incoming::Binary));
                }
                progress.frame = Some(frame);
            }
            if !progress.read_payload(input) {
                return Ok(None);
            }
            let incoming = progress.end()?;
            if progress.message.is_none() {
                self.0 = None;
            }
            if incoming.is_some() {
                return Ok(incoming);
            }
        }
        Ok(None)
    }
}

impl Progress {
    /// Takes the head of a frame; `None` until it is whole.
    fn read_head(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameFault> {
        while let Some((&byte, rest)) = input.split_first() {
            let Some(slot) = self.head.get_mut(self.head_len) else {
                return Err(FrameFault::BadFrame);
            };
            *slot = byte;
            *input = rest;
            self.head_len += 1;
            if let Some(frame) = parse_head(self.head.get(..self.head_len).unwrap_or_default())? {
                self.head_len = 0;
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Checks that a frame may come now (RFC 6455 §5.4), before any of its payload is taken.
    fn begin(&mut self, frame: &Frame, limits: &Limits) -> Result<(), FrameFault> {
        match (frame.opcode, &self.message) {
            (TEXT | BINARY, Some(_)) | (CONTINUATION, None) => return Err(FrameFault::BadFrame),
            (TEXT, None) => self.message = Some(Vec::new()),
            (CONTINUATION, Some(_)) => {
                self.fragments += 1;
                if self.fragments > limits.fragments_max {
                    return Err(FrameFault::Fragments);
                }
            }
            _ => return Ok(()),
        }
        let so_far = self.message.as_ref().map_or(0, Vec::len);
        let room = limits.message_bytes_max.saturating_sub(so_far);
        if usize::try_from(frame.length).is_ok_and(|length| length <= room) {
            Ok(())
        } else {
            Err(FrameFault::TooBig)
        }
    }

    /// Takes payload; returns whether the frame is whole.
    fn read_payload(&mut self, input: &mut &[u8]) -> bool {
        let Some(frame) = &mut self.frame else { return false };
        let buffer = match &mut self.message {
            Some(message) if frame.opcode < CLOSE => message,
            _ => &mut self.control,
        };
        let missing = usize::try_from(frame.length - frame.received).unwrap_or(usize::MAX);
        let (taken, rest) = input.split_at(missing.min(input.len()));
        *input = rest;
        // The mask goes on where the last piece ended.
        let mask = frame.mask.iter().cycle().skip((frame.received % 4) as usize);
        buffer.extend(taken.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        frame.received += taken.len() as u64;
        frame.received == frame.length
    }

    /// Ends a frame: what it completes, if anything.
    fn end(&mut self) -> Result<Option<Incoming>, FrameFault> {
        let Some(frame) = self.frame.take() else { return Ok(None) };
        Ok(match frame.opcode {
            PING => Some(Incoming::Ping(std::mem::take(&mut self.control))),
            PONG => {
                self.control.clear();
                Some(Incoming::Pong)
            }
            CLOSE => Some(Incoming::Close(close_code(&self.control)?)),
            _ if !frame.is_final => None,
            _ => {
                self.fragments = 0;
                let bytes = self.message.take().unwrap_or_default();
                let text = String::from_utf8(bytes).map_err(|_| FrameFault::BadUtf8)?;
                Some(Incoming::Text(text))
            }
        })
    }
}

/// Reads the head of a client's frame; `None` if bytes are missing.
fn parse_head(head: &[u8]) -> Result<Option<Frame>, FrameFault> {
    let [first, second, rest @ ..] = head else { return Ok(None) };
    let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
    let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
    // No extension was agreed, so the reserved bits are 0; clients mask.
    if first & 0x70 != 0 || !known || second & 0x80 == 0 {
        return Err(FrameFault::BadFrame);
    }
    // A length in a longer form than it needs is the client's fault, but can't be misread.
    let (length, rest) = match second & 0x7f {
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        length => (u64::from(length), rest),
    };
    let control_fits = opcode < CLOSE || (is_final && length <= CONTROL_MAX);
    if length >> 63 != 0 || !control_fits {
        return Err(FrameFault::BadFrame);
    }
    let mask = rest.first_chunk().copied();
    Ok(mask.map(|mask| Frame { is_final, opcode, mask, length, received: 0 }))
}

/// The code of a close frame; only some may be on the wire (RFC 6455 §7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameFault> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(FrameFault::BadFrame);
            }
            std::str::from_utf8(reason).map_err(|_| FrameFault::BadUtf8)?;
            Ok(Some(code))
        }
        [_] => Err(FrameFault::BadFrame),
    }
}

/// What a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outgoing<'a> {
    /// A text message.
    Text(&'a str),
    /// A PING without payload.
    Ping,
    /// A PONG with the payload of the PING that it answers.
    Pong(&'a [u8]),
    /// A close frame.
    Close(Option<u16>),
}

impl Outgoing<'_> {
    /// Appends the frame.
    pub(crate) fn push_to(self, out: &mut Vec<u8>) {
        let code;
        let (opcode, payload) = match self {
            Self::Text(text) => (TEXT, text.as_bytes()),
            Self::Ping => (PING, &[][..]),
            Self::Pong(payload) => (PONG, payload),
            Self::Close(Some(given)) => {
                code = given.to_be_bytes();
                (CLOSE, &code[..])
            }
            Self::Close(None) => (CLOSE, &[][..]),
        };
        out.reserve_exact(10 + payload.len());
        out.push(0x80 | opcode);
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(length @ 0..=125), _) => out.push(length),
            (_, Ok(length)) => {
                out.push(126);
                out.extend_from_slice(&length.to_be_bytes());
            }
            _ => {
                out.push(127);
                out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client frame.
    fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend([first, 0xfe]);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn read_all(pieces: &[&[u8]]) -> Result<Vec<Incoming>, FrameFault> {
        let (mut reader, limits) = (Reader::default(), Limits::default());
        let mut all = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(incoming) = reader.read(&mut piece, &limits)? {
                all.push(incoming);
            }
        }
        Ok(all)
    }

    #[test]
    fn a_reader_holds_nothing_between_messages() {
        let (mut reader, limits) = (Reader::default(), Limits::default());
        let bytes = frame(0x81, b"{}", [1, 2, 3, 4]);
        let (mut start, mut end) = bytes.split_at(5);
        assert_eq!(reader.read(&mut start, &limits), Ok(None));
        assert!(reader.is_receiving());
        assert_eq!(reader.read(&mut end, &limits), Ok(Some(Incoming::Text("{}".into()))));
        assert!(!reader.is_receiving());
        assert_eq!(size_of::<Reader>(), size_of::<usize>());
    }

    #[test]
    fn forbidden_heads_are_faults() {
        for bytes in [
            &[0x81, 0x02][..],                        // Not masked.
            &[0xc1, 0x80],                            // A reserved bit.
            &[0x83, 0x80],                            // A reserved opcode.
            &[0x8b, 0x80],                            // A reserved control opcode.
            &[0x80, 0x80, 0, 0, 0, 0],                // Nothing to continue.
            &[0x09, 0x80],                            // A control frame in pieces.
            &[0x89, 0xfe, 0, 126],                    // A long control frame.
            &[0x81, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0], // The top bit.
        ] {
            assert_eq!(read_all(&[bytes]), Err(FrameFault::BadFrame), "{bytes:?}");
        }
        let second_text = [frame(0x01, b"a", [0; 4]), frame(0x01, b"b", [0; 4])].concat();
        assert_eq!(read_all(&[&second_text]), Err(FrameFault::BadFrame));
    }

    #[test]
    fn close_codes_that_never_travel_are_faults() {
        // Rule: simplepush Appendix A — 1005, 1006, 1015, one byte, or an unknown code are protocol errors
        let close = |payload: &[u8]| read_all(&[&frame(0x88, payload, [9; 4])]);
        assert_eq!(close(b""), Ok(vec![Incoming::Close(None)]));
        assert_eq!(close(b"\x03\xe8bye"), Ok(vec![Incoming::Close(Some(1000))]));
        for bad in [&b"\x03"[..], b"\x03\xed", b"\x03\xee", b"\x03\xf7", b"\x00\x00", b"\x13\x88"] {
            assert_eq!(close(bad), Err(FrameFault::BadFrame), "{bad:?}");
        }
        assert_eq!(close(b"\x03\xe8\xff"), Err(FrameFault::BadUtf8));
    }

    #[test]
    fn a_message_has_a_bounded_number_of_fragments() {
        // Rule: simplepush R-WS-8 — endless empty fragments end the connection
        let max = Limits::default().fragments_max as usize;
        let mut pieces = vec![frame(0x01, b"{", [0; 4])];
        pieces.extend(std::iter::repeat_n(frame(0x00, b"", [0; 4]), max - 1));
        let mut whole = pieces.clone();
        whole.push(frame(0x80, b"}", [0; 4]));
        assert_eq!(read_all(&[&whole.concat()]), Ok(vec![Incoming::Text("{}".into())]));
        pieces.extend(std::iter::repeat_n(frame(0x00, b"", [0; 4]), 2));
        assert_eq!(read_all(&[&pieces.concat()]), Err(FrameFault::Fragments));
    }

    #[test]
    fn the_length_counts_before_the_payload_comes() {
        let huge = [&[0x81, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
        assert_eq!(read_all(&[&huge]), Err(FrameFault::TooBig));
    }

    #[test]
    fn frames_of_the_server_are_written_in_the_shortest_form() {
        let written = |outgoing: Outgoing<'_>| {
            let mut out = Vec::new();
            outgoing.push_to(&mut out);
            out
        };
        assert_eq!(written(Outgoing::Text("{}")), b"\x81\x02{}");
        assert_eq!(written(Outgoing::Close(Some(1000))), b"\x88\x02\x03\xe8");
        assert_eq!(written(Outgoing::Ping), b"\x89\x00");
        assert_eq!(written(Outgoing::Text(&"x".repeat(126)))[..4], *b"\x81\x7e\x00\x7e");
        let long = written(Outgoing::Text(&"x".repeat(70_000)));
        assert_eq!(long[..10], *b"\x81\x7f\x00\x00\x00\x00\x00\x01\x11\x70");
    }

    proptest! {
        // Rule: simplepush R-WS-8 — fragments are reassembled wherever they and the segments are cut
        #[test]
        fn pieces_do_not_matter(
            text in "\\PC{0,200}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            segment in 1_usize..50,
            mask in any::<[u8; 4]>(),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let mut bytes = Vec::new();
            let count = at.len() - 1;
            for (index, range) in at.windows(2).enumerate() {
                let fin = if index + 1 == count { 0x80 } else { 0 };
                let opcode = u8::from(index == 0);
                bytes.extend(frame(fin | opcode, &text.as_bytes()[range[0]..range[1]], mask));
                if fin == 0 {
                    bytes.extend(frame(0x89, b"now", mask));
                }
            }
            let pieces: Vec<&[u8]> = bytes.chunks(segment).collect();
            let mut expected: Vec<Incoming> =
                (1..count).map(|_| Incoming::Ping(b"now".to_vec())).collect();
            expected.push(Incoming::Text(text));
            prop_assert_eq!(read_all(&pieces), Ok(expected));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _outcome = read_all(&[&bytes]);
        }
    }
}
