//! What administrators see of what was handed out, and what ends with it (Backplane §0.5).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use buswire_backplane::{
    CodeState, Handle, IssuedKind, Listing, TokenFilter, TokenHolder, TokenInfo, TokenKind,
    TokenState, Wanted,
};
use sha2::{Digest as _, Sha256};
use support::{Answer, Door, Visit, bus, until};

const ALL: Wanted = Wanted { after: None, limit: 1000 };

fn handle(text: &str) -> Handle {
    let digest = Sha256::digest(text);
    let first = u64::from_be_bytes(digest[..8].try_into().unwrap());
    format!("{first:016x}").parse().unwrap()
}

async fn tokens(door: &Door, filter: TokenFilter) -> Vec<TokenInfo> {
    door.backplane.tokens(&filter, ALL).await.unwrap().items
}

async fn end(door: &Door, kind: IssuedKind, text: &str) -> bool {
    door.backplane.end(kind, handle(text)).await.unwrap()
}

async fn read(door: &Door, token: &str) -> Answer {
    door.get_as("/v2/messages", &format!("Bearer {token}")).await
}

async fn refresh_visit(door: &Door, visit: &Visit) -> Answer {
    door.get(&format!("/v2/token?callback=f&refresh_token={}", visit.refresh)).await
}

#[tokio::test]
async fn tokens_are_shown_by_the_start_of_their_hash() {
    let door = Door::start().await;
    let visit = door.visit().await;
    let (access, refresh) = door.client_tokens().await;
    let all = tokens(&door, TokenFilter::default()).await;
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|token| token.state == TokenState::Good));
    let of = |text: &str| all.iter().find(|token| token.handle == handle(text)).unwrap();
    assert_eq!(of(&access).kind, TokenKind::ClientAccess);
    assert_eq!(of(&refresh).scope.to_string(), "bus:gazette.example");
    assert_eq!(of(&visit.access).kind, TokenKind::AnonymousAccess);
    let TokenHolder::Client { client, grants, chain } = &of(&access).holder else { panic!() };
    assert_eq!((client.as_str(), grants.as_slice()), ("comments-svc", &[door.grant.clone()][..]));
    let TokenHolder::Client { chain: other, .. } = &of(&refresh).holder else { panic!() };
    assert_eq!(chain, other);
    let shown = format!("{all:?}");
    assert!([&access, &refresh, &visit.access, &visit.refresh].iter().all(|t| !shown.contains(*t)));

    let client = Some("comments-svc".parse().unwrap());
    assert_eq!(tokens(&door, TokenFilter { client, ..Default::default() }).await.len(), 2);
    let kind = Some(TokenKind::AnonymousRefresh);
    assert_eq!(tokens(&door, TokenFilter { kind, ..Default::default() }).await.len(), 1);
    let none = TokenFilter { bus: Some(bus("other.example")), ..Default::default() };
    assert!(tokens(&door, none).await.is_empty());

    // A refresh uses a token up; it stays to be known again.
    door.token_request(&format!("grant_type=refresh_token&refresh_token={refresh}")).await;
    let kind = Some(TokenKind::PrivilegedRefresh);
    let states = tokens(&door, TokenFilter { kind, ..Default::default() }).await;
    let spent = states.iter().find(|token| token.handle == handle(&refresh)).unwrap();
    assert_eq!((states.len(), spent.state), (2, TokenState::Void));
}

#[tokio::test]
async fn listings_come_in_pages() {
    let door = Door::start().await;
    for _ in 0..7 {
        door.visit().await;
    }
    let (mut seen, mut wanted) = (Vec::new(), Wanted { after: None, limit: 4 });
    loop {
        let page = door.backplane.tokens(&TokenFilter::default(), wanted).await.unwrap();
        assert!(page.items.len() <= 4);
        seen.extend(page.items.iter().map(|token| token.handle.to_string()));
        let Some(next) = page.next else { break };
        wanted.after = Some(next.to_string().parse().unwrap());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 14);
}

#[tokio::test]
async fn a_clients_token_ends_with_its_chain_and_no_other() {
    let door = Door::start().await;
    let (access, refresh) = door.client_tokens().await;
    let (other, _) = door.client_tokens().await;
    assert_eq!(read(&door, &access).await.status, 200);
    assert!(end(&door, IssuedKind::Token, &refresh).await);
    assert!(!end(&door, IssuedKind::Token, &refresh).await);
    assert_eq!(read(&door, &access).await.status, 403);
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    assert_eq!(door.token_request(&form).await.status, 400);
    assert_eq!(read(&door, &other).await.status, 200);
}

#[tokio::test]
async fn a_visits_token_ends_with_its_channel() {
    let door = Door::start().await;
    let (visit, other) = (door.visit().await, door.visit().await);
    let again = Visit::read(&refresh_visit(&door, &visit).await);
    // Both are good: a refresh leaves an anonymous access token its hour.
    assert_eq!(read(&door, &visit.access).await.status, 200);
    assert!(end(&door, IssuedKind::Token, &again.access).await);
    for token in [&visit.access, &again.access] {
        assert_eq!(read(&door, token).await.status, 403);
    }
    assert_eq!(refresh_visit(&door, &again).await.unpadded()["error"], "invalid_request");
    let (access, _) = door.client_tokens().await;
    let post = |channel: &str| {
        format!(
            r#"{{"message":{{"type":"t","bus":"gazette.example","channel":"{channel}","payload":1}}}}"#
        )
    };
    assert_eq!(door.post_message(&access, &post(&visit.channel)).await.status, 403);
    assert_eq!(door.post_message(&access, &post(&other.channel)).await.status, 201);
    assert_eq!(read(&door, &other.access).await.status, 200);
}

#[tokio::test]
async fn a_read_that_waits_ends_with_its_token() {
    let door = Door::start().await;
    let (visit, (access, _)) = (door.visit().await, door.client_tokens().await);
    let target = format!("/v2/messages?block=25&access_token={}", visit.access);
    let waits = door.get(&target);
    let ends = async {
        until(|| door.buses.waiting() == 1).await;
        assert!(end(&door, IssuedKind::Token, &access).await);
        assert!(end(&door, IssuedKind::Token, &visit.access).await);
        door.advance(std::time::Duration::from_secs(26));
    };
    // Rule: backplane §17 row 36 — a token is checked again at the end of a wait
    let (answer, ()) = tokio::join!(waits, ends);
    assert_eq!(
        (answer.status, &answer.json()["error_description"]),
        (403, &"invalid token".into())
    );
}

/// The code of a decision by the owner of the examples, and what there was before it.
async fn authorized(door: &Door) -> (String, [String; 3]) {
    let asked = "/v2/authorize?client_id=comments-svc&response_type=code";
    let request = cookie(&door.get(asked).await);
    let form = "busOwner=gazette-owner&password=paper-and-ink";
    let sign_in = cookie(&submit(door, "/v2/authenticate", &request, form).await);
    let cookies = format!("{request}; {sign_in}");
    let page = door
        .send(&format!("GET /v2/authorize HTTP/1.1\nHost: bp.example.net\nCookie: {cookies}\n\n"))
        .await;
    let (_, rest) = page.body.split_once("name=\"auth_key\" value=\"").unwrap();
    let key = rest.split('"').next().unwrap().to_owned();
    let value = |cookie: &str| cookie.split_once('=').unwrap().1.to_owned();
    let before = [value(&request), value(&sign_in), key.clone()];
    shown(door, &before).await;
    let form = format!("auth_key={key}&authorize=Authorize");
    let decided = submit(door, "/v2/authorize", &cookies, &form).await;
    let location = decided.header("location").unwrap_or_else(|| panic!("{}", decided.body));
    (location.split_once("code=").unwrap().1.to_owned(), before)
}

/// Checks that a request, a sign-in and the key of a decision are listed.
async fn shown(door: &Door, [request, sign_in, key]: &[String; 3]) {
    let backplane = &door.backplane;
    let client = "comments-svc".parse().unwrap();
    let listed: Listing<_> = backplane.authorization_requests(Some(&client), ALL).await.unwrap();
    let last = listed.items.iter().find(|item| item.handle == handle(request)).unwrap();
    assert_eq!(last.redirect_uri.as_str(), "https://comments.example/oauth/cb");
    assert!(last.expires_at.unwrap() > door.now());
    let owner = "gazette-owner".parse().unwrap();
    let sign_ins = backplane.sign_ins(Some(&owner), ALL).await.unwrap().items;
    assert!(sign_ins.iter().any(|item| item.handle == handle(sign_in)));
    let decisions = backplane.decisions(ALL).await.unwrap().items;
    let decision = decisions.iter().find(|item| item.handle == handle(key)).unwrap();
    assert_eq!((decision.sign_in, decision.request), (handle(sign_in), handle(request)));
    let (nobody, none) = ("nobody".parse().unwrap(), "nobody".parse().unwrap());
    assert!(backplane.sign_ins(Some(&nobody), ALL).await.unwrap().items.is_empty());
    assert!(backplane.authorization_requests(Some(&none), ALL).await.unwrap().items.is_empty());
}

fn cookie(answer: &Answer) -> String {
    let line = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer:?}"));
    line.split(';').next().unwrap().to_owned()
}

async fn submit(door: &Door, target: &str, cookies: &str, form: &str) -> Answer {
    let request = format!(
        "POST {target} HTTP/1.1\nHost: bp.example.net\nCookie: {cookies}\n\
         Content-Type: application/x-www-form-urlencoded\nContent-Length: {}\n\n{form}",
        form.len()
    );
    door.send(&request).await
}

async fn redeem(door: &Door, code: &str) -> Answer {
    let uri = "https%3A%2F%2Fcomments.example%2Foauth%2Fcb";
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri={uri}");
    door.token_request(&form).await
}

async fn code_state(door: &Door, code: &str) -> CodeState {
    let codes = door.backplane.codes(None, ALL).await.unwrap().items;
    codes.into_iter().find(|item| item.handle == handle(code)).unwrap().state
}

#[tokio::test]
async fn a_code_ends_alone_with_its_grant_and_with_its_clients_tokens() {
    let door = Door::start().await;
    let (code, _) = authorized(&door).await;
    assert_eq!(code_state(&door, &code).await, CodeState::Unused);
    assert!(end(&door, IssuedKind::Code, &code).await);
    assert_eq!(code_state(&door, &code).await, CodeState::Void);
    assert_eq!(redeem(&door, &code).await.status, 400);

    let (used, _) = authorized(&door).await;
    let issued = redeem(&door, &used).await.json();
    let access = issued["access_token"].as_str().unwrap();
    assert!(matches!(code_state(&door, &used).await, CodeState::Used(_)));
    assert_eq!(read(&door, access).await.status, 200);
    assert!(end(&door, IssuedKind::Code, &used).await);
    assert_eq!(read(&door, access).await.status, 403);

    let (pending, _) = authorized(&door).await;
    let client = "comments-svc".parse().unwrap();
    assert!(door.backplane.revoke_tokens(&client).await.unwrap());
    assert_eq!(code_state(&door, &pending).await, CodeState::Void);
    let refused = redeem(&door, &pending).await;
    assert_eq!((refused.status, &refused.json()["error"]), (400, &"invalid_grant".into()));

    let (late, _) = authorized(&door).await;
    door.advance(std::time::Duration::from_secs(601));
    assert_eq!(code_state(&door, &late).await, CodeState::Expired);
    assert!(!end(&door, IssuedKind::Code, "unknown").await);
    let none = door.backplane.codes(Some(&"nobody".parse().unwrap()), ALL).await.unwrap();
    assert!(none.items.is_empty());
}

#[tokio::test]
async fn sign_ins_requests_and_decisions_end_one_by_one() {
    let door = Door::start().await;
    let (_, [_, sign_in, key]) = authorized(&door).await;
    // What was decided is gone.
    assert!(!end(&door, IssuedKind::Decision, &key).await);
    let sign_in_cookie = format!("bp2.bus.owner.auth={sign_in}");
    let ask = |cookies: &str| {
        format!(
            "GET /v2/authorize?client_id=comments-svc&response_type=code HTTP/1.1\n\
             Host: bp.example.net\nCookie: {cookies}\n\n"
        )
    };
    let page = door.send(&ask(&sign_in_cookie)).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let request = cookie(&page).split_once('=').unwrap().1.to_owned();
    let (_, rest) = page.body.split_once("name=\"auth_key\" value=\"").unwrap();
    let key = rest.split('"').next().unwrap();
    let cookies = format!("bp2.authorization.request={request}; {sign_in_cookie}");
    let form = format!("auth_key={key}&authorize=Authorize");
    assert!(end(&door, IssuedKind::Decision, key).await);
    assert_eq!(submit(&door, "/v2/authorize", &cookies, &form).await.status, 403);
    assert!(end(&door, IssuedKind::AuthorizationRequest, &request).await);
    assert!(!end(&door, IssuedKind::AuthorizationRequest, &request).await);
    assert!(end(&door, IssuedKind::SignIn, &sign_in).await);
    assert_eq!(door.send(&ask(&sign_in_cookie)).await.status, 303);
}
