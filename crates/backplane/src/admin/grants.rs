//! Grants: which buses a client may use (Backplane §8.4, §13.6).

use buswire_message::{BusName, Realm, Timestamp};
use buswire_store::{Batch, Expectation, Operation, Revision};

use crate::{
    Backplane,
    admin::{ATTEMPTS, buses::in_realm},
    error::AdminError,
    rules::{
        names::{ClientId, GrantId},
        token::Stamp,
    },
    state::{
        accounts::kinds,
        records::{ClientRecord, GrantIndexRecord, GrantRecord},
        rows::{Committed, key, put, unchanged},
    },
};

/// An active grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id; not usable as a code.
    pub id: GrantId,
    /// Who holds it.
    pub client_id: ClientId,
    /// The buses that it gives, each once.
    pub buses: Vec<BusName>,
    /// When it was made or reduced.
    pub updated_at: Timestamp,
    /// Changes when it is reduced.
    pub revision: Revision,
}

impl Backplane {
    /// Gives a client the use of buses: one new active grant, which does not expire, even if an equal
    /// one exists (Backplane §13.6). If one bus is unknown, nothing is granted.
    ///
    /// # Errors
    ///
    /// [`AdminError::UnknownClient`], [`AdminError::UnknownBus`], [`AdminError::WrongRealm`],
    /// [`AdminError::EmptyGrant`], [`AdminError::TooManyGrants`], [`AdminError::Contended`],
    /// [`AdminError::Bus`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: granting is one commit.
    pub async fn grant(&self, client: &ClientId, buses: &[BusName]) -> Result<GrantId, AdminError> {
        let id = GrantId::mint(&*self.state.entropy);
        self.grant_as(&id, client, buses).await?;
        Ok(id)
    }

    /// Does what [`grant`](Self::grant) does, with an id that was chosen before.
    pub(crate) async fn grant_as(
        &self,
        id: &GrantId,
        client: &ClientId,
        buses: &[BusName],
    ) -> Result<(), AdminError> {
        let mut distinct: Vec<BusName> = Vec::with_capacity(buses.len());
        for bus in buses {
            in_realm(bus, Realm::V2)?;
            if self.state.buses.get(bus).await?.is_none() {
                return Err(AdminError::UnknownBus(bus.clone()));
            }
            if !distinct.contains(bus) {
                distinct.push(bus.clone());
            }
        }
        if distinct.is_empty() {
            return Err(AdminError::EmptyGrant);
        }
        let rows = &self.state.rows;
        let client_key = key(&[kinds::CLIENT, client.as_str()]);
        let row = rows.get::<ClientRecord>(rows.accounts(), &client_key).await?;
        let Some((_, revision)) = row else {
            return Err(AdminError::UnknownClient(client.clone()));
        };
        let max = self.state.config.limits.grants_per_client_max;
        if self.state.read_grants(client).await?.len() >= max {
            return Err(AdminError::TooManyGrants { max });
        }
        let stamp = Stamp::mint(&*self.state.entropy);
        let record = GrantRecord::new(&distinct, stamp, self.state.now());
        let index_key = key(&[kinds::GRANT_INDEX, id.as_str()]);
        let batch = Batch::new(rows.accounts().clone())
            .expect(unchanged(client_key, revision))
            .expect(Expectation::Absent(index_key.clone()))
            .then(put(key(&[kinds::GRANT, client.as_str(), id.as_str()]), &record, None))
            .then(put(index_key, &GrantIndexRecord::new(client), None));
        match rows.commit(batch).await? {
            Committed::Done => {
                self.state.forget_client(client);
                Ok(())
            }
            Committed::Conflict(_) => Err(AdminError::Contended),
        }
    }

    /// Revokes a grant, if it has the revision `expected`; `None` is any. Whether there was one. Every
    /// token that it backed is dead when this returns, and so are their refresh tokens (Backplane §8.4).
    ///
    /// # Errors
    ///
    /// [`AdminError::Changed`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: revoking is one commit.
    pub async fn revoke_grant(
        &self,
        id: &GrantId,
        expected: Option<Revision>,
    ) -> Result<bool, AdminError> {
        let rows = &self.state.rows;
        let index_key = key(&[kinds::GRANT_INDEX, id.as_str()]);
        let row = rows.get::<GrantIndexRecord>(rows.accounts(), &index_key).await?;
        let Some((index, _)) = row else { return Ok(false) };
        let client = index.client()?;
        let grant_key = key(&[kinds::GRANT, client.as_str(), id.as_str()]);
        let batch = Batch::new(rows.accounts().clone())
            .then(Operation::Delete { key: grant_key.clone() })
            .then(Operation::Delete { key: index_key });
        self.apply_expected(batch, grant_key, expected, ("grant", id.as_str())).await?;
        self.state.forget_client(&client);
        Ok(true)
    }

    /// Removes buses from all grants of a client; whether any named one of them. Emptied grants
    /// vanish, and tokens backed by changed grants die (Backplane §13.6).
    ///
    /// # Errors
    ///
    /// [`AdminError::Contended`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the change is one commit.
    pub async fn revoke_buses(
        &self,
        client: &ClientId,
        buses: &[BusName],
    ) -> Result<bool, AdminError> {
        self.remove_from_grants(client, buses).await
    }

    /// The active grants of a client, in order of id; none for an unknown one.
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn grants(&self, client: &ClientId) -> Result<Vec<Grant>, AdminError> {
        let grants = self.state.read_grants(client).await?;
        let grant = |held: crate::state::clients::HeldGrant| Grant {
            id: held.id,
            client_id: client.clone(),
            buses: held.buses,
            updated_at: held.updated_at,
            revision: held.revision,
        };
        Ok(grants.into_iter().map(grant).collect())
    }

    pub(crate) async fn remove_from_grants(
        &self,
        client: &ClientId,
        buses: &[BusName],
    ) -> Result<bool, AdminError> {
        let rows = &self.state.rows;
        for _ in 0..ATTEMPTS {
            let mut batch = Batch::new(rows.accounts().clone());
            for held in self.state.read_grants(client).await? {
                let grant_key = key(&[kinds::GRANT, client.as_str(), held.id.as_str()]);
                // Read again for its revision: the batch must meet what is decided on here.
                let row = rows.get::<GrantRecord>(rows.accounts(), &grant_key).await?;
                let Some((record, revision)) = row else { continue };
                let (kept, removed): (Vec<_>, Vec<_>) =
                    record.buses()?.into_iter().partition(|bus| !buses.contains(bus));
                if removed.is_empty() {
                    continue;
                }
                batch = batch.expect(unchanged(grant_key.clone(), revision));
                batch = if kept.is_empty() {
                    let index_key = key(&[kinds::GRANT_INDEX, held.id.as_str()]);
                    batch
                        .then(Operation::Delete { key: grant_key })
                        .then(Operation::Delete { key: index_key })
                } else {
                    let stamp = Stamp::mint(&*self.state.entropy);
                    let record = GrantRecord::new(&kept, stamp, self.state.now());
                    batch.then(put(grant_key, &record, None))
                };
            }
            if batch.operations.is_empty() {
                return Ok(false);
            }
            if rows.commit(batch).await? == Committed::Done {
                self.state.forget_client(client);
                return Ok(true);
            }
        }
        Err(AdminError::Contended)
    }
}
