//! The forms that values have in the file, in the environment and on the command line.
//!
//! Never here: keys.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

/// Where a listener listens: a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    host: String,
    port: u16,
}

impl ListenAddress {
    /// The host: an address or a name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 takes a free one.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether `host`, an address without brackets or a name, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.parse().map_or(host == "localhost", |ip: IpAddr| ip.is_loopback())
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: address.ip().to_string(), port: address.port() });
        }
        let form = || "is not HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
        if matches!(host, "" | "*") {
            return Err(format!("names no host: write 0.0.0.0:{port} for every address"));
        }
        let name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if !name {
            return Err(form());
        }
        let port = port.parse().map_err(|_| "has no port from 0 to 65535".to_owned())?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An address or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Its address.
    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits of it count.
    pub(crate) const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `ip` is in it. An IPv4 address that is written as an IPv6 one is the same address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is not an address or a network as 10.0.0.0/8");
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.parse().ok().filter(|bits| *bits <= longest).ok_or_else(form)?,
        };
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Splits `12.5rest` into its number and its unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Parses a length of time: `250ms`, `10s`, `5m`, `8h`, `30d`.
///
/// # Errors
///
/// What the form is.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let form = || "is not a length of time with a unit, as 250ms, 10s, 5m, 8h or 30d".to_owned();
    let (number, unit) = number_and_unit(text).ok_or_else(form)?;
    let millis_each = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(form()),
    };
    number.checked_mul(millis_each).map(Duration::from_millis).ok_or_else(form)
}

/// Prints a length of time in the greatest unit that fits.
pub(crate) fn print_time(time: Duration) -> String {
    let millis = time.as_millis();
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        .into_iter()
        .find(|(_, each)| millis >= *each && millis.is_multiple_of(*each))
        .map_or_else(
            || if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") },
            |(unit, each)| format!("{}{unit}", millis / each),
        )
}

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Parses a number of bytes: `4096`, `4096B`, `16KiB`, `1MiB`, `1GiB`.
///
/// # Errors
///
/// What the form is.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let form = || "is not a number of bytes, as 4096, 16KiB, 1MiB or 1GiB".to_owned();
    let (number, unit) = number_and_unit(text).ok_or_else(form)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let (_, each) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(form)?;
    number.checked_mul(each).ok_or_else(form)
}

/// Prints a number of bytes in the greatest unit that fits.
pub(crate) fn print_size(bytes: u64) -> String {
    UNITS
        .into_iter()
        .find(|(_, each)| bytes >= *each && bytes.is_multiple_of(*each))
        .map_or_else(|| bytes.to_string(), |(unit, each)| format!("{}{unit}", bytes / each))
}

/// The address that reaches a listener which is bound to `bound`: loopback stands for "every address".
pub(crate) fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_hosts_with_ports() {
        for (text, loopback) in [
            ("127.0.0.1:8080", true),
            ("127.8.8.8:0", true),
            ("[::1]:80", true),
            ("localhost:80", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("bus.example.com:443", false),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_loopback(), loopback, "{text}");
        }
        for text in
            ["8080", ":8080", "*:8080", "127.0.0.1", "::1:80", "a b:80", "host:65536", "host:", ""]
        {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_contain_what_they_say() {
        for (network, ip, expect) in [
            ("10.0.0.0/8", "10.255.3.4", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("fd00::/8", "fdff::1", true),
            ("::/0", "fe80::1", true),
            ("::/0", "10.0.0.1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(ip.parse().unwrap()), expect, "{network} {ip}");
        }
        for text in ["10.0.0.0/33", "proxy", "::/129", "10.0.0.0/", ""] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_and_sizes_need_a_known_unit() {
        for text in ["10", "10 minutes", "", "s", "-1s", "1.5s", "99999999999999999999d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        for text in ["1MB", "", "-1", "KiB", "18446744073709551615KiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(parse_time("8h"), Ok(Duration::from_secs(28_800)));
        assert_eq!(parse_size("16KiB"), Ok(16_384));
    }

    proptest! {
        #[test]
        fn a_printed_time_or_size_is_read_back(millis in 0..1_000_000_000_u64, bytes in any::<u64>()) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(parse_time(&print_time(time)), Ok(time));
            prop_assert_eq!(parse_size(&print_size(bytes)), Ok(bytes));
        }
    }
}
