//! Who gets in, and what is there for those who do not: health; reflection, gRPC-Web, deadlines.

use std::time::Duration;

use buswire::admin::{AdminLimits, ports::Ports};
use buswire_proto::v1::{
    self, broker_service_client::BrokerServiceClient, bus_service_client::BusServiceClient,
};
use tonic::{Code, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use tower::ServiceExt as _;

use crate::fakes::Fake;
use crate::support::{Server, TOKEN, contains, grpc_web, soon};

#[tokio::test]
async fn a_call_needs_the_token() {
    let server = Server::start().await;
    let mut nobody = BusServiceClient::new(server.channel().await);
    let status = nobody.list_buses(v1::ListBusesRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().starts_with("the admin token is missing"), "{}", status.message());
    let mut stranger = BusServiceClient::new(server.with_token("wrong").await);
    let status = stranger.list_buses(v1::ListBusesRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(status.message(), "the admin token is wrong");
    let mut admin = BusServiceClient::new(server.authorized().await);
    admin.list_buses(v1::ListBusesRequest::default()).await.unwrap();
}

#[tokio::test]
async fn health_is_for_everybody_and_ends_with_the_gateway() {
    let server = Server::start().await;
    let mut client = HealthClient::new(server.channel().await);
    for service in ["", "buswire.admin.v1.BusService", "buswire.admin.v1.UserService"] {
        let request = HealthCheckRequest { service: service.into() };
        let answer = client.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{service} is serving");
    }
    let watched = client.watch(HealthCheckRequest { service: String::new() }).await.unwrap();
    let mut watched = watched.into_inner();
    assert_eq!(soon(watched.message()).await.unwrap().unwrap().status, 1);
    server.shutdown.cancel();
    let mut last = 1;
    while let Some(change) = soon(watched.message()).await.unwrap() {
        last = change.status;
    }
    assert_eq!(last, 2, "not serving");
    drop((client, watched));
    server.stop().await;
}

#[tokio::test]
async fn reflection_names_every_service_to_whoever_has_a_token() {
    let server = Server::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = || tokio_stream::once(request.clone());
    let mut stranger = ServerReflectionClient::new(server.channel().await);
    let refused = stranger.server_reflection_info(requests()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut client = ServerReflectionClient::new(server.authorized().await);
    let mut answers = client.server_reflection_info(requests()).await.unwrap().into_inner();
    let answer = soon(answers.message()).await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list of services");
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.retain(|name| name.starts_with("buswire."));
    names.sort();
    assert_eq!(
        names,
        [
            "buswire.admin.v1.AccessService",
            "buswire.admin.v1.ActivityService",
            "buswire.admin.v1.AdminTokenService",
            "buswire.admin.v1.BrokerService",
            "buswire.admin.v1.BusService",
            "buswire.admin.v1.CapabilityService",
            "buswire.admin.v1.ClientService",
            "buswire.admin.v1.DeadLetterService",
            "buswire.admin.v1.GrantService",
            "buswire.admin.v1.InboundService",
            "buswire.admin.v1.MessageService",
            "buswire.admin.v1.OwnerService",
            "buswire.admin.v1.PushService",
            "buswire.admin.v1.RouteService",
            "buswire.admin.v1.SubscriptionService",
            "buswire.admin.v1.SystemService",
            "buswire.admin.v1.TraceService",
            "buswire.admin.v1.UserService",
        ]
    );
}

#[tokio::test]
async fn a_browser_gets_in_over_grpc_web() {
    let server = Server::start().await;
    let path = "/buswire.admin.v1.BusService/CreateBus";
    let authorization = format!("Authorization: Bearer {TOKEN}\r\n");
    // Field 1, a text of 11 bytes.
    let message = b"\x0a\x0bexample.com";
    let answer = grpc_web(&server, path, &authorization, message).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(contains(&answer, b"content-type: application/grpc-web+proto\r\n"));
    assert!(contains(&answer, b"\x0a\x0bexample.com"), "the name is in the bus of the answer");
    assert!(contains(&answer, b"grpc-status:0\r\n"), "the trailers are in the body");

    let answer = grpc_web(&server, path, "", message).await;
    assert!(contains(&answer, b"grpc-status: 16\r\n") || contains(&answer, b"grpc-status:16\r\n"));
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_or_the_longest_there_is() {
    let limits = AdminLimits { call_time_max: Duration::from_millis(50), ..Default::default() };
    let server = Server::with(limits, Fake::ports()).await;
    let mut client = BrokerServiceClient::new(server.authorized().await);
    let stuck = || v1::RequestRequest { service: "stuck".into(), ..Default::default() };
    let status = soon(client.request(stuck())).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);

    // The client of tonic gives up by itself; this one trusts the gateway.
    let server = Server::start().await;
    let head = format!("Authorization: Bearer {TOKEN}\r\ngrpc-timeout: 50m\r\n");
    let path = "/buswire.admin.v1.BrokerService/Request";
    let answer = grpc_web(&server, path, &head, b"\x0a\x05stuck").await;
    assert!(contains(&answer, b"grpc-status: 4\r\n"), "deadline exceeded");
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let server = Server::with(AdminLimits::default(), Ports::default()).await;
    let mut client = BrokerServiceClient::new(server.authorized().await);
    let status = client.list_services(v1::ListServicesRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "this gateway has no Majordomo broker");
    // What is not known is an administrator's alone.
    let answer = grpc_web(&server, "/buswire.admin.v1.Nothing/Do", "", b"").await;
    assert!(contains(&answer, b"grpc-status: 16\r\n"));
    let head = format!("Authorization: Bearer {TOKEN}\r\n");
    let answer = grpc_web(&server, "/buswire.admin.v1.Nothing/Do", &head, b"").await;
    assert!(contains(&answer, b"grpc-status: 12\r\n"));
}

#[tokio::test]
async fn a_verified_certificate_gets_in_without_a_token() {
    let server = Server::verified().await;
    let path = "/buswire.admin.v1.BusService/ListBuses";
    let answer = grpc_web(&server, path, "", b"").await;
    assert!(contains(&answer, b"grpc-status:0\r\n"));
}

/// What a page of another site can let a browser send, with the certificate of whoever looks at it.
#[tokio::test]
async fn a_verified_certificate_makes_calls_of_grpc_only() {
    let server = Server::verified().await;
    let channel = server.channel().await;
    let send = async |method: &str, kind: Option<&str>, name: u8| {
        let body = vec![0, 0, 0, 0, 3, 10, 1, name];
        let mut request = http::Request::builder()
            .method(method)
            .uri("/buswire.admin.v1.BusService/CreateBus")
            .body(Body::new(http_body_util::Full::from(body)))
            .unwrap();
        if let Some(kind) = kind {
            request.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        soon(channel.clone().oneshot(request)).await.unwrap().status().as_u16()
    };
    assert_eq!(send("POST", Some("text/plain"), b'a').await, 415);
    assert_eq!(send("POST", None, b'b').await, 415);
    assert_eq!(send("GET", Some("application/grpc"), b'c').await, 415);
    assert_eq!(send("POST", Some("application/grpc"), b'd').await, 200);
    let made = server.buses.list(None).await.unwrap();
    let made: Vec<_> = made.iter().map(|bus| bus.name.to_string()).collect();
    assert_eq!(made, ["d"]);
}
