//! What can be set of the relay, and every bound with its reason.
//!
//! Never here: reading a configuration; that is the program's.

use std::time::Duration;

/// What a [`Relay`](crate::Relay) is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Connections at once, about 10 KiB each when idle. Default 10,000. One more is refused 503.
    pub connections_max: usize,
    /// Connections at once from one address. Default 1000: whole offices share one. One more is
    /// refused 429.
    pub address_connections_max: usize,
    /// Temporary ids that one address may claim in a minute, since each is remembered on disk for a
    /// week; 0 is any number. Default 100. One more is refused 429.
    pub claims_per_minute: u32,
    /// Temporary ids that all addresses together may claim in a minute; 0 is any number. Default 600,
    /// which is six million remembered ids at most. One more is refused 429.
    pub all_claims_per_minute: u32,
    /// Instance ids of one connection: a page may have many routes. Default 64 (Belay §22.4). One
    /// more is refused 429.
    pub ids_max: usize,
    /// Instance ids altogether, about 300 bytes each, those within their grace included. Default
    /// 100,000. One more is refused 503.
    pub instances_max: usize,
    /// Calls of one connection that wait for their answer, and calls that wait for an answer of one
    /// connection (Belay §9). Default 256. One more fails 429. A caller has at most as many at one
    /// connection as are left for others: alone half of them, with one other a third.
    pub pending_max: usize,
    /// Calls of the gateway itself that wait. Default 1024. One more fails 429.
    pub own_pending_max: usize,
    /// How long a call may take (Belay §10.2). Default 30 s. It then fails 504.
    pub call_timeout: Duration,
    /// The longest message, in bytes. Default 1 MiB (Belay §22.4). A longer one closes the
    /// connection.
    pub message_bytes_max: usize,
    /// Bytes that may wait for one connection to take them. Default 4 MiB, four of the longest
    /// messages. Who does not read is closed at it.
    pub queued_bytes_max: usize,
    /// Bytes that may wait for all connections together. Default 256 MiB. At it calls fail 429.
    pub queued_bytes_all_max: usize,
    /// Bytes of the sockets' buffers together: each keeps what its longest messages in and out took.
    /// Default 512 MiB. At it the connection that holds most is closed, and may come back.
    pub buffered_bytes_max: usize,
    /// Tokens that a connection gets in a second. A message takes one for each 16 KiB that it
    /// begins. Default 200.
    pub tokens_per_second: u32,
    /// Tokens that a connection has at most. Default 1000, so that a page may begin with a burst.
    /// Without any it is answered 429; who overdraws by as many is closed.
    pub tokens_max: u32,
    /// Silence after which a `ping` is sent, and again after which the connection is closed. Default
    /// 30 s (Belay §9).
    pub silence: Duration,
    /// How long one message may take to be written. Default 30 s; then the connection is closed.
    pub write_timeout: Duration,
    /// How long an id stays its owner's who is disconnected. Default 60 s (Belay §22.4).
    pub grace: Duration,
    /// How long a temporary id that is given up can't be claimed. Default 7 days, the least that
    /// Belay §22.4 allows.
    pub retirement: Duration,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            address_connections_max: 1000,
            claims_per_minute: 100,
            all_claims_per_minute: 600,
            ids_max: 64,
            instances_max: 100_000,
            pending_max: 256,
            own_pending_max: 1024,
            call_timeout: Duration::from_secs(30),
            message_bytes_max: 1024 * 1024,
            queued_bytes_max: 4 * 1024 * 1024,
            queued_bytes_all_max: 256 * 1024 * 1024,
            buffered_bytes_max: 512 * 1024 * 1024,
            tokens_per_second: 200,
            tokens_max: 1000,
            silence: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(60),
            retirement: Duration::from_secs(7 * 86_400),
        }
    }
}
