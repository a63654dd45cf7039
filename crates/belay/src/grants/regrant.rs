//! Finding what a regrant refers to (Belay §20.7).
//!
//! Every grant that a grantor makes has a fingerprint of what was asked for. A row that changes with
//! each of them makes concurrent regrants see each other. Never here: what the fingerprint is made of.

use buswire_message::{SecretHash, Timestamp};
use buswire_store::{Batch, Direction, KeyRange, Operation, StoreError};
use bytes::Bytes;

use crate::{
    grants::{
        Grants,
        insert::{Derivation, InsertError, Regrant},
        keys,
        record::Grant,
        unchanged,
    },
    names::Handle,
};

/// Live grants with one fingerprint that are looked at: two are already ambiguous, and a rotation
/// buries all that plain grants left.
const FITTING_MAX: usize = 64;

/// What is there already.
pub(super) enum Fit {
    /// The one that is the answer.
    One(Box<Grant>),
    /// Nothing, and these have to go.
    None(Vec<Grant>),
}

impl Grants {
    /// Adds to a batch what a grant with a fingerprint does to others of the same.
    pub(super) async fn regrant(
        &self,
        batch: &mut Batch,
        child: &Derivation,
        now: Timestamp,
    ) -> Result<Fit, InsertError> {
        let grant = &child.grant;
        let Some(digest) = &grant.fingerprint else { return Ok(Fit::None(Vec::new())) };
        let guard = keys::fingerprint(digest);
        let row = self.store.get(&batch.partition, &guard, now).await?;
        batch.expectations.push(unchanged(guard.clone(), row.as_ref()));
        let replaced = match child.regrant {
            Regrant::No => Vec::new(),
            Regrant::Rotate => self.matching(grant.root(), digest, now).await?,
            Regrant::Reuse { version } => match self.fitting(grant, version, now).await? {
                Fit::None(replaced) => replaced,
                one @ Fit::One(_) => return Ok(one),
            },
        };
        for old in &replaced {
            batch.operations.extend(self.burial(old, now)?);
        }
        batch.operations.push(Operation::Put {
            key: guard,
            value: Bytes::from(grant.handle.to_string()),
            expires: self.keep_until(grant),
        });
        batch.operations.push(Operation::Put {
            key: keys::matching(digest, &grant.handle),
            value: Bytes::new(),
            expires: grant.bounds.expires(),
        });
        Ok(Fit::None(replaced))
    }

    /// The live grant that a stable regrant means.
    pub(super) async fn fitting(
        &self,
        grant: &Grant,
        version: u32,
        now: Timestamp,
    ) -> Result<Fit, InsertError> {
        let Some(digest) = &grant.fingerprint else { return Ok(Fit::None(Vec::new())) };
        let mut live = self.matching(grant.root(), digest, now).await?;
        if live.len() > 1 {
            return Err(InsertError::Ambiguous);
        }
        match live.pop() {
            Some(one) if one.seeds.is_some_and(|seeds| seeds.version == version) => {
                Ok(Fit::One(Box::new(one)))
            }
            other => Ok(Fit::None(other.into_iter().collect())),
        }
    }

    async fn matching(
        &self,
        tree: &Handle,
        digest: &SecretHash,
        now: Timestamp,
    ) -> Result<Vec<Grant>, StoreError> {
        let range = KeyRange::prefix(&keys::all_matching(digest));
        let partition = keys::tree(tree);
        let page =
            self.store.scan(&partition, range, FITTING_MAX, Direction::Ascending, now).await?;
        let mut live = Vec::new();
        for handle in page.rows.iter().filter_map(|(key, _)| keys::matching_handle(key)) {
            let chain = self.chain(tree, &handle, now).await?;
            let live_one = chain.filter(|chain| chain.is_live(now));
            live.extend(live_one.map(|chain| (*chain.leaf.grant).clone()));
        }
        Ok(live)
    }
}
