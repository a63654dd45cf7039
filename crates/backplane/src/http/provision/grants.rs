//! Adding, revoking and listing grants (Backplane §13.6).

use buswire_message::{BusName, Realm};

use super::{Entries, ProvisionError, refused};
use crate::{
    Backplane,
    error::AdminError,
    rules::names::ClientId,
    wire::provision::{Body, GrantAction, GrantChange, Told},
};

const UPDATED: &str = "GRANT_UPDATE_SUCCESS";

pub(super) async fn serve(
    backplane: &Backplane,
    body: &Body<'_>,
    action: GrantAction,
) -> Result<Entries, ProvisionError> {
    let mut entries = Vec::new();
    match action {
        GrantAction::List => {
            for client in body.entities()? {
                let told = list(backplane, &client).await?;
                entries.push((client, told));
            }
        }
        GrantAction::Change(change) => {
            for (client, buses) in body.grants()? {
                let told = make(backplane, change, &client, &buses).await;
                entries.push((client, told));
            }
        }
    }
    Ok(entries)
}

/// The active grants of a client by id; none for an unknown one.
async fn list(backplane: &Backplane, client: &str) -> Result<Told, AdminError> {
    let Ok(client) = client.parse::<ClientId>() else { return Ok(Told::Object(Vec::new())) };
    let grants = backplane.grants(&client).await?.into_iter();
    let told = grants.map(|grant| {
        let buses = grant.buses.iter().map(|bus| format!("bus:{}", bus.name()));
        (grant.id.to_string(), buses.collect::<Vec<_>>().join(" "))
    });
    Ok(Told::Object(told.collect()))
}

async fn make(backplane: &Backplane, change: GrantChange, client: &str, buses: &str) -> Told {
    let Ok(client) = client.parse::<ClientId>() else { return Told::text("invalid client_id") };
    let mut names = Vec::new();
    for text in buses.split(' ').filter(|text| !text.is_empty()) {
        match BusName::new(Realm::V2, text) {
            Ok(bus) => names.push(bus),
            Err(_) => return Told::text(&format_args!("Invalid bus: {text}")),
        }
    }
    let done = match change {
        GrantChange::Add => backplane.grant(&client, &names).await.map(|_| Told::text(UPDATED)),
        GrantChange::Revoke => revoke(backplane, &client, &names).await,
    };
    done.unwrap_or_else(|error| refused(&error))
}

async fn revoke(
    backplane: &Backplane,
    client: &ClientId,
    buses: &[BusName],
) -> Result<Told, AdminError> {
    for bus in buses {
        if backplane.state.buses.get(bus).await?.is_none() {
            return Err(AdminError::UnknownBus(bus.clone()));
        }
    }
    if backplane.revoke_buses(client, buses).await? {
        return Ok(Told::text(UPDATED));
    }
    let names: Vec<&str> = buses.iter().map(BusName::name).collect();
    Ok(Told::text(&format_args!("No grants found to revoke for buses: [{}]", names.join(", "))))
}
