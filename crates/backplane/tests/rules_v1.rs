//! The rules of Backplane 1.x beyond the worked examples.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::{collections::BTreeMap, time::Duration};

use buswire_backplane::{Config, Generations, Limits, TlsPolicy, V1Bus};
use buswire_message::Retention;
use support::{Answer, Door, USER, config};

fn message(kind: &str, rest: &str) -> String {
    format!(r#"{{"source":"https://s.example/","type":"{kind}","payload":1{rest}}}"#)
}

async fn post(door: &Door, channel: &str, messages: &[String]) -> Answer {
    door.post_v1(channel, &format!("[{}]", messages.join(","))).await
}

async fn kinds(door: &Door, query: &str) -> String {
    let answer = door.get(&format!("/v1.2/bus/gazette.example/channel/c{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let kinds = |frame: &serde_json::Value| frame["message"]["type"].as_str().unwrap().to_owned();
    answer.json().as_array().unwrap().iter().map(kinds).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn since_and_sticky_of_section_19_3() {
    let door = Door::start().await;
    let soon = r#","expire":"2024-03-09T14:06:00Z""#;
    for one in [
        message("A", r#","sticky":true"#),
        message("B", soon),
        message("C", ""),
        message("D", r#","sticky":"true""#),
    ] {
        assert_eq!(post(&door, "c", &[one]).await.status, 200);
    }
    let frames = door.get("/v1.2/bus/gazette.example/channel/c").await.json();
    let id = |at: usize| frames[at]["id"].as_str().unwrap().to_owned();
    let (a, b, d) = (id(0), id(1), id(3));
    door.advance(Duration::from_secs(60));
    // Rule: backplane §19.3 — since gives later frames also when the frame it names has expired
    // Rule: backplane §16 row 7 — a malformed since gives the whole window on 1.x
    // Rule: backplane §16 row 6 — since with an expired id gives greater ids
    // Rule: backplane §6.6 — sticky is true, false or empty, combined with since
    // Rule: backplane §16 row 8 — sticky is true, false or empty, else 400
    let cases = [
        (String::new(), "A C D"),
        (format!("?since={a}"), "C D"),
        (format!("?since={b}"), "C D"),
        (format!("?since={d}"), ""),
        ("?since=".to_owned(), "A C D"),
        ("?since=garbage".to_owned(), "A C D"),
        ("?sticky=true".to_owned(), "A D"),
        (format!("?sticky=true&since={a}"), "D"),
        ("?sticky=false".to_owned(), "A C D"),
        ("?sticky=".to_owned(), "A C D"),
    ];
    for (query, expected) in cases {
        assert_eq!(kinds(&door, &query).await, expected, "{query}");
    }
    let refused = door.get("/v1.2/bus/gazette.example/channel/c?sticky=yes").await;
    assert_eq!(refused.status, 400);
    // Rule: backplane §3.5 — errors of the channel GET are padded, with status 200
    let padded = door.get("/v1.2/bus/gazette.example/channel/c?sticky=yes&callback=f").await;
    assert_eq!(padded.status, 200);
    assert_eq!(padded.body, r#"f({"ERR_MSG":"Invalid value for sticky parameter"});"#);
}

#[tokio::test]
async fn unknown_buses_and_channels_are_empty() {
    let door = Door::start().await;
    // Rule: backplane §6.4 — an unknown bus or channel is 200 with an empty list
    // Rule: backplane §16 row 9 — an unknown bus or channel is 200 with an empty list
    for target in [
        "/v1/bus/gazette.example/channel/unknown",
        "/v1/bus/unknown.example/channel/c",
        "/v1/bus/not%20a%20bus/channel/c",
    ] {
        let answer = door.get(target).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "[]"), "{target}");
    }
    // Rule: backplane §6.4 — a malformed channel name is 400
    let answer = door.get("/v1/bus/gazette.example/channel/a.b").await;
    assert_eq!((answer.status, answer.body.as_str()), (400, r#"{"ERR_MSG":"Invalid channel"}"#));
    // Rule: backplane §6.3 — channel/new answers for any bus name
    assert_eq!(door.get("/v1/bus/unknown.example/channel/new").await.status, 200);
    // Rule: backplane §6.4 — an Authorization header on the channel GET is ignored
    let answer = door.get_as("/v1/bus/gazette.example/channel/c", "Basic bm86cGU=").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn channels_of_different_buses_are_different() {
    let door = Door::start().await;
    let held = "GETALL,POST".parse().unwrap();
    let users = BTreeMap::from([("commentsco".parse().unwrap(), held)]);
    let name = "v1/other.example".parse().unwrap();
    let retention = Retention::default();
    door.backplane.put_v1_bus(V1Bus { name, users, retention }).await.unwrap();
    assert_eq!(post(&door, "c", &[message("A", "")]).await.status, 200);
    // Rule: backplane §4.2 — 1.x channel names are unique within a bus only
    // Rule: backplane §16 row 13 — channels of 1.x belong to their bus
    assert_eq!(door.get("/v1/bus/other.example/channel/c").await.body, "[]");
    // Rule: backplane §1.4 — a 1.x message is not visible on the 2.0 bus of the same name
    let (token, _) = door.client_tokens().await;
    let answer = door.get_as("/v2/messages", &format!("Bearer {token}")).await;
    assert_eq!(answer.json()["messages"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn authentication_fails_in_one_way() {
    let door = Door::start().await;
    let basic = |text: &str| {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        format!("Basic {}", STANDARD.encode(text))
    };
    let target = "/v1.2/bus/gazette.example";
    for authorization in [
        "Basic".to_owned(),
        "Basic !!!".to_owned(),
        "Bearer x".to_owned(),
        basic("nocolon"),
        basic("nobody:quiet-harbor-7"),
        basic("commentsco:"),
        basic("commentsco:wrong"),
        basic(":"),
    ] {
        // Rule: backplane §6.2 — header missing, malformed, unknown user, wrong password: one answer
        // Rule: backplane §17 row 20 — all failures of authentication have one answer
        let answer = door.get_as(target, &authorization).await;
        assert_eq!(answer.status, 401, "{authorization}");
        assert_eq!(answer.body, r#"{"ERR_MSG":"Access denied."}"#);
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"backplane\""));
    }
    assert_eq!(door.get(target).await.status, 401);
    // Rule: backplane §6.5 — an unknown bus is 401 too
    let answer = door.get_as("/v1.2/bus/unknown.example", &format!("Basic {USER}")).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn permissions_are_by_bus() {
    let door = Door::start().await;
    let retention = Retention::default();
    for (name, held) in [("v1/read.example", "GETALL"), ("v1/write.example", "IDENTITY,POST")] {
        let users = BTreeMap::from([("commentsco".parse().unwrap(), held.parse().unwrap())]);
        let name = name.parse().unwrap();
        door.backplane.put_v1_bus(V1Bus { name, users, retention }).await.unwrap();
    }
    let user = format!("Basic {USER}");
    let body = format!("[{}]", message("A", ""));
    let json = "application/json";
    // Rule: backplane §6.2 — GETALL reads the bus, POST posts to its channels
    for (bus, read, write) in [("read.example", 200, 401), ("write.example", 401, 200)] {
        let answer = door.get_as(&format!("/v1/bus/{bus}"), &user).await;
        assert_eq!(answer.status, read, "{bus}");
        let answer = door.post(&format!("/v1/bus/{bus}/channel/c"), &user, json, &body).await;
        assert_eq!(answer.status, write, "{bus}");
    }
    // Rule: backplane §13.4 — deleting a user ends its access at once
    assert!(door.backplane.delete_user(&"commentsco".parse().unwrap(), None).await.unwrap());
    assert_eq!(door.get_as("/v1/bus/read.example", &user).await.status, 401);
}

#[tokio::test]
async fn a_list_is_stored_whole_or_not_at_all() {
    let door = Door::start().await;
    // Rule: backplane §6.7 — one bad message refuses the list; nothing is stored
    let bad = r#"{"source":"https://s.example/","type":" ","payload":1}"#.to_owned();
    assert_eq!(post(&door, "c", &[message("A", ""), bad]).await.status, 400);
    let late = message("B", r#","expire":"2024-03-09T22:05:23Z""#);
    // Rule: backplane §5.1 — an expire beyond the bus maximum is 400 on 1.x
    // Rule: backplane §16 row 17 — an expire too far ahead is 400 on 1.x
    assert_eq!(post(&door, "c", &[message("A", ""), late]).await.status, 400);
    // Rule: backplane §5.2 — an expire that has passed is 400
    // Rule: backplane §16 row 18 — an expire in the past is 400
    let past = message("B", r#","expire":"2024-03-09T14:05:20Z""#);
    assert_eq!(post(&door, "c", &[message("A", ""), past]).await.status, 400);
    assert_eq!(kinds(&door, "").await, "");
    // Rule: backplane §6.7 — an empty list is 200 and stores nothing
    assert_eq!(post(&door, "c", &[]).await.status, 200);
    assert_eq!(kinds(&door, "").await, "");
    // Rule: backplane §5.3 — the messages of a list keep their order
    let list: Vec<String> = ["C", "A", "B"].iter().map(|kind| message(kind, "")).collect();
    assert_eq!(post(&door, "c", &list).await.status, 200);
    assert_eq!(kinds(&door, "").await, "C A B");
}

#[tokio::test]
async fn a_full_channel_refuses_the_whole_list() {
    let retention =
        Retention::new(Duration::from_secs(600), Duration::from_secs(28_800), 3).unwrap();
    let door = Door::start_with(config(), retention).await;
    let two = [message("A", ""), message("B", "")];
    assert_eq!(post(&door, "c", &two).await.status, 200);
    // Rule: backplane §5.4 — a list is refused if count and length together pass the limit
    // Rule: backplane §16 row 10 — a full channel is 403 with the documented text
    // Rule: backplane §16 row 11 — a batch is atomic and counted whole
    // Rule: backplane §17 row 29 — a full channel refuses instead of dropping
    let answer = post(&door, "c", &two).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.body, r#"{"ERR_MSG":"Message limit exceeded for this channel"}"#);
    assert_eq!(kinds(&door, "").await, "A B");
    // Rule: backplane §5.4 — expired messages do not count
    door.advance(Duration::from_secs(601));
    assert_eq!(post(&door, "c", &two).await.status, 200);
}

#[tokio::test]
async fn checks_have_their_order() {
    let door = Door::start().await;
    let (user, nobody) = (format!("Basic {USER}"), "Basic bm86cGU=".to_owned());
    let (channel, new) =
        ("/v1/bus/gazette.example/channel/a.b", "/v1/bus/gazette.example/channel/new");
    let good = "/v1/bus/gazette.example/channel/c";
    // Rule: backplane §6.7 — authentication, channel name, content type, body, messages, in this order
    let cases = [
        (channel, &nobody, "text/plain", "{", 401),
        (channel, &user, "text/plain", "{", 400),
        (good, &user, "text/plain", "{", 415),
        (good, &user, "application/json; charset=utf-8", "{", 400),
        // Rule: backplane §4.2 — a post to the reserved name new is 400
        (new, &user, "application/json", "[]", 400),
        (new, &nobody, "application/json", "[]", 401),
    ];
    for (target, authorization, kind, body, status) in cases {
        let answer = door.post(target, authorization, kind, body).await;
        assert_eq!(answer.status, status, "{target} {kind} {body}: {}", answer.body);
    }
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let limits = Limits { body_bytes_max: 1000, ..Limits::default() };
    let door = Door::start_with(Config { limits, ..config() }, Retention::default()).await;
    // Rule: backplane §3.4 — a body over the limit is 413, one nested deeper than 64 is 400
    // Rule: backplane §17 row 30 — large and deep JSON is refused
    assert_eq!(door.post_v1("c", &" ".repeat(1001)).await.status, 413);
    assert_eq!(door.post_v1("c", &" ".repeat(1000)).await.status, 400);
    let deep =
        format!("[{}", message("A", &format!(r#","x":{}1{}"#, "[".repeat(63), "]".repeat(63))));
    assert_eq!(door.post_v1("c", &format!("{deep}]")).await.status, 400);
    assert_eq!(door.post_v1("c", "[{\"a\":\"\u{fffd}").await.status, 400);
}

#[tokio::test]
async fn payloads_come_back_to_the_letter() {
    let door = Door::start().await;
    let payload =
        r#"{"big":123456789012345678901234567890,"f":1.10,"dup":1,"dup":2,"s":"\u00e8</a>"}"#;
    let body = format!(r#"[{{"source":"ftp://f.example/","type":"t","payload":{payload}}}]"#);
    assert_eq!(door.post_v1("c", &body).await.status, 200);
    // Rule: backplane §6.1 — a payload is returned unchanged, numbers keep their precision
    // Rule: backplane §17 row 31 — a payload is stored and returned as it was received
    let answer = door.get("/v1/bus/gazette.example/channel/c").await;
    assert!(answer.body.contains(payload), "{}", answer.body);
    let padded = door.get("/v1/bus/gazette.example/channel/c?callback=f").await;
    assert!(padded.body.contains(r#""s":"\u00e8\u003c/a>""#), "{}", padded.body);
    // Rule: backplane §6.1 — under /v1.3 alone expire is shown
    // Rule: backplane §16 row 51 — expire is shown under /v1.3 only
    assert!(!answer.body.contains("expire"));
    let answer = door.get("/v1.3/bus/gazette.example/channel/c").await;
    assert!(answer.body.contains(r#""sticky":false,"expire":"2024-03-09T14:15:21Z","payload""#));
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let door = Door::start().await;
    let request = "DELETE /v1/bus/gazette.example HTTP/1.1\nHost: h\n\n";
    // Rule: backplane §3.3 — another method is 405 with Allow and a JSON body
    // Rule: backplane §16 row 15 — a wrong method is 405 with Allow
    let answer = door.send(request).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    assert!(answer.json()["ERR_MSG"].is_string());
    // Rule: backplane §3.8 — an unknown path is 404 in the style of its family
    let answer = door.get("/v1/nothing").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (404, r#"{"ERR_MSG":"Invalid Request URL"}"#)
    );
    let answer = door.get("/v2/nothing").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (404, r#"{"error":"invalid_request","error_description":"Invalid Request URL"}"#)
    );
    for target in ["/v9/bus/a/channel/x", "/x", "//x"] {
        let answer = door.get(target).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, "Invalid Request URL"), "{target}");
    }
    // Rule: backplane §3.1 — runs of slashes and one at the end are tolerated
    for target in ["//bus/gazette.example/channel/c/", "///v1//bus/gazette.example/channel/c"] {
        assert_eq!(door.get(target).await.body, "[]", "{target}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let door = Door::start().await;
    for (target, length) in [
        ("/v1/bus/gazette.example/channel/new", "34"),
        ("/v1/bus/gazette.example/channel/c", "2"),
        ("/v1/bus/gazette.example/channel/c?callback=f", "6"),
    ] {
        // Rule: backplane §3.3 — HEAD answers as GET without a body
        let answer = door.send(&format!("HEAD {target} HTTP/1.1\nHost: h\n\n")).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, Some(length)));
    }
}

#[tokio::test]
async fn privileged_1_x_needs_a_secure_transport() {
    let config = Config { tls: TlsPolicy::Required, ..config() };
    let door = Door::start_with(config, Retention::default()).await;
    // Rule: backplane §3.2 — GET bus and POST are refused over plain HTTP, channel GETs are not
    let answer = door.get_as("/v1/bus/gazette.example", &format!("Basic {USER}")).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.body, r#"{"ERR_MSG":"Connection must be made over https"}"#);
    assert_eq!(door.post_v1("c", "[]").await.status, 403);
    assert_eq!(door.get("/v1/bus/gazette.example/channel/new").await.status, 200);
    assert_eq!(door.get("/v1/bus/gazette.example/channel/c").await.status, 200);
}

#[tokio::test]
async fn a_generation_can_be_switched_off() {
    let config = Config { generations: Generations::TwoOnly, ..config() };
    let door = Door::start_with(config, Retention::default()).await;
    // Rule: backplane §20 — enable_v1 off: its paths are unknown
    // Rule: backplane §17 row 34 — 1.x can be switched off
    assert_eq!(door.get("/v1/bus/gazette.example/channel/c").await.status, 404);
    assert_eq!(door.get("/v2/token?callback=f&bus=gazette.example").await.status, 200);
}

#[tokio::test]
async fn a_deleted_bus_keeps_its_messages() {
    let door = Door::start().await;
    assert_eq!(post(&door, "c", &[message("A", "")]).await.status, 200);
    assert!(
        door.backplane.delete_v1_bus(&"v1/gazette.example".parse().unwrap(), None).await.unwrap()
    );
    // Rule: backplane §6.8 — deleting a bus removes privileged access but no messages
    assert_eq!(kinds(&door, "").await, "A");
    let answer = door.get_as("/v1/bus/gazette.example", &format!("Basic {USER}")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(post(&door, "c", &[message("B", "")]).await.status, 401);
}

#[tokio::test]
async fn permissions_that_are_given_at_the_same_time_are_all_given() {
    let door = Door::start().await;
    let bus: buswire_message::BusName = "v1/shared".parse().unwrap();
    let rights = "POST".parse().unwrap();
    let [ann, bob] = ["ann", "bob"].map(|name| name.parse().unwrap());
    let missing = door.backplane.permit(&ann, &bus, rights).await;
    assert!(matches!(missing, Err(buswire_backplane::AdminError::UnknownBus(_))));
    door.buses.create(&bus, Retention::default()).await.unwrap();
    let (one, two) = tokio::join!(
        door.backplane.permit(&ann, &bus, rights),
        door.backplane.permit(&bob, &bus, rights)
    );
    one.unwrap();
    two.unwrap();
    let all = door.backplane.v1_buses().await.unwrap();
    let shared = all.iter().find(|known| known.name == bus).unwrap();
    assert_eq!(shared.users.keys().collect::<Vec<_>>(), [&ann, &bob]);
}
