//! The configuration of each crate, made of the gateway's own.
//!
//! Never here: reading a setting; checking one that the gateway's configuration has checked.

use std::{error::Error, fs, sync::Arc, time::Duration};

use buswire_backplane as backplane;
use buswire_belay as belay;
use buswire_bridge::{RetryPolicy, RoutesConfig};
use buswire_bus::{BusConfig, BusLimits};
use buswire_mdp as mdp;
use buswire_message::{Secret, SourceUrl};
use url::Url;

use crate::config::{BackplaneConfig, BelayConfig, BridgeConfig, MdpConfig};

type Failure = Box<dyn Error + Send + Sync>;

/// The public URL without a slash at its end.
pub(super) fn base(public_url: &Url) -> &str {
    public_url.as_str().trim_end_matches('/')
}

pub(super) fn buses(config: &BackplaneConfig, public_url: &Url) -> BusConfig {
    BusConfig {
        message_url_prefix: format!("{}/v2/message/", base(public_url)).into(),
        limits: BusLimits {
            payload_bytes_max: config.max_body_bytes,
            sweep_interval: config.cleanup_interval,
            ..BusLimits::default()
        },
    }
}

pub(super) fn backplane(
    config: &BackplaneConfig,
    public_url: &Url,
) -> Result<backplane::Config, Failure> {
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
        ..backplane::Config::new(backplane::PublicUrl::parse(public_url.as_str())?)
    })
}

/// Where the broker listens if it shall not listen: a name that only this process can reach.
const WITHIN: &str = "inproc://mdp";

/// The endpoints that others can reach.
pub(super) fn reachable_endpoints(broker: &mdp::BrokerHandle) -> Vec<String> {
    broker.endpoints().into_iter().filter(|endpoint| endpoint != WITHIN).collect()
}

pub(super) fn mdp(config: &MdpConfig) -> Result<mdp::BrokerConfig, Failure> {
    let policy = mdp::core::ServicePolicy {
        busy_timeout: config.busy_timeout,
        attempts_max: config.max_attempts,
    };
    let curve = config.curve.as_ref().map(curve).transpose()?;
    let mut endpoints: Vec<_> =
        config.listen.iter().map(|endpoint| endpoint.as_str().to_owned()).collect();
    if endpoints.is_empty() {
        // Nobody outside is served; routes and capabilities still find the gateway's own services.
        endpoints.push(WITHIN.to_owned());
    }
    Ok(mdp::BrokerConfig {
        endpoints,
        core: mdp::core::CoreConfig {
            heartbeat_interval: config.heartbeat_interval,
            worker_expiry: config.worker_expiry,
            request_ttl: config.request_ttl,
            queue_max: usize::try_from(config.queue_limit)?,
            per_client_max: usize::try_from(config.client_limit)?,
            held_bytes_max: config.queue_bytes,
            services_max: usize::try_from(config.max_services)?,
            service_idle: config.service_idle,
            default_policy: policy,
            wire: mdp::wire::WireLimits {
                frames_max: usize::try_from(config.max_frames)?,
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

fn curve(config: &crate::config::CurveConfig) -> Result<mdp::CurveConfig, Failure> {
    let path = &config.secret_key_file;
    let text = Secret::new(fs::read_to_string(path).map_err(|error| {
        format!("mdp.curve.secret_key_file: {} can't be read: {error}", path.display())
    })?);
    let secret = mdp::CurveSecret::from_z85(text.expose().trim()).ok_or_else(|| {
        format!("mdp.curve.secret_key_file: {} holds no key in Z85", path.display())
    })?;
    let keys = config.allowed_keys.iter().map(crate::config::CurvePublicKey::as_str);
    let allowed = mdp::AllowedKeys::from_z85(keys).ok_or("mdp.curve.allowed_keys: not in Z85")?;
    Ok(mdp::CurveConfig { secret, allowed })
}

pub(super) fn belay(config: &BelayConfig, public_url: &Url) -> Result<belay::Config, Failure> {
    let mut settings = belay::Config::new(base(public_url))?;
    settings.wire.depth_max = usize::try_from(config.json_depth_max)?;
    settings.wire.caps_max = usize::try_from(config.bcaps_max)?;
    settings.body_bytes_max = config.body_max;
    settings.children_max = config.children_max;
    settings.not_found_per_second = config.unknown_rate;
    Ok(settings)
}

pub(super) fn routes(config: &BridgeConfig, source: SourceUrl) -> Result<RoutesConfig, Failure> {
    let mut routes = RoutesConfig::new(source);
    routes.limits.in_flight_max = usize::try_from(config.in_flight_max)?;
    routes.dead_letters_max = usize::try_from(config.dead_letters_max)?;
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

/// The client for capabilities of other servers: no redirects, no proxy, bounded in time.
pub(super) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(60))
        .user_agent(concat!("buswire/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// What the URLs of our own capabilities begin with.
pub(super) fn own_caps(config: &belay::Config, public_url: &Url) -> Arc<str> {
    format!("{}{}", base(public_url), config.prefix()).into()
}
