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
use crate::io::{Clock, Inbox, Received, WakeSource, poll, send_parts, set_common_options};
use crate::security::ClientCurve;
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
    curve: Option<ClientCurve>,
    context: zmq::Context,
}

impl Line {
    /// Connects to the first endpoint, or with `patience` to the first that is reached.
    pub(super) fn open(
        endpoints: Arc<[String]>,
        current: Arc<AtomicUsize>,
        curve: Option<ClientCurve>,
        patience: Option<Duration>,
    ) -> Result<Self, ClientError> {
        let context = zmq::Context::new();
        let at = match patience {
            Some(patience) => reach(&context, &endpoints, curve.as_ref(), patience)?,
            None => 0,
        };
        current.store(at, Ordering::Relaxed);
        let endpoint = endpoints.get(at).map_or("", String::as_str);
        let socket = dial(&context, endpoint, curve.as_ref())
            .map_err(|source| ClientError::Connect { endpoint: endpoint.to_owned(), source })?;
        Ok(Self { socket, endpoints, current, curve, context })
    }

    /// Returns the place of the endpoint in use.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    fn reopen(&mut self, at: usize) -> Result<(), zmq::Error> {
        self.current.store(at, Ordering::Relaxed);
        let endpoint = self.endpoints.get(at).map_or("", String::as_str);
        self.socket = dial(&self.context, endpoint, self.curve.as_ref())?;
        Ok(())
    }
}

/// Returns the place of the first endpoint that a connection is made to within `patience`.
fn reach(
    context: &zmq::Context,
    endpoints: &[String],
    curve: Option<&ClientCurve>,
    patience: Duration,
) -> Result<usize, ClientError> {
    for (at, endpoint) in endpoints.iter().enumerate() {
        let reached = is_reachable(context, endpoint, curve, patience)
            .map_err(|source| ClientError::Connect { endpoint: endpoint.clone(), source })?;
        if reached {
            return Ok(at);
        }
    }
    Err(ClientError::NotConnected(endpoints.join(", ")))
}

/// Connects a socket that has a place for messages only once its handshake has succeeded.
fn is_reachable(
    context: &zmq::Context,
    endpoint: &str,
    curve: Option<&ClientCurve>,
    patience: Duration,
) -> Result<bool, zmq::Error> {
    let socket = prepare(context, endpoint, curve)?;
    socket.set_immediate(true)?;
    socket.connect(endpoint)?;
    let clock = Clock::start();
    loop {
        let left = patience.saturating_sub(clock.now());
        let mut items = [socket.as_poll_item(zmq::POLLOUT)];
        poll(&mut items, left)?;
        let [item] = &items;
        if item.is_writable() {
            return Ok(true);
        }
        if left.is_zero() {
            return Ok(false);
        }
    }
}

/// Opens a DEALER and connects it.
pub(crate) fn dial(
    context: &zmq::Context,
    endpoint: &str,
    curve: Option<&ClientCurve>,
) -> Result<zmq::Socket, zmq::Error> {
    let socket = prepare(context, endpoint, curve)?;
    socket.connect(endpoint)?;
    Ok(socket)
}

/// Opens a DEALER without an identity of its own (mdp.md §11.4).
fn prepare(
    context: &zmq::Context,
    endpoint: &str,
    curve: Option<&ClientCurve>,
) -> Result<zmq::Socket, zmq::Error> {
    let socket = context.socket(zmq::DEALER)?;
    set_common_options(&socket)?;
    socket.set_linger(100)?;
    socket.set_sndhwm(10_000)?;
    socket.set_rcvhwm(10_000)?;
    socket.set_reconnect_ivl_max(2_000)?;
    socket.set_ipv6(endpoint.contains('['))?;
    if let Some(curve) = curve {
        curve.apply(&socket)?;
    }
    Ok(socket)
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
            parts.clear();
            self.conversation.fail(now, ticket, ClientError::Disconnected);
        } else if send_parts(&self.line.socket, parts).is_err() {
            self.conversation.fail(now, ticket, ClientError::QueueFull);
        }
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
