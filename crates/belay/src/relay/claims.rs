//! Who has claimed which temporary id, in the store (Belay §22.4).
//!
//! | partition | key | row |
//! |---|---|---|
//! | `relay/XX` | SHA-256 of an id, whose first byte is XX | SHA-256 of its resume token; a tombstone once it is retired |
//!
//! A claim is stored before it is answered, so that no restart and no other gateway gives the id to
//! somebody else. A claim that nobody renews, since its gateway crashed, ends by itself as late as a
//! tombstone would. Never here: which connection has an id.

use std::{sync::Arc, time::Duration};

use buswire_message::{Clock, SecretHash, Timestamp};
use buswire_store::{
    Ack, Applied, Batch, Expectation, Key, Operation, Outcome, Partition, Revision, RowValue,
    Store, StoreError,
};
use bytes::Bytes;

use crate::relay::core::Claimed;

/// How often a claim is renewed while its id is in use.
pub(super) const RENEW_INTERVAL: Duration = Duration::from_secs(86_400);

/// How often a conflict or a busy store is tried again.
const ATTEMPTS: usize = 3;

/// The claims of every gateway that shares a store.
#[derive(Debug)]
pub(super) struct Claims {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    retirement: Duration,
}

impl Claims {
    pub(super) const fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        retirement: Duration,
    ) -> Self {
        Self { store, clock, retirement }
    }

    /// Claims an id for whoever has the token: the first one, and the same one again.
    pub(super) async fn claim(&self, id: &str, token: &SecretHash) -> Claimed {
        for _ in 0..ATTEMPTS {
            match self.try_claim(id, token).await {
                Ok(Some(claimed)) => return claimed,
                Ok(None) | Err(StoreError::Retry(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, "a claim of an instance id could not be stored");
                    break;
                }
            }
        }
        Claimed::Failed
    }

    /// `None` if the row changed in between.
    async fn try_claim(&self, id: &str, token: &SecretHash) -> Result<Option<Claimed>, StoreError> {
        let (partition, key) = place(id);
        let row = self.store.get(&partition, &key, self.clock.now()).await?;
        let expectation = match row {
            None => Expectation::Absent(key.clone()),
            Some(row) => match row.value {
                RowValue::Bytes(bytes) if bytes[..] == token.as_bytes()[..] => {
                    Expectation::Unchanged(key.clone(), row.revision)
                }
                RowValue::Tombstone => return Ok(Some(Claimed::Retired)),
                RowValue::Bytes(_) | RowValue::Version(_) => return Ok(Some(Claimed::Taken)),
            },
        };
        let now = self.clock.now();
        let value = Bytes::copy_from_slice(token.as_bytes());
        let batch = Batch::new(partition).expect(expectation);
        let batch = batch.then(Operation::Put { key, value, expires: Some(self.end(now)) });
        Ok(revision(&self.store.commit(batch, Ack::Safe, now).await?).map(Claimed::Yes))
    }

    /// Makes a claim last longer; `None` if it is another gateway's by now.
    pub(super) async fn renew(
        &self,
        id: &str,
        claim: Revision,
    ) -> Result<Option<Revision>, StoreError> {
        let (partition, key) = place(id);
        let now = self.clock.now();
        let row = self.store.get(&partition, &key, now).await?;
        let Some(value) = row.as_ref().and_then(|row| row.value.as_bytes()).cloned() else {
            return Ok(None);
        };
        let batch = Batch::new(partition).expect(Expectation::Unchanged(key.clone(), claim));
        let batch = batch.then(Operation::Put { key, value, expires: Some(self.end(now)) });
        Ok(revision(&self.store.commit(batch, Ack::Safe, now).await?))
    }

    /// Buries a claim, unless it is another gateway's by now.
    pub(super) async fn retire(&self, id: &str, claim: Revision) -> Result<(), StoreError> {
        let (partition, key) = place(id);
        let now = self.clock.now();
        let until = now.saturating_add(self.retirement);
        let batch = Batch::new(partition)
            .expect(Expectation::Unchanged(key.clone(), claim))
            .then(Operation::Tombstone { key, until });
        self.store.commit(batch, Ack::Safe, now).await?;
        Ok(())
    }

    /// When a claim ends that is not renewed: the connection may last until the renewal that fails.
    fn end(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.retirement).saturating_add(2 * RENEW_INTERVAL)
    }
}

fn revision(outcome: &Outcome) -> Option<Revision> {
    match outcome {
        Outcome::Committed(applied) => applied.iter().find_map(|it| match it {
            Applied::Row(revision) => Some(*revision),
            _ => None,
        }),
        Outcome::Conflict(_) => None,
    }
}

#[expect(clippy::expect_used, reason = "both are short and printable or not empty")]
fn place(id: &str) -> (Partition, Key) {
    let hash = SecretHash::of(id);
    let first = hash.as_bytes().first().copied().unwrap_or_default();
    let partition = Partition::new(&format!("relay/{first:02x}")).expect("printable ASCII");
    (partition, Key::new(hash.as_bytes().to_vec()).expect("a key of 32 bytes"))
}
