//! The typed settings of SimplePush.
//!
//! They are plain values; the composition root makes the configuration of the crate of them. Never
//! here: a type of the door.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use super::{reader::Reader, value::Network};

/// SimplePush (§5.3 and §16 of its reference).
#[derive(Clone, Debug)]
pub struct SimplePushConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// WebSocket connections at once.
    pub connections_max: u32,
    /// WebSocket connections at once from one address; zero is any number.
    pub address_connections_max: u32,
    /// Channels per user agent.
    pub channels_max: u32,
    /// Bytes per WebSocket message from a client.
    pub message_max: usize,
    /// Bytes per body of a `PUT`.
    pub body_max: usize,
    /// Bytes per `data` of a `PUT`; zero ignores it.
    pub max_data_len: usize,
    /// From the connection to a valid `hello`.
    pub hello_timeout: Duration,
    /// From the first byte of a message to its last.
    pub message_timeout: Duration,
    /// The shortest time between two client pings; zero is off.
    pub ping_interval_min: Duration,
    /// Silence after which the server sends a PING.
    pub probe_interval: Duration,
    /// Silence after that which closes the connection.
    pub probe_timeout: Duration,
    /// After how long an update is sent again.
    pub resend_interval: Duration,
    /// Rounds of that without any `ack` before the connection is closed.
    pub resend_limit: u32,
    /// How long a write may make no progress.
    pub write_timeout: Duration,
    /// How long a user agent that does not connect is remembered.
    pub ua_lifetime: Duration,
    /// Updates per notification.
    pub updates_max: u32,
    /// How often things may happen within a minute.
    pub rates: SimplePushRates,
    /// Which version of a channel stays (R-VER-7).
    pub version_policy: VersionPolicy,
    /// What becomes of channels that are not listed (R-SYNC-1).
    pub extra_channels: ExtraChannels,
    /// What becomes of a user agent that lists others (R-SYNC-2).
    pub missing_channels: MissingChannels,
    /// Whether the presence of a user agent is hidden.
    pub always_200: bool,
    /// Whether pages of other origins may `PUT`.
    pub cors: bool,
    /// Whether the subprotocol must be offered (R-WS-2).
    pub require_subprotocol: bool,
    /// Origins that may connect; all if empty (R-WS-3).
    pub allowed_origins: Vec<String>,
    /// Whether other gateways use the same store.
    pub several_gateways: bool,
    /// Where user agents are sent when there are many, if anywhere.
    pub redirect: Option<String>,
    /// Percent of `connections_max` that are many.
    pub redirect_threshold: u32,
    /// File with the keys of endpoints.
    pub token_key_file: Option<PathBuf>,
    /// Mobile networks whose relays wake user agents.
    pub wakeup_networks: Vec<WakeUpNetwork>,
    /// Silence after which a user agent that can be woken is sent away.
    pub wakeup_idle: Duration,
}

/// Which version of a channel stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The greatest while one is pending.
    Greatest,
    /// The greatest ever.
    Strict,
    /// The last that came.
    Last,
}

/// What becomes of channels that a `hello` does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraChannels {
    /// They go if it lists any.
    PruneIfListed,
    /// They stay.
    Keep,
    /// They go.
    Prune,
}

/// What becomes of a user agent that lists channels that are not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingChannels {
    /// It starts again.
    Reset,
    /// Nothing.
    Ignore,
}

/// How often things may happen within a minute; zero is any number of times.
#[derive(Clone, Copy, Debug)]
pub struct SimplePushRates {
    /// `PUT`s to one channel.
    pub channel_puts: u32,
    /// `PUT`s from one address that are answered 404 or 410.
    pub refused_puts: u32,
    /// UAIDs from one address that are not honoured.
    pub refused_uaids: u32,
    /// Changes of the connection of one user agent.
    pub takeovers: u32,
}

/// A mobile network and its relay: `MCC-MNC RELAY:PORT NETWORK…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WakeUpNetwork {
    /// The country code.
    pub mcc: String,
    /// The code of the network.
    pub mnc: String,
    /// Where datagrams go.
    pub relay: SocketAddr,
    /// Which addresses the relay can wake, as address and number of leading bits.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl FromStr for WakeUpNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "{text:?} is not MCC-MNC RELAY:PORT NETWORK…, as \"214-07 10.0.0.7:7000 10.20.0.0/16\""
            )
        };
        let mut words = text.split_ascii_whitespace();
        let (mcc, mnc) = words.next().and_then(|codes| codes.split_once('-')).ok_or_else(form)?;
        let digits = |code: &str, least: usize| {
            (least..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(mcc, 3) || !digits(mnc, 2) {
            return Err(form());
        }
        let relay = words.next().and_then(|relay| relay.parse().ok()).ok_or_else(form)?;
        let networks = words.map(str::parse::<Network>).collect::<Result<Vec<_>, _>>()?;
        if networks.is_empty() {
            return Err(form());
        }
        let addresses = networks.iter().map(|network| (network.address(), network.prefix()));
        let (mcc, mnc) = (mcc.to_owned(), mnc.to_owned());
        Ok(Self { mcc, mnc, relay, addresses: addresses.collect() })
    }
}

/// `is_shared` is whether other gateways can use the store.
pub(super) fn simplepush(reader: &mut Reader<'_>, is_shared: bool) -> SimplePushConfig {
    SimplePushConfig {
        enabled: reader.flag("simplepush.enabled"),
        connections_max: reader.count("simplepush.connections_max"),
        address_connections_max: reader.count("simplepush.address_connections_max"),
        channels_max: reader.count("simplepush.channels_max"),
        message_max: reader.size("simplepush.message_max"),
        body_max: reader.size("simplepush.body_max"),
        max_data_len: reader.size("simplepush.max_data_len"),
        hello_timeout: reader.time("simplepush.hello_timeout"),
        message_timeout: reader.time("simplepush.message_timeout"),
        ping_interval_min: reader.time("simplepush.ping_interval_min"),
        probe_interval: reader.time("simplepush.probe_interval"),
        probe_timeout: reader.time("simplepush.probe_timeout"),
        resend_interval: reader.time("simplepush.resend_interval"),
        resend_limit: reader.count("simplepush.resend_limit"),
        write_timeout: reader.time("simplepush.write_timeout"),
        ua_lifetime: reader.time("simplepush.ua_lifetime"),
        updates_max: reader.count("simplepush.updates_max"),
        rates: SimplePushRates {
            channel_puts: reader.count("simplepush.channel_puts_per_minute"),
            refused_puts: reader.count("simplepush.refused_puts_per_minute"),
            refused_uaids: reader.count("simplepush.refused_uaids_per_minute"),
            takeovers: reader.count("simplepush.takeovers_per_minute"),
        },
        version_policy: version_policy(reader),
        extra_channels: extra_channels(reader),
        missing_channels: missing_channels(reader),
        always_200: reader.flag("simplepush.always_200"),
        cors: reader.flag("simplepush.cors"),
        require_subprotocol: reader.flag("simplepush.require_subprotocol"),
        allowed_origins: reader.list("simplepush.allowed_origins"),
        several_gateways: reader.flag_if_set("simplepush.several_gateways").unwrap_or(is_shared),
        redirect: redirect(reader),
        redirect_threshold: reader.count("simplepush.redirect_threshold"),
        token_key_file: reader.path("simplepush.token_key_file"),
        wakeup_networks: reader.list("simplepush.wakeup_networks"),
        wakeup_idle: reader.time("simplepush.wakeup_idle"),
    }
}

// A value that is none of the words is a problem that was noted, so that any value does after it.

fn version_policy(reader: &mut Reader<'_>) -> VersionPolicy {
    let policy = reader.checked("simplepush.version_policy", |text| match text {
        "greatest" => Ok(VersionPolicy::Greatest),
        "strict" => Ok(VersionPolicy::Strict),
        "last" => Ok(VersionPolicy::Last),
        _ => Err("is not greatest, strict or last".to_owned()),
    });
    policy.unwrap_or(VersionPolicy::Greatest)
}

fn extra_channels(reader: &mut Reader<'_>) -> ExtraChannels {
    let extra = reader.checked("simplepush.extra_channels", |text| match text {
        "prune_if_listed" => Ok(ExtraChannels::PruneIfListed),
        "keep" => Ok(ExtraChannels::Keep),
        "prune" => Ok(ExtraChannels::Prune),
        _ => Err("is not prune_if_listed, keep or prune".to_owned()),
    });
    extra.unwrap_or(ExtraChannels::PruneIfListed)
}

fn missing_channels(reader: &mut Reader<'_>) -> MissingChannels {
    let missing = reader.checked("simplepush.missing_channels", |text| match text {
        "reset" => Ok(MissingChannels::Reset),
        "ignore" => Ok(MissingChannels::Ignore),
        _ => Err("is not reset or ignore".to_owned()),
    });
    missing.unwrap_or(MissingChannels::Reset)
}

fn redirect(reader: &mut Reader<'_>) -> Option<String> {
    let url = reader.checked("simplepush.redirect", |text| {
        let scheme = text.strip_prefix("wss://").or_else(|| text.strip_prefix("ws://"));
        if text.is_empty() || scheme.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        {
            Ok(text.to_owned())
        } else {
            Err("is not empty, nor the ws: or wss: URL of another gateway".to_owned())
        }
    });
    url.filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mobile_network_names_its_relay_and_its_addresses() {
        let network: WakeUpNetwork =
            "214-07 10.0.0.7:7000 10.20.0.0/16 2001:db8::/32".parse().unwrap();
        assert_eq!((network.mcc.as_str(), network.mnc.as_str()), ("214", "07"));
        assert_eq!(network.relay, "10.0.0.7:7000".parse().unwrap());
        assert_eq!(network.addresses[0], ("10.20.0.0".parse().unwrap(), 16));
        for bad in [
            "",
            "214-07",
            "214-07 10.0.0.7:7000",
            "21-07 10.0.0.7:7000 10.0.0.0/8",
            "214-7 10.0.0.7:7000 10.0.0.0/8",
            "214-07 relay:7000 10.0.0.0/8",
            "214-07 10.0.0.7:7000 10.0.0.0/33",
        ] {
            assert!(bad.parse::<WakeUpNetwork>().is_err(), "{bad}");
        }
    }
}
