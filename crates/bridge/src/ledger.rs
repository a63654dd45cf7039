//! What is stored of routes.
//!
//! Descriptions are rows of the partition `routes`, by name. Each route has a partition of its own,
//! `route/NAME`: its position, the messages settled beyond it, its dead letters. Never here: when to
//! store what; that is the core's.

use std::{sync::Arc, time::Duration};

use buswire_bus::StoredMessage;
use buswire_message::{Cursor, MessageId, RouteName, Sequence, Timestamp};
use buswire_store::{
    Ack, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition, Row, Store,
    StoreError,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    delivery::{Dead, Record},
    error::RouteError,
    route::{Route, WrittenRoute},
};

const POSITION: &[u8] = b"position";
const AHEAD: &[u8] = b"a/";
const DEAD: &[u8] = b"d/";
const PAGE: usize = 1000;

/// A message that a route gave up.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The id of the message.
    pub id: String,
    /// Its bus.
    pub bus: String,
    /// Its channel.
    pub channel: String,
    /// Its type.
    pub kind: String,
    /// Its source.
    pub source: String,
    /// Whether it was sticky.
    pub sticky: bool,
    /// Its content, JSON text.
    pub payload: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What the last attempt came to.
    pub error: String,
    /// When it was given up, milliseconds since 1970.
    pub given_up_at_ms: u64,
}

impl std::fmt::Debug for DeadLetter {
    /// Leaves out the payload.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.id)
            .field("attempts", &self.attempts)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

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
        // What an earlier route of this name left behind is not this one's.
        self.purge(&route.name, now).await?;
        let key = key(route.name.as_str().as_bytes())?;
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
            let expires = Some(now.saturating_add(self.dead_kept));
            let key = sequence_key(DEAD, dead.sequence)?;
            let letter = serde_json::to_vec(&DeadLetter::of(dead))
                .map_err(|_| RouteError::Damaged(name.to_string()))?;
            batch.operations.push(Operation::Put { key, value: letter.into(), expires });
        }
        self.store.commit(batch, Ack::Safe, now).await?;
        if !record.dead.is_empty() {
            self.trim_dead_letters(name, now).await?;
        }
        Ok(())
    }

    /// Drops the oldest dead letters beyond the bound.
    async fn trim_dead_letters(&self, name: &RouteName, now: Timestamp) -> Result<(), RouteError> {
        let partition = route_partition(name)?;
        let rows = self.rows(&partition, KeyRange::prefix(DEAD), now).await?;
        let excess = rows.len().saturating_sub(self.dead_max);
        if excess == 0 {
            return Ok(());
        }
        tracing::warn!(route = %name, dropped = excess, "the oldest dead letters were dropped");
        let oldest: Vec<_> = rows.into_iter().take(excess).collect();
        for some in oldest.chunks(PAGE) {
            let mut batch = Batch::new(partition.clone());
            let keys = some.iter().map(|(key, _)| key.clone());
            batch.operations.extend(keys.map(|key| Operation::Delete { key }));
            self.store.commit(batch, Ack::Safe, now).await?;
        }
        Ok(())
    }

    /// The first `limit` dead letters of a route, oldest first.
    pub(crate) async fn dead_letters(
        &self,
        name: &RouteName,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<DeadLetter>, RouteError> {
        let range = KeyRange::prefix(DEAD);
        let partition = route_partition(name)?;
        let page = self.store.scan(&partition, range, limit, Direction::Ascending, now).await?;
        let read = |row: &Row| serde_json::from_slice(row.value.as_bytes()?).ok();
        page.rows
            .iter()
            .map(|(_, row)| read(row).ok_or_else(|| RouteError::Damaged(name.to_string())))
            .collect()
    }

    async fn rows(
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

impl DeadLetter {
    fn of(dead: &Dead<Arc<StoredMessage>>) -> Self {
        let message = &dead.message;
        Self {
            id: MessageId::from_sequence(dead.sequence).to_string(),
            bus: message.bus.to_string(),
            channel: message.channel.to_string(),
            kind: message.kind.to_string(),
            source: message.source.to_string(),
            sticky: message.sticky,
            payload: message.payload.as_str().to_owned(),
            attempts: dead.attempts,
            error: dead.error.clone(),
            given_up_at_ms: dead.at.as_millis(),
        }
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

fn route_partition(name: &RouteName) -> Result<Partition, RouteError> {
    Partition::new(&format!("route/{name}")).map_err(|error| RouteError::Damaged(error.to_string()))
}

fn key(bytes: &[u8]) -> Result<Key, RouteError> {
    Key::new(bytes.to_vec()).map_err(|error| RouteError::Damaged(error.to_string()))
}

fn sequence_key(prefix: &[u8], sequence: Sequence) -> Result<Key, RouteError> {
    key(&[prefix, &sequence.as_u64().to_be_bytes()].concat())
}

fn sequence_of(key: &Key, prefix: &[u8]) -> Option<Sequence> {
    let number = key.as_bytes().strip_prefix(prefix)?.try_into().ok()?;
    Sequence::from_u64(u64::from_be_bytes(number))
}
