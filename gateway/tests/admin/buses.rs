//! `BusService`.

use buswire_proto::v1::{self, bus_service_client::BusServiceClient};
use tonic::Code;

use crate::support::Server;

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

fn named(name: &str) -> v1::CreateBusRequest {
    v1::CreateBusRequest { name: name.into(), ..Default::default() }
}

#[tokio::test]
async fn a_bus_is_created_once_and_keeps_its_retention() {
    let server = Server::start().await;
    let mut client = BusServiceClient::new(server.authorized().await);
    let created = client.create_bus(named("v2/example.com")).await.unwrap().into_inner();
    let bus = created.bus.unwrap();
    assert!(!created.existed);
    assert_eq!((bus.name.as_str(), bus.messages, bus.channels), ("example.com", 0, 0));
    assert_eq!(
        bus.retention,
        Some(v1::Retention {
            default_time: Some(seconds(600)),
            sticky_time: Some(seconds(28_800)),
            messages_per_channel_max: Some(100),
        })
    );
    assert_eq!(bus.created_at.unwrap().seconds, 1_709_993_121);

    let retention = Some(v1::Retention { default_time: Some(seconds(60)), ..Default::default() });
    let again =
        v1::CreateBusRequest { name: "example.com".into(), retention, ..Default::default() };
    let again = client.create_bus(again).await.unwrap().into_inner();
    assert!(again.existed);
    assert_eq!(again.bus.unwrap().retention.unwrap().default_time, Some(seconds(600)));
}

#[tokio::test]
async fn what_an_update_leaves_unset_stays() {
    let server = Server::start().await;
    let mut client = BusServiceClient::new(server.authorized().await);
    client.create_bus(named("a")).await.unwrap();
    let retention = Some(v1::Retention { default_time: Some(seconds(120)), ..Default::default() });
    let name = "a".to_owned();
    let request = v1::UpdateBusRetentionRequest { name, retention, ..Default::default() };
    let updated = client.update_bus_retention(request).await.unwrap().into_inner();
    let shown = client.get_bus(v1::GetBusRequest { name: "a".into() }).await.unwrap().into_inner();
    assert_eq!(shown.bus, updated.bus);
    assert_eq!(
        shown.bus.unwrap().retention,
        Some(v1::Retention {
            default_time: Some(seconds(120)),
            sticky_time: Some(seconds(28_800)),
            messages_per_channel_max: Some(100),
        })
    );
}

#[tokio::test]
async fn buses_are_listed_by_realm_and_page() {
    let server = Server::start().await;
    let mut client = BusServiceClient::new(server.authorized().await);
    for name in ["c", "v1/b", "a", "b"] {
        client.create_bus(named(name)).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListBusesRequest { realm: 0, page_size: 3, page_token };
        let page = client.list_buses(request).await.unwrap().into_inner();
        seen.push(page.buses.into_iter().map(|bus| bus.name).collect::<Vec<_>>());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [vec!["v1/b", "a", "b"], vec!["c"]]);
    // Rule: backplane §1.4 — the 1.x and 2.0 worlds are separate
    let realm = v1::Realm::V1.into();
    let request = v1::ListBusesRequest { realm, ..Default::default() };
    let page = client.list_buses(request).await.unwrap().into_inner();
    assert_eq!(page.buses.len(), 1);
}

#[tokio::test]
async fn a_bus_is_deleted_once() {
    let server = Server::start().await;
    let mut client = BusServiceClient::new(server.authorized().await);
    client.create_bus(named("a")).await.unwrap();
    for existed in [true, false] {
        let request = v1::DeleteBusRequest { name: "a".into(), ..Default::default() };
        let answer = client.delete_bus(request).await.unwrap();
        assert_eq!(answer.into_inner().existed, existed);
    }
    let missing = client.get_bus(v1::GetBusRequest { name: "a".into() }).await.unwrap_err();
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "there is no bus a"));
    let request = v1::UpdateBusRetentionRequest { name: "a".into(), ..Default::default() };
    assert_eq!(client.update_bus_retention(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let mut client = BusServiceClient::new(server.authorized().await);
    // Rule: backplane §4.1 — bus names have 1 to 255 characters of A-Za-z0-9._-
    let status = client.create_bus(named("a b")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("name: a bus name has"), "{}", status.message());
    let realm = v1::ListBusesRequest { realm: 7, ..Default::default() };
    assert_eq!(client.list_buses(realm).await.unwrap_err().code(), Code::InvalidArgument);
    // Rule: backplane §5.1 — retention times are from 60 seconds to 7 days
    let retention =
        Some(v1::Retention { sticky_time: Some(seconds(604_801)), ..Default::default() });
    let request = v1::CreateBusRequest { name: "a".into(), retention, ..Default::default() };
    assert_eq!(client.create_bus(request).await.unwrap_err().code(), Code::InvalidArgument);
}
