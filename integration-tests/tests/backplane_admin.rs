//! What an administrator sees and ends of what Backplane has handed out, from the command line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{Gateway, Site, curl};
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
