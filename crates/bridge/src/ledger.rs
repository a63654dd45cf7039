//! What is stored of routes.
//!
//! Descriptions are rows of the partition `routes`, by name. Each route has a partition of its own,
//! `route/NAME`: its position, the messages settled beyond it, its dead letters (see `letters`), what
//! became of delivered messages (see `trace`). Never here: when to store what; that is the core's.

use std::{sync::Arc, time::Duration};

use buswire_bus::StoredMessage;
use buswire_message::{Cursor, RouteName, Sequence, Timestamp};
use buswire_store::{
    Ack, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition, Row, Store,
    StoreError,
};
use bytes::Bytes;

use crate::{
    delivery::{Ended, Record},
    error::RouteError,
    letters::{self, DeadLetter},
    route::{Route, WrittenRoute},
    trace,
};

const POSITION: &[u8] = b"position";
const AHEAD: &[u8] = b"a/";
/// How many rows are read or removed at once.
pub(crate) const PAGE: usize = 1000;

/// Where a stored route goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) position: Option<Cursor>,
    pub(crate) ahead: Vec<Sequence>,
}

/// The stored side of routes.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    store: Arc<dyn Store>,
    dead_kept: Duration,
    dead_max: usize,
}

impl Ledger {
    /// Over `store`; dead letters are kept for `dead_kept`, at most `dead_max` of each route.
    pub(crate) const fn new(store: Arc<dyn Store>, dead_kept: Duration, dead_max: usize) -> Self {
        Self { store, dead_kept, dead_max }
    }

    /// Every stored route.
    pub(crate) async fn routes(&self, now: Timestamp) -> Result<Vec<Route>, RouteError> {
        let rows = self.rows(&routes_partition()?, KeyRange::all(), now).await?;
        rows.iter().map(|(key, row)| read_route(key, row)).collect()
    }

    /// Stores a new route; `false` if there is one of its name.
    pub(crate) async fn create(&self, route: &Route, now: Timestamp) -> Result<bool, RouteError> {
        let key = key(route.name.as_str().as_bytes())?;
        if self.store.get(&routes_partition()?, &key, now).await?.is_some() {
            return Ok(false);
        }
        // What an earlier route of this name left behind is not this one's.
        self.purge(&route.name, now).await?;
        let batch = Batch::new(routes_partition()?)
            .expect(Expectation::Absent(key.clone()))
            .then(Operation::Put { key, value: written(route)?, expires: None });
        match self.store.commit(batch, Ack::Safe, now).await? {
            Outcome::Committed(_) => Ok(true),
            Outcome::Conflict(_) => Ok(false),
        }
    }

    /// Stores a changed route.
    pub(crate) async fn update(&self, route: &Route, now: Timestamp) -> Result<(), RouteError> {
        let key = key(route.name.as_str().as_bytes())?;
        let put = Operation::Put { key, value: written(route)?, expires: None };
        self.store.commit(Batch::new(routes_partition()?).then(put), Ack::Safe, now).await?;
        Ok(())
    }

    /// Removes a route and everything that is stored of it.
    pub(crate) async fn delete(&self, name: &RouteName, now: Timestamp) -> Result<(), RouteError> {
        let delete = Operation::Delete { key: key(name.as_str().as_bytes())? };
        self.store.commit(Batch::new(routes_partition()?).then(delete), Ack::Safe, now).await?;
        self.purge(name, now).await
    }

    async fn purge(&self, name: &RouteName, now: Timestamp) -> Result<(), RouteError> {
        let partition = route_partition(name)?;
        loop {
            let page = self
                .store
                .scan(&partition, KeyRange::all(), PAGE, Direction::Ascending, now)
                .await?;
            if page.rows.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new(partition.clone());
            batch
                .operations
                .extend(page.rows.into_iter().map(|(key, _)| Operation::Delete { key }));
            self.store.commit(batch, Ack::Safe, now).await?;
        }
    }

    /// Where `name` goes on.
    pub(crate) async fn progress(
        &self,
        name: &RouteName,
        now: Timestamp,
    ) -> Result<Progress, RouteError> {
        let partition = route_partition(name)?;
        let damaged = || RouteError::Damaged(name.to_string());
        let position = match self.store.get(&partition, &key(POSITION)?, now).await? {
            None => None,
            Some(row) => {
                let number = row.value.as_version().ok_or_else(damaged)?;
                Some(Cursor::After(Sequence::from_u64(number).ok_or_else(damaged)?))
            }
        };
        let rows = self.rows(&partition, KeyRange::prefix(AHEAD), now).await?;
        let ahead = rows
            .iter()
            .map(|(key, _)| sequence_of(key, AHEAD).ok_or_else(damaged))
            .collect::<Result<_, _>>()?;
        Ok(Progress { position, ahead })
    }

    /// Stores what the core wants stored, all or nothing.
    pub(crate) async fn record(
        &self,
        name: &RouteName,
        record: &Record<Arc<StoredMessage>>,
        now: Timestamp,
    ) -> Result<(), RouteError> {
        let mut batch = Batch::new(route_partition(name)?);
        if let Some(position) = record.position.after() {
            let version = position.as_u64();
            let raise = Operation::Raise { key: key(POSITION)?, version, expires: None };
            batch.operations.push(raise);
        }
        for sequence in &record.ahead {
            let key = sequence_key(AHEAD, *sequence)?;
            batch.operations.push(Operation::Put { key, value: Bytes::new(), expires: None });
        }
        for sequence in &record.passed {
            batch.operations.push(Operation::Delete { key: sequence_key(AHEAD, *sequence)? });
        }
        for dead in &record.dead {
            batch.operations.push(letters::put(&letter(dead))?);
        }
        for delivered in &record.delivered {
            let Ended { message, attempts, failures, at, .. } = delivered;
            batch.operations.push(trace::put(message, *attempts, failures, *at)?);
        }
        self.store.commit(batch, Ack::Safe, now).await?;
        Ok(())
    }

    pub(crate) const fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) const fn dead_max(&self) -> usize {
        self.dead_max
    }

    pub(crate) const fn dead_kept(&self) -> Duration {
        self.dead_kept
    }

    pub(crate) async fn rows(
        &self,
        partition: &Partition,
        mut range: KeyRange,
        now: Timestamp,
    ) -> Result<Vec<(Key, Row)>, StoreError> {
        let mut rows = Vec::new();
        loop {
            let page =
                self.store.scan(partition, range.clone(), PAGE, Direction::Ascending, now).await?;
            rows.extend(page.rows);
            match rows.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => return Ok(rows),
            }
        }
    }
}

fn letter(dead: &Ended<Arc<StoredMessage>>) -> DeadLetter {
    DeadLetter {
        message: (**dead.message).clone(),
        attempts: dead.attempts,
        failures: dead.failures.clone(),
        given_up_at: dead.at,
    }
}

fn written(route: &Route) -> Result<Bytes, RouteError> {
    serde_json::to_vec(&route.to_written())
        .map(Bytes::from)
        .map_err(|_| RouteError::Damaged(route.name.to_string()))
}

fn read_route(key: &Key, row: &Row) -> Result<Route, RouteError> {
    let damaged = || RouteError::Damaged(String::from_utf8_lossy(key.as_bytes()).into_owned());
    let bytes = row.value.as_bytes().ok_or_else(damaged)?;
    let written: WrittenRoute = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    Route::from_written(&written).map_err(|_| damaged())
}

fn routes_partition() -> Result<Partition, RouteError> {
    Partition::new("routes").map_err(|error| RouteError::Damaged(error.to_string()))
}

pub(crate) fn route_partition(name: &RouteName) -> Result<Partition, RouteError> {
    Partition::new(&format!("route/{name}")).map_err(|error| RouteError::Damaged(error.to_string()))
}

fn key(bytes: &[u8]) -> Result<Key, RouteError> {
    Key::new(bytes.to_vec()).map_err(|error| RouteError::Damaged(error.to_string()))
}

pub(crate) fn sequence_key(prefix: &[u8], sequence: Sequence) -> Result<Key, RouteError> {
    key(&[prefix, &sequence.as_u64().to_be_bytes()].concat())
}

pub(crate) fn sequence_of(key: &Key, prefix: &[u8]) -> Option<Sequence> {
    let number = key.as_bytes().strip_prefix(prefix)?.try_into().ok()?;
    Sequence::from_u64(u64::from_be_bytes(number))
}
