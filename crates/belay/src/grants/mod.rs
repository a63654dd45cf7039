//! Grants in the store: looking up, inserting, changing, revoking, counting, listing.
//!
//! Never here: operations, HTTP, ids in clear.

mod admission;
mod change;
mod decoded;
mod insert;
mod keys;
mod ledger;
mod list;
mod record;
mod regrant;
mod usage;

use std::{sync::Arc, time::Duration};

use buswire_message::{SecretHash, Timestamp};
use buswire_store::{
    Ack, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition, Revision,
    Row, RowValue, Store, StoreError,
};
use bytes::Bytes;
use futures::future::try_join_all;

pub(crate) use admission::Admission;
pub(crate) use change::{Change, Removal};
pub(crate) use insert::{Derivation, InsertError, Inserted, Regrant};
pub(crate) use keys::{TREES, tree_of};
pub(crate) use ledger::{Level, Verdict};
pub(crate) use list::Cursor;
pub(crate) use record::{Ancestor, Designated, Grant, Link, Role};
pub(crate) use usage::UsageBuffer;

use crate::{
    config::Config,
    grants::{
        decoded::Decoded,
        ledger::Account,
        record::{Meter, decode_bucket, decode_grant, decode_index, encode_grant},
    },
    limits::Rate,
    names::Handle,
    seal::SealKeys,
};

/// How often something is tried that others may have changed in between. Within one gateway,
/// invocations that count do not compete (see `admission`), so what is left are other gateways and
/// changes of grants, which are rare.
const ATTEMPTS: u32 = 128;

/// How long to wait when the store asks to try again.
const RETRY_PAUSE: Duration = Duration::from_millis(2);

/// The grants of a server.
#[derive(Debug)]
pub(crate) struct Grants {
    store: Arc<dyn Store>,
    decoded: Decoded,
    retention: Duration,
    chain_depth_max: usize,
    children_max: u32,
    granted_max: u32,
    derived_max: u32,
    wrap_rate: Rate,
    seal_keys: Option<SealKeys>,
}

/// A grant as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) grant: Arc<Grant>,
    revision: Revision,
}

/// A grant and all above it, read together.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) leaf: Loaded,
    /// Nearest first.
    pub(crate) above: Vec<Loaded>,
    /// Some counting level has no uses left.
    pub(crate) exhausted: bool,
}

impl Chain {
    pub(crate) fn grant(&self) -> &Grant {
        &self.leaf.grant
    }

    fn iter(&self) -> impl Iterator<Item = &Loaded> {
        std::iter::once(&self.leaf).chain(&self.above)
    }

    /// Whether an invocation may start: nothing in the chain is suspended, expired or used up. What
    /// is revoked is not read into a chain at all.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        !self.exhausted && self.is_current(now)
    }

    /// The same, whatever the uses.
    pub(crate) fn is_current(&self, now: Timestamp) -> bool {
        self.grant().bounds.is_current(now) && !self.iter().any(|loaded| loaded.grant.suspended)
    }

    /// The levels at which an invocation is to be counted; `None` if no level counts.
    pub(crate) fn levels(&self) -> Option<Vec<Level>> {
        let is_any = self.counting().any(|loaded| Meter::of(&loaded.grant.limits).is_some());
        is_any.then(|| {
            let own = Level { handle: self.grant().handle.clone(), counts: true };
            let above = self.grant().ancestors.iter();
            let above = above.map(|a| Level { handle: a.handle.clone(), counts: a.counts });
            std::iter::once(own).chain(above).collect()
        })
    }

    /// The levels at which an invocation counts, limited or not.
    fn counting(&self) -> impl Iterator<Item = &Loaded> {
        let above = self.above.iter().zip(&self.grant().ancestors);
        let above = above.filter(|(_, ancestor)| ancestor.counts).map(|(loaded, _)| loaded);
        std::iter::once(&self.leaf).chain(above)
    }

    /// The handles from the grant to the root.
    pub(crate) fn handles(&self) -> Arc<[Handle]> {
        self.iter().map(|loaded| loaded.grant.handle.clone()).collect()
    }
}

impl Grants {
    pub(crate) fn new(store: Arc<dyn Store>, config: &Config) -> Self {
        Self {
            store,
            decoded: Decoded::default(),
            retention: config.retention,
            chain_depth_max: config.chain_depth_max.clamp(1, 32),
            children_max: config.children_max,
            granted_max: config.granted_max,
            derived_max: config.derived_max,
            wrap_rate: config.wrap_rate,
            seal_keys: config.seal_keys.clone(),
        }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What an id was issued for; `None` if no such id is known.
    pub(crate) async fn designated(
        &self,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Result<Option<Designated>, StoreError> {
        let (partition, key) = keys::ids(hash);
        let row = self.store.get(&partition, &key, now).await?;
        row.as_ref()
            .and_then(|row| row.value.as_bytes())
            .map(|bytes| decode_index(bytes))
            .transpose()
    }

    /// The root of the tree that a grant is in, revoked or not; `None` if no such handle is known.
    pub(crate) async fn tree_of(
        &self,
        handle: &Handle,
        now: Timestamp,
    ) -> Result<Option<Handle>, StoreError> {
        let own = keys::tree(handle);
        if self.store.get(&own, &keys::grant(handle), now).await?.is_some() {
            return Ok(Some(handle.clone()));
        }
        let (partition, key) = keys::handles(handle);
        let row = self.store.get(&partition, &key, now).await?;
        let text = row.as_ref().and_then(|row| row.value.as_bytes());
        Ok(text.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()))
    }

    /// One grant; `None` if it is revoked or was never there.
    pub(crate) async fn load(
        &self,
        tree: &Handle,
        handle: &Handle,
        now: Timestamp,
    ) -> Result<Option<Loaded>, StoreError> {
        self.load_from(&keys::tree(tree), handle, now).await
    }

    async fn load_from(
        &self,
        tree: &Partition,
        handle: &Handle,
        now: Timestamp,
    ) -> Result<Option<Loaded>, StoreError> {
        let key = keys::grant(handle);
        for is_last in [false, true] {
            let row = self.store.get(tree, &key, now).await?;
            let Some(Row { value: RowValue::Bytes(bytes), revision, .. }) = row else {
                return Ok(None);
            };
            let (grant, is_stale) = self.decoded.grant(handle, &bytes, self.seal_keys.as_ref())?;
            if !is_stale || is_last {
                return Ok(Some(Loaded { grant, revision }));
            }
            // Sealed once with the newest key; if somebody else changes it, they seal it.
            let (value, expires) = (self.encode(&grant)?, self.keep_until(&grant));
            let batch = Batch::new(tree.clone())
                .expect(Expectation::Unchanged(key.clone(), revision))
                .then(Operation::Put { key: key.clone(), value, expires });
            self.commit(batch, Ack::Accepted, now).await?;
        }
        Ok(None)
    }

    fn encode(&self, grant: &Grant) -> Result<Bytes, StoreError> {
        encode_grant(grant, self.seal_keys.as_ref())
    }

    fn decode(&self, handle: &Handle, bytes: &[u8]) -> Result<Grant, StoreError> {
        decode_grant(handle, bytes, self.seal_keys.as_ref()).map(|(grant, _)| grant)
    }

    /// A grant with everything above it; `None` if one of them is revoked or was never there.
    pub(crate) async fn chain(
        &self,
        tree: &Handle,
        handle: &Handle,
        now: Timestamp,
    ) -> Result<Option<Chain>, StoreError> {
        let partition = keys::tree(tree);
        let Some(leaf) = self.load_from(&partition, handle, now).await? else { return Ok(None) };
        let ancestors = leaf.grant.ancestors.iter();
        let above = ancestors.map(|above| self.load_from(&partition, &above.handle, now));
        let above = try_join_all(above).await?;
        let Some(above) = above.into_iter().collect() else { return Ok(None) };
        let mut chain = Chain { leaf, above, exhausted: false };
        let limited = chain.counting().filter(|loaded| loaded.grant.limits.uses().is_some());
        let accounts = try_join_all(limited.map(|loaded| self.account(tree, loaded, now))).await?;
        chain.exhausted = accounts.iter().any(|counted| counted.account.is_exhausted());
        Ok(Some(chain))
    }

    /// The account of a grant, with what must not change until it is written back.
    async fn account(
        &self,
        tree: &Handle,
        loaded: &Loaded,
        now: Timestamp,
    ) -> Result<Counted, StoreError> {
        let partition = keys::tree(tree);
        let handle = &loaded.grant.handle;
        let meter = Meter::of(&loaded.grant.limits);
        let mut expectations = vec![Expectation::Unchanged(keys::grant(handle), loaded.revision)];
        let mut account = Account {
            alive: !loaded.grant.suspended,
            meter,
            used: 0,
            bucket: None,
            touched: false,
        };
        if account.meter.as_ref().is_some_and(|meter| meter.uses.is_some()) {
            let row = self.store.get(&partition, &keys::uses(handle), now).await?;
            account.used = row.as_ref().and_then(|row| row.value.as_version()).unwrap_or(0);
            expectations.push(unchanged(keys::uses(handle), row.as_ref()));
        }
        if account.meter.as_ref().is_some_and(|meter| meter.rate.is_some()) {
            let row = self.store.get(&partition, &keys::bucket(handle), now).await?;
            let bytes = row.as_ref().and_then(|row| row.value.as_bytes());
            account.bucket = bytes.map(|bytes| decode_bucket(bytes)).transpose()?;
            expectations.push(unchanged(keys::bucket(handle), row.as_ref()));
        }
        let keep_until = self.keep_until(&loaded.grant);
        Ok(Counted { account, expectations, keep_until })
    }

    /// When the rows of a grant may go: some time after it expires.
    fn keep_until(&self, grant: &Grant) -> Option<Timestamp> {
        grant.bounds.expires().map(|end| end.saturating_add(self.retention))
    }

    /// Whether the batch was applied; `false` if something it depends on has changed, or the store
    /// asks to try again.
    async fn commit(&self, batch: Batch, ack: Ack, now: Timestamp) -> Result<bool, StoreError> {
        match self.store.commit(batch, ack, now).await {
            Ok(Outcome::Committed(_)) => Ok(true),
            Ok(Outcome::Conflict(_)) => Ok(false),
            Err(StoreError::Retry(_)) => {
                tokio::time::sleep(RETRY_PAUSE).await;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Counts the live rows of a range, tombstones left out.
    async fn count(
        &self,
        partition: &Partition,
        prefix: &[u8],
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let mut range = KeyRange::prefix(prefix);
        let mut count = 0_u32;
        loop {
            let page =
                self.store.scan(partition, range.clone(), 512, Direction::Ascending, now).await?;
            let live = page.rows.iter().filter(|(_, row)| row.value != RowValue::Tombstone);
            count = count.saturating_add(u32::try_from(live.count()).unwrap_or(u32::MAX));
            match page.rows.last() {
                Some((key, _)) if page.more => range = range.after(key),
                _ => return Ok(count),
            }
        }
    }
}

struct Counted {
    account: Account,
    expectations: Vec<Expectation>,
    keep_until: Option<Timestamp>,
}

fn unchanged(key: Key, row: Option<&Row>) -> Expectation {
    match row {
        Some(row) => Expectation::Unchanged(key, row.revision),
        None => Expectation::Absent(key),
    }
}

/// What is answered when others kept changing what was to be changed.
fn contended() -> StoreError {
    StoreError::Retry("others keep changing the capability tree".to_owned())
}
