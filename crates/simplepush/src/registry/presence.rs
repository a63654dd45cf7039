//! Where UserAgents are connected, if several gateways share the store (SimplePush §15).
//!
//! Gateways have no ports for each other: they meet in the store. Each connection writes its name
//! into a row of its UserAgent; the last write is the newest connection, in the store's own order, so
//! there are no ties. The others learn of it by the store's hints, as they learn of accepted versions.
//! Each gateway keeps a row with an end while it lives, so that those it leaves behind when it crashes
//! are soon known to be away.
//!
//! Never here: anything that is needed for a version not to be lost.

use std::time::Duration;

use buswire_message::Timestamp;
use buswire_store::{Ack, Batch, Expectation, Key, Operation, Outcome, Partition, StoreNameError};

use super::{Registry, RegistryError, keys::holder_key};
use crate::{
    config::Gateways,
    id::{Uaid, UserAgentId},
};

/// How long a gateway counts as alive after it said so.
const GATEWAY_LEASE: Duration = Duration::from_secs(15);
/// How often a gateway says so.
pub(crate) const GATEWAY_BEAT: Duration = Duration::from_secs(5);

/// Names a gateway among those that share a store: random bytes of this process.
pub(crate) type GatewayId = [u8; 8];

/// The connection that a UserAgent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    gateway: GatewayId,
    connection: u64,
}

impl Holder {
    fn encode(self) -> Vec<u8> {
        [self.gateway, self.connection.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (gateway, connection) = bytes.split_first_chunk()?;
        let connection = u64::from_be_bytes(connection.try_into().ok()?);
        Some(Self { gateway: *gateway, connection })
    }
}

fn gateways() -> Result<Partition, StoreNameError> {
    Partition::new("push-gateways")
}

impl Registry {
    fn shares_store(&self) -> bool {
        self.config.gateways == Gateways::Several
    }

    pub(super) const fn own(&self, connection: u64) -> Holder {
        Holder { gateway: self.gateway, connection }
    }

    /// What names `holder` as the connection of a UserAgent. The row outlives its connection by at
    /// most two intervals of touching.
    fn hold(&self, holder: Holder, now: Timestamp) -> Result<Operation, RegistryError> {
        let expires = Some(now.saturating_add(self.config.timing.touch_interval * 2));
        Ok(Operation::Put { key: holder_key()?, value: holder.encode().into(), expires })
    }

    /// Makes a connection the one that its UserAgent has.
    pub(super) async fn enter(&self, uaid: Uaid, holder: Holder) -> Result<(), RegistryError> {
        if self.shares_store() {
            let now = self.now();
            let batch = Batch::new(uaid.key().partition()?).then(self.hold(holder, now)?);
            self.store.commit(batch, Ack::Accepted, now).await?;
        }
        Ok(())
    }

    /// Adds to a batch that makes a record: its connection is the one that the UserAgent has, if it
    /// has none yet.
    pub(super) async fn enter_with_record(
        &self,
        batch: Batch,
        holder: Holder,
        now: Timestamp,
    ) -> Result<Batch, RegistryError> {
        if !self.shares_store() || self.holder(&batch.partition, now).await?.is_some() {
            return Ok(batch);
        }
        Ok(batch.expect(Expectation::Absent(holder_key()?)).then(self.hold(holder, now)?))
    }

    /// Whether the UserAgent has a newer connection than this one.
    pub(super) async fn is_superseded(
        &self,
        partition: &Partition,
        own: Holder,
        now: Timestamp,
    ) -> Result<bool, RegistryError> {
        if !self.shares_store() {
            return Ok(false);
        }
        Ok(self.holder(partition, now).await?.is_some_and(|holder| holder != own))
    }

    /// Keeps the row of a connection that lasts, unless another has taken its place.
    pub(super) async fn hold_on(
        &self,
        partition: &Partition,
        own: Holder,
    ) -> Result<(), RegistryError> {
        let now = self.now();
        let kept = self.hold(own, now)?;
        self.if_own(partition, own, kept, now).await
    }

    /// Gives up the place of a connection, unless another has taken it.
    pub(super) async fn leave(&self, uaid: Uaid, own: Holder) -> Result<(), RegistryError> {
        let gone = Operation::Delete { key: holder_key()? };
        self.if_own(&uaid.key().partition()?, own, gone, self.now()).await
    }

    async fn if_own(
        &self,
        partition: &Partition,
        own: Holder,
        operation: Operation,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        if !self.shares_store() {
            return Ok(());
        }
        let key = holder_key()?;
        let Some(row) = self.store.get(partition, &key, now).await? else { return Ok(()) };
        if row.value.as_bytes().and_then(|bytes| Holder::decode(bytes)) != Some(own) {
            return Ok(());
        }
        let unchanged = Expectation::Unchanged(key, row.revision);
        let batch = Batch::new(partition.clone()).expect(unchanged).then(operation);
        // A conflict says that another connection has taken the place.
        let (Outcome::Committed(_) | Outcome::Conflict(_)) =
            self.store.commit(batch, Ack::Accepted, now).await?;
        Ok(())
    }

    async fn holder(
        &self,
        partition: &Partition,
        now: Timestamp,
    ) -> Result<Option<Holder>, RegistryError> {
        let row = self.store.get(partition, &holder_key()?, now).await?;
        Ok(row.and_then(|row| Holder::decode(row.value.as_bytes()?)))
    }

    /// Whether a UserAgent is connected to another gateway that is alive.
    pub(crate) async fn is_elsewhere(
        &self,
        user_agent: UserAgentId,
    ) -> Result<bool, RegistryError> {
        let now = self.now();
        let holder = self.holder(&user_agent.partition()?, now).await?;
        let Some(holder) = holder.filter(|holder| holder.gateway != self.gateway) else {
            return Ok(false);
        };
        let key = Key::new(holder.gateway.to_vec())?;
        Ok(self.store.get(&gateways()?, &key, now).await?.is_some())
    }

    /// Says that this gateway is alive, or that it is no longer.
    pub(crate) async fn announce(&self, alive: bool) -> Result<(), RegistryError> {
        let now = self.now();
        let key = Key::new(self.gateway.to_vec())?;
        let operation = if alive {
            let expires = Some(now.saturating_add(GATEWAY_LEASE));
            Operation::Put { key, value: bytes::Bytes::new(), expires }
        } else {
            Operation::Delete { key }
        };
        let batch = Batch::new(gateways()?).then(operation);
        self.store.commit(batch, Ack::Accepted, now).await?;
        Ok(())
    }
}
