//! Start records: what one window leaves for another that is being opened (Belay §22.5).
//!
//! A record holds capabilities. It waits for a minute under the hash of its start id and is given out once:
//! in memory only at a gateway that is alone; in the store where gateways share one, sealed so that only the
//! start id opens it. Never here: what a record says; a log of one.

mod http;
mod mailbox;
mod stored;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buswire_message::{Clock, Entropy, Limiter, Secret, SecretHash};
use buswire_store::Store;

use self::{
    mailbox::{Mailbox, NotTaken, Record},
    stored::Stored,
};
use crate::{BcapError, WireLimits};

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
    /// The records; where they are in a store, those that this gateway has left there and not taken.
    mailbox: Mutex<Mailbox>,
    stored: Option<Stored>,
    limit: Limiter<IpAddr>,
}

impl StartRecords {
    /// No records yet.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, config: StartConfig) -> Self {
        let limit = Limiter::new(config.per_minute, Duration::from_secs(60));
        let mailbox = Mutex::default();
        Self(Arc::new(Inner { config, clock, entropy, mailbox, stored: None, limit }))
    }

    /// The same where several gateways share `store`: a record that was left at one is taken at any,
    /// once. Bounds are those of each gateway.
    pub fn shared(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: StartConfig,
    ) -> Self {
        let limit = Limiter::new(config.per_minute, Duration::from_secs(60));
        let (mailbox, stored) = (Mutex::default(), Some(Stored::new(store)));
        Self(Arc::new(Inner { config, clock, entropy, mailbox, stored, limit }))
    }
}

impl Inner {
    // Held for a few map operations. A panic in between leaves a record at most uncounted.
    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a record under a new id.
    async fn leave(&self, id: &Secret<String>, record: Record) -> Result<(), BcapError> {
        let (now, hash) = (self.clock.now(), SecretHash::of(id.expose()));
        let full = |_| BcapError::unavailable();
        let Some(stored) = &self.stored else {
            return self.mailbox().put(&self.config, now, hash, record).map_err(full);
        };
        self.mailbox().count(&self.config, now, hash, &record).map_err(full)?;
        let put = stored.put(now, id, &record, self.config.lifetime).await;
        put.map_err(|error| {
            // If it is there all the same, nobody has its id.
            self.mailbox().forget(hash);
            tracing::warn!(%error, "a start record could not be stored");
            BcapError::unavailable()
        })
    }

    /// Takes a record for a page of `origin`.
    async fn take(
        &self,
        id: &Secret<String>,
        origin: Option<&str>,
    ) -> Result<Secret<String>, BcapError> {
        let now = self.clock.now();
        let taken = match &self.stored {
            None => self.mailbox().take(now, SecretHash::of(id.expose()), origin),
            Some(stored) => {
                let taken = stored.take(now, id, origin, self.config.lifetime).await;
                let taken = taken.map_err(|error| {
                    tracing::warn!(%error, "a start record could not be taken");
                    BcapError::unavailable()
                })?;
                if taken.is_ok() {
                    self.mailbox().forget(SecretHash::of(id.expose()));
                }
                taken
            }
        };
        taken.map_err(|why| match why {
            NotTaken::Unknown => BcapError::NotFound,
            NotTaken::WrongOrigin => BcapError::Forbidden,
        })
    }
}

impl fmt::Debug for StartRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartRecords").field("config", &self.0.config).finish_non_exhaustive()
    }
}
