//! Listing, replacing and deleting buses, users, owners and clients (Backplane §13.2 to §13.4).

use std::collections::BTreeMap;

use buswire_message::{BusName, Realm, Retention};

use super::{
    Entries, ProvisionError, refused,
    trail::{Trail, failed},
};
use crate::{
    Backplane, NewClient, NewPassword, OwnedBus, V1Bus,
    error::AdminError,
    journal::Provisioned,
    rules::names::{ClientId, OwnerName, UserName},
    wire::provision::{Action, Body, Config, Entity, EntryError, Told},
};

const UPDATED: &str = "BACKPLANE_UPDATE_SUCCESS";
const DELETED: &str = "BACKPLANE_DELETE_SUCCESS";
const NOT_FOUND: &str = "BACKPLANE_ENTRY_NOT_FOUND";

pub(super) async fn serve(
    backplane: &Backplane,
    body: &Body<'_>,
    trail: &Trail<'_>,
    entity: Entity,
    action: Action,
) -> Result<Entries, ProvisionError> {
    match action {
        Action::List => list(backplane, entity, body.entities()?).await,
        Action::Update => update(backplane, trail, entity, body.configs(entity)?).await,
        Action::Delete => Ok(delete(backplane, trail, entity, body.entities()?).await),
    }
}

/// All that there is for no names, else one entry for each name.
async fn list(
    backplane: &Backplane,
    entity: Entity,
    names: Vec<String>,
) -> Result<Entries, ProvisionError> {
    let all = all(backplane, entity).await?;
    if names.is_empty() {
        return Ok(all);
    }
    let all: BTreeMap<String, Told> = all.into_iter().collect();
    let told = |name: String| {
        let told = all.get(&name).cloned().unwrap_or_else(Told::not_found);
        (name, told)
    };
    Ok(names.into_iter().map(told).collect())
}

async fn all(backplane: &Backplane, entity: Entity) -> Result<Entries, AdminError> {
    let account = |name: &str| (name.to_owned(), Told::account(name));
    Ok(match entity {
        Entity::V1Bus => {
            let told = |bus: V1Bus| Told::bus(&bus.name, None, &bus.retention, &bus.users);
            let buses = backplane.v1_buses().await?.into_iter();
            buses.map(|bus| (bus.name.name().to_owned(), told(bus))).collect()
        }
        Entity::V2Bus => {
            let told = |bus: OwnedBus| {
                Told::bus(&bus.name, Some(bus.owner.as_str()), &bus.retention, &BTreeMap::new())
            };
            let buses = backplane.buses().await?.into_iter();
            buses.map(|bus| (bus.name.name().to_owned(), told(bus))).collect()
        }
        Entity::User => backplane.users().await?.iter().map(|u| account(u.name.as_str())).collect(),
        Entity::Owner => {
            backplane.owners().await?.iter().map(|o| account(o.name.as_str())).collect()
        }
        Entity::Client => {
            let clients = backplane.clients().await?.into_iter();
            let told = clients.map(|client| {
                let (id, uri) = (client.client_id.as_str(), client.redirect_uri.as_str());
                (id.to_owned(), Told::client(id, client.source_url.as_str(), uri))
            });
            told.collect()
        }
    })
}

/// 1.x: one invalid entry refuses all. 2.0: entry by entry (§13.3).
async fn update(
    backplane: &Backplane,
    trail: &Trail<'_>,
    entity: Entity,
    configs: Vec<Config<'_>>,
) -> Result<Entries, ProvisionError> {
    let mut changes = Vec::with_capacity(configs.len());
    for config in configs {
        let change = Change::read(&config, entity);
        if let Err(error) = &change {
            trail.refused(entity.resource(&config.name), config.shown(entity), error).await;
        }
        match (change, entity) {
            (Err(error), Entity::V1Bus | Entity::User) => {
                return Err(ProvisionError::Config { name: config.name, error });
            }
            (change, _) => changes.push((config, change)),
        }
    }
    let mut entries = Vec::with_capacity(changes.len());
    for (config, change) in changes {
        let name = config.name.as_str();
        let told = match change {
            Err(error) => Told::text(&error),
            Ok(change) => {
                let make = async {
                    let change = async { change.make(backplane).await.map(|()| true) };
                    let (made, ended) = made(backplane, trail, entity, name, change).await;
                    (made.map_or_else(|error| refused(&error), |_| Told::text(UPDATED)), ended)
                };
                trail.change(entity.resource(name), config.shown(entity), Box::pin(make)).await
            }
        };
        entries.push((config.name, told));
    }
    Ok(entries)
}

/// Makes a change, which says whether there was anything to change; and what the journal is told.
async fn made(
    backplane: &Backplane,
    trail: &Trail<'_>,
    entity: Entity,
    name: &str,
    change: impl Future<Output = Result<bool, AdminError>>,
) -> (Result<bool, AdminError>, Provisioned) {
    let shown = async || {
        let told = if trail.is_kept() { one(backplane, entity, name).await? } else { None };
        Ok::<_, AdminError>(told.map(|told| told.json()))
    };
    let made = async {
        let before = shown().await?;
        let is_made = change.await?;
        let after = shown().await?;
        Ok((is_made, before, after))
    };
    match made.await {
        Ok((true, before, after)) => (Ok(true), Provisioned::Made { before, after }),
        Ok((false, ..)) => (Ok(false), Provisioned::NotFound(NOT_FOUND.to_owned())),
        Err(error) => {
            let ended = failed(&error);
            (Err(error), ended)
        }
    }
}

/// One entity as lists show it; `None` if there is none. What is no name of one is the name of none.
async fn one(
    backplane: &Backplane,
    entity: Entity,
    name: &str,
) -> Result<Option<Told>, AdminError> {
    let state = &backplane.state;
    let bus = async |realm| match BusName::new(realm, name) {
        Ok(bus) => Ok::<_, AdminError>(state.buses.get(&bus).await?.map(|info| (bus, info))),
        Err(_) => Ok(None),
    };
    Ok(match entity {
        Entity::V1Bus => match bus(Realm::V1).await? {
            Some((bus, info)) => {
                let users = state.stored_permissions(&bus).await?.unwrap_or_default();
                Some(Told::bus(&bus, None, &info.retention, &users))
            }
            None => None,
        },
        Entity::V2Bus => match bus(Realm::V2).await? {
            Some((bus, info)) => {
                let owner = state.bus_owner(&bus).await?;
                let owner = owner.as_ref().map(OwnerName::as_str);
                Some(Told::bus(&bus, owner, &info.retention, &BTreeMap::new()))
            }
            None => None,
        },
        Entity::User => match name.parse::<UserName>() {
            Ok(user) => state.has_user(&user).await?.then(|| Told::account(name)),
            Err(_) => None,
        },
        Entity::Owner => match name.parse::<OwnerName>() {
            Ok(owner) => state.has_owner(&owner).await?.then(|| Told::account(name)),
            Err(_) => None,
        },
        Entity::Client => match name.parse::<ClientId>() {
            Ok(id) => state.read_client(&id).await?.map(|client| {
                Told::client(name, client.source_url.as_str(), client.redirect_uri.as_str())
            }),
            Err(_) => None,
        },
    })
}

/// A valid entry of an update.
enum Change {
    V1Bus(crate::wire::provision::V1BusConfig),
    V2Bus(crate::wire::provision::V2BusConfig, OwnerName),
    User(UserName, NewPassword),
    Owner(OwnerName, NewPassword),
    Client(Box<NewClient>),
}

impl Change {
    fn read(config: &Config<'_>, entity: Entity) -> Result<Self, EntryError> {
        let invalid = |_| EntryError::Value("USER".to_owned());
        let password = || config.password().map(NewPassword::Clear);
        Ok(match entity {
            Entity::V1Bus => Self::V1Bus(config.v1_bus()?),
            Entity::V2Bus => {
                let bus = config.v2_bus()?;
                let owner = bus.owner.parse();
                let owner = owner.map_err(|_| EntryError::Value("OWNER".to_owned()))?;
                Self::V2Bus(bus, owner)
            }
            Entity::User => Self::User(config.name.parse().map_err(invalid)?, password()?),
            Entity::Owner => Self::Owner(config.name.parse().map_err(invalid)?, password()?),
            Entity::Client => {
                let client = config.client()?;
                Self::Client(Box::new(NewClient {
                    client_id: Some(config.name.parse().map_err(invalid)?),
                    secret: Some(client.secret),
                    source_url: client.source_url,
                    redirect_uri: client.redirect_uri,
                }))
            }
        })
    }

    async fn make(self, backplane: &Backplane) -> Result<(), AdminError> {
        match self {
            Self::V1Bus(bus) => {
                let retention = bus.times.on(retention(backplane, &bus.name).await?);
                backplane.put_v1_bus(V1Bus { name: bus.name, users: bus.users, retention }).await
            }
            Self::V2Bus(bus, owner) => {
                let retention = bus.times.on(retention(backplane, &bus.name).await?);
                backplane.put_bus(OwnedBus { name: bus.name, owner, retention }, None).await
            }
            Self::User(name, password) => backplane.put_user(&name, password, None).await,
            Self::Owner(name, password) => backplane.put_owner(&name, password, None).await,
            Self::Client(client) => backplane.put_client(*client).await.map(drop),
        }
    }
}

/// The present retention of a bus, or that of new ones: the interface does not name all of it.
async fn retention(backplane: &Backplane, bus: &BusName) -> Result<Retention, AdminError> {
    let present = backplane.state.buses.get(bus).await?;
    Ok(present.map_or_else(Retention::default, |info| info.retention))
}

async fn delete(
    backplane: &Backplane,
    trail: &Trail<'_>,
    entity: Entity,
    names: Vec<String>,
) -> Entries {
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        let make = async {
            let change = delete_one(backplane, entity, &name);
            let (made, ended) = made(backplane, trail, entity, &name, change).await;
            let told = match (made, entity) {
                (Ok(true), _) | (Ok(false), Entity::V1Bus | Entity::User) => Told::text(DELETED),
                (Ok(false), _) => Told::text(NOT_FOUND),
                (Err(error), _) => refused(&error),
            };
            (told, ended)
        };
        let request = Told::text(&name).json();
        let told = trail.change(entity.resource(&name), request, Box::pin(make)).await;
        entries.push((name, told));
    }
    entries
}

/// Whether there was one. What is no name of one is the name of none.
async fn delete_one(backplane: &Backplane, entity: Entity, name: &str) -> Result<bool, AdminError> {
    match entity {
        Entity::V1Bus => match BusName::new(Realm::V1, name) {
            Ok(bus) => backplane.delete_v1_bus(&bus, None).await,
            Err(_) => Ok(false),
        },
        Entity::V2Bus => match BusName::new(Realm::V2, name) {
            Ok(bus) => backplane.delete_bus(&bus, None).await,
            Err(_) => Ok(false),
        },
        Entity::User => match name.parse::<UserName>() {
            Ok(user) => backplane.delete_user(&user, None).await,
            Err(_) => Ok(false),
        },
        Entity::Owner => match name.parse::<OwnerName>() {
            Ok(owner) => backplane.delete_owner(&owner, None).await,
            Err(_) => Ok(false),
        },
        Entity::Client => match name.parse::<ClientId>() {
            Ok(client) => backplane.delete_client(&client, None).await,
            Err(_) => Ok(false),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use buswire_bus::{BusConfig, BusLimits, Buses};
    use buswire_message::Secret;
    use buswire_store::{Store, memory::MemoryStore};
    use buswire_testkit::{SeededEntropy, VirtualClock};

    use super::*;
    use crate::{PasswordCost, PublicUrl, rules::names::Permissions};

    /// One gateway of several on `store`. It is not told of changes: hints may be late or lost.
    async fn gateway(store: &Arc<dyn Store>) -> Backplane {
        let clock = Arc::new(VirtualClock::default());
        let config = crate::Config {
            password_cost: PasswordCost { memory_kib: 8, iterations: 1 },
            ..crate::Config::new(PublicUrl::parse("https://bp.example.net").unwrap())
        };
        let bus_config = BusConfig {
            message_url_prefix: config.public_url.message_url_prefix(),
            limits: BusLimits::default(),
            tracer: None,
        };
        let buses = Buses::open(Arc::clone(store), clock.clone(), bus_config).await.unwrap();
        let entropy = Arc::new(SeededEntropy::new(7));
        Backplane::new(buses, Arc::clone(store), clock, entropy, config)
    }

    #[tokio::test]
    async fn what_the_journal_is_told_is_what_another_gateway_stored_last() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let (here, there) = (gateway(&store).await, gateway(&store).await);
        let name = BusName::new(Realm::V1, "shop.example").unwrap();
        let user: UserName = "ann".parse().unwrap();
        let put = async |permissions: &str| {
            let permissions: Permissions = permissions.parse().unwrap();
            let users = BTreeMap::from([(user.clone(), permissions)]);
            let bus = V1Bus { name: name.clone(), users, retention: Retention::default() };
            there.put_v1_bus(bus).await.unwrap();
        };
        let password = NewPassword::Clear(Secret::new("quiet-harbor-7".to_owned()));
        there.put_user(&user, password, None).await.unwrap();
        put("POST").await;
        // Now they are in the caches here.
        assert!(here.state.permissions(&name).await.unwrap().is_some());
        assert!(here.state.user(&user).await.unwrap().is_some());
        put("GETALL").await;
        assert!(there.delete_user(&user, None).await.unwrap());
        let told = one(&here, Entity::V1Bus, "shop.example").await.unwrap().unwrap().json();
        assert!(told.contains("GETALL") && !told.contains("POST"), "{told}");
        assert!(one(&here, Entity::User, "ann").await.unwrap().is_none());
    }
}
