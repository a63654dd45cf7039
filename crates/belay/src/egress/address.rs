//! Which addresses are those of other machines on the public internet (Belay §23.6).
//!
//! Everything that is not plainly public is refused, forms that hide an IPv4 address in an IPv6 one
//! among it. Never here: a resolver, a socket.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// A text is no range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a range of addresses such as 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError;

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u32) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(first: u16, second: u16, prefix: u32) -> Self {
        let address = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0);
        Self { address: IpAddr::V6(address), prefix }
    }

    /// Whether an address is in the range; an IPv4 address is in no range of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `ADDRESS/PREFIX`, or an address alone.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| NetworkError)?;
        if prefix > longest {
            return Err(NetworkError);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What of IPv4 is not public: the special-purpose registry of IANA (RFC 6890), multicast and what is
/// reserved.
const NOT_PUBLIC_V4: [Network; 15] = [
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(100, 64, 0, 0, 10), // carrier-grade NAT
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(169, 254, 0, 0, 16), // link-local, and the metadata of clouds
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 0, 0, 0, 24),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(192, 88, 99, 0, 24), // relays of 6to4
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    Network::v4(224, 0, 0, 0, 4),
    Network::v4(240, 0, 0, 0, 4),
];

/// Where all public IPv6 addresses are; loopback, unique-local, link-local and multicast are not.
const GLOBAL_UNICAST: Network = Network::v6(0x2000, 0, 3);

/// What of it is not public: Teredo and other protocols, documentation, 6to4.
const NOT_PUBLIC_V6: [Network; 4] = [
    Network::v6(0x2001, 0, 23),
    Network::v6(0x2001, 0xdb8, 32),
    Network::v6(0x2002, 0, 16),
    Network::v6(0x3fff, 0, 20),
];

/// The well-known prefix of NAT64, whose last 32 bits are the IPv4 address that is reached.
const NAT64: Network = Network::v6(0x64, 0xff9b, 96);

/// Whether an address is one of the public internet. An IPv4 address in the form of an IPv6 one
/// (mapped, or behind NAT64) is judged as what it reaches.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => !NOT_PUBLIC_V4.iter().any(|range| range.contains(address)),
        IpAddr::V6(v6) if NAT64.contains(v6.into()) => {
            #[expect(clippy::cast_possible_truncation, reason = "the last 32 bits are meant")]
            let v4 = Ipv4Addr::from_bits(v6.to_bits() as u32);
            is_public(v4.into())
        }
        address @ IpAddr::V6(_) => {
            GLOBAL_UNICAST.contains(address)
                && !NOT_PUBLIC_V6.iter().any(|range| range.contains(address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_public_addresses_are_public() {
        // Rule: belay 23.6 — loopback, link-local, private, shared, multicast and reserved addresses are denied
        for public in
            ["1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "2606:4700::1111", "2a00::1"]
        {
            assert!(is_public(address(public)), "{public}");
        }
        for not in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "2001:db8::1",
            "3fff::1",
        ] {
            assert!(!is_public(address(not)), "{not}");
        }
    }

    #[test]
    fn an_ipv4_address_does_not_hide_in_an_ipv6_one() {
        // Rule: belay 23.6 — mapped, NAT64, 6to4 and Teredo forms of a private address are denied
        for not in [
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
        ] {
            assert!(!is_public(address(not)), "{not}");
        }
        assert!(is_public(address("::ffff:1.1.1.1")) && is_public(address("64:ff9b::101:101")));
    }

    #[test]
    fn ranges_parse_and_contain() {
        let range: Network = "10.0.0.0/8".parse().unwrap();
        assert!(range.contains(address("10.255.0.1")) && !range.contains(address("11.0.0.1")));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains(address("8.8.8.8")));
        let one: Network = "fd00::1".parse().unwrap();
        assert!(one.contains(address("fd00::1")) && !one.contains(address("fd00::2")));
        assert_eq!(one.to_string(), "fd00::1/128");
        for bad in ["", "10.0.0.0/33", "::/129", "x/8", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(bad.parse::<Network>(), Err(NetworkError), "{bad}");
        }
    }
}
