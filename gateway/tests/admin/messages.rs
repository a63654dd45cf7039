//! `MessageService`.

use std::time::Duration;

use buswire::admin::AdminLimits;
use buswire_message::Retention;
use buswire_proto::v1::{self, message_service_client::MessageServiceClient};
use tonic::{Code, Status, Streaming};

use crate::fakes::Fake;
use crate::support::{Authorized, Server, TOKEN, contains, grpc_web, soon};

async fn client(server: &Server) -> MessageServiceClient<Authorized> {
    server.buses.create(&"a".parse().unwrap(), Retention::default()).await.unwrap();
    MessageServiceClient::new(server.authorized().await)
}

fn message(payload: &str) -> v1::PublishRequest {
    v1::PublishRequest {
        bus: "a".into(),
        channel: "c".into(),
        r#type: "t".into(),
        payload: payload.into(),
        ..v1::PublishRequest::default()
    }
}

async fn publish(client: &mut MessageServiceClient<Authorized>, payload: &str) -> String {
    client.publish(message(payload)).await.unwrap().into_inner().id
}

fn subscribe(since: &str) -> v1::SubscribeRequest {
    v1::SubscribeRequest { scope: "bus:a".into(), since: since.into() }
}

async fn next(stream: &mut Streaming<v1::SubscribeResponse>) -> Result<v1::Message, Status> {
    soon(stream.message()).await.map(|item| item.unwrap().message.unwrap())
}

#[tokio::test]
async fn a_message_is_read_as_it_was_published() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let payload = r#"{"n": 1.00000000000000000001}"#;
    let first = publish(&mut client, "1").await;
    let request = v1::PublishRequest {
        source: "https://shop.example/".into(),
        sticky: true,
        dedupe_key: "k".into(),
        in_reply_to: first.clone(),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        ..message(payload)
    };
    let id = client.publish(request.clone()).await.unwrap().into_inner().id;
    let again = client.publish(request).await.unwrap().into_inner().id;
    assert_eq!(id, again, "a dedupe key makes publishing repeatable");

    let request = v1::ReadRequest { scope: "bus:a".into(), since: first, page_size: 0 };
    let page = client.read(request).await.unwrap().into_inner();
    let [read] = <[v1::Message; 1]>::try_from(page.messages).unwrap();
    assert_eq!((read.id, read.payload.as_str(), read.sticky), (id.clone(), payload, true));
    assert_eq!(read.source, "https://shop.example/");
    assert_eq!(read.expires_at.unwrap().seconds, 1_709_993_121 + 28_800);
    assert_eq!(read.headers.unwrap().dedupe_key, "k");
    assert_eq!((page.next, page.more), (id, false));
}

#[tokio::test]
async fn a_page_goes_on_where_the_last_ended() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(publish(&mut client, &n.to_string()).await);
    }
    let (mut seen, mut since) = (Vec::new(), String::new());
    loop {
        let request = v1::ReadRequest { scope: "bus:a".into(), since, page_size: 2 };
        let page = client.read(request).await.unwrap().into_inner();
        assert!(page.messages.len() <= 2);
        seen.extend(page.messages.into_iter().map(|message| message.id));
        since = page.next;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_page_of_large_messages_is_cut_by_bytes() {
    let limits = AdminLimits { page_bytes: 250, ..AdminLimits::default() };
    let server = Server::with(limits, Fake::ports()).await;
    let mut client = client(&server).await;
    let large = format!("\"{}\"", "x".repeat(98));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(publish(&mut client, &large).await);
    }
    let request = v1::ReadRequest { scope: "bus:a".into(), ..Default::default() };
    let page = client.read(request).await.unwrap().into_inner();
    assert_eq!((page.messages.len(), page.more), (2, true));
    assert_eq!(page.next, ids[1]);
}

#[tokio::test]
async fn a_stream_gives_what_is_there_and_what_comes() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let first = publish(&mut client, "1").await;
    let mut all = client.subscribe(subscribe("")).await.unwrap().into_inner();
    let mut rest = client.subscribe(subscribe(&first)).await.unwrap().into_inner();
    assert_eq!(next(&mut all).await.unwrap().id, first);
    let second = publish(&mut client, "2").await;
    assert_eq!(next(&mut all).await.unwrap().id, second);
    assert_eq!(next(&mut rest).await.unwrap().id, second);
}

#[tokio::test]
async fn a_stream_ends_at_the_callers_deadline() {
    let server = Server::start().await;
    client(&server).await;
    // The client of tonic gives up by itself; this one trusts the gateway.
    let head = format!("Authorization: Bearer {TOKEN}\r\ngrpc-timeout: 1S\r\n");
    let path = "/buswire.admin.v1.MessageService/Subscribe";
    let answer = grpc_web(&server, path, &head, b"\x0a\x05bus:a").await;
    assert!(contains(&answer, b"grpc-status:4\r\n"), "deadline exceeded, in the trailers");
}

#[tokio::test]
async fn streams_end_when_the_gateway_stops_so_that_it_can() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let mut stream = client.subscribe(subscribe("")).await.unwrap().into_inner();
    publish(&mut client, "1").await;
    next(&mut stream).await.unwrap();
    server.shutdown.cancel();
    let end = next(&mut stream).await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(end.message(), "the gateway stops; subscribe again");
    drop((client, stream));
    server.stop().await;
}

#[tokio::test]
async fn streams_are_bounded_and_given_back() {
    let limits = AdminLimits { streams_max: 1, ..AdminLimits::default() };
    let server = Server::with(limits, Fake::ports()).await;
    let mut client = client(&server).await;
    let stream = client.subscribe(subscribe("")).await.unwrap();
    let refused = client.subscribe(subscribe("")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    drop(stream);
    let taken = async { while client.subscribe(subscribe("")).await.is_err() {} };
    soon(taken).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let mut client = client(&server).await;
    let unknown = v1::PublishRequest { bus: "b".into(), ..message("1") };
    assert_eq!(client.publish(unknown).await.unwrap_err().code(), Code::NotFound);
    // Rule: backplane §6.1 — any JSON value except null
    for payload in ["null", "{", ""] {
        let status = client.publish(message(payload)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{payload}");
    }
    for scope in ["", "type:t", "nonsense"] {
        let request = v1::SubscribeRequest { scope: scope.into(), since: String::new() };
        let status = client.subscribe(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{scope}");
        let request = v1::ReadRequest { scope: scope.into(), ..Default::default() };
        assert_eq!(client.read(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_full_channel_refuses() {
    let server = Server::start().await;
    let minute = Duration::from_secs(60);
    let retention = Retention::new(minute, minute, 1).unwrap();
    server.buses.create(&"a".parse().unwrap(), retention).await.unwrap();
    let mut client = client(&server).await;
    publish(&mut client, "1").await;
    // Rule: backplane §5.4 — a channel holds at most its number of live messages
    let status = client.publish(message("2")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let late = prost_types::Timestamp { seconds: 1_709_993_121 + 100, nanos: 0 };
    let request =
        v1::PublishRequest { channel: "d".into(), expires_at: Some(late), ..message("1") };
    let status = client.publish(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("expires_at: "), "{}", status.message());
}

#[tokio::test]
async fn an_oversize_request_is_refused() {
    let limits = AdminLimits { request_bytes_max: 1000, ..AdminLimits::default() };
    let server = Server::with(limits, Fake::ports()).await;
    let mut client = client(&server).await;
    let status = client.publish(message(&format!("\"{}\"", "x".repeat(1000)))).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    publish(&mut client, "1").await;
}
