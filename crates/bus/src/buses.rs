//! The handle of the buses, and their administration.
//!
//! Never here: messages.

use std::{fmt, sync::Arc};

use buswire_message::{BusName, Clock, Realm, Retention, Timestamp};
use buswire_store::{
    Ack, Batch, Direction, Expectation, KeyRange, Operation, Outcome, Revision, Row, Store,
    StoreError,
};

use crate::{
    config::BusConfig,
    error::BusError,
    settings::{BusInfo, Created, Settings},
    state::{Shared, read_settings, settings_key},
};

/// How often a change that met another one is tried.
const TRIES: usize = 8;
/// How many rows of settings are read at once.
const ROWS: usize = 500;

/// The buses of a store: publish, read, wait, subscribe, administer.
///
/// Cheap to clone; every clone is the same. One for each process and store: it keeps the live
/// messages of the buses in use in memory. Its owner spawns [`run`](Self::run), without which no
/// wait ends at its deadline.
#[derive(Clone)]
pub struct Buses {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Buses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Buses").field(&self.shared).finish()
    }
}

impl Buses {
    /// Opens the buses of `store`. Reads one row, to find out whether the store answers; messages
    /// are read when a bus is first used.
    ///
    /// # Errors
    ///
    /// [`BusError::Store`] if the store or the operating system's randomness does not answer.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config: BusConfig,
    ) -> Result<Self, BusError> {
        let first_token = getrandom::u64().map_err(|error| {
            BusError::Store(StoreError::Unavailable(format!("no randomness: {error}")))
        })?;
        let shared = Shared::new(store, clock, config, first_token)?;
        let (range, order) = (KeyRange::all(), Direction::Ascending);
        shared.store.scan(&shared.settings, range, 1, order, shared.now()).await?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Creates the bus `name`; one that exists keeps its settings.
    ///
    /// # Errors
    ///
    /// [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the bus is created or not; asking again tells.
    pub async fn create(&self, name: &BusName, retention: Retention) -> Result<Created, BusError> {
        let now = self.shared.now();
        let key = settings_key(name)?;
        let value = Settings { created_at: now, retention }.encode();
        let batch = Batch::new(self.shared.settings.clone())
            .expect(Expectation::Absent(key.clone()))
            .then(Operation::Put { key, value, expires: None });
        match self.shared.store.commit(batch, Ack::Safe, now).await? {
            Outcome::Committed(_) => Ok(Created::New),
            Outcome::Conflict(_) => Ok(Created::Existed),
        }
    }

    /// Changes how long the bus `name` keeps messages, if it has the revision `expected`; `None` is any.
    /// Messages that it has keep their expiry.
    ///
    /// # Errors
    ///
    /// [`BusError::UnknownBus`], [`BusError::Changed`], [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the change is made or not.
    pub async fn update(
        &self,
        name: &BusName,
        retention: Retention,
        expected: Option<Revision>,
    ) -> Result<(), BusError> {
        let changed = self.change(name, expected, |key, settings| Operation::Put {
            key,
            value: Settings { retention, ..settings }.encode(),
            expires: None,
        });
        if changed.await? { Ok(()) } else { Err(BusError::UnknownBus(name.clone())) }
    }

    /// Deletes the bus `name`, if it has the revision `expected`; `None` is any. Whether it was there.
    /// Nothing can be published on it any more; its messages stay until they expire (Backplane §6.8).
    ///
    /// # Errors
    ///
    /// [`BusError::Changed`], [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the bus is deleted or not.
    pub async fn delete(
        &self,
        name: &BusName,
        expected: Option<Revision>,
    ) -> Result<bool, BusError> {
        self.change(name, expected, |key, _| Operation::Delete { key }).await
    }

    /// Replaces the row of `name` by what `make` says; `false` if there is none.
    async fn change(
        &self,
        name: &BusName,
        expected: Option<Revision>,
        make: impl Fn(buswire_store::Key, Settings) -> Operation,
    ) -> Result<bool, BusError> {
        let shared = &self.shared;
        let key = settings_key(name)?;
        for _ in 0..TRIES {
            let Some(row) = self.row(name).await? else { return Ok(false) };
            if expected.is_some_and(|expected| expected != row.revision) {
                return Err(BusError::Changed(name.clone()));
            }
            let settings = read_settings(name, row.value.as_bytes())?;
            let batch = Batch::new(shared.settings.clone())
                .expect(Expectation::Unchanged(key.clone(), row.revision))
                .then(make(key.clone(), settings));
            let outcome = shared.store.commit(batch, Ack::Safe, shared.now()).await;
            // Whatever became of it: the row may be another one.
            if let Some(bus) = shared.loaded(name) {
                bus.lock().forget_settings();
            }
            if matches!(outcome?, Outcome::Committed(_)) {
                return Ok(true);
            }
        }
        Err(BusError::Store(StoreError::Retry(format!("the settings of bus {name} keep changing"))))
    }

    async fn row(&self, name: &BusName) -> Result<Option<Row>, BusError> {
        let shared = &self.shared;
        Ok(shared.store.get(&shared.settings, &settings_key(name)?, shared.now()).await?)
    }

    /// The bus `name` with its counts; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn get(&self, name: &BusName) -> Result<Option<BusInfo>, BusError> {
        match self.row(name).await? {
            Some(row) => {
                let settings = read_settings(name, row.value.as_bytes())?;
                Ok(Some(self.info(name.clone(), settings, row.revision).await?))
            }
            None => Ok(None),
        }
    }

    /// When the bus `name` was created; `None` if it does not exist. Tells a bus from another one
    /// that had its name before.
    ///
    /// # Errors
    ///
    /// [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn created_at(&self, name: &BusName) -> Result<Option<Timestamp>, BusError> {
        let Some(row) = self.row(name).await? else { return Ok(None) };
        Ok(Some(read_settings(name, row.value.as_bytes())?.created_at))
    }

    /// Every bus, of one realm if that is given, in the order of their qualified names. Reads the
    /// messages of buses that nobody used before, for their counts.
    ///
    /// # Errors
    ///
    /// [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn list(&self, realm: Option<Realm>) -> Result<Vec<BusInfo>, BusError> {
        let shared = &self.shared;
        let mut range = realm.map_or_else(KeyRange::all, |realm| {
            KeyRange::prefix(format!("{}/", realm.as_str()).as_bytes())
        });
        let mut infos = Vec::new();
        loop {
            let order = Direction::Ascending;
            let now = shared.now();
            let page = shared.store.scan(&shared.settings, range.clone(), ROWS, order, now).await?;
            let last = page.rows.last().map(|(key, _)| key.clone());
            for (key, row) in page.rows {
                let name = std::str::from_utf8(key.as_bytes()).ok().and_then(|n| n.parse().ok());
                let name: BusName = name.ok_or_else(|| {
                    BusError::Store(StoreError::Corrupt("a bus has an impossible name".into()))
                })?;
                let settings = read_settings(&name, row.value.as_bytes())?;
                infos.push(self.info(name, settings, row.revision).await?);
            }
            match last {
                Some(last) if page.more => range = range.after(&last),
                _ => return Ok(infos),
            }
        }
    }

    async fn info(
        &self,
        name: BusName,
        settings: Settings,
        revision: Revision,
    ) -> Result<BusInfo, BusError> {
        let bus = self.shared.fresh(&name).await?;
        let live = {
            let mut core = bus.lock();
            core.window.set_time(self.shared.now());
            core.window.live()
        };
        let Settings { created_at, retention } = settings;
        Ok(BusInfo {
            name,
            retention,
            created_at,
            messages: live.messages,
            channels: live.channels,
            revision,
        })
    }
}
