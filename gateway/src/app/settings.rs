//! The configuration of each crate, made of the gateway's own.
//!
//! Never here: reading a setting; checking one that the gateway's configuration has checked.

use std::{error::Error, fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};

use buswire_backplane as backplane;
use buswire_belay as belay;
use buswire_bridge::{RetryPolicy, RoutesConfig};
use buswire_bus::{BusConfig, BusLimits};
use buswire_mdp as mdp;
use buswire_message::{Secret, SecretHash, SourceUrl, Tracer};
use url::Url;

use crate::config::{
    BackplaneConfig, BelayConfig, BridgeConfig, Config, Dialect, EgressSettings, Endpoint,
    MdpConfig, RelaySettings, ServiceDeclaration, StoreConfig, TitanicConfig,
};

type Failure = Box<dyn Error + Send + Sync>;

/// The public URL without a slash at its end.
pub(super) fn base(public_url: &Url) -> &str {
    public_url.as_str().trim_end_matches('/')
}

pub(super) fn buses(config: &BackplaneConfig, public_url: &Url, tracer: &Tracer) -> BusConfig {
    BusConfig {
        message_url_prefix: format!("{}/v2/message/", base(public_url)).into(),
        limits: BusLimits {
            payload_bytes_max: config.max_body_bytes,
            sweep_interval: config.cleanup_interval,
            ..BusLimits::default()
        },
        tracer: Some(tracer.clone()),
    }
}

/// The directory of the embedded store.
pub(super) fn store_directory(config: &Config) -> PathBuf {
    match &config.store {
        StoreConfig::Embedded(Some(elsewhere)) => elsewhere.clone(),
        _ => config.data_dir.clone(),
    }
}

/// The protocols that are spoken, with their versions, the oldest first.
pub(super) fn protocols(config: &Config) -> Vec<(&'static str, Vec<&'static str>)> {
    let BackplaneConfig { enable_v1, enable_v2, .. } = config.backplane;
    let mut generations = if enable_v1 { vec!["1.0", "1.1", "1.2", "1.3"] } else { Vec::new() };
    generations.extend(enable_v2.then_some("2.0"));
    let mut all = vec![("backplane", generations)];
    all.extend(config.belay.enabled.then(|| ("belay", vec!["1"])));
    all.push(("mdp", vec!["0.1", "0.2"]));
    all.extend(config.simplepush.enabled.then(|| ("simplepush", vec!["1"])));
    all
}

pub(super) fn backplane(
    config: &BackplaneConfig,
    public_url: &Url,
    admin_token: &Secret<String>,
) -> Result<backplane::Config, Failure> {
    let administrator = |name: &str| backplane::Administrator {
        name: name.to_owned(),
        secret: SecretHash::of(admin_token.expose()),
    };
    let origins = config.cors_origins.iter().map(String::as_str).collect::<Vec<_>>();
    let cors = match origins.as_slice() {
        [] => backplane::Cors::Off,
        ["*"] => backplane::Cors::AnyOrigin,
        some => {
            let parsed = some.iter().map(|origin| backplane::Origin::parse(origin));
            backplane::Cors::Origins(parsed.collect::<Result<_, _>>()?)
        }
    };
    Ok(backplane::Config {
        // The gateway's own listener refuses what is not secure, for every door.
        tls: backplane::TlsPolicy::Optional,
        generations: match (config.enable_v1, config.enable_v2) {
            (true, false) => backplane::Generations::OneOnly,
            (false, true) => backplane::Generations::TwoOnly,
            (true, true) | (false, false) => backplane::Generations::Both,
        },
        cors,
        padding_prefix: if config.jsonp_prefix.is_empty() {
            backplane::PaddingPrefix::None
        } else {
            backplane::PaddingPrefix::Comment
        },
        sticky_form: if config.sticky_as_string_v2 {
            backplane::StickyForm::Text
        } else {
            backplane::StickyForm::Boolean
        },
        channel_binding: if config.allow_unbound_channels {
            backplane::ChannelBinding::FirstPostToo
        } else {
            backplane::ChannelBinding::AtCreation
        },
        lifetimes: backplane::Lifetimes {
            anonymous_access: config.anonymous_token,
            privileged_access: config.privileged_token,
            ..backplane::Lifetimes::default()
        },
        limits: backplane::Limits {
            body_bytes_max: config.max_body_bytes,
            page_size: usize::try_from(config.page_size)?,
            block_seconds_max: u32::try_from(config.max_block.as_secs())?,
            ..backplane::Limits::default()
        },
        administrators: vec![administrator("admin"), administrator(&config.admin_name)],
        ..backplane::Config::new(backplane::PublicUrl::parse(public_url.as_str())?)
    })
}

/// Where the broker listens if it shall not listen: a name that only this process can reach.
const WITHIN: &str = "inproc://mdp";

/// The endpoints that others can reach.
pub(super) fn reachable_endpoints(broker: &mdp::BrokerHandle) -> Vec<String> {
    let mut endpoints = broker.endpoints();
    let workers = broker.worker_endpoints();
    if workers != endpoints {
        endpoints.extend(workers);
    }
    endpoints.retain(|endpoint| endpoint != WITHIN);
    endpoints
}

pub(super) fn mdp(config: &MdpConfig) -> Result<mdp::BrokerConfig, Failure> {
    let policy = mdp::core::ServicePolicy {
        busy_timeout: config.busy_timeout,
        attempts_max: config.max_attempts,
        queue_max: usize::try_from(config.queue_limit)?,
        error_reply: None,
    };
    let services = config.services.iter().map(|service| service_policy(service, &policy));
    let services = services.collect::<Result<_, Failure>>()?;
    let curve = config.curve.as_ref().map(curve).transpose()?;
    let mut endpoints = texts(&config.listen);
    if endpoints.is_empty() {
        // Nobody outside is served; routes and capabilities still find the gateway's own services.
        endpoints.push(WITHIN.to_owned());
    }
    Ok(mdp::BrokerConfig {
        endpoints,
        worker_endpoints: texts(&config.worker_listen),
        io_threads: config.io_threads,
        core: mdp::core::CoreConfig {
            heartbeat_interval: config.heartbeat_interval,
            worker_expiry: config.worker_expiry,
            request_ttl: config.request_ttl,
            per_client_max: usize::try_from(config.client_limit)?,
            held_bytes_max: config.queue_bytes,
            services_max: usize::try_from(config.max_services)?,
            service_idle: config.service_idle,
            workers_max: usize::try_from(config.max_workers)?,
            partial_bytes_max: config.partial_bytes,
            partial_policy: if config.drop_partials_to_01 {
                mdp::core::PartialPolicy::Drop
            } else {
                mdp::core::PartialPolicy::Concatenate
            },
            address_mode: if config.client_id_as_address {
                mdp::core::AddressMode::Identity
            } else {
                mdp::core::AddressMode::Token
            },
            duplicate_ready: if config.refresh_by_ready {
                mdp::core::DuplicateReady::Refresh
            } else {
                mdp::core::DuplicateReady::Disconnect
            },
            mmi_extensions: config.mmi_extensions,
            default_policy: policy,
            services,
            access: mdp_access(config).map(Arc::new),
            wire: mdp::wire::WireLimits {
                frames_max: usize::try_from(config.max_frames)?,
                dialects: mdp::wire::Dialects {
                    majortomo: config.dialects.contains(&Dialect::Majortomo),
                    zproto: config.dialects.contains(&Dialect::Zproto),
                },
                ..mdp::wire::WireLimits::default()
            },
            ..mdp::core::CoreConfig::default()
        },
        curve,
        // The gateway's configuration has refused what is open without being meant to be.
        insecure_public: true,
        frame_bytes_max: i64::try_from(config.max_frame_size)?,
        ..mdp::BrokerConfig::default()
    })
}

fn texts(endpoints: &[Endpoint]) -> Vec<String> {
    endpoints.iter().map(|endpoint| endpoint.as_str().to_owned()).collect()
}

fn service_policy(
    declared: &ServiceDeclaration,
    usual: &mdp::core::ServicePolicy,
) -> Result<(mdp::ServiceName, mdp::core::ServicePolicy), Failure> {
    let policy = mdp::core::ServicePolicy {
        busy_timeout: declared.busy_timeout.unwrap_or(usual.busy_timeout),
        attempts_max: declared.max_attempts.unwrap_or(usual.attempts_max),
        queue_max: match declared.queue_limit {
            Some(limit) => usize::try_from(limit)?,
            None => usual.queue_max,
        },
        error_reply: declared.error_reply.clone().map(|text| mdp::Frames::from([text])),
    };
    Ok((declared.name.clone(), policy))
}

/// Who may register and call; `None` is everybody everything.
pub(super) fn mdp_access(config: &MdpConfig) -> Option<mdp::core::Access> {
    if config.access.is_empty() {
        return None;
    }
    let mut access = mdp::core::Access::default();
    for declared in &config.access {
        let (register, call) = (declared.register.clone(), declared.call.clone());
        let grant = mdp::core::Grant { register, call };
        match &declared.user {
            Some(key) => drop(access.users.insert(key.as_str().into(), grant)),
            None => access.others = grant,
        }
    }
    Some(access)
}

/// The keys that may connect.
pub(super) fn mdp_allowed(
    config: &crate::config::CurveConfig,
) -> Result<mdp::AllowedKeys, Failure> {
    if config.allow_any {
        return Ok(mdp::AllowedKeys::Any);
    }
    let keys = config.allowed_keys.iter().map(crate::config::CurvePublicKey::as_str);
    Ok(mdp::AllowedKeys::from_z85(keys).ok_or("mdp.curve.allowed_keys: not in Z85")?)
}

pub(super) fn titanic(config: &TitanicConfig) -> Result<mdp::titanic::Config, Failure> {
    Ok(mdp::titanic::Config {
        requests_max: usize::try_from(config.requests_max)?,
        bytes_max: config.bytes_max,
        message_bytes_max: config.message_max,
        request_ttl: config.request_ttl,
        reply_ttl: config.reply_ttl,
        attempt_timeout: config.attempt_timeout,
        in_flight_max: usize::try_from(config.in_flight_max)?,
        service_in_flight_max: usize::try_from(config.service_in_flight_max)?,
        backoff: config.backoff,
        backoff_max: config.backoff_max,
    })
}

fn curve(config: &crate::config::CurveConfig) -> Result<mdp::CurveConfig, Failure> {
    let path = &config.secret_key_file;
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "the secret key is readable by others: chmod 600");
    }
    let text = Secret::new(fs::read_to_string(path).map_err(|error| {
        format!("mdp.curve.secret_key_file: {} can't be read: {error}", path.display())
    })?);
    let secret = mdp::CurveSecret::from_z85(text.expose().trim()).ok_or_else(|| {
        format!("mdp.curve.secret_key_file: {} holds no key in Z85", path.display())
    })?;
    Ok(mdp::CurveConfig { secret, allowed: mdp_allowed(config)? })
}

pub(super) fn belay(
    config: &BelayConfig,
    public_url: &Url,
    keys: &[Secret<[u8; 32]>],
) -> Result<belay::Config, Failure> {
    let mut settings = belay::Config::new(base(public_url))?.with_keys(keys);
    settings.wire.depth_max = usize::try_from(config.json_depth_max)?;
    settings.wire.caps_max = usize::try_from(config.bcaps_max)?;
    settings.body_bytes_max = config.body_max;
    settings.children_max = config.children_max;
    settings.not_found_per_second = config.unknown_rate;
    let sites = config.frame_ancestors.iter();
    settings.frame.ancestors = sites.map(|site| site.parse()).collect::<Result<_, _>>()?;
    settings.frame.original_clients = config.frame_original_clients;
    settings.frame.opaque_origins = config.frame_opaque_origins;
    Ok(settings)
}

pub(super) fn relay(settings: &RelaySettings) -> Result<belay::RelayConfig, Failure> {
    Ok(belay::RelayConfig {
        connections_max: usize::try_from(settings.connections_max)?,
        address_connections_max: usize::try_from(settings.address_connections_max)?,
        claims_per_minute: settings.claims_per_minute,
        all_claims_per_minute: settings.all_claims_per_minute,
        ids_max: usize::try_from(settings.ids_max)?,
        pending_max: usize::try_from(settings.pending_max)?,
        call_timeout: settings.call_timeout,
        message_bytes_max: settings.message_max,
        queued_bytes_max: settings.queued_max,
        tokens_per_second: settings.rate,
        tokens_max: settings.rate.saturating_mul(5),
        silence: settings.silence,
        grace: settings.grace,
        ..belay::RelayConfig::default()
    })
}

pub(super) fn starts(config: &belay::Config) -> belay::StartConfig {
    belay::StartConfig { wire: config.wire, ..belay::StartConfig::default() }
}

pub(super) fn egress(config: &EgressSettings) -> Result<belay::EgressConfig, Failure> {
    Ok(belay::EgressConfig {
        policy: belay::EgressPolicy { allow_http: config.allow_http, allow: config.allow.clone() },
        timeout: config.timeout,
        answer_bytes_max: config.answer_max,
        in_flight_max: usize::try_from(config.in_flight_max)?,
    })
}

pub(super) fn routes(
    config: &BridgeConfig,
    source: SourceUrl,
    tracer: &Tracer,
    gateway: String,
) -> Result<RoutesConfig, Failure> {
    let mut routes = RoutesConfig::new(source);
    routes.tracer = Some(tracer.clone());
    routes.gateway = gateway;
    routes.limits.in_flight_max = usize::try_from(config.in_flight_max)?;
    routes.dead_letters_max = usize::try_from(config.dead_letters_max)?;
    routes.dead_letters_kept = config.dead_letters_kept;
    Ok(routes)
}

pub(super) const fn retry(config: &BridgeConfig) -> RetryPolicy {
    RetryPolicy {
        first_delay: config.backoff,
        longest_delay: config.backoff_max,
        attempts_max: config.max_attempts,
        timeout: config.attempt_timeout,
    }
}
