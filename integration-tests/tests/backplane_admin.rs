//! What an administrator sees and ends of what Backplane has handed out, from the command line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use buswire_integration_tests::{Gateway, Reply, Site, curl};
use serde_json::Value;

fn read(gateway: &Gateway, token: &str) -> (u16, Value) {
    let bearer = format!("Authorization: Bearer {token}");
    let reply = curl(&gateway.url("/v2/messages")).header(&bearer).send();
    (reply.status, reply.json())
}

#[test]
fn channels_are_listed_and_tokens_and_sign_ins_end() {
    let gateway = Gateway::spawn();
    let site = Site::create(&gateway, "gazette.example", &[]);
    let visits = [site.visit(&gateway), site.visit(&gateway)];
    site.post(&gateway, &visits[0].channel, "comment/posted", "1");
    let listed = gateway.admin(&["bus", "channels", "gazette.example", "--output", "json"]);
    let rows: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let messages = |channel: &str| {
        rows.iter().find(|row| row["name"] == channel).map(|row| row["messages"].clone())
    };
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(messages(&visits[0].channel), Some(1.into()));
    assert_eq!(messages(&visits[1].channel), Some(0.into()));

    assert_eq!(read(&gateway, &site.token).0, 200);
    gateway.admin(&["client", "revoke-tokens", &site.client_id]);
    let (status, error) = read(&gateway, &site.token);
    assert_eq!((status, &error["error_description"]), (403, &"invalid token".into()));
    // A visit is not the client's.
    assert_eq!(read(&gateway, &visits[0].token).0, 200);

    gateway.admin(&["owner", "create", "gazette-owner", "--password", "paper-and-ink"]);
    let sign_in = "busOwner=gazette-owner&password=paper-and-ink";
    let signed_in = curl(&gateway.url("/v2/authenticate")).args(&["--data", sign_in]).send();
    assert!(signed_in.header("set-cookie").is_some_and(|cookie| cookie.contains("auth=")));
    let ended = gateway.admin(&["owner", "sign-out", "gazette-owner", "--output", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&ended).unwrap()["ended"], 1);
}

fn rows(gateway: &Gateway, command: &[&str]) -> Vec<Value> {
    let listed = gateway.admin(&[command, &["--output", "json"]].concat());
    serde_json::from_str(&listed).unwrap()
}

/// The handle, computed as docs/operating.md says.
fn handle(text: &str) -> String {
    let script = r#"printf %s "$0" | sha256sum | cut -c1-16"#;
    let output = Command::new("sh").args(["-c", script, text]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn cookie(reply: &Reply) -> String {
    reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

fn state(rows: &[Value], handle: &str) -> Value {
    let row = rows.iter().find(|row| row["handle"] == handle);
    row.unwrap_or_else(|| panic!("no {handle} in {rows:?}"))["state"].clone()
}

#[test]
fn a_leaked_token_ends_alone() {
    let gateway = Gateway::spawn();
    let site = Site::create(&gateway, "gazette.example", &[]);
    let other = Site::client(&gateway, "gazette.example");
    let (visit, stays) = (site.visit(&gateway), site.visit(&gateway));
    let of_bus = rows(&gateway, &["client", "tokens", "--bus", "gazette.example"]);
    assert_eq!(of_bus.len(), 8, "{of_bus:?}");
    assert!(!format!("{of_bus:?}").contains(&site.token));
    let own = rows(&gateway, &["client", "tokens", &site.client_id, "--kind", "client"]);
    assert_eq!((own.len(), state(&own, &handle(&site.token))), (1, "good".into()));

    for token in [&site.token, &visit.token] {
        gateway.admin(&["client", "revoke-token", &handle(token)]);
        assert_eq!(read(&gateway, token).0, 403);
    }
    for token in [&other.token, &stays.token] {
        assert_eq!(read(&gateway, token).0, 200);
    }
    let left = rows(&gateway, &["client", "tokens"]);
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn every_step_of_an_authorization_is_shown_and_ended() {
    let gateway = Gateway::spawn();
    let site = Site::create(&gateway, "gazette.example", &[]);
    gateway.admin(&["owner", "create", "gazette-owner", "--password", "paper-and-ink"]);
    gateway.admin(&["owner", "assign", "gazette-owner", "gazette.example"]);
    let ask = format!("/v2/authorize?client_id={}&response_type=code", site.client_id);
    let request = cookie(&curl(&gateway.url(&ask)).send());
    let form = "busOwner=gazette-owner&password=paper-and-ink";
    let sign_in = curl(&gateway.url("/v2/authenticate")).args(&["--data", form]);
    let sign_in = cookie(&sign_in.header(&format!("Cookie: {request}")).send());
    let cookies = format!("Cookie: {request}; {sign_in}");
    let page = || curl(&gateway.url("/v2/authorize")).header(&cookies).send();
    let key = |page: &Reply| {
        let (_, rest) = page.body.split_once("name=\"auth_key\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let decide = |key: &str| {
        let form = format!("auth_key={key}&authorize=Authorize");
        curl(&gateway.url("/v2/authorize")).header(&cookies).args(&["--data", &form]).send()
    };
    let value = |cookie: &str| handle(cookie.split_once('=').unwrap().1);

    let shown = key(&page());
    let decisions = rows(&gateway, &["owner", "decisions"]);
    let decision = decisions.iter().find(|row| row["handle"] == handle(&shown)).unwrap();
    assert_eq!(decision["sign_in"], value(&sign_in));
    assert_eq!(decision["request"], value(&request));
    gateway.admin(&["owner", "delete-decision", &handle(&shown)]);
    assert_eq!(decide(&shown).status, 403);

    let requests = rows(&gateway, &["owner", "requests", "--client", &site.client_id]);
    assert_eq!(requests[0]["handle"], value(&request));
    let agreed = decide(&key(&page()));
    let code = agreed.header("location").unwrap().split_once("code=").unwrap().1.to_owned();
    assert_eq!(state(&rows(&gateway, &["client", "codes"]), &handle(&code)), "unused");
    gateway.admin(&["client", "revoke-tokens", &site.client_id]);
    assert_eq!(state(&rows(&gateway, &["client", "codes"]), &handle(&code)), "void");
    gateway.admin(&["client", "revoke-code", &handle(&code)]);
    let redeemed = curl(&gateway.url("/v2/token"))
        .args(&["--user", &format!("{}:{}", site.client_id, site.secret)])
        .args(&["--data", "grant_type=authorization_code", "--data", &format!("code={code}")])
        .args(&["--data-urlencode", "redirect_uri=https://vendor.example/"])
        .send();
    assert_eq!((redeemed.status, &redeemed.json()["error"]), (400, &"invalid_grant".into()));

    let again = cookie(&curl(&gateway.url(&ask)).send());
    gateway.admin(&["owner", "delete-request", &value(&again)]);
    let sign_ins = rows(&gateway, &["owner", "sign-ins", "gazette-owner"]);
    assert_eq!((sign_ins.len(), &sign_ins[0]["handle"]), (1, &value(&sign_in).into()));
    gateway.admin(&["owner", "end-sign-in", &value(&sign_in)]);
    assert!(rows(&gateway, &["owner", "sign-ins"]).is_empty());
    // Nobody is signed in any more: the page asks who it is.
    let signed_out = curl(&gateway.url(&ask)).header(&format!("Cookie: {sign_in}")).send();
    assert_eq!(signed_out.status, 303);
}
