//! Links to other brokers: this one asks them for what it has no worker for, and they ask it.
//!
//! A [`Link`] is the way on which this broker asks another one; an [`Asker`] is another one that asks
//! here. Each side of a pair opens a link of its own, so that a question and its answer go one way only.
//!
//! A request of another broker is for the workers here and nobody else ([`Origin::forwarded_body`] gives
//! nothing to forward for it), so that no request goes in circles. It has one attempt here: whatever
//! becomes of it is told to the broker that its client is connected to, which alone decides whether it
//! is tried again. So there is one count of attempts for each request, as with one broker.
//!
//! Which services the other has workers for is said over its link when that changes, nothing else.
//!
//! Never in here: sockets, keys, how brokers find each other.

mod asked;
mod asking;
#[cfg(any(test, feature = "__harness"))]
mod check;
mod session;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use asked::Asker;
pub(crate) use asking::Link;

use super::arena::{Arena, Key};
use super::tables::{Origin, Request, Service};
use super::{BrokerCore, Output, Phase, SendTag, Tag};
use crate::Frames;
use crate::wire::{BadLinkMessage, BrokerId, Hop, LinkMessage, Refusal};
use session::Session;

/// Names of a SERVES or CEASES at most: one message never has too many frames.
const NAMES_MAX: usize = 500;

/// Bounds of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Names this broker.
    pub id: BrokerId,
    /// Requests that another broker has in hand for this one, and this one for it; default 8192. More
    /// wait here.
    pub in_flight_max: usize,
    /// The same of one service; default 256, so that slow services leave room for others.
    pub service_in_flight_max: usize,
    /// Other brokers; default 64. Links to more are not made.
    pub brokers_max: usize,
}

impl LinkConfig {
    /// The defaults for the broker of this name.
    pub const fn new(id: BrokerId) -> Self {
        Self { id, in_flight_max: 8192, service_in_flight_max: 256, brokers_max: 64 }
    }
}

/// Where another broker lets itself be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Its id.
    pub id: BrokerId,
    /// What it is called towards people.
    pub name: Arc<str>,
    /// The ZeroMQ endpoint.
    pub endpoint: Arc<str>,
}

/// Names one connection to another broker; a later one has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId {
    link: Key<Link>,
    dial: u32,
}

impl LinkId {
    /// Returns a number that no other connection of this broker has.
    pub fn number(self) -> u128 {
        (u128::from(self.link.to_bits()) << 32) | u128::from(self.dial)
    }
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// The other broker is asked over this connection.
    Link(LinkId),
    /// The other broker asks; this is the routing id of its connection.
    Asker(Hop),
}

/// What happens to links.
#[derive(Debug)]
pub enum LinkInput {
    /// From now on these are the other brokers.
    Brokers(Vec<BrokerAddress>),
    /// A connection is there.
    Opened(LinkId),
    /// A connection is gone.
    Closed(LinkId),
    /// A message came, with its place in the order of its sender.
    Received {
        /// From where.
        from: LinkEnd,
        /// What it says.
        message: Result<(u64, LinkMessage), BadLinkMessage>,
    },
}

/// What is to be done about links.
#[derive(Debug)]
pub enum LinkOutput {
    /// Connect there, and say [`LinkInput::Opened`] when that has succeeded.
    Dial {
        /// The name of the connection.
        link: LinkId,
        /// Where.
        endpoint: Arc<str>,
    },
    /// Close this connection; nothing that it says later counts.
    HangUp(LinkId),
    /// Send this without waiting; report failure with the tag.
    Send {
        /// What depends on it.
        tag: SendTag,
        /// Over which connection.
        to: LinkEnd,
        /// Its place among the messages of this side.
        order: u64,
        /// What is said.
        message: LinkMessage,
    },
    /// Something that an operator wants to know.
    Note(LinkNote),
}

/// What an operator wants to know of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNote {
    /// Another broker can be asked from now on.
    Up(Arc<str>),
    /// Another broker can't be asked any more; so many requests it had in hand.
    Down(Arc<str>, LinkLoss, usize),
    /// A broker asked, or was to be asked, that speaks another version of links.
    Version(u8),
    /// A broker was not let in.
    Refused(Refusal),
    /// There are more brokers than links are made to.
    TooMany(usize),
}

/// Why a link is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLoss {
    /// The connection ended, or could not be made.
    Closed,
    /// Nothing was heard for too long.
    Silent,
    /// The other does not let itself be asked.
    Refused(Refusal),
    /// A message was lost on the way, came twice, or made no sense there.
    Broken,
    /// It speaks another version.
    Version(u8),
    /// It does not take what is sent.
    Full,
    /// It is not the one that was looked for.
    Another,
    /// It is no longer among the other brokers.
    Gone,
}

/// Another broker, as its administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerInfo {
    /// Where it is.
    pub address: BrokerAddress,
    /// Whether it can be asked now.
    pub is_up: bool,
    /// Services it has workers for.
    pub services: usize,
    /// Requests it has in hand for this broker.
    pub asked: usize,
    /// Requests this broker has in hand for it.
    pub asking: usize,
}

/// The other brokers.
#[derive(Default)]
pub(super) struct Links {
    config: Option<LinkConfig>,
    ways: Arena<Link>,
    by_id: BTreeMap<BrokerId, Key<Link>>,
    askers: Arena<Asker>,
    routes: HashMap<Hop, Key<Asker>>,
    /// Requests given to other brokers so far.
    numbered: u64,
}

impl Links {
    pub(super) fn new(config: Option<LinkConfig>) -> Self {
        Self { config, ..Self::default() }
    }

    /// Returns how many other brokers can be asked, and how many requests they have in hand.
    pub(super) fn totals(&self) -> (usize, usize, usize) {
        let links = self.ways.iter().map(|(_, link)| link);
        let (up, asked) = links.fold((0, 0), |(up, asked), link| {
            (up + usize::from(link.is_up()), asked + link.in_flight.len())
        });
        (up, asked, self.askers.iter().map(|(_, asker)| asker.requests.len()).sum())
    }
}

impl Origin {
    /// Returns what of a request may be given to another broker: only that of a client of this one.
    pub(super) fn forwarded_body(&self, body: &Frames) -> Option<Frames> {
        match self {
            Self::Remote(_) | Self::Local(_) => Some(body.clone()),
            Self::Broker(..) | Self::Gone => None,
        }
    }
}

impl BrokerCore {
    pub(super) fn on_link(&mut self, input: LinkInput) {
        if self.links.config.is_none() || self.phase == Phase::Stopped {
            return;
        }
        match input {
            LinkInput::Brokers(brokers) => self.on_brokers(brokers),
            LinkInput::Opened(id) => self.on_link_opened(id),
            LinkInput::Closed(id) => {
                if self.current(id).is_some() {
                    self.lose_link(id.link, LinkLoss::Closed);
                }
            }
            LinkInput::Received { from: LinkEnd::Link(id), message } => {
                self.on_link_message(id, message);
            }
            LinkInput::Received { from: LinkEnd::Asker(route), message } => {
                self.on_asker_message(route, message);
            }
        }
    }

    /// Returns every other broker, by name.
    pub fn brokers(&self) -> Vec<BrokerInfo> {
        let infos = self.links.ways.iter().map(|(_, link)| {
            let id = link.address.id;
            let askers = self.links.askers.iter().filter(|(_, asker)| asker.id == id);
            BrokerInfo {
                address: link.address.clone(),
                is_up: link.is_up(),
                services: link.services.len(),
                asked: link.in_flight.len(),
                asking: askers.map(|(_, asker)| asker.requests.len()).sum(),
            }
        });
        let mut infos: Vec<_> = infos.collect();
        infos.sort_by(|a, b| (&a.address.name, a.address.id).cmp(&(&b.address.name, b.address.id)));
        infos
    }

    /// Returns what the brokers are called that have workers for a service.
    pub(super) fn names_elsewhere(&self, service: &Service) -> Vec<Arc<str>> {
        let links = service.elsewhere.iter().filter_map(|it| self.links.ways.get(it.link));
        let mut names: Vec<_> = links.map(|link| Arc::clone(&link.address.name)).collect();
        names.sort_unstable();
        names
    }

    fn note(&mut self, note: LinkNote) {
        self.outputs.push_back(Output::Link(LinkOutput::Note(note)));
    }

    fn say(&mut self, tag: Tag, to: LinkEnd, order: u64, message: LinkMessage) {
        let tag = SendTag(tag);
        self.outputs.push_back(Output::Link(LinkOutput::Send { tag, to, order, message }));
    }

    /// Tells the other brokers whether they may ask for a service, if that changed. To be called
    /// whenever it may have.
    pub(super) fn update_offer(&mut self, key: Key<Service>) {
        if self.links.config.is_none() {
            return;
        }
        let is_open = self.phase == Phase::Open;
        let Some(service) = self.services.get_mut(key) else { return };
        let offered = is_open && service.is_for_others();
        if service.offered == offered {
            return;
        }
        service.offered = offered;
        let names = || vec![service.name.clone()];
        let message =
            if offered { LinkMessage::Serves(names()) } else { LinkMessage::Ceases(names()) };
        let askers: Vec<_> = self.links.askers.iter().map(|(asker, _)| asker).collect();
        for asker in askers {
            self.tell_asker(asker, message.clone());
        }
        if !offered {
            self.give_back_waiting(key);
        }
    }

    /// Nothing new is taken: the other brokers are to ask elsewhere.
    pub(super) fn withdraw_offers(&mut self) {
        let services: Vec<_> = self.services.iter().map(|(key, _)| key).collect();
        for service in services {
            self.update_offer(service);
        }
    }

    /// Ends every link, as the broker does.
    pub(super) fn close_links(&mut self) {
        let askers: Vec<_> = self.links.askers.iter().map(|(key, _)| key).collect();
        for asker in askers {
            self.tell_asker(asker, LinkMessage::Refused(Refusal::Stopped));
            self.forget_asker(asker);
        }
        let links: Vec<_> = self.links.ways.iter().map(|(key, _)| key).collect();
        for link in links {
            self.remove_link(link);
        }
    }

    /// When another broker is gone if nothing is heard of it, or is to hear something.
    fn session_due(&self, session: &Session) -> (Duration, Duration) {
        let silence = (session.last_rx + self.config.worker_expiry).max(self.expiry_from);
        (silence, session.last_tx + self.config.heartbeat_interval)
    }
}

/// What a request of another broker is called where it is in hand.
pub(super) type Numbered = BTreeMap<u64, Key<Request>>;

/// Services of a link.
type Services = BTreeSet<Key<Service>>;
