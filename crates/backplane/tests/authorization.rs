//! Authorization by a bus owner (Backplane §11.1, §18.5), byte for byte but for what is minted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use buswire_backplane::{AdminError, NewPassword};
use buswire_bus::BusError;
use buswire_message::{Retention, Secret};
use buswire_store::Revision;
use support::{Answer, Door, bus, put_bus, put_client};

const ASKED: &str = "/v2/authorize?client_id=comments-svc&response_type=code\
                     &redirect_uri=https%3A%2F%2Fcomments.example%2Foauth%2Fcb&state=xyz%201";
const CALLBACK: &str = "https://comments.example/oauth/cb";

async fn get(door: &Door, target: &str, cookies: &str) -> Answer {
    let request = format!("GET {target} HTTP/1.1\nHost: bp.example.net\nCookie: {cookies}\n\n");
    door.send(&request).await
}

async fn submit(door: &Door, target: &str, cookies: &str, form: &str) -> Answer {
    submit_from(door, target, cookies, "", form).await
}

async fn submit_from(door: &Door, target: &str, cookies: &str, head: &str, form: &str) -> Answer {
    let request = format!(
        "POST {target} HTTP/1.1\nHost: bp.example.net\nCookie: {cookies}\n{head}\
         Content-Type: application/x-www-form-urlencoded\nContent-Length: {}\n\n{form}",
        form.len()
    );
    door.send(&request).await
}

/// The `name=value` of the cookie that an answer sets.
fn cookie(answer: &Answer) -> String {
    let line = answer.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {answer:?}"));
    line.split(';').next().unwrap().to_owned()
}

fn location(answer: &Answer) -> &str {
    answer.header("location").unwrap_or_else(|| panic!("no location: {answer:?}"))
}

/// The hidden key of a form.
fn auth_key(answer: &Answer) -> String {
    let (_, rest) = answer.body.split_once("name=\"auth_key\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

async fn sign_in(door: &Door, cookies: &str) -> String {
    let form = "busOwner=gazette-owner&password=paper-and-ink";
    let answer = submit(door, "/v2/authenticate", cookies, form).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    cookie(&answer)
}

/// A browser whose owner has signed in and sees the form of a request.
async fn browser(door: &Door, asked: &str) -> (String, Answer) {
    let request = cookie(&door.get(asked).await);
    let sign_in = sign_in(door, &request).await;
    let cookies = format!("{request}; {sign_in}");
    let form = get(door, "/v2/authorize", &cookies).await;
    (cookies, form)
}

/// The code that an owner gives to a request.
async fn code(door: &Door, asked: &str) -> String {
    let (cookies, form) = browser(door, asked).await;
    let decision = format!("auth_key={}&authorize=Authorize", auth_key(&form));
    let answer = submit(door, "/v2/authorize", &cookies, &decision).await;
    let (_, rest) = location(&answer).split_once("code=").unwrap();
    rest.split('&').next().unwrap().to_owned()
}

fn exchange(code: &str) -> String {
    let uri = "https%3A%2F%2Fcomments.example%2Foauth%2Fcb";
    format!("grant_type=authorization_code&code={code}&redirect_uri={uri}")
}

fn text(answer: &Answer, name: &str) -> String {
    answer.json()[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer:?}")).to_owned()
}

#[tokio::test]
async fn e38_to_e42_the_worked_examples() {
    // Rule: backplane E38 — request without sign-in, byte for byte but for what is minted
    // Rule: backplane E39 — sign-in, byte for byte but for what is minted
    // Rule: backplane E40 — decision, byte for byte but for what is minted
    // Rule: backplane E41 — exchange, byte for byte but for what is minted
    // Rule: backplane E42 — the same code again, byte for byte but for what is minted
    let door = Door::start().await;
    // Rule: backplane §11.1 — without a sign-in the request is kept for 1200 s under a random key
    let e38 = door.send(&format!("GET {ASKED} HTTP/1.1\nHost: bp.example.net\n\n")).await;
    e38.expect(
        "HTTP/1.1 303 See Other\nLocation: https://bp.example.net/v2/authenticate\n\
         Cache-Control: no-store\nContent-Length: 0\n\n",
    );
    let attributes = "; Path=/v2/; Max-Age=1200; Secure; HttpOnly; SameSite=Lax";
    let request = cookie(&e38);
    assert_eq!(e38.header("set-cookie").unwrap(), format!("{request}{attributes}"));
    let ticket = request.strip_prefix("bp2.authorization.request=").unwrap();
    assert!(ticket.len() == 30 && ticket.bytes().all(|byte| byte.is_ascii_alphanumeric()));

    // Rule: backplane §11.1 — a right password signs in for 3600 s and leads back to the request
    let form = "busOwner=gazette-owner&password=paper-and-ink";
    assert_eq!(form.len(), 45);
    let e39 = submit(&door, "/v2/authenticate", &request, form).await;
    e39.expect(
        "HTTP/1.1 303 See Other\nLocation: https://bp.example.net/v2/authorize\n\
         Cache-Control: no-store\nContent-Length: 0\n\n",
    );
    let attributes = "; Path=/v2/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax";
    let owner = cookie(&e39);
    assert_eq!(e39.header("set-cookie").unwrap(), format!("{owner}{attributes}"));

    // Rule: backplane §11.1 — with both cookies the form shows client, redirect URI and scope
    let cookies = format!("{request}; {owner}");
    let form = get(&door, "/v2/authorize", &cookies).await;
    assert_eq!(form.status, 200);
    for shown in ["comments-svc", CALLBACK, "<li>gazette.example</li>"] {
        assert!(form.body.contains(shown), "{shown} in {}", form.body);
    }
    let decision = format!("auth_key={}&authorize=Authorize", auth_key(&form));
    assert_eq!(decision.len(), 59);
    // Rule: backplane §11.1 — the decision leads to the redirect URI with code and state
    let e40 = submit(&door, "/v2/authorize", &cookies, &decision).await;
    e40.expect("HTTP/1.1 303 See Other\nCache-Control: no-store\nContent-Length: 0\n\n");
    let (code, state) = location(&e40).split_once('&').unwrap();
    let code = code.strip_prefix(&format!("{CALLBACK}?code=")).unwrap();
    assert_eq!((code.len(), state), (32, "state=xyz+1"));

    // Rule: backplane §10.2 — a code gives tokens whose access token is of kind PA
    let form = format!("{}&scope=sticky%3Atrue", exchange(code));
    assert_eq!(form.len(), 144);
    let e41 = door.token_request(&form).await;
    let tokens = e41.expect(concat!(
        "HTTP/1.1 200 OK\nContent-Type: application/json; charset=utf-8\n",
        "Cache-Control: no-store\nPragma: no-cache\nContent-Length: 188\n\n",
        r#"{"token_type":"Bearer","access_token":"<access>","expires_in":31536000,"#,
        r#""scope":"bus:gazette.example sticky:true","refresh_token":"<refresh>"}"#,
    ));
    assert!(tokens["access"].starts_with("PA") && tokens["refresh"].starts_with("PR"));
    let bearer = format!("Bearer {}", tokens["access"]);
    assert_eq!(door.get_as("/v2/messages", &bearer).await.status, 200);

    // Rule: backplane §10.2 — the same code again is invalid_grant and ends what came of it
    // Rule: backplane §16 row 24 — a bad code is invalid_grant
    // Rule: backplane §17 row 13 — a code is used once; a replay revokes what it issued
    let e42 = door.token_request(&exchange(code)).await;
    e42.expect(&format!(
        "HTTP/1.1 400 Bad Request\nContent-Type: application/json; charset=utf-8\n\
         Cache-Control: no-store\nContent-Length: 94\n\n\
         {{\"error\":\"invalid_grant\",\"error_description\":\"Invalid code: {code}\"}}"
    ));
    let read = door.get_as("/v2/messages", &bearer).await;
    assert_eq!((read.status, text(&read, "error_description").as_str()), (403, "invalid token"));
    let refresh = format!("grant_type=refresh_token&refresh_token={}", tokens["refresh"]);
    assert_eq!(door.token_request(&refresh).await.status, 400);
}

#[tokio::test]
async fn nothing_is_redirected_to_an_unknown_address() {
    let door = Door::start().await;
    put_client(&door.backplane, "other", "s").await;
    // Rule: backplane §11.1 — an unknown client or a bad redirect_uri is an HTML page, 400, never a redirect
    // Rule: backplane §17 row 11 — a redirect URI matches exactly before any redirect
    for asked in [
        "client_id=ghost&response_type=code",
        "response_type=code",
        "client_id=&response_type=code&redirect_uri=https%3A%2F%2Fevil.example%2F",
        "client_id=comments-svc&response_type=code&redirect_uri=https%3A%2F%2Fevil.example%2F",
        "client_id=comments-svc&response_type=x&redirect_uri=https%3A%2F%2Fcomments.example%2Foauth%2Fcb%2F",
        "client_id=comments-svc&response_type=code&redirect_uri=https%3A%2F%2Fcomments.example%2Foauth%2Fcb%23x",
    ] {
        let answer = door.get(&format!("/v2/authorize?{asked}")).await;
        assert_eq!((answer.status, answer.header("location")), (400, None), "{asked}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
    // Rule: backplane §11.1 — other errors go to the redirect URI with their code and the state
    // Rule: backplane §16 row 45 — errors of /authorize are those of RFC 6749
    let answer = door.get(&ASKED.replace("response_type=code", "response_type=token")).await;
    let expected =
        "?error=unsupported_response_type&error_description=response_type+must+be+code&state=xyz+1";
    assert_eq!((answer.status, location(&answer)), (303, &*format!("{CALLBACK}{expected}")));
    // The registered URI is used where none is given.
    let answer = door.get("/v2/authorize?client_id=comments-svc&response_type=").await;
    assert!(location(&answer).starts_with(&format!("{CALLBACK}?error=invalid_request&")));
}

#[tokio::test]
async fn a_denial_is_told_to_the_client() {
    let door = Door::start().await;
    let (cookies, form) = browser(&door, ASKED).await;
    // Rule: backplane §11.1 — a denial redirects with access_denied
    let decision = format!("auth_key={}&deny=Deny", auth_key(&form));
    let answer = submit(&door, "/v2/authorize", &cookies, &decision).await;
    assert!(location(&answer).starts_with(&format!("{CALLBACK}?error=access_denied&")));
    assert!(location(&answer).ends_with("&state=xyz+1"));
    // The request is decided.
    assert_eq!(get(&door, "/v2/authorize", &cookies).await.status, 400);
}

#[tokio::test]
async fn a_decision_has_a_key_of_its_own() {
    let door = Door::start().await;
    let (cookies, form) = browser(&door, ASKED).await;
    let (others, _) = browser(&door, ASKED).await;
    let decision = format!("auth_key={}&authorize=Authorize", auth_key(&form));
    // Rule: backplane §11.1 — GET with an auth_key is refused with its text
    let answer = get(&door, &format!("/v2/authorize?{decision}"), &cookies).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("Invalid HTTP method for authorization decision post: GET"));
    // Rule: backplane §17 row 9 — a decision from another origin is refused
    for head in [
        "Origin: https://evil.example\n",
        "Origin: null\n",
        "Origin: null\nSec-Fetch-Site: cross-site\n",
        "Origin: https://bp.example.net\nSec-Fetch-Site: same-site\n",
    ] {
        let answer = submit_from(&door, "/v2/authorize", &cookies, head, &decision).await;
        assert_eq!((answer.status, answer.header("location")), (403, None), "{head}");
    }
    // Rule: backplane §11.1 — a wrong key is an HTML page and no redirect
    let forged = "auth_key=c4Ya7RsHd1GfJpEu0Kx6QmZ2Lw9TnV&authorize=Authorize";
    let answer = submit(&door, "/v2/authorize", &cookies, forged).await;
    assert_eq!((answer.status, answer.header("location")), (403, None));
    // Rule: backplane §11.1 — a key is bound to the sign-in and the request, and used up by any try
    assert_eq!(submit(&door, "/v2/authorize", &others, &decision).await.status, 403);
    assert_eq!(submit(&door, "/v2/authorize", &cookies, &decision).await.status, 403);
    // Rule: backplane §11.1 — a key lives 300 s
    let form = get(&door, "/v2/authorize", &cookies).await;
    let decision = format!("auth_key={}&authorize=Authorize", auth_key(&form));
    door.advance(Duration::from_secs(300));
    assert_eq!(submit(&door, "/v2/authorize", &cookies, &decision).await.status, 403);
    // Rule: backplane §11.1 — a key is used once
    let form = get(&door, "/v2/authorize", &cookies).await;
    let decision = format!("auth_key={}&authorize=Authorize", auth_key(&form));
    assert_eq!(submit(&door, "/v2/authorize", &cookies, &decision).await.status, 303);
    assert_eq!(submit(&door, "/v2/authorize", &cookies, &decision).await.status, 403);
}

#[tokio::test]
async fn a_decision_of_our_own_page_counts() {
    let door = Door::start().await;
    // The second is what browsers send for pages with no-referrer.
    for head in ["Origin: https://bp.example.net\n", "Origin: null\nSec-Fetch-Site: same-origin\n"]
    {
        let (cookies, form) = browser(&door, ASKED).await;
        let decision = format!("auth_key={}&authorize=Authorize", auth_key(&form));
        let answer = submit_from(&door, "/v2/authorize", &cookies, head, &decision).await;
        assert_eq!(answer.status, 303, "{head}");
    }
}

#[tokio::test]
async fn requests_and_sign_ins_end() {
    let door = Door::start().await;
    let (cookies, _) = browser(&door, ASKED).await;
    door.advance(Duration::from_secs(1199));
    assert_eq!(get(&door, "/v2/authorize", &cookies).await.status, 200);
    door.advance(Duration::from_secs(1));
    // Rule: backplane §11.1 — a request is kept 1200 s
    assert_eq!(get(&door, "/v2/authorize", &cookies).await.status, 400);
    // Rule: backplane §11.1 — with a sign-in a new request is kept too and shown at once
    let shown = get(&door, ASKED, &cookies).await;
    assert_eq!(shown.status, 200);
    let (_, sign_in) = cookies.split_once("; ").unwrap();
    let cookies = format!("{}; {sign_in}", cookie(&shown));
    // Rule: backplane §11.1 — a sign-in ends after 3600 s
    door.advance(Duration::from_secs(2400));
    let shown = get(&door, ASKED, &cookies).await;
    assert_eq!(location(&shown), "https://bp.example.net/v2/authenticate");
    // Rule: backplane §11.1 — a sign-out ends the sign-in
    let (cookies, _) = browser(&door, ASKED).await;
    let out = submit(&door, "/v2/authenticate?logout", &cookies, "").await;
    assert!(
        out.header("set-cookie").unwrap().starts_with("bp2.bus.owner.auth=; Path=/v2/; Max-Age=0")
    );
    assert_eq!(get(&door, "/v2/authorize", &cookies).await.status, 303);
}

#[tokio::test]
async fn wrong_passwords_say_nothing_of_names() {
    let door = Door::start().await;
    // Rule: backplane §11.1 — unknown user and wrong password get the same message
    let mut answers = Vec::new();
    for form in ["busOwner=gazette-owner&password=x", "busOwner=ghost&password=x", "x=y"] {
        let answer = submit(&door, "/v2/authenticate", "", form).await;
        answers.push((answer.status, answer.body));
    }
    let denied = (401, r#"{"error":"Access denied."}"#.to_owned());
    assert!(answers.iter().all(|answer| *answer == denied), "{answers:?}");
    let html = "Accept: text/html\n";
    let form = "busOwner=gazette-owner&password=x";
    let page = submit_from(&door, "/v2/authenticate", "", html, form).await;
    assert!(page.status == 401 && page.body.contains("Access denied."));
    // Rule: backplane §17 row 22 — the sign-in form is limited for each account
    for _ in 0..8 {
        submit(&door, "/v2/authenticate", "", form).await;
    }
    let right = "busOwner=gazette-owner&password=paper-and-ink";
    assert_eq!(submit(&door, "/v2/authenticate", "", right).await.status, 429);
    door.advance(Duration::from_secs(600));
    assert_eq!(submit(&door, "/v2/authenticate", "", right).await.status, 303);
}

#[tokio::test]
async fn pages_let_in_nothing_and_are_in_no_frame() {
    let door = Door::start().await;
    let (_, form) = browser(&door, ASKED).await;
    // Rule: backplane §17 row 10 — the pages are not framed
    assert_eq!(form.header("x-frame-options"), Some("DENY"));
    assert_eq!(form.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(form.header("cache-control"), Some("no-store"));
    let policy = form.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "form-action 'self' https://comments.example;",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    for outside in ["<script", "src=", "http-equiv", "@import"] {
        assert!(!form.body.contains(outside), "{outside}");
    }
    // A name of a client is text, whatever it is.
    put_client(&door.backplane, "<b>&\"x", "s").await;
    let asked = "/v2/authorize?client_id=%3Cb%3E%26%22x&response_type=code";
    let (_, form) = browser(&door, asked).await;
    assert!(form.status == 200 && !form.body.contains("<b>"), "{}", form.body);
}

#[tokio::test]
async fn a_code_gives_the_buses_that_were_decided() {
    let door = Door::start().await;
    put_bus(&door.backplane, "extra.example", Retention::default()).await;
    // Rule: backplane §8.5 — a code's tokens see the buses of its own grant only
    let narrow = format!("{ASKED}&scope=bus%3Aextra.example+bus%3Aother.example+type%3Ax");
    let (cookies, form) = browser(&door, &narrow).await;
    assert!(!form.body.contains("<li>gazette.example</li>"));
    let decision = format!("auth_key={}&authorize=Authorize", auth_key(&form));
    let answer = submit(&door, "/v2/authorize", &cookies, &decision).await;
    // Rule: backplane §11.1 — the scope is told when it differs from the request
    assert!(location(&answer).ends_with("&state=xyz+1&scope=bus%3Aextra.example"));
    let code = location(&answer).split_once("code=").unwrap().1.split('&').next().unwrap();
    let wide = format!("{}&scope=bus%3Agazette.example", exchange(code));
    let refused = door.token_request(&wide).await;
    assert_eq!(text(&refused, "error"), "invalid_scope");
    let client = "comments-svc".parse().unwrap();
    assert_eq!(door.backplane.grants(&client).await.unwrap().len(), 1, "no grant is left behind");
    let code = self::code(&door, &narrow).await;
    let tokens = door.token_request(&exchange(&code)).await;
    assert_eq!(text(&tokens, "scope"), "bus:extra.example");
    // A bus that was deleted meanwhile is not granted.
    let code = self::code(&door, &narrow).await;
    let changed = door.backplane.delete_bus(&bus("extra.example"), Some(Revision(0))).await;
    assert!(matches!(changed, Err(AdminError::Bus(BusError::Changed(_)))), "{changed:?}");
    assert!(door.backplane.delete_bus(&bus("extra.example"), None).await.unwrap());
    assert_eq!(text(&door.token_request(&exchange(&code)).await, "error"), "invalid_grant");
    // Rule: backplane §11.1 — nothing owned remains of the scope: invalid_scope
    let (_, answer) = browser(&door, &narrow).await;
    assert!(location(&answer).starts_with(&format!("{CALLBACK}?error=invalid_scope&")));
}

#[tokio::test]
async fn a_code_belongs_to_its_client() {
    let door = Door::start().await;
    put_client(&door.backplane, "other", "s").await;
    let code = code(&door, ASKED).await;
    // Rule: backplane §10.2 — a failed client authentication leaves the code untouched
    let kind = "application/x-www-form-urlencoded";
    let wrong = door.post("/v2/token", "Basic eDp5", kind, &exchange(&code)).await;
    assert_eq!(wrong.status, 401);
    // Rule: backplane §10.2 — another client's code is refused and ends it
    let theirs = door.post("/v2/token", "Basic b3RoZXI6cw==", kind, &exchange(&code)).await;
    assert_eq!(text(&theirs, "error"), "invalid_grant");
    assert_eq!(text(&door.token_request(&exchange(&code)).await, "error"), "invalid_grant");
    // Rule: backplane §10.2 — a code is burned though the request fails
    let code = self::code(&door, ASKED).await;
    let other = exchange(&code).replace("oauth%2Fcb", "oauth%2Fother");
    assert_eq!(text(&door.token_request(&other).await, "error"), "invalid_grant");
    assert_eq!(text(&door.token_request(&exchange(&code)).await, "error"), "invalid_grant");
    let relative = exchange("unknown").replace("https%3A%2F%2Fcomments.example", "");
    assert_eq!(text(&door.token_request(&relative).await, "error"), "invalid_grant");
    // Rule: backplane §11.1 — a code lives 600 s
    let code = self::code(&door, ASKED).await;
    door.advance(Duration::from_secs(600));
    assert_eq!(text(&door.token_request(&exchange(&code)).await, "error"), "invalid_grant");
    // Rule: backplane §17 row 14 — the id of a grant is no code
    let id = door.token_request(&exchange(door.grant.as_str())).await;
    assert_eq!(text(&id, "error"), "invalid_grant");
    let client = "comments-svc".parse().unwrap();
    assert_eq!(door.backplane.grants(&client).await.unwrap().len(), 1, "it revokes nothing");
    // Rule: backplane §10.2 — code is an alias of authorization_code
    // Rule: backplane §16 row 22 — code and authorization_code are one grant type
    let code = self::code(&door, ASKED).await;
    let alias = exchange(&code).replace("authorization_code", "code");
    assert_eq!(door.token_request(&alias).await.status, 200);
}

#[tokio::test]
async fn a_challenge_needs_its_verifier() {
    let door = Door::start().await;
    // Rule: backplane §17 row 12 — PKCE binds a code to who asked for it
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let asked = format!("{ASKED}&code_challenge={challenge}&code_challenge_method=S256");
    let verifier = "&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let code = code(&door, &asked).await;
    let bare = door.token_request(&exchange(&code)).await;
    assert_eq!(text(&bare, "error"), "invalid_grant");
    let code = self::code(&door, &asked).await;
    let proven = door.token_request(&format!("{}{verifier}", exchange(&code))).await;
    assert_eq!(proven.status, 200, "{}", proven.body);
    let code = self::code(&door, ASKED).await;
    let downgraded = door.token_request(&format!("{}{verifier}", exchange(&code))).await;
    assert_eq!(text(&downgraded, "error"), "invalid_grant");
}

#[tokio::test]
async fn a_code_shown_by_many_at_once_is_used_at_most_once() {
    let door = Door::start().await;
    let code = code(&door, ASKED).await;
    let form = exchange(&code);
    let shown = (0..16).map(|_| door.token_request(&form));
    let answers = futures::future::join_all(shown).await;
    // Rule: backplane §17 row 13 — of many showings at once at most one gives tokens, and they die
    let given: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert!(given.len() <= 1);
    for answer in given {
        let bearer = format!("Bearer {}", text(answer, "access_token"));
        assert_eq!(door.get_as("/v2/messages", &bearer).await.status, 403);
    }
    let client = "comments-svc".parse().unwrap();
    assert_eq!(door.backplane.grants(&client).await.unwrap().len(), 1);
}

#[tokio::test]
async fn endpoints_are_found() {
    let door = Door::start().await;
    // Rule: backplane §12.1 — host-meta is served in the form of the reference server below /v2
    // Rule: backplane §16 row 48 — host-meta is at both paths, with real links only
    let answer = door.get("/v2/.well-known/host-meta").await;
    assert_eq!(answer.header("content-type"), Some("application/xrds+xml"));
    assert!(answer.body.contains("<XRD>\n    <Host>https://bp.example.net</Host>"));
    // Rule: backplane §12.1 — at the root it is an XRD with its namespace
    let answer = door.get("/.well-known/host-meta").await;
    assert_eq!(answer.header("content-type"), Some("application/xrd+xml"));
    assert!(answer.body.contains("<XRD xmlns=\"http://docs.oasis-open.org/ns/xri/xrd-1.0\">"));
    assert!(answer.body.contains("href=\"https://bp.example.net/v2/authorize\""));
    // Rule: backplane §12.2 — without registration there is no link to it
    assert!(!answer.body.contains("regist"));
}

#[tokio::test]
async fn an_owner_is_signed_out_of_every_browser() {
    let door = Door::start().await;
    let (owner, other) = ("gazette-owner".parse().unwrap(), "nobody".parse().unwrap());
    let (cookies, form) = browser(&door, ASKED).await;
    browser(&door, ASKED).await;
    assert_eq!(door.backplane.sign_out_everywhere(&other).await.unwrap(), 0);
    assert_eq!(door.backplane.sign_out_everywhere(&owner).await.unwrap(), 2);
    assert_eq!(door.backplane.sign_out_everywhere(&owner).await.unwrap(), 0);
    // Another password does it too, and so does the end of the owner.
    browser(&door, ASKED).await;
    let password = NewPassword::Clear(Secret::new("paper-and-ink".to_owned()));
    door.backplane.put_owner(&owner, password, None).await.unwrap();
    assert_eq!(door.backplane.sign_out_everywhere(&owner).await.unwrap(), 0);
    browser(&door, ASKED).await;
    door.backplane.delete_owner(&owner, None).await.unwrap();
    assert_eq!(door.backplane.sign_out_everywhere(&owner).await.unwrap(), 0);
    // A form that is still open decides nothing.
    let decision = format!("auth_key={}&authorize=Authorize", auth_key(&form));
    let answer = submit(&door, "/v2/authorize", &cookies, &decision).await;
    assert!(!answer.header("location").unwrap_or_default().contains("code="), "{answer:?}");
}
