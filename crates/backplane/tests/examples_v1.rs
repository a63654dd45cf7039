//! The worked examples of Backplane 1.x (Backplane §18.1), byte for byte but for what is minted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::Door;

const CHANNEL: &str = "5b0f4c1e9a7d42e8b3c6d1f0a2947e58";

/// E3: two messages, posted at 14:05:21.
async fn post_two(door: &Door) {
    let request = concat!(
        "POST /v1.2/bus/gazette.example/channel/5b0f4c1e9a7d42e8b3c6d1f0a2947e58 HTTP/1.1\n",
        "Host: bp.example.net\n",
        "Authorization: Basic Y29tbWVudHNjbzpxdWlldC1oYXJib3ItNw==\n",
        "Content-Type: application/json\n",
        "Content-Length: 393\n\n",
        r#"[{"source":"https://comments.example/","type":"comment/posted","payload":{"thread":"a17","n":3}},"#,
        r#"{"source":"https://comments.example/","type":"identity/login","sticky":true,"payload":"#,
        r#"{"context":"https://gazette.example/front","identities":{"startIndex":0,"itemsPerPage":1,"#,
        r#""totalResults":1,"entry":[{"id":"u-88","displayName":"Inès","accounts":[{"identityUrl":"#,
        r#""https://id.example/ines"}]}]}}}]"#,
    );
    let answer = door.send(request).await;
    answer.expect("HTTP/1.1 200 OK\nCache-Control: no-store\nContent-Length: 0\n\n");
}

const LOGIN: &str = concat!(
    r#""payload":{"context":"https://gazette.example/front","identities":{"startIndex":0,"#,
    r#""itemsPerPage":1,"totalResults":1,"entry":[{"id":"u-88","displayName":"Inès","accounts":"#,
    r#"[{"identityUrl":"https://id.example/ines"}]}]}}"#,
);

#[tokio::test]
async fn e1_new_channel_padded() {
    // Rule: backplane E1 — new channel, padded, byte for byte but for what is minted
    let door = Door::start().await;
    let target = "/v1.2/bus/gazette.example/channel/new?callback=Backplane.finishInit&rnd=0.5512";
    // Rule: backplane §6.3 — channel/new answers a JSON string holding a new channel name
    let answer = door.get(target).await;
    let minted = answer.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: text/javascript; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "X-Content-Type-Options: nosniff\n",
        "Referrer-Policy: no-referrer\n",
        "Content-Length: 57\n\n",
        r#"Backplane.finishInit("<channel>");"#,
    ));
    // Rule: backplane §4.2 — a minted 1.x name is 32 lower-case hexadecimal digits
    let name = &minted["channel"];
    assert!(name.len() == 32 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    assert_ne!(door.get(target).await.body, answer.body);
}

#[tokio::test]
async fn e2_new_channel_bare() {
    // Rule: backplane E2 — new channel, bare, byte for byte but for what is minted
    let door = Door::start().await;
    let request = "GET /bus/gazette.example/channel/new HTTP/1.1\nHost: bp.example.net\n\n";
    // Rule: backplane §3.1 — /bus/… is served as /v1/bus/…
    door.send(request).await.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "Content-Length: 34\n\n",
        r#""<channel>""#,
    ));
}

#[tokio::test]
async fn e3_to_e5_post_and_poll() {
    // Rule: backplane E3 — post two messages, byte for byte but for what is minted
    // Rule: backplane E4 — first poll (browser), byte for byte but for what is minted
    // Rule: backplane E5 — next poll, nothing new, byte for byte but for what is minted
    let door = Door::start().await;
    // Rule: backplane §6.7 — a post is a list of messages and answers 200 with an empty body
    post_two(&door).await;
    let target = format!("/v1.2/bus/gazette.example/channel/{CHANNEL}?callback=Backplane.response");
    // Rule: backplane §6.4 — a channel's frames are a JSON array in id order
    let ids = door.get(&format!("{target}&rnd=0.1")).await.expect(
        &[
            "HTTP/1.1 200 OK\n",
            "Content-Type: text/javascript; charset=utf-8\n",
            "Cache-Control: no-store\n",
            "X-Content-Type-Options: nosniff\n",
            "Content-Length: 639\n\n",
            r#"Backplane.response([{"id":"<first>","channel_name":"5b0f4c1e9a7d42e8b3c6d1f0a2947e58","#,
            r#""message":{"source":"https://comments.example/","type":"comment/posted","sticky":false,"#,
            r#""payload":{"thread":"a17","n":3}}},"#,
            r#"{"id":"<second>","channel_name":"5b0f4c1e9a7d42e8b3c6d1f0a2947e58","#,
            r#""message":{"source":"https://comments.example/","type":"identity/login","sticky":true,"#,
            LOGIN,
            "}}]);",
        ]
        .concat(),
    );
    assert!(ids["first"] < ids["second"]);
    // Rule: backplane §6.6 — since names a frame: only later ones are returned
    let since = ids["second"].replace(':', "%3A");
    door.get(&format!("{target}&since={since}&rnd=0.2")).await.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: text/javascript; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "X-Content-Type-Options: nosniff\n",
        "Content-Length: 23\n\n",
        "Backplane.response([]);",
    ));
}

#[tokio::test]
async fn e6_sticky_only_with_expire() {
    // Rule: backplane E6 — sticky only, version 1.3 (shows `expire`), byte for byte but for what is minted
    let door = Door::start().await;
    post_two(&door).await;
    let target = format!("/v1.3/bus/gazette.example/channel/{CHANNEL}?sticky=true");
    // Rule: backplane §6.6 — sticky=true gives sticky frames only
    // Rule: backplane §5.1 — without expire, a sticky message is kept for the bus maximum
    // Rule: backplane §16 row 16 — sticky messages are kept for the bus maximum, 28800 s by default
    door.get(&target).await.expect(
        &[
            "HTTP/1.1 200 OK\n",
            "Content-Type: application/json; charset=utf-8\n",
            "Cache-Control: no-store\n",
            "Content-Length: 434\n\n",
            r#"[{"id":"<id>","channel_name":"5b0f4c1e9a7d42e8b3c6d1f0a2947e58","message":"#,
            r#"{"source":"https://comments.example/","type":"identity/login","sticky":true,"#,
            r#""expire":"2024-03-09T22:05:21Z","#,
            LOGIN,
            "}}]",
        ]
        .concat(),
    );
}

#[tokio::test]
async fn e7_whole_bus_since_the_first_message() {
    // Rule: backplane E7 — whole bus since E3's first message, byte for byte but for what is minted
    let door = Door::start().await;
    post_two(&door).await;
    let target = format!("/v1.2/bus/gazette.example/channel/{CHANNEL}");
    let frames = door.get(&target).await.json();
    let since = frames[0]["id"].as_str().unwrap().replace(':', "%3A");
    let request = format!(
        "GET /v1.2/bus/gazette.example?since={since} HTTP/1.1\nHost: bp.example.net\n\
         Authorization: Basic Y29tbWVudHNjbzpxdWlldC1oYXJib3ItNw==\n\n"
    );
    // Rule: backplane §6.5 — a bus's frames are those of all its channels, for GETALL
    door.send(&request).await.expect(
        &[
            "HTTP/1.1 200 OK\n",
            "Content-Type: application/json; charset=utf-8\n",
            "Cache-Control: no-store\n",
            "Content-Length: 402\n\n",
            r#"[{"id":"<id>","channel_name":"5b0f4c1e9a7d42e8b3c6d1f0a2947e58","message":"#,
            r#"{"source":"https://comments.example/","type":"identity/login","sticky":true,"#,
            LOGIN,
            "}}]",
        ]
        .concat(),
    );
}

#[tokio::test]
async fn e8_wrong_password() {
    // Rule: backplane E8 — wrong password, byte for byte but for what is minted
    let door = Door::start().await;
    let request = concat!(
        "GET /v1.2/bus/gazette.example HTTP/1.1\nHost: bp.example.net\n",
        "Authorization: Basic Y29tbWVudHNjbzpub3Bl\n\n",
    );
    // Rule: backplane §6.2 — every failure of authentication has one answer, with a challenge
    // Rule: backplane §16 row 14 — a 401 carries a Basic challenge
    door.send(request).await.expect(concat!(
        "HTTP/1.1 401 Unauthorized\n",
        "Content-Type: application/json; charset=utf-8\n",
        "WWW-Authenticate: Basic realm=\"backplane\"\n",
        "Content-Length: 28\n\n",
        r#"{"ERR_MSG":"Access denied."}"#,
    ));
}

#[tokio::test]
async fn e9_message_without_source() {
    // Rule: backplane E9 — message without source, byte for byte but for what is minted
    let door = Door::start().await;
    let request = concat!(
        "POST /v1.2/bus/gazette.example/channel/5b0f4c1e9a7d42e8b3c6d1f0a2947e58 HTTP/1.1\n",
        "Host: bp.example.net\n",
        "Authorization: Basic Y29tbWVudHNjbzpxdWlldC1oYXJib3ItNw==\n",
        "Content-Type: application/json\n",
        "Content-Length: 27\n\n",
        r#"[{"type":"x","payload":{}}]"#,
    );
    door.send(request).await.expect(concat!(
        "HTTP/1.1 400 Bad Request\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Content-Length: 49\n\n",
        r#"{"ERR_MSG":"Invalid message: source is required"}"#,
    ));
}

#[tokio::test]
async fn e10_malformed_callback() {
    // Rule: backplane E10 — malformed callback, byte for byte but for what is minted
    let door = Door::start().await;
    let target = format!("/v1.2/bus/gazette.example/channel/{CHANNEL}?callback=a%28b%29");
    // Rule: backplane §3.5 — a malformed callback is answered 400, never padded
    // Rule: backplane §16 row 3 — a bad callback is 400, unpadded
    door.get(&target).await.expect(concat!(
        "HTTP/1.1 400 Bad Request\n",
        "Content-Type: application/json; charset=utf-8\n",
        "X-Content-Type-Options: nosniff\n",
        "Content-Length: 51\n\n",
        r#"{"ERR_MSG":"callback parameter value is malformed"}"#,
    ));
}
