//! Settings and bounds of the door.
//!
//! Never here: reading a file or the environment; the program fills these structs in.

use std::{sync::Arc, time::Duration};

use buswire_message::SecretHash;
use http::HeaderValue;
use url::Url;

use crate::journal::Journal;

/// Why a setting is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a public URL.
    #[error("the public URL is http or https with a host, without query and fragment")]
    PublicUrl,
    /// Not an origin that a browser sends.
    #[error("a CORS origin is a scheme and a host, like https://www.example.com")]
    Origin,
}

/// The URL under which the outside reaches the gateway, without a slash at its end.
///
/// `messageURL` and `nextURL` are made from it, never from a `Host` header (Backplane §4.4, §17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Arc<str>);

impl PublicUrl {
    /// Checks and takes a URL such as `https://bp.example.net`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PublicUrl`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let url = Url::parse(text).map_err(|_| ConfigError::PublicUrl)?;
        let known = matches!(url.scheme(), "http" | "https") && url.has_host();
        if !known || url.query().is_some() || url.fragment().is_some() || text.contains(' ') {
            return Err(ConfigError::PublicUrl);
        }
        Ok(Self(text.trim_end_matches('/').into()))
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The origin, as browsers send it in `Origin`.
    pub(crate) fn origin(&self) -> String {
        // It was parsed before, so this never falls back.
        Url::parse(&self.0).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
    }

    /// The URL of single messages without the id; what
    /// [`BusConfig::message_url_prefix`](buswire_bus::BusConfig) must be too, so that `messageURL:`
    /// filters match.
    pub fn message_url_prefix(&self) -> Arc<str> {
        format!("{}/v2/message/", self.0).into()
    }
}

/// Which web pages may read answers across origins (Backplane §3.7).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Cors {
    /// None: pages use script tags.
    #[default]
    Off,
    /// All.
    AnyOrigin,
    /// Those of these origins.
    Origins(Vec<Origin>),
}

/// An origin as browsers send it: `https://www.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    /// Checks and takes an origin.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Origin`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let url = Url::parse(text).map_err(|_| ConfigError::Origin)?;
        if url.origin().ascii_serialization() != text {
            return Err(ConfigError::Origin);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| ConfigError::Origin)
    }

    pub(crate) const fn header(&self) -> &HeaderValue {
        &self.0
    }
}

/// How `sticky` is written in 2.0 messages (Backplane §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StickyForm {
    /// As a JSON boolean, as the specification says.
    #[default]
    Boolean,
    /// As `"true"` or `"false"`, for clients that only read strings.
    Text,
}

/// What stands before the callback in padded bodies (Backplane §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PaddingPrefix {
    /// Nothing: published server-side clients cut exactly two bytes from each end.
    #[default]
    None,
    /// An empty comment, for sites without such clients.
    Comment,
}

/// Which generations of the protocol are served (Backplane §20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Generations {
    /// 1.x and 2.0.
    #[default]
    Both,
    /// 1.x alone.
    OneOnly,
    /// 2.0 alone; 1.x shows payloads to all scripts of a page (Backplane §17).
    TwoOnly,
}

/// Whether what the references reserve for HTTPS is refused over anything else (Backplane §3.2).
///
/// A request counts as secure if its extensions hold a [`SecureTransport`]. Only the program that
/// owns the listener knows: it inserts one for TLS, and for `X-Forwarded-Proto: https` from a trusted
/// proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TlsPolicy {
    /// Refused with 403.
    #[default]
    Required,
    /// Served over anything, for tests and loopback.
    Optional,
}

/// A mark in the extensions of a request that came over a secure transport. See [`TlsPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SecureTransport;

/// How long tokens and what belongs to them live (Backplane §9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An anonymous access token; default 3600 s.
    pub anonymous_access: Duration,
    /// A privileged access token; default 31 536 000 s.
    pub privileged_access: Duration,
    /// A privileged refresh token; default `None`, for ever.
    pub privileged_refresh: Option<Duration>,
    /// How much longer than its bus's default retention, and than a sticky message in it, a channel
    /// lives; default 3600 s (Backplane §7.3).
    pub channel_margin: Duration,
    /// How long a used privileged refresh token is recognised as used, and an expired privileged
    /// access token as expired; default 30 days. After that both are unknown.
    pub memory_of_spent_tokens: Duration,
    /// An authorization code; default 600 s (Backplane §11.1).
    pub code: Duration,
    /// The sign-in of a bus owner; default 3600 s.
    pub sign_in: Duration,
    /// A request for authorization that waits for the owner; default 1200 s.
    pub authorization_request: Duration,
    /// The form with which an owner decides; default 300 s.
    pub decision: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            anonymous_access: Duration::from_secs(3600),
            privileged_access: Duration::from_secs(31_536_000),
            privileged_refresh: None,
            channel_margin: Duration::from_secs(3600),
            memory_of_spent_tokens: Duration::from_secs(30 * 86_400),
            code: Duration::from_secs(600),
            sign_in: Duration::from_secs(3600),
            authorization_request: Duration::from_secs(1200),
            decision: Duration::from_secs(300),
        }
    }
}

/// Bounds of everything that is fed from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body, default 1 MiB; larger ones get 413 (Backplane §3.4).
    pub body_bytes_max: usize,
    /// Messages in an answer of `GET /v2/messages`, default 25 (Backplane §5.4).
    pub page_size: usize,
    /// The longest `block` in seconds, default 25; greater ones get 400 (Backplane §10.3).
    pub block_seconds_max: u32,
    /// Reads that wait at once, default 100 000; more are answered at once as if `block` were 0. A
    /// waiting read costs about 1 KiB besides its connection.
    pub waiting_max: usize,
    /// Reads that wait with one token at once, default 20 000, so that one token can't take all of
    /// `waiting_max`; more are answered at once.
    pub waiting_per_token_max: usize,
    /// Password checks that run at once, default 2: each takes a core and
    /// [`PasswordCost::memory_kib`].
    pub password_checks_max: usize,
    /// Password checks that wait for their turn, default 64; more get 503.
    pub password_checks_waiting_max: usize,
    /// Verified passwords, tokens, channels and accounts that are remembered, each, default 65 536.
    /// The oldest go first; a forgotten one is read again. About half a KiB of memory each.
    pub cached_max: usize,
    /// How long something remembered may be used without looking at the store, default 5 s. Changes
    /// made in this process count at once; this bounds how long a lost hint about another process's
    /// change may go unnoticed.
    pub cached_for: Duration,
    /// Grants of one client, default 1000; more are refused.
    pub grants_per_client_max: usize,
    /// Channels of 1.x and anonymous tokens that are minted for one address in a minute, default
    /// 3000; more get 429. Of IPv6 an address is a network of 64 bits. 0 is any number. Without a
    /// [`ConnectInfo`](axum::extract::ConnectInfo) in the request, and for loopback addresses,
    /// nothing is counted by address.
    pub visits_per_address_max: u32,
    /// Anonymous tokens that are minted for one bus in a minute, default 60 000; more get 429. 0 is
    /// any number.
    pub visits_per_bus_max: u32,
    /// Wrong passwords for one account in ten minutes, default 10; then the account gets 429 until
    /// they are over: a bus owner from everywhere, a user or client from the address that failed.
    /// 0 is any number.
    pub failures_per_account_max: u32,
    /// Wrong passwords from one address in ten minutes, default 100; then it gets 429 until they are
    /// over. 0 is any number.
    pub failures_per_address_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            page_size: 25,
            block_seconds_max: 25,
            waiting_max: 100_000,
            waiting_per_token_max: 20_000,
            password_checks_max: 2,
            password_checks_waiting_max: 64,
            cached_max: 65_536,
            cached_for: Duration::from_secs(5),
            grants_per_client_max: 1000,
            visits_per_address_max: 3000,
            visits_per_bus_max: 60_000,
            failures_per_account_max: 10,
            failures_per_address_max: 100,
        }
    }
}

/// What one argon2id hash of a password that somebody chose costs.
///
/// Only new hashes are made with it; stored ones keep their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// KiB of memory, default 19 456, at least 8.
    pub memory_kib: u32,
    /// Passes over the memory, default 2, at least 1.
    pub iterations: u32,
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2 }
    }
}

/// Who may provision over HTTP (Backplane §13.7). There is no way to become one over the network.
#[derive(Clone, Debug)]
pub struct Administrator {
    /// Sent as `admin`; published tooling writes `bpadmin`.
    pub name: String,
    /// The hash of what is sent as `secret`, which must have 128 random bits at least.
    pub secret: SecretHash,
}

/// When a channel of 2.0 is bound to its bus (Backplane §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// At its creation: an anonymous token request names the bus, as from the thirteenth draft on.
    #[default]
    AtCreation,
    /// By the first post that is accepted, if the request names no bus, as in the twelfth draft. A
    /// read of a channel that is not bound yet finds nothing at once, however long it would wait.
    FirstPostToo,
}

/// The settings of the door (Backplane §20).
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the outside reaches the gateway.
    pub public_url: PublicUrl,
    /// Whether HTTPS is required where the references say so; default required.
    pub tls: TlsPolicy,
    /// Which generations are served; default both.
    pub generations: Generations,
    /// Cross-origin reading; default off.
    pub cors: Cors,
    /// What stands before the callback; default nothing.
    pub padding_prefix: PaddingPrefix,
    /// How `sticky` is written in 2.0; default a boolean.
    pub sticky_form: StickyForm,
    /// When channels are bound to a bus; default at their creation.
    pub channel_binding: ChannelBinding,
    /// How long tokens live.
    pub lifetimes: Lifetimes,
    /// Bounds.
    pub limits: Limits,
    /// What a password hash costs.
    pub password_cost: PasswordCost,
    /// Who may provision over HTTP; default nobody.
    pub administrators: Vec<Administrator>,
    /// Where what they change is written down; default nowhere.
    pub journal: Option<Arc<dyn Journal>>,
}

impl Config {
    /// The defaults, for a gateway that the outside reaches at `public_url`.
    pub fn new(public_url: PublicUrl) -> Self {
        Self {
            public_url,
            tls: TlsPolicy::default(),
            generations: Generations::default(),
            cors: Cors::default(),
            padding_prefix: PaddingPrefix::default(),
            sticky_form: StickyForm::default(),
            channel_binding: ChannelBinding::default(),
            lifetimes: Lifetimes::default(),
            limits: Limits::default(),
            password_cost: PasswordCost::default(),
            administrators: Vec::new(),
            journal: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_kept_without_its_slash() {
        // Rule: backplane §4.4 — messageURL is the public base, /v2/message/, the id
        let url = PublicUrl::parse("https://bp.example.net/").unwrap();
        assert_eq!(&*url.message_url_prefix(), "https://bp.example.net/v2/message/");
        for text in ["", "bp.example.net", "ftp://a.example", "https://a.example/?x", "https://a/#"]
        {
            assert_eq!(PublicUrl::parse(text), Err(ConfigError::PublicUrl), "{text}");
        }
    }

    #[test]
    fn an_origin_has_no_path() {
        assert!(Origin::parse("https://www.example.com").is_ok());
        for text in ["https://www.example.com/", "www.example.com", "*", "null"] {
            assert_eq!(Origin::parse(text), Err(ConfigError::Origin), "{text}");
        }
    }
}
