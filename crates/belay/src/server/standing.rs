//! How a grant stands, for a door that goes on acting under it after the invocation is over.
//!
//! Never here: counting a use; what is done under a grant later was paid for when it was invoked.

use std::sync::Arc;

use buswire_store::StoreError;

use crate::{
    limits::Bounds,
    names::{Handle, Kind},
    server::{CapServer, Designated},
    wire::BcapValue,
};

/// How a grant stands at a moment.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It allows what it was granted for, whatever its uses.
    Current {
        /// The kind of operation.
        kind: Kind,
        /// What was fixed when it was granted.
        target: Arc<BcapValue>,
        /// What is left after the limits of the whole chain.
        bounds: Arc<Bounds>,
    },
    /// It allows nothing now and may again: it, or one above it, is suspended, or has not begun.
    Dormant,
    /// It is revoked or expired, or one above it is; it will never allow anything again.
    Ended,
}

impl CapServer {
    /// How a grant stands now, read from the store with its whole chain.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store can't be read; what a grant allowed is then unknown, and nothing
    /// may be done under it.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only reads.
    pub async fn standing(&self, handle: &Handle) -> Result<Standing, StoreError> {
        let now = self.0.now();
        let Some(tree) = self.0.grants.tree_of(handle, now).await? else {
            return Ok(Standing::Ended);
        };
        let Some(chain) = self.0.grants.chain(&tree, handle, now).await? else {
            return Ok(Standing::Ended);
        };
        let grant = chain.grant();
        if let Some(Designated { operation, target }) =
            self.0.designated(&grant.kind, &grant.target)
        {
            let bound = operation.is_bound(&target).await;
            let unknown = |_| StoreError::Unavailable("a target can't be looked up".to_owned());
            if !bound.map_err(unknown)? {
                return Ok(Standing::Ended);
            }
        }
        Ok(if chain.is_current(now) {
            Standing::Current {
                kind: grant.kind.clone(),
                target: Arc::clone(&grant.target),
                bounds: Arc::clone(&grant.bounds),
            }
        } else if grant.bounds.expires().is_some_and(|end| now >= end) {
            Standing::Ended
        } else {
            Standing::Dormant
        })
    }
}
