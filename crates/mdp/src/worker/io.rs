//! The worker's thread: one DEALER socket at a time, the answers of the handler, a poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use super::handler::Runner;
use super::responder::{Answer, Responder};
use super::session::{Output, Session};
use crate::Frames;
use crate::dialer::Dialer;
use crate::io::{Clock, Inbox, Received, WakeSource, Waker, poll, send_parts};
use crate::wire::{Part, ToBroker, decode_from_broker, encode_to_broker};

/// The longest wait.
const IDLE: Duration = Duration::from_secs(60);

/// Answers of one handler that wait for the socket's thread. More make the handler wait.
pub(super) const ANSWERS_MAX: usize = 64;

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

/// The way to the handler and back.
pub(super) struct Jobs {
    pub(super) runner: Runner,
    pub(super) answers: Receiver<(u64, Answer)>,
    /// What responders send into.
    pub(super) sender: SyncSender<(u64, Answer)>,
    pub(super) waker: Arc<Waker>,
    /// Whether the answer to the request in hand can still be sent.
    pub(super) wanted: Arc<AtomicBool>,
}

impl Jobs {
    fn run(&mut self, number: u64, body: Frames) {
        self.wanted = Arc::new(AtomicBool::new(true));
        let (sender, waker) = (self.sender.clone(), Arc::clone(&self.waker));
        let responder = Responder::new(number, sender, waker, Arc::clone(&self.wanted));
        self.runner.run(body, responder);
    }
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
    pub(super) dialer: Dialer,
    /// Since when the socket has had no room.
    pub(super) stalled_since: Option<Duration>,
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
        if !self.flush(now, parts)? || !self.take_answers(now, parts)? {
            return Ok(false);
        }
        self.receive(now, inbox)?;
        self.session.handle_timeout(now);
        self.flush(now, parts)
    }

    fn wait(&self) -> Result<(), zmq::Error> {
        let patience = self.session.broker_expiry();
        let stall_end = self.stalled_since.map(|since| since.saturating_add(patience));
        let due = [self.session.poll_timeout(), stall_end].into_iter().flatten().min();
        let timeout = due.map_or(IDLE, |due| due.saturating_sub(self.clock.now()).min(IDLE));
        let wake = zmq::PollItem::from_fd(self.wakes.fd(), zmq::POLLIN);
        let room =
            if self.stalled_since.is_some() { zmq::POLLOUT } else { zmq::PollEvents::empty() };
        match &self.socket {
            Some(socket) => poll(&mut [wake, socket.as_poll_item(zmq::POLLIN | room)], timeout),
            None => poll(&mut [wake], timeout),
        }
    }

    /// Takes answers while the socket has room for them, so that a handler waits for a broker that is
    /// slower; `false` when the worker is finished.
    fn take_answers(&mut self, now: Duration, parts: &mut Vec<Part>) -> Result<bool, zmq::Error> {
        for _ in 0..ANSWERS_MAX {
            if !self.has_room()? {
                let since = *self.stalled_since.get_or_insert(now);
                if now.saturating_sub(since) >= self.session.broker_expiry() {
                    self.give_up(now);
                }
                return self.flush(now, parts);
            }
            self.stalled_since = None;
            let Ok((number, answer)) = self.jobs.answers.try_recv() else {
                return Ok(true);
            };
            match answer {
                Answer::Partial(body) => self.session.on_part(now, number, body),
                Answer::Done(outcome) => self.session.on_outcome(now, number, outcome),
            }
            if !self.flush(now, parts)? {
                return Ok(false);
            }
        }
        // More may wait, and nobody says so again.
        self.jobs.waker.wake();
        Ok(true)
    }

    /// Says whether the socket takes a message; without one every answer is discarded.
    fn has_room(&self) -> Result<bool, zmq::Error> {
        let Some(socket) = &self.socket else {
            return Ok(true);
        };
        Ok(socket.get_events()?.contains(zmq::POLLOUT))
    }

    /// Closes a socket that takes nothing, at once, so that nothing follows what was lost.
    fn give_up(&mut self, now: Duration) {
        self.socket = None;
        self.stalled_since = None;
        self.session.on_send_failed(now);
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
    fn flush(&mut self, now: Duration, parts: &mut Vec<Part>) -> Result<bool, zmq::Error> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Open => {
                    let socket = match self.spare.take() {
                        Some(socket) => socket,
                        None => self.dialer.dial(&self.endpoint)?,
                    };
                    self.socket = Some(socket);
                }
                Output::Send(message) => self.send(now, message, parts),
                Output::Close => {
                    self.socket = None;
                    self.jobs.wanted.store(false, Ordering::Relaxed);
                }
                Output::Run(number, body) => self.jobs.run(number, body),
                Output::Finished => return Ok(false),
            }
        }
        Ok(true)
    }

    fn send(&mut self, now: Duration, message: ToBroker, parts: &mut Vec<Part>) {
        let Some(socket) = &self.socket else {
            return;
        };
        // A heartbeat that finds no room is not missed: what fills the queue is a sign of life too.
        let dispensable = matches!(message, ToBroker::Heartbeat | ToBroker::Disconnect);
        let (version, shape) = self.session.dialect();
        encode_to_broker(version, shape, message, parts);
        if let Err(error) = send_parts(socket, parts)
            && !dispensable
        {
            tracing::debug!(%error, "the broker takes no message");
            self.give_up(now);
        }
    }
}
