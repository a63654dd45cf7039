//! What routes lead to: one short adapter for each door.
//!
//! Each translates a message, calls its door and translates the answer back. Never here: a rule of a
//! protocol, a retry.

mod bus;
mod cap;
mod mdp;
mod push;
mod subscribers;
mod window;

use std::sync::Arc;

use buswire_belay::{Bcap, CapServer, Relay, Serialisation};
use buswire_bridge::{OpenSink, RouteProblem, Sink, SinkUri};
use buswire_bus::Buses;
use buswire_mdp::{BrokerHandle, ServiceName};
use buswire_simplepush::SimplePush;

pub(crate) use subscribers::Subscribers;

/// Opens the sinks of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Sinks {
    pub(crate) buses: Buses,
    pub(crate) broker: BrokerHandle,
    pub(crate) push: SimplePush,
    pub(crate) subscribers: Subscribers,
    pub(crate) caps: CapServer,
    /// How windows are reached; `None` if the relay is off.
    pub(crate) relay: Option<Relay>,
    pub(crate) http: reqwest::Client,
    /// What the URLs of our own capabilities begin with: `https://host/cap/`.
    pub(crate) own_caps: Arc<str>,
}

impl OpenSink for Sinks {
    fn open(&self, uri: &SinkUri) -> Result<Arc<dyn Sink>, RouteProblem> {
        Ok(match uri {
            SinkUri::Bus { bus, channel } => {
                Arc::new(bus::BusSink::new(self.buses.clone(), bus.clone(), channel.clone()))
            }
            SinkUri::Mdp { service } => {
                let service = service.parse::<ServiceName>();
                let service =
                    service.map_err(|error| RouteProblem::SinkUnavailable(error.to_string()))?;
                Arc::new(mdp::MdpSink::new(self.broker.clone(), service))
            }
            SinkUri::PushEndpoint(endpoint) => {
                Arc::new(push::PushSink::new(self.push.clone(), endpoint.clone()))
            }
            SinkUri::PushSubscribers => Arc::new(self.subscribers.clone()),
            SinkUri::Cap(cap) if cap.expose().starts_with("urn:") => {
                let cap = Bcap::restore(cap.expose());
                Arc::new(window::WindowSink::new(self.relay_for(&cap)?, cap))
            }
            SinkUri::Cap(url) => match url.expose().strip_prefix(&*self.own_caps) {
                Some(id) => Arc::new(cap::OwnCapSink::new(self.caps.clone(), id)),
                None => Arc::new(cap::HttpCapSink::new(self.http.clone(), url.clone())),
            },
        })
    }
}

impl Sinks {
    fn relay_for(&self, window: &Bcap) -> Result<Relay, RouteProblem> {
        let unavailable = |why: &str| RouteProblem::SinkUnavailable(why.to_owned());
        if !matches!(window.serialisation(), Some(Serialisation::Urn { .. })) {
            return Err(unavailable("not an urn:x-cap:INSTANCE:ID"));
        }
        self.relay.clone().ok_or_else(|| unavailable("belay.relay.enabled is false"))
    }
}
