//! An answer part by part.
//!
//! Never in here: the protocol, a socket.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};

use super::ClientError;
use crate::Frames;

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyPart {
    /// PARTIAL of 0.2: more follows.
    Partial(Frames),
    /// FINAL of 0.2, or the REPLY of 0.1: nothing follows.
    Final(Frames),
}

/// The parts of one answer as they come: any number of [`ReplyPart::Partial`], then one
/// [`ReplyPart::Final`] or an error.
///
/// Dropped, it gives the answer up: what still comes is discarded. A reader that falls behind by
/// more parts than [`super::ClientBuilder::stream_parts_max`] gets those, then
/// [`ClientError::SlowReader`].
#[derive(Debug)]
pub struct ReplyStream {
    parts: mpsc::Receiver<Frames>,
    /// Until it was read.
    end: Option<oneshot::Receiver<Result<Frames, ClientError>>>,
}

impl ReplyStream {
    pub(super) fn new(
        parts: mpsc::Receiver<Frames>,
        end: oneshot::Receiver<Result<Frames, ClientError>>,
    ) -> Self {
        Self { parts, end: Some(end) }
    }

    /// Waits for the next part; `None` after the last one.
    ///
    /// # Errors
    ///
    /// Those of [`super::Client::send`], and [`ClientError::SlowReader`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; no part is lost.
    pub async fn part(&mut self) -> Option<Result<ReplyPart, ClientError>> {
        self.next().await
    }
}

impl Stream for ReplyStream {
    type Item = Result<ReplyPart, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The client lets go of the parts before it says how it ended.
        if let Some(part) = ready!(self.parts.poll_recv(context)) {
            return Poll::Ready(Some(Ok(ReplyPart::Partial(part))));
        }
        let Some(end) = &mut self.end else {
            return Poll::Ready(None);
        };
        let end = ready!(Pin::new(end).poll(context)).unwrap_or(Err(ClientError::Disconnected));
        self.end = None;
        Poll::Ready(Some(end.map(ReplyPart::Final)))
    }
}

/// What [`ReplyStream`] is, for threads that may block.
#[derive(Debug)]
pub struct ReplyIter(pub(super) ReplyStream);

impl Iterator for ReplyIter {
    type Item = Result<ReplyPart, ClientError>;

    /// Blocks until the next part; not for async contexts.
    ///
    /// # Panics
    ///
    /// When called on a thread that runs async tasks.
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(part) = self.0.parts.blocking_recv() {
            return Some(Ok(ReplyPart::Partial(part)));
        }
        let end = self.0.end.take()?;
        let end = end.blocking_recv().unwrap_or(Err(ClientError::Disconnected));
        Some(end.map(ReplyPart::Final))
    }
}
