//! Reading 1.x users and what they may do.

use std::{collections::BTreeMap, sync::Arc};

use buswire_message::BusName;
use buswire_store::StoreError;

use super::{
    State,
    password::Credential,
    records::{AccountRecord, V1BusRecord, V2BusRecord},
    rows::key,
};
use crate::rules::names::{OwnerName, Permissions, UserName};

/// The first words of the keys in the partition of the accounts.
pub(crate) mod kinds {
    pub(crate) const USER: &str = "user";
    pub(crate) const V1_BUS: &str = "v1-bus";
    pub(crate) const OWNER: &str = "owner";
    pub(crate) const V2_BUS: &str = "v2-bus";
    pub(crate) const CLIENT: &str = "client";
    pub(crate) const GRANT: &str = "grant";
    pub(crate) const GRANT_INDEX: &str = "grant-index";
}

impl State {
    /// What is stored of a 1.x user's password.
    pub(crate) async fn user(
        &self,
        name: &UserName,
    ) -> Result<Option<Arc<Credential>>, StoreError> {
        if let Some(found) = self.users.get(name, self.now()) {
            return Ok(Some(found));
        }
        let version = self.users.version();
        let key = key(&[kinds::USER, name.as_str()]);
        let row = self.rows.get::<AccountRecord>(self.rows.accounts(), &key).await?;
        let Some((record, _)) = row else { return Ok(None) };
        let credential = Arc::new(record.credential()?);
        self.users.insert(version, name.clone(), Arc::clone(&credential), self.now());
        Ok(Some(credential))
    }

    /// What users may do on a 1.x bus; `None` if it has no configuration.
    pub(crate) async fn permissions(
        &self,
        bus: &BusName,
    ) -> Result<Option<Arc<BTreeMap<UserName, Permissions>>>, StoreError> {
        if let Some(found) = self.v1_buses.get(bus, self.now()) {
            return Ok(Some(found));
        }
        let version = self.v1_buses.version();
        let Some(users) = self.stored_permissions(bus).await? else { return Ok(None) };
        let users = Arc::new(users);
        self.v1_buses.insert(version, bus.clone(), Arc::clone(&users), self.now());
        Ok(Some(users))
    }

    /// The same, as it is stored now: the cache may be behind what another process wrote.
    pub(crate) async fn stored_permissions(
        &self,
        bus: &BusName,
    ) -> Result<Option<BTreeMap<UserName, Permissions>>, StoreError> {
        let key = key(&[kinds::V1_BUS, bus.name()]);
        let row = self.rows.get::<V1BusRecord>(self.rows.accounts(), &key).await?;
        row.map(|(record, _)| record.users()).transpose()
    }

    /// Whether a 1.x user of this name is stored now: the cache may be behind what another process wrote.
    pub(crate) async fn has_user(&self, name: &UserName) -> Result<bool, StoreError> {
        let key = key(&[kinds::USER, name.as_str()]);
        Ok(self.rows.get::<AccountRecord>(self.rows.accounts(), &key).await?.is_some())
    }

    /// Who owns a 2.0 bus; `None` if nobody does.
    pub(crate) async fn bus_owner(&self, bus: &BusName) -> Result<Option<OwnerName>, StoreError> {
        let key = key(&[kinds::V2_BUS, bus.name()]);
        let row = self.rows.get::<V2BusRecord>(self.rows.accounts(), &key).await?;
        row.map(|(record, _)| record.owner()).transpose()
    }

    /// Whether there is a bus owner of this name.
    pub(crate) async fn has_owner(&self, name: &OwnerName) -> Result<bool, StoreError> {
        let key = key(&[kinds::OWNER, name.as_str()]);
        Ok(self.rows.get::<AccountRecord>(self.rows.accounts(), &key).await?.is_some())
    }

    /// Makes a change of a user count at once.
    pub(crate) fn forget_user(&self, name: &UserName) {
        self.users.remove(name);
    }

    /// Makes a change of a 1.x bus count at once.
    pub(crate) fn forget_v1_bus(&self, bus: &BusName) {
        self.v1_buses.remove(bus);
    }
}
