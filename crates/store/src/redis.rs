//! The Redis engine: any number of processes share a Redis or Valkey server, its sentinels' master or
//! a cluster.
//!
//! One batch is one script, which the server runs whole or not at all, in one round trip; so is one
//! page of a log or of rows. Sequences are given by the server. Requests of all tasks share one
//! connection and are pipelined on it. Hints are published by the commits themselves and heard over the
//! same connection; after a reconnect whoever listens is told that it missed some.
//!
//! What survives: what the server keeps. Its settings are looked at when it is connected to. If it lost
//! what this or another process was told was written, as after a failover or a restored snapshot, the
//! epoch changes. The layout of keys and the rules of epochs: see `DESIGN.md` beside the code.
//!
//! A commit whose answer was lost is not repeated: it may have happened. It is answered with
//! [`StoreError::Unavailable`].
//!
//! Never here: rules of batches that the scripts do not share with the other engines; the conformance
//! suite compares them.

mod address;
mod config;
mod connection;
mod fault;
mod journal;
mod keys;
mod known;
mod link;
mod portable;
mod room;
mod server;
mod tls;
mod wire;

use std::{collections::BTreeMap, fmt, sync::Arc};

use buswire_message::{Sequence, Timestamp};
use futures::future::try_join_all;
use redis::Value;
use tokio::task::JoinSet;

use self::link::{Link, Repeat, Request};
pub use self::{
    address::{AddressError, RedisAddress},
    config::{Durability, RedisConfig, RedisOpenError},
    tls::{RedisIdentity, RedisTls},
};
use crate::{
    batch::{Ack, Batch, Outcome},
    error::StoreError,
    names::{Key, LogName, Partition},
    read::{Direction, KeyRange, Page, Position, Row, RowPage},
    store::{BoxFuture, HintFilter, Hints, Store, StoreStatus, Swept},
};

/// How many logs one script looks at: while it runs, the server does nothing else.
const PLACES_MAX: usize = 256;

/// A store on a Redis or Valkey server.
pub struct RedisStore {
    link: Arc<Link>,
    /// Aborted when this is dropped.
    _keeper: JoinSet<()>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &self.link.config.address)
            .finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects, looks at the server and makes the store known there. A store that is not there yet is
    /// begun. Needs a runtime of tokio with time and I/O, now and as long as the store is used.
    ///
    /// # Errors
    ///
    /// [`RedisOpenError`], which says what to do.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn open(config: RedisConfig) -> Result<Self, RedisOpenError> {
        if !RedisConfig::is_prefix(&config.prefix) {
            return Err(RedisOpenError::Prefix);
        }
        let link = Arc::new(Link::new(config));
        link.open().await?;
        let mut keeper = JoinSet::new();
        let kept = Arc::clone(&link);
        keeper.spawn(async move { kept.keep().await });
        Ok(Self { link, _keeper: keeper })
    }
}

impl Store for RedisStore {
    /// Both kinds of `ack` wait for the server to have written its append-only file, and for the disk
    /// where it has `appendfsync always`.
    fn commit(
        &self,
        batch: Batch,
        _ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move {
            self.link.usable()?;
            batch.check()?;
            self.link.commit(batch, now).await
        })
    }

    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a Key,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        Box::pin(async move {
            let layout = &self.link.layout;
            let rows = layout.rows(layout.shard_of(partition), partition);
            let mut command = redis::cmd("HGET");
            command.arg(rows).arg(&key.as_bytes()[..]);
            let record = self.link.ask(Request::Read(command)).await?;
            let Value::BulkString(record) = record else { return Ok(None) };
            let row = wire::row(&record.into())?;
            Ok(row.expires.is_none_or(|expires| now < expires).then_some(row))
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        range: KeyRange,
        limit: usize,
        direction: Direction,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        Box::pin(async move {
            let call = wire::scan(&self.link.layout, partition, &range, limit, direction, now);
            wire::rows(self.link.call(call, Repeat::Yes).await?)
        })
    }

    fn read_log<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
        after: Option<Position>,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move {
            let call = wire::read_log(&self.link.layout, partition, log, after, limit, now);
            let shard = call.shard;
            let (page, seen) = wire::page(self.link.call(call, Repeat::Yes).await?, after)?;
            self.link.known.see(shard, seen);
            Ok(page)
        })
    }

    fn grown<'a>(
        &'a self,
        log: &'a LogName,
        places: &'a [(Partition, Position)],
        through: Sequence,
    ) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        Box::pin(async move {
            let layout = &self.link.layout;
            let mut shards = BTreeMap::<_, Vec<_>>::new();
            for place in places.iter().enumerate() {
                shards.entry(layout.shard_of(&place.1.0)).or_default().push(place);
            }
            let mut calls = Vec::new();
            for (shard, asked) in &shards {
                for asked in asked.chunks(PLACES_MAX) {
                    let places: Vec<_> = asked.iter().map(|(_, place)| *place).collect();
                    let call = wire::grown(layout, *shard, log, &places, through);
                    calls.push(async move {
                        let grown = wire::growth(self.link.call(call, Repeat::Yes).await?)?;
                        Ok::<_, StoreError>((asked, grown))
                    });
                }
            }
            let mut grown = vec![true; places.len()];
            for (asked, answers) in try_join_all(calls).await? {
                for ((index, _), answer) in asked.iter().zip(answers) {
                    if let Some(grown) = grown.get_mut(*index) {
                        *grown = answer;
                    }
                }
            }
            Ok(grown)
        })
    }

    fn hints(&self, filter: HintFilter) -> Hints {
        self.link.hinter.stream(filter)
    }

    fn sweep(&self, now: Timestamp, budget: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        Box::pin(async move {
            let mut swept = Swept::default();
            for shard in self.link.layout.shards() {
                let left = budget.saturating_sub(swept.removed);
                let call = wire::sweep(&self.link.layout, shard, now, left);
                let (removed, more) = wire::swept(self.link.call(call, Repeat::No).await?)?;
                swept.removed += removed;
                swept.more |= more;
            }
            Ok(swept)
        })
    }

    fn status(&self) -> StoreStatus {
        let closed = self.link.usable().err().map(|error| error.to_string());
        StoreStatus {
            engine: "redis",
            is_shared: true,
            epoch: self.link.known.epoch(),
            unavailable: closed.or_else(|| self.link.trouble()),
            waiting: self.link.busy(),
            disk_bytes: self.link.disk_bytes(),
            disk_free_bytes: None,
            is_full: false,
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.link.close())
    }
}
