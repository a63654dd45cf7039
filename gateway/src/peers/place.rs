//! Where this gateway's broker is asked by others.
//!
//! Unless it is said, that is the address from which this gateway reaches the store: others that reach
//! the same store can reach that too, unless something between them is in the way.
//!
//! Never here: a socket that stays open.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

use crate::config::{Config, PeersListen, StoreConfig};

/// Where others ask.
#[derive(Debug)]
pub(super) struct Place {
    listen: String,
    /// Where others find it, if not where it listens.
    advertise: Option<String>,
    /// The address from which the store is reached.
    own: Option<IpAddr>,
    is_asked_for: bool,
}

impl Place {
    /// Finds out where this gateway is to be asked; `None` if it is not.
    pub(super) async fn find(config: &Config) -> Option<Self> {
        // Nobody else is at a store that is not shared.
        let StoreConfig::Redis(redis) = &config.store else { return None };
        let servers = redis.address.servers();
        let advertise = config.mdp.peers.advertise.as_ref().map(ToString::to_string);
        match &config.mdp.peers.listen {
            PeersListen::Off => None,
            PeersListen::At(endpoint) => {
                let (listen, own) = (endpoint.to_string(), own_address(servers).await);
                let place = Self { listen, advertise, own, is_asked_for: true };
                if !place.can_be_told() {
                    tracing::warn!(
                        "services of other gateways can't be reached: set mdp.peers.advertise"
                    );
                    return None;
                }
                Some(place)
            }
            PeersListen::Auto => {
                let own = own_address(servers).await;
                let Some(address) = own else {
                    tracing::warn!(
                        "services of other gateways can't be reached: set mdp.peers.listen"
                    );
                    return None;
                };
                let listen = format!("tcp://{}", SocketAddr::new(address, 0));
                Some(Self { listen, advertise, own, is_asked_for: false })
            }
        }
    }

    /// Whether there is something to tell others: who listens at every address has to know one of them.
    fn can_be_told(&self) -> bool {
        self.advertise.is_some() || self.own.is_some() || !is_everywhere(&self.listen)
    }

    pub(super) fn listen(&self) -> &str {
        &self.listen
    }

    pub(super) const fn is_asked_for(&self) -> bool {
        self.is_asked_for
    }

    /// Where others find the broker that listens at `bound`.
    pub(super) fn advertised(&self, bound: &str) -> String {
        if let Some(advertise) = &self.advertise {
            return advertise.clone();
        }
        let address = bound.strip_prefix("tcp://").and_then(|it| it.parse::<SocketAddr>().ok());
        match (address, self.own) {
            (Some(address), Some(own)) if address.ip().is_unspecified() => {
                format!("tcp://{}", SocketAddr::new(own, address.port()))
            }
            _ => bound.to_owned(),
        }
    }
}

/// Whether an endpoint is at every address of this machine.
fn is_everywhere(endpoint: &str) -> bool {
    let address = endpoint.strip_prefix("tcp://").and_then(|it| it.rsplit_once(':'));
    address.is_some_and(|(host, _)| {
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "*" || ip.is_ok_and(|ip| ip.is_unspecified())
    })
}

/// The address that this machine has towards the first server that it can reach. Nothing is sent.
async fn own_address(servers: &[(String, u16)]) -> Option<IpAddr> {
    for (host, port) in servers {
        for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from([0_u16; 8])] {
            let Ok(socket) = UdpSocket::bind((any, 0)).await else { continue };
            if socket.connect((host.as_str(), *port)).await.is_ok()
                && let Ok(address) = socket.local_addr()
            {
                return Some(address.ip());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(own: &str, advertise: Option<&str>) -> Place {
        Place {
            listen: "tcp://0.0.0.0:0".to_owned(),
            advertise: advertise.map(str::to_owned),
            own: own.parse().ok(),
            is_asked_for: true,
        }
    }

    #[test]
    fn others_are_told_an_address_that_they_can_use() {
        let it = place("10.0.0.7", None);
        assert_eq!(it.advertised("tcp://0.0.0.0:4321"), "tcp://10.0.0.7:4321");
        assert_eq!(it.advertised("tcp://10.9.9.9:4321"), "tcp://10.9.9.9:4321");
        let it = place("fd00::7", None);
        assert_eq!(it.advertised("tcp://[::]:4321"), "tcp://[fd00::7]:4321");
        let it = place("10.0.0.7", Some("tcp://gateway-1.example:7000"));
        assert_eq!(it.advertised("tcp://0.0.0.0:4321"), "tcp://gateway-1.example:7000");
    }

    #[test]
    fn a_place_at_every_address_of_which_none_is_known_is_told_to_nobody() {
        let at = |listen: &str, own: Option<IpAddr>, advertise: Option<&str>| {
            let (listen, advertise) = (listen.to_owned(), advertise.map(str::to_owned));
            Place { listen, advertise, own, is_asked_for: true }.can_be_told()
        };
        for everywhere in ["tcp://0.0.0.0:5556", "tcp://[::]:5556", "tcp://*:5556"] {
            assert!(!at(everywhere, None, None), "{everywhere}");
            assert!(at(everywhere, Some(Ipv4Addr::LOCALHOST.into()), None));
            assert!(at(everywhere, None, Some("tcp://gateway-1.example:7000")));
        }
        for somewhere in ["tcp://10.0.0.7:5556", "tcp://[fd00::7]:5556", "tcp://eth0:5556"] {
            assert!(at(somewhere, None, None), "{somewhere}");
        }
    }

    #[tokio::test]
    async fn the_own_address_is_that_towards_the_store() {
        let local = |host: &str| vec![(host.to_owned(), 6379)];
        assert_eq!(own_address(&local("127.0.0.1")).await, Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(own_address(&local("no host at all")).await, None);
        assert_eq!(own_address(&[]).await, None);
    }
}
