//! The worked examples of Backplane 2.0 (Backplane §18.3, §18.4), byte for byte but for what is minted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use support::{Answer, Door, Visit, until};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

const CLIENT: &str = "Y29tbWVudHMtc3ZjOnRhbmdsZWQta2VscC00";

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\nHost: bp.example.net\n\n")
}

fn get_as(target: &str, token: &str) -> String {
    format!("GET {target} HTTP/1.1\nHost: bp.example.net\nAuthorization: Bearer {token}\n\n")
}

async fn token_request(door: &Door, length: usize, form: &str) -> Answer {
    let request = format!(
        "POST /v2/token HTTP/1.1\nHost: bp.example.net\nAuthorization: Basic {CLIENT}\n\
         Content-Type: application/x-www-form-urlencoded\nContent-Length: {length}\n\n{form}"
    );
    door.send(&request).await
}

async fn post(door: &Door, token: &str, length: usize, body: &str) -> Answer {
    let request = format!(
        "POST /v2/message HTTP/1.1\nHost: bp.example.net\nAuthorization: Bearer {token}\n\
         Content-Type: application/json\nContent-Length: {length}\n\n{body}"
    );
    door.send(&request).await
}

const IDENTITIES: &str = concat!(
    r#""payload":{"context":"https://gazette.example/front","identities":{"startIndex":0,"#,
    r#""itemsPerPage":1,"totalResults":1,"entry":[{"accountUri":"https://id.example/ines","#,
    r#""domain":"id.example"}]}}"#,
);

/// E28: a login, posted at 14:07:02 to the channel of a visit.
async fn post_login(door: &Door, visit: &Visit, token: &str) {
    door.clock.advance(Duration::from_secs(101));
    let body = format!(
        r#"{{"message":{{"type":"identity/login","bus":"gazette.example","channel":"{}","sticky":true,{IDENTITIES}}}}}"#,
        visit.channel
    );
    // Rule: backplane §10.5 — a post is answered 201 with an empty body
    let answer = post(door, token, 311, &body).await;
    answer.expect("HTTP/1.1 201 Created\nCache-Control: no-store\nContent-Length: 0\n\n");
}

#[tokio::test]
async fn e18_anonymous_token() {
    // Rule: backplane E18 — anonymous token, byte for byte but for what is minted
    let door = Door::start().await;
    let target = "/v2/token?callback=Backplane.finishInit&bus=gazette.example&rnd=0.77";
    // Rule: backplane §9.3 — a token response has exactly five members in this order
    // Rule: backplane §16 row 33 — expires_in is a number
    // Rule: backplane §16 row 35 — scope is always in the response
    // Rule: backplane §10.1 — an anonymous token request mints a channel bound to the bus
    // Rule: backplane §16 row 21 — a channel is bound at its creation
    let minted = door.send(&get(target)).await.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: text/javascript; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "Pragma: no-cache\n",
        "X-Content-Type-Options: nosniff\n",
        "Content-Length: 236\n\n",
        r#"Backplane.finishInit({"token_type":"Bearer","access_token":"<access>","expires_in":3600,"#,
        r#""scope":"bus:gazette.example channel:<channel>","refresh_token":"<refresh>"});"#,
    ));
    assert!(minted["access"].starts_with("AA") && minted["refresh"].starts_with("AR"));
    // Rule: backplane §4.2 — a 2.0 channel name is 32 characters of A-Za-z0-9
    let channel = &minted["channel"];
    assert!(channel.len() == 32 && channel.bytes().all(|byte| byte.is_ascii_alphanumeric()));
}

#[tokio::test]
async fn e19_anonymous_token_with_filters() {
    // Rule: backplane E19 — anonymous token with filters, byte for byte but for what is minted
    let door = Door::start().await;
    let target = concat!(
        "/v2/token?callback=f&bus=gazette.example",
        "&scope=type%3Aidentity%2Flogin%20sticky%3Atrue"
    );
    door.send(&get(target)).await.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: text/javascript; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "Content-Length: 249\n\n",
        r#"f({"token_type":"Bearer","access_token":"<access>","expires_in":3600,"scope":"#,
        r#""type:identity/login sticky:true bus:gazette.example channel:<channel>","#,
        r#""refresh_token":"<refresh>"});"#,
    ));
}

#[tokio::test]
async fn e20_unknown_bus() {
    // Rule: backplane E20 — unknown bus (padded error), byte for byte but for what is minted
    let door = Door::start().await;
    // Rule: backplane §3.5 — padded errors are HTTP 200 and carry error and error_description
    door.send(&get("/v2/token?callback=f&bus=unknown.example")).await.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: text/javascript; charset=utf-8\n",
        "Content-Length: 82\n\n",
        r#"f({"error":"invalid_request","error_description":"Invalid bus: unknown.example"});"#,
    ));
}

#[tokio::test]
async fn e21_no_callback() {
    // Rule: backplane E21 — no callback, byte for byte but for what is minted
    let door = Door::start().await;
    // Rule: backplane §10.1 — callback is required on anonymous token requests
    // Rule: backplane §16 row 4 — callback is required for anonymous tokens only
    door.send(&get("/v2/token?bus=gazette.example")).await.expect(concat!(
        "HTTP/1.1 400 Bad Request\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Content-Length: 74\n\n",
        r#"{"error":"invalid_request","error_description":"Callback cannot be blank"}"#,
    ));
}

#[tokio::test]
async fn e22_e23_anonymous_refresh_works_once() {
    // Rule: backplane E22 — anonymous refresh, byte for byte but for what is minted
    // Rule: backplane E23 — the same refresh token again, byte for byte but for what is minted
    let door = Door::start().await;
    let visit = door.visit().await;
    let target = format!(
        "/v2/token?callback=Backplane.refreshTokenResponse&refresh_token={}",
        visit.refresh
    );
    // Rule: backplane §9.5 — an anonymous refresh gives a new pair for the same channel and bus
    let minted = door.send(&get(&format!("{target}&rnd=0.3"))).await.expect(&format!(
        "HTTP/1.1 200 OK\n\
         Content-Type: text/javascript; charset=utf-8\n\
         Cache-Control: no-store\n\
         Content-Length: 246\n\n\
         Backplane.refreshTokenResponse({{\"token_type\":\"Bearer\",\"access_token\":\"<access>\",\
         \"expires_in\":3600,\"scope\":\"bus:gazette.example channel:{}\",\
         \"refresh_token\":\"<refresh>\"}});",
        visit.channel
    ));
    assert_ne!(minted["access"], visit.access);
    // Rule: backplane §9.5 — a refresh token works once
    // Rule: backplane §17 row 8 — a refresh token in a query is used once
    door.send(&get(&target)).await.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: text/javascript; charset=utf-8\n",
        "Content-Length: 96\n\n",
        r#"Backplane.refreshTokenResponse({"error":"invalid_request","#,
        r#""error_description":"invalid token"});"#,
    ));
}

#[tokio::test]
async fn e24_client_credentials() {
    // Rule: backplane E24 — client credentials, byte for byte but for what is minted
    let door = Door::start().await;
    // Rule: backplane §8.5 — without bus entries, all granted buses are given
    let minted = token_request(&door, 29, "grant_type=client_credentials").await.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "Pragma: no-cache\n",
        "Content-Length: 176\n\n",
        r#"{"token_type":"Bearer","access_token":"<access>","expires_in":31536000,"#,
        r#""scope":"bus:gazette.example","refresh_token":"<refresh>"}"#,
    ));
    assert!(minted["access"].starts_with("PC") && minted["refresh"].starts_with("PR"));
}

#[tokio::test]
async fn e25_unauthorised_bus() {
    // Rule: backplane E25 — unauthorised bus, byte for byte but for what is minted
    let door = Door::start().await;
    let form = "grant_type=client_credentials&scope=bus%3Agazette.example+bus%3Aother.example";
    // Rule: backplane §8.5 — a bus that is not granted fails the whole request
    // Rule: backplane §16 row 25 — an unauthorised scope is invalid_scope with the words unauthorized scope
    token_request(&door, 77, form).await.expect(concat!(
        "HTTP/1.1 400 Bad Request\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "Content-Length: 105\n\n",
        r#"{"error":"invalid_scope","error_description":"#,
        r#""unauthorized scope: bus:gazette.example bus:other.example"}"#,
    ));
}

#[tokio::test]
async fn e26_credentials_in_the_body() {
    // Rule: backplane E26 — credentials in the body, byte for byte but for what is minted
    let door = Door::start().await;
    let request = concat!(
        "POST /v2/token HTTP/1.1\nHost: bp.example.net\n",
        "Content-Type: application/x-www-form-urlencoded\nContent-Length: 81\n\n",
        "grant_type=client_credentials&client_id=comments-svc&client_secret=tangled-kelp-4",
    );
    // Rule: backplane §10.2 — client credentials in the query or the body are refused
    // Rule: backplane §16 row 23 — bad client authentication is 401 invalid_client
    door.send(request).await.expect(concat!(
        "HTTP/1.1 401 Unauthorized\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "WWW-Authenticate: Basic realm=\"backplane\"\n",
        "Content-Length: 77\n\n",
        r#"{"error":"invalid_client","error_description":"Client authentication failed"}"#,
    ));
}

#[tokio::test]
async fn e27_privileged_refresh_narrowed() {
    // Rule: backplane E27 — privileged refresh, narrowed, byte for byte but for what is minted
    let door = Door::start().await;
    let (access, refresh) = door.client_tokens().await;
    let form =
        format!("grant_type=refresh_token&refresh_token={refresh}&scope=type%3Acomment%2Fposted");
    let minted = token_request(&door, 101, &form).await.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "Content-Length: 196\n\n",
        r#"{"token_type":"Bearer","access_token":"<access>","expires_in":31536000,"#,
        r#""scope":"bus:gazette.example type:comment/posted","refresh_token":"<refresh>"}"#,
    ));
    assert!(minted["access"].starts_with("PC"));
    // Rule: backplane §9.5 — a privileged refresh invalidates the access token issued with it
    // Rule: backplane §16 row 28 — a refresh ends the old access token
    let dead = door.send(&get_as("/v2/messages", &access)).await;
    assert_eq!(
        (dead.status, dead.json()["error_description"].as_str()),
        (403, Some("invalid token"))
    );
    let alive = door.send(&get_as("/v2/messages", &minted["access"])).await;
    assert_eq!(alive.status, 200);
}

#[tokio::test]
async fn e28_to_e31_post_poll_and_read() {
    // Rule: backplane E28 — post, byte for byte but for what is minted
    // Rule: backplane E29 — browser poll: header only, byte for byte but for what is minted
    // Rule: backplane E30 — back end reads the payload, byte for byte but for what is minted
    // Rule: backplane E31 — long poll that ends empty, byte for byte but for what is minted
    let door = Door::start().await;
    let visit = door.visit().await;
    let (token, _) = door.client_tokens().await;
    post_login(&door, &visit, &token).await;

    let target = format!(
        "/v2/messages?callback=Backplane.response&access_token={}&block=0&rnd=0.9",
        visit.access
    );
    // Rule: backplane §10.3 — messages has nextURL, messages and moreMessages, headers for anonymous
    let ids = door.send(&get(&target)).await.expect(
        &[
            "HTTP/1.1 200 OK\n",
            "Content-Type: text/javascript; charset=utf-8\n",
            "Cache-Control: no-store\n",
            "X-Content-Type-Options: nosniff\n",
            "Content-Length: 408\n\n",
            r#"Backplane.response({"nextURL":"https://bp.example.net/v2/messages?since=<id>","#,
            r#""messages":[{"messageURL":"https://bp.example.net/v2/message/<id>","#,
            r#""source":"https://comments.example/","type":"identity/login","bus":"gazette.example","#,
            r#""channel":""#,
            &visit.channel,
            r#"","sticky":true,"expire":"2024-03-09T22:07:02Z"}],"moreMessages":false});"#,
        ]
        .concat(),
    );
    assert!(ids["id"].starts_with("2024-03-09T14:07:02.000Z-"));

    // Rule: backplane §10.4 — a privileged token reads one message with its payload
    let id = &ids["id"];
    door.send(&get_as(&format!("/v2/message/{id}"), &token)).await.expect(
        &[
            "HTTP/1.1 200 OK\n",
            "Content-Type: application/json; charset=utf-8\n",
            "Cache-Control: no-store\n",
            "Content-Length: 453\n\n",
            r#"{"messageURL":"https://bp.example.net/v2/message/<id>","source":"#,
            r#""https://comments.example/","type":"identity/login","bus":"gazette.example","channel":""#,
            &visit.channel,
            r#"","sticky":true,"expire":"2024-03-09T22:07:02Z","#,
            IDENTITIES,
            "}",
        ]
        .concat(),
    );

    // Rule: backplane §10.3 — a blocked request ends with 200 and an empty list when the time is over
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let request = get_as(&format!("/v2/messages?since={id}&block=20"), &token);
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    until(|| door.buses.waiting() == 1).await;
    door.advance(Duration::from_secs(20));
    let answer = support::read_answer(&mut stream, false).await;
    let found = answer.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Cache-Control: no-store\n",
        "Content-Length: 125\n\n",
        r#"{"nextURL":"https://bp.example.net/v2/messages?since=<id>","messages":[],"#,
        r#""moreMessages":false}"#,
    ));
    assert_eq!(&found["id"], id);
}

#[tokio::test]
async fn e32_privileged_token_in_the_query() {
    // Rule: backplane E32 — privileged token in the query, byte for byte but for what is minted
    let door = Door::start().await;
    let (token, _) = door.client_tokens().await;
    let target = format!("/v2/messages?access_token={token}");
    // Rule: backplane §9.4 — a privileged token is not accepted as a query parameter
    // Rule: backplane §17 row 7 — privileged tokens stand in the header only
    door.send(&get(&target)).await.expect(concat!(
        "HTTP/1.1 403 Forbidden\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Content-Length: 86\n\n",
        r#"{"error":"invalid_request","error_description":"token source not allowed: QUERYPARAM"}"#,
    ));
}

#[tokio::test]
async fn e33_invented_token_padded() {
    // Rule: backplane E33 — revoked or invented token, padded, byte for byte but for what is minted
    let door = Door::start().await;
    let target = "/v2/messages?callback=Backplane.response&access_token=null&block=0";
    // Rule: backplane §9.4 — access_token=null is an invalid token
    // Rule: backplane §16 row 30 — a bad token is 403 invalid token
    door.send(&get(target)).await.expect(concat!(
        "HTTP/1.1 200 OK\n",
        "Content-Type: text/javascript; charset=utf-8\n",
        "Content-Length: 84\n\n",
        r#"Backplane.response({"error":"invalid_request","error_description":"invalid token"});"#,
    ));
}

#[tokio::test]
async fn e34_anonymous_token_may_not_post() {
    // Rule: backplane E34 — anonymous token may not post, byte for byte but for what is minted
    let door = Door::start().await;
    let visit = door.visit().await;
    let body = format!(
        r#"{{"message":{{"type":"x","bus":"gazette.example","channel":"{}","payload":1}}}}"#,
        visit.channel
    );
    // Rule: backplane §9.4 — an anonymous token does not post
    post(&door, &visit.access, 105, &body).await.expect(concat!(
        "HTTP/1.1 403 Forbidden\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Content-Length: 79\n\n",
        r#"{"error":"invalid_request","error_description":"Invalid token type: ANONYMOUS"}"#,
    ));
}

#[tokio::test]
async fn e35_wrong_bus_for_the_channel() {
    // Rule: backplane E35 — wrong bus for the channel, byte for byte but for what is minted
    let door = Door::start().await;
    support::put_bus(&door.backplane, "other.example", buswire_message::Retention::default()).await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    let body = format!(
        r#"{{"message":{{"type":"x","bus":"other.example","channel":"{}","payload":1}}}}"#,
        visit.channel
    );
    // Rule: backplane §7.2 — a message whose bus is not the channel's is refused
    post(&door, &token, 103, &body).await.expect(concat!(
        "HTTP/1.1 403 Forbidden\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Content-Length: 79\n\n",
        r#"{"error":"invalid_request","error_description":"Invalid bus - channel binding"}"#,
    ));
}

#[tokio::test]
async fn e36_forbidden_field() {
    // Rule: backplane E36 — forbidden field, byte for byte but for what is minted
    let door = Door::start().await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    let body = format!(
        r#"{{"message":{{"type":"x","bus":"gazette.example","channel":"{}","source":"https://evil.example/","payload":1}}}}"#,
        visit.channel
    );
    // Rule: backplane §7.1 — source is forbidden upstream
    // Rule: backplane §17 row 18 — source is the registered value in 2.0
    post(&door, &token, 138, &body).await.expect(concat!(
        "HTTP/1.1 400 Bad Request\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Content-Length: 113\n\n",
        r#"{"error":"invalid_request","error_description":"#,
        r#""Invalid message data: Invalid field in upstream message: source"}"#,
    ));
}

#[tokio::test]
async fn e37_unknown_message() {
    // Rule: backplane E37 — unknown message, byte for byte but for what is minted
    let door = Door::start().await;
    let (token, _) = door.client_tokens().await;
    let target = "/v2/message/2024-01-01T00:00:00.000Z-AAAAAAAAAA";
    // Rule: backplane §10.4 — a message that is not found is answered 404
    door.send(&get_as(target, &token)).await.expect(concat!(
        "HTTP/1.1 404 Not Found\n",
        "Content-Type: application/json; charset=utf-8\n",
        "Content-Length: 108\n\n",
        r#"{"error":"invalid_request","error_description":"#,
        r#""Message id '2024-01-01T00:00:00.000Z-AAAAAAAAAA' not found"}"#,
    ));
}
