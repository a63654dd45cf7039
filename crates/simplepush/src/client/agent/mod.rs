//! A UserAgent as a state machine: no I/O, no clock, no randomness (SimplePush §17.7).
//!
//! The driver hands in what happens ([`Input`]) and the time, then carries out every [`Output`] in
//! order: what comes after [`Output::Save`] may only happen once the state is saved. News for the
//! program wait here, one entry for each channel, until [`Agent::poll_news`] takes them.
//!
//! Never here: sockets, files, the program's futures.

mod backoff;
mod news;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    time::Duration,
};

use buswire_message::{Secret, Timestamp, Version};

pub(super) use self::news::{News, Told};
use self::{backoff::Backoff, news::Newsstand};
use super::{
    name::Endpoint,
    state::{ChannelState, ClientState},
    wire::{self, Entry, Greeted, Heard},
};
use crate::id::ChannelId;

/// Channels that one UserAgent may have: as many as a server grants by default (§16).
const CHANNELS_MAX: usize = 1000;
/// Registrations that are under way at once. A server stops reading while its replies are not read, so
/// they must fit into the buffers between the two.
const IN_FLIGHT_MAX: usize = 32;
/// Redirects that are followed one after another (§15.4).
const REDIRECTS_MAX: u32 = 10;
/// The server asks not to come back before the network changes (§5.4).
const CLOSED_UNTIL_WOKEN: u16 = 4774;

/// When a UserAgent does what nobody asked it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long a connection may take to open. Default 30 s.
    pub connect_timeout: Duration,
    /// How long the server may take to answer. Default 10 s, which servers rely on.
    pub reply_timeout: Duration,
    /// After how long without a frame from the server to ask whether it is there. Default 5 min; a
    /// server takes less than 20 s between two pings for abuse.
    pub ping_after: Duration,
    /// The first wait before connecting again; each further one is twice as long. Half of every wait is
    /// random. Default 5 s.
    pub retry_first: Duration,
    /// The longest wait before connecting again. Default 5 min.
    pub retry_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            reply_timeout: Duration::from_secs(10),
            ping_after: Duration::from_secs(300),
            retry_first: Duration::from_secs(5),
            retry_max: Duration::from_secs(300),
        }
    }
}

/// What happens to a UserAgent.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    /// The WebSocket is open.
    Opened,
    /// A text message.
    Text(&'a str),
    /// Any other frame: the server is there.
    Frame,
    /// The connection is gone or could not be opened.
    Gone {
        /// The close code, if the server sent one.
        code: Option<u16>,
        /// Unpredictable, to spread those who come back.
        random: u32,
    },
    /// The program wants a channel.
    Register(ChannelId),
    /// The program gives a channel up.
    Unregister(ChannelId),
    /// The program has taken a version.
    Acknowledge(ChannelId, Version),
    /// The network may have changed: try at once.
    Wake,
}

/// What is to be done, in order.
#[derive(PartialEq, Eq)]
pub(super) enum Output {
    /// Open a connection: to this URL, or to the usual one.
    Connect(Option<String>),
    /// Send a text message.
    Send(String),
    /// Drop the connection; an [`Input::Gone`] must follow.
    Disconnect,
    /// Save the state before anything that follows.
    Save,
    /// A registration that the program asked for is answered.
    Registered(ChannelId, Result<Endpoint, Refusal>),
}

impl fmt::Debug for Output {
    /// Shows no text: it holds UAIDs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect(_) => "Connect",
            Self::Send(_) => "Send",
            Self::Disconnect => "Disconnect",
            Self::Save => "Save",
            Self::Registered(..) => "Registered",
        })
    }
}

/// Why a channel was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The server does not grant it. 500 means not now, or too many.
    #[error("the server refuses the channel with status {status}: {reason}")]
    Server {
        /// The status (SimplePush §7.2).
        status: u64,
        /// What the server says, for people.
        reason: String,
    },
    /// A UserAgent has at most 1,000 channels.
    #[error("a client has at most 1000 channels")]
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection; the next one is opened at this time.
    Offline(Timestamp),
    /// A connection is being opened; it must be open by this time.
    Opening(Timestamp),
    /// `hello` was sent; its answer must be there by this time.
    Greeting(Timestamp),
    Ready(Ready),
    /// The driver was told to drop the connection.
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ready {
    since: Timestamp,
    /// When the server is asked whether it is there, or must have answered.
    due: Timestamp,
    pinged: bool,
}

/// A `register` that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flight {
    /// Its answer counts.
    Wanted,
    /// An `unregister` followed: by the time of the answer the channel is gone.
    Undone,
}

/// A UserAgent.
#[derive(Debug)]
pub(super) struct Agent {
    settings: Settings,
    state: ClientState,
    phase: Phase,
    backoff: Backoff,
    /// Where the server of the last `hello` wants us to connect.
    redirect: Option<String>,
    redirects: u32,
    /// Channels whose registration the program waits for.
    asked: BTreeSet<ChannelId>,
    /// Channels whose `register` was sent on this connection and not answered.
    in_flight: BTreeMap<ChannelId, Flight>,
    /// When one of them must have been answered.
    reply_due: Timestamp,
    news: Newsstand,
    outputs: VecDeque<Output>,
}

impl Agent {
    /// A UserAgent that was started at `now` and connects at once.
    pub(super) fn new(settings: Settings, state: ClientState, now: Timestamp) -> Self {
        Self {
            settings,
            state,
            phase: Phase::Offline(now),
            backoff: Backoff::new(settings.retry_first, settings.retry_max),
            redirect: None,
            redirects: 0,
            asked: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            reply_due: Timestamp::MAX,
            news: Newsstand::default(),
            outputs: VecDeque::new(),
        }
    }

    /// What is to be kept.
    pub(super) const fn state(&self) -> &ClientState {
        &self.state
    }

    /// Whether channels can be registered and versions arrive.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }

    /// Takes what happened.
    pub(super) fn handle(&mut self, now: Timestamp, input: Input<'_>) {
        match input {
            Input::Opened => self.on_opened(now),
            Input::Text(text) => self.on_text(now, text),
            Input::Frame => self.on_frame(now),
            Input::Gone { code, random } => self.on_gone(now, code, random),
            Input::Register(channel) => self.on_register(now, channel),
            Input::Unregister(channel) => self.on_unregister(channel),
            Input::Acknowledge(channel, version) => self.on_acknowledge(channel, version),
            Input::Wake => self.on_wake(now),
        }
    }

    /// What is to be done; call until `None` after every `handle*`.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether [`poll_news`](Self::poll_news) has anything.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// What the program is to be told next. A version that it does not acknowledge comes again with the
    /// server's next reminder.
    pub(super) fn poll_news(&mut self) -> Option<News> {
        self.news.take()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due if nothing else happens before.
    pub(super) fn poll_timeout(&self) -> Timestamp {
        match self.phase {
            Phase::Offline(at) | Phase::Opening(at) | Phase::Greeting(at) => at,
            Phase::Ready(ready) => ready.due.min(self.reply_due),
            Phase::Leaving => Timestamp::MAX,
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        if now < self.poll_timeout() {
            return;
        }
        match &mut self.phase {
            Phase::Offline(_) => self.connect(now, None),
            Phase::Ready(ready) if !ready.pinged && now < self.reply_due => {
                ready.pinged = true;
                ready.due = now.saturating_add(self.settings.reply_timeout);
                self.outputs.push_back(Output::Send(wire::PING.to_owned()));
            }
            // Whoever does not answer in time is not there (§17.7).
            Phase::Opening(_) | Phase::Greeting(_) | Phase::Ready(_) => self.leave(),
            Phase::Leaving => {}
        }
    }

    fn connect(&mut self, now: Timestamp, url: Option<String>) {
        self.phase = Phase::Opening(now.saturating_add(self.settings.connect_timeout));
        self.outputs.push_back(Output::Connect(url));
    }

    fn leave(&mut self) {
        self.phase = Phase::Leaving;
        self.outputs.push_back(Output::Disconnect);
    }

    fn on_opened(&mut self, now: Timestamp) {
        if !matches!(self.phase, Phase::Opening(_)) {
            return;
        }
        self.phase = Phase::Greeting(now.saturating_add(self.settings.reply_timeout));
        let uaid = self.state.uaid.as_ref().map_or("", |uaid| uaid.expose());
        // Only what the server confirmed is listed: anything else would make it think that it lost state
        // (§9.3).
        let registered = self.state.registered().map(|(channel, ..)| channel);
        self.outputs.push_back(Output::Send(wire::hello(uaid, registered)));
    }

    fn on_gone(&mut self, now: Timestamp, code: Option<u16>, random: u32) {
        if let Phase::Ready(ready) = self.phase {
            self.backoff.connected_for(now.saturating_since(ready.since));
        }
        self.in_flight.clear();
        self.reply_due = Timestamp::MAX;
        if let Some(url) = self.redirect.take() {
            self.redirects += 1;
            self.connect(now, Some(url));
            return;
        }
        self.redirects = 0;
        // A program that does not notice changes of its network comes back after the longest wait.
        let wait = match code {
            Some(CLOSED_UNTIL_WOKEN) => self.settings.retry_max,
            _ => self.backoff.next(random),
        };
        self.phase = Phase::Offline(now.saturating_add(wait));
    }

    fn on_wake(&mut self, now: Timestamp) {
        self.backoff.reset();
        if matches!(self.phase, Phase::Offline(_)) {
            self.connect(now, None);
        }
    }

    /// Any frame answers a ping and puts off the next one.
    fn on_frame(&mut self, now: Timestamp) {
        if let Phase::Ready(ready) = &mut self.phase {
            ready.pinged = false;
            ready.due = now.saturating_add(self.settings.ping_after);
        }
    }

    fn on_text(&mut self, now: Timestamp, text: &str) {
        self.on_frame(now);
        match (wire::read(text), self.phase) {
            (Heard::Hello(greeted), Phase::Greeting(_)) => self.on_greeted(now, greeted),
            (Heard::Register { channel, status, endpoint, error }, Phase::Ready(_)) => {
                self.on_registered(now, channel, status, endpoint, error);
            }
            (Heard::Notification(entries), Phase::Ready(_)) => {
                for entry in entries {
                    self.on_entry(entry);
                }
            }
            // Before `hello` is answered nothing counts, and a second answer to it means nothing.
            _ => {}
        }
    }

    fn on_greeted(&mut self, now: Timestamp, greeted: Greeted) {
        let Greeted { uaid: Some(uaid), status: 200, .. } = greeted else {
            self.redirect = greeted.redirect.filter(|_| self.redirects < REDIRECTS_MAX);
            self.leave();
            return;
        };
        self.redirects = 0;
        if self.state.uaid.as_ref().is_none_or(|known| *known.expose() != uaid) {
            self.state.uaid = Some(Secret::new(uaid));
            // The server knows nothing of us: endpoints and versions of the old name mean nothing under
            // the new one (§7.1).
            self.state.channels.values_mut().for_each(|state| *state = ChannelState::default());
            self.news.clear();
            self.outputs.push_back(Output::Save);
        }
        let due = now.saturating_add(self.settings.ping_after);
        self.phase = Phase::Ready(Ready { since: now, due, pinged: false });
        self.register_more(now);
    }

    /// Sends registrations that are missing, as many as may be under way.
    fn register_more(&mut self, now: Timestamp) {
        if !self.is_ready() {
            return;
        }
        let room = IN_FLIGHT_MAX.saturating_sub(self.in_flight.len());
        let missing = self.state.channels.iter().filter(|(_, state)| state.endpoint.is_none());
        let missing = missing.map(|(channel, _)| *channel);
        let more: Vec<ChannelId> =
            missing.filter(|channel| !self.in_flight.contains_key(channel)).take(room).collect();
        for channel in more {
            self.in_flight.insert(channel, Flight::Wanted);
            self.outputs.push_back(Output::Send(wire::register(channel)));
        }
        if !self.in_flight.is_empty() {
            self.reply_due = self.reply_due.min(now.saturating_add(self.settings.reply_timeout));
        }
    }

    fn on_register(&mut self, now: Timestamp, channel: ChannelId) {
        if let Some(endpoint) = self.state.channels.get(&channel).and_then(|it| it.endpoint.clone())
        {
            self.outputs.push_back(Output::Registered(channel, Ok(endpoint)));
            return;
        }
        if self.state.channels.len() >= CHANNELS_MAX && !self.state.channels.contains_key(&channel)
        {
            self.outputs.push_back(Output::Registered(channel, Err(Refusal::TooMany)));
            return;
        }
        self.asked.insert(channel);
        self.state.channels.entry(channel).or_default();
        self.register_more(now);
    }

    fn on_registered(
        &mut self,
        now: Timestamp,
        channel: ChannelId,
        status: u64,
        endpoint: Option<String>,
        error: Option<String>,
    ) {
        let Some(flight) = self.in_flight.remove(&channel) else { return };
        self.reply_due = Timestamp::MAX;
        let state = self.state.channels.get_mut(&channel);
        if let Some(state) = state.filter(|_| flight == Flight::Wanted) {
            let result = if let Some(url) = endpoint.filter(|_| status == 200) {
                let endpoint = Endpoint::new(&url);
                state.endpoint = Some(endpoint.clone());
                Ok(endpoint)
            } else {
                self.state.channels.remove(&channel);
                Err(Refusal::Server { status, reason: error.unwrap_or_default() })
            };
            self.outputs.push_back(Output::Save);
            if self.asked.remove(&channel) {
                self.outputs.push_back(Output::Registered(channel, result));
            } else {
                self.news.registered(channel, result);
            }
        }
        self.register_more(now);
    }

    fn on_unregister(&mut self, channel: ChannelId) {
        if self.state.channels.remove(&channel).is_none() {
            return;
        }
        self.asked.remove(&channel);
        self.news.forget(channel);
        self.outputs.push_back(Output::Save);
        // If it is lost, the server finds out from the list of the next `hello` (§9.2).
        if self.is_ready() {
            self.in_flight.entry(channel).and_modify(|flight| *flight = Flight::Undone);
            self.outputs.push_back(Output::Send(wire::unregister(channel)));
        }
    }

    /// One version of a notification: what the program has taken, or does not want, is acknowledged at
    /// once; anything else when the program has taken it (§17.7).
    fn on_entry(&mut self, entry: Entry) {
        let channel = entry.channel.parse().ok();
        let known = channel.and_then(|channel| Some((channel, self.state.channels.get(&channel)?)));
        match known {
            Some((channel, state)) if entry.version.get() > state.version => {
                self.news.version(channel, Told { version: entry.version, data: entry.data });
            }
            _ => self.outputs.push_back(Output::Send(wire::ack(&entry.channel, entry.version))),
        }
    }

    fn on_acknowledge(&mut self, channel: ChannelId, version: Version) {
        let Some(state) = self.state.channels.get_mut(&channel) else { return };
        if version.get() > state.version {
            state.version = version.get();
            self.outputs.push_back(Output::Save);
        }
        self.news.taken(channel, version);
        if self.is_ready() {
            self.outputs.push_back(Output::Send(wire::ack(&channel.to_string(), version)));
        }
    }
}
