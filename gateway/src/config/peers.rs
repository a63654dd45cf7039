//! How gateways on one store reach each other's Majordomo services.
//!
//! Never here: a socket.

use std::str::FromStr;

use super::{
    doors::Endpoint,
    reader::Reader,
    schema::{Group, Kind, Setting},
};

/// How gateways on one store reach each other's services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersConfig {
    /// Where they ask.
    pub listen: PeersListen,
    /// Where they are told to ask; `None` is where this gateway listens.
    pub advertise: Option<Endpoint>,
}

/// Where other gateways ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeersListen {
    /// At the address from which the store is reached, on a free port.
    Auto,
    /// Nowhere.
    Off,
    /// There.
    At(Endpoint),
}

impl FromStr for PeersListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            endpoint if endpoint.starts_with("tcp://") => endpoint.parse().map(Self::At),
            _ => Err(format!("{text:?} is not auto, off or an endpoint as tcp://10.0.0.1:5556")),
        }
    }
}

/// Other gateways of Majordomo.
pub(crate) const PEERS: Group = Group {
    title: "Majordomo between gateways",
    about: "How gateways on one store reach each other's services.",
    settings: &[
        Setting::new(
            "mdp.peers.listen",
            Kind::Text,
            "\"auto\"",
            "Where gateways on the same store ask for services of this one: an endpoint as `tcp://10.0.0.1:5556`, or `off`. `auto` is the address from which this gateway reaches the store, on a free port, and `off` with a store that is not shared. Only gateways with the same `belay.keys` get in.",
        ),
        Setting::unset(
            "mdp.peers.advertise",
            Kind::Text,
            "Where the others are told to ask, if that is not where this gateway listens: `tcp://HOST:PORT`.",
        ),
    ],
};

/// `is_shared` is whether other gateways can use the store.
pub(super) fn peers(reader: &mut Reader<'_>, is_shared: bool) -> PeersConfig {
    let listen = reader.parsed("mdp.peers.listen").unwrap_or(PeersListen::Auto);
    let advertise = reader.checked("mdp.peers.advertise", |text| {
        let endpoint: Endpoint = text.parse()?;
        let is_somewhere = is_reachable(&endpoint);
        is_somewhere
            .then_some(endpoint)
            .ok_or_else(|| format!("{text:?} is no place to connect to"))
    });
    if matches!(listen, PeersListen::At(_)) && !is_shared {
        reader.problem("mdp.peers.listen", "needs a store that gateways share: set store.url");
    }
    PeersConfig { listen, advertise }
}

/// Whether others can connect to an endpoint.
fn is_reachable(endpoint: &Endpoint) -> bool {
    let address = endpoint.as_str().strip_prefix("tcp://");
    address.and_then(|address| address.rsplit_once(':')).is_some_and(|(host, port)| {
        !["*", "0.0.0.0", "[::]"].contains(&host) && port.parse().is_ok_and(|port: u16| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, Inputs, Loaded, load};

    fn loaded(set: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        load(&Inputs { arguments: set.collect(), ..Inputs::default() })
    }

    #[test]
    fn the_place_is_found_given_or_off() {
        let redis = ("store.url", "redis://127.0.0.1:1");
        let listen = |text: &str| text.parse::<PeersListen>();
        assert_eq!(listen("auto"), Ok(PeersListen::Auto));
        assert_eq!(listen("off"), Ok(PeersListen::Off));
        assert!(matches!(listen("tcp://10.0.0.1:5556"), Ok(PeersListen::At(_))));
        for wrong in ["on", "ipc:///run/x", "tcp://10.0.0.1", ""] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
        let at = ("mdp.peers.listen", "tcp://0.0.0.0:0");
        assert!(loaded(&[at]).is_err(), "nobody else is at the embedded store");
        assert!(loaded(&[at, redis]).is_ok());
        for wrong in ["tcp://0.0.0.0:5556", "tcp://*:5556", "tcp://host:0", "tcp://host:*"] {
            assert!(loaded(&[redis, ("mdp.peers.advertise", wrong)]).is_err(), "{wrong}");
        }
        assert!(loaded(&[redis, ("mdp.peers.advertise", "tcp://host.example:5556")]).is_ok());
    }
}
