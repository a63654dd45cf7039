//! The clients of the library against the door.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::{sync::Arc, time::Duration};

use buswire_backplane::{
    Post,
    client::{
        Access, Backoff, Client, ClientError, Credentials, Message, MessageStream, OAuthCode,
        Position, Select, Server, Settings, V1Client, V1Path,
    },
};
use buswire_message::{ChannelName, MessageType, Retention};
use buswire_testkit::VirtualClock;
use futures::StreamExt as _;
use serde_json::{Value, json};
use support::{Door, PATIENCE, bus, config};
use tokio::time::timeout;

const BUS: &str = "gazette.example";

/// Its clock stands still, so that tokens are renewed when the door says so and not before.
fn settings() -> Settings {
    Settings {
        backoff: Backoff { first: Duration::from_millis(1), ..Backoff::default() },
        clock: Arc::new(VirtualClock::default()),
        ..Settings::default()
    }
}

fn server(door: &Door) -> Server {
    Server::parse(&format!("http://{}", door.address)).unwrap()
}

fn back_end(door: &Door) -> Client {
    let credentials =
        Credentials::new("comments-svc".parse().unwrap(), "tangled-kelp-4".to_owned());
    Client::new(server(door), Access::Grants(credentials), settings()).unwrap()
}

async fn visit(door: &Door) -> (Client, ChannelName) {
    let visit = Client::new(server(door), Access::Visit(bus(BUS)), settings()).unwrap();
    let channel = visit.channel().await.unwrap().unwrap();
    (visit, channel)
}

fn post(payload: &Value) -> Post {
    let kind: MessageType = "comment/posted".parse().unwrap();
    Post::new(kind, payload).unwrap()
}

async fn next(stream: &mut MessageStream) -> Message {
    timeout(PATIENCE, stream.next()).await.expect("no message came").unwrap()
}

#[tokio::test]
async fn a_back_end_posts_and_a_visit_sees_the_header() {
    let door = Door::start().await;
    let (visit, channel) = visit(&door).await;
    let back_end = back_end(&door);
    assert_eq!(back_end.scope().await.unwrap().to_string(), "bus:gazette.example");
    let expiry = door.now().saturating_add(Duration::from_secs(100));
    let message = post(&json!({"n": 3})).sticky().expiring(expiry);
    back_end.post(&bus(BUS), &channel, &message).await.unwrap();

    let page = visit.read(&Position::start()).await.unwrap();
    assert!(!page.more);
    let header = &page.messages[0];
    assert_eq!((header.kind.as_str(), header.bus.as_str()), ("comment/posted", BUS));
    assert_eq!((header.source.as_str(), header.sticky), ("https://comments.example/", true));
    assert_eq!(header.expire, Some(expiry.to_rfc3339().to_string()));
    assert_eq!((header.channel.as_str(), header.payload_text()), (channel.as_str(), None));
    assert!(visit.read(&page.next).await.unwrap().messages.is_empty());

    // The page tells its back end the URL, which is one of the public name of the door.
    assert!(header.url.starts_with("https://bp.example.net/v2/message/"));
    let full = back_end.message(&header.url).await.unwrap();
    assert_eq!(full.payload::<Value>().unwrap(), json!({"n": 3}));
    let missing = back_end.message("2024-01-01T00:00:00.000Z-AAAAAAAAAA").await;
    assert!(matches!(missing, Err(ClientError::Refused(refusal)) if refusal.status == 404));
}

#[tokio::test]
async fn refusals_have_the_code_of_the_server() {
    let door = Door::start().await;
    let (visit, channel) = visit(&door).await;
    let refused = |result: Result<(), ClientError>| match result {
        Err(ClientError::Refused(refusal)) => (refusal.status, refusal.code, refusal.description),
        other => panic!("{other:?}"),
    };
    let (code, message) = (Some(OAuthCode::InvalidRequest), post(&json!(1)));
    let anonymous = refused(visit.post(&bus(BUS), &channel, &message).await);
    assert_eq!(anonymous, (403, code, "Invalid token type: ANONYMOUS".to_owned()));
    let unbound = refused(back_end(&door).post(&bus("other.example"), &channel, &message).await);
    assert_eq!(unbound, (403, code, "Invalid bus - channel binding".to_owned()));

    let wrong = Credentials::new("comments-svc".parse().unwrap(), "nope".to_owned());
    let wrong = Client::new(server(&door), Access::Grants(wrong), settings()).unwrap();
    let (status, code, _) = refused(wrong.post(&bus(BUS), &channel, &message).await);
    assert_eq!((status, code), (401, Some(OAuthCode::InvalidClient)));

    let scope = "bus:other.example".parse().unwrap();
    let wide = Credentials::new("comments-svc".parse().unwrap(), "tangled-kelp-4".to_owned());
    let wide = Client::scoped(server(&door), Access::Grants(wide), scope, settings()).unwrap();
    let (status, code, _) = refused(wide.post(&bus(BUS), &channel, &message).await);
    assert_eq!((status, code), (400, Some(OAuthCode::InvalidScope)));
}

#[tokio::test]
async fn a_stream_gives_every_message_once_and_in_order() {
    let door = Door::start().await;
    let (_, channel) = visit(&door).await;
    let back_end = back_end(&door);
    // Two pages and a part of one are there; the rest comes while the stream is read.
    let send = async |numbers: std::ops::Range<u64>| {
        for n in numbers {
            back_end.post(&bus(BUS), &channel, &post(&json!(n))).await.unwrap();
        }
    };
    send(0..60).await;
    let mut stream = back_end.stream(Position::start());
    let read = async {
        for n in 0..90 {
            // A caller that turns to other things again and again loses nothing.
            let given_up = timeout(Duration::ZERO, stream.next()).await;
            let message = match given_up {
                Ok(message) => message.unwrap(),
                Err(_) => next(&mut stream).await,
            };
            assert_eq!(message.payload::<u64>().unwrap(), n);
            if n == 70 {
                // The process begins anew with the position that it has kept.
                let position = stream.position().since().unwrap().to_owned();
                stream = back_end.stream(Position::after(position));
            }
        }
    };
    tokio::join!(read, send(60..90));
    let rest = back_end.stream(Position::start()).into_stream().take(90);
    assert_eq!(timeout(PATIENCE, rest.count()).await.unwrap(), 90);
}

#[tokio::test]
async fn a_stream_outlives_its_token() {
    // The messages outlive the token, so that they are there to be counted.
    let hour = Duration::from_secs(3600);
    let retention = Retention::new(2 * hour, 8 * hour, 100).unwrap();
    let door = Door::start_with(config(), retention).await;
    let (visit, channel) = visit(&door).await;
    let back_end = back_end(&door);
    back_end.post(&bus(BUS), &channel, &post(&json!(1))).await.unwrap();
    let mut stream = visit.stream(Position::start());
    let first = next(&mut stream).await;

    // The token of the visit ends with its hour; the stream renews it.
    door.advance(Duration::from_secs(3601));
    back_end.post(&bus(BUS), &channel, &post(&json!(2))).await.unwrap();
    let second = next(&mut stream).await;
    assert!(first.id() < second.id());
    assert_eq!(visit.channel().await.unwrap(), Some(channel.clone()));

    // The channel itself ends: a visit can't get it back.
    door.advance(Duration::from_secs(100 * 3600));
    let ended = timeout(PATIENCE, stream.next()).await.unwrap();
    assert!(matches!(ended, Err(ClientError::Ended)), "{ended:?}");
}

#[tokio::test]
async fn a_stream_goes_on_when_its_grant_comes_back() {
    let door = Door::start().await;
    let (_, channel) = visit(&door).await;
    let back_end = back_end(&door);
    back_end.post(&bus(BUS), &channel, &post(&json!(1))).await.unwrap();
    let mut stream = back_end.stream(Position::start());
    next(&mut stream).await;
    assert!(door.backplane.revoke_grant(&door.grant, None).await.unwrap());
    let revoked = timeout(PATIENCE, stream.next()).await.unwrap();
    let Err(ClientError::Refused(refusal)) = revoked else { panic!("{revoked:?}") };
    assert_eq!((refusal.status, refusal.code), (400, Some(OAuthCode::InvalidScope)));

    door.backplane.grant(&"comments-svc".parse().unwrap(), &[bus(BUS)]).await.unwrap();
    back_end.post(&bus(BUS), &channel, &post(&json!(2))).await.unwrap();
    assert_eq!(next(&mut stream).await.payload::<u64>().unwrap(), 2);
}

#[tokio::test]
async fn a_1_x_client_posts_and_reads() {
    let door = Door::start().await;
    let anyone = V1Client::new(server(&door), V1Path::OneThree, &settings()).unwrap();
    let channel = anyone.new_channel(&bus(BUS)).await.unwrap();
    assert_eq!(channel.as_str().len(), 32);
    let connect = |password: &str| {
        let client = V1Client::new(server(&door), V1Path::OneThree, &settings()).unwrap();
        client.with_user("commentsco".parse().unwrap(), password.to_owned())
    };
    let user = connect("quiet-harbor-7");
    let source = "https://comments.example/".parse().unwrap();
    let posts = [post(&json!(1)), post(&json!(2)).sticky()];
    user.post(&bus(BUS), &channel, &source, &posts).await.unwrap();

    let frames = anyone.channel(&bus(BUS), &channel, Select::default()).await.unwrap();
    let payloads: Vec<_> = frames.iter().map(|frame| frame.message.payload.get()).collect();
    assert_eq!(payloads, ["1", "2"]);
    assert_eq!((frames[0].message.sticky, frames[1].message.sticky), (false, true));
    assert_eq!(frames[0].channel, channel.as_str());
    assert!(frames[0].message.expire.is_some());
    let since = Select { since: Some(&frames[0].id), only_sticky: false };
    let later = anyone.channel(&bus(BUS), &channel, since).await.unwrap();
    assert_eq!(later.len(), 1);
    let sticky = Select { since: None, only_sticky: true };
    let sticky = user.bus(&bus(BUS), sticky).await.unwrap();
    assert_eq!((sticky.len(), &sticky[0].id), (1, &frames[1].id));

    for refused in [
        anyone.bus(&bus(BUS), Select::default()).await,
        connect("nope").bus(&bus(BUS), Select::default()).await,
    ] {
        let Err(ClientError::Refused(refusal)) = refused else { panic!("{refused:?}") };
        assert_eq!((refusal.status, refusal.description.as_str()), (401, "Access denied."));
    }
}

#[tokio::test]
async fn an_administrator_sees_channels_and_ends_tokens() {
    let door = Door::start().await;
    let mut opened = Vec::new();
    for _ in 0..7 {
        opened.push(visit(&door).await.1);
    }
    support::put_bus(&door.backplane, "other.example", Retention::default()).await;
    let other =
        Client::new(server(&door), Access::Visit(bus("other.example")), settings()).unwrap();
    other.channel().await.unwrap();
    let back_end = back_end(&door);
    for n in 0..3 {
        back_end.post(&bus(BUS), &opened[0], &post(&json!(n))).await.unwrap();
    }

    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = door.backplane.channels(&bus(BUS), after.as_ref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        seen.extend(page);
    }
    seen.sort_by_key(|channel| channel.name.clone());
    opened[1..].sort();
    let full = seen.iter().position(|channel| channel.name == opened[0]).unwrap();
    assert_eq!(seen.remove(full).messages, 3);
    assert!(seen.iter().all(|channel| channel.messages == 0 && channel.expires_at > door.now()));
    assert!(seen.iter().map(|channel| &channel.name).eq(&opened[1..]));
    assert!(door.backplane.channels(&bus("unknown.example"), None, 3).await.is_err());

    // A client whose tokens were ended gets others with its secret.
    let (access, refresh) = door.client_tokens().await;
    assert!(door.backplane.revoke_tokens(&"comments-svc".parse().unwrap()).await.unwrap());
    assert!(!door.backplane.revoke_tokens(&"nobody".parse().unwrap()).await.unwrap());
    let read = door.get_as("/v2/messages", &format!("Bearer {access}")).await;
    assert_eq!((read.status, &read.json()["error_description"]), (403, &"invalid token".into()));
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    assert_eq!(door.token_request(&form).await.status, 400);
    back_end.read(&Position::start()).await.unwrap();
}
