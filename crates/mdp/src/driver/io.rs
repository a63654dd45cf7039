//! The loop of the broker's thread: receive until empty, handle, send until empty, then wait.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use super::config::Sockets;
use super::curve::{self, CurveConfig};
use super::handle::Command;
use super::local::{Callers, LocalRequest};
use super::metering;
use crate::core::{BrokerCore, Input, Output, SendFailure};
use crate::io::{Clock, Inbox, Received, WakeSource, poll, send_parts};
use crate::wire::{Incoming, Invalid, Part, Peer, WorkerMessage, decode};

/// How often metrics are published, and the longest wait.
const METERING_INTERVAL: Duration = Duration::from_secs(1);

/// Full batches in a row after which timers run although the socket is not empty.
const FULL_BATCHES_MAX: u32 = 8;

/// Everything the broker's thread owns.
pub(super) struct IoThread {
    pub(super) core: BrokerCore,
    pub(super) clock: Clock,
    pub(super) wakes: WakeSource,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) callers: Callers,
    pub(super) sockets: Sockets,
    /// Tells how many READYs and local registrations there were.
    pub(super) registrations: watch::Sender<u64>,
    pub(super) curve: Option<CurveConfig>,
    pub(super) batch_max: usize,
}

/// An announced end.
struct Ending {
    at: Duration,
    done: Vec<oneshot::Sender<()>>,
}

/// What is reused from batch to batch, and when things are due.
struct Turn {
    inbox: Inbox,
    parts: Vec<Part>,
    now: Duration,
    metered_at: Duration,
    full_batches: u32,
    ending: Option<Ending>,
}

impl IoThread {
    pub(super) fn run(mut self) {
        let mut turn = Turn {
            inbox: Inbox::default(),
            parts: Vec::new(),
            now: self.clock.now(),
            metered_at: Duration::ZERO,
            full_batches: 0,
            ending: None,
        };
        let mut result = Ok(());
        while result.is_ok() {
            result = match self.turn(&mut turn) {
                Ok(ControlFlow::Continue(())) => Ok(()),
                Ok(ControlFlow::Break(())) => break,
                Err(error) => Err(error),
            };
        }
        if let Err(error) = result {
            tracing::error!(%error, "the broker's socket failed");
        }
        self.core.handle(turn.now, Input::Stop);
        self.flush(&mut turn);
        metering::publish(self.core.counters(), &self.core.totals());
        let done = turn.ending.map(|ending| ending.done).unwrap_or_default();
        // Closes the sockets; waits at most the linger time for what is unsent.
        drop(self);
        tracing::info!("broker stopped");
        for done in done {
            match done.send(()) {
                // Nobody has to wait for the end.
                Ok(()) | Err(()) => {}
            }
        }
    }

    /// One batch.
    fn turn(&mut self, turn: &mut Turn) -> Result<ControlFlow<()>, zmq::Error> {
        let woken = self.wait(turn)?;
        turn.now = self.clock.now();
        if woken {
            self.wakes.clear();
            if self.take_commands(turn).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.flush(turn);
        let drained = self.receive(turn)?;
        // What waits in the socket may show that a worker lives, so timers come after it; but not
        // never, while it fills as fast as it is emptied.
        turn.full_batches += 1;
        if drained || turn.full_batches >= FULL_BATCHES_MAX {
            self.core.handle_timeout(turn.now);
            turn.full_batches = 0;
        }
        self.flush(turn);
        if turn.now >= turn.metered_at + METERING_INTERVAL {
            turn.metered_at = turn.now;
            metering::publish(self.core.counters(), &self.core.totals());
        }
        Ok(match &turn.ending {
            Some(ending) if self.core.requests_held() == 0 || turn.now >= ending.at => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        })
    }

    /// Waits for a socket, a command or a timer; says whether commands wait.
    fn wait(&self, turn: &mut Turn) -> Result<bool, zmq::Error> {
        let ending = turn.ending.as_ref().map(|ending| ending.at);
        let due = [self.core.poll_timeout(), ending].into_iter().flatten().min();
        let timeout = due.map_or(METERING_INTERVAL, |due| due.saturating_sub(turn.now));
        let mut items = smallvec::SmallVec::<[zmq::PollItem<'_>; 3]>::new();
        items.push(self.sockets.router.as_poll_item(zmq::POLLIN));
        items.push(zmq::PollItem::from_fd(self.wakes.fd(), zmq::POLLIN));
        if let Some(zap) = &self.sockets.zap {
            items.push(zap.as_poll_item(zmq::POLLIN));
        }
        poll(&mut items, timeout.min(METERING_INTERVAL))?;
        let woken = items.get(1).is_some_and(zmq::PollItem::is_readable);
        let asked = items.get(2).is_some_and(zmq::PollItem::is_readable);
        if let (true, Some(zap), Some(config)) = (asked, &self.sockets.zap, &self.curve) {
            curve::answer_zap(zap, &config.allowed, &mut turn.inbox);
        }
        Ok(woken)
    }

    fn take_commands(&mut self, turn: &mut Turn) -> ControlFlow<()> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.take(command, turn),
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
                Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
        }
    }

    fn take(&mut self, command: Command, turn: &mut Turn) {
        let now = turn.now;
        match command {
            Command::Request { id, service, body, timeout, reply } => {
                self.callers.wait(id, reply);
                self.core.handle(now, Input::Request { id, service, body, timeout });
            }
            Command::Cancel(id) => {
                self.callers.forget(id);
                self.core.handle(now, Input::Cancel(id));
            }
            Command::Register { service, handler, done } => {
                if self.callers.add(service.clone(), handler) {
                    let slots = self.callers.slots;
                    self.core.handle(now, Input::Offer { service, slots });
                    self.registrations.send_modify(|count| *count += 1);
                    acknowledge(done, ());
                }
            }
            Command::CallEnded(call, Some(body)) => {
                self.core.handle(now, Input::CallDone(call, body));
            }
            Command::CallEnded(call, None) => self.core.handle(now, Input::CallFailed(call)),
            Command::Services(reply) => acknowledge(reply, self.core.services(now)),
            Command::Counters(reply) => acknowledge(reply, Box::new(*self.core.counters())),
            Command::Allow(keys) => {
                if let Some(curve) = &mut self.curve {
                    curve.allowed = keys;
                }
            }
            Command::Shutdown { grace, done } => {
                self.core.handle(now, Input::Drain);
                let at = now.saturating_add(grace);
                let ending = turn.ending.get_or_insert(Ending { at, done: Vec::new() });
                ending.at = ending.at.min(at);
                ending.done.push(done);
            }
        }
    }

    /// Receives a batch; says whether the socket was emptied.
    fn receive(&mut self, turn: &mut Turn) -> Result<bool, zmq::Error> {
        let limits = *self.core.wire_limits();
        for _ in 0..self.batch_max {
            let input = match turn.inbox.receive(&self.sockets.router, limits.frames_max)? {
                Received::Nothing => return Ok(true),
                Received::TooManyFrames => Input::Invalid(Invalid::TooManyFrames),
                Received::Message => match decode(turn.inbox.frames(), &limits) {
                    Ok(message) => {
                        let user = self.curve.as_ref().and_then(|_| turn.inbox.user());
                        Input::Received { message, user }
                    }
                    Err(reason) => Input::Invalid(reason),
                },
            };
            let ready = is_ready(&input);
            self.core.handle(turn.now, input);
            if ready {
                self.registrations.send_modify(|count| *count += 1);
            }
        }
        Ok(false)
    }

    /// Does what the core wants until it wants nothing more.
    fn flush(&mut self, turn: &mut Turn) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(tag, message) => {
                    message.write_to(&mut turn.parts);
                    let failure = match send_parts(&self.sockets.router, &mut turn.parts) {
                        Ok(()) => continue,
                        Err(zmq::Error::EAGAIN) => SendFailure::Full,
                        Err(_) => SendFailure::Unreachable,
                    };
                    self.core.handle(turn.now, Input::Undeliverable(tag, failure));
                }
                Output::Answer(id, result) => self.callers.answer(id, result),
                Output::Call { call, service, body, user } => {
                    let request = LocalRequest { service, frames: body, user };
                    if !self.callers.call(call, request) {
                        self.core.handle(turn.now, Input::CallFailed(call));
                    }
                }
            }
        }
    }
}

fn is_ready(input: &Input) -> bool {
    let Input::Received { message: Incoming { peer, .. }, .. } = input else { return false };
    matches!(peer, Peer::Worker(WorkerMessage::Ready { .. }))
}

fn acknowledge<T>(reply: oneshot::Sender<T>, value: T) {
    // Who asked may be gone by now.
    match reply.send(value) {
        Ok(()) | Err(_) => {}
    }
}
