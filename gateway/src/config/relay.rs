//! The settings of Belay's relay: their descriptions and their values.
//!
//! Never here: a type of the door.

use std::time::Duration;

use super::{
    reader::Reader,
    schema::{Group, Kind, Setting, count, size, time},
};

/// The relay of Belay (§22.4 of its reference).
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// Connections at once.
    pub connections_max: u32,
    /// Connections at once from one address.
    pub address_connections_max: u32,
    /// Temporary ids that one address may claim in a minute; zero is any number.
    pub claims_per_minute: u32,
    /// Temporary ids that all addresses together may claim in a minute; 0 is any number.
    pub all_claims_per_minute: u32,
    /// Instance ids of one connection.
    pub ids_max: u32,
    /// Calls of one connection that wait, in each direction.
    pub pending_max: u32,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// Bytes per message.
    pub message_max: usize,
    /// Bytes that may wait for one connection.
    pub queued_max: usize,
    /// Tokens that a connection gets in a second.
    pub rate: u32,
    /// Silence after which a connection is asked, and again after which it is closed.
    pub silence: Duration,
    /// How long an id stays its owner's who is disconnected.
    pub grace: Duration,
}

/// The relay of Belay.
pub(crate) const RELAY: Group = Group {
    title: "Relay of Belay",
    about: "How windows reach each other and the gateway them, §22.4 of the Belay reference.",
    settings: &[
        Setting::new(
            "belay.relay.enabled",
            Kind::Flag,
            "true",
            "Whether windows may connect at `/belay/relay`. It needs `belay.enabled`.",
        ),
        Setting::new(
            "belay.relay.connections_max",
            count(1, 1_000_000),
            "10000",
            "Connections at once, one for each window. One more is refused 503.",
        ),
        Setting::new(
            "belay.relay.address_connections_max",
            count(1, 1_000_000),
            "1000",
            "Connections at once from one address. One more is refused 429.",
        ),
        Setting::new(
            "belay.relay.claims_per_minute",
            count(0, 1_000_000),
            "100",
            "Temporary instance ids that one address may claim in a minute; each is remembered for a week. `0` is any number.",
        ),
        Setting::new(
            "belay.relay.all_claims_per_minute",
            count(0, 1_000_000),
            "600",
            "Temporary instance ids that all addresses together may claim in a minute. `0` is any number.",
        ),
        Setting::new(
            "belay.relay.ids_max",
            count(1, 10_000),
            "64",
            "Instance ids of one connection.",
        ),
        Setting::new(
            "belay.relay.pending_max",
            count(1, 100_000),
            "256",
            "Calls that wait for a connection, and calls of a connection that wait. One more fails 429. One caller has at most as many at a connection as are left for others.",
        ),
        Setting::new(
            "belay.relay.call_timeout",
            time(10, 600),
            "\"30s\"",
            "How long a window may take to answer. The call then fails 504.",
        ),
        Setting::new(
            "belay.relay.message_max",
            size(1024, 1 << 26),
            "\"1MiB\"",
            "The longest message. A longer one closes the connection.",
        ),
        Setting::new(
            "belay.relay.queued_max",
            size(1024, 1 << 30),
            "\"4MiB\"",
            "Bytes that may wait for a connection to take them, at least twice the longest message. Who does not read is closed.",
        ),
        Setting::new(
            "belay.relay.rate",
            count(1, 1_000_000),
            "200",
            "Messages per second and connection, in the long run; a burst may be five times as many. A message counts once for each 16 KiB.",
        ),
        Setting::new(
            "belay.relay.silence",
            time(100, 3600),
            "\"30s\"",
            "Silence after which a connection is asked, and again after which it is closed.",
        ),
        Setting::new(
            "belay.relay.grace",
            time(0, 86_400),
            "\"60s\"",
            "How long an instance id stays its owner's who is disconnected. A temporary one is then retired.",
        ),
    ],
};

pub(super) fn relay(reader: &mut Reader<'_>) -> Option<RelaySettings> {
    let enabled = reader.flag("belay.relay.enabled");
    let settings = RelaySettings {
        connections_max: reader.count("belay.relay.connections_max"),
        address_connections_max: reader.count("belay.relay.address_connections_max"),
        claims_per_minute: reader.count("belay.relay.claims_per_minute"),
        all_claims_per_minute: reader.count("belay.relay.all_claims_per_minute"),
        ids_max: reader.count("belay.relay.ids_max"),
        pending_max: reader.count("belay.relay.pending_max"),
        call_timeout: reader.time("belay.relay.call_timeout"),
        message_max: reader.size("belay.relay.message_max"),
        queued_max: reader.size("belay.relay.queued_max"),
        rate: reader.count("belay.relay.rate"),
        silence: reader.time("belay.relay.silence"),
        grace: reader.time("belay.relay.grace"),
    };
    if settings.queued_max / 2 < settings.message_max {
        reader.problem("belay.relay.queued_max", "is less than twice belay.relay.message_max");
    }
    enabled.then_some(settings)
}
