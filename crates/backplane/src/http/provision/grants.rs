//! Adding, revoking and listing grants (Backplane §13.6).

use buswire_message::{BusName, Realm};

use super::{
    Entries, ProvisionError, refused,
    trail::{Trail, failed},
};
use crate::{
    Backplane,
    error::AdminError,
    journal::Provisioned,
    rules::names::ClientId,
    wire::provision::{Body, GrantAction, GrantChange, Told},
};

const UPDATED: &str = "GRANT_UPDATE_SUCCESS";

pub(super) async fn serve(
    backplane: &Backplane,
    body: &Body<'_>,
    trail: &Trail<'_>,
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
                let (resource, request) = (format!("grant/{client}"), Told::text(&buses).json());
                let told = match parse(&client, &buses) {
                    Ok((client, buses)) => {
                        let make = make(backplane, trail, change, &client, &buses);
                        trail.change(resource, request, Box::pin(make)).await
                    }
                    Err(error) => {
                        trail.refused(resource, request, &error).await;
                        Told::Text(error)
                    }
                };
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

/// The client and its buses, or what is told of them if they are no names.
fn parse(client: &str, buses: &str) -> Result<(ClientId, Vec<BusName>), String> {
    let client = client.parse::<ClientId>().map_err(|_| "invalid client_id".to_owned())?;
    let names = buses.split(' ').filter(|text| !text.is_empty());
    let bus = |text| BusName::new(Realm::V2, text).map_err(|_| format!("Invalid bus: {text}"));
    Ok((client, names.map(bus).collect::<Result<_, _>>()?))
}

async fn make(
    backplane: &Backplane,
    trail: &Trail<'_>,
    change: GrantChange,
    client: &ClientId,
    buses: &[BusName],
) -> (Told, Provisioned) {
    let held = async || -> Result<Option<String>, AdminError> {
        let kept = trail.is_kept().then(|| list(backplane, client.as_str()));
        match kept {
            Some(told) => Ok(Some(told.await?.json())),
            None => Ok(None),
        }
    };
    let change = async {
        let before = held().await?;
        let told = match change {
            GrantChange::Add => backplane.grant(client, buses).await.map(|_| None)?,
            GrantChange::Revoke => revoke(backplane, client, buses).await?,
        };
        Ok(match told {
            Some(nothing) => (Told::text(&nothing), Provisioned::NotFound(nothing)),
            None => (Told::text(UPDATED), Provisioned::Made { before, after: held().await? }),
        })
    };
    change.await.unwrap_or_else(|error| (refused(&error), failed(&error)))
}

/// What is told if there was nothing to revoke.
async fn revoke(
    backplane: &Backplane,
    client: &ClientId,
    buses: &[BusName],
) -> Result<Option<String>, AdminError> {
    for bus in buses {
        if backplane.state.buses.get(bus).await?.is_none() {
            return Err(AdminError::UnknownBus(bus.clone()));
        }
    }
    if backplane.revoke_buses(client, buses).await? {
        return Ok(None);
    }
    let names: Vec<&str> = buses.iter().map(BusName::name).collect();
    Ok(Some(format!("No grants found to revoke for buses: [{}]", names.join(", "))))
}
