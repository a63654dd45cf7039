//! The typed settings of the doors and of the bridge.
//!
//! They are plain values; the composition root makes the configuration of each crate of them. Never
//! here: a type of a door.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use buswire_message::Retention;

use super::reader::Reader;

/// Backplane, with the names of its reference (§20).
#[derive(Clone, Debug)]
pub struct BackplaneConfig {
    /// Whether 1.x is served.
    pub enable_v1: bool,
    /// Whether 2.0 is served.
    pub enable_v2: bool,
    /// Retention of a new bus that does not say otherwise.
    pub retention: Retention,
    /// Messages per answer of 2.0.
    pub page_size: u32,
    /// The longest long poll.
    pub max_block: Duration,
    /// Life of an anonymous token.
    pub anonymous_token: Duration,
    /// Life of a privileged token.
    pub privileged_token: Duration,
    /// Written before every JSONP answer.
    pub jsonp_prefix: String,
    /// Whether 2.0 writes `sticky` as text.
    pub sticky_as_string_v2: bool,
    /// Origins whose pages may read answers.
    pub cors_origins: Vec<String>,
    /// Bytes per request body.
    pub max_body_bytes: usize,
    /// How often what has expired is swept.
    pub cleanup_interval: Duration,
}

/// A ZeroMQ endpoint to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// The endpoint as ZeroMQ reads it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        let Some(address) = self.0.strip_prefix("tcp://") else { return true };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.parse().map_or(host == "localhost", |ip: std::net::IpAddr| ip.is_loopback())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let valid = match text.split_once("://") {
            Some(("tcp", address)) => address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && (port == "*" || port.parse::<u16>().is_ok())
            }),
            Some(("ipc", path)) => !path.is_empty(),
            _ => false,
        };
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is not an endpoint as tcp://127.0.0.1:5555 or ipc:///run/mdp"))
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public CURVE key in Z85.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurvePublicKey(String);

impl CurvePublicKey {
    /// The 40 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CurvePublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let in_alphabet =
            |byte: u8| byte.is_ascii_alphanumeric() || b".-:+=^!/*?&<>()[]{}@%$#".contains(&byte);
        if text.len() == 40 && text.bytes().all(in_alphabet) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is not a key of 40 characters in Z85".to_owned())
        }
    }
}

/// CURVE for every endpoint of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurveConfig {
    /// File with the broker's secret key.
    pub secret_key_file: PathBuf,
    /// Who may connect.
    pub allowed_keys: Vec<CurvePublicKey>,
}

/// The MDP broker (§12.6 of its reference).
#[derive(Clone, Debug)]
pub struct MdpConfig {
    /// Endpoints; empty turns the broker off.
    pub listen: Vec<Endpoint>,
    /// CURVE; `None` is plain.
    pub curve: Option<CurveConfig>,
    /// How often a silent worker gets a heartbeat.
    pub heartbeat_interval: Duration,
    /// Silence after which a worker is taken for lost.
    pub worker_expiry: Duration,
    /// How long a worker may work on one request.
    pub busy_timeout: Duration,
    /// How long a request waits for a worker.
    pub request_ttl: Duration,
    /// Workers that a request is tried with.
    pub max_attempts: u32,
    /// Requests that wait per service.
    pub queue_limit: u32,
    /// Bytes that wait in all queues.
    pub queue_bytes: usize,
    /// Requests in flight per client.
    pub client_limit: u32,
    /// Frames per message.
    pub max_frames: u32,
    /// Bytes per frame.
    pub max_frame_size: usize,
    /// Services that are known at once.
    pub max_services: u32,
    /// After how long an idle service is forgotten.
    pub service_idle: Duration,
    /// How long replies may still come in at shutdown.
    pub drain: Duration,
}

/// Belay (§20.8 and §21.6 of its reference).
#[derive(Clone, Debug)]
pub struct BelayConfig {
    /// Whether capabilities are served.
    pub enabled: bool,
    /// Bytes per request body.
    pub body_max: usize,
    /// How deep JSON may be nested.
    pub json_depth_max: u32,
    /// Capabilities per message.
    pub bcaps_max: u32,
    /// The longest read that waits.
    pub block_max: Duration,
    /// Live children per grant.
    pub children_max: u32,
    /// Answers 404 per second and client address.
    pub unknown_rate: u32,
}

/// The bridge.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Attempts before a message becomes a dead letter.
    pub max_attempts: u32,
    /// The wait before the second attempt.
    pub backoff: Duration,
    /// The longest wait between two attempts.
    pub backoff_max: Duration,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// Channels of a route that deliver at once.
    pub in_flight_max: u32,
    /// Dead letters kept per route.
    pub dead_letters_max: u32,
}

pub(super) fn backplane(reader: &mut Reader<'_>) -> Option<BackplaneConfig> {
    let kept = reader.seconds("backplane.retention_seconds");
    let sticky = reader.seconds("backplane.sticky_retention_seconds");
    let messages = reader.count("backplane.max_messages_per_channel");
    let config = BackplaneConfig {
        enable_v1: reader.flag("backplane.enable_v1"),
        enable_v2: reader.flag("backplane.enable_v2"),
        retention: Retention::default(),
        page_size: reader.count("backplane.page_size"),
        max_block: reader.seconds("backplane.max_block_seconds"),
        anonymous_token: reader.seconds("backplane.anonymous_token_seconds"),
        privileged_token: reader.seconds("backplane.privileged_token_seconds"),
        jsonp_prefix: reader.text("backplane.jsonp_prefix"),
        sticky_as_string_v2: reader.flag("backplane.sticky_as_string_v2"),
        cors_origins: reader.list("backplane.cors_origins"),
        max_body_bytes: reader.size("backplane.max_body_bytes"),
        cleanup_interval: reader.seconds("backplane.cleanup_interval_seconds"),
    };
    // A value out of bounds was noted when it was read, so there is no second note here.
    let retention = Retention::new(kept, sticky, messages).ok()?;
    Some(BackplaneConfig { retention, ..config })
}

pub(super) fn mdp(reader: &mut Reader<'_>) -> MdpConfig {
    let listen: Vec<Endpoint> = reader.list("mdp.listen");
    let allowed_keys: Vec<CurvePublicKey> = reader.list("mdp.curve.allowed_keys");
    let secret_key_file = reader.path("mdp.curve.secret_key_file");
    let insecure = reader.flag("mdp.insecure");
    if secret_key_file.is_none() && !allowed_keys.is_empty() {
        reader.problem("mdp.curve.secret_key_file", "is missing, mdp.curve.allowed_keys is set");
    }
    if secret_key_file.is_none() && !insecure {
        for endpoint in listen.iter().filter(|endpoint| !endpoint.is_local()) {
            reader.problem(
                "mdp.listen",
                format!(
                    "{endpoint} is open to the network without CURVE: set mdp.curve.secret_key_file, \
                     or mdp.insecure = true if the network is trusted"
                ),
            );
        }
    }
    MdpConfig {
        listen,
        curve: secret_key_file.map(|secret_key_file| CurveConfig { secret_key_file, allowed_keys }),
        heartbeat_interval: reader.time("mdp.heartbeat_interval"),
        worker_expiry: reader.time("mdp.worker_expiry"),
        busy_timeout: reader.time("mdp.busy_timeout"),
        request_ttl: reader.time("mdp.request_ttl"),
        max_attempts: reader.count("mdp.max_attempts"),
        queue_limit: reader.count("mdp.queue_limit"),
        queue_bytes: reader.size("mdp.queue_bytes"),
        client_limit: reader.count("mdp.client_limit"),
        max_frames: reader.count("mdp.max_frames"),
        max_frame_size: reader.size("mdp.max_frame_size"),
        max_services: reader.count("mdp.max_services"),
        service_idle: reader.time("mdp.service_idle"),
        drain: reader.time("mdp.drain"),
    }
}

pub(super) fn belay(reader: &mut Reader<'_>) -> BelayConfig {
    BelayConfig {
        enabled: reader.flag("belay.enabled"),
        body_max: reader.size("belay.body_max"),
        json_depth_max: reader.count("belay.json_depth_max"),
        bcaps_max: reader.count("belay.bcaps_max"),
        block_max: reader.time("belay.block_max"),
        children_max: reader.count("belay.children_max"),
        unknown_rate: reader.count("belay.unknown_rate"),
    }
}

pub(super) fn bridge(reader: &mut Reader<'_>) -> BridgeConfig {
    BridgeConfig {
        max_attempts: reader.count("bridge.max_attempts"),
        backoff: reader.time("bridge.backoff"),
        backoff_max: reader.time("bridge.backoff_max"),
        attempt_timeout: reader.time("bridge.attempt_timeout"),
        in_flight_max: reader.count("bridge.in_flight_max"),
        dead_letters_max: reader.count("bridge.dead_letters_max"),
    }
}
