//! What administrators change: written down, made once for each id of a request, refused if somebody else
//! was faster.

use buswire::admin::{AdminLimits, ports::Ports};
use buswire_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        self, admin_token_service_client::AdminTokenServiceClient,
        bus_service_client::BusServiceClient, capability_service_client::CapabilityServiceClient,
        client_service_client::ClientServiceClient, owner_service_client::OwnerServiceClient,
        route_service_client::RouteServiceClient, system_service_client::SystemServiceClient,
    },
};
use buswire_testkit::Fault;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::commands::run;
use crate::support::{Authorized, Server, TOKEN, contains, grpc_web, soon};

fn bus(name: &str, request_id: &str) -> v1::CreateBusRequest {
    let (name, request_id) = (name.to_owned(), request_id.to_owned());
    v1::CreateBusRequest { name, request_id, ..Default::default() }
}

async fn records(server: &Server) -> Vec<v1::AuditRecord> {
    let mut client = SystemServiceClient::new(server.authorized().await);
    let listed = client.list_audit(v1::ListAuditRequest::default()).await.unwrap().into_inner();
    listed.records
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

#[tokio::test]
async fn every_call_that_changes_something_is_written_down() {
    // Doors that are not there refuse everything, which is written down as well.
    let server = Server::with(AdminLimits::default(), Ports::default()).await;
    let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let ours = set.file.iter().filter(|file| file.package() == "buswire.admin.v1");
    let head = format!("Authorization: Bearer {TOKEN}\r\n");
    let mut made = Vec::new();
    for service in ours.flat_map(|file| &file.service) {
        for method in &service.method {
            let name = format!("{}/{}", service.name(), method.name());
            let reads = ["Get", "List", "Tail", "Watch", "Read", "Subscribe"];
            let traffic = ["Publish", "Notify", "Request"];
            let is_write = !reads.iter().any(|verb| method.name().starts_with(verb));
            if is_write && !traffic.contains(&method.name()) {
                let path = format!("/buswire.admin.v1.{name}");
                let answer = grpc_web(&server, &path, &head, b"").await;
                assert!(contains(&answer, b"grpc-status"), "{name}");
                made.push(name);
            }
        }
    }
    let mut recorded: Vec<_> = records(&server).await.into_iter().map(|it| it.method).collect();
    recorded.reverse();
    assert!(made.len() > 30, "{made:?}");
    assert_eq!(recorded, made);
}

#[tokio::test]
async fn a_record_says_who_did_what_and_what_was_there_before() {
    let server = Server::start().await;
    let mut buses = BusServiceClient::new(server.authorized().await);
    buses.create_bus(bus("a", "")).await.unwrap();
    let default_time = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let retention = Some(v1::Retention { default_time, ..Default::default() });
    let name = "a".to_owned();
    let request = v1::UpdateBusRetentionRequest { name, retention, ..Default::default() };
    buses.update_bus_retention(request).await.unwrap();
    buses.create_bus(bus("v2/a", "")).await.unwrap();
    let mut request = v1::DeleteBusRequest { name: "v2/a".into(), expected_revision: 1 << 40 };
    buses.delete_bus(request.clone()).await.unwrap_err();
    request.expected_revision = 0;
    buses.delete_bus(request).await.unwrap();
    buses.create_bus(bus("a b", "")).await.unwrap_err();

    let mut records = records(&server).await;
    records.reverse();
    let numbers: Vec<_> = records.iter().map(|record| record.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    let who = records.iter().map(|it| (it.caller.as_str(), it.via.as_str()));
    assert!(who.into_iter().all(|who| who == ("admin", "admin_token")));
    let [created, updated, present, late, deleted, refused] = records.try_into().unwrap();
    assert_eq!(
        (created.method.as_str(), created.resource.as_str()),
        ("BusService/CreateBus", "bus/a")
    );
    assert_eq!((created.before.as_str(), created.code), ("", 0));
    assert_eq!(parsed(&created.after)["retention"]["defaultTime"], json!("600s"));
    assert_eq!(parsed(&updated.before)["retention"]["defaultTime"], json!("600s"));
    assert_eq!(parsed(&updated.after)["retention"]["defaultTime"], json!("60s"));
    assert_eq!(parsed(&updated.request)["name"], json!("a"));
    assert_eq!(present.before, present.after, "it was there");
    assert_eq!((late.code, late.resource.as_str()), (i32::from(Code::Aborted), "bus/a"));
    assert_eq!(deleted.resource, "bus/a");
    assert_eq!(parsed(&deleted.before)["retention"]["defaultTime"], json!("60s"));
    assert_eq!(deleted.after, "");
    assert_eq!(refused.code, i32::from(Code::InvalidArgument));
    assert!(refused.error.starts_with("name: a bus name has"), "{}", refused.error);
}

#[tokio::test]
async fn a_record_holds_no_secret() {
    let server = Server::start().await;
    let secret = || "hunter2".to_owned();
    let mut clients = ClientServiceClient::new(server.authorized().await);
    let request = v1::CreateClientRequest {
        client_id: "shop".into(),
        secret: secret(),
        source_url: "https://shop.example/".into(),
        ..Default::default()
    };
    let made = clients.create_client(request).await.unwrap().into_inner();
    let mut owners = OwnerServiceClient::new(server.authorized().await);
    let request =
        v1::PutOwnerRequest { name: "ann".into(), password: secret(), ..Default::default() };
    owners.put_owner(request).await.unwrap();
    let mut routes = RouteServiceClient::new(server.authorized().await);
    let sink = "push:https://gateway.example/update/hunter2".to_owned();
    let request = v1::CreateRouteRequest { name: "r".into(), sink, ..Default::default() };
    routes.create_route(request).await.unwrap_err();

    let records = records(&server).await;
    let resources: Vec<_> = records.iter().map(|record| record.resource.as_str()).collect();
    assert_eq!(resources, ["route/r", "owner/ann", "client/shop"]);
    let text = format!("{records:?}");
    assert!(!text.contains("hunter2") && !text.contains(&made.secret), "{text}");
    assert_eq!(parsed(&records[2].request)["secret"], json!("(hidden)"));
    assert_eq!(parsed(&records[2].after)["clientId"], json!("shop"));
    assert_eq!(parsed(&records[1].after)["name"], json!("ann"));
}

#[tokio::test]
async fn who_is_known_and_may_not_is_written_down() {
    // A certificate of an operator.
    let server = Server::verified().await;
    let mut tokens = AdminTokenServiceClient::new(server.channel().await);
    let request =
        v1::CreateAdminTokenRequest { name: "mine".into(), role: 3, ..Default::default() };
    let status = tokens.create_admin_token(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let mut stranger = AdminTokenServiceClient::new(server.with_token("wrong").await);
    stranger.list_admin_tokens(v1::ListAdminTokensRequest::default()).await.unwrap_err();
    let nothing = grpc_web(&server, "/buswire.admin.v1.Nothing/Do", "", b"").await;
    assert!(contains(&nothing, b"grpc-status: 7\r\n"), "there is nothing to write down");
    let records = records(&server).await;
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.caller.as_str(), record.via.as_str()), ("ops.example", "certificate"));
    assert_eq!(record.method, "AdminTokenService/CreateAdminToken");
    assert_eq!(record.code, i32::from(Code::PermissionDenied));
}

#[tokio::test]
async fn a_gateway_is_drained_also_while_its_store_takes_no_writes() {
    let server = Server::start().await;
    let mut system = SystemServiceClient::new(server.authorized().await);
    server.store.script(Fault::Before);
    system.drain(v1::DrainRequest::default()).await.unwrap();
    let [record] = &records(&server).await[..] else { panic!("it is recorded afterwards") };
    assert_eq!((record.method.as_str(), record.code), ("SystemService/Drain", 0));
    // Neither before nor afterwards; or only not afterwards.
    for faults in [[Fault::Before, Fault::Before], [Fault::None, Fault::Before]] {
        for fault in faults {
            server.store.script(fault);
        }
        system.drain(v1::DrainRequest::default()).await.unwrap();
    }
    server.store.script(Fault::Before);
    let mut buses = BusServiceClient::new(server.authorized().await);
    let refused = buses.create_bus(bus("a", "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_request_with_an_id_is_made_once() {
    let server = Server::start().await;
    let mut buses = BusServiceClient::new(server.authorized().await);
    let first = buses.create_bus(bus("a", "1")).await.unwrap().into_inner();
    let again = buses.create_bus(bus("a", "1")).await.unwrap().into_inner();
    assert!(!first.existed);
    assert_eq!(again, first, "the first answer, not that the bus was there");
    let other = buses.create_bus(bus("b", "1")).await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
    assert_eq!(other.get_details_error_info().unwrap().reason, "REQUEST_ID_REUSED");
    let long = buses.create_bus(bus("b", &"x".repeat(65))).await.unwrap_err();
    assert_eq!(long.message(), "request_id: at most 64 characters");

    // What failed is not remembered.
    buses.create_bus(bus("a b", "2")).await.unwrap_err();
    buses.create_bus(bus("b", "2")).await.unwrap();

    let mut clients = ClientServiceClient::new(server.authorized().await);
    let request = v1::CreateClientRequest {
        source_url: "https://shop.example/".into(),
        request_id: "3".into(),
        ..Default::default()
    };
    clients.create_client(request.clone()).await.unwrap();
    let again = clients.create_client(request).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    assert_eq!(again.get_details_error_info().unwrap().reason, "SECRET_SHOWN_ONCE");
    let made = records(&server).await;
    let ids: Vec<_> = made.iter().map(|record| (record.request_id.as_str(), record.code)).collect();
    assert_eq!(ids, [("3", 0), ("2", 0), ("2", 3), ("1", 0)], "what changed nothing is not there");
}

#[tokio::test]
async fn an_id_whose_outcome_is_unknown_is_not_free() {
    let server = Server::start().await;
    let mut capabilities = CapabilityServiceClient::new(server.authorized().await);
    let request = v1::GrantCapabilityRequest {
        kind: "bus.publish".into(),
        target: "{}".into(),
        label: "lost".into(),
        request_id: "1".into(),
        ..Default::default()
    };
    let lost = capabilities.grant_capability(request.clone()).await.unwrap_err();
    assert_eq!(lost.code(), Code::Unavailable, "{lost}");
    let again = capabilities.grant_capability(request).await.unwrap_err();
    assert_eq!(again.code(), Code::Unknown);
    let details = again.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "OUTCOME_UNKNOWN");
    assert!(details.retry_info().is_none());
}

#[tokio::test]
async fn who_was_not_the_first_to_change_something_is_told() {
    let server = Server::start().await;
    let mut buses = BusServiceClient::new(server.authorized().await);
    let created = buses.create_bus(bus("a", "")).await.unwrap().into_inner().bus.unwrap();
    let update = |expected_revision| v1::UpdateBusRetentionRequest {
        name: "a".into(),
        retention: Some(v1::Retention {
            messages_per_channel_max: Some(7),
            ..v1::Retention::default()
        }),
        expected_revision,
        ..Default::default()
    };
    let updated = buses.update_bus_retention(update(created.revision)).await.unwrap();
    let updated = updated.into_inner().bus.unwrap();
    assert_ne!(updated.revision, created.revision);
    let late = buses.update_bus_retention(update(created.revision)).await.unwrap_err();
    assert_eq!(late.code(), Code::Aborted);
    let details = late.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "REVISION_CHANGED");
    let violation = details.precondition_failure().unwrap().violations.first().unwrap();
    assert_eq!((violation.r#type.as_str(), violation.subject.as_str()), ("REVISION", "bus/a"));
    let delete = |expected_revision| v1::DeleteBusRequest { name: "a".into(), expected_revision };
    let late = buses.delete_bus(delete(created.revision)).await.unwrap_err();
    assert_eq!(late.code(), Code::Aborted);
    assert!(buses.delete_bus(delete(updated.revision)).await.unwrap().into_inner().existed);
    assert!(!buses.delete_bus(delete(updated.revision)).await.unwrap().into_inner().existed);
}

async fn watch(server: &Server) -> tonic::Streaming<v1::WatchAuditResponse> {
    let mut client: SystemServiceClient<Authorized> =
        SystemServiceClient::new(server.authorized().await);
    let request = v1::WatchAuditRequest { resource: "bus/".into(), ..Default::default() };
    client.watch_audit(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn the_audit_log_is_watched_until_the_gateway_stops() {
    let server = Server::start().await;
    let mut buses = BusServiceClient::new(server.authorized().await);
    buses.create_bus(bus("before", "")).await.unwrap();
    let mut records = watch(&server).await;
    buses.create_bus(bus("a", "")).await.unwrap();
    let record = soon(records.message()).await.unwrap().unwrap().record.unwrap();
    assert_eq!((record.number, record.resource.as_str()), (2, "bus/a"));
    server.shutdown.cancel();
    assert_eq!(soon(records.message()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn the_audit_log_is_read_on_the_command_line() {
    let server = Server::start().await;
    run(&server, &["bus", "create", "a"]).await.unwrap();
    run(&server, &["bus", "delete", "a"]).await.unwrap();
    run(&server, &["bus", "delete", "b"]).await.unwrap_err();
    let listed = run(&server, &["audit", "list", "--resource", "bus/a"]).await.unwrap();
    assert_eq!(
        listed,
        "NUMBER  AT                        CALLER  METHOD                RESOURCE  RESULT\n\
         2       2024-03-09T14:05:21.000Z  admin   BusService/DeleteBus  bus/a     done\n\
         1       2024-03-09T14:05:21.000Z  admin   BusService/CreateBus  bus/a     done\n"
    );
    let tail = ["audit", "tail", "--caller", "admin", "--after", "1", "--count", "1"];
    let printed = parsed(&run(&server, &tail).await.unwrap());
    assert_eq!(printed["number"], json!(2));
    assert_eq!(printed["before"]["name"], json!("a"));
    assert_eq!(printed["after"], Value::Null);
}
