//! The frames of a request and its reply as a REQ socket carries them (mdp.md §4.1, §9.6).
//!
//! For programs that have a socket of their own. Never in here: a socket.

use bytes::Bytes;

use crate::wire::{CLIENT_01, Version, decode_reply};
use crate::{Frames, ServiceName};

/// A request of MDP/0.1 and, later, its reply: Backbone's `BackboneClientMessage`.
#[derive(Clone, Debug)]
pub struct ClientMessage {
    service: ServiceName,
    body: Frames,
    reply: Option<Reply>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The only body frame, without a list around it.
    Single(Bytes),
    /// All body frames.
    List(Frames),
}

/// How replies are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyOptions {
    /// Whether a reply of exactly one body frame is that frame instead of a list; default yes.
    pub simplify_short: bool,
}

impl Default for ReplyOptions {
    fn default() -> Self {
        Self { simplify_short: true }
    }
}

/// Why frames are not the reply to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The frames are no reply of MDP/0.1.
    #[error("the frames are no reply of MDP/0.1")]
    NoReply,
    /// The reply is one of another service.
    #[error("the reply is one of another service")]
    OtherService,
}

impl ClientMessage {
    /// Makes a request.
    pub fn new(service: ServiceName, body: impl Into<Frames>) -> Self {
        Self { service, body: body.into(), reply: None }
    }

    /// Returns the frames to send with a REQ socket: header, service, body. A DEALER sends an empty
    /// frame in front of them.
    pub fn serialize(&self) -> Vec<Bytes> {
        let head = [Bytes::from_static(CLIENT_01), self.service.as_bytes().clone()];
        head.into_iter().chain(self.body.clone()).collect()
    }

    /// Reads the frames of a reply, as a REQ or as a DEALER got them, and keeps the result.
    ///
    /// # Errors
    ///
    /// A [`ReplyError`] when they are no reply to this request; what was kept before stays.
    pub fn parse_reply(
        &mut self,
        frames: &[Bytes],
        options: ReplyOptions,
    ) -> Result<&Reply, ReplyError> {
        let reply = decode_reply(Version::V01, frames).ok_or(ReplyError::NoReply)?;
        if reply.service.as_slice() != self.service.as_bytes() {
            return Err(ReplyError::OtherService);
        }
        let reply = match reply.body.single() {
            Some(frame) if options.simplify_short => Reply::Single(frame.clone()),
            Some(_) | None => Reply::List(reply.body),
        };
        Ok(self.reply.insert(reply))
    }

    /// Does what [`Self::parse_reply`] does: Backbone has both names.
    ///
    /// # Errors
    ///
    /// Those of [`Self::parse_reply`].
    pub fn parse_response(
        &mut self,
        frames: &[Bytes],
        options: ReplyOptions,
    ) -> Result<&Reply, ReplyError> {
        self.parse_reply(frames, options)
    }

    /// Returns the reply last read.
    pub fn reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(frames: &[&'static [u8]]) -> Vec<Bytes> {
        frames.iter().copied().map(Bytes::from_static).collect()
    }

    #[test]
    fn a_request_is_header_service_and_body() {
        // Rule: mdp §9.6 — serialize gives header, service and body without a leading empty frame
        let message = ClientMessage::new("echo".parse().unwrap(), ["Hello", "World"]);
        assert_eq!(message.serialize(), frames(&[b"MDPC01", b"echo", b"Hello", b"World"]));
        let message = ClientMessage::new("ls-service".parse().unwrap(), Frames::new());
        assert_eq!(message.serialize(), frames(&[b"MDPC01", b"ls-service"]));
    }

    #[test]
    fn a_reply_of_one_frame_is_that_frame() {
        // Rule: mdp §9.6 — parseReply drops header and service; a single body frame comes bare
        let mut message = ClientMessage::new("echo".parse().unwrap(), "x");
        assert_eq!(message.reply(), None);
        let short = ReplyOptions::default();
        let list = ReplyOptions { simplify_short: false };
        let one = frames(&[b"MDPC01", b"echo", b"A"]);
        let a = Bytes::from_static(b"A");
        assert_eq!(message.parse_reply(&one, short), Ok(&Reply::Single(a.clone())));
        assert_eq!(message.parse_reply(&one, list), Ok(&Reply::List(a.into())));
        let two = frames(&[b"", b"MDPC01", b"echo", b"A", b"B"]);
        assert_eq!(message.parse_response(&two, short), Ok(&Reply::List(["A", "B"].into())));
        let none = frames(&[b"MDPC01", b"echo"]);
        assert_eq!(message.parse_response(&none, short), Ok(&Reply::List(Frames::new())));
        assert_eq!(message.reply(), Some(&Reply::List(Frames::new())));
    }

    #[test]
    fn frames_of_something_else_are_no_reply() {
        // Rule: mdp §18 — parse_reply verifies header and service
        let mut message = ClientMessage::new("echo".parse().unwrap(), "x");
        let mut parse = |raw: &[&'static [u8]]| {
            message.parse_reply(&frames(raw), ReplyOptions::default()).cloned()
        };
        assert_eq!(parse(&[b"MDPC02", b"echo", b"A"]), Err(ReplyError::NoReply));
        assert_eq!(parse(&[b"MDPC01"]), Err(ReplyError::NoReply));
        assert_eq!(parse(&[]), Err(ReplyError::NoReply));
        assert_eq!(parse(&[b"MDPC01", b"other", b"A"]), Err(ReplyError::OtherService));
        assert_eq!(message.reply(), None);
    }
}
