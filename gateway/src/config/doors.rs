//! The typed settings of the doors and of the bridge.
//!
//! They are plain values; the composition root makes the configuration of each crate of them. Never
//! here: a door.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use buswire_belay::Allowed;
use buswire_mdp::ServiceName;
use buswire_message::{Retention, Secret};

use super::{
    declared::{self, AccessDeclaration, KeyRights, ServiceDeclaration},
    peers::{self, PeersConfig},
    reader::Reader,
    value::is_loopback,
};

/// The most services with metrics of their own, which are a few series each.
const METRICS_SERVICES_MAX: usize = 100;

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
    /// Whether an anonymous token may be had without naming a bus.
    pub allow_unbound_channels: bool,
    /// Name, beside `admin`, of who provisions over HTTP.
    pub admin_name: String,
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
        is_loopback(host)
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
    /// Whether everybody may who knows the broker's public key.
    pub allow_any: bool,
}

/// A dialect of MDP beside the published protocol (§6.3 of its reference).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Clients of the Python package.
    Majortomo,
    /// Peers of the C library `majordomo`.
    Zproto,
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "majortomo" => Ok(Self::Majortomo),
            "zproto" => Ok(Self::Zproto),
            _ => Err("is not majortomo or zproto".to_owned()),
        }
    }
}

/// The MDP broker (§12.6 of its reference).
#[derive(Clone, Debug)]
pub struct MdpConfig {
    /// Endpoints; empty turns the broker off.
    pub listen: Vec<Endpoint>,
    /// Endpoints for workers; empty is those of `listen`.
    pub worker_listen: Vec<Endpoint>,
    /// CURVE; `None` is plain.
    pub curve: Option<CurveConfig>,
    /// Who may use buses without a capability.
    pub key_rights: Vec<KeyRights>,
    /// Who may register and call; empty is everybody everything.
    pub access: Vec<AccessDeclaration>,
    /// Services with settings of their own.
    pub services: Vec<ServiceDeclaration>,
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
    /// Workers that are registered at once.
    pub max_workers: u32,
    /// Bytes of partial replies kept for one 0.1 client.
    pub partial_bytes: usize,
    /// Whether partial replies to a 0.1 client are dropped; otherwise they come first in its reply.
    pub drop_partials_to_01: bool,
    /// Whether a worker sees the client's own id as its address; otherwise it sees a token.
    pub client_id_as_address: bool,
    /// Whether a second READY for the same service is a sign of life; otherwise it is a violation.
    pub refresh_by_ready: bool,
    /// Dialects beside the published protocol.
    pub dialects: Vec<Dialect>,
    /// Whether the extensions of MMI are answered.
    pub mmi_extensions: bool,
    /// Threads of libzmq.
    pub io_threads: u16,
    /// After how long an idle service is forgotten.
    pub service_idle: Duration,
    /// How long replies may still come in at shutdown.
    pub drain: Duration,
    /// Services that have metrics of their own.
    pub metrics_services: Vec<String>,
    /// Services whose requests from the gateway have the `traceparent` as a further frame.
    pub trace_services: Vec<ServiceName>,
    /// Titanic; `None` is off.
    pub titanic: Option<TitanicConfig>,
    /// How other gateways on the same store reach the services of this one.
    pub peers: PeersConfig,
}

/// Titanic (§17 of the MDP reference).
#[derive(Clone, Debug)]
pub struct TitanicConfig {
    /// Requests and replies kept at once.
    pub requests_max: u32,
    /// Bytes of all that is kept.
    pub bytes_max: usize,
    /// Bytes of one request or reply.
    pub message_max: usize,
    /// How long a request is kept that nobody serves.
    pub request_ttl: Duration,
    /// How long a reply is kept that nobody closes.
    pub reply_ttl: Duration,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// Attempts at once.
    pub in_flight_max: u32,
    /// Attempts at once at one service.
    pub service_in_flight_max: u32,
    /// The rest of a service after its first failure.
    pub backoff: Duration,
    /// The longest rest of a service.
    pub backoff_max: Duration,
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
    /// Sites that may embed the frame.
    pub frame_ancestors: Vec<String>,
    /// Whether the frame serves pages with the original library.
    pub frame_original_clients: bool,
    /// Whether the frame serves pages without an origin.
    pub frame_opaque_origins: bool,
    /// The keys, a line each, the oldest first; generated if unset.
    pub keys: Option<Secret<String>>,
    /// Requests to other servers.
    pub egress: EgressSettings,
}

/// How capabilities of other servers are asked.
#[derive(Clone, Debug)]
pub struct EgressSettings {
    /// What may be reached beyond public addresses.
    pub allow: Vec<Allowed>,
    /// Whether `http:` may be used.
    pub allow_http: bool,
    /// How long a request may take.
    pub timeout: Duration,
    /// Bytes of an answer.
    pub answer_max: usize,
    /// Requests at once.
    pub in_flight_max: u32,
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
    /// How long a dead letter is kept.
    pub dead_letters_kept: Duration,
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
        allow_unbound_channels: reader.flag("backplane.allow_unbound_channels"),
        admin_name: reader.text("backplane.admin_name"),
        cors_origins: reader.list("backplane.cors_origins"),
        max_body_bytes: reader.size("backplane.max_body_bytes"),
        cleanup_interval: reader.seconds("backplane.cleanup_interval_seconds"),
    };
    // A value out of bounds was noted when it was read, so there is no second note here.
    let retention = Retention::new(kept, sticky, messages).ok()?;
    Some(BackplaneConfig { retention, ..config })
}

/// `is_shared` is whether other gateways can use the store.
pub(super) fn mdp(reader: &mut Reader<'_>, is_shared: bool) -> MdpConfig {
    let listen: Vec<Endpoint> = reader.list("mdp.listen");
    let worker_listen: Vec<Endpoint> = reader.list("mdp.worker_listen");
    let allowed_keys: Vec<CurvePublicKey> = reader.list("mdp.curve.allowed_keys");
    let allow_any = reader.flag("mdp.curve.allow_any");
    let secret_key_file = reader.path("mdp.curve.secret_key_file");
    let insecure = reader.flag("mdp.insecure");
    if secret_key_file.is_none() && !allowed_keys.is_empty() {
        reader.problem("mdp.curve.secret_key_file", "is missing, mdp.curve.allowed_keys is set");
    }
    if secret_key_file.is_none() && !insecure {
        let at = |key, endpoints: &[Endpoint]| {
            endpoints.iter().map(|it| (key, it.clone())).collect::<Vec<_>>()
        };
        let all = [at("mdp.listen", &listen), at("mdp.worker_listen", &worker_listen)].concat();
        for (key, endpoint) in all.iter().filter(|(_, endpoint)| !endpoint.is_local()) {
            reader.problem(
                key,
                format!(
                    "{endpoint} is open to the network without CURVE: set mdp.curve.secret_key_file, \
                     or mdp.insecure = true if the network is trusted"
                ),
            );
        }
    }
    let curve = secret_key_file.map(|secret_key_file| CurveConfig {
        secret_key_file,
        allowed_keys,
        allow_any,
    });
    let (key_rights, access) = (declared::key_rights(reader), declared::mdp_access(reader));
    check_users(reader, curve.as_ref(), &key_rights, &access);
    MdpConfig {
        listen,
        worker_listen,
        key_rights,
        access,
        services: declared::mdp_services(reader),
        curve,
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
        max_workers: reader.count("mdp.max_workers"),
        partial_bytes: reader.size("mdp.partial_bytes"),
        drop_partials_to_01: reader.chosen("mdp.partial_to_01", "drop"),
        client_id_as_address: reader.chosen("mdp.address_mode", "identity"),
        refresh_by_ready: reader.chosen("mdp.duplicate_ready", "refresh"),
        dialects: reader.list("mdp.dialects"),
        mmi_extensions: reader.flag("mdp.mmi_extensions"),
        io_threads: u16::try_from(reader.count("mdp.io_threads")).unwrap_or(u16::MAX),
        service_idle: reader.time("mdp.service_idle"),
        drain: reader.time("mdp.drain"),
        metrics_services: metrics_services(reader),
        trace_services: reader.list("mdp.trace_services"),
        titanic: titanic(reader),
        peers: peers::peers(reader, is_shared),
    }
}

/// Notes users whom nobody can be.
fn check_users(
    reader: &mut Reader<'_>,
    curve: Option<&CurveConfig>,
    key_rights: &[KeyRights],
    access: &[AccessDeclaration],
) {
    let may_connect = |key: &CurvePublicKey| {
        curve.is_some_and(|curve| curve.allow_any || curve.allowed_keys.contains(key))
    };
    for rights in key_rights.iter().filter(|rights| !may_connect(&rights.key)) {
        let key = rights.key.as_str();
        reader.problem("mdp.key_rights", format!("{key} is not in mdp.curve.allowed_keys"));
    }
    if curve.is_none() && access.iter().any(|declared| declared.user.is_some()) {
        reader
            .problem("mdp.access", "names users, who are known by mdp.curve.secret_key_file only");
    }
}

fn metrics_services(reader: &mut Reader<'_>) -> Vec<String> {
    let list = reader.list("mdp.metrics_services");
    if list.len() > METRICS_SERVICES_MAX {
        reader.problem("mdp.metrics_services", format!("more than {METRICS_SERVICES_MAX}"));
    }
    list
}

fn titanic(reader: &mut Reader<'_>) -> Option<TitanicConfig> {
    let enabled = reader.flag("mdp.titanic.enabled");
    let config = TitanicConfig {
        requests_max: reader.count("mdp.titanic.requests_max"),
        bytes_max: reader.size("mdp.titanic.bytes_max"),
        message_max: reader.size("mdp.titanic.message_max"),
        request_ttl: reader.time("mdp.titanic.request_ttl"),
        reply_ttl: reader.time("mdp.titanic.reply_ttl"),
        attempt_timeout: reader.time("mdp.titanic.attempt_timeout"),
        in_flight_max: reader.count("mdp.titanic.in_flight_max"),
        service_in_flight_max: reader.count("mdp.titanic.service_in_flight_max"),
        backoff: reader.time("mdp.titanic.backoff"),
        backoff_max: reader.time("mdp.titanic.backoff_max"),
    };
    if config.bytes_max / 2 < config.message_max {
        reader.problem("mdp.titanic.bytes_max", "is less than twice mdp.titanic.message_max");
    }
    enabled.then_some(config)
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
        frame_ancestors: reader.list("belay.frame.ancestors"),
        frame_original_clients: reader.flag("belay.frame.original_clients"),
        frame_opaque_origins: reader.flag("belay.frame.opaque_origins"),
        keys: reader.secret("belay.keys"),
        egress: EgressSettings {
            allow: reader.list("belay.egress.allow"),
            allow_http: reader.flag("belay.egress.allow_http"),
            timeout: reader.time("belay.egress.timeout"),
            answer_max: reader.size("belay.egress.answer_max"),
            in_flight_max: reader.count("belay.egress.in_flight_max"),
        },
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
        dead_letters_kept: reader.time("bridge.dead_letters_kept"),
    }
}
