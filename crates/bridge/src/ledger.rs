//! What is stored of routes.
//!
//! Descriptions are rows of the partition `routes`, by name. Each route has a partition of its own,
//! `route/NAME`: its position, the messages settled beyond it, its dead letters (see `letters`), what
//! became of delivered messages (see `trace`), who runs it (see `owners`). Never here: when to store what; that is the core's.

use std::{sync::Arc, time::Duration};

use buswire_bus::StoredMessage;
use buswire_message::{Cursor, RouteName, Sequence, Timestamp};
use buswire_store::{
    Ack, Applied, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition,
    Revision, Row, Store, StoreError,
};
use bytes::Bytes;

use crate::{
    delivery::{Ended, Record},
    error::RouteError,
    letters::{self, DeadLetter},
    owners::Owned,
    route::{Route, WrittenRoute},
    trace,
};

/// The partition of descriptions.
pub(crate) const ROUTES: &str = "routes";

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

/// The description of a route as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredRoute {
    pub(crate) route: Route,
    /// Tells it from others that have had its name: random; 0 if it is older than this.
    pub(crate) created: u64,
    /// Changes with every change of the description.
    pub(crate) revision: Revision,
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

    /// Every stored route. One that is among `known` with its revision is not read again.
    pub(crate) async fn routes(
        &self,
        known: impl Fn(&[u8], Revision) -> Option<StoredRoute>,
        now: Timestamp,
    ) -> Result<Vec<Result<StoredRoute, RouteError>>, RouteError> {
        let rows = self.rows(&routes_partition()?, KeyRange::all(), now).await?;
        let read = |(key, row): &(Key, Row)| {
            known(key.as_bytes(), row.revision).map_or_else(|| read_route(key, row), Ok)
        };
        Ok(rows.iter().map(read).collect())
    }

    /// One stored route.
    pub(crate) async fn route(
        &self,
        name: &RouteName,
        now: Timestamp,
    ) -> Result<Option<StoredRoute>, RouteError> {
        let key = key(name.as_str().as_bytes())?;
        let row = self.store.get(&routes_partition()?, &key, now).await?;
        row.map(|row| read_route(&key, &row)).transpose()
    }

    /// Stores a new route; `None` if there is one of its name.
    pub(crate) async fn create(
        &self,
        route: Route,
        created: u64,
        now: Timestamp,
    ) -> Result<Option<StoredRoute>, RouteError> {
        let absent = Expectation::Absent(key(route.name.as_str().as_bytes())?);
        self.write(route, created, absent, now).await
    }

    /// Stores a changed route in place of the one that was read; `None` if that has changed since.
    pub(crate) async fn update(
        &self,
        route: Route,
        before: &StoredRoute,
        now: Timestamp,
    ) -> Result<Option<StoredRoute>, RouteError> {
        let key = key(route.name.as_str().as_bytes())?;
        let unchanged = Expectation::Unchanged(key, before.revision);
        self.write(route, before.created, unchanged, now).await
    }

    async fn write(
        &self,
        route: Route,
        created: u64,
        expected: Expectation,
        now: Timestamp,
    ) -> Result<Option<StoredRoute>, RouteError> {
        let damaged = || RouteError::Damaged(route.name.to_string());
        let written = WrittenRoute { created, ..route.to_written() };
        let value = serde_json::to_vec(&written).map_err(|_| damaged())?.into();
        let key = key(route.name.as_str().as_bytes())?;
        let put = Operation::Put { key, value, expires: None };
        let batch = Batch::new(routes_partition()?).expect(expected).then(put);
        match self.store.commit(batch, Ack::Safe, now).await? {
            Outcome::Conflict(_) => Ok(None),
            Outcome::Committed(applied) => match applied.first() {
                Some(Applied::Row(revision)) => {
                    Ok(Some(StoredRoute { route, created, revision: *revision }))
                }
                _ => Err(damaged()),
            },
        }
    }

    /// Removes the description of a route as it was read; `false` if that has changed since.
    pub(crate) async fn delete(
        &self,
        stored: &StoredRoute,
        now: Timestamp,
    ) -> Result<bool, RouteError> {
        let key = key(stored.route.name.as_str().as_bytes())?;
        let batch = Batch::new(routes_partition()?)
            .expect(Expectation::Unchanged(key.clone(), stored.revision))
            .then(Operation::Delete { key });
        let outcome = self.store.commit(batch, Ack::Safe, now).await?;
        Ok(matches!(outcome, Outcome::Committed(_)))
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

    /// Stores what the core wants stored, all or nothing; `false` if the route is not owned any more,
    /// and then nothing.
    pub(crate) async fn record(
        &self,
        owned: &Owned,
        record: &Record<Arc<StoredMessage>>,
        now: Timestamp,
    ) -> Result<bool, RouteError> {
        let mut batch = owned.batch()?;
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
        self.commit_if(batch, now).await
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

fn read_route(key: &Key, row: &Row) -> Result<StoredRoute, RouteError> {
    let damaged = || RouteError::Damaged(String::from_utf8_lossy(key.as_bytes()).into_owned());
    let bytes = row.value.as_bytes().ok_or_else(damaged)?;
    let written: WrittenRoute = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    let route = Route::from_written(&written).map_err(|_| damaged())?;
    Ok(StoredRoute { route, created: written.created, revision: row.revision })
}

fn routes_partition() -> Result<Partition, RouteError> {
    Partition::new(ROUTES).map_err(|error| RouteError::Damaged(error.to_string()))
}

pub(crate) fn route_partition(name: &RouteName) -> Result<Partition, RouteError> {
    Partition::new(&format!("route/{name}")).map_err(|error| RouteError::Damaged(error.to_string()))
}

pub(crate) fn key(bytes: &[u8]) -> Result<Key, RouteError> {
    Key::new(bytes.to_vec()).map_err(|error| RouteError::Damaged(error.to_string()))
}

pub(crate) fn sequence_key(prefix: &[u8], sequence: Sequence) -> Result<Key, RouteError> {
    key(&[prefix, &sequence.as_u64().to_be_bytes()].concat())
}

pub(crate) fn sequence_of(key: &Key, prefix: &[u8]) -> Option<Sequence> {
    let number = key.as_bytes().strip_prefix(prefix)?.try_into().ok()?;
    Sequence::from_u64(u64::from_be_bytes(number))
}
