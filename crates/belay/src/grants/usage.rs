//! How often grants were invoked: counted in memory, written now and then.
//!
//! For people, not for limits: a crash may lose the last few seconds of it. Never here: the uses that
//! a limit counts; see `admission`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buswire_message::Timestamp;
use buswire_store::{Ack, Batch, Operation, StoreError};

use crate::{
    grants::{
        Grants, keys,
        record::{Usage, decode, encode},
        unchanged,
    },
    names::Handle,
};

/// Grants whose count waits to be written, about 100 bytes each.
const WAITING_MAX: usize = 1024;

/// How long a count waits at most while the grant is in use.
const WRITE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Waiting {
    // By tree and grant.
    usage: BTreeMap<(Handle, Handle), Usage>,
    since: Option<Timestamp>,
}

/// The counts that were not written yet.
#[derive(Debug, Default)]
pub(crate) struct UsageBuffer(Mutex<Waiting>);

impl UsageBuffer {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one invocation; `true` if it is time to write.
    pub(crate) fn count(&self, tree: &Handle, handle: &Handle, now: Timestamp) -> bool {
        let mut waiting = self.lock();
        let since = *waiting.since.get_or_insert(now);
        let one = Usage { invocations: 1, last_used: now.as_millis() };
        let usage = waiting.usage.entry((tree.clone(), handle.clone())).or_default();
        *usage = usage.plus(one);
        waiting.usage.len() >= WAITING_MAX || now.saturating_since(since) >= WRITE_EVERY
    }

    fn of(&self, tree: &Handle, handle: &Handle) -> Usage {
        self.lock().usage.get(&(tree.clone(), handle.clone())).copied().unwrap_or_default()
    }

    fn take(&self) -> BTreeMap<(Handle, Handle), Usage> {
        let mut waiting = self.lock();
        waiting.since = None;
        std::mem::take(&mut waiting.usage)
    }
}

impl Grants {
    /// How often a grant was invoked, what was not written yet included.
    pub(crate) async fn usage(
        &self,
        buffer: &UsageBuffer,
        tree: &Handle,
        handle: &Handle,
        now: Timestamp,
    ) -> Result<Usage, StoreError> {
        let row = self.store.get(&keys::tree(tree), &keys::usage(handle), now).await?;
        let bytes = row.as_ref().and_then(|row| row.value.as_bytes());
        let stored = bytes.map(|bytes| decode::<Usage>(bytes)).transpose()?.unwrap_or_default();
        Ok(stored.plus(buffer.of(tree, handle)))
    }

    /// Writes the counts that wait. One that another gateway keeps writing is dropped after a few
    /// attempts.
    pub(crate) async fn write_usage(
        &self,
        buffer: &UsageBuffer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for ((tree, handle), usage) in buffer.take() {
            for _ in 0..4 {
                let (partition, key) = (keys::tree(&tree), keys::usage(&handle));
                let row = self.store.get(&partition, &key, now).await?;
                let bytes = row.as_ref().and_then(|row| row.value.as_bytes());
                let stored = bytes.map(|bytes| decode::<Usage>(bytes)).transpose()?;
                let value = encode(&stored.unwrap_or_default().plus(usage))?;
                // As long as a grant may be listed after it was last used; a grant that is not used
                // for longer is shown as if it never was.
                let expires = Some(now.saturating_add(self.retention.saturating_mul(12)));
                let batch = Batch::new(partition)
                    .expect(unchanged(key.clone(), row.as_ref()))
                    .then(Operation::Put { key, value, expires });
                if self.commit(batch, Ack::Accepted, now).await? {
                    break;
                }
            }
        }
        Ok(())
    }
}
