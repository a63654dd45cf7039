//! What may not happen too often (Backplane §17, rows 1, 22 and 28).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use buswire_backplane::{Config, Limits};
use buswire_message::Retention;
use support::{Door, config, put_bus};

async fn door(limits: impl FnOnce(&mut Limits)) -> Door {
    let mut config: Config = config();
    limits(&mut config.limits);
    Door::start_with(config, Retention::default()).await
}

#[tokio::test]
async fn visits_of_one_address_are_limited() {
    let door = door(|limits| limits.visits_per_address_max = 3).await;
    let (new, token) = ("/v1/bus/b/channel/new", "/v2/token?callback=f&bus=gazette.example");
    assert_eq!(door.get(new).await.status, 200);
    for _ in 0..2 {
        assert!(door.get(token).await.unpadded()["access_token"].is_string());
    }
    // Rule: backplane §17 row 28 — anonymous tokens are limited for each address
    let refused = door.get(token).await;
    assert_eq!(refused.unpadded()["error_description"], "Too many requests");
    // Rule: backplane §17 row 1 — new channels are limited for each address, with 429 and Retry-After
    let refused = door.get(new).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("60")));
    assert_eq!(refused.body, r#"{"ERR_MSG":"Too many requests"}"#);
    assert_eq!(door.send(&format!("HEAD {new} HTTP/1.1\nHost: h\n\n")).await.status, 200);
    door.advance(Duration::from_secs(60));
    assert_eq!(door.get(new).await.status, 200);
}

#[tokio::test]
async fn visits_of_one_bus_are_limited() {
    let door = door(|limits| limits.visits_per_bus_max = 1).await;
    put_bus(&door.backplane, "other.example", Retention::default()).await;
    let token = |bus| format!("/v2/token?callback=f&bus={bus}");
    let visit = door.get(&token("gazette.example")).await.unpadded();
    // Rule: backplane §17 row 28 — anonymous tokens are limited for each bus; refreshing is not
    let refused = door.get(&token("gazette.example")).await.unpadded();
    assert_eq!(refused["error_description"], "Too many requests");
    assert!(door.get(&token("other.example")).await.unpadded()["access_token"].is_string());
    let refresh = visit["refresh_token"].as_str().unwrap();
    let refreshed = door.get(&format!("/v2/token?callback=f&refresh_token={refresh}")).await;
    assert!(refreshed.unpadded()["access_token"].is_string());
}

#[tokio::test]
async fn guessing_is_limited() {
    let door = door(|limits| limits.failures_per_account_max = 2).await;
    let form = "application/x-www-form-urlencoded";
    let request = "grant_type=client_credentials";
    // "comments-svc:x"
    let wrong = "Basic Y29tbWVudHMtc3ZjOng=";
    for _ in 0..2 {
        assert_eq!(door.post("/v2/token", wrong, form, request).await.status, 401);
    }
    // Rule: backplane §17 row 22 — guesses of a client's secret are limited, with 429 and Retry-After
    let refused = door.post("/v2/token", wrong, form, request).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("600")));
    assert_eq!(refused.json()["error_description"], "Too many requests");
    assert_eq!(
        door.token_request(request).await.status,
        429,
        "not even the right one is looked at"
    );
    // A user of 1.x is another account.
    assert_eq!(door.post_v1("c", "[]").await.status, 200);
    let user = "Basic Y29tbWVudHNjbzp4";
    for status in [401, 401, 429] {
        assert_eq!(door.get_as("/v1/bus/gazette.example", user).await.status, status);
    }
    door.advance(Duration::from_secs(600));
    assert_eq!(door.token_request(request).await.status, 200);
}

#[tokio::test]
async fn an_address_that_guesses_everywhere_is_limited() {
    let door = door(|limits| limits.failures_per_address_max = 2).await;
    let list = |secret: &str| format!(r#"{{"admin":"bpadmin","secret":"{secret}","entities":[]}}"#);
    let provision = async |secret: &str| {
        door.post("/v2/provision/bus/list", "x", "application/json", &list(secret)).await.status
    };
    assert_eq!(provision("wrong").await, 401);
    assert_eq!(door.get_as("/v1/bus/gazette.example", "Basic Z2hvc3Q6eA==").await.status, 401);
    // Rule: backplane §17 row 22 — failures of one address are limited over all accounts and doors
    assert_eq!(provision("copper-lantern").await, 429);
    assert_eq!(door.token_request("grant_type=client_credentials").await.status, 429);
    let form = "busOwner=gazette-owner&password=paper-and-ink";
    let kind = "application/x-www-form-urlencoded";
    assert_eq!(door.post("/v2/authenticate", "x", kind, form).await.status, 429);
}
