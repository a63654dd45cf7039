//! The sockets of links with other brokers: a ROUTER where they ask, and a DEALER to each.
//!
//! All of them have CURVE with one pair of keys that the brokers share, so that nobody else gets a word
//! in. A DEALER is never used again after its connection ended: the next connection has a new one, so
//! that nothing that was left in it is taken for news. Never in here: what is said.

use std::collections::BTreeMap;
use std::fmt;

use zmq::SocketEvent;

use super::config::{BrokerConfig, StartError, bind, set_router_options};
use super::curve::{self, CurveSecret, LINK_DOMAIN};
use crate::core::{LinkEnd, LinkId, LinkInput};
use crate::io::{Inbox, Received, set_common_options};
use crate::wire::{Hop, LinkMessage, Part};

/// Most frames of a message: what the largest request has, and what is before it.
const FRAMES_MAX: usize = 1_000_016;

/// Links to other brokers.
#[derive(Clone)]
pub struct LinkSettings {
    /// The ZeroMQ endpoint where other brokers ask. Port 0 takes any free one.
    pub listen: String,
    /// The public key that all of the brokers have.
    pub public: [u8; 32],
    /// The secret key that belongs to it.
    pub secret: CurveSecret,
}

impl fmt::Debug for LinkSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LinkSettings").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// A connection to another broker. Fields drop in order: the socket ends what its monitor hears.
struct Dialed {
    id: LinkId,
    socket: zmq::Socket,
    monitor: zmq::Socket,
}

impl Dialed {
    /// Receives at most `batch_max` messages; says whether there are no more.
    fn drain(
        &self,
        batch_max: usize,
        inbox: &mut Inbox,
        take: &mut impl FnMut(LinkInput),
    ) -> Result<bool, zmq::Error> {
        drain(batch_max, || {
            Ok(received(&self.socket, inbox)?.map(|frames| {
                let message = LinkMessage::decode(frames);
                take(LinkInput::Received { from: LinkEnd::Link(self.id), message });
            }))
        })
    }
}

/// The sockets. Fields drop in order: sockets before their context.
pub(super) struct LinkSockets {
    router: zmq::Socket,
    dialed: BTreeMap<u128, Dialed>,
    pub(super) endpoint: String,
    settings: LinkSettings,
    queue_max: i32,
    frame_bytes_max: i64,
    context: zmq::Context,
}

impl LinkSockets {
    pub(super) fn open(
        context: &zmq::Context,
        config: &BrokerConfig,
        settings: &LinkSettings,
    ) -> Result<Self, StartError> {
        let router = context.socket(zmq::ROUTER).map_err(StartError::Socket)?;
        let endpoints = std::slice::from_ref(&settings.listen);
        set_router_options(&router, config, endpoints).map_err(StartError::Socket)?;
        curve::secure(&router, &settings.secret, LINK_DOMAIN).map_err(StartError::Socket)?;
        let endpoint = bind(&router, &settings.listen)?;
        Ok(Self {
            router,
            dialed: BTreeMap::new(),
            endpoint,
            settings: settings.clone(),
            queue_max: config.queue_per_peer,
            frame_bytes_max: config.frame_bytes_max,
            context: context.clone(),
        })
    }

    pub(super) const fn public(&self) -> &[u8; 32] {
        &self.settings.public
    }

    /// Returns all sockets that may have something to read.
    pub(super) fn readable(&self) -> impl Iterator<Item = &zmq::Socket> {
        let dialed = self.dialed.values().flat_map(|it| [&it.socket, &it.monitor]);
        std::iter::once(&self.router).chain(dialed)
    }

    /// Begins to connect.
    pub(super) fn dial(&mut self, id: LinkId, endpoint: &str) -> Result<(), zmq::Error> {
        let socket = self.context.socket(zmq::DEALER)?;
        set_common_options(&socket)?;
        socket.set_linger(100)?;
        socket.set_sndhwm(self.queue_max)?;
        socket.set_rcvhwm(self.queue_max)?;
        socket.set_maxmsgsize(self.frame_bytes_max)?;
        socket.set_connect_timeout(10_000)?;
        socket.set_reconnect_ivl_max(2_000)?;
        socket.set_ipv6(endpoint.contains('['))?;
        socket.set_curve_serverkey(&self.settings.public)?;
        socket.set_curve_publickey(&self.settings.public)?;
        socket.set_curve_secretkey(self.settings.secret.bytes())?;
        let heard_at = format!("inproc://link-{}", id.number());
        let events = SocketEvent::HANDSHAKE_SUCCEEDED as i32 | endings();
        socket.monitor(&heard_at, events)?;
        let monitor = self.context.socket(zmq::PAIR)?;
        monitor.set_linger(0)?;
        monitor.connect(&heard_at)?;
        socket.connect(endpoint)?;
        self.dialed.insert(id.number(), Dialed { id, socket, monitor });
        Ok(())
    }

    /// Closes a connection.
    pub(super) fn hang_up(&mut self, id: LinkId) {
        self.dialed.remove(&id.number());
    }

    /// Sends one message without waiting and empties `parts`.
    pub(super) fn send(
        &self,
        to: LinkEnd,
        order: u64,
        message: LinkMessage,
        parts: &mut Vec<Part>,
    ) -> Result<(), zmq::Error> {
        let socket = match to {
            LinkEnd::Asker(route) => {
                parts.push(Part::Hop(route));
                &self.router
            }
            LinkEnd::Link(id) => match self.dialed.get(&id.number()) {
                Some(dialed) => &dialed.socket,
                None => return Err(zmq::Error::EHOSTUNREACH),
            },
        };
        message.write_to(order, parts);
        crate::io::send_parts(socket, parts)
    }

    /// Receives at most `batch_max` messages of each connection; says whether there are no more.
    pub(super) fn receive(
        &self,
        batch_max: usize,
        inbox: &mut Inbox,
        mut take: impl FnMut(LinkInput),
    ) -> Result<bool, zmq::Error> {
        let mut emptied = drain(batch_max, || {
            Ok(received(&self.router, inbox)?.map(|frames| {
                let (route, rest) =
                    frames.split_first().map_or((&[][..], frames), |(route, rest)| (route, rest));
                let from = LinkEnd::Asker(Hop::from(route));
                take(LinkInput::Received { from, message: LinkMessage::decode(rest) });
            }))
        })?;
        for dialed in self.dialed.values() {
            if !dialed.drain(batch_max, inbox, &mut take)? {
                // How the connection is does not count before what came over it.
                emptied = false;
                continue;
            }
            while let Some(event) = heard(&dialed.monitor, inbox)? {
                if event == SocketEvent::HANDSHAKE_SUCCEEDED as i32 {
                    take(LinkInput::Opened(dialed.id));
                } else if event & endings() != 0 {
                    // More may have come since, at most what the queue of the socket holds.
                    while !dialed.drain(batch_max, inbox, &mut take)? {}
                    take(LinkInput::Closed(dialed.id));
                }
            }
        }
        Ok(emptied)
    }
}

/// What ends a connection.
const fn endings() -> i32 {
    SocketEvent::DISCONNECTED as i32
        | SocketEvent::HANDSHAKE_FAILED_NO_DETAIL as i32
        | SocketEvent::HANDSHAKE_FAILED_PROTOCOL as i32
        | SocketEvent::HANDSHAKE_FAILED_AUTH as i32
}

/// Says whether `next` gave nothing before the batch was full.
fn drain(
    batch_max: usize,
    mut next: impl FnMut() -> Result<Option<()>, zmq::Error>,
) -> Result<bool, zmq::Error> {
    for _ in 0..batch_max {
        if next()?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Receives one message; one with too many frames has none.
fn received<'a>(
    socket: &zmq::Socket,
    inbox: &'a mut Inbox,
) -> Result<Option<&'a [zmq::Message]>, zmq::Error> {
    Ok(match inbox.receive(socket, FRAMES_MAX)? {
        Received::Nothing => None,
        Received::TooManyFrames => Some(&[]),
        Received::Message => Some(inbox.frames()),
    })
}

/// Receives one event of a connection.
fn heard(monitor: &zmq::Socket, inbox: &mut Inbox) -> Result<Option<i32>, zmq::Error> {
    let frames = received(monitor, inbox)?;
    // Two bytes of event and four of value, in the order of the machine (zmq_socket_monitor(3)).
    Ok(frames.map(|frames| match frames.first().and_then(|frame| frame.first_chunk()) {
        Some(event) => i32::from(u16::from_ne_bytes(*event)),
        None => 0,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::{
        BrokerAddress, BrokerCore, CoreConfig, Input, LinkConfig, LinkOutput, Output,
    };
    use crate::wire::BrokerId;

    const SENT: usize = 50;

    /// Names a connection, as the core does.
    fn named(endpoint: &str) -> LinkId {
        let links = Some(LinkConfig::new(BrokerId([1; 8])));
        let mut core = BrokerCore::new(CoreConfig { links, ..CoreConfig::default() }, [0; 8]);
        let id = BrokerId([2; 8]);
        let other = BrokerAddress { id, name: "g2".into(), endpoint: endpoint.into() };
        core.handle(Duration::ZERO, Input::Link(LinkInput::Brokers(vec![other])));
        match core.poll_output() {
            Some(Output::Link(LinkOutput::Dial { link, .. })) => link,
            other => panic!("{other:?}"),
        }
    }

    fn encoded(order: u64) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        LinkMessage::Beat.write_to(order, &mut parts);
        parts.iter().map(|part| part.as_slice().to_vec()).collect()
    }

    #[test]
    fn what_came_before_a_connection_ended_is_read_before_its_end_however_much_it_is() {
        if !crate::has_curve() {
            return;
        }
        let pair = zmq::CurveKeyPair::new().unwrap();
        let secret = CurveSecret::from_bytes(pair.secret_key);
        let there = zmq::Context::new();
        let other = there.socket(zmq::ROUTER).unwrap();
        other.set_linger(10_000).unwrap();
        other.set_curve_server(true).unwrap();
        other.set_curve_secretkey(secret.bytes()).unwrap();
        other.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = other.get_last_endpoint().unwrap().unwrap();

        let listen = "tcp://127.0.0.1:0".to_owned();
        let settings = LinkSettings { listen, public: pair.public_key, secret };
        let here = zmq::Context::new();
        let mut links = LinkSockets::open(&here, &BrokerConfig::default(), &settings).unwrap();
        let id = named(&endpoint);
        links.dial(id, &endpoint).unwrap();
        let monitor = || links.dialed[&id.number()].monitor.poll(zmq::POLLIN, 10_000).unwrap();
        assert_eq!(monitor(), 1);
        let mut inbox = Inbox::default();
        let mut inputs = Vec::new();
        links.receive(10, &mut inbox, |input| inputs.push(input)).unwrap();
        assert!(matches!(inputs[..], [LinkInput::Opened(_)]), "{inputs:?}");

        links.send(LinkEnd::Link(id), 0, LinkMessage::Beat, &mut Vec::new()).unwrap();
        let route = other.recv_multipart(0).unwrap().swap_remove(0);
        for order in 0..SENT {
            let message = encoded(u64::try_from(order).unwrap());
            other.send_multipart([vec![route.clone()], message].concat(), 0).unwrap();
        }
        // Sends what it has, and ends.
        drop((other, there));
        assert_eq!(monitor(), 1, "the end is known");
        inputs.clear();
        for _ in 0..SENT {
            links.receive(10, &mut inbox, |input| inputs.push(input)).unwrap();
        }
        assert!(matches!(inputs.last(), Some(LinkInput::Closed(_))), "{inputs:?}");
        let before = inputs.iter().take_while(|it| matches!(it, LinkInput::Received { .. }));
        assert_eq!(before.count(), SENT);
    }
}
