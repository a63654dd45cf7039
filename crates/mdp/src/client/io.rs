//! The client's thread: one DEALER socket, a queue of requests, a poll.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{mpsc, oneshot};

use super::ClientError;
use super::conversation::{Conversation, Output, Question};
use crate::Frames;
use crate::dialer::Dialer;
use crate::io::{Clock, Inbox, Received, WakeSource, poll, try_send_parts};
use crate::wire::{Part, decode_reply, encode_request};

/// The longest wait.
const IDLE: Duration = Duration::from_secs(60);

/// Most frames of a reply.
const FRAMES_MAX: usize = 65_536;

/// Replies taken in before requests and timers are looked at again.
const BATCH_MAX: usize = 1000;

/// A request of another thread.
pub(super) struct Command {
    pub(super) question: Question,
    pub(super) caller: Caller,
}

/// Who waits for an answer.
pub(super) struct Caller {
    /// Takes PARTIALs, if they are wanted as they come.
    pub(super) parts: Option<mpsc::Sender<Frames>>,
    pub(super) end: oneshot::Sender<Result<Frames, ClientError>>,
}

/// The connection; the socket drops before its context.
pub(super) struct Line {
    socket: zmq::Socket,
    endpoints: Arc<[String]>,
    /// Which endpoint the socket is connected to; read by [`super::Client::endpoint`].
    current: Arc<AtomicUsize>,
    dialer: Dialer,
}

impl Line {
    /// Connects to the first endpoint, or with `patience` to the first that is reached.
    pub(super) fn open(
        endpoints: Arc<[String]>,
        current: Arc<AtomicUsize>,
        dialer: Dialer,
        patience: Option<Duration>,
    ) -> Result<Self, ClientError> {
        for (at, endpoint) in endpoints.iter().enumerate() {
            let refused = |source| ClientError::Connect { endpoint: endpoint.clone(), source };
            let reached = match patience {
                Some(patience) => dialer.reaches(endpoint, patience).map_err(refused)?,
                None => true,
            };
            if reached {
                current.store(at, Ordering::Relaxed);
                let socket = dialer.dial(endpoint).map_err(refused)?;
                return Ok(Self { socket, endpoints, current, dialer });
            }
        }
        Err(ClientError::NotConnected(endpoints.join(", ")))
    }

    /// Returns the place of the endpoint in use.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Sends a message. A socket that takes none is replaced first: its queue is full of what no broker
    /// has taken for long, or libzmq gave the connection up, as it does after a frame that is too large.
    fn send(&mut self, parts: &[Part]) -> Result<(), zmq::Error> {
        if try_send_parts(&self.socket, parts).is_ok() {
            return Ok(());
        }
        self.reopen(self.current())?;
        try_send_parts(&self.socket, parts)
    }

    fn reopen(&mut self, at: usize) -> Result<(), zmq::Error> {
        self.current.store(at, Ordering::Relaxed);
        let endpoint = self.endpoints.get(at).map_or("", String::as_str);
        self.socket = self.dialer.dial(endpoint)?;
        Ok(())
    }
}

/// Everything the client's thread owns.
pub(super) struct IoThread {
    pub(super) line: Line,
    pub(super) conversation: Conversation,
    pub(super) clock: Clock,
    pub(super) wakes: WakeSource,
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) closing: oneshot::Receiver<()>,
    pub(super) callers: HashMap<u32, Caller>,
    pub(super) inbox: Inbox,
}

impl IoThread {
    /// Runs until the client is disconnected or the last one dropped; who still waits learns it by
    /// a dropped sender.
    pub(super) fn run(mut self) {
        loop {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "the client's socket failed");
                    return;
                }
            }
        }
    }

    fn turn(&mut self) -> Result<bool, zmq::Error> {
        let due = self.conversation.poll_timeout();
        let timeout = due.map_or(IDLE, |due| due.saturating_sub(self.clock.now()).min(IDLE));
        let mut items = [
            self.line.socket.as_poll_item(zmq::POLLIN),
            zmq::PollItem::from_fd(self.wakes.fd(), zmq::POLLIN),
        ];
        poll(&mut items, timeout)?;
        let [_, wake] = &items;
        let woken = wake.is_readable();
        let now = self.clock.now();
        if woken {
            self.wakes.clear();
            if !self.take_commands(now) {
                return Ok(false);
            }
        }
        self.receive(now)?;
        self.conversation.handle_timeout(now);
        self.flush(now)?;
        Ok(true)
    }

    /// Takes requests in; `false` when there will be none any more.
    fn take_commands(&mut self, now: Duration) -> bool {
        if !matches!(self.closing.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            return false;
        }
        loop {
            match self.queue.try_recv() {
                Ok(Command { question, caller }) => match self.conversation.submit(now, question) {
                    Ok(ticket) => {
                        self.callers.insert(ticket, caller);
                    }
                    Err(error) => tell(caller, Err(error)),
                },
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn receive(&mut self, now: Duration) -> Result<(), zmq::Error> {
        for _ in 0..BATCH_MAX {
            match self.inbox.receive(&self.line.socket, FRAMES_MAX)? {
                Received::Nothing => return Ok(()),
                Received::TooManyFrames => {}
                Received::Message => {
                    let version = self.conversation.version();
                    if let Some(reply) = decode_reply(version, self.inbox.frames()) {
                        self.conversation.on_reply(now, reply);
                    }
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self, now: Duration) -> Result<(), zmq::Error> {
        let mut parts = Vec::new();
        while let Some(output) = self.conversation.poll_output() {
            match output {
                Output::Send { ticket, id, service, body } => {
                    let id = id.as_ref().map(<[u8; 4]>::as_slice);
                    encode_request(self.conversation.version(), id, &service, body, &mut parts);
                    self.send(now, ticket, &mut parts);
                }
                Output::Part(ticket, part) => self.hand_on(now, ticket, part),
                Output::Done(ticket, result) => {
                    if let Some(caller) = self.callers.remove(&ticket) {
                        tell(caller, result);
                    }
                }
                Output::Reset(at) => self.line.reopen(at)?,
            }
        }
        Ok(())
    }

    fn send(&mut self, now: Duration, ticket: u32, parts: &mut Vec<Part>) {
        let awaited = self.callers.get(&ticket).is_some_and(|caller| !caller.end.is_closed());
        if !awaited {
            self.conversation.fail(now, ticket, ClientError::Disconnected);
        } else if self.line.send(parts).is_err() {
            self.conversation.fail(now, ticket, ClientError::QueueFull);
        }
        parts.clear();
    }

    fn hand_on(&mut self, now: Duration, ticket: u32, part: Frames) {
        let parts = self.callers.get(&ticket).and_then(|caller| caller.parts.as_ref());
        match parts.map(|parts| parts.try_send(part)) {
            Some(Ok(())) | None => {}
            Some(Err(TrySendError::Full(_))) => {
                self.conversation.fail(now, ticket, ClientError::SlowReader);
            }
            Some(Err(TrySendError::Closed(_))) => {
                self.conversation.fail(now, ticket, ClientError::Disconnected);
            }
        }
    }
}

/// Lets go of the parts, so that their reader goes on to the end, and says what that is.
fn tell(Caller { parts, end }: Caller, result: Result<Frames, ClientError>) {
    drop(parts);
    // The caller may have stopped waiting.
    match end.send(result) {
        Ok(()) | Err(_) => {}
    }
}
