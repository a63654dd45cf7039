//! The relay as a state machine: no I/O, no clock (Belay §22.4).
//!
//! The driver hands in what happens ([`Input`]) with the time and does what comes out ([`Output`]).
//! Storage is asked for as data. Whatever is sent was put into a queue that the core bounds: it counts
//! the bytes that a socket has not taken yet. Never here: sockets, the store.
//!
//! | module | does |
//! |---|---|
//! | `ids` | who an instance id belongs to |
//! | `calls` | which calls wait for whom |

mod calls;
mod ids;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use buswire_message::{Entropy, SecretHash, Timestamp};
use buswire_store::Revision;

use self::{
    calls::{Caller, Pending, Target},
    ids::Instance,
};
use crate::relay::{
    RelayConfig, RelayError,
    allowance::{Allowance, Verdict},
    error::{CloseReason, Refusal},
    wire::{Call, FromPeer, ToPeer},
};

/// The first `txId` of each end (Belay §9).
const FIRST_TX: u64 = 1000;

/// Names a connection for as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(pub(super) u64);

/// Names a call of the gateway itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CallId(pub(super) u64);

/// Names a gateway among those that share a store: random bytes of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GatewayId(pub(super) [u8; 16]);

impl GatewayId {
    /// Reads 32 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Whom a call may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Windows of this gateway: another one asks, and nothing is passed on twice.
    Here,
    /// Windows of any gateway that shares the store.
    Anywhere,
}

/// What a registration showed for an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// That it came first: a temporary id.
    Temporary,
    /// The pre-image of a hashed id.
    Preimage,
    /// Something like the resume token of a hashed id, which another gateway may have given.
    Token,
}

/// What became of a claim in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// The id is whose token it is.
    Yes(Revision),
    /// A hashed id may be held here: at no other gateway somebody else has it.
    Free,
    /// A hashed id takes a proof that was not given.
    Unproven,
    /// It is somebody else's.
    Taken,
    /// It was given up.
    Retired,
    /// Too many are claimed from one address.
    TooMany,
    /// The store failed.
    Failed,
}

/// What happens.
pub(super) enum Input {
    /// A WebSocket was opened.
    Opened(ConnectionId),
    /// A message of so many bytes came.
    Received { from: ConnectionId, message: FromPeer, bytes: usize },
    /// Something else came: a control frame.
    Heard(ConnectionId),
    /// A socket took a message that was queued with this [`ToPeer::size`].
    Taken { by: ConnectionId, bytes: usize },
    /// A WebSocket can't be used any more, for a reason that its peer shall be told.
    Broken(ConnectionId, CloseReason),
    /// A WebSocket is gone.
    Closed(ConnectionId),
    /// The answer to [`Output::Claim`].
    Claimed { by: ConnectionId, id: String, outcome: Claimed },
    /// The answer to [`Output::Renew`]: nothing if the claim is another gateway's.
    Renewed { id: String, revision: Option<Revision> },
    /// The gateway itself invokes something, or another gateway does.
    Call(CallId, Call, Reach),
    /// The answer to [`Output::Forward`].
    Forwarded { tx: u64, answer: Result<Option<String>, RelayError> },
    /// An id has registered at another gateway.
    Moved(String),
    /// The gateway no longer wants the answer.
    Cancelled(CallId),
    /// The gateway shuts down.
    Drain,
}

/// What is to be done.
pub(super) enum Output {
    /// Queue a message.
    Send(ConnectionId, ToPeer),
    /// Close a WebSocket once what is queued is written. The core has forgotten it.
    Close(ConnectionId, CloseReason),
    /// Claim a temporary id in the store, or a hashed one among the gateways that share it.
    Claim { by: ConnectionId, id: String, token: SecretHash, shown: Shown },
    /// Make a claim last longer.
    Renew { id: String, revision: Revision },
    /// Bury a claim.
    Retire { id: String, revision: Revision },
    /// The owner of an id is gone: other gateways are told unless it is back.
    Left(String),
    /// Ask the gateway that has the window, if one has.
    Forward { tx: u64, call: Call },
    /// Answer a call of the gateway.
    Answer(CallId, Result<Option<String>, RelayError>),
}

/// What falls due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A call has taken too long.
    Call(Target),
    /// Something should have been heard.
    Silence(ConnectionId),
    /// The owner of an id has not come back.
    Grace(String),
    /// A claim is to be renewed.
    Renew(String),
}

/// One frame.
#[derive(Debug)]
struct Connection {
    heard: Timestamp,
    silence_at: Timestamp,
    /// Whether a `ping` was sent since something was heard.
    pinged: bool,
    next_tx: u64,
    /// Its calls that wait, by its own `txId`.
    outgoing: BTreeMap<u64, Target>,
    /// How many calls wait for it.
    incoming: usize,
    /// The ids that it holds or is claiming.
    ids: BTreeSet<String>,
    /// Bytes that its socket has not taken yet.
    queued: usize,
    /// What its socket's buffers grew to: the longest message in, and the longest out.
    buffers: [usize; 2],
    allowance: Allowance,
}

/// Every connection, id and call of one gateway.
pub(super) struct Core {
    config: Arc<RelayConfig>,
    entropy: Arc<dyn Entropy>,
    connections: BTreeMap<ConnectionId, Connection>,
    ids: BTreeMap<String, Instance>,
    calls: BTreeMap<Target, Pending>,
    own: BTreeMap<CallId, Target>,
    timers: BTreeSet<(Timestamp, Timer)>,
    queued: usize,
    /// The sum of all `buffers`.
    buffered: usize,
    /// Connections to be closed when the present input is done with.
    doomed: Vec<(ConnectionId, CloseReason)>,
    outputs: VecDeque<Output>,
    draining: bool,
    /// Whether there may be other gateways.
    is_joined: bool,
    /// Calls that wait for another gateway, and the number of the next one.
    away: usize,
    next_away: u64,
}

/// Stands for the other gateways as the target of a call.
const AWAY: ConnectionId = ConnectionId(u64::MAX);

impl Core {
    pub(super) fn new(config: Arc<RelayConfig>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            config,
            entropy,
            connections: BTreeMap::new(),
            ids: BTreeMap::new(),
            calls: BTreeMap::new(),
            own: BTreeMap::new(),
            timers: BTreeSet::new(),
            queued: 0,
            buffered: 0,
            doomed: Vec::new(),
            outputs: VecDeque::new(),
            draining: false,
            is_joined: false,
            away: 0,
            next_away: FIRST_TX,
        }
    }

    /// The same, where other gateways may have the windows that are not here.
    pub(super) fn joined(self) -> Self {
        Self { is_joined: true, ..self }
    }

    /// Takes what happened. `now` never goes back.
    pub(super) fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Opened(connection) => self.opened(now, connection),
            Input::Received { from, message, bytes } => self.received(now, from, message, bytes),
            Input::Heard(connection) => self.heard(now, connection),
            Input::Taken { by, bytes } => {
                self.taken(by, bytes);
                self.buffer(by, [0, bytes]);
            }
            Input::Broken(connection, reason) => self.doomed.push((connection, reason)),
            Input::Closed(connection) => self.forget(now, connection),
            Input::Claimed { by, id, outcome } => self.claimed(now, by, id, outcome),
            Input::Renewed { id, revision } => self.renewed(now, id, revision),
            Input::Call(own, call, reach) => self.invoke(now, Caller::Own(own), call, reach),
            Input::Forwarded { tx, answer } => self.forwarded(tx, answer),
            Input::Moved(id) => self.moved(&id),
            Input::Cancelled(own) => self.cancel(own),
            Input::Drain => self.drain(),
        }
        self.close_doomed(now);
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((at, timer)) = self.timers.pop_first() {
            if at > now {
                self.timers.insert((at, timer));
                return;
            }
            match timer {
                Timer::Call(target) => self.fail(target, RelayError::TimedOut),
                Timer::Silence(connection) => self.silent(now, connection),
                Timer::Grace(id) => self.remove(&id),
                Timer::Renew(id) => self.renew(id),
            }
            self.close_doomed(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due if nothing else happens first.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What is to be done next; call until `None` after every `handle*`.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Ids that somebody holds, and calls that wait.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.ids.len(), self.calls.len())
    }

    /// Whether a call still waits for another gateway.
    pub(super) fn is_away(&self, tx: u64) -> bool {
        self.calls.contains_key(&Target { connection: AWAY, tx })
    }

    fn opened(&mut self, now: Timestamp, id: ConnectionId) {
        if self.draining {
            self.outputs.push_back(Output::Close(id, CloseReason::Draining));
            return;
        }
        let silence_at = now.saturating_add(self.config.silence);
        let connection = Connection {
            heard: now,
            silence_at,
            pinged: false,
            next_tx: FIRST_TX,
            outgoing: BTreeMap::new(),
            incoming: 0,
            ids: BTreeSet::new(),
            queued: 0,
            buffers: [0; 2],
            allowance: Allowance::full(&self.config, now),
        };
        self.connections.insert(id, connection);
        self.timers.insert((silence_at, Timer::Silence(id)));
    }

    fn heard(&mut self, now: Timestamp, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.heard = now;
            connection.pinged = false;
        }
    }

    fn received(&mut self, now: Timestamp, from: ConnectionId, message: FromPeer, bytes: usize) {
        self.heard(now, from);
        self.buffer(from, [bytes, 0]);
        // An answer that somebody waits for was paid for by the question.
        let message = match message {
            FromPeer::Response { tx, result } => {
                match self.take_call(Target { connection: from, tx }) {
                    Some(pending) => {
                        return self.answer(pending.caller, result.map_err(RelayError::Answered));
                    }
                    None => FromPeer::Unknown,
                }
            }
            other => other,
        };
        let Some(connection) = self.connections.get_mut(&from) else { return };
        match connection.allowance.take(&self.config, now, bytes) {
            Verdict::Pass => self.perform(now, from, message),
            Verdict::Refuse => self.turn_away(from, message),
            Verdict::Close => self.doomed.push((from, CloseReason::Flood)),
        }
    }

    fn perform(&mut self, now: Timestamp, from: ConnectionId, message: FromPeer) {
        match message {
            FromPeer::Register { id, proof } => self.register(from, id, proof),
            FromPeer::Unregister { id } => self.unregister(from, id),
            FromPeer::Invoke { tx, call } => self.invoke_from(now, from, tx, call),
            FromPeer::Ping => self.send(from, ToPeer::Pong),
            FromPeer::Bye => self.doomed.push((from, CloseReason::Bye)),
            FromPeer::Response { .. } | FromPeer::Pong | FromPeer::Unknown => {}
        }
    }

    fn turn_away(&mut self, from: ConnectionId, message: FromPeer) {
        match message {
            FromPeer::Register { id, .. } => self.refuse(from, id, Refusal::TooMany),
            FromPeer::Invoke { tx, .. } => {
                let result = Err(RelayError::TooMany.into_failure());
                self.send(from, ToPeer::Response { tx, result });
            }
            FromPeer::Bye => self.doomed.push((from, CloseReason::Bye)),
            FromPeer::Unregister { .. }
            | FromPeer::Response { .. }
            | FromPeer::Ping
            | FromPeer::Pong
            | FromPeer::Unknown => {}
        }
    }

    /// Queues a message. Who lets too much pile up is closed.
    fn send(&mut self, to: ConnectionId, message: ToPeer) {
        let Some(connection) = self.connections.get_mut(&to) else { return };
        let bytes = message.size();
        connection.queued += bytes;
        self.queued += bytes;
        if connection.queued > self.config.queued_bytes_max {
            self.doomed.push((to, CloseReason::Slow));
        } else {
            self.outputs.push_back(Output::Send(to, message));
        }
    }

    fn taken(&mut self, by: ConnectionId, bytes: usize) {
        // What a forgotten connection had queued is no longer counted.
        if let Some(connection) = self.connections.get_mut(&by) {
            connection.queued = connection.queued.saturating_sub(bytes);
            self.queued = self.queued.saturating_sub(bytes);
        }
    }

    /// Counts what a socket's buffers hold, which never shrink. At the bound the connection with the
    /// greatest ones is closed; its frame connects again and shows its resume tokens.
    fn buffer(&mut self, id: ConnectionId, bytes: [usize; 2]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for (buffer, bytes) in connection.buffers.iter_mut().zip(bytes) {
            self.buffered += bytes.saturating_sub(*buffer);
            *buffer = bytes.max(*buffer);
        }
        if self.buffered > self.config.buffered_bytes_max {
            let size = |connection: &Connection| connection.buffers.iter().sum::<usize>();
            let greatest = self.connections.iter().max_by_key(|(_, it)| size(it));
            self.doomed.extend(greatest.map(|(id, _)| (*id, CloseReason::Crowded)));
        }
    }

    fn silent(&mut self, now: Timestamp, id: ConnectionId) {
        let silence = self.config.silence;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let quiet_until = connection.heard.saturating_add(silence);
        let (next, ping) = if now < quiet_until {
            (quiet_until, false)
        } else if connection.pinged {
            self.doomed.push((id, CloseReason::Silent));
            return;
        } else {
            connection.pinged = true;
            (now.saturating_add(silence), true)
        };
        connection.silence_at = next;
        self.timers.insert((next, Timer::Silence(id)));
        if ping {
            self.send(id, ToPeer::Ping);
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        for own in self.own.keys().copied().collect::<Vec<_>>() {
            self.cancel(own);
            self.outputs.push_back(Output::Answer(own, Err(RelayError::Draining)));
        }
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.send(id, ToPeer::Bye);
            self.doomed.push((id, CloseReason::Draining));
        }
    }

    // Closing one may fill the queue of another, so that it is closed in turn; each only once.
    fn close_doomed(&mut self, now: Timestamp) {
        while let Some((id, reason)) = self.doomed.pop() {
            if self.connections.contains_key(&id) {
                self.outputs.push_back(Output::Close(id, reason));
                self.forget(now, id);
            }
        }
    }

    /// Lets go of a connection: its calls end, its ids wait for their owner to come back.
    fn forget(&mut self, now: Timestamp, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.timers.remove(&(connection.silence_at, Timer::Silence(id)));
        self.queued = self.queued.saturating_sub(connection.queued);
        self.buffered = self.buffered.saturating_sub(connection.buffers.iter().sum());
        for target in connection.outgoing.into_values() {
            self.take_call(target);
        }
        self.fail_all(id, None);
        for instance in connection.ids {
            self.lose(now, &instance);
        }
    }
}
