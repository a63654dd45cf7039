//! The rules of Backplane 2.0 messages beyond the worked examples.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use buswire_backplane::{Config, Cors, Limits, Origin, StickyForm, TlsPolicy};
use buswire_message::Retention;
use serde_json::Value;
use support::{Answer, Door, Visit, config, until};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

fn message(channel: &str, kind: &str, rest: &str) -> String {
    format!(
        r#"{{"message":{{"type":"{kind}","bus":"gazette.example","channel":"{channel}","payload":{{"k":1}}{rest}}}}}"#
    )
}

async fn post(door: &Door, token: &str, visit: &Visit, kind: &str, rest: &str) -> Answer {
    door.post_message(token, &message(&visit.channel, kind, rest)).await
}

fn description(answer: &Answer) -> String {
    let json = answer.json();
    assert!(json["error"].is_string(), "{json}");
    json["error_description"].as_str().unwrap().to_owned()
}

async fn poll(door: &Door, visit: &Visit, query: &str) -> Value {
    let target = format!("/v2/messages?access_token={}{query}", visit.access);
    let answer = door.get(&target).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn kinds(page: &Value) -> String {
    let kinds = page["messages"].as_array().unwrap().iter();
    kinds.map(|message| message["type"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn since_of_section_19_3() {
    let door = Door::start().await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    for (kind, rest) in [
        ("A", r#","sticky":true"#),
        ("B", r#","expire":"2024-03-09T14:06:00Z""#),
        ("C", ""),
        ("D", r#","sticky":"TRUE""#),
    ] {
        assert_eq!(post(&door, &token, &visit, kind, rest).await.status, 201);
    }
    let page = poll(&door, &visit, "").await;
    let id = |at: usize| {
        page["messages"][at]["messageURL"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    };
    let (a, b, d) = (id(0), id(1), id(3));
    door.advance(Duration::from_secs(60));
    // Rule: backplane §10.3 — messages older than since are not returned, even if it is gone
    let cases = [
        (String::new(), "A C D"),
        (format!("&since={a}"), "C D"),
        (format!("&since={b}"), "C D"),
        (format!("&since={d}"), ""),
        ("&since=".to_owned(), "A C D"),
        ("&since=garbage".to_owned(), "A C D"),
        ("&sticky=true&scope=type:A&rnd=1".to_owned(), "A C D"),
    ];
    for (query, expected) in cases {
        assert_eq!(kinds(&poll(&door, &visit, &query).await), expected, "{query}");
    }
}

#[tokio::test]
async fn pages_have_25_messages_and_say_whether_more_are_there() {
    let door = Door::start().await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    for n in 0..26 {
        assert_eq!(post(&door, &token, &visit, &format!("t{n}"), "").await.status, 201);
    }
    // Rule: backplane §5.4 — at most 25 messages a page, moreMessages says whether more are there
    // Rule: backplane §16 row 37 — a page has 25 messages and says whether more are there
    let first = poll(&door, &visit, "").await;
    assert_eq!(first["messages"].as_array().unwrap().len(), 25);
    assert_eq!(first["moreMessages"], true);
    let next = first["nextURL"].as_str().unwrap();
    let since = next.strip_prefix("https://bp.example.net/v2/messages?since=").unwrap();
    assert!(first["messages"][24]["messageURL"].as_str().unwrap().ends_with(since));
    let second = poll(&door, &visit, &format!("&since={since}")).await;
    assert_eq!((kinds(&second).as_str(), &second["moreMessages"]), ("t25", &Value::Bool(false)));
    // Rule: backplane §10.3 — messages has exactly three members
    assert_eq!(second.as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn next_url_names_a_position_of_its_own() {
    let door = Door::start().await;
    let (visit, other) = (door.visit().await, door.visit().await);
    let (token, _) = door.client_tokens().await;
    assert_eq!(post(&door, &token, &other, "t", "").await.status, 201);
    // Rule: backplane §10.3 — nextURL never names a message outside of the token's own channel
    // Rule: backplane §16 row 36 — nextURL holds an own position
    // Rule: backplane §17 row 26 — nextURL tells nothing of other channels
    let page = poll(&door, &visit, "").await;
    assert_eq!(
        page["nextURL"],
        "https://bp.example.net/v2/messages?since=1970-01-01T00:00:00.000Z-0000000000"
    );
    let since = "2024-03-09T14:07:02.110Z-Vt5Gk2Lp0X";
    let page = poll(&door, &visit, &format!("&since={since}")).await;
    assert_eq!(page["nextURL"], format!("https://bp.example.net/v2/messages?since={since}"));
}

#[tokio::test]
async fn block_is_0_to_25_seconds() {
    let door = Door::start().await;
    let visit = door.visit().await;
    // Rule: backplane §10.3 — block is an integer from 0 to 25, else 400
    // Rule: backplane §16 row 38 — block beyond 25 is 400
    for (value, shown) in [("26", "26"), ("-1", "-1"), ("x", "x"), ("1.5", "1.5")] {
        let target = format!("/v2/messages?access_token={}&block={value}", visit.access);
        let answer = door.get(&target).await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            description(&answer),
            format!("Invalid value for block parameter ({shown}), must be between 0 and 25")
        );
    }
    assert_eq!(poll(&door, &visit, "&block=").await["moreMessages"], false);
}

/// Sends a request and leaves it waiting.
async fn start_wait(door: &Door, target: &str, waiting: usize) -> TcpStream {
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    until(|| door.buses.waiting() == waiting).await;
    stream
}

#[tokio::test]
async fn a_post_wakes_whoever_waits_for_it() {
    let door = Door::start().await;
    let (visit, other) = (door.visit().await, door.visit().await);
    let (token, _) = door.client_tokens().await;
    let target = format!("/v2/messages?access_token={}&block=25", visit.access);
    let mut stream = start_wait(&door, &target, 1).await;
    assert_eq!(post(&door, &token, &other, "elsewhere", "").await.status, 201);
    assert_eq!(post(&door, &token, &visit, "here", "").await.status, 201);
    // Rule: backplane §10.3 — a blocked request is woken at once by a matching post
    let answer = support::read_answer(&mut stream, false).await;
    assert_eq!(kinds(&answer.json()), "here");
    // Rule: backplane §3.3 — on HEAD block is treated as 0
    let target = format!(
        "/v2/messages?access_token={}&block=25&since=2025-01-01T00:00:00.000Z-0",
        visit.access
    );
    let answer = door.send(&format!("HEAD {target} HTTP/1.1\nHost: h\n\n")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_token_revoked_during_a_wait_reads_nothing() {
    let door = Door::start().await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let request = format!(
        "GET /v2/messages?block=25 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    until(|| door.buses.waiting() == 1).await;
    let client = "comments-svc".parse().unwrap();
    let bus = support::bus("gazette.example");
    let second = door.backplane.grant(&client, &[bus]).await.unwrap();
    let (fresh, _) = door.client_tokens().await;
    assert!(door.backplane.revoke_grant(&door.grant, None).await.unwrap());
    // Rule: backplane §8.4 — a token dies when one of the grants behind it is revoked
    assert_eq!(post(&door, &fresh, &visit, "t", "").await.status, 403);
    let (fresh, _) = door.client_tokens().await;
    assert_eq!(post(&door, &fresh, &visit, "t", "").await.status, 201);
    // Rule: backplane §17 row 36 — a token is checked again at the end of a wait
    let answer = support::read_answer(&mut stream, false).await;
    assert_eq!((answer.status, description(&answer).as_str()), (403, "invalid token"));
    assert!(door.backplane.revoke_grant(&second, None).await.unwrap());
}

#[tokio::test]
async fn more_waits_than_allowed_are_answered_at_once() {
    let limits = Limits { waiting_per_token_max: 1, ..Limits::default() };
    let door = Door::start_with(Config { limits, ..config() }, Retention::default()).await;
    let visit = door.visit().await;
    let target = format!("/v2/messages?access_token={}&block=25", visit.access);
    let stream = start_wait(&door, &target, 1).await;
    // Rule: backplane §10.3 — waits beyond the bound are answered as if block were 0
    assert_eq!(door.get(&target).await.json()["messages"], Value::Array(vec![]));
    // A client that goes away gives its place back.
    drop(stream);
    until(|| door.buses.waiting() == 0).await;
    drop(start_wait(&door, &target, 1).await);
}

#[tokio::test]
async fn a_message_is_read_within_the_scope_only() {
    let door = Door::start().await;
    let (visit, other) = (door.visit().await, door.visit().await);
    let (token, _) = door.client_tokens().await;
    assert_eq!(post(&door, &token, &visit, "t", "").await.status, 201);
    let page = poll(&door, &visit, "").await;
    let url = page["messages"][0]["messageURL"].as_str().unwrap();
    let path = url.strip_prefix("https://bp.example.net").unwrap();
    let own = door.get(&format!("{path}?access_token={}&callback=f", visit.access)).await;
    // Rule: backplane §10.4 — an anonymous token reads a header, one object without a wrapper
    assert_eq!(own.unpadded(), page["messages"][0]);
    assert!(own.unpadded().get("payload").is_none());
    // Rule: backplane §10.4 — a message outside of the token's channel is 404 like an unknown one
    // Rule: backplane §16 row 39 — a message out of scope is 404
    // Rule: backplane §17 row 33 — every read of a message is checked against the scope
    let foreign = door.get(&format!("{path}?access_token={}", other.access)).await;
    assert_eq!(foreign.status, 404);
    let colons = path.replace(':', "%3A");
    assert_eq!(door.get_as(&colons, &format!("Bearer {token}")).await.status, 200);
    door.advance(Duration::from_secs(601));
    let expired = door.get_as(path, &format!("Bearer {token}")).await;
    assert_eq!(expired.status, 404);
}

#[tokio::test]
async fn posts_are_refused_in_order() {
    let door = Door::start().await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    let good = |rest: &str| message(&visit.channel, "x", rest);
    let far = r#","expire":"2024-03-09T22:05:23Z""#;
    // Rule: backplane §10.5 — what is wrong with a post, in the order of the table
    // Rule: backplane §16 row 42 — bad JSON is 400
    let cases = [
        ("", 400, "the body is not a JSON object"),
        ("[]", 400, "the body is not a JSON object"),
        ("{}", 400, "Missing message payload"),
        (r#"{"message":{},"x":1}"#, 400, "Invalid data in payload"),
        (r#"{"message":{"source":1}}"#, 403, "Invalid bus - channel binding"),
        (&message("unknown", "x", ""), 403, "Invalid bus - channel binding"),
        (&good(r#","sticky":"maybe""#), 400, "Invalid message data: sticky is invalid"),
        (&good(r#","expire":"soon""#), 400, "Invalid message data: expire is invalid"),
        (
            &good(r#","expire":"2024-03-09T14:05:20Z""#),
            400,
            "Invalid message data: expire has passed",
        ),
        // Rule: backplane §5.1 — an expire beyond the bus maximum is 403 on 2.0
        // Rule: backplane §16 row 17 — an expire too far ahead is 403 on 2.0
        (
            &good(far),
            403,
            "Invalid message data: Requested expiration time 2024-03-09T22:05:23Z is too far in \
             the future, max is 28800 seconds",
        ),
        (&message(&visit.channel, "a b", ""), 400, "Invalid message data: type is invalid"),
    ];
    for (body, status, text) in cases {
        let answer = door.post_message(&token, body).await;
        assert_eq!((answer.status, description(&answer).as_str()), (status, text), "{body}");
    }
    // Rule: backplane §10.5 — the token is checked before the body
    assert_eq!(door.post_message("nonsense", "").await.status, 403);
    let bearer = format!("Bearer {token}");
    let answer = door.post("/v2/message", &bearer, "text/plain", &good("")).await;
    assert_eq!(answer.status, 415);
}

#[tokio::test]
async fn a_full_channel_names_its_limit() {
    let retention =
        Retention::new(Duration::from_secs(600), Duration::from_secs(28_800), 1).unwrap();
    let door = Door::start_with(config(), retention).await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    assert_eq!(post(&door, &token, &visit, "t", "").await.status, 201);
    let answer = post(&door, &token, &visit, "t", "").await;
    // Rule: backplane §10.5 — a full channel is 403 with the limit and the channel
    assert_eq!(answer.status, 403);
    assert_eq!(
        description(&answer),
        format!("Message limit of 1 has been reached for channel '{}'", visit.channel)
    );
}

#[tokio::test]
async fn a_token_holds_for_posting_with_its_whole_scope() {
    let door = Door::start().await;
    let visit = door.visit().await;
    let answer = door.token_request("grant_type=client_credentials&scope=type%3Ax").await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(post(&door, &token, &visit, "x", "").await.status, 201);
    let answer = post(&door, &token, &visit, "y", "").await;
    // Rule: backplane §8.3 — a token scoped to type x does not post type y
    assert_eq!((answer.status, description(&answer).as_str()), (403, "Invalid bus in message"));
    assert_eq!(answer.json()["error"], "insufficient_scope");
    // Rule: backplane §8.2 — messageURL compares with the message's public URL
    // Rule: backplane §16 row 43 — messageURL is a filter that matches
    let page = door.get_as("/v2/messages", &format!("Bearer {token}")).await.json();
    let url = page["messages"][0]["messageURL"].as_str().unwrap();
    let form = format!("grant_type=client_credentials&scope=messageURL%3A{url}");
    let narrow = door.token_request(&form).await.json();
    let narrow = format!("Bearer {}", narrow["access_token"].as_str().unwrap());
    assert_eq!(post(&door, &token, &visit, "x", "").await.status, 201);
    let page = door.get_as("/v2/messages", &narrow).await.json();
    assert_eq!(page["messages"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_channel_lives_as_long_as_its_messages() {
    let door = Door::start().await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    // Rule: backplane §7.3 — a channel lives 3600 s and its bus's default retention
    door.advance(Duration::from_secs(4199));
    assert_eq!(post(&door, &token, &visit, "early", "").await.status, 201);
    // Rule: backplane §7.3 — it never lives shorter than a message in it
    door.advance(Duration::from_secs(599));
    assert_eq!(post(&door, &token, &visit, "sticky", r#","sticky":true"#).await.status, 201);
    // Rule: backplane §7.3 — a sticky message extends it to that message's expiry and 3600 s
    // Rule: backplane §10.6 — a sticky message extends the life of its channel, and nothing else does
    door.advance(Duration::from_secs(28_800 + 3599));
    let refresh = format!("/v2/token?callback=f&refresh_token={}", visit.refresh);
    let again = Visit::read(&door.get(&refresh).await);
    assert_eq!(again.channel, visit.channel);
    door.advance(Duration::from_secs(4201));
    let answer = post(&door, &token, &visit, "late", "").await;
    assert_eq!(description(&answer), "Invalid bus - channel binding");
    let gone = door.get(&format!("/v2/token?callback=f&refresh_token={}", again.refresh)).await;
    assert_eq!(gone.unpadded()["error_description"], "invalid token");
}

#[tokio::test]
async fn tls_is_required_for_2_0() {
    let config = Config { tls: TlsPolicy::Required, ..config() };
    let door = Door::start_with(config, Retention::default()).await;
    let insecure =
        r#"{"error":"invalid_request","error_description":"Connection must be made over https"}"#;
    // Rule: backplane §3.2 — every 2.0 endpoint is refused over plain HTTP
    for target in ["/v2/token?bus=gazette.example&callback=f", "/v2/messages", "/v2/message/x"] {
        let answer = door.get(target).await;
        assert_eq!((answer.status, answer.body.as_str()), (403, insecure), "{target}");
    }
    assert_eq!(door.token_request("grant_type=client_credentials").await.body, insecure);
    assert_eq!(door.post_message("x", "{}").await.body, insecure);
    let padded = door.get("/v2/messages?callback=f").await;
    assert_eq!(padded.body, format!("f({insecure});"));
}

#[tokio::test]
async fn cors_is_off_unless_switched_on() {
    let origin = "Origin: https://www.example.com";
    let ask = format!("GET /v1/bus/gazette.example/channel/c HTTP/1.1\nHost: h\n{origin}\n\n");
    let preflight = format!(
        "OPTIONS /v2/messages HTTP/1.1\nHost: h\n{origin}\nAccess-Control-Request-Method: GET\n\n"
    );
    let door = Door::start().await;
    // Rule: backplane §3.7 — no CORS headers by default
    assert_eq!(door.send(&ask).await.header("access-control-allow-origin"), None);
    assert_eq!(door.send(&preflight).await.status, 405);

    let cors = Cors::Origins(vec![Origin::parse("https://www.example.com").unwrap()]);
    let door = Door::start_with(Config { cors, ..config() }, Retention::default()).await;
    let answer = door.send(&ask).await;
    // Rule: backplane §3.7 — when on, the five GET endpoints may be read, without credentials
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://www.example.com"));
    assert_eq!(answer.header("vary"), Some("Origin"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let other = ask.replace("www.example.com", "evil.example");
    assert_eq!(door.send(&other).await.header("access-control-allow-origin"), None);
    let answer = door.send(&preflight).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-headers"), Some("Authorization, Content-Type"));
    // Rule: backplane §3.7 — POST and the bus GET get no CORS headers
    let bus = ask.replace("/channel/c", "");
    assert_eq!(door.send(&bus).await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn sticky_can_be_shown_as_text() {
    let config = Config { sticky_form: StickyForm::Text, ..config() };
    let door = Door::start_with(config, Retention::default()).await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    assert_eq!(post(&door, &token, &visit, "t", "").await.status, 201);
    // Rule: backplane §7.1 — a compatibility setting writes sticky as a string
    // Rule: backplane §16 row 32 — sticky is a boolean, a string by setting
    assert_eq!(poll(&door, &visit, "").await["messages"][0]["sticky"], "false");
}

#[tokio::test]
async fn other_methods_are_refused() {
    let door = Door::start().await;
    // Rule: backplane §10.5 — the old POST /v2/messages is not served
    let answer = door.post("/v2/messages", "Bearer x", "application/json", "{}").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(answer.json()["error"], "invalid_request");
    let answer = door.get("/v2/message").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn a_failing_store_is_said_to_fail() {
    let door = Door::start().await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    door.store.close().await;
    // Rule: backplane §10.1 — a storage failure is server_error, padded
    let answer = door.get("/v2/token?callback=f&bus=gazette.example").await;
    assert_eq!(
        (answer.status, answer.unpadded()["error_description"].as_str()),
        (200, Some("error processing anonymous token request"))
    );
    // Rule: backplane §10.2 — a storage failure is 500 server_error
    let answer = door.token_request("grant_type=client_credentials").await;
    assert_eq!((answer.status, &answer.json()["error"]), (500, &"server_error".into()));
    let answer = post(&door, &token, &visit, "t", "").await;
    assert_eq!((answer.status, &answer.json()["error"]), (503, &"server_error".into()));
    // Rule: backplane §6.7 — a storage failure on 1.x is 503
    let message = r#"[{"source":"https://s.example/","type":"t","payload":1}]"#;
    let answer = door.post_v1("c", message).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (503, r#"{"ERR_MSG":"Service unavailable"}"#)
    );
}
