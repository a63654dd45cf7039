//! Making grants, roots and children.
//!
//! The indexes are written first and the grant last, so that a grant is there whole or not at all; an
//! index that leads nowhere is a 404. Never here: what may be granted to whom.

use buswire_message::Timestamp;
use buswire_store::{Ack, Batch, Expectation, Key, Operation, Partition, StoreError};
use bytes::Bytes;
use futures::future::try_join_all;

use crate::{
    grants::{
        ATTEMPTS, Grants, contended, keys,
        record::{Count, Designated, Grant, Link, Role, decode_count, encode_count, encode_index},
        regrant::Fit,
        unchanged,
    },
    limits::Rate,
    names::Handle,
};

/// Why a grant was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InsertError {
    /// The one above is not alive.
    #[error("the capability is not alive")]
    Gone,
    /// The chain would be too deep, or the parent or the tree is full.
    #[error("no more grants fit there")]
    Full,
    /// More than one live grant fits a regrant.
    #[error("more than one grant fits")]
    Ambiguous,
    /// Children are made too fast.
    #[error("children are made too fast")]
    TooFast { retry_after_secs: u32 },
    /// The store did not do it.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// What to make a child from.
#[derive(Clone, Debug)]
pub(crate) struct Derivation {
    /// The child.
    pub(crate) grant: Grant,
    /// What becomes of live grants with its fingerprint.
    pub(crate) regrant: Regrant,
}

/// What a new grant does to live ones with the same fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Regrant {
    /// They stay.
    No,
    /// They die of it (Belay §20.7 a).
    Rotate,
    /// If there is one that can be computed again, it is the answer and nothing new is made; one of
    /// another key dies; two are ambiguous (Belay §20.7 b).
    Reuse {
        /// The version of the key that computes.
        version: u32,
    },
}

/// What making a child came to.
#[derive(Clone, Debug)]
pub(crate) enum Inserted {
    /// It was made.
    New {
        /// Those that died of it.
        replaced: Vec<Grant>,
    },
    /// This one is there already.
    Existing(Box<Grant>),
}

impl Grants {
    /// Makes the root of a new tree.
    pub(crate) async fn insert_root(
        &self,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<(), InsertError> {
        let expires = self.keep_until(grant);
        let listed = (keys::roots(), keys::root(grant.created, &grant.handle), Bytes::new());
        self.index(grant, vec![listed]).await?;
        let key = keys::grant(&grant.handle);
        let value = self.encode(grant)?;
        let batch = Batch::new(keys::tree(&grant.handle))
            .expect(Expectation::Absent(key.clone()))
            .then(Operation::Put { key, value, expires });
        for _ in 0..ATTEMPTS {
            // A store that asks to try again may have done it; nobody else has the handle.
            if self.commit(batch.clone(), Ack::Safe, now).await?
                || self.load(&grant.handle, &grant.handle, now).await?.is_some()
            {
                return Ok(());
            }
        }
        Err(contended().into())
    }

    /// Makes a child, if the one above is still alive.
    ///
    /// A regrant may find one that is there already.
    pub(crate) async fn insert_child(
        &self,
        child: &Derivation,
        now: Timestamp,
    ) -> Result<Inserted, InsertError> {
        let grant = &child.grant;
        let (Some(parent), tree) = (grant.parent(), grant.root()) else {
            return Err(InsertError::Gone);
        };
        if grant.ancestors.len() >= self.chain_depth_max {
            return Err(InsertError::Full);
        }
        if let Regrant::Reuse { version } = child.regrant
            && let Fit::One(existing) = self.fitting(grant, version, now).await?
        {
            return Ok(Inserted::Existing(existing));
        }
        let (partition, key) = keys::handles(&grant.handle);
        self.index(grant, vec![(partition, key, Bytes::from(tree.to_string()))]).await?;
        for _ in 0..ATTEMPTS {
            let above = self.chain(tree, parent, now).await?;
            let above = above.filter(|chain| chain.is_current(now)).ok_or(InsertError::Gone)?;
            let mut batch = Batch::new(keys::tree(tree))
                .expect(Expectation::Absent(keys::grant(&grant.handle)))
                .expect(Expectation::Unchanged(keys::grant(parent), above.leaf.revision));
            let replaced = match self.regrant(&mut batch, child, now).await? {
                Fit::One(existing) => return Ok(Inserted::Existing(existing)),
                Fit::None(replaced) => replaced,
            };
            self.child_rows(&mut batch, grant, parent, now).await?;
            if self.commit(batch, Ack::Safe, now).await?
                || self.load(tree, &grant.handle, now).await?.is_some()
            {
                return Ok(Inserted::New { replaced });
            }
        }
        Err(contended().into())
    }

    async fn index(
        &self,
        grant: &Grant,
        more: Vec<(Partition, Key, Bytes)>,
    ) -> Result<(), StoreError> {
        let row = |role| {
            let (tree, handle) = (grant.root().clone(), grant.handle.clone());
            encode_index(&Designated { tree, handle, role })
        };
        let (partition, key) = keys::ids(&grant.id_hash);
        let mut rows = vec![(partition, key, row(Role::Cap)?)];
        let (partition, key) = keys::ids(&grant.control_hash);
        rows.push((partition, key, row(Role::Control)?));
        rows.extend(more);
        let expires = self.keep_until(grant);
        let commits = rows.into_iter().map(|(partition, key, value)| {
            let batch = Batch::new(partition).then(Operation::Put { key, value, expires });
            async move {
                for _ in 0..ATTEMPTS {
                    if self.commit(batch.clone(), Ack::Safe, grant.created).await? {
                        return Ok(());
                    }
                }
                Err(contended())
            }
        });
        try_join_all(commits).await.map(drop)
    }

    async fn child_rows(
        &self,
        batch: &mut Batch,
        grant: &Grant,
        parent: &Handle,
        now: Timestamp,
    ) -> Result<(), InsertError> {
        let (most, rate) = match grant.link {
            Link::Granted => (self.granted_max, None),
            Link::Wrap | Link::Root => (self.children_max, Some(self.wrap_rate)),
        };
        let (count, prefix) = (keys::child_count(parent), keys::children(parent));
        let children = Tally { count, prefix, row: keys::child(parent, &grant.handle), most };
        self.tally(batch, children, rate, grant, now).await?;
        if let Some(head) = grant.head() {
            let (count, prefix) = (keys::derived_count(head), keys::all_derived(head));
            let (row, most) = (keys::derived(head, &grant.handle), self.derived_max);
            let derived = Tally { count, prefix, row, most };
            self.tally(batch, derived, None, grant, now).await?;
        }
        let (key, value) = (keys::grant(&grant.handle), self.encode(grant)?);
        let expires = self.keep_until(grant);
        batch.operations.push(Operation::Put { key, value, expires });
        Ok(())
    }

    // One more below something: refuses it if there is no room, recounting only then, since grants
    // that expired are not taken off the count when they do.
    async fn tally(
        &self,
        batch: &mut Batch,
        tally: Tally,
        rate: Option<Rate>,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<(), InsertError> {
        let row = self.store.get(&batch.partition, &tally.count, now).await?;
        let bytes = row.as_ref().and_then(|row| row.value.as_bytes());
        let mut count = match bytes {
            Some(bytes) => decode_count(bytes)?,
            None => Count { grants: 0, bucket: None },
        };
        if count.grants >= tally.most {
            count.grants = self.count(&batch.partition, &tally.prefix, now).await?;
            if count.grants >= tally.most {
                return Err(InsertError::Full);
            }
        }
        count.grants += 1;
        if let Some(rate) = rate {
            let bucket = count.bucket.unwrap_or_else(|| rate.full(now));
            let taken = rate.take(bucket, now);
            count.bucket =
                Some(taken.map_err(|retry_after_secs| InsertError::TooFast { retry_after_secs })?);
        }
        batch.expectations.push(unchanged(tally.count.clone(), row.as_ref()));
        let value = encode_count(count)?;
        batch.operations.push(Operation::Put { key: tally.count, value, expires: None });
        batch.operations.push(Operation::Put {
            key: tally.row,
            value: Bytes::new(),
            expires: grant.bounds.expires(),
        });
        Ok(())
    }
}

struct Tally {
    /// Where the count is.
    count: Key,
    /// Begins the rows that are counted.
    prefix: Vec<u8>,
    /// The row of the new grant.
    row: Key,
    most: u32,
}
