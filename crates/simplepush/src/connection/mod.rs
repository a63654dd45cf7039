//! One connection as a state machine: no I/O, no clock, no randomness (SimplePush §17.5).
//!
//! The driver hands in what happens ([`Input`]) and the time, then takes what is to be done: first
//! every [`Effect`], at once, then a [`Transmit`] whenever the socket can take one. Notifications are
//! built only when they are asked for, so a slow socket coalesces them (R-DEL-4). Storage is asked
//! for as data, one [`Command`] at a time, which keeps the requests of a client in order (O5).
//!
//! Never here: sockets, the store, the table of connections.

mod delivery;
mod greeting;
mod steps;
#[cfg(test)]
mod tests;

mod timer;
mod vocabulary;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use buswire_message::Timestamp;

pub(crate) use self::vocabulary::{
    Change, Command, Done, Effect, EndpointUrl, Input, Loaded, PendingVersion, Reply, Transmit,
    Update, UserAgent,
};
use self::{
    delivery::Delivery,
    greeting::Greeting,
    steps::Step,
    timer::{Timer, Timers},
};
use crate::{
    config::{Config, Gateways, VersionPolicy},
    error::{ClientFault, CloseReason},
    id::{ChannelId, SpelledUaid, Uaid},
    metrics::Event,
    wakeup::WakePlace,
    wire::{Envelope, Kind, PONG},
};

/// Over which messages and control frames are counted.
const TRAFFIC_WINDOW: Duration = Duration::from_secs(10);
/// How many channels that were just unregistered are remembered, to hold back updates that were
/// accepted before but arrive after (R-UNREG-4).
const GONE_MAX: usize = 64;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Messages are taken.
    Open,
    /// A close frame is to be sent, or the peer's is awaited.
    Closing,
    /// The socket is of no more use.
    Closed,
}

/// What the command that is under way was issued for.
#[derive(Debug)]
enum Flight {
    /// There is none.
    Idle,
    /// The `hello` that is being answered.
    Greeting,
    /// These requests.
    Steps(Vec<Step>),
    /// To learn of PUTs at other processes.
    Recheck,
    /// To keep the UserAgent from being forgotten.
    Touch,
    /// To tell other gateways of the end.
    Leave,
    /// To note where the UserAgent can be woken, if so.
    Wake(Wakeable),
}

/// Where a UserAgent can be woken, if it can.
#[derive(Debug)]
struct Unnoted(Option<Box<WakePlace>>);

/// Whether a UserAgent can be woken when it is disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wakeable {
    No,
    Yes,
}

/// What came within one window.
#[derive(Debug)]
struct Traffic {
    since: Timestamp,
    messages: u32,
    controls: u32,
}

/// Whether the server has room when a connection is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowding {
    /// It has.
    Room,
    /// The UserAgent should go elsewhere, if there is a place (§15.4).
    Crowded,
}

/// What the connection wants of the store besides the client's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errand {
    /// Nothing.
    None,
    /// To read the pending versions again.
    Recheck,
    /// To say that the UserAgent is there.
    Touch,
}

/// One connection, from the opened socket to its end.
#[derive(Debug)]
pub(crate) struct Connection {
    config: Arc<Config>,
    crowding: Crowding,
    phase: Phase,
    /// Set by the first `hello` that was answered.
    uaid: Option<SpelledUaid>,
    /// The UAID that is given if a new one is needed.
    fresh: SpelledUaid,
    /// The `hello` that is being answered; nothing is read meanwhile.
    greeting: Option<Box<Greeting>>,
    steps: VecDeque<Step>,
    flight: Flight,
    errand: Errand,
    /// UAIDs that are no longer this connection's, or never were: two at most.
    names_left: Vec<Uaid>,
    effects: VecDeque<Effect>,
    transmits: VecDeque<Transmit>,
    delivery: Delivery,
    gone: VecDeque<ChannelId>,
    /// While it is not stored yet where the UserAgent can be woken.
    unnoted: Option<Unnoted>,
    wakeable: Wakeable,
    /// Whether the store is known to have a record of the UserAgent.
    has_record: bool,
    timers: Timers,
    last_ping: Option<Timestamp>,
    traffic: Traffic,
    resend_rounds: u32,
}

impl Connection {
    /// A connection whose socket was opened at `now`. `random` are unpredictable bytes that nobody
    /// else gets; they become its UAID if it needs a new one.
    pub(crate) fn new(
        config: Arc<Config>,
        now: Timestamp,
        random: [u8; 16],
        crowding: Crowding,
    ) -> Self {
        let mut timers = Timers::new();
        timers.set(Timer::Hello, now.saturating_add(config.timing.hello_timeout));
        if !config.timing.probe_after.is_zero() {
            timers.set(Timer::Probe, now.saturating_add(config.timing.probe_after));
        }
        Self {
            config,
            crowding,
            phase: Phase::Open,
            uaid: None,
            fresh: SpelledUaid::mint(random),
            greeting: None,
            steps: VecDeque::new(),
            flight: Flight::Idle,
            errand: Errand::None,
            names_left: Vec::new(),
            effects: VecDeque::new(),
            transmits: VecDeque::new(),
            delivery: Delivery::default(),
            gone: VecDeque::new(),
            unnoted: None,
            wakeable: Wakeable::No,
            has_record: false,
            timers,
            last_ping: None,
            traffic: Traffic { since: now, messages: 0, controls: 0 },
            resend_rounds: 0,
        }
    }

    /// Takes what happened.
    pub(crate) fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        match input {
            Input::Store(reply) => self.on_reply(now, reply),
            Input::PeerClosed => self.on_peer_closed(),
            Input::WriteBlocked => {
                self.timers.arm(Timer::Write, now.saturating_add(self.config.timing.write_timeout));
            }
            Input::Written => self.timers.clear(Timer::Write),
            // After the decision to close nothing of the client is processed (O8, O9).
            _ if !self.is_open() => {}
            Input::Text(text) => {
                self.on_activity(now);
                self.on_wakeable(now);
                self.on_traffic(now, 1, 0);
                self.on_text(now, text);
            }
            Input::Control => {
                self.on_activity(now);
                self.on_traffic(now, 0, 1);
            }
            Input::Receiving => {
                let timeout = self.config.timing.message_timeout;
                self.timers.arm(Timer::Message, now.saturating_add(timeout));
            }
            Input::Received => self.timers.clear(Timer::Message),
            Input::Unreadable(reason) => self.close(now, reason),
            Input::Update(update) => self.on_update(update),
            Input::Recheck => {
                if self.uaid.is_some() && self.errand == Errand::None {
                    self.errand = Errand::Recheck;
                }
            }
            Input::End(reason) => self.on_end(now, reason),
        }
        self.advance();
    }

    /// Lets timers fire that are due.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(timer) = self.timers.take_due(now) {
            self.on_timer(now, timer);
        }
        self.advance();
    }

    /// What is to be done at once; call until `None` after every `handle*`.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What is to be written next. Call only when the socket can take it: what it returns counts as
    /// sent. There may be effects afterwards.
    pub(crate) fn poll_transmit(&mut self, now: Timestamp) -> Option<Transmit> {
        if let Some(transmit) = self.transmits.pop_front() {
            return Some(transmit);
        }
        if !self.may_notify() {
            return None;
        }
        let (text, updates) = self.delivery.next(now, self.config.limits.updates_max)?;
        self.effects.push_back(Effect::Count(Event::Updates(updates)));
        if !self.config.timing.resend_interval.is_zero() {
            let due = now.saturating_add(self.config.timing.resend_interval);
            self.timers.arm(Timer::Resend, due);
        }
        Some(Transmit::Text(text))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due if nothing else happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Whether something waits to be written.
    pub(crate) fn wants_write(&self) -> bool {
        !self.transmits.is_empty() || (self.may_notify() && self.delivery.is_dirty())
    }

    /// Whether the driver should read from the socket. While it is `false`, what the client sends
    /// waits in the socket's buffers.
    pub(crate) fn wants_read(&self) -> bool {
        let limits = &self.config.limits;
        match self.phase {
            Phase::Open => {
                self.greeting.is_none()
                    && self.steps.len() < limits.steps_max
                    && self.transmits.len() < limits.frames_max
            }
            Phase::Closing => true,
            Phase::Closed => false,
        }
    }

    /// Whether messages are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the socket can be dropped. What the client asked for before may still be under way;
    /// see [`is_finished`](Self::is_finished).
    pub(crate) fn is_hung_up(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether nothing is left to be done.
    pub(crate) fn is_finished(&self) -> bool {
        self.phase == Phase::Closed
            && matches!(self.flight, Flight::Idle)
            && self.steps.is_empty()
            && self.names_left.is_empty()
    }

    /// No notification precedes the reply to `hello` (O3).
    fn may_notify(&self) -> bool {
        self.is_open() && self.uaid.is_some() && self.greeting.is_none()
    }

    fn on_activity(&mut self, now: Timestamp) {
        self.timers.clear(Timer::Pong);
        if !self.config.timing.probe_after.is_zero() {
            self.timers.set(Timer::Probe, now.saturating_add(self.config.timing.probe_after));
        }
    }

    /// Begins to wait for a UserAgent that can be woken to fall idle.
    fn on_wakeable(&mut self, now: Timestamp) {
        self.timers.clear(Timer::Idle);
        if let Some(wakeup) = self.config.wakeup.as_ref().filter(|_| self.wakeable == Wakeable::Yes)
        {
            self.timers.set(Timer::Idle, now.saturating_add(wakeup.idle));
        }
    }

    fn on_idle(&mut self, now: Timestamp) {
        if self.delivery.is_done() && self.steps.is_empty() && self.transmits.is_empty() {
            self.close(now, CloseReason::WakeLater);
        } else {
            self.on_wakeable(now);
        }
    }

    fn on_text(&mut self, now: Timestamp, text: &str) {
        // R-WS-10: an empty text message is ignored.
        if text.is_empty() || !self.is_open() {
            return;
        }
        let config = Arc::clone(&self.config);
        let Ok(message) = Envelope::read(text, config.limits.depth_max) else {
            self.close(now, CloseReason::ClientFault);
            return;
        };
        if let Err(fault) = self.dispatch(now, &message) {
            let failure = message.failure(fault, config.limits.echo_bytes_max);
            self.transmits.push_back(Transmit::Text(failure));
            self.close(now, CloseReason::ClientFault);
        }
    }

    fn dispatch(&mut self, now: Timestamp, message: &Envelope<'_>) -> Result<(), ClientFault> {
        let kind = message.kind()?;
        let event = match kind {
            Kind::Ping => Event::Ping,
            Kind::Purge => return Ok(()),
            Kind::Hello => Event::Hello,
            Kind::Register => Event::Register,
            Kind::Unregister => Event::Unregister,
            Kind::Ack => Event::Ack,
        };
        self.effects.push_back(Effect::Count(event));
        match kind {
            Kind::Ping => self.on_ping(now),
            Kind::Purge => Ok(()),
            Kind::Hello => self.on_hello(now, message),
            Kind::Register | Kind::Unregister | Kind::Ack if self.uaid.is_none() => {
                Err(ClientFault::NoHandshake)
            }
            Kind::Register => self.on_register(message),
            Kind::Unregister => self.on_unregister(message),
            Kind::Ack => self.on_ack(message),
        }
    }

    fn on_ping(&mut self, now: Timestamp) -> Result<(), ClientFault> {
        let gap = self.config.timing.ping_gap_min;
        if self.last_ping.is_some_and(|last| now < last.saturating_add(gap)) {
            self.effects.push_back(Effect::Count(Event::TooManyPings));
            return Err(ClientFault::TooManyPings);
        }
        self.last_ping = Some(now);
        self.transmits.push_back(Transmit::Text(PONG.to_owned()));
        Ok(())
    }

    /// Counts what came; a flood ends the connection (R-WS-11, §19.3).
    fn on_traffic(&mut self, now: Timestamp, messages: u32, controls: u32) {
        if now.saturating_since(self.traffic.since) >= TRAFFIC_WINDOW {
            self.traffic = Traffic { since: now, messages: 0, controls: 0 };
        }
        self.traffic.messages += messages;
        self.traffic.controls += controls;
        let limits = &self.config.limits;
        if self.traffic.messages > limits.messages_max
            || self.traffic.controls > limits.control_frames_max
        {
            self.close(now, CloseReason::Flood);
        }
    }

    fn on_update(&mut self, update: Update) {
        if self.gone.contains(&update.channel) {
            return;
        }
        if self.config.version_policy == VersionPolicy::Last {
            self.delivery.make_way(&update);
        }
        self.delivery.put(update);
    }

    fn on_end(&mut self, now: Timestamp, reason: CloseReason) {
        // O9: what was not sent is not sent any more. Acknowledgements that came in still count; other
        // requests are the newer connection's business.
        self.transmits.clear();
        self.steps.retain(Step::is_ack);
        self.close(now, reason);
    }

    fn on_peer_closed(&mut self) {
        self.leave();
        self.phase = Phase::Closed;
        self.timers.clear_all();
        self.transmits.clear();
    }

    fn on_timer(&mut self, now: Timestamp, timer: Timer) {
        match timer {
            Timer::Hello => self.close(now, CloseReason::NoHello),
            Timer::Message => self.close(now, CloseReason::Slow),
            Timer::Probe => {
                self.transmits.push_back(Transmit::Probe);
                self.timers.set(Timer::Pong, now.saturating_add(self.config.timing.probe_timeout));
            }
            Timer::Resend => self.on_resend(now),
            Timer::Idle => self.on_idle(now),
            // Nobody is there to say goodbye to.
            Timer::Pong | Timer::Write | Timer::Close => self.on_peer_closed(),
            Timer::Touch => {
                if self.errand == Errand::None {
                    self.errand = Errand::Touch;
                }
                self.timers
                    .set(Timer::Touch, now.saturating_add(self.config.timing.touch_interval));
            }
        }
    }

    fn on_resend(&mut self, now: Timestamp) {
        let (any, next) = self.delivery.resend(now, self.config.timing.resend_interval);
        if let Some(next) = next {
            self.timers.arm(Timer::Resend, next);
        }
        if any {
            self.effects.push_back(Effect::Count(Event::Resend));
            self.resend_rounds += 1;
            if self.resend_rounds > self.config.timing.resend_rounds_max {
                self.close(now, CloseReason::Unacknowledged);
            }
        }
    }

    /// Decides to close: what waits is still written, then a close frame.
    fn close(&mut self, now: Timestamp, reason: CloseReason) {
        if self.phase != Phase::Open {
            return;
        }
        self.leave();
        self.phase = Phase::Closing;
        self.greeting = None;
        self.timers.clear_all();
        self.timers.set(Timer::Close, now.saturating_add(self.config.timing.close_timeout));
        self.transmits.push_back(Transmit::Close(reason));
    }

    /// Gives up the place in the table, so that a PUT no longer counts as delivered (R-DEL-11).
    fn leave(&mut self) {
        if self.is_open() {
            self.effects.push_back(Effect::Release);
            if let Some(uaid) = self.uaid.or(self.greeting.as_ref().map(|g| g.uaid())) {
                self.leave_name(uaid);
            }
        }
        self.delivery.clear();
    }

    fn on_reply(&mut self, now: Timestamp, reply: Reply) {
        match std::mem::replace(&mut self.flight, Flight::Idle) {
            Flight::Idle => debug_assert!(false, "a reply without a command"),
            Flight::Greeting => self.on_greeting_reply(now, reply),
            Flight::Steps(steps) => self.on_steps_reply(steps, reply),
            Flight::Recheck => self.on_recheck_reply(now, reply),
            Flight::Wake(wakeable) => {
                // Only what is stored lets a UserAgent be sent away (R-WS-14).
                self.wakeable = if reply == Reply::Done { wakeable } else { Wakeable::No };
                self.on_wakeable(now);
            }
            Flight::Touch | Flight::Leave => {}
        }
    }

    fn on_recheck_reply(&mut self, now: Timestamp, reply: Reply) {
        match reply {
            Reply::Loaded(Loaded::Known(user_agent)) => {
                let gone = &self.gone;
                for pending in user_agent.pending.iter().filter(|p| !gone.contains(&p.channel)) {
                    self.delivery.compare(pending);
                }
            }
            Reply::Loaded(Loaded::Stale) => self.close(now, CloseReason::StateDropped),
            Reply::Loaded(Loaded::Superseded) => self.on_end(now, CloseReason::Superseded),
            // Another gateway dropped it.
            Reply::Loaded(Loaded::Unknown) if self.has_record => {
                self.close(now, CloseReason::StateDropped);
            }
            _ => {}
        }
    }

    /// Issues the next command if none is under way: requests in the order in which they came.
    fn advance(&mut self) {
        if !matches!(self.flight, Flight::Idle) {
            return;
        }
        if let Some(spelled) = self.uaid.filter(|_| !self.steps.is_empty()) {
            let steps: Vec<Step> = self.steps.drain(..).collect();
            let changes = steps.iter().map(Step::change).collect();
            let command = Command::Apply { uaid: spelled.uaid(), changes };
            self.issue(Flight::Steps(steps), command);
            return;
        }
        if let Some(greeting) = &self.greeting {
            let command = greeting.command();
            self.issue(Flight::Greeting, command);
            return;
        }
        if let Some(uaid) = self.names_left.pop() {
            self.issue(Flight::Leave, Command::Leave(uaid));
            return;
        }
        if let Some(uaid) = self.uaid.filter(|_| self.is_open()) {
            if let Some(Unnoted(place)) = self.unnoted.take() {
                let wakeable = if place.is_some() { Wakeable::Yes } else { Wakeable::No };
                self.issue(Flight::Wake(wakeable), Command::Wake(uaid.uaid(), place));
                return;
            }
            match std::mem::replace(&mut self.errand, Errand::None) {
                Errand::None => {}
                Errand::Recheck => self.issue(Flight::Recheck, Command::Load(uaid.uaid())),
                Errand::Touch => self.issue(Flight::Touch, Command::Touch(uaid.uaid())),
            }
        }
    }

    /// Sees to it that other gateways no longer think that this connection is that UserAgent's.
    fn leave_name(&mut self, uaid: SpelledUaid) {
        if self.config.gateways == Gateways::Several {
            self.names_left.push(uaid.uaid());
        }
    }

    fn issue(&mut self, flight: Flight, command: Command) {
        self.flight = flight;
        self.effects.push_back(Effect::Store(command));
    }
}
