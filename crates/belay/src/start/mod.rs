//! Start records: what one window leaves for another that is being opened (Belay §22.5).
//!
//! A record holds capabilities, so it is in memory only, by the hash of its start id, for a minute,
//! and is given out once. Gateways do not share them. Never here: what a record says; a log of one.

mod http;
mod mailbox;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buswire_message::{Clock, Entropy, Limiter};

use self::mailbox::Mailbox;
use crate::WireLimits;

/// What [`StartRecords`] are set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartConfig {
    /// How long a record waits. Default 60 s (Belay §22.5).
    pub lifetime: Duration,
    /// The longest record, in bytes. Default 64 KiB. A longer one is refused 413.
    pub record_bytes_max: usize,
    /// Records that wait at once, about 300 bytes each beside their content. Default 10,000. One more
    /// is refused 503.
    pub records_max: usize,
    /// Bytes of all records that wait. Default 64 MiB. More are refused 503.
    pub bytes_max: usize,
    /// Records that one address may leave in a minute; 0 is any number. Default 300. One more is
    /// refused 429.
    pub per_minute: u32,
    /// Bounds of their bcapJson.
    pub wire: WireLimits,
}

impl Default for StartConfig {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(60),
            record_bytes_max: 64 * 1024,
            records_max: 10_000,
            bytes_max: 64 * 1024 * 1024,
            per_minute: 300,
            wire: WireLimits::default(),
        }
    }
}

/// The start records of one gateway. A cheap handle: clones share everything.
#[derive(Clone)]
pub struct StartRecords(Arc<Inner>);

struct Inner {
    config: StartConfig,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    mailbox: Mutex<Mailbox>,
    limit: Limiter<IpAddr>,
}

impl StartRecords {
    /// No records yet.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, config: StartConfig) -> Self {
        let limit = Limiter::new(config.per_minute, Duration::from_secs(60));
        Self(Arc::new(Inner { config, clock, entropy, mailbox: Mutex::default(), limit }))
    }
}

impl Inner {
    // Held for a few map operations. A panic in between leaves a record at most uncounted.
    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StartRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartRecords").field("config", &self.0.config).finish_non_exhaustive()
    }
}
