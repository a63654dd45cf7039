//! Reading clients and their grants (Backplane §8.4).

use std::sync::Arc;

use buswire_message::{BusName, Scope, SourceUrl, Timestamp};
use buswire_store::{Revision, StoreError};

use super::{
    State,
    accounts::kinds,
    password::Credential,
    records::{ClientRecord, GrantRecord},
    rows::{Stored, key},
};
use crate::rules::{
    names::{ClientId, GrantId, RedirectUri},
    token::{Delegation, Stamp},
};

/// A client with its active grants.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) credential: Credential,
    pub(crate) source_url: SourceUrl,
    pub(crate) redirect_uri: RedirectUri,
    pub(crate) stamp: Stamp,
    /// In the order of their ids.
    pub(crate) grants: Vec<HeldGrant>,
}

/// One active grant of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldGrant {
    pub(crate) id: GrantId,
    pub(crate) buses: Vec<BusName>,
    pub(crate) stamp: Stamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) revision: Revision,
}

impl Client {
    /// The buses of all its grants, each once, in the order of grants.
    pub(crate) fn buses(&self) -> Vec<BusName> {
        let mut buses: Vec<BusName> = Vec::new();
        for bus in self.grants.iter().flat_map(|grant| &grant.buses) {
            if !buses.contains(bus) {
                buses.push(bus.clone());
            }
        }
        buses
    }

    /// The grants behind a token of this scope: those that name one of its buses.
    pub(crate) fn backing(&self, scope: &Scope) -> Vec<(GrantId, Stamp)> {
        let buses: Vec<BusName> = scope.buses().collect();
        let backs = |grant: &&HeldGrant| grant.buses.iter().any(|bus| buses.contains(bus));
        self.grants.iter().filter(backs).map(|grant| (grant.id.clone(), grant.stamp)).collect()
    }

    /// Whether everything that a token depends on is still as it was when the token was issued.
    pub(crate) fn backs(&self, delegation: &Delegation) -> bool {
        let is_held = |(id, stamp): &(GrantId, Stamp)| {
            self.grants.iter().any(|grant| grant.id == *id && grant.stamp == *stamp)
        };
        self.stamp == delegation.client_stamp
            && !delegation.grants.is_empty()
            && delegation.grants.iter().all(is_held)
    }
}

impl State {
    /// A client with its grants; `None` if there is none of this id.
    pub(crate) async fn client(&self, id: &ClientId) -> Result<Option<Arc<Client>>, StoreError> {
        if let Some(found) = self.clients.get(id, self.now()) {
            return Ok(Some(found));
        }
        let version = self.clients.version();
        let Some(client) = self.read_client(id).await? else { return Ok(None) };
        let client = Arc::new(client);
        self.clients.insert(version, id.clone(), Arc::clone(&client), self.now());
        Ok(Some(client))
    }

    /// The same from the store, whatever is remembered.
    pub(crate) async fn read_client(&self, id: &ClientId) -> Result<Option<Client>, StoreError> {
        let accounts = self.rows.accounts();
        let row =
            self.rows.get::<ClientRecord>(accounts, &key(&[kinds::CLIENT, id.as_str()])).await?;
        let Some((record, _)) = row else { return Ok(None) };
        Ok(Some(Client {
            id: id.clone(),
            credential: record.credential()?,
            source_url: record.source_url()?,
            redirect_uri: record.redirect_uri()?,
            stamp: record.stamp(),
            grants: self.read_grants(id).await?,
        }))
    }

    /// The active grants of a client, in the order of their ids.
    pub(crate) async fn read_grants(&self, id: &ClientId) -> Result<Vec<HeldGrant>, StoreError> {
        let rows = self
            .rows
            .scan_rows::<GrantRecord>(self.rows.accounts(), &[kinds::GRANT, id.as_str()])
            .await?;
        let held = |row: Stored<GrantRecord>| {
            let id = row.last_word().parse();
            Ok(HeldGrant {
                id: id.map_err(|_| StoreError::Corrupt("a grant id".into()))?,
                buses: row.value.buses()?,
                stamp: row.value.stamp(),
                updated_at: row.value.updated_at(),
                revision: row.revision,
            })
        };
        rows.into_iter().map(held).collect()
    }

    /// Makes a change of a client or its grants count at once.
    pub(crate) fn forget_client(&self, id: &ClientId) {
        self.clients.remove(id);
    }
}
