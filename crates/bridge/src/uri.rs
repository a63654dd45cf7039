//! Where a route leads, as a URI (architecture §6).
//!
//! Never here: whether something is there.

use std::{fmt, str::FromStr};

use buswire_message::{BusName, ChannelName, Secret};
use url::Url;

/// What the capabilities of windows begin with (Belay §3.1).
const URN: &str = "urn:x-cap:";

/// Where a route leads.
///
/// `bus:NAME` or `bus:NAME/CHANNEL`, `mdp:SERVICE`, `push:ENDPOINT-URL`,
/// `push:subscribers`, `cap:URL`, `cap:urn:x-cap:INSTANCE:ID`. `Display` and `Debug` hide what is secret in a push endpoint or a
/// capability; [`expose`](Self::expose) gives the whole text.
#[derive(Clone, PartialEq, Eq)]
pub enum SinkUri {
    /// Another bus; the channel of the message unless another is named.
    Bus {
        /// The bus.
        bus: BusName,
        /// The channel, if not the message's own.
        channel: Option<ChannelName>,
    },
    /// An MDP service: 1 to 255 bytes without control characters (MDP §7).
    Mdp {
        /// Its name.
        service: String,
    },
    /// One SimplePush endpoint, which is told of a new version.
    PushEndpoint(Secret<String>),
    /// The SimplePush endpoints that asked for a scope which the message is in.
    PushSubscribers,
    /// A capability, which is invoked with POST: a URL, or the `urn:x-cap` of a window.
    Cap(Secret<String>),
}

/// Why a text is not the URI of a sink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkUriError {
    /// Not one of the known schemes.
    #[error(
        "a sink is bus:NAME[/CHANNEL], mdp:SERVICE, push:URL, push:subscribers, cap:URL or cap:urn:x-cap:…"
    )]
    Scheme,
    /// What follows `bus:` is not a bus and a channel.
    #[error("bus: is followed by a bus name and, after a slash, a channel name")]
    Bus,
    /// What follows `mdp:` is not a service name.
    #[error("mdp: is followed by a service name of 1 to 255 bytes that does not begin with mmi.")]
    Service,
    /// What follows `push:` is not an absolute http or https URL.
    #[error("push: is followed by an absolute http or https URL")]
    Url,
    /// What follows `cap:` is neither an absolute http or https URL nor an `urn:x-cap`.
    #[error("cap: is followed by an absolute http or https URL or by urn:x-cap:INSTANCE:ID")]
    Cap,
}

impl SinkUri {
    /// What its text begins with, up to the colon.
    pub const fn scheme(&self) -> &'static str {
        match self {
            Self::Bus { .. } => "bus",
            Self::Mdp { .. } => "mdp",
            Self::PushEndpoint(_) | Self::PushSubscribers => "push",
            Self::Cap(_) => "cap",
        }
    }

    /// The whole text, secrets included: for the store and for calling the sink, never for a log.
    pub fn expose(&self) -> String {
        match self {
            Self::PushEndpoint(url) => format!("push:{}", url.expose()),
            Self::Cap(url) => format!("cap:{}", url.expose()),
            Self::Bus { .. } | Self::Mdp { .. } | Self::PushSubscribers => self.to_string(),
        }
    }
}

impl FromStr for SinkUri {
    type Err = SinkUriError;

    fn from_str(text: &str) -> Result<Self, SinkUriError> {
        let (scheme, rest) = text.split_once(':').ok_or(SinkUriError::Scheme)?;
        match scheme {
            "bus" => parse_bus(rest),
            "mdp" => {
                let valid = (1..=255).contains(&rest.len())
                    && !rest.chars().any(char::is_control)
                    && !rest.starts_with("mmi.");
                if !valid {
                    return Err(SinkUriError::Service);
                }
                Ok(Self::Mdp { service: rest.to_owned() })
            }
            "push" if rest == "subscribers" => Ok(Self::PushSubscribers),
            "push" => parse_url(rest).map(Self::PushEndpoint).ok_or(SinkUriError::Url),
            "cap" => {
                parse_url(rest).or_else(|| parse_urn(rest)).map(Self::Cap).ok_or(SinkUriError::Cap)
            }
            _ => Err(SinkUriError::Scheme),
        }
    }
}

fn parse_bus(rest: &str) -> Result<SinkUri, SinkUriError> {
    // A realm is in front of a slash too: `v1/example.com/channel`.
    let (realm, rest) = match rest.split_once('/') {
        Some((realm @ ("v1" | "v2"), rest)) => (Some(realm), rest),
        _ => (None, rest),
    };
    let (name, channel) = match rest.split_once('/') {
        Some((name, channel)) => (name, Some(channel)),
        None => (rest, None),
    };
    let qualified = realm.map_or_else(|| name.to_owned(), |realm| format!("{realm}/{name}"));
    let bus = qualified.parse().map_err(|_| SinkUriError::Bus)?;
    let channel = channel.map(str::parse).transpose().map_err(|_| SinkUriError::Bus)?;
    Ok(SinkUri::Bus { bus, channel })
}

fn parse_url(text: &str) -> Option<Secret<String>> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .map(|_| Secret::new(text.to_owned()))
}

/// Takes what may be the capability of a window; Belay reads it closely.
fn parse_urn(text: &str) -> Option<Secret<String>> {
    let (instance, id) = text.strip_prefix(URN)?.rsplit_once(':')?;
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    (printable && !instance.is_empty() && !id.is_empty()).then(|| Secret::new(text.to_owned()))
}

impl fmt::Display for SinkUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus { bus, channel: None } => write!(f, "bus:{bus}"),
            Self::Bus { bus, channel: Some(channel) } => write!(f, "bus:{bus}/{channel}"),
            Self::Mdp { service } => write!(f, "mdp:{service}"),
            Self::PushEndpoint(url) => write!(f, "push:{}/…", origin(url)),
            Self::PushSubscribers => f.write_str("push:subscribers"),
            Self::Cap(cap) if cap.expose().starts_with(URN) => write!(f, "cap:{URN}…"),
            Self::Cap(url) => write!(f, "cap:{}/…", origin(url)),
        }
    }
}

fn origin(url: &Secret<String>) -> String {
    Url::parse(url.expose()).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

impl fmt::Debug for SinkUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_sink_parses_and_prints() {
        for text in [
            "bus:example.com",
            "bus:example.com/orders",
            "bus:v1/example.com",
            "bus:v1/example.com/orders",
            "mdp:echo",
            "mdp:a service",
            "push:subscribers",
            "push:https://gw.example/update/abc",
            "cap:https://gw.example/cap/abc",
            "cap:urn:x-cap:66c6bd1f4cda24069debe0efa2193f64baeae867:066401a1-00f3-4941-89df-5d74500654e4",
        ] {
            let uri: SinkUri = text.parse().unwrap();
            assert_eq!(uri.expose(), text);
            assert!(text.starts_with(&format!("{}:", uri.scheme())), "{text}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let sink: SinkUri = "cap:https://gw.example/cap/hunter2".parse().unwrap();
        assert_eq!(format!("{sink} {sink:?}"), "cap:https://gw.example/… cap:https://gw.example/…");
        let sink: SinkUri = "push:http://gw.example:81/update/hunter2".parse().unwrap();
        assert_eq!(sink.to_string(), "push:http://gw.example:81/…");
        let sink: SinkUri = "cap:urn:x-cap:https://a.example:hunter2".parse().unwrap();
        assert_eq!(format!("{sink} {sink:?}"), "cap:urn:x-cap:… cap:urn:x-cap:…");
    }

    #[test]
    fn anything_else_is_refused() {
        let cases = [
            ("", SinkUriError::Scheme),
            ("smtp:x", SinkUriError::Scheme),
            ("bus:", SinkUriError::Bus),
            ("bus:a/b/c", SinkUriError::Bus),
            ("mdp:", SinkUriError::Service),
            ("mdp:mmi.service", SinkUriError::Service),
            ("push:ftp://x/", SinkUriError::Url),
            ("cap:gw.example/cap/x", SinkUriError::Cap),
            ("cap:urn:x-cap:", SinkUriError::Cap),
            ("cap:urn:x-cap:a:b c", SinkUriError::Cap),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<SinkUri>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(text in "\\PC{0,60}") {
            if let Ok(sink) = text.parse::<SinkUri>() {
                prop_assert_eq!(sink.expose().parse::<SinkUri>(), Ok(sink));
            }
        }
    }
}
