//! Taking the content of a store on Redis out, and putting content in.
//!
//! Never here: what is done with it.

use std::collections::BTreeSet;

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;
use redis::cmd;

use super::{
    RedisStore,
    link::{Repeat, Request},
    wire,
};
use crate::{
    batch::DedupeId,
    copy::{Chunk, Part, Portable},
    error::StoreError,
    names::{LogName, Partition},
    store::BoxFuture,
};

/// How many keys or fields the server looks at for one step.
const STEP: usize = 1000;

impl RedisStore {
    /// Walks through what a cursor gives, on the server that has `shard` or by the key of `command`.
    async fn walk(
        &self,
        request: impl Fn(&str) -> Request,
        mut each: impl FnMut(Vec<Bytes>) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        let mut cursor = "0".to_owned();
        loop {
            let (next, items) = wire::cursor(self.link.ask(request(&cursor)).await?)?;
            each(items)?;
            if next == "0" {
                return Ok(());
            }
            cursor = next;
        }
    }
}

impl Portable for RedisStore {
    fn parts(&self) -> BoxFuture<'_, Result<Vec<Part>, StoreError>> {
        Box::pin(async move {
            let layout = &self.link.layout;
            let pattern = format!("{}:*", self.link.config.prefix);
            // A cursor may give a key twice.
            let mut parts = BTreeSet::new();
            for shard in self.link.holders().await? {
                let request = |cursor: &str| {
                    let mut command = cmd("SCAN");
                    command.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
                    Request::At(shard, command)
                };
                let take = |keys: Vec<Bytes>| {
                    parts.extend(keys.iter().filter_map(|key| layout.part(key)));
                    Ok(())
                };
                self.walk(request, take).await?;
            }
            Ok(parts.into_iter().collect())
        })
    }

    fn dedupe_ids<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
    ) -> BoxFuture<'a, Result<Vec<(Sequence, DedupeId)>, StoreError>> {
        Box::pin(async move {
            let key = self.link.layout.dedupe_of(partition, log);
            let mut ids = Vec::new();
            let request = |cursor: &str| {
                let mut command = cmd("HSCAN");
                command.arg(&key).arg(cursor).arg("COUNT").arg(STEP);
                Request::Read(command)
            };
            let take = |fields: Vec<Bytes>| {
                for pair in fields.chunks_exact(2) {
                    ids.push(wire::dedupe(pair)?);
                }
                Ok(())
            };
            self.walk(request, take).await?;
            Ok(ids)
        })
    }

    fn import(&self, chunk: Chunk, _now: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let call = wire::import(&self.link.layout, &chunk);
            self.link.call(call, Repeat::No).await?;
            Ok(())
        })
    }
}
