//! Changing and revoking grants.
//!
//! Revoking is one tombstone: whatever hangs below is dead with it, since a chain is read whole for
//! every invocation (Belay §20.6). Descendants are buried afterwards, for listings and for room.
//! Never here: telling those that wait; see `live`.

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Batch, Direction, Expectation, KeyRange, Operation, RowValue, StoreError,
};
use bytes::Bytes;
use futures::future::try_join_all;

use crate::{
    grants::{ATTEMPTS, Grants, contended, keys, record::Grant},
    names::{Handle, Label},
};

/// What of a grant to change; `None` leaves it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Change {
    pub(crate) label: Option<Label>,
    pub(crate) suspended: Option<bool>,
}

/// What became of a revocation.
#[derive(Clone, Debug)]
pub(crate) enum Removal {
    /// The grant is dead from here on.
    Revoked(Box<Grant>),
    /// It already was.
    Already,
    /// There is no such grant.
    Unknown,
}

impl Grants {
    /// Changes label or suspension. `None` if there is no such grant.
    pub(crate) async fn change(
        &self,
        tree: &Handle,
        handle: &Handle,
        change: &Change,
        now: Timestamp,
    ) -> Result<Option<Grant>, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(loaded) = self.load(tree, handle, now).await? else { return Ok(None) };
            let mut grant = (*loaded.grant).clone();
            if let Some(label) = &change.label {
                grant.label = label.clone();
            }
            grant.suspended = change.suspended.unwrap_or(grant.suspended);
            let key = keys::grant(handle);
            let (value, expires) = (self.encode(&grant)?, self.keep_until(&grant));
            let batch = Batch::new(keys::tree(tree))
                .expect(Expectation::Unchanged(key.clone(), loaded.revision))
                .then(Operation::Put { key, value, expires });
            if self.commit(batch, Ack::Safe, now).await? {
                return Ok(Some(grant));
            }
        }
        Err(contended())
    }

    /// Revokes one grant. After this no invocation of it or of anything below it starts.
    pub(crate) async fn revoke(
        &self,
        tree: &Handle,
        handle: &Handle,
        now: Timestamp,
    ) -> Result<Removal, StoreError> {
        let partition = keys::tree(tree);
        for _ in 0..ATTEMPTS {
            let key = keys::grant(handle);
            let Some(row) = self.store.get(&partition, &key, now).await? else {
                return Ok(Removal::Unknown);
            };
            let grant = match row.value {
                RowValue::Tombstone | RowValue::Version(_) => {
                    // Whoever buried it may never have been told so: this answer rests on a commit of
                    // its own, which the store remembers.
                    let until = row.expires.unwrap_or(now);
                    let again = Batch::new(partition).then(Operation::Tombstone { key, until });
                    self.commit(again, Ack::Safe, now).await?;
                    return Ok(Removal::Already);
                }
                RowValue::Bytes(bytes) => self.decode(handle, &bytes)?,
            };
            // No expectations: whatever changed in between, the grant is to be dead.
            let mut batch = Batch::new(partition.clone());
            batch.operations.extend(self.burial(&grant, now)?);
            if self.commit(batch, Ack::Safe, now).await? {
                return Ok(Removal::Revoked(Box::new(grant)));
            }
        }
        Err(contended())
    }

    /// The operations that bury one grant and keep what is listed of it for a while.
    pub(super) fn burial(
        &self,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Vec<Operation>, StoreError> {
        let until = now.saturating_add(self.retention);
        let handle = &grant.handle;
        let mut operations = vec![
            Operation::Tombstone { key: keys::grant(handle), until },
            Operation::Put {
                key: keys::retired(handle),
                value: self.encode(grant)?,
                expires: Some(until),
            },
            Operation::Delete { key: keys::uses(handle) },
            Operation::Delete { key: keys::bucket(handle) },
            Operation::Delete { key: keys::child_count(handle) },
            Operation::Delete { key: keys::derived_count(handle) },
        ];
        if let Some(digest) = &grant.fingerprint {
            operations.push(Operation::Delete { key: keys::matching(digest, handle) });
        }
        if let Some(head) = grant.head() {
            operations.push(Operation::Delete { key: keys::derived(head, handle) });
        }
        if let Some(parent) = grant.parent() {
            operations.push(Operation::Delete { key: keys::child(parent, handle) });
        }
        Ok(operations)
    }

    /// Buries everything below a revoked grant, and removes what leads there.
    ///
    /// Nothing depends on it: what is below a revoked grant is dead already.
    pub(crate) async fn bury_below(
        &self,
        tree: &Handle,
        handle: &Handle,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let partition = keys::tree(tree);
        let mut range = KeyRange::prefix(keys::GRANTS);
        loop {
            let page =
                self.store.scan(&partition, range.clone(), 256, Direction::Ascending, now).await?;
            let mut batch = Batch::new(partition.clone());
            let mut buried = Vec::new();
            for (key, row) in &page.rows {
                let (Some(own), Some(bytes)) = (keys::grant_handle(key), row.value.as_bytes())
                else {
                    continue;
                };
                let grant = self.decode(&own, bytes)?;
                if grant.ancestors.iter().any(|above| above.handle == *handle) {
                    batch.operations.extend(self.burial(&grant, now)?);
                    buried.push(grant);
                }
            }
            if !batch.operations.is_empty() {
                self.commit(batch, Ack::Accepted, now).await?;
            }
            // Together, so that they share the syncs of the store.
            try_join_all(buried.iter().map(|grant| self.forget_ids(grant, now))).await?;
            match page.rows.last() {
                Some((key, _)) if page.more => range = range.after(key),
                _ => return Ok(()),
            }
        }
    }

    /// Removes what leads to a revoked grant.
    pub(crate) async fn forget_ids(&self, grant: &Grant, now: Timestamp) -> Result<(), StoreError> {
        for hash in [&grant.id_hash, &grant.control_hash] {
            let (partition, key) = keys::ids(hash);
            let batch = Batch::new(partition).then(Operation::Delete { key });
            self.commit(batch, Ack::Accepted, now).await?;
        }
        if grant.ancestors.is_empty() {
            let key = keys::root(grant.created, &grant.handle);
            let expires = Some(now.saturating_add(self.retention));
            let operation = Operation::Put { key, value: Bytes::new(), expires };
            self.commit(Batch::new(keys::roots()).then(operation), Ack::Accepted, now).await?;
        }
        Ok(())
    }
}
