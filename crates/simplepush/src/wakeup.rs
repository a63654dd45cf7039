//! Wake-up of UserAgents on mobile networks (SimplePush §13.1, §19.6).
//!
//! A UserAgent may say where in its operator's network a datagram reaches it. It is never contacted
//! there: the relay of that operator is, and only for addresses that belong to it. One datagram, of
//! fixed form and not longer than the request that caused it, goes out for a UserAgent in a minute.
//!
//! Never here: versions; they wait in the store for the `hello`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;
use tokio::{net::UdpSocket, sync::OnceCell};

/// Which mobile networks have a relay, and how they are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeUp {
    /// The networks.
    pub networks: Vec<MobileNetwork>,
    /// Silence after which a UserAgent that can be woken is disconnected with 4774. Default 10 s.
    pub idle: Duration,
}

impl WakeUp {
    /// Uses `networks`, with the default for the rest.
    pub const fn new(networks: Vec<MobileNetwork>) -> Self {
        Self { networks, idle: Duration::from_secs(10) }
    }

    /// The relay for a UserAgent, if the operator has one and the address is the operator's.
    pub(crate) fn relay(&self, place: &WakePlace) -> Option<SocketAddr> {
        let network = self.networks.iter().find(|network| {
            network.mcc == place.mcc && network.mnc == place.mnc && network.owns(place.address)
        });
        network.map(|network| network.relay)
    }
}

/// The network of one mobile operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MobileNetwork {
    /// Its country code.
    pub mcc: String,
    /// Its network code.
    pub mnc: String,
    /// Where datagrams go that ask to wake somebody.
    pub relay: SocketAddr,
    /// Which addresses the relay can wake: networks with the number of their leading bits.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl MobileNetwork {
    /// Whether the relay may be asked to wake this address.
    fn owns(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let never = match ip {
            IpAddr::V4(ip) => ip.is_link_local() || ip == Ipv4Addr::BROADCAST,
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let odd = never || ip.is_loopback() || ip.is_multicast() || ip.is_unspecified();
        let owned = self.addresses.iter().any(|(network, bits)| is_in(*network, *bits, ip));
        owned && !odd && address.port() >= 1024
    }
}

fn is_in(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let differ = network.to_bits() ^ ip.to_bits();
            differ.checked_shr(32_u32.saturating_sub(bits.into())).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let differ = network.to_bits() ^ ip.to_bits();
            differ.checked_shr(128_u32.saturating_sub(bits.into())).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Where a UserAgent says that it can be woken. Its parts have bounded lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WakePlace {
    mcc: String,
    mnc: String,
    address: SocketAddr,
}

#[derive(Deserialize)]
struct HostPort {
    ip: IpAddr,
    port: u16,
}

#[derive(Deserialize)]
struct Codes {
    mcc: String,
    mnc: String,
}

impl WakePlace {
    /// Reads the members of a `hello`; `None` if they say nothing usable.
    pub(crate) fn read(host_port: &str, mobile_network: &str) -> Option<Self> {
        let HostPort { ip, port } = serde_json::from_str(host_port).ok()?;
        let Codes { mcc, mnc } = serde_json::from_str(mobile_network).ok()?;
        let code = |text: &str| {
            (2..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let address = SocketAddr::new(ip, port);
        (code(&mcc) && code(&mnc)).then_some(Self { mcc, mnc, address })
    }

    /// What is stored.
    pub(crate) fn encode(&self) -> String {
        format!("{} {} {}", self.mcc, self.mnc, self.address)
    }

    /// Undoes [`encode`](Self::encode); `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split(' ');
        let (mcc, mnc) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Self { mcc, mnc, address: parts.next()?.parse().ok()? })
    }

    /// What a relay is sent.
    fn datagram(&self) -> String {
        format!("wake {}", self.address)
    }
}

/// Sends datagrams to relays.
#[derive(Debug, Default)]
pub(crate) struct Pager {
    v4: OnceCell<UdpSocket>,
    v6: OnceCell<UdpSocket>,
}

impl Pager {
    /// Asks a relay to wake a UserAgent. That it was asked is all that can be known.
    pub(crate) async fn page(&self, relay: SocketAddr, place: &WakePlace) -> std::io::Result<()> {
        let (cell, any) =
            if relay.is_ipv4() { (&self.v4, "0.0.0.0:0") } else { (&self.v6, "[::]:0") };
        let socket = cell.get_or_try_init(|| UdpSocket::bind(any)).await?;
        socket.send_to(place.datagram().as_bytes(), relay).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(host_port: &str, mobile_network: &str) -> Option<SocketAddr> {
        let addresses = ["10.20.0.0", "127.0.0.0", "169.254.0.0", "224.0.0.0", "2001:db8::"];
        let bits = [16, 8, 16, 4, 32];
        let network = MobileNetwork {
            mcc: "214".into(),
            mnc: "07".into(),
            relay: "192.0.2.7:7000".parse().unwrap(),
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).zip(bits).collect(),
        };
        let place = WakePlace::read(host_port, mobile_network)?;
        assert_eq!(WakePlace::decode(place.encode().as_bytes()).as_ref(), Some(&place));
        WakeUp::new(vec![network]).relay(&place)
    }

    #[test]
    fn only_addresses_of_configured_networks_are_woken() {
        // Rule: simplepush §19.6 — only configured networks, only their relay, no special address, no low port
        let ours = r#"{"mcc":"214","mnc":"07","netid":"x"}"#;
        let found = Some("192.0.2.7:7000".parse().unwrap());
        assert_eq!(relay(r#"{"ip":"10.20.30.40","port":2442}"#, ours), found);
        assert_eq!(relay(r#"{"ip":"2001:db8::5","port":2442}"#, ours), found);
        for other in [r#"{"mcc":"214","mnc":"01"}"#, r#"{"mcc":"214"}"#, "{}", "7", "null"] {
            assert_eq!(relay(r#"{"ip":"10.20.30.40","port":2442}"#, other), None, "{other}");
        }
        for (ip, port) in [
            ("10.21.0.1", "2442"),
            ("10.20.30.40", "1023"),
            ("10.20.30.40", "70000"),
            ("127.0.0.1", "2442"),
            ("::ffff:127.0.0.1", "2442"),
            ("169.254.1.1", "2442"),
            ("224.0.0.1", "2442"),
            ("255.255.255.255", "2442"),
            ("0.0.0.0", "2442"),
            ("push.example.net", "2442"),
        ] {
            let host_port = format!("{{\"ip\":\"{ip}\",\"port\":{port}}}");
            assert_eq!(relay(&host_port, ours), None, "{host_port}");
        }
    }

    #[test]
    fn the_form_of_a_datagram_is_fixed() {
        // Rule: simplepush §19.6 — the datagram echoes no text of the client, and is no longer than what it sent
        let host_port = r#"{"ip":"10.20.30.40","port":2442,"x":"y"}"#;
        let place = WakePlace::read(host_port, r#"{"mcc":"214","mnc":"07"}"#).unwrap();
        assert_eq!(place.datagram(), "wake 10.20.30.40:2442");
        assert!(place.datagram().len() < host_port.len());
    }
}
