//! Who may use buses, remembered.

use buswire::admin::ports::{
    AdminError, ClientAdmin, ClientView, CreatedClient, GrantAdmin, GrantState, GrantView,
    NewClient, OwnerAdmin, OwnerView, Permission, UserAdmin, UserView,
};
use buswire_message::{BusName, Secret};
use futures::future::BoxFuture;

use super::{AT, Fake, done, not_found};

/// The revision of everything here.
const REVISION: u64 = 7;

fn expect(kind: &'static str, name: &str, expected: Option<u64>) -> Result<(), AdminError> {
    match expected {
        None | Some(REVISION) => Ok(()),
        Some(_) => Err(AdminError::Changed { kind, name: name.to_owned() }),
    }
}

impl OwnerAdmin for Fake {
    fn put<'a>(
        &'a self,
        name: &'a str,
        _password: Secret<String>,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        done(expect("owner", name, expected).map(|()| {
            self.memory().owners.entry(name.to_owned()).or_default();
        }))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<OwnerView>, AdminError>> {
        let view = |(name, buses): (&String, &Vec<BusName>)| OwnerView {
            name: name.clone(),
            buses: buses.clone(),
            revision: REVISION,
        };
        done(Ok(self.memory().owners.iter().map(view).collect()))
    }

    fn delete<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        let expected = expect("owner", name, expected);
        done(expected.map(|()| self.memory().owners.remove(name).is_some()))
    }

    fn assign<'a>(
        &'a self,
        owner: &'a str,
        bus: &'a BusName,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        if let Err(changed) = expect("bus", bus.name(), expected) {
            return done(Err(changed));
        }
        let mut memory = self.memory();
        let Some(buses) = memory.owners.get_mut(owner) else {
            return done(Err(not_found("owner", owner)));
        };
        buses.push(bus.clone());
        done(Ok(()))
    }
}

impl ClientAdmin for Fake {
    fn create(&self, new: NewClient) -> BoxFuture<'_, Result<CreatedClient, AdminError>> {
        let client = ClientView {
            client_id: new.client_id.unwrap_or_else(|| "minted-id".into()),
            source_url: new.source_url.to_string(),
            redirect_uri: new.redirect_uri.into(),
            revision: REVISION,
        };
        let secret = new.secret.unwrap_or_else(|| Secret::new("minted-secret".into()));
        self.memory().clients.insert(client.client_id.clone(), client.clone());
        done(Ok(CreatedClient { client, secret }))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ClientView>, AdminError>> {
        done(Ok(self.memory().clients.values().cloned().collect()))
    }

    fn delete<'a>(
        &'a self,
        client_id: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        let expected = expect("client", client_id, expected);
        done(expected.map(|()| self.memory().clients.remove(client_id).is_some()))
    }
}

impl GrantAdmin for Fake {
    fn create<'a>(
        &'a self,
        client_id: &'a str,
        buses: Vec<BusName>,
    ) -> BoxFuture<'a, Result<GrantView, AdminError>> {
        let mut memory = self.memory();
        if !memory.clients.contains_key(client_id) {
            return done(Err(not_found("client", client_id)));
        }
        let grant = GrantView {
            id: format!("grant-{}", memory.grants.len()),
            client_id: client_id.to_owned(),
            buses,
            state: GrantState::Active,
            issuer: None,
            updated_at: AT,
            revision: REVISION,
        };
        memory.grants.insert(grant.id.clone(), grant.clone());
        done(Ok(grant))
    }

    fn list<'a>(
        &'a self,
        client_id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<GrantView>, AdminError>> {
        let memory = self.memory();
        let of_client = |grant: &&GrantView| client_id.is_none_or(|id| grant.client_id == id);
        done(Ok(memory.grants.values().filter(of_client).cloned().collect()))
    }

    fn revoke<'a>(
        &'a self,
        id: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        let expected = expect("grant", id, expected);
        done(expected.map(|()| self.memory().grants.remove(id).is_some()))
    }
}

impl UserAdmin for Fake {
    fn put<'a>(
        &'a self,
        name: &'a str,
        _password: Secret<String>,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        done(expect("user", name, expected).map(|()| {
            self.memory().users.entry(name.to_owned()).or_default();
        }))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<UserView>, AdminError>> {
        let memory = self.memory();
        let users = memory.users.iter().map(|(name, buses)| UserView {
            name: name.clone(),
            buses: buses.iter().map(|(bus, may)| (bus.clone(), may.clone())).collect(),
            revision: REVISION,
        });
        done(Ok(users.collect()))
    }

    fn delete<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        let expected = expect("user", name, expected);
        done(expected.map(|()| self.memory().users.remove(name).is_some()))
    }

    fn permit<'a>(
        &'a self,
        user: &'a str,
        bus: &'a BusName,
        permissions: Vec<Permission>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        let mut memory = self.memory();
        memory.users.entry(user.to_owned()).or_default().insert(bus.clone(), permissions);
        done(Ok(()))
    }
}
