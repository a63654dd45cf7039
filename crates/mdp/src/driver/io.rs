//! The loop of the broker's thread: receive until empty, handle, send until empty, then wait.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use super::config::{Lane, Sockets};
use super::curve::{self, Admission, CurveConfig};
use super::handle::Command;
use super::links::LinkSockets;
use super::local::{Callers, LocalRequest};
use super::metering;
use super::reporting::{self, Reporter};
use crate::core::{BrokerCore, Input, LinkInput, LinkOutput, Output, SendFailure};
use crate::io::{Clock, Inbox, Received, WakeSource, poll, send_parts};
use crate::wire::{Incoming, Invalid, LinkMessage, Part, Peer, WireLimits, WorkerMessage, decode};

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
    reporter: Reporter,
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
            reporter: Reporter::default(),
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
        metering::publish(self.core.counters(), &self.core.totals(turn.now));
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
            metering::publish(self.core.counters(), &self.core.totals(turn.now));
            turn.reporter.report(self.core.counters());
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
        let mut items = smallvec::SmallVec::<[zmq::PollItem<'_>; 4]>::new();
        items.push(zmq::PollItem::from_fd(self.wakes.fd(), zmq::POLLIN));
        items.extend(self.sockets.lanes().map(|lane| lane.router.as_poll_item(zmq::POLLIN)));
        let links = self.sockets.links.iter().flat_map(LinkSockets::readable);
        items.extend(links.map(|socket| socket.as_poll_item(zmq::POLLIN)));
        items.extend(self.sockets.zap.iter().map(|zap| zap.as_poll_item(zmq::POLLIN)));
        poll(&mut items, timeout.min(METERING_INTERVAL))?;
        let woken = items.first().is_some_and(zmq::PollItem::is_readable);
        if let Some(zap) = &self.sockets.zap
            && items.last().is_some_and(zmq::PollItem::is_readable)
        {
            let admission = Admission {
                peers: self.curve.as_ref().map(|config| &config.allowed),
                brokers: self.sockets.links.as_ref().map(LinkSockets::public),
            };
            curve::answer_zap(zap, admission, &mut turn.inbox);
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
            Command::Workers(reply) => acknowledge(reply, self.core.workers(now)),
            Command::SetPaused { service, paused, done } => {
                acknowledge(done, self.core.set_paused(now, &service, paused));
                // A service that is resumed has workers again, as far as anybody can tell.
                self.registrations.send_modify(|count| *count += 1);
            }
            Command::Dismiss { worker, when, done } => {
                acknowledge(done, self.core.dismiss(now, worker, when));
            }
            Command::SetBrokers(brokers) => {
                self.core.handle(now, Input::Link(LinkInput::Brokers(brokers)));
            }
            Command::Brokers(reply) => acknowledge(reply, self.core.brokers()),
            Command::Counters(reply) => acknowledge(reply, Box::new(*self.core.counters())),
            Command::Allow(keys) => {
                if let Some(curve) = &mut self.curve {
                    curve.allowed = keys;
                }
            }
            Command::Access(access) => self.core.handle(now, Input::Access(access)),
            Command::Shutdown { grace, done } => {
                self.core.handle(now, Input::Drain);
                let at = now.saturating_add(grace);
                let ending = turn.ending.get_or_insert(Ending { at, done: Vec::new() });
                ending.at = ending.at.min(at);
                ending.done.push(done);
            }
        }
    }

    /// Receives a batch of each socket; says whether all were emptied.
    fn receive(&mut self, turn: &mut Turn) -> Result<bool, zmq::Error> {
        let limits = *self.core.wire_limits();
        let with_user = self.curve.is_some();
        let mut all_emptied = true;
        for lane in self.sockets.lanes() {
            let mut emptied = false;
            for _ in 0..self.batch_max {
                let Some(input) = receive_input(lane, &limits, with_user, &mut turn.inbox)? else {
                    emptied = true;
                    break;
                };
                let ready = is_ready(&input);
                self.core.handle(turn.now, input);
                if ready {
                    self.registrations.send_modify(|count| *count += 1);
                }
            }
            all_emptied &= emptied;
        }
        Ok(all_emptied & self.receive_links(turn)?)
    }

    /// Receives a batch of each link; says whether all were emptied.
    fn receive_links(&mut self, turn: &mut Turn) -> Result<bool, zmq::Error> {
        let Self { core, sockets, registrations, .. } = self;
        let Some(links) = &sockets.links else { return Ok(true) };
        let now = turn.now;
        links.receive(self.batch_max, &mut turn.inbox, |input| {
            let serves = is_serves(&input);
            core.handle(now, Input::Link(input));
            if serves {
                registrations.send_modify(|count| *count += 1);
            }
        })
    }

    /// Does what the core wants until it wants nothing more.
    fn flush(&mut self, turn: &mut Turn) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(tag, message) => {
                    let to_worker = message.is_to_worker();
                    message.write_to(&mut turn.parts);
                    let sockets = &self.sockets;
                    let lane = if to_worker { sockets.for_workers() } else { &sockets.clients };
                    let failure = match send_parts(&lane.router, &mut turn.parts) {
                        Ok(()) => continue,
                        Err(zmq::Error::EAGAIN) => SendFailure::Full,
                        Err(_) => SendFailure::Unreachable,
                    };
                    self.core.handle(turn.now, Input::Undeliverable(tag, failure));
                }
                Output::Link(output) => self.link(turn, output),
                Output::Answer(id, result) => self.callers.answer(id, result),
                Output::Call { call, service, body, user, access } => {
                    let request = LocalRequest { service, frames: body, user, access };
                    if !self.callers.call(call, request) {
                        self.core.handle(turn.now, Input::CallFailed(call));
                    }
                }
            }
        }
    }
}

impl IoThread {
    /// Does what the core wants of links.
    fn link(&mut self, turn: &mut Turn, output: LinkOutput) {
        let Some(links) = &mut self.sockets.links else { return };
        match output {
            LinkOutput::Dial { link, endpoint } => {
                if let Err(error) = links.dial(link, &endpoint) {
                    tracing::warn!(%error, %endpoint, "cannot connect to another gateway's broker");
                    self.core.handle(turn.now, Input::Link(LinkInput::Closed(link)));
                }
            }
            LinkOutput::HangUp(link) => links.hang_up(link),
            LinkOutput::Note(note) => reporting::tell(&note),
            LinkOutput::Send { tag, to, order, message } => {
                let failure = match links.send(to, order, message, &mut turn.parts) {
                    Ok(()) => return,
                    Err(zmq::Error::EAGAIN) => SendFailure::Full,
                    Err(_) => SendFailure::Unreachable,
                };
                self.core.handle(turn.now, Input::Undeliverable(tag, failure));
            }
        }
    }
}

/// Receives one message as what it means for the core; `None` when there is none.
fn receive_input(
    lane: &Lane,
    limits: &WireLimits,
    with_user: bool,
    inbox: &mut Inbox,
) -> Result<Option<Input>, zmq::Error> {
    match inbox.receive(&lane.router, limits.frames_max)? {
        Received::Nothing => return Ok(None),
        Received::TooManyFrames => return Ok(Some(Input::Invalid(Invalid::TooManyFrames))),
        Received::Message => {}
    }
    let message = decode(inbox.frames(), limits);
    Ok(Some(match message.and_then(|message| message.arrived_at(lane.side)) {
        Ok(message) => {
            Input::Received { message, user: if with_user { inbox.user() } else { None } }
        }
        Err(reason) => Input::Invalid(reason),
    }))
}

fn is_serves(input: &LinkInput) -> bool {
    matches!(input, LinkInput::Received { message: Ok((_, LinkMessage::Serves(_))), .. })
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
