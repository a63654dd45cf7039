//! What all handles of the buses share, and how a window follows its log.
//!
//! Never here: the rules of publishing and reading.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use buswire_message::{BusName, Clock, Timestamp, Tracer};
use buswire_store::{Key, LogName, Partition, Position, Store, StoreError, StoreNameError};
use tokio::sync::Notify;

use crate::{
    config::{BusConfig, BusLimits},
    core::{Begun, BusCore},
    error::BusError,
    published::Published,
    settings::Settings,
    wait::{WaitingRoom, wake},
};

/// How many entries of a log are read at once.
const PAGE: usize = 1024;

/// Held by the reader that asks the store which logs grew, this bus being the first of those that it must
/// know of: many readers of the same buses ask once, and those that waited share a failure.
#[derive(Default)]
pub(crate) struct Asking {
    /// Why the last one failed that did.
    failure: tokio::sync::Mutex<Option<BusError>>,
    /// How many failed.
    failures: AtomicU64,
}

impl Asking {
    /// Runs `ask` after those who are at it; fails as the one did that failed meanwhile. Safe to drop:
    /// the next one asks.
    pub(crate) async fn one_by_one(
        &self,
        ask: impl Future<Output = Result<(), BusError>>,
    ) -> Result<(), BusError> {
        let before = self.failures.load(Ordering::Acquire);
        let mut failure = self.failure.lock().await;
        if self.failures.load(Ordering::Acquire) != before
            && let Some(error) = &*failure
        {
            return Err(error.clone());
        }
        let asked = ask.await;
        if let Err(error) = &asked {
            *failure = Some(error.clone());
            self.failures.fetch_add(1, Ordering::Release);
        }
        asked
    }
}

/// One bus in memory.
pub(crate) struct Bus {
    pub(crate) name: BusName,
    pub(crate) partition: Partition,
    core: Mutex<BusCore>,
    /// Told when a read of the log is over, however it ended.
    read_over: Notify,
    pub(crate) asking: Asking,
    pub(crate) published: Published,
}

impl Bus {
    fn new(name: BusName) -> Result<Self, BusError> {
        let partition =
            Partition::new(&format!("{BUS_PREFIX}{}", name.qualified())).map_err(unusable_name)?;
        let core = Mutex::new(BusCore::new(name.clone()));
        let published = Published::default();
        let (read_over, asking) = (Notify::new(), Asking::default());
        Ok(Self { name, partition, core, read_over, asking, published })
    }

    // A std mutex: every section is short and none awaits.
    pub(crate) fn lock(&self) -> MutexGuard<'_, BusCore> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the partition of a bus begins with.
pub(crate) const BUS_PREFIX: &str = "bus/";
/// The partition of the settings of all buses.
pub(crate) const SETTINGS: &str = "buses";

/// The bounds of bus names are narrower than those of the store's, so that this never happens.
fn unusable_name(error: StoreNameError) -> BusError {
    BusError::Store(StoreError::Corrupt(error.to_string()))
}

/// What all handles of the buses share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pub(crate) limits: BusLimits,
    pub(crate) message_url_prefix: Arc<str>,
    /// Whether other processes publish on the same buses.
    pub(crate) has_others: bool,
    pub(crate) room: Arc<WaitingRoom>,
    pub(crate) settings: Partition,
    log: LogName,
    buses: Mutex<HashMap<BusName, Arc<Bus>>>,
    tokens: AtomicU64,
    pub(crate) tracer: Option<Tracer>,
    pub(crate) published: Published,
}

impl fmt::Debug for Shared {
    /// Shows no message: channel names may open a channel.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config: BusConfig,
        first_token: u64,
    ) -> Result<Self, BusError> {
        let BusConfig { message_url_prefix, limits, tracer } = config;
        let limits = limits.clamped();
        Ok(Self {
            has_others: store.status().is_shared,
            store,
            clock,
            room: Arc::new(WaitingRoom::new(limits.waiters_max)),
            limits,
            message_url_prefix,
            settings: Partition::new(SETTINGS).map_err(unusable_name)?,
            log: LogName::new("messages").map_err(unusable_name)?,
            buses: Mutex::new(HashMap::new()),
            tokens: AtomicU64::new(first_token),
            tracer,
            published: Published::default(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn token(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BusName, Arc<Bus>>> {
        self.buses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bus `name` in memory, its window not read yet if nobody used it before.
    pub(crate) fn bus(&self, name: &BusName) -> Result<Arc<Bus>, BusError> {
        let mut buses = self.lock();
        if let Some(bus) = buses.get(name) {
            return Ok(Arc::clone(bus));
        }
        if buses.len() >= self.limits.windows_max {
            buses.retain(|_, bus| is_used(bus));
        }
        let bus = Arc::new(Bus::new(name.clone())?);
        buses.insert(name.clone(), Arc::clone(&bus));
        Ok(bus)
    }

    /// The bus `name` if it is in memory.
    pub(crate) fn loaded(&self, name: &BusName) -> Option<Arc<Bus>> {
        self.lock().get(name).cloned()
    }

    /// Every bus in memory, in order.
    pub(crate) fn all_loaded(&self) -> Vec<Arc<Bus>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Drops the windows that hold nothing and that nobody uses.
    pub(crate) fn drop_empty(&self) {
        self.lock().retain(|_, bus| is_used(bus) || !bus.lock().window.is_empty());
    }

    /// The bus `name`, its window as the log is.
    pub(crate) async fn fresh(&self, name: &BusName) -> Result<Arc<Bus>, BusError> {
        let bus = self.bus(name)?;
        let ticket = {
            let core = bus.lock();
            (!core.is_fresh()).then(|| core.stale_ticket())
        };
        if let Some(ticket) = ticket {
            self.catch_up(&bus, ticket, None).await?;
        }
        Ok(bus)
    }

    /// Reads the log until `ticket` is served, or the window reaches `through`. Many callers share
    /// one read.
    ///
    /// Cancel safe: another caller goes on where this one stopped.
    pub(crate) async fn catch_up(
        &self,
        bus: &Bus,
        ticket: u64,
        through: Option<Position>,
    ) -> Result<(), BusError> {
        loop {
            // Made before the look at the core: whatever ends after the look is noticed.
            let read_over = bus.read_over.notified();
            let begun = {
                let mut core = bus.lock();
                let reached = through.is_some_and(|to| core.end().is_some_and(|end| end >= to));
                if reached || core.has_served(ticket) {
                    return Ok(());
                }
                core.begin_read()
            };
            match begun {
                Begun::After(after) => self.read_on(bus, after).await?,
                Begun::Busy => read_over.await,
            }
        }
    }

    async fn read_on(&self, bus: &Bus, mut after: Option<Position>) -> Result<(), BusError> {
        // Asked for a time before everything, the store leaves out nothing that it still has: what
        // has expired may be live again when the clock steps back.
        let now = Timestamp::EPOCH;
        let mut reading = Reading { bus, is_open: true };
        while reading.is_open {
            let page = self.store.read_log(&bus.partition, &self.log, after, PAGE, now).await?;
            let (more, gap) = (page.more, page.gap);
            let added = {
                let mut core = bus.lock();
                let added = core.apply(page);
                after = core.end();
                added
            };
            reading.is_open = more;
            let wakers = {
                let mut waiting = self.room.lock();
                if gap { waiting.wake_all(&bus.name) } else { waiting.wake(&bus.name, &added) }
            };
            wake(wakers);
            if more {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// The settings of `bus`; `None` if it does not exist.
    pub(crate) async fn settings_of(&self, bus: &Bus) -> Result<Option<Settings>, BusError> {
        let (kept, changes) = bus.lock().settings();
        if kept.is_some() {
            return Ok(kept);
        }
        let key = settings_key(&bus.name)?;
        let row = self.store.get(&self.settings, &key, self.now()).await?;
        let Some(row) = row else { return Ok(None) };
        let settings = read_settings(&bus.name, row.value.as_bytes())?;
        bus.lock().keep_settings(changes, settings);
        Ok(Some(settings))
    }

    pub(crate) const fn log(&self) -> &LogName {
        &self.log
    }
}

/// The key of the row of settings of `name`.
pub(crate) fn settings_key(name: &BusName) -> Result<Key, BusError> {
    Key::new(name.qualified().into_bytes()).map_err(unusable_name)
}

/// Reads a row of settings.
pub(crate) fn read_settings(
    name: &BusName,
    row: Option<&bytes::Bytes>,
) -> Result<Settings, BusError> {
    row.and_then(|row| Settings::decode(row)).ok_or_else(|| {
        BusError::Store(StoreError::Corrupt(format!("the settings of bus {name} can't be read")))
    })
}

/// Whether somebody beside the map holds `bus`, or its ledger must not be lost.
fn is_used(bus: &Arc<Bus>) -> bool {
    Arc::strong_count(bus) > 1 || !bus.lock().is_idle()
}

/// A read of the log under way; if it is dropped before its end, another may begin.
struct Reading<'a> {
    bus: &'a Bus,
    is_open: bool,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.bus.lock().abandon_read();
        }
        self.bus.read_over.notify_waiters();
    }
}
