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

use std::{collections::HashMap, sync::Arc};

use buswire_belay::{Bcap, CapServer, Egress, Relay, Serialisation};
use buswire_bridge::{OpenSink, Reach, RouteError, RouteProblem, Sink, SinkUri};
use buswire_bus::Buses;
use buswire_mdp::ServiceName;
use buswire_simplepush::SimplePush;
use buswire_store::BoxFuture;

pub(crate) use subscribers::Subscribers;

use crate::requests::Requests;

/// Opens the sinks of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct Sinks {
    pub(crate) buses: Buses,
    pub(crate) requests: Requests,
    pub(crate) push: SimplePush,
    pub(crate) subscribers: Subscribers,
    pub(crate) caps: CapServer,
    /// How windows are reached; `None` if the relay is off.
    pub(crate) relay: Option<Relay>,
    pub(crate) egress: Egress,
}

impl Sinks {
    fn open_cap(&self, cap: &Bcap) -> Result<Arc<dyn Sink>, RouteProblem> {
        if let Some(id) = self.caps.local_id(cap) {
            return Ok(Arc::new(cap::OwnCapSink::new(self.caps.clone(), id)));
        }
        match cap.serialisation() {
            Some(Serialisation::Url(url)) => {
                Ok(Arc::new(cap::HttpCapSink::new(self.egress.clone(), url)?))
            }
            Some(Serialisation::Urn { .. }) => {
                let off =
                    || RouteProblem::SinkUnavailable("belay.relay.enabled is false".to_owned());
                let relay = self.relay.clone().ok_or_else(off)?;
                Ok(Arc::new(window::WindowSink::new(relay, cap.clone())))
            }
            None => Err(RouteProblem::SinkUnavailable("not a capability".to_owned())),
        }
    }
}

impl Sinks {
    /// From where a sink can be reached, if these services are served, here or by other gateways.
    fn reach_of(&self, uri: &SinkUri, served: &HashMap<ServiceName, bool>) -> Reach {
        let is_here = match uri {
            SinkUri::Bus { .. } | SinkUri::PushEndpoint(_) | SinkUri::PushSubscribers => {
                return Reach::Anywhere;
            }
            SinkUri::Mdp { service } => {
                let service = service.parse::<ServiceName>().ok();
                match service.and_then(|service| served.get(&service)) {
                    // Whoever has workers may always take it, since they need no other gateway.
                    Some(is_here) if *is_here => true,
                    Some(_) => return Reach::Anywhere,
                    None => false,
                }
            }
            SinkUri::Cap(url) => {
                let cap = Bcap::restore(url.expose());
                if !matches!(cap.serialisation(), Some(Serialisation::Urn { .. }))
                    || self.caps.local_id(&cap).is_some()
                {
                    let is_open = self.open_cap(&cap).is_ok();
                    return if is_open { Reach::Anywhere } else { Reach::Elsewhere };
                }
                self.relay.as_ref().is_some_and(|relay| relay.is_registered(&cap))
            }
        };
        if is_here { Reach::Here } else { Reach::Elsewhere }
    }
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
                Arc::new(mdp::MdpSink::new(self.requests.clone(), service))
            }
            SinkUri::PushEndpoint(endpoint) => {
                Arc::new(push::PushSink::new(self.push.clone(), endpoint.clone()))
            }
            SinkUri::PushSubscribers => Arc::new(self.subscribers.clone()),
            SinkUri::Cap(url) => self.open_cap(&Bcap::restore(url.expose()))?,
        })
    }

    fn reach<'a>(&'a self, uris: &'a [SinkUri]) -> BoxFuture<'a, Vec<Reach>> {
        Box::pin(async move {
            let asks = uris.iter().any(|uri| matches!(uri, SinkUri::Mdp { .. }));
            let served = if asks { self.requests.served().await } else { HashMap::new() };
            uris.iter().map(|uri| self.reach_of(uri, &served)).collect()
        })
    }

    /// Only buses are looked for: workers come and go, and the rest is elsewhere.
    fn check<'a>(&'a self, uri: &'a SinkUri) -> BoxFuture<'a, Result<(), RouteError>> {
        Box::pin(async move {
            let SinkUri::Bus { bus, .. } = uri else { return Ok(()) };
            match self.buses.get(bus).await {
                Ok(None) => {
                    let text = format!("there is no bus {bus}; create it first");
                    Err(RouteError::Invalid(vec![RouteProblem::SinkUnavailable(text)]))
                }
                Ok(Some(_)) => Ok(()),
                Err(error) => Err(RouteError::Bus(error)),
            }
        })
    }
}
