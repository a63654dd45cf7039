//! Changes by administrators that expect a revision.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use buswire_backplane::{AdminError, NewPassword, OwnedBus, OwnerName};
use buswire_bus::BusError;
use buswire_message::{Retention, Secret};
use buswire_store::Revision;
use support::{Door, bus};

fn password(text: &str) -> NewPassword {
    NewPassword::Clear(Secret::new(text.to_owned()))
}

fn is_changed<T: std::fmt::Debug>(result: Result<T, AdminError>) -> bool {
    matches!(result.unwrap_err(), AdminError::Changed { .. })
}

#[tokio::test]
async fn an_account_that_was_changed_meanwhile_stays_as_it_is() {
    let door = Door::start().await;
    let admin = &door.backplane;
    let owner: OwnerName = "gazette-owner".parse().unwrap();
    let seen = Some(admin.owners().await.unwrap()[0].revision);
    admin.put_owner(&owner, password("newer"), seen).await.unwrap();
    assert!(is_changed(admin.put_owner(&owner, password("older"), seen).await));
    assert!(is_changed(admin.delete_owner(&owner, seen).await));
    // Its bus is there still.
    assert_eq!(admin.buses().await.unwrap().len(), 1);
    let nobody = "nobody".parse().unwrap();
    assert!(is_changed(admin.put_owner(&nobody, password("p"), seen).await), "there is none");
    let seen = Some(admin.owners().await.unwrap()[0].revision);
    assert!(admin.delete_owner(&owner, seen).await.unwrap());
    assert_eq!(admin.buses().await.unwrap().len(), 0);

    let user = &admin.users().await.unwrap()[0];
    admin.put_user(&user.name, password("newer"), None).await.unwrap();
    assert!(is_changed(admin.put_user(&user.name, password("p"), Some(user.revision)).await));
    assert!(is_changed(admin.delete_user(&user.name, Some(user.revision)).await));
    assert_eq!(admin.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn clients_grants_and_buses_that_were_changed_meanwhile_stay() {
    let door = Door::start().await;
    let admin = &door.backplane;
    let client = admin.clients().await.unwrap().remove(0);
    let made = support::put_client(admin, client.client_id.as_str(), "another").await;
    assert!(is_changed(admin.delete_client(&client.client_id, Some(client.revision)).await));
    let present = &admin.clients().await.unwrap()[0];
    assert_eq!(present.revision, made.revision);

    let both = [bus("gazette.example"), bus("y.example")];
    support::put_bus(admin, "y.example", Retention::default()).await;
    let id = admin.grant(&client.client_id, &both).await.unwrap();
    let grants = admin.grants(&client.client_id).await.unwrap();
    let seen = grants.iter().find(|grant| grant.id == id).unwrap().revision;
    admin.revoke_buses(&client.client_id, &both[1..]).await.unwrap();
    assert!(is_changed(admin.revoke_grant(&id, Some(seen)).await));
    let grants = admin.grants(&client.client_id).await.unwrap();
    let reduced = grants.iter().find(|grant| grant.id == id).unwrap();
    assert!(admin.revoke_grant(&id, Some(reduced.revision)).await.unwrap());
    assert!(admin.delete_client(&client.client_id, Some(made.revision)).await.unwrap());

    let name = bus("gazette.example");
    let owner = "gazette-owner".parse().unwrap();
    let bus = OwnedBus { name, owner, retention: Retention::default() };
    let expected = Some(Revision(u64::MAX));
    let refused = admin.put_bus(bus, expected).await.unwrap_err();
    assert!(matches!(refused, AdminError::Bus(BusError::Changed(_))), "{refused:?}");
}
