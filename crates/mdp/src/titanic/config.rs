//! Every bound and time of Titanic, with default, unit and reason. Never here: what they bound.

use std::time::Duration;

/// Bounds and times of [`Titanic`](super::Titanic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Requests and replies kept at once; default 100 000, about 30 MB of memory. One more is
    /// answered `500`.
    pub requests_max: usize,
    /// Bytes of all that is kept, replies on their way included; default 256 MiB. A request beyond
    /// it is answered `500`; at least twice `message_bytes_max`, or there is no room for any.
    pub bytes_max: usize,
    /// Bytes of one request or reply as stored; default 1 MiB. A longer request is answered `500`;
    /// for a longer reply `titanic.reply` answers `500`, and the request is not tried again.
    pub message_bytes_max: usize,
    /// How long a request is kept that nobody serves; default 7 days. Then its id is unknown.
    pub request_ttl: Duration,
    /// How long a reply is kept that nobody closes; default 7 days. Then its id is unknown.
    pub reply_ttl: Duration,
    /// How long one attempt may take; default 900 s, as long as the broker lets a worker be busy.
    /// The reply of a slower worker is lost, and the request is sent again.
    pub attempt_timeout: Duration,
    /// Attempts at once; default 64.
    pub in_flight_max: usize,
    /// Attempts at once at one service; default 16, so that one slow service leaves room for others.
    /// There are never more than two for each of its workers.
    pub service_in_flight_max: usize,
    /// The rest of a service after a failed attempt; default 1 s. It doubles up to `backoff_max`,
    /// each lengthened by up to a quarter at random.
    pub backoff: Duration,
    /// The longest rest of a service; default 60 s.
    pub backoff_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            requests_max: 100_000,
            bytes_max: 256 << 20,
            message_bytes_max: 1 << 20,
            request_ttl: 7 * DAY,
            reply_ttl: 7 * DAY,
            attempt_timeout: Duration::from_secs(900),
            in_flight_max: 64,
            service_in_flight_max: 16,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}
