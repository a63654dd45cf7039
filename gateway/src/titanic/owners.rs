//! Which gateway sends a stored request to its service, where several share the store.
//!
//! A record names the gateway that took it in, in front of it. A gateway keeps a row while it lives, by
//! the clocks of the gateways; what belongs to one without a row is anybody's, and whoever takes it
//! writes its own name in, expecting the record as it read it: so it is taken once. A gateway that only
//! seemed to be gone finds that out before its next attempt. Clocks that are apart by more than the lease
//! cost a second attempt at most.
//!
//! Never here: what a record holds.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use buswire_mdp::titanic::Titanic;
use buswire_message::{Clock, Entropy};
use buswire_store::{
    Ack, Batch, Direction, Key, KeyRange, Operation, Partition, Store, StoreNameError,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Failure;

/// How often a gateway writes its row and looks at the others'.
const BEAT: Duration = Duration::from_secs(1);
/// How long a row that is not written again stays.
const LEASE: Duration = Duration::from_secs(5);
/// Rows that are read: more gateways than share a store.
const ROWS_MAX: usize = 1024;
/// Goes before the name of a gateway. A record by itself begins with less.
const NAMED: u8 = 0xFF;

/// Names a gateway among those that share a store: random bytes of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner([u8; 8]);

impl Owner {
    /// Writes the name before a record.
    pub(super) fn sign(self, record: &[u8]) -> Bytes {
        let mut signed = BytesMut::with_capacity(1 + self.0.len() + record.len());
        signed.put_u8(NAMED);
        signed.put_slice(&self.0);
        signed.put_slice(record);
        signed.freeze()
    }
}

/// Takes the name off a record, if it has one.
pub(super) fn unsign(mut value: Bytes) -> (Option<Owner>, Bytes) {
    match value.split_first_chunk::<9>() {
        Some(([NAMED, owner @ ..], _)) => {
            let owner = Owner(*owner);
            (Some(owner), value.split_off(9))
        }
        _ => (None, value),
    }
}

/// The gateways, as one of them sees them.
#[derive(Debug)]
pub(super) struct Owners {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    partition: Partition,
    pub(super) own: Owner,
}

impl Owners {
    /// A gateway that nobody knows of yet.
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Self, StoreNameError> {
        let mut own = [0; 8];
        entropy.fill(&mut own);
        Ok(Self { store, clock, partition: Partition::new("titanic-gateways")?, own: Owner(own) })
    }

    /// The gateways that live, this one among them.
    pub(super) async fn living(&self) -> Result<BTreeSet<Owner>, Failure> {
        let (all, order) = (KeyRange::all(), Direction::Ascending);
        let rows = self.store.scan(&self.partition, all, ROWS_MAX, order, self.clock.now()).await?;
        let owner = |key: &Key| key.as_bytes()[..].try_into().ok().map(Owner);
        let mut living: BTreeSet<_> = rows.rows.iter().filter_map(|(key, _)| owner(key)).collect();
        living.insert(self.own);
        Ok(living)
    }

    /// Says that this gateway lives. Not before that it may take requests in, or others would take them
    /// over.
    pub(super) async fn announce(&self) -> Result<(), Failure> {
        let now = self.clock.now();
        let (key, value) = (self.key()?, Bytes::new());
        let row = Operation::Put { key, value, expires: Some(now.saturating_add(LEASE)) };
        let batch = Batch::new(self.partition.clone()).then(row);
        self.store.commit(batch, Ack::Accepted, now).await?;
        Ok(())
    }

    async fn withdraw(&self) -> Result<(), Failure> {
        let gone = Operation::Delete { key: self.key()? };
        let batch = Batch::new(self.partition.clone()).then(gone);
        self.store.commit(batch, Ack::Accepted, self.clock.now()).await?;
        Ok(())
    }

    fn key(&self) -> Result<Key, StoreNameError> {
        Key::new(self.own.0.to_vec())
    }

    /// Keeps the row until `stop`, and has `titanic` take in what those leave that are gone.
    pub(super) async fn follow(&self, titanic: &Titanic, stop: &CancellationToken) {
        let mut beats = time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Whoever went while this one started is not among those that it has seen.
        let (mut seen, mut owes, mut fails) = (BTreeSet::new(), true, false);
        while stop.run_until_cancelled(beats.tick()).await.is_some() {
            match self.beat(titanic, &mut seen, &mut owes).await {
                Ok(()) => fails = false,
                Err(error) => {
                    if !fails {
                        tracing::warn!(why = ?error, "stored requests of other gateways can't be taken over");
                    }
                    fails = true;
                }
            }
        }
        if let Err(error) = self.withdraw().await {
            tracing::debug!(why = ?error, "the row of this gateway ends by itself");
        }
    }

    async fn beat(
        &self,
        titanic: &Titanic,
        seen: &mut BTreeSet<Owner>,
        owes: &mut bool,
    ) -> Result<(), Failure> {
        self.announce().await?;
        let living = self.living().await?;
        *owes |= !seen.is_subset(&living);
        *seen = living;
        if *owes {
            titanic.take_in().await?;
            *owes = false;
        }
        Ok(())
    }
}
