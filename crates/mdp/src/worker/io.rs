//! The worker's threads: one for the socket, one for the handler.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::session::{Output, Session};
use super::{Handler, Outcome};
use crate::Frames;
use crate::client::dial;
use crate::io::{Clock, Inbox, Received, WakeSource, Waker, poll, send_parts};
use crate::security::ClientCurve;
use crate::wire::{Part, decode_from_broker, encode_to_broker};

/// The longest wait.
const IDLE: Duration = Duration::from_secs(60);

/// Most frames of a request.
const FRAMES_MAX: usize = 65_536;

/// The wish that a worker stops.
#[derive(Clone, Debug)]
pub(super) struct StopFlag {
    raised: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl StopFlag {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self { raised: Arc::new(AtomicBool::new(false)), waker }
    }

    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }
}

/// The way to the handler and back. One job is out at a time, so one place is enough.
pub(super) struct Jobs {
    todo: SyncSender<(u64, Frames)>,
    done: Receiver<(u64, Outcome)>,
}

pub(super) fn start_handler(handler: Handler, waker: Arc<Waker>) -> std::io::Result<Jobs> {
    let (todo, jobs) = sync_channel::<(u64, Frames)>(1);
    let (outcomes, done) = sync_channel(1);
    std::thread::Builder::new().name("mdp-handler".to_owned()).spawn(move || {
        // Ends when the socket's thread drops its end.
        while let Ok((number, body)) = jobs.recv() {
            let outcome = catch_unwind(AssertUnwindSafe(|| handler(body)));
            if outcomes.send((number, outcome.unwrap_or(Outcome::Reject))).is_err() {
                return;
            }
            waker.wake();
        }
    })?;
    Ok(Jobs { todo, done })
}

/// Everything the socket's thread owns; the socket drops before its context.
pub(super) struct IoThread {
    pub(super) session: Session,
    pub(super) clock: Clock,
    pub(super) wakes: WakeSource,
    pub(super) stop: StopFlag,
    pub(super) jobs: Jobs,
    pub(super) socket: Option<zmq::Socket>,
    /// A socket already connected, for the first conversation.
    pub(super) spare: Option<zmq::Socket>,
    pub(super) endpoint: String,
    pub(super) curve: Option<ClientCurve>,
    pub(super) context: zmq::Context,
}

impl IoThread {
    pub(super) fn run(mut self) {
        let (mut inbox, mut parts) = (Inbox::default(), Vec::new());
        loop {
            match self.turn(&mut inbox, &mut parts) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "the worker's socket failed");
                    return;
                }
            }
        }
    }

    fn turn(&mut self, inbox: &mut Inbox, parts: &mut Vec<Part>) -> Result<bool, zmq::Error> {
        self.wait()?;
        let now = self.clock.now();
        self.wakes.clear();
        if self.stop.is_raised() {
            self.session.stop();
        }
        while let Ok((number, outcome)) = self.jobs.done.try_recv() {
            self.session.on_outcome(now, number, outcome);
        }
        if !self.flush(parts)? {
            return Ok(false);
        }
        self.receive(now, inbox)?;
        self.session.handle_timeout(now);
        self.flush(parts)
    }

    fn wait(&self) -> Result<(), zmq::Error> {
        let due = self.session.poll_timeout();
        let timeout = due.map_or(IDLE, |due| due.saturating_sub(self.clock.now()).min(IDLE));
        let wake = zmq::PollItem::from_fd(self.wakes.fd(), zmq::POLLIN);
        match &self.socket {
            Some(socket) => poll(&mut [wake, socket.as_poll_item(zmq::POLLIN)], timeout),
            None => poll(&mut [wake], timeout),
        }
    }

    fn receive(&mut self, now: Duration, inbox: &mut Inbox) -> Result<(), zmq::Error> {
        let (version, _) = self.session.dialect();
        while let Some(socket) = &self.socket {
            match inbox.receive(socket, FRAMES_MAX)? {
                Received::Nothing => return Ok(()),
                Received::TooManyFrames => {}
                Received::Message => {
                    if let Some(message) = decode_from_broker(version, inbox.frames()) {
                        self.session.on_message(now, message);
                    }
                }
            }
        }
        Ok(())
    }

    /// Does what the session wants; `false` when it is finished.
    fn flush(&mut self, parts: &mut Vec<Part>) -> Result<bool, zmq::Error> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Open => {
                    let socket = match self.spare.take() {
                        Some(socket) => socket,
                        None => dial(&self.context, &self.endpoint, self.curve.as_ref())?,
                    };
                    self.socket = Some(socket);
                }
                Output::Send(message) => {
                    let (version, shape) = self.session.dialect();
                    encode_to_broker(version, shape, message, parts);
                    if let Some(socket) = &self.socket
                        && let Err(error) = send_parts(socket, parts)
                    {
                        // The broker does not take anything: its silence ends the session.
                        tracing::debug!(%error, "the broker takes no message");
                    }
                    parts.clear();
                }
                Output::Close => self.socket = None,
                Output::Run(number, body) => {
                    if self.jobs.todo.send((number, body)).is_err() {
                        tracing::error!("the worker's handler thread is gone");
                        return Ok(false);
                    }
                }
                Output::Finished => return Ok(false),
            }
        }
        Ok(true)
    }
}
