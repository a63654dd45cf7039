//! Buses as Backplane sees them: who may use a 1.x bus, who owns a 2.0 bus.

use std::collections::BTreeMap;

use buswire_bus::BusError;
use buswire_message::{BusName, Realm, Retention};
use buswire_store::{Batch, Expectation, Operation, Revision};

use crate::{
    Backplane,
    admin::ATTEMPTS,
    error::AdminError,
    rules::names::{OwnerName, Permissions, UserName},
    state::{
        accounts::kinds,
        records::{V1BusRecord, V2BusRecord},
        rows::{Committed, key, put, unchanged},
    },
};

/// A 1.x bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Bus {
    /// Its name, in the realm of 1.x.
    pub name: BusName,
    /// What users may do on it; they need not exist.
    pub users: BTreeMap<UserName, Permissions>,
    /// How long its messages are kept.
    pub retention: Retention,
}

/// A 2.0 bus that has an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedBus {
    /// Its name, in the realm of 2.0.
    pub name: BusName,
    /// Who owns it.
    pub owner: OwnerName,
    /// How long its messages are kept.
    pub retention: Retention,
}

impl Backplane {
    /// Creates or replaces a 1.x bus with its users (Backplane §13.3).
    ///
    /// # Errors
    ///
    /// [`AdminError::WrongRealm`], [`AdminError::Bus`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the bus may then exist without its users; the call can be repeated.
    pub async fn put_v1_bus(&self, bus: V1Bus) -> Result<(), AdminError> {
        in_realm(&bus.name, Realm::V1)?;
        self.put_bus_settings(&bus.name, bus.retention, None).await?;
        let record = V1BusRecord::new(&bus.users);
        let rows = &self.state.rows;
        let key = key(&[kinds::V1_BUS, bus.name.name()]);
        rows.apply(Batch::new(rows.accounts().clone()).then(put(key, &record, None))).await?;
        self.state.forget_v1_bus(&bus.name);
        Ok(())
    }

    /// Says what a user may do with a 1.x bus; what others may do stays, also what somebody else changes at
    /// the same time.
    ///
    /// # Errors
    ///
    /// [`AdminError::WrongRealm`], [`AdminError::UnknownBus`], [`AdminError::Contended`],
    /// [`AdminError::Bus`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it is one commit.
    pub async fn permit(
        &self,
        user: &UserName,
        bus: &BusName,
        permissions: Permissions,
    ) -> Result<(), AdminError> {
        in_realm(bus, Realm::V1)?;
        if self.state.buses.created_at(bus).await?.is_none() {
            return Err(AdminError::UnknownBus(bus.clone()));
        }
        let (rows, key) = (&self.state.rows, key(&[kinds::V1_BUS, bus.name()]));
        for _ in 0..ATTEMPTS {
            let present = rows.get::<V1BusRecord>(rows.accounts(), &key).await?;
            let (expected, mut users) = match present {
                None => (Expectation::Absent(key.clone()), BTreeMap::new()),
                Some((record, revision)) => (unchanged(key.clone(), revision), record.users()?),
            };
            users.insert(user.clone(), permissions);
            let write = put(key.clone(), &V1BusRecord::new(&users), None);
            let batch = Batch::new(rows.accounts().clone()).expect(expected).then(write);
            if rows.commit(batch).await? == Committed::Done {
                self.state.forget_v1_bus(bus);
                return Ok(());
            }
        }
        Err(AdminError::Contended)
    }

    /// Deletes a 1.x bus, if it has the revision `expected`; `None` is any. Whether there was one.
    /// Privileged access ends at once, while the messages stay readable by channel until they expire
    /// (Backplane §6.8).
    ///
    /// # Errors
    ///
    /// [`AdminError::WrongRealm`], [`AdminError::Bus`] with `Changed` if it has another revision: then
    /// nothing is deleted. [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the call can be repeated.
    pub async fn delete_v1_bus(
        &self,
        name: &BusName,
        expected: Option<Revision>,
    ) -> Result<bool, AdminError> {
        in_realm(name, Realm::V1)?;
        let deleted = self.delete_expected(name, expected).await?;
        let key = key(&[kinds::V1_BUS, name.name()]);
        let rows = &self.state.rows;
        rows.apply(Batch::new(rows.accounts().clone()).then(Operation::Delete { key })).await?;
        self.state.forget_v1_bus(name);
        self.delete_rest(name, deleted).await
    }

    /// The 1.x buses, in order of name.
    ///
    /// # Errors
    ///
    /// [`AdminError::Bus`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn v1_buses(&self) -> Result<Vec<V1Bus>, AdminError> {
        let rows = &self.state.rows;
        let mut buses = Vec::new();
        for (name, record) in rows.scan::<V1BusRecord>(rows.accounts(), &[kinds::V1_BUS]).await? {
            let Ok(name) = BusName::new(Realm::V1, &name) else { continue };
            if let Some(info) = self.state.buses.get(&name).await? {
                buses.push(V1Bus { name, users: record.users()?, retention: info.retention });
            }
        }
        Ok(buses)
    }

    /// Creates or replaces a 2.0 bus, if it has the revision `expected`, and says who owns it (Backplane
    /// §13.3); `None` is any, and none. Messages and channels that exist stay; the retention holds for
    /// what is posted later.
    ///
    /// # Errors
    ///
    /// [`AdminError::WrongRealm`], [`AdminError::UnknownOwner`], [`AdminError::Bus`], with `Changed` if it
    /// has another revision: then nothing is changed.
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the bus may then exist without its owner; the call can be repeated.
    pub async fn put_bus(
        &self,
        bus: OwnedBus,
        expected: Option<Revision>,
    ) -> Result<(), AdminError> {
        in_realm(&bus.name, Realm::V2)?;
        let rows = &self.state.rows;
        if !self.state.has_owner(&bus.owner).await? {
            return Err(AdminError::UnknownOwner(bus.owner));
        }
        self.put_bus_settings(&bus.name, bus.retention, expected).await?;
        let key = key(&[kinds::V2_BUS, bus.name.name()]);
        let record = V2BusRecord::new(&bus.owner);
        rows.apply(Batch::new(rows.accounts().clone()).then(put(key, &record, None))).await?;
        Ok(())
    }

    /// Deletes a 2.0 bus, with or without an owner, if it has the revision `expected`; `None` is any.
    /// Whether there was one. It leaves all grants, those left empty vanish, every token backed by a
    /// changed grant dies, also for other buses; its channels and anonymous tokens are void (Backplane
    /// §13.4).
    ///
    /// # Errors
    ///
    /// [`AdminError::WrongRealm`], [`AdminError::Bus`] with `Changed` if it has another revision: then
    /// nothing is deleted. [`AdminError::Contended`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the call can be repeated.
    pub async fn delete_bus(
        &self,
        name: &BusName,
        expected: Option<Revision>,
    ) -> Result<bool, AdminError> {
        in_realm(name, Realm::V2)?;
        let deleted = self.delete_expected(name, expected).await?;
        for client in self.clients().await? {
            self.remove_from_grants(&client.client_id, std::slice::from_ref(name)).await?;
        }
        let rows = &self.state.rows;
        let key = key(&[kinds::V2_BUS, name.name()]);
        rows.apply(Batch::new(rows.accounts().clone()).then(Operation::Delete { key })).await?;
        self.delete_rest(name, deleted).await
    }

    /// Deletes a bus of which a revision is `expected` before the rights to it: whoever expects another
    /// one changes nothing. `None` if any will do: then the bus goes last, so that a call that broke off
    /// leaves no rights to a bus that is not listed.
    async fn delete_expected(
        &self,
        name: &BusName,
        expected: Option<Revision>,
    ) -> Result<Option<bool>, AdminError> {
        match expected {
            Some(_) => Ok(Some(self.state.buses.delete(name, expected).await?)),
            None => Ok(None),
        }
    }

    /// Deletes a bus unless that is `deleted` already; whether there was one.
    async fn delete_rest(&self, name: &BusName, deleted: Option<bool>) -> Result<bool, AdminError> {
        let existed = match deleted {
            Some(existed) => existed,
            None => self.state.buses.delete(name, None).await?,
        };
        self.state.forget_bus(name);
        Ok(existed)
    }

    /// The 2.0 buses that have an owner, in order of name.
    ///
    /// # Errors
    ///
    /// [`AdminError::Bus`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn buses(&self) -> Result<Vec<OwnedBus>, AdminError> {
        let rows = &self.state.rows;
        let mut buses = Vec::new();
        for (name, record) in rows.scan::<V2BusRecord>(rows.accounts(), &[kinds::V2_BUS]).await? {
            let Ok(name) = BusName::new(Realm::V2, &name) else { continue };
            if let Some(info) = self.state.buses.get(&name).await? {
                buses.push(OwnedBus { name, owner: record.owner()?, retention: info.retention });
            }
        }
        Ok(buses)
    }

    async fn put_bus_settings(
        &self,
        name: &BusName,
        retention: Retention,
        expected: Option<Revision>,
    ) -> Result<(), BusError> {
        if expected.is_none() {
            self.state.buses.create(name, retention).await?;
        }
        // A bus that existed has kept its settings.
        self.state.buses.update(name, retention, expected).await?;
        self.state.forget_bus(name);
        Ok(())
    }
}

pub(crate) fn in_realm(name: &BusName, realm: Realm) -> Result<(), AdminError> {
    if name.realm() == realm { Ok(()) } else { Err(AdminError::WrongRealm(name.clone())) }
}
