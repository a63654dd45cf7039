//! Settings: every bound, timer and choice, with default, unit and reason (SimplePush §16, §18).
//!
//! Never here: where settings come from.

use std::{fmt, sync::Arc, time::Duration};

use crate::{token::TokenKeys, wakeup::WakeUp};

/// Everything that can be set. Valid by construction.
#[derive(Debug, Clone)]
pub struct Config {
    /// What endpoint URLs begin with.
    pub endpoint_base: EndpointBase,
    /// The keys of endpoint tokens.
    pub token_keys: Arc<TokenKeys>,
    /// The bounds.
    pub limits: Limits,
    /// How often things may happen.
    pub rates: Rates,
    /// The timers.
    pub timing: Timing,
    /// What `hello` does with channels that the UserAgent did not list.
    pub extra_channels: ExtraChannels,
    /// What `hello` does if the UserAgent lists channels that are not registered.
    pub missing_channels: MissingChannels,
    /// Whether a WebSocket client must offer the subprotocol.
    pub subprotocol: Subprotocol,
    /// Which of several versions of a channel stays.
    pub version_policy: VersionPolicy,
    /// Where UserAgents are sent when there are many; `None` for nowhere.
    pub redirect: Option<Redirect>,
    /// How UserAgents on mobile networks are woken; `None` not at all (R-WAKE-1).
    pub wakeup: Option<WakeUp>,
    /// Which `Origin` values may open a WebSocket; empty admits every client (R-WS-3).
    pub origins: Vec<String>,
    /// What tells an application server about the presence of the UserAgent.
    pub presence: Presence,
    /// Whether pages of other origins may PUT.
    pub cors: Cors,
    /// Whether other processes use the same store.
    pub gateways: Gateways,
}

impl Config {
    /// The defaults of §16 for endpoints that begin with `endpoint_base`.
    pub fn new(endpoint_base: EndpointBase, token_keys: TokenKeys) -> Self {
        Self {
            endpoint_base,
            token_keys: Arc::new(token_keys),
            limits: Limits::default(),
            rates: Rates::default(),
            timing: Timing::default(),
            extra_channels: ExtraChannels::default(),
            missing_channels: MissingChannels::default(),
            subprotocol: Subprotocol::default(),
            version_policy: VersionPolicy::default(),
            redirect: None,
            wakeup: None,
            origins: Vec::new(),
            presence: Presence::default(),
            cors: Cors::default(),
            gateways: Gateways::default(),
        }
    }
}

/// What endpoint URLs begin with: scheme, host and perhaps a path prefix, as the application servers
/// see them (R-EP-1). Never taken from a request.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointBase(Box<str>);

/// The text is not the beginning of an endpoint URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an endpoint base is an http or https URL without query and fragment")]
pub struct EndpointBaseError;

impl EndpointBase {
    /// Takes `http://…` or `https://…`; slashes at the end are dropped.
    ///
    /// # Errors
    ///
    /// [`EndpointBaseError`] for another scheme, an empty host, a query, a fragment, or a character
    /// that a URL can't have.
    pub fn new(url: &str) -> Result<Self, EndpointBaseError> {
        let url = url.trim_end_matches('/');
        if is_url(url, &["https://", "http://"]) {
            Ok(Self(url.into()))
        } else {
            Err(EndpointBaseError)
        }
    }

    /// The text without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EndpointBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointBase({})", self.0)
    }
}

/// Whether a text is a URL of one of these schemes without query and fragment, and can stand in JSON
/// as it is.
fn is_url(text: &str, schemes: &[&str]) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>^`{|}?#".contains(&byte);
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(allowed))
}

/// Where UserAgents are sent when this server has many (§15.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Open connections beyond which a first `hello` is answered with status 307.
    pub connections: usize,
    /// The WebSocket of another server.
    pub url: RedirectUrl,
}

/// The URL of another server's WebSocket. Never taken from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUrl(Box<str>);

/// The text is not the URL of a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a redirect is a ws or wss URL without query and fragment")]
pub struct RedirectUrlError;

impl RedirectUrl {
    /// Takes `ws://…` or `wss://…`.
    ///
    /// # Errors
    ///
    /// [`RedirectUrlError`] for anything else.
    pub fn new(url: &str) -> Result<Self, RedirectUrlError> {
        if is_url(url, &["wss://", "ws://"]) { Ok(Self(url.into())) } else { Err(RedirectUrlError) }
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The bounds on everything that grows with what comes from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// WebSocket connections at once. Default 250,000: what published servers set for one node.
    /// Beyond it an upgrade is answered 503.
    pub connections_max: usize,
    /// WebSocket connections at once from one address (see [`Rates`]). Default 0, which is any
    /// number. Beyond it an upgrade is answered 429.
    pub address_connections_max: usize,
    /// Channels of one UserAgent, at `hello` and at `register`. Default 1,000, at most 1,300, since
    /// all of a UserAgent is deleted in one batch of the store. Beyond it `register` is answered 500.
    pub channels_max: usize,
    /// Bytes of a message from a client. Default 131,072: a `hello` with 1,000 channels is 40 KB.
    /// Larger ones close the connection with 1009.
    pub message_bytes_max: usize,
    /// Fragments of a message from a client after the first. Default 1,024; more close the connection,
    /// so that empty ones can't go on for ever.
    pub fragments_max: u32,
    /// Bytes of a request that are repeated in an error reply. Default 4,096 (R-ERR-2); of larger
    /// requests only type and channelID are.
    pub echo_bytes_max: usize,
    /// Nesting of a message from a client. Default 32 (R-JSON-4); deeper ones close the connection.
    pub depth_max: usize,
    /// Entries of one `notification`. Default 200 (R-NOTIF-3); more are sent in further messages.
    pub updates_max: usize,
    /// Requests of one connection that wait for the store. Default 256; while there are so many,
    /// nothing more is read from the connection.
    pub steps_max: usize,
    /// Frames of one connection that wait to be written. Default 64; while there are so many, nothing
    /// more is read from the connection.
    pub frames_max: usize,
    /// WebSocket control frames within ten seconds. Default 100; more close the connection.
    pub control_frames_max: u32,
    /// Messages of one connection within ten seconds. Default 50,000; more close the connection.
    pub messages_max: u32,
    /// Bytes of the `data` of a PUT after decoding. Default 4,096; longer is answered 413; 0 ignores
    /// the field (R-DATA-1).
    pub data_bytes_max: usize,
    /// Bytes of the body of a PUT. Default 16 KiB; longer is answered 413.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 250_000,
            address_connections_max: 0,
            channels_max: 1000,
            message_bytes_max: 131_072,
            fragments_max: 1024,
            echo_bytes_max: 4096,
            depth_max: 32,
            updates_max: 200,
            steps_max: 256,
            frames_max: 64,
            control_frames_max: 100,
            messages_max: 50_000,
            data_bytes_max: 4096,
            body_bytes_max: 16 * 1024,
        }
    }
}

/// How often something may happen within a minute; 0 is any number of times (§19.1, §19.3). Those for
/// an address need a server that says where requests come from, as `axum::extract::ConnectInfo`; an
/// IPv6 network of 64 bits counts as one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// PUTs to one channel. Default 0: to take them and show the greatest costs little. Beyond it a
    /// PUT is answered 429.
    pub channel_puts: u32,
    /// PUTs from one address that are answered 404 or 410. Default 6,000; beyond it all PUTs from
    /// there are answered 429 until the minute is over.
    pub refused_puts: u32,
    /// Times that clients at one address present a UAID and are given another. Default 1,000; beyond
    /// it upgrades from there are answered 429 until the minute is over.
    pub refused_uaids: u32,
    /// Times that a connection of a UserAgent takes the place of another. Default 5; beyond it each
    /// further `hello` of this UserAgent waits for 5 s.
    pub takeovers: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { channel_puts: 0, refused_puts: 6000, refused_uaids: 1000, takeovers: 5 }
    }
}

/// The timers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// From the opening of a connection to a valid `hello`. Default 30 s (R-WS-13).
    pub hello_timeout: Duration,
    /// From the first byte of a message to its last. Default 30 s (§19.4).
    pub message_timeout: Duration,
    /// The least gap between two pings of a client. Default 20 s; zero allows any (R-PING-3).
    pub ping_gap_min: Duration,
    /// Silence of a client after which it is sent a WebSocket PING. Default 300 s; zero never.
    pub probe_after: Duration,
    /// How long the answer to that PING may take. Default 30 s.
    pub probe_timeout: Duration,
    /// After which an unacknowledged version is sent again. Default 60 s; zero never (R-DEL-7).
    pub resend_interval: Duration,
    /// Rounds of sending again without any `ack` before the connection is closed. Default 10
    /// (R-DEL-8).
    pub resend_rounds_max: u32,
    /// How long a write may make no progress. Default 60 s.
    pub write_timeout: Duration,
    /// How long a closing handshake may take. Default 5 s.
    pub close_timeout: Duration,
    /// How long the body of a PUT may take. Default 10 s.
    pub body_timeout: Duration,
    /// Absence after which a UserAgent is forgotten. Default 30 days (R-GC-1).
    pub forget_after: Duration,
    /// How often the store is told that a UserAgent is still there. Default 1 day. A UserAgent is
    /// kept this much longer than `forget_after`, so that connecting need not write.
    pub touch_interval: Duration,
    /// How finely the timers of connections are told apart. Default 250 ms.
    pub tick: Duration,
    /// Over how long the closes are spread when the server drains. Default 2 s (R-OPS-4).
    pub drain_spread: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            hello_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(30),
            ping_gap_min: Duration::from_secs(20),
            probe_after: Duration::from_secs(300),
            probe_timeout: Duration::from_secs(30),
            resend_interval: Duration::from_secs(60),
            resend_rounds_max: 10,
            write_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            forget_after: DAY * 30,
            touch_interval: DAY,
            tick: Duration::from_millis(250),
            drain_spread: Duration::from_secs(2),
        }
    }
}

/// What `hello` does with registered channels that the UserAgent did not list (R-SYNC-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExtraChannels {
    /// Deletes them if the list names any channel; an empty list deletes nothing.
    #[default]
    PruneIfListed,
    /// Keeps them.
    Keep,
    /// Deletes them, all of them if the list is empty.
    Prune,
}

/// What `hello` does if the UserAgent lists channels that are not registered (R-SYNC-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingChannels {
    /// Drops the UAID with all its channels and gives a new one.
    #[default]
    Reset,
    /// Ignores them, as pushgo does; updates accepted for them stay lost.
    Ignore,
}

/// Which of several versions of a channel stays (R-VER-6, R-VER-7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionPolicy {
    /// The greatest while one is pending; when nothing is pending, whatever comes.
    #[default]
    Greatest,
    /// The greatest ever: what is not greater is accepted and ignored, as AeroGear does.
    Strict,
    /// The last that arrived, as pushgo does. A late PUT can then hide a newer version, so the
    /// guarantee of S3 does not hold: for comparison only.
    Last,
}

/// Whether a WebSocket client must offer the subprotocol `push-notification` (R-WS-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subprotocol {
    /// It is selected if it is offered.
    #[default]
    Optional,
    /// A client that does not offer it is answered 400.
    Required,
}

/// What tells an application server whether the UserAgent is connected (§12.3, §19.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// 200 if it is connected, 202 if not.
    #[default]
    Shown,
    /// 200 always.
    Hidden,
}

/// Whether pages of other origins may PUT (R-HTTP-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cors {
    /// No such header is sent.
    #[default]
    Off,
    /// Every origin may.
    AnyOrigin,
}

/// Whether other processes use the same store (§15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gateways {
    /// This process is alone.
    #[default]
    One,
    /// PUTs may arrive at another process than the one that a UserAgent is connected to: the hints of
    /// the store are followed, which costs a read for each change.
    Several,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_base_is_a_url() {
        // Rule: simplepush R-EP-1 — the base may include a path prefix
        assert_eq!(
            EndpointBase::new("https://push.example.net/a/").unwrap().as_str(),
            "https://push.example.net/a"
        );
        for bad in [
            "",
            "push.example.net",
            "ftp://x",
            "https://",
            "http:///x",
            "http://x?y",
            "http://\"",
            "http://x y",
        ] {
            assert_eq!(EndpointBase::new(bad), Err(EndpointBaseError), "{bad}");
        }
    }

    #[test]
    fn a_redirect_is_a_websocket() {
        let url = "wss://push2.example.net/";
        assert_eq!(RedirectUrl::new(url).unwrap().as_str(), url);
        for bad in ["", "https://push2.example.net/", "wss://", "wss://x/\"", "ws:///x"] {
            assert_eq!(RedirectUrl::new(bad), Err(RedirectUrlError), "{bad}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_table() {
        // Rule: simplepush §16 — limits and defaults
        let (limits, timing) = (Limits::default(), Timing::default());
        assert_eq!(limits.channels_max, 1000);
        assert_eq!(limits.data_bytes_max, 4096);
        assert_eq!(limits.body_bytes_max, 16 * 1024);
        assert_eq!(limits.message_bytes_max, 131_072);
        assert_eq!(limits.updates_max, 200);
        assert_eq!(timing.hello_timeout, Duration::from_secs(30));
        assert_eq!(timing.ping_gap_min, Duration::from_secs(20));
        assert_eq!(timing.resend_interval, Duration::from_secs(60));
        assert_eq!(timing.forget_after, Duration::from_secs(30 * 86_400));
    }
}
