//! The services of the doors: what goes in comes out, errors have their codes.

use buswire::admin::AdminLimits;
use buswire_proto::v1::{
    self, broker_service_client::BrokerServiceClient, bus_service_client::BusServiceClient,
    capability_service_client::CapabilityServiceClient, client_service_client::ClientServiceClient,
    grant_service_client::GrantServiceClient, owner_service_client::OwnerServiceClient,
    push_service_client::PushServiceClient, route_service_client::RouteServiceClient,
    system_service_client::SystemServiceClient, user_service_client::UserServiceClient,
};
use tonic::Code;

use crate::{fakes::Fake, support::Server};

fn route(name: &str) -> v1::CreateRouteRequest {
    v1::CreateRouteRequest {
        name: name.into(),
        scope: "bus:a".into(),
        sink: "mdp:echo".into(),
        ..v1::CreateRouteRequest::default()
    }
}

#[tokio::test]
async fn a_route_lives_and_dies() {
    let server = Server::start().await;
    let mut client = RouteServiceClient::new(server.authorized().await);
    let timeout = Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 });
    let retry = Some(v1::Retry { timeout, attempts_max: Some(3), ..Default::default() });
    let request = v1::CreateRouteRequest { retry, reply_type: "answer".into(), ..route("r") };
    let created = client.create_route(request).await.unwrap().into_inner().route.unwrap();
    assert_eq!(created.state(), v1::RouteState::Running);
    assert_eq!(created.reply_type, "answer");
    let retry = created.retry.unwrap();
    assert_eq!((retry.timeout, retry.attempts_max), (timeout, Some(3)));
    let twice = client.create_route(route("r")).await.unwrap_err();
    assert_eq!(
        (twice.code(), twice.message()),
        (Code::AlreadyExists, "there is a route r already")
    );
    let name = || "r".to_owned();
    let paused = client
        .pause_route(v1::PauseRouteRequest { name: name(), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(paused.into_inner().route.unwrap().state(), v1::RouteState::Paused);
    let resumed = client
        .resume_route(v1::ResumeRouteRequest { name: name(), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(resumed.into_inner().route.unwrap().state(), v1::RouteState::Running);
    let listed = client.list_routes(v1::ListRoutesRequest::default()).await.unwrap().into_inner();
    assert_eq!((listed.routes.len(), listed.next_page_token.as_str()), (1, ""));
    client
        .delete_route(v1::DeleteRouteRequest { name: name(), ..Default::default() })
        .await
        .unwrap();
    for code in [
        client.get_route(v1::GetRouteRequest { name: name() }).await.unwrap_err().code(),
        client
            .pause_route(v1::PauseRouteRequest { name: name(), ..Default::default() })
            .await
            .unwrap_err()
            .code(),
        client
            .delete_route(v1::DeleteRouteRequest { name: name(), ..Default::default() })
            .await
            .unwrap_err()
            .code(),
    ] {
        assert_eq!(code, Code::NotFound);
    }
}

#[tokio::test]
async fn a_route_that_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let mut client = RouteServiceClient::new(server.authorized().await);
    let request = v1::CreateRouteRequest { scope: "type:t".into(), ..route("r") };
    assert_eq!(client.create_route(request).await.unwrap_err().code(), Code::InvalidArgument);
    let past = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let retry = Some(v1::Retry { first_delay: past, timeout: past, ..Default::default() });
    let request = v1::CreateRouteRequest { retry, ..route("r") };
    let status = client.create_route(request).await.unwrap_err();
    assert_eq!(
        status.message(),
        "retry.first_delay: not a length of time; retry.timeout: not a length of time"
    );
    let request = v1::CreateRouteRequest { sink: "mdp:blocked".into(), ..route("r") };
    let blocked = client.create_route(request).await.unwrap().into_inner().route.unwrap();
    assert_eq!(blocked.state(), v1::RouteState::Blocked);
    assert_eq!(blocked.blocked_reason, "no such sink");
}

#[tokio::test]
async fn a_capability_is_granted_listed_and_revoked() {
    let server = Server::start().await;
    let mut client = CapabilityServiceClient::new(server.authorized().await);
    let request = v1::GrantCapabilityRequest {
        kind: "bus.publish".into(),
        target: r#"{"bus":"a","channel":"c"}"#.into(),
        limits: r#"{"uses":3}"#.into(),
        label: "shop".into(),
        form: v1::LinkForm::Unspecified.into(),
        ..Default::default()
    };
    let granted = client.grant_capability(request).await.unwrap().into_inner();
    assert_eq!(granted.cap, "https://gateway.example/cap/x");
    let request = v1::ListCapabilitiesRequest::default();
    let listed = client.list_capabilities(request).await.unwrap().into_inner().capabilities;
    assert_eq!((listed[0].handle.as_str(), listed[0].uses_left), ("g_0", Some(3)));
    assert_eq!(listed[0].state(), v1::CapabilityState::Live);
    assert!(listed[0].expires_at.is_none());
    // Rule: belay §20.6 — revoking is idempotent for the operator
    for was_revoked in [false, true] {
        let request = v1::RevokeCapabilityRequest { handle: "g_0".into() };
        let answer = client.revoke_capability(request).await.unwrap().into_inner();
        assert_eq!(answer.was_revoked, was_revoked);
    }
    let request = v1::RevokeCapabilityRequest { handle: "g_9".into() };
    assert_eq!(client.revoke_capability(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_capability_is_wrapped_changed_shown_and_followed() {
    let server = Server::start().await;
    let mut client = CapabilityServiceClient::new(server.authorized().await);
    let request = v1::GrantCapabilityRequest { kind: "bus.publish".into(), ..Default::default() };
    client.grant_capability(request).await.unwrap();
    let wrap = |handle: &str| v1::WrapCapabilityRequest {
        handle: handle.into(),
        limits: r#"{"uses":1}"#.into(),
        label: "courier".into(),
        ..Default::default()
    };
    let wrapped = client.wrap_capability(wrap("g_0")).await.unwrap().into_inner();
    assert_eq!(wrapped.handle, "g_1");
    assert_eq!(client.wrap_capability(wrap("g_9")).await.unwrap_err().code(), Code::NotFound);
    let get = |handle: &str| v1::GetCapabilityRequest { handle: handle.into() };
    let shown = client.get_capability(get("g_1")).await.unwrap().into_inner().capability.unwrap();
    assert_eq!((shown.parent.as_str(), shown.label.as_str()), ("g_0", "courier"));
    let request = v1::UpdateCapabilityRequest {
        handle: "g_1".into(),
        label: Some("other".into()),
        suspended: Some(true),
        ..Default::default()
    };
    client.update_capability(request.clone()).await.unwrap();
    let paths = vec!["suspended".to_owned(), "kind".to_owned()];
    let update_mask = Some(prost_types::FieldMask { paths });
    let wrong = v1::UpdateCapabilityRequest { update_mask, ..request };
    let status = client.update_capability(wrong).await.unwrap_err();
    assert_eq!(status.message(), "update_mask: kind can't be changed");
    let shown = client.get_capability(get("g_1")).await.unwrap().into_inner().capability.unwrap();
    assert_eq!((shown.state(), shown.label.as_str()), (v1::CapabilityState::Suspended, "other"));
    let follow = |follow| v1::TailAuditRequest { follow };
    let mut kept = client.tail_audit(follow(false)).await.unwrap().into_inner();
    let first = kept.message().await.unwrap().unwrap();
    assert_eq!(first.missed, 7);
    let event = first.event.unwrap();
    assert_eq!((event.action(), event.by.as_str()), (v1::AuditAction::Granted, "g_0"));
    let invoked = kept.message().await.unwrap().unwrap().event.unwrap().invocation.unwrap();
    assert_eq!((invoked.method.as_str(), invoked.status, invoked.bytes_out), ("POST", 200, 7));
    for _ in 0..2 {
        assert!(kept.message().await.unwrap().is_some());
    }
    assert!(kept.message().await.unwrap().is_none(), "the record ends unless it is followed");
}

#[tokio::test]
async fn a_capability_that_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let mut client = CapabilityServiceClient::new(server.authorized().await);
    let request = v1::GrantCapabilityRequest {
        kind: String::new(),
        target: "[]".into(),
        limits: "{\"uses\":".into(),
        ..v1::GrantCapabilityRequest::default()
    };
    let status = client.grant_capability(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "kind: must not be empty; target: not a JSON object; limits: not a JSON object"
    );
    // Rule: belay §20.5 — unknown kinds are refused
    let request = v1::GrantCapabilityRequest { kind: "x".into(), ..Default::default() };
    assert_eq!(client.grant_capability(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_client_gets_a_grant() {
    let server = Server::start().await;
    let mut clients = ClientServiceClient::new(server.authorized().await);
    let request = v1::CreateClientRequest {
        source_url: "https://shop.example/".into(),
        ..v1::CreateClientRequest::default()
    };
    let created = clients.create_client(request).await.unwrap().into_inner();
    assert_eq!(created.secret, "minted-secret");
    assert_eq!(created.client.unwrap().client_id, "minted-id");
    let mut grants = GrantServiceClient::new(server.authorized().await);
    let grant = |client_id: &str| v1::CreateGrantRequest {
        client_id: client_id.into(),
        buses: vec!["b".into(), "v2/a".into()],
        ..Default::default()
    };
    let granted =
        grants.create_grant(grant("minted-id")).await.unwrap().into_inner().grant.unwrap();
    assert_eq!(
        (granted.state(), granted.buses),
        (v1::GrantState::Active, vec!["a".into(), "b".into()])
    );
    assert_eq!(grants.create_grant(grant("x")).await.unwrap_err().code(), Code::NotFound);
    for (client_id, count) in [("", 1), ("minted-id", 1), ("x", 0)] {
        let request = v1::ListGrantsRequest { client_id: client_id.into(), ..Default::default() };
        assert_eq!(grants.list_grants(request).await.unwrap().into_inner().grants.len(), count);
    }
    for existed in [true, false] {
        let request = v1::RevokeGrantRequest { id: granted.id.clone(), ..Default::default() };
        assert_eq!(grants.revoke_grant(request).await.unwrap().into_inner().existed, existed);
        let request =
            v1::DeleteClientRequest { client_id: "minted-id".into(), ..Default::default() };
        assert_eq!(clients.delete_client(request).await.unwrap().into_inner().existed, existed);
    }
    let listed = clients.list_clients(v1::ListClientsRequest::default()).await.unwrap();
    assert!(listed.into_inner().clients.is_empty());
}

#[tokio::test]
async fn whoever_expects_another_revision_changes_nothing_of_who_may_use_buses() {
    let server = Server::start().await;
    let channel = server.authorized().await;
    let mut clients = ClientServiceClient::new(channel.clone());
    let mut grants = GrantServiceClient::new(channel.clone());
    let mut owners = OwnerServiceClient::new(channel.clone());
    let mut users = UserServiceClient::new(channel);
    let source_url = "https://shop.example/".to_owned();
    let new = v1::CreateClientRequest { source_url, ..Default::default() };
    let client = clients.create_client(new).await.unwrap().into_inner().client.unwrap();
    let new = v1::CreateGrantRequest {
        client_id: client.client_id.clone(),
        buses: vec!["a".into()],
        ..Default::default()
    };
    let grant = grants.create_grant(new).await.unwrap().into_inner().grant.unwrap();
    let (name, password) = ("o".to_owned(), "p".to_owned());
    let put = v1::PutOwnerRequest { name: name.clone(), password, expected_revision: 0 };
    owners.put_owner(put.clone()).await.unwrap();
    let user = v1::PutUserRequest { name, password: "p".into(), expected_revision: 0 };
    users.put_user(user.clone()).await.unwrap();
    let owner = owners.list_owners(v1::ListOwnersRequest::default()).await.unwrap().into_inner();
    let seen = owner.owners[0].revision;
    assert!(seen > 0 && [client.revision, grant.revision] == [seen; 2]);
    for (expected_revision, wanted) in [(seen + 1, Code::Aborted), (seen, Code::Ok)] {
        let code =
            |answer: Result<(), tonic::Status>| answer.map_or_else(|s| s.code(), |()| Code::Ok);
        let revoke = v1::RevokeGrantRequest { id: grant.id.clone(), expected_revision };
        let client_id = client.client_id.clone();
        let delete = v1::DeleteClientRequest { client_id, expected_revision };
        let owner = v1::PutOwnerRequest { expected_revision, ..put.clone() };
        let (owned_by, bus) = ("o".to_owned(), "b".to_owned());
        let assign = v1::AssignBusRequest { owner: owned_by, bus, expected_revision };
        let user = v1::PutUserRequest { expected_revision, ..user.clone() };
        let no_owner = v1::DeleteOwnerRequest { name: "o".into(), expected_revision };
        let no_user = v1::DeleteUserRequest { name: "u".into(), expected_revision };
        let codes = [
            code(grants.revoke_grant(revoke).await.map(drop)),
            code(clients.delete_client(delete).await.map(drop)),
            code(owners.put_owner(owner).await.map(drop)),
            code(owners.assign_bus(assign).await.map(drop)),
            code(users.put_user(user).await.map(drop)),
            code(owners.delete_owner(no_owner).await.map(drop)),
            code(users.delete_user(no_user).await.map(drop)),
        ];
        assert_eq!(codes, [wanted; 7]);
    }
}

#[tokio::test]
async fn owners_own_buses() {
    let server = Server::start().await;
    let mut client = OwnerServiceClient::new(server.authorized().await);
    let put =
        || v1::PutOwnerRequest { name: "o".into(), password: "p".into(), ..Default::default() };
    client.put_owner(put()).await.unwrap();
    client.put_owner(put()).await.unwrap();
    let assign = |owner: &str, bus: &str| v1::AssignBusRequest {
        owner: owner.into(),
        bus: bus.into(),
        ..Default::default()
    };
    client.assign_bus(assign("o", "example.com")).await.unwrap();
    assert_eq!(client.assign_bus(assign("x", "a")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(
        client.assign_bus(assign("o", "a b")).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let listed = client.list_owners(v1::ListOwnersRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.owners[0].buses, ["example.com"]);
    for existed in [true, false] {
        let answer = client
            .delete_owner(v1::DeleteOwnerRequest { name: "o".into(), ..Default::default() })
            .await
            .unwrap();
        assert_eq!(answer.into_inner().existed, existed);
    }
}

#[tokio::test]
async fn users_have_permissions() {
    let server = Server::start().await;
    let mut client = UserServiceClient::new(server.authorized().await);
    let put = v1::PutUserRequest { name: "u".into(), password: "p".into(), ..Default::default() };
    client.put_user(put).await.unwrap();
    let permissions = |numbers: &[i32]| v1::SetPermissionsRequest {
        user: "u".into(),
        bus: "example.com".into(),
        permissions: numbers.to_vec(),
    };
    client.set_permissions(permissions(&[1, 2])).await.unwrap();
    let refused = client.set_permissions(permissions(&[0])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let listed = client.list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner();
    let expected = v1::BusPermissions { bus: "v1/example.com".into(), permissions: vec![1, 2] };
    assert_eq!(listed.users[0].buses, [expected]);
    for existed in [true, false] {
        let answer = client
            .delete_user(v1::DeleteUserRequest { name: "u".into(), ..Default::default() })
            .await
            .unwrap();
        assert_eq!(answer.into_inner().existed, existed);
    }
}

#[tokio::test]
async fn an_endpoint_is_notified() {
    let server = Server::start().await;
    let mut client = PushServiceClient::new(server.authorized().await);
    let notify = |version| v1::NotifyRequest {
        endpoint: "https://gateway.example/update/t".into(),
        version,
        ..Default::default()
    };
    assert_eq!(client.notify(notify(Some(7))).await.unwrap().into_inner().version, 7);
    assert_eq!(client.notify(notify(None)).await.unwrap().into_inner().version, 4711);
    // A version on this interface is never left to the gateway by being 0: unset does that.
    for version in [0, 1 << 63] {
        let refused = client.notify(notify(Some(version))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let stranger =
        v1::NotifyRequest { endpoint: "https://x.example/".into(), ..Default::default() };
    assert_eq!(client.notify(stranger).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_service_is_called() {
    let server = Server::start().await;
    let mut client = BrokerServiceClient::new(server.authorized().await);
    let listed = client.list_services(v1::ListServicesRequest::default()).await.unwrap();
    let names: Vec<_> = listed.into_inner().services.into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["a service", "echo"]);
    let frames = vec![b"\xff\x00".to_vec(), Vec::new()];
    let request = |service: &str, seconds| v1::RequestRequest {
        service: service.into(),
        frames: frames.clone(),
        timeout: Some(prost_types::Duration { seconds, nanos: 0 }),
    };
    let answer = client.request(request("echo", 1)).await.unwrap().into_inner();
    assert_eq!(answer.frames, frames);
    let late = client.request(request("slow", 2)).await.unwrap_err();
    assert_eq!((late.code(), late.message()), (Code::DeadlineExceeded, "no answer in 2000 ms"));
    assert_eq!(client.request(request("none", 1)).await.unwrap_err().code(), Code::Unavailable);
    let long = client.request(request("echo", 61)).await.unwrap_err();
    assert_eq!((long.code(), long.message()), (Code::InvalidArgument, "timeout: 1 ms to 60 s"));
}

#[tokio::test]
async fn a_service_is_paused_and_resumed() {
    let server = Server::start().await;
    let mut client = BrokerServiceClient::new(server.authorized().await);
    let get = |name: &str| v1::GetServiceRequest { name: name.into() };
    let pause = |name: &str| v1::PauseServiceRequest { name: name.into() };
    let resume = |name: &str| v1::ResumeServiceRequest { name: name.into() };
    let shown = client.get_service(get("echo")).await.unwrap().into_inner().service.unwrap();
    assert_eq!((shown.workers, shown.idle, shown.busy, shown.queued), (3, 1, 2, 7));
    let waited = prost_types::Duration { seconds: 1, nanos: 500_000_000 };
    assert_eq!((shown.paused, shown.local, shown.oldest_wait), (false, false, Some(waited)));
    let counts = shown.counts.unwrap();
    assert_eq!((counts.accepted, counts.completed), (9, 2));
    let reasons: Vec<_> = counts.dropped.iter().map(|drop| drop.reason.as_str()).collect();
    assert!(reasons.contains(&"queue_full") && reasons.contains(&"draining"), "{reasons:?}");

    for name in ["echo", "not yet known"] {
        let paused = client.pause_service(pause(name)).await.unwrap().into_inner().service;
        assert!(paused.unwrap().paused);
        let resumed = client.resume_service(resume(name)).await.unwrap().into_inner().service;
        assert!(!resumed.unwrap().paused);
    }
    let reserved = client.pause_service(pause("mmi.x")).await.unwrap_err();
    assert_eq!(reserved.code(), Code::InvalidArgument);
    let status = client.resume_service(resume("none")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "the broker knows no service none")
    );
    assert_eq!(client.get_service(get("none")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn workers_are_listed_by_number_and_sent_away() {
    let server = Server::start().await;
    let mut client = BrokerServiceClient::new(server.authorized().await);
    let list = |service: &str, page_size, page_token: &str| v1::ListWorkersRequest {
        page_size,
        page_token: page_token.into(),
        service: service.into(),
    };
    let first = client.list_workers(list("", 2, "")).await.unwrap().into_inner();
    let [one, three] = first.workers.as_slice() else { panic!("{first:?}") };
    assert_eq!((one.id, one.state(), one.user.as_str()), (1, v1::WorkerState::Idle, ""));
    assert_eq!((three.id, three.state(), three.user.as_str()), (3, v1::WorkerState::Busy, "key"));
    assert_eq!((one.version.as_str(), one.delimited, one.answered), ("0.1", true, 1));
    let rest = client.list_workers(list("echo", 2, &first.next_page_token)).await.unwrap();
    assert_eq!(rest.into_inner().workers[0].id, 20);
    let none = client.list_workers(list("a service", 0, "")).await.unwrap().into_inner();
    assert!(none.workers.is_empty());

    client.drain_worker(v1::DrainWorkerRequest { id: 20 }).await.unwrap();
    client.disconnect_worker(v1::DisconnectWorkerRequest { id: 3 }).await.unwrap();
    let left = client.list_workers(list("", 0, "")).await.unwrap().into_inner().workers;
    let left: Vec<_> = left.iter().map(|worker| (worker.id, worker.state())).collect();
    assert_eq!(left, [(1, v1::WorkerState::Idle), (20, v1::WorkerState::Draining)]);
    let gone = client.drain_worker(v1::DrainWorkerRequest { id: 3 }).await.unwrap_err();
    assert_eq!((gone.code(), gone.message()), (Code::NotFound, "there is no worker 3"));
}

#[tokio::test]
async fn the_status_is_shown() {
    let server = Server::start().await;
    let mut client = SystemServiceClient::new(server.authorized().await);
    let status = client.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert!(status.ready);
    assert_eq!(status.listeners[0].address, "127.0.0.1:8080");
    let names: Vec<_> = status.counts.iter().map(|count| count.name.as_str()).collect();
    assert_eq!(names, ["buses", "simplepush.connections"]);
}

#[tokio::test]
async fn a_bus_is_deleted_with_every_right_to_it() {
    let server = Server::with(AdminLimits::default(), Fake::with_removal()).await;
    let mut clients = ClientServiceClient::new(server.authorized().await);
    let source_url = "https://shop.example/".to_owned();
    let request = v1::CreateClientRequest { source_url, ..Default::default() };
    clients.create_client(request).await.unwrap();
    let mut grants = GrantServiceClient::new(server.authorized().await);
    let (client_id, buses) = ("minted-id".to_owned(), vec!["a".to_owned()]);
    grants
        .create_grant(v1::CreateGrantRequest { client_id, buses, ..Default::default() })
        .await
        .unwrap();
    let mut buses = BusServiceClient::new(server.authorized().await);
    // Rule: backplane §13.4 — deleting a v2 bus removes it from all grants
    for existed in [true, false] {
        let request = v1::DeleteBusRequest { name: "a".into(), ..Default::default() };
        let answer = buses.delete_bus(request).await.unwrap();
        assert_eq!(answer.into_inner().existed, existed);
    }
    let listed = grants.list_grants(v1::ListGrantsRequest::default()).await.unwrap();
    assert!(listed.into_inner().grants.is_empty());
}
