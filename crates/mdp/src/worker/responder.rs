//! What a handler answers with, and the way of answers to the socket's thread.
//!
//! Never in here: the protocol, a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use super::Outcome;
use crate::Frames;
use crate::io::Waker;

/// Something that a handler said about a request.
#[derive(Debug)]
pub(super) enum Answer {
    Partial(Frames),
    Done(Outcome),
}

/// The request is not this worker's any more: the broker was lost or has given it to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody waits for this answer any more")]
pub struct Unwanted;

/// Answers one request, from any thread or task.
///
/// Dropped unanswered it rejects the request: the worker leaves and comes back, and the broker
/// hands the request to another one (mdp.md §10, §18).
#[derive(Debug)]
pub struct Responder {
    number: u64,
    answers: SyncSender<(u64, Answer)>,
    waker: Arc<Waker>,
    wanted: Arc<AtomicBool>,
    answered: bool,
}

impl Responder {
    pub(super) fn new(
        number: u64,
        answers: SyncSender<(u64, Answer)>,
        waker: Arc<Waker>,
        wanted: Arc<AtomicBool>,
    ) -> Self {
        Self { number, answers, waker, wanted, answered: false }
    }

    /// Sends a part of the answer, PARTIAL of 0.2. A worker of 0.1 keeps up to 16 MiB of parts and
    /// sends them in front of the reply's frames; more rejects the request.
    ///
    /// Blocks the thread while the broker is slower than the parts come: while 64 of them wait for
    /// room in the socket's queue.
    ///
    /// # Errors
    ///
    /// [`Unwanted`] when the answer can reach nobody: the work may stop.
    pub fn partial(&self, frames: impl Into<Frames>) -> Result<(), Unwanted> {
        if !self.is_wanted() {
            return Err(Unwanted);
        }
        self.send(Answer::Partial(frames.into()))
    }

    /// Sends the answer, or its last part: REPLY of 0.1, FINAL of 0.2.
    ///
    /// # Errors
    ///
    /// [`Unwanted`] when the answer can reach nobody.
    pub fn reply(self, frames: impl Into<Frames>) -> Result<(), Unwanted> {
        let wanted = self.is_wanted();
        self.finish(Outcome::Reply(frames.into()))?;
        if wanted { Ok(()) } else { Err(Unwanted) }
    }

    /// Says whether somebody still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(super) fn finish(mut self, outcome: Outcome) -> Result<(), Unwanted> {
        self.answered = true;
        self.send(Answer::Done(outcome))
    }

    fn send(&self, answer: Answer) -> Result<(), Unwanted> {
        self.answers.send((self.number, answer)).map_err(|_| Unwanted)?;
        self.waker.wake();
        Ok(())
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.answered {
            // Without the socket's thread there is nothing left to reject.
            match self.send(Answer::Done(Outcome::Reject)) {
                Ok(()) | Err(Unwanted) => {}
            }
        }
    }
}
