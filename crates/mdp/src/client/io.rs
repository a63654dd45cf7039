//! The client's thread: one DEALER socket, a queue of requests, a poll.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::ClientError;
use super::conversation::{Conversation, Output};
use crate::io::{Clock, Inbox, Received, WakeSource, poll, send_parts, set_common_options};
use crate::security::ClientCurve;
use crate::wire::{decode_reply, encode_request};
use crate::{Frames, ServiceName};

/// The longest wait.
const IDLE: Duration = Duration::from_secs(60);

/// Most frames of a reply.
const FRAMES_MAX: usize = 65_536;

/// A request of another thread.
pub(super) struct Command {
    pub(super) service: ServiceName,
    pub(super) body: Frames,
    pub(super) timeout: Duration,
    pub(super) reply: oneshot::Sender<Result<Frames, ClientError>>,
}

/// The connection; the socket drops before its context.
pub(super) struct Line {
    socket: zmq::Socket,
    endpoint: String,
    curve: Option<ClientCurve>,
    context: zmq::Context,
}

impl Line {
    pub(super) fn open(
        context: zmq::Context,
        endpoint: String,
        curve: Option<ClientCurve>,
    ) -> Result<Self, zmq::Error> {
        let socket = dial(&context, &endpoint, curve.as_ref())?;
        Ok(Self { socket, endpoint, curve, context })
    }

    fn reopen(&mut self) -> Result<(), zmq::Error> {
        self.socket = dial(&self.context, &self.endpoint, self.curve.as_ref())?;
        Ok(())
    }
}

/// Opens a DEALER without an identity of its own (mdp.md §11.4) and connects it.
pub(crate) fn dial(
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
    socket.connect(endpoint)?;
    Ok(socket)
}

pub(super) struct IoThread {
    line: Line,
    conversation: Conversation,
    clock: Clock,
    wakes: WakeSource,
    queue: mpsc::Receiver<Command>,
    callers: HashMap<u32, oneshot::Sender<Result<Frames, ClientError>>>,
    inbox: Inbox,
}

impl IoThread {
    pub(super) fn new(
        line: Line,
        conversation: Conversation,
        clock: Clock,
        wakes: WakeSource,
        queue: mpsc::Receiver<Command>,
    ) -> Self {
        let (callers, inbox) = (HashMap::new(), Inbox::default());
        Self { line, conversation, clock, wakes, queue, callers, inbox }
    }

    /// Runs until the last client is dropped; callers then learn it by their dropped senders.
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
        self.receive()?;
        self.conversation.handle_timeout(now);
        self.flush()?;
        Ok(true)
    }

    fn take_commands(&mut self, now: Duration) -> bool {
        loop {
            match self.queue.try_recv() {
                Ok(Command { service, body, timeout, reply }) => {
                    match self.conversation.submit(now, service, body, timeout) {
                        Ok(ticket) => {
                            self.callers.insert(ticket, reply);
                        }
                        Err(error) => tell(reply, Err(error)),
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn receive(&mut self) -> Result<(), zmq::Error> {
        loop {
            match self.inbox.receive(&self.line.socket, FRAMES_MAX)? {
                Received::Nothing => return Ok(()),
                Received::TooManyFrames => {}
                Received::Message => {
                    let version = self.conversation.version();
                    if let Some(reply) = decode_reply(version, self.inbox.frames()) {
                        self.conversation.on_reply(reply);
                    }
                }
            }
        }
    }

    fn flush(&mut self) -> Result<(), zmq::Error> {
        let mut parts = Vec::new();
        while let Some(output) = self.conversation.poll_output() {
            match output {
                Output::Send { ticket, id, service, body } => {
                    let id = id.as_ref().map(<[u8; 4]>::as_slice);
                    encode_request(self.conversation.version(), id, &service, body, &mut parts);
                    if send_parts(&self.line.socket, &mut parts).is_err() {
                        self.conversation.on_send_failed(ticket);
                    }
                }
                Output::Done(ticket, result) => {
                    if let Some(reply) = self.callers.remove(&ticket) {
                        tell(reply, result);
                    }
                }
                Output::Reset => self.line.reopen()?,
            }
        }
        Ok(())
    }
}

fn tell(reply: oneshot::Sender<Result<Frames, ClientError>>, result: Result<Frames, ClientError>) {
    // The caller may have stopped waiting.
    match reply.send(result) {
        Ok(()) | Err(_) => {}
    }
}
