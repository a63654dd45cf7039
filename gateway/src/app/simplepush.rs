//! The configuration of SimplePush, made of the gateway's own.
//!
//! Never here: reading a setting; checking one that the gateway's configuration has checked.

use std::{error::Error, fs, path::Path};

use buswire_message::Secret;
use buswire_simplepush::{
    Config, Cors, EndpointBase, ExtraChannels, Gateways, Limits, MissingChannels, MobileNetwork,
    Presence, Rates, Redirect, RedirectUrl, Subprotocol, Timing, TokenKey, TokenKeys,
    VersionPolicy, WakeUp,
};
use url::Url;

use super::settings::base;
use crate::config::{self, SimplePushConfig, WakeUpNetwork};

type Failure = Box<dyn Error + Send + Sync>;

/// The id of the key that the gateway made at its first start.
const OWN_KEY: u8 = 1;

pub(super) fn config(
    config: &SimplePushConfig,
    public_url: &Url,
    own_key: &Secret<[u8; 32]>,
) -> Result<Config, Failure> {
    let keys = token_keys(config.token_key_file.as_deref(), own_key)?;
    let defaults = Config::new(EndpointBase::new(base(public_url))?, keys);
    Ok(Config {
        limits: limits(config)?,
        rates: Rates {
            channel_puts: config.rates.channel_puts,
            refused_puts: config.rates.refused_puts,
            refused_uaids: config.rates.refused_uaids,
            takeovers: config.rates.takeovers,
        },
        timing: timing(config),
        extra_channels: match config.extra_channels {
            config::ExtraChannels::PruneIfListed => ExtraChannels::PruneIfListed,
            config::ExtraChannels::Keep => ExtraChannels::Keep,
            config::ExtraChannels::Prune => ExtraChannels::Prune,
        },
        missing_channels: match config.missing_channels {
            config::MissingChannels::Reset => MissingChannels::Reset,
            config::MissingChannels::Ignore => MissingChannels::Ignore,
        },
        version_policy: match config.version_policy {
            config::VersionPolicy::Greatest => VersionPolicy::Greatest,
            config::VersionPolicy::Strict => VersionPolicy::Strict,
            config::VersionPolicy::Last => VersionPolicy::Last,
        },
        subprotocol: if config.require_subprotocol {
            Subprotocol::Required
        } else {
            Subprotocol::Optional
        },
        origins: config.allowed_origins.clone(),
        presence: if config.always_200 { Presence::Hidden } else { Presence::Shown },
        cors: if config.cors { Cors::AnyOrigin } else { Cors::Off },
        gateways: if config.several_gateways { Gateways::Several } else { Gateways::One },
        redirect: redirect(config)?,
        wakeup: wakeup(config),
        ..defaults
    })
}

fn limits(config: &SimplePushConfig) -> Result<Limits, Failure> {
    Ok(Limits {
        connections_max: usize::try_from(config.connections_max)?,
        address_connections_max: usize::try_from(config.address_connections_max)?,
        channels_max: usize::try_from(config.channels_max)?,
        message_bytes_max: config.message_max,
        body_bytes_max: config.body_max,
        data_bytes_max: config.max_data_len,
        updates_max: usize::try_from(config.updates_max)?,
        ..Limits::default()
    })
}

fn timing(config: &SimplePushConfig) -> Timing {
    Timing {
        hello_timeout: config.hello_timeout,
        message_timeout: config.message_timeout,
        ping_gap_min: config.ping_interval_min,
        probe_after: config.probe_interval,
        probe_timeout: config.probe_timeout,
        resend_interval: config.resend_interval,
        resend_rounds_max: config.resend_limit,
        write_timeout: config.write_timeout,
        forget_after: config.ua_lifetime,
        ..Timing::default()
    }
}

fn redirect(config: &SimplePushConfig) -> Result<Option<Redirect>, Failure> {
    let Some(url) = &config.redirect else { return Ok(None) };
    let many = u64::from(config.connections_max) * u64::from(config.redirect_threshold) / 100;
    Ok(Some(Redirect { connections: usize::try_from(many)?, url: RedirectUrl::new(url)? }))
}

fn wakeup(config: &SimplePushConfig) -> Option<WakeUp> {
    let network = |network: &WakeUpNetwork| MobileNetwork {
        mcc: network.mcc.clone(),
        mnc: network.mnc.clone(),
        relay: network.relay,
        addresses: network.addresses.clone(),
    };
    let networks: Vec<_> = config.wakeup_networks.iter().map(network).collect();
    (!networks.is_empty()).then_some(WakeUp { networks, idle: config.wakeup_idle })
}

/// The keys of the file, the newest first, and last the gateway's own: endpoints made before there
/// was a file go on working.
fn token_keys(file: Option<&Path>, own: &Secret<[u8; 32]>) -> Result<TokenKeys, Failure> {
    let own = TokenKey::new(OWN_KEY, *own.expose());
    let Some(path) = file else { return Ok(TokenKeys::new(&own, &[])?) };
    let wrong = |what: &str| format!("simplepush.token_key_file: {} {what}", path.display());
    let text =
        fs::read_to_string(path).map_err(|error| wrong(&format!("can't be read: {error}")))?;
    let text = Secret::new(text);
    let mut keys = Vec::new();
    for line in text.expose().lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        keys.push(token_key(line).ok_or_else(|| wrong("has a line that is not ID HEX"))?);
    }
    keys.push(own);
    let Some((newest, older)) = keys.split_first() else { return Err(wrong("is empty").into()) };
    Ok(TokenKeys::new(newest, older).map_err(|error| wrong(&format!("is refused: {error}")))?)
}

/// Reads `ID HEX`.
fn token_key(line: &str) -> Option<TokenKey> {
    let (id, digits) = line.split_once(char::is_whitespace)?;
    let id: u8 = id.parse().ok().filter(|id| *id > OWN_KEY)?;
    let digits = digits.trim();
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let pair = digits.get(2 * at..2 * at + 2)?;
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?;
    }
    Some(TokenKey::new(id, bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn keys(text: &str) -> Result<String, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let keys = token_keys(Some(file.path()), &Secret::new([7; 32]));
        keys.map(|keys| format!("{keys:?}")).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_come_from_a_file_and_the_own_one_stays() {
        let hex = "ab".repeat(32);
        let text = format!("# made in May\n3 {hex}\n\n2 {}\n", "0F".repeat(32));
        assert_eq!(keys(&text).unwrap(), "TokenKeys(newest 3, 2 older)");
        assert_eq!(keys("").unwrap(), "TokenKeys(newest 1, 0 older)");
        for bad in [
            format!("1 {hex}"),
            format!("256 {hex}"),
            hex.clone(),
            format!("2 {hex}00"),
            format!("2 +{}", "a".repeat(63)),
            format!("2 {hex}\n2 {hex}"),
        ] {
            let error = keys(&bad).unwrap_err();
            assert!(error.contains("token_key_file") && !error.contains("abab"), "{error}");
        }
        assert!(token_keys(Some(Path::new("/nowhere")), &Secret::new([7; 32])).is_err());
    }
}
