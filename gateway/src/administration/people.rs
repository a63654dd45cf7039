//! Who may use the buses of Backplane: owners, clients, grants, users of 1.x.

use buswire_backplane::{
    Account, AdminError as BackplaneError, Backplane, ClientId, ClientInfo, Grant, GrantId,
    NewClient as Registration, NewPassword, OwnedBus, OwnerName, Permission as Right, Permissions,
    RedirectUri, UserName, V1Bus,
};
use buswire_bus::{BusError, Buses};
use buswire_message::{BusName, Realm, Secret};
use buswire_store::Revision;
use futures::future::BoxFuture;

use crate::admin::ports::{
    AdminError, BusRemoval, ClientAdmin, ClientView, CreatedClient, GrantAdmin, GrantState,
    GrantView, NewClient, OwnerAdmin, OwnerView, Permission, UserAdmin, UserView,
};

/// Administers the accounts of Backplane.
#[derive(Clone, Debug)]
pub(crate) struct BackplanePort {
    pub(crate) backplane: Backplane,
    pub(crate) buses: Buses,
}

impl BackplanePort {
    async fn existing(&self, bus: &BusName) -> Result<buswire_bus::BusInfo, AdminError> {
        let info = self.buses.get(bus).await.map_err(|error| failure(error.into()))?;
        info.ok_or_else(|| AdminError::missing("bus", bus))
    }

    async fn v1_buses(&self) -> Result<Vec<V1Bus>, AdminError> {
        self.backplane.v1_buses().await.map_err(failure)
    }

    async fn owners(&self) -> Result<Vec<Account<OwnerName>>, AdminError> {
        self.backplane.owners().await.map_err(failure)
    }
}

pub(super) fn parsed<T: std::str::FromStr>(name: &str) -> Result<T, AdminError>
where
    T::Err: std::fmt::Display,
{
    name.parse().map_err(|error: T::Err| AdminError::invalid(error.to_string()))
}

impl BusRemoval for BackplanePort {
    fn delete<'a>(
        &'a self,
        bus: &'a BusName,
        expected: Option<Revision>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        Box::pin(async move {
            match bus.realm() {
                Realm::V1 => self.backplane.delete_v1_bus(bus, expected).await.map_err(failure),
                Realm::V2 => self.backplane.delete_bus(bus, expected).await.map_err(failure),
            }
        })
    }
}

impl OwnerAdmin for BackplanePort {
    fn put<'a>(
        &'a self,
        name: &'a str,
        password: Secret<String>,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let name: OwnerName = parsed(name)?;
            let password = NewPassword::Clear(password);
            self.backplane.put_owner(&name, password, expected.map(Revision)).await.map_err(failure)
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<OwnerView>, AdminError>> {
        Box::pin(async move {
            let buses = self.backplane.buses().await.map_err(failure)?;
            let owned = |owner: &OwnerName| {
                let own = buses.iter().filter(|bus| bus.owner == *owner);
                own.map(|bus| bus.name.clone()).collect()
            };
            let owners = self.owners().await?;
            let view = |owner: &Account<OwnerName>| OwnerView {
                name: owner.name.to_string(),
                buses: owned(&owner.name),
                revision: owner.revision.0,
            };
            Ok(owners.iter().map(view).collect())
        })
    }

    fn delete<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        Box::pin(async move {
            let Ok(name) = name.parse::<OwnerName>() else { return Ok(false) };
            self.backplane.delete_owner(&name, expected.map(Revision)).await.map_err(failure)
        })
    }

    fn assign<'a>(
        &'a self,
        owner: &'a str,
        bus: &'a BusName,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let retention = self.existing(bus).await?.retention;
            let owner = parsed(owner)?;
            let settings = OwnedBus { name: bus.clone(), owner, retention };
            self.backplane.put_bus(settings, expected.map(Revision)).await.map_err(failure)
        })
    }
}

impl ClientAdmin for BackplanePort {
    fn create(&self, new: NewClient) -> BoxFuture<'_, Result<CreatedClient, AdminError>> {
        Box::pin(async move {
            let redirect_uri: RedirectUri = parsed(new.redirect_uri.as_str())?;
            let registration = Registration {
                client_id: new.client_id.as_deref().map(parsed).transpose()?,
                secret: new.secret,
                source_url: new.source_url.clone(),
                redirect_uri: redirect_uri.clone(),
            };
            let created = self.backplane.create_client(registration).await.map_err(failure)?;
            let client = ClientView {
                client_id: created.client_id.to_string(),
                source_url: new.source_url.to_string(),
                redirect_uri: redirect_uri.as_str().to_owned(),
                revision: created.revision.0,
            };
            Ok(CreatedClient { client, secret: created.secret })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ClientView>, AdminError>> {
        Box::pin(async move {
            let clients = self.backplane.clients().await.map_err(failure)?;
            let view = |client: ClientInfo| ClientView {
                client_id: client.client_id.to_string(),
                source_url: client.source_url.to_string(),
                redirect_uri: client.redirect_uri.as_str().to_owned(),
                revision: client.revision.0,
            };
            Ok(clients.into_iter().map(view).collect())
        })
    }

    fn delete<'a>(
        &'a self,
        client_id: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        Box::pin(async move {
            let Ok(id) = client_id.parse::<ClientId>() else { return Ok(false) };
            self.backplane.delete_client(&id, expected.map(Revision)).await.map_err(failure)
        })
    }
}

impl GrantAdmin for BackplanePort {
    fn create<'a>(
        &'a self,
        client_id: &'a str,
        buses: Vec<BusName>,
    ) -> BoxFuture<'a, Result<GrantView, AdminError>> {
        Box::pin(async move {
            let client: ClientId = parsed(client_id)?;
            let id = self.backplane.grant(&client, &buses).await.map_err(failure)?;
            let grants = self.backplane.grants(&client).await.map_err(failure)?;
            let made = grants.iter().find(|grant| grant.id == id).map(grant_view);
            made.ok_or_else(|| AdminError::Unavailable("the grant was revoked at once".into()))
        })
    }

    fn list<'a>(
        &'a self,
        client_id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<GrantView>, AdminError>> {
        Box::pin(async move {
            let clients: Vec<ClientId> = if let Some(id) = client_id {
                id.parse().into_iter().collect()
            } else {
                let clients = self.backplane.clients().await.map_err(failure)?;
                clients.into_iter().map(|client| client.client_id).collect()
            };
            let mut all = Vec::new();
            for client in clients {
                let grants = self.backplane.grants(&client).await.map_err(failure)?;
                all.extend(grants.iter().map(grant_view));
            }
            Ok(all)
        })
    }

    fn revoke<'a>(
        &'a self,
        id: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        Box::pin(async move {
            let Ok(id) = id.parse::<GrantId>() else { return Ok(false) };
            self.backplane.revoke_grant(&id, expected.map(Revision)).await.map_err(failure)
        })
    }
}

fn grant_view(grant: &Grant) -> GrantView {
    GrantView {
        id: grant.id.as_str().to_owned(),
        client_id: grant.client_id.to_string(),
        buses: grant.buses.clone(),
        state: GrantState::Active,
        issuer: None,
        updated_at: grant.updated_at,
        revision: grant.revision.0,
    }
}

impl UserAdmin for BackplanePort {
    fn put<'a>(
        &'a self,
        name: &'a str,
        password: Secret<String>,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let name: UserName = parsed(name)?;
            let password = NewPassword::Clear(password);
            self.backplane.put_user(&name, password, expected.map(Revision)).await.map_err(failure)
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<UserView>, AdminError>> {
        Box::pin(async move {
            let buses = self.v1_buses().await?;
            let rights = |user: &UserName| {
                let named = buses.iter().filter_map(|bus| Some((bus, bus.users.get(user)?)));
                named.map(|(bus, rights)| (bus.name.clone(), permissions(*rights))).collect()
            };
            let users = self.backplane.users().await.map_err(failure)?;
            let view = |user: &Account<UserName>| UserView {
                name: user.name.to_string(),
                buses: rights(&user.name),
                revision: user.revision.0,
            };
            Ok(users.iter().map(view).collect())
        })
    }

    fn delete<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        Box::pin(async move {
            let Ok(name) = name.parse::<UserName>() else { return Ok(false) };
            self.backplane.delete_user(&name, expected.map(Revision)).await.map_err(failure)
        })
    }

    fn permit<'a>(
        &'a self,
        user: &'a str,
        bus: &'a BusName,
        permissions: Vec<Permission>,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let user: UserName = parsed(user)?;
            let rights = permissions.into_iter().map(right);
            let rights = rights.fold(Permissions::none(), Permissions::with);
            self.backplane.permit(&user, bus, rights).await.map_err(failure)
        })
    }
}

const RIGHTS: [(Permission, Right); 4] = [
    (Permission::GetAll, Right::GetAll),
    (Permission::Post, Right::Post),
    (Permission::GetPayload, Right::GetPayload),
    (Permission::Identity, Right::Identity),
];

const fn right(permission: Permission) -> Right {
    match permission {
        Permission::GetAll => Right::GetAll,
        Permission::Post => Right::Post,
        Permission::GetPayload => Right::GetPayload,
        Permission::Identity => Right::Identity,
    }
}

fn permissions(rights: Permissions) -> Vec<Permission> {
    let held = RIGHTS.iter().filter(|(_, right)| rights.has(*right));
    held.map(|(permission, _)| *permission).collect()
}

pub(super) fn failure(error: BackplaneError) -> AdminError {
    let text = error.to_string();
    match error {
        BackplaneError::Name(_)
        | BackplaneError::Retention(_)
        | BackplaneError::WrongRealm(_)
        | BackplaneError::EmptyGrant
        | BackplaneError::Password => AdminError::invalid(text),
        BackplaneError::UnknownBus(name) => AdminError::missing("bus", name),
        BackplaneError::UnknownOwner(name) => AdminError::missing("owner", name),
        BackplaneError::UnknownClient(id) => AdminError::missing("client", id),
        BackplaneError::Changed { kind, name } => AdminError::Changed { kind, name },
        BackplaneError::ClientExists(_) => AdminError::Exists(text),
        BackplaneError::TooManyGrants { .. } => AdminError::TooMany(text),
        BackplaneError::Busy | BackplaneError::Contended => AdminError::Unavailable(text),
        BackplaneError::Store(store) => AdminError::from(store),
        BackplaneError::Bus(BusError::Changed(name)) => {
            AdminError::Changed { kind: "bus", name: name.to_string() }
        }
        BackplaneError::Bus(bus) => AdminError::Unavailable(crate::cli::chain(&bus)),
        other => AdminError::Internal(Box::new(other)),
    }
}
