//! What can be set, and every bound with its reason.
//!
//! Never here: reading a configuration; that is the program's.

use std::{str::FromStr, time::Duration};

use buswire_message::{Secret, Tracer};
use url::Url;

use crate::{
    derive::{RegrantKey, derive},
    limits::Rate,
    seal::SealKeys,
    wire::WireLimits,
};

/// A setting that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The base URL is not one.
    #[error("the base URL is an absolute http(s) URL without query and fragment")]
    BaseUrl,
    /// A site that may embed the frame is not one.
    #[error("a site is an origin such as https://app.example or https://*.app.example")]
    Ancestor,
    /// The prefix is not one.
    #[error("the prefix is a path of a-z 0-9 - that begins and ends with a slash")]
    Prefix,
}

/// How the hosted frame is (Belay §22.2, §22.3).
#[derive(Clone, Debug)]
pub struct FrameConfig {
    /// Which sites may embed it. Default none, which means all.
    pub ancestors: Vec<FrameAncestor>,
    /// Whether pages that do not say hello are served as original-style ones, whose origin is not
    /// known. Default `true`.
    pub original_clients: bool,
    /// Whether pages of no origin, such as those of `data:` URLs, are served. A page that is sandboxed
    /// without `allow-same-origin` never is: its frames have no origin either. Then `ancestors` does
    /// not count, for no list lets such pages in. Default `false`.
    pub opaque_origins: bool,
    /// Whether it connects to the relay. Default `true`.
    pub relay: bool,
}

impl Default for FrameConfig {
    fn default() -> Self {
        let ancestors = Vec::new();
        Self { ancestors, original_clients: true, opaque_origins: false, relay: true }
    }
}

/// A site that may embed the frame, such as `https://app.example` or `https://*.app.example:8443`: a
/// source of `frame-ancestors` in a Content Security Policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameAncestor(String);

impl FromStr for FrameAncestor {
    type Err = ConfigError;

    fn from_str(site: &str) -> Result<Self, ConfigError> {
        let plain = site.replacen("://*.", "://", 1);
        let is_origin =
            Url::parse(&plain).is_ok_and(|url| url.origin().ascii_serialization() == plain);
        is_origin.then(|| Self(site.to_owned())).ok_or(ConfigError::Ancestor)
    }
}

impl FrameConfig {
    /// The value of `frame-ancestors`. A page without an origin matches none, not even `*`: where it
    /// is to be served there is no such directive.
    pub(crate) fn ancestor_list(&self) -> Option<String> {
        let sites: Vec<&str> = self.ancestors.iter().map(|site| site.0.as_str()).collect();
        match (self.opaque_origins, sites.is_empty()) {
            (true, _) => None,
            (false, true) => Some("*".to_owned()),
            (false, false) => Some(sites.join(" ")),
        }
    }
}

/// What a [`CapServer`](crate::CapServer) is set to.
#[derive(Clone, Debug)]
pub struct Config {
    base_url: Url,
    prefix: String,
    /// Bounds of a bcapJson text.
    pub wire: WireLimits,
    /// The most bytes of a request body. Default 1 MiB (Belay §21.6); each request in progress may
    /// hold that much.
    pub body_bytes_max: usize,
    /// The most grants in a chain, the root included. Default 32 (Belay §20.6); an invocation reads
    /// each of them.
    pub chain_depth_max: usize,
    /// The most live children of a capability. Default 1000 (Belay §20.8). One more is refused 403.
    pub children_max: u32,
    /// The most live children of a grantor. Default 100,000: it serves many holders. One more is
    /// refused 403.
    pub granted_max: u32,
    /// The most live grants below a capability that was not itself derived, at every depth together,
    /// about 1 KiB of storage each. Default 10,000: without it a holder could fill the disk level by
    /// level. One more is refused 403.
    pub derived_max: u32,
    /// How often one capability may be wrapped (Belay §20.8). Default 100 in 10 s. Above it 429.
    pub wrap_rate: Rate,
    /// The most bytes of a target. Default 64 KiB; it is read for every invocation. Above it the
    /// request is refused 400.
    pub target_bytes_max: usize,
    /// How long a grant that is revoked or expired is still listed. Default 30 days.
    pub retention: Duration,
    /// Invocations in progress at once, about 200 bytes each. Default 65,536. Above it 503.
    pub in_flight_max: usize,
    /// Invocations of one tree that wait to be counted, about 200 bytes each. Default 4096. Above it
    /// 503.
    pub waiting_max: usize,
    /// Answers 404 for one client address in a second, after which it gets 429 instead for ids that
    /// do not exist; one that exists is never refused for it (Belay §21.6). Default 50.
    pub not_found_per_second: u32,
    /// The hosted frame.
    pub frame: FrameConfig,
    /// The key of ids that can be computed again. Default none: no grantor then has `"regrant":
    /// "stable"` (Belay §20.7).
    pub regrant_key: Option<RegrantKey>,
    /// The keys that targets are sealed with in the store. Default none: they are stored in clear. A
    /// target that is in clear, or sealed with an older key, is sealed anew when it is read.
    pub seal_keys: Option<SealKeys>,
    /// Records invocations in traces. Default none: a context that comes in is passed on as it is.
    pub tracer: Option<Tracer>,
}

impl Config {
    /// The default settings for a server whose public address is `base_url`, such as
    /// `https://gw.example`. It is never taken from a request (Belay §21.1).
    ///
    /// # Errors
    ///
    /// [`ConfigError::BaseUrl`].
    pub fn new(base_url: &str) -> Result<Self, ConfigError> {
        let url = Url::parse(base_url).map_err(|_| ConfigError::BaseUrl)?;
        let usable = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !usable {
            return Err(ConfigError::BaseUrl);
        }
        Ok(Self {
            base_url: url,
            prefix: "/cap/".to_owned(),
            wire: WireLimits::default(),
            body_bytes_max: 1024 * 1024,
            chain_depth_max: 32,
            children_max: 1000,
            granted_max: 100_000,
            derived_max: 10_000,
            wrap_rate: Rate::new(100, 10).ok_or(ConfigError::BaseUrl)?,
            target_bytes_max: 64 * 1024,
            retention: Duration::from_secs(30 * 86_400),
            in_flight_max: 65_536,
            waiting_max: 4096,
            not_found_per_second: 50,
            frame: FrameConfig::default(),
            regrant_key: None,
            seal_keys: None,
            tracer: None,
        })
    }

    /// Sets the path under which capabilities are, `/cap/` by default (Belay §16.1, §21.1).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Prefix`].
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let inner = prefix.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let valid = inner.is_some_and(|inner| {
            inner.split('/').all(|segment| {
                !segment.is_empty()
                    && segment
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            })
        });
        // `/belay/` is where the other endpoints are.
        if !valid || prefix == "/belay/" {
            return Err(ConfigError::Prefix);
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// Sets [`regrant_key`](Self::regrant_key) and [`seal_keys`](Self::seal_keys) to keys that are
    /// derived from these, the oldest first: a later one becomes the newest (Belay §23.12).
    #[must_use]
    pub fn with_keys(mut self, keys: &[Secret<[u8; 32]>]) -> Self {
        self.seal_keys = SealKeys::derived(keys, "buswire belay targets").or(self.seal_keys);
        for (version, key) in (1..).zip(keys) {
            self.regrant_key = Some(RegrantKey::new(version, derive(key, "buswire belay ids")));
        }
        self
    }

    /// The path under which capabilities are.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The origin of this server's WebSockets, such as `wss://gw.example`.
    pub(crate) fn socket_origin(&self) -> String {
        self.base_url.origin().ascii_serialization().replacen("http", "ws", 1)
    }

    /// The URL of a capability.
    pub(crate) fn cap_url(&self, id: &str) -> String {
        format!("{}{}{id}", self.base_url.as_str().trim_end_matches('/'), self.prefix)
    }

    /// The id in a URL of this server. Both URLs are parsed, which removes dot segments, before they
    /// are compared (Belay §16.5).
    pub(crate) fn id_in(&self, url: &Url) -> Option<String> {
        if url.origin() != self.base_url.origin()
            || url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return None;
        }
        let base = self.base_url.path().trim_end_matches('/');
        let id = url.path().strip_prefix(base)?.strip_prefix(&self.prefix)?;
        is_id(id).then(|| id.to_owned())
    }
}

/// Whether a text may be the id of a capability: 22 to 128 characters of `A-Za-z0-9-_`, so that
/// UUID-shaped ids fit too (Belay §21.2).
pub(crate) fn is_id(text: &str) -> bool {
    (22..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_in(url: &str) -> Option<String> {
        Config::new("https://gw.example/").unwrap().id_in(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_url_is_local_if_its_parts_are() {
        // Rule: belay 16.5 — whether a URL is local is decided after parsing it, not by its prefix
        let id = "7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936";
        assert_eq!(id_in(&format!("https://gw.example/cap/{id}")).as_deref(), Some(id));
        assert_eq!(id_in(&format!("https://gw.example:443/x/../cap/{id}")).as_deref(), Some(id));
        for url in [
            format!("https://gw.example/cap/../{id}"),
            format!("https://gw.example/cap/{id}/x"),
            format!("http://gw.example/cap/{id}"),
            format!("https://gw.example.evil/cap/{id}"),
            format!("https://gw.example@evil/cap/{id}"),
            format!("https://user@gw.example/cap/{id}"),
            "https://gw.example/cap/short".to_owned(),
        ] {
            assert_eq!(id_in(&url), None, "{url}");
        }
    }

    #[test]
    fn sites_that_embed_are_origins() {
        // Rule: belay 22.3 — frame-ancestors is * or the configured list
        let list = |sites: &[&str]| {
            let ancestors = sites.iter().map(|site| site.parse()).collect::<Result<_, _>>()?;
            let config = FrameConfig { ancestors, ..FrameConfig::default() };
            Ok(config.ancestor_list().unwrap_or_default())
        };
        assert_eq!(list(&[]), Ok("*".to_owned()));
        let sites = ["https://app.example", "https://*.app.example:8443"];
        assert_eq!(list(&sites), Ok(sites.join(" ")));
        for bad in ["*", "app.example", "https://a/", "https://a.example; script-src *", "data:x"] {
            assert_eq!(list(&[bad]), Err(ConfigError::Ancestor), "{bad}");
        }
    }

    #[test]
    fn settings_that_can_not_be_are_refused() {
        for bad in
            ["gw.example", "ftp://gw.example", "https://gw.example?x", "https://u@gw.example"]
        {
            assert_eq!(Config::new(bad).unwrap_err(), ConfigError::BaseUrl, "{bad}");
        }
        let config = || Config::new("https://gw.example/sub").unwrap();
        for bad in ["cap/", "/cap", "/", "//", "/Cap/", "/belay/"] {
            assert_eq!(config().with_prefix(bad).unwrap_err(), ConfigError::Prefix, "{bad}");
        }
        let config = config().with_prefix("/caps/").unwrap();
        assert_eq!(config.cap_url("x"), "https://gw.example/sub/caps/x");
    }
}
