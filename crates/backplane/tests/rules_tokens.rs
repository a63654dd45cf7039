//! The rules of tokens, scopes, clients and grants beyond the worked examples.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use buswire_backplane::{AdminError, Config, Lifetimes, NewClient};
use buswire_message::Retention;
use support::{Answer, Door, Visit, bus, config, put_bus, put_client};

fn error(answer: &Answer) -> (u16, String, String) {
    let json = answer.json();
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    (answer.status, text("error"), text("error_description"))
}

fn padded_error(answer: &Answer) -> (String, String) {
    let json = answer.unpadded();
    let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("{json}")).to_owned();
    (text("error"), text("error_description"))
}

async fn reads(door: &Door, token: &str) -> Answer {
    door.get_as("/v2/messages", &format!("Bearer {token}")).await
}

#[tokio::test]
async fn anonymous_requests_are_refused_in_order() {
    let door = Door::start().await;
    let rule = "bus parameter is required if and only if refresh_token is not present";
    // Rule: backplane §10.1 — what is wrong with an anonymous token request, in order
    // Rule: backplane §16 row 20 — bus is required on anonymous token requests
    let cases = [
        ("", "invalid_request", rule),
        ("&bus=", "invalid_request", rule),
        ("&bus=gazette.example&refresh_token=x", "invalid_request", rule),
        ("&bus=a%20b", "invalid_request", "Invalid bus: a b"),
        (
            "&bus=gazette.example&scope=type",
            "invalid_scope",
            "Malformed scope, token: 'type' not in format: '<key>:<value>'",
        ),
        (
            "&bus=gazette.example&scope=bus:x",
            "invalid_scope",
            "Buses and channels not allowed in the scope of anonymous token requests",
        ),
        ("&refresh_token=undefined", "invalid_request", "invalid token"),
    ];
    for (query, code, text) in cases {
        let answer = door.get(&format!("/v2/token?callback=f{query}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(padded_error(&answer), (code.to_owned(), text.to_owned()), "{query}");
    }
    let malformed = door.get("/v2/token?callback=a-b&bus=gazette.example").await;
    assert_eq!(
        error(&malformed),
        (400, "invalid_request".into(), "callback parameter value is malformed".into())
    );
    // Rule: backplane §10.1 — an access token, client_id and grant_type are ignored
    let noise = "/v2/token?callback=f&bus=gazette.example&client_id=x&grant_type=y&access_token=z";
    assert!(door.get(noise).await.unpadded()["access_token"].is_string());
    // Rule: backplane §3.3 — HEAD mints nothing
    let head = door.send("HEAD /v2/token?callback=f&bus=gazette.example HTTP/1.1\nHost: h\n\n");
    assert_eq!(head.await.status, 200);
}

#[tokio::test]
async fn scope_syntax_of_section_19_5() {
    let door = Door::start().await;
    // Rule: backplane §19.5 — scopes that are no scopes are invalid_scope
    for scope in [
        "type:",
        "type",
        ":x",
        "type:+sticky:",
        "payload.a.b",
        "payload:x",
        "id:x",
        "expire:x",
        "Type:x",
        "sticky:meh",
        "source:httpgoogle.com",
        "bus;mybus.com+bus:yourbus.com",
    ] {
        let answer =
            door.token_request(&format!("grant_type=client_credentials&scope={scope}")).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (400, &"invalid_scope".into()),
            "{scope}"
        );
    }
    for (scope, granted) in [
        ("", "bus:gazette.example"),
        ("++type:x+++type:x+", "bus:gazette.example type:x"),
        ("sticky:TRUE", "bus:gazette.example sticky:true"),
        (
            "source:https://s.example/p?q=1:2",
            "bus:gazette.example source:https://s.example/p?q=1:2",
        ),
    ] {
        let answer =
            door.token_request(&format!("grant_type=client_credentials&scope={scope}")).await;
        assert_eq!(answer.json()["scope"], granted, "{scope}");
    }
}

#[tokio::test]
async fn client_requests_are_refused_in_order() {
    let door = Door::start().await;
    let code = "code is required if and only if grant_type is authorization_code";
    let refresh = "refresh_token is required if and only if grant_type is refresh_token";
    let redirect = "redirect_uri is required if and only if grant_type is authorization_code";
    // Rule: backplane §10.2 — what is wrong with an authenticated token request, in order
    // Rule: backplane §16 row 49 — a missing grant_type is invalid_request
    let cases = [
        ("", "invalid_request", "Invalid grant type: null"),
        ("grant_type=password", "unsupported_grant_type", "Invalid grant type: password"),
        ("grant_type=client_credentials&code=x", "invalid_request", code),
        ("grant_type=authorization_code", "invalid_request", code),
        ("grant_type=authorization_code&code=x", "invalid_request", redirect),
        (
            "grant_type=code&code=x&redirect_uri=https://c.example",
            "invalid_grant",
            "Invalid code: x",
        ),
        ("grant_type=refresh_token", "invalid_request", refresh),
        ("grant_type=client_credentials&refresh_token=x", "invalid_request", refresh),
        ("grant_type=client_credentials&redirect_uri=x", "invalid_request", redirect),
        ("grant_type=refresh_token&refresh_token=x", "invalid_grant", "invalid token"),
    ];
    for (form, code, text) in cases {
        let answer = door.token_request(form).await;
        assert_eq!(error(&answer), (400, code.to_owned(), text.to_owned()), "{form}");
    }
    let basic = format!("Basic {}", support::CLIENT);
    // Rule: backplane §10.2 — grant_type and scope are taken from the query too, the body may be empty
    // Rule: backplane §16 row 26 — grant_type and scope come from the query or the body
    let request = format!(
        "POST /v2/token?grant_type=client_credentials&scope=type:x HTTP/1.1\nHost: h\n\
         Authorization: {basic}\nContent-Length: 0\n\n"
    );
    assert_eq!(door.send(&request).await.json()["scope"], "bus:gazette.example type:x");
    // Rule: backplane §10.2 — code, refresh_token and credentials are not taken from the query
    let request = request.replace("scope=type:x", "client_id=x");
    assert_eq!(door.send(&request).await.status, 401);
    // Rule: backplane §3.4 — a body of another type is 415
    let answer = door.post("/v2/token", &basic, "application/json", "{}").await;
    assert_eq!(answer.status, 415);
}

#[tokio::test]
async fn clients_prove_themselves_by_basic() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let door = Door::start().await;
    put_client(&door.backplane, "form client", "a b+c%").await;
    door.backplane.grant(&"form client".parse().unwrap(), &[bus("gazette.example")]).await.unwrap();
    let form = "application/x-www-form-urlencoded";
    let ask = async |credentials: &str| {
        let basic = format!("Basic {}", STANDARD.encode(credentials));
        door.post("/v2/token", &basic, form, "grant_type=client_credentials").await.status
    };
    // Rule: backplane §10.2 — credentials count as they are or form-decoded
    assert_eq!(ask("form client:a b+c%").await, 200);
    assert_eq!(ask("form+client:a+b%2Bc%25").await, 200);
    assert_eq!(ask("form client:wrong").await, 401);
    assert_eq!(ask("nobody:a b+c%").await, 401);
    assert_eq!(ask("form client").await, 401);
    let answer = door.send("POST /v2/token HTTP/1.1\nHost: h\nContent-Length: 0\n\n").await;
    assert_eq!(
        error(&answer),
        (401, "invalid_client".into(), "Client authentication failed".into())
    );
}

#[tokio::test]
async fn a_minted_secret_is_told_once_and_works() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let door = Door::start().await;
    let new = NewClient {
        client_id: None,
        secret: None,
        source_url: "https://s.example/".parse().unwrap(),
        redirect_uri: "https://s.example/cb".parse().unwrap(),
    };
    let created = door.backplane.create_client(new.clone()).await.unwrap();
    assert_eq!(created.secret.expose().len(), 43);
    door.backplane.grant(&created.client_id, &[bus("gazette.example")]).await.unwrap();
    let credentials = format!("{}:{}", created.client_id, created.secret.expose());
    let basic = format!("Basic {}", STANDARD.encode(&credentials));
    let form = "application/x-www-form-urlencoded";
    let answer = door.post("/v2/token", &basic, form, "grant_type=client_credentials").await;
    assert_eq!(answer.status, 200);
    let again = NewClient { client_id: Some(created.client_id.clone()), ..new };
    assert_eq!(
        door.backplane.create_client(again).await.unwrap_err(),
        AdminError::ClientExists(created.client_id)
    );
}

#[tokio::test]
async fn tokens_come_from_one_place() {
    let door = Door::start().await;
    let (visit, (token, refresh)) = (door.visit().await, door.client_tokens().await);
    let two = format!("/v2/messages?access_token={}", visit.access);
    let describe = |answer: Answer| error(&answer).2;
    // Rule: backplane §9.4 — two token sources are refused
    assert_eq!(
        describe(door.get_as(&two, &format!("Bearer {token}")).await),
        "exactly one token source allowed, found in: [QUERYPARAM, AUTHHEADER]"
    );
    // Rule: backplane §9.4 — an Authorization header of another scheme is not a token source
    assert_eq!(door.get_as(&two, "Basic x").await.status, 200);
    assert_eq!(reads(&door, &visit.access).await.status, 200);
    let mixed = door.get_as("/v2/messages", &format!("bEARER {token}")).await;
    assert_eq!(mixed.status, 200);
    // Rule: backplane §9.4 — a refresh token is no access token
    assert_eq!(describe(reads(&door, &refresh).await), "Invalid token type: REFRESH_PRIVILEGED");
    let target = format!("/v2/messages?access_token={}", visit.refresh);
    assert_eq!(describe(door.get(&target).await), "Invalid token type: REFRESH_ANONYMOUS");
    assert_eq!(describe(door.get("/v2/messages").await), "invalid token");
    // Rule: backplane §9.5 — the kind of refresh token must fit the endpoint
    // Rule: backplane §16 row 50 — a refresh token of the wrong kind is refused
    let wrong = door.get(&format!("/v2/token?callback=f&refresh_token={refresh}")).await;
    assert_eq!(padded_error(&wrong).1, "invalid token");
    let form = format!("grant_type=refresh_token&refresh_token={}", visit.refresh);
    assert_eq!(error(&door.token_request(&form).await).1, "invalid_grant");
}

#[tokio::test]
async fn expired_tokens_are_named_by_kind() {
    let lifetimes =
        Lifetimes { privileged_access: Duration::from_secs(100), ..Lifetimes::default() };
    let door = Door::start_with(Config { lifetimes, ..config() }, Retention::default()).await;
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    door.advance(Duration::from_secs(100));
    // Rule: backplane §9.4 — an expired privileged token is `expired token`
    assert_eq!(error(&reads(&door, &token).await).2, "expired token");
    // Rule: backplane §9.2 — an anonymous access token lives 3600 s
    // Rule: backplane §16 row 27 — an anonymous token lives one hour
    door.advance(Duration::from_secs(3499));
    assert_eq!(reads(&door, &visit.access).await.status, 200);
    door.advance(Duration::from_secs(1));
    // Rule: backplane §9.4 — an expired anonymous token is `invalid token`, so that pages recover
    // Rule: backplane §16 row 31 — an expired anonymous token is invalid token
    assert_eq!(error(&reads(&door, &visit.access).await).2, "invalid token");
}

#[tokio::test]
async fn an_anonymous_refresh_keeps_what_was_there() {
    let door = Door::start().await;
    let target = "/v2/token?callback=f&bus=gazette.example&scope=type:x";
    let first = Visit::read(&door.get(target).await);
    let refresh = async |token: &str, rest: &str| {
        door.get(&format!("/v2/token?callback=f&refresh_token={token}{rest}")).await
    };
    // Rule: backplane §8.6 — a refresh does not widen the filter of the first token
    // Rule: backplane §17 row 16 — a refresh never widens a scope
    let wider = refresh(&first.refresh, "&scope=type:y").await;
    assert_eq!(
        padded_error(&wider),
        ("invalid_scope".into(), "invalid scope for refresh token".into())
    );
    let second = Visit::read(&refresh(&first.refresh, "&scope=sticky:true").await);
    assert_eq!(
        second.scope,
        format!("type:x sticky:true bus:gazette.example channel:{}", first.channel)
    );
    // Rule: backplane §9.5 — the old anonymous access token works until it expires
    assert_eq!(reads(&door, &first.access).await.status, 200);
    // Rule: backplane §9.5 — using an anonymous refresh token twice revokes nothing
    assert_eq!(padded_error(&refresh(&first.refresh, "").await).1, "invalid token");
    assert_eq!(reads(&door, &second.access).await.status, 200);
    assert!(refresh(&second.refresh, "").await.unpadded()["access_token"].is_string());
}

#[tokio::test]
async fn a_used_privileged_refresh_token_ends_its_chain() {
    let door = Door::start().await;
    let (_, first) = door.client_tokens().await;
    let (unrelated, _) = door.client_tokens().await;
    let form = |token: &str| format!("grant_type=refresh_token&refresh_token={token}");
    let second = door.token_request(&form(&first)).await.json();
    let second_access = second["access_token"].as_str().unwrap();
    assert_eq!(reads(&door, second_access).await.status, 200);
    // Rule: backplane §9.5 — a used privileged refresh token revokes its whole chain
    let again = door.token_request(&form(&first)).await;
    assert_eq!(error(&again), (400, "invalid_grant".into(), "invalid token".into()));
    assert_eq!(error(&reads(&door, second_access).await).2, "invalid token");
    let second_refresh = second["refresh_token"].as_str().unwrap();
    assert_eq!(door.token_request(&form(second_refresh)).await.status, 400);
    assert_eq!(reads(&door, &unrelated).await.status, 200);
}

#[tokio::test]
async fn a_refresh_token_is_bound_to_its_client() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let door = Door::start().await;
    put_client(&door.backplane, "other", "secret").await;
    let (_, refresh) = door.client_tokens().await;
    let basic = format!("Basic {}", STANDARD.encode("other:secret"));
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let kind = "application/x-www-form-urlencoded";
    // Rule: backplane §9.5 — a privileged refresh token is bound to the client that got it
    // Rule: backplane §16 row 28 — a refresh token is bound to its client
    // Rule: backplane §17 row 15 — a refresh by another client is refused
    let answer = door.post("/v2/token", &basic, kind, &form).await;
    assert_eq!(error(&answer), (400, "invalid_grant".into(), "invalid token".into()));
    assert_eq!(door.token_request(&form).await.status, 200);
    // Rule: backplane §8.5 — a client without a grant gets invalid_scope
    let answer = door.post("/v2/token", &basic, kind, "grant_type=client_credentials").await;
    assert_eq!(error(&answer).1, "invalid_scope");
}

#[tokio::test]
async fn grants_add_up_and_name_each_bus_once() {
    let door = Door::start().await;
    let client = put_client(&door.backplane, "many", "secret").await.client_id;
    let names: Vec<_> = (0..60).map(|n| bus(&format!("b{n}.example"))).collect();
    for name in &names {
        put_bus(&door.backplane, name.name(), Retention::default()).await;
    }
    let mut twice = names.clone();
    twice.push(bus("b0.example"));
    // Rule: backplane §19.5 — a grant naming a bus twice, or 60 buses, gives each once
    door.backplane.grant(&client, &twice).await.unwrap();
    let unknown = door.backplane.grant(&client, &[bus("b1.example"), bus("nowhere")]).await;
    assert_eq!(unknown.unwrap_err(), AdminError::UnknownBus(bus("nowhere")));
    // Rule: backplane §13.6 — if one bus is unknown, nothing is granted
    assert_eq!(door.backplane.grants(&client).await.unwrap().len(), 1);
    let missing = "nobody".parse().unwrap();
    assert_eq!(
        door.backplane.grant(&missing, &[bus("b1.example")]).await.unwrap_err(),
        AdminError::UnknownClient(missing)
    );
    let granted = &door.backplane.grants(&client).await.unwrap()[0];
    assert_eq!(granted.buses, names);
}

#[tokio::test]
async fn reducing_a_grant_kills_its_tokens() {
    let door = Door::start().await;
    put_bus(&door.backplane, "other.example", Retention::default()).await;
    let client = "comments-svc".parse().unwrap();
    let both = [bus("gazette.example"), bus("other.example")];
    door.backplane.grant(&client, &both).await.unwrap();
    let (token, refresh) = door.client_tokens().await;
    // Rule: backplane §13.6 — revoking a bus removes it from all grants; emptied ones vanish
    assert!(door.backplane.revoke_buses(&client, &[bus("gazette.example")]).await.unwrap());
    let left = door.backplane.grants(&client).await.unwrap();
    assert_eq!(
        left.iter().map(|grant| grant.buses.clone()).collect::<Vec<_>>(),
        [[bus("other.example")]]
    );
    assert!(!door.backplane.revoke_buses(&client, &[bus("gazette.example")]).await.unwrap());
    // Rule: backplane §8.4 — when a grant is reduced, its tokens and their refresh tokens die
    assert_eq!(error(&reads(&door, &token).await).2, "invalid token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    assert_eq!(error(&door.token_request(&form).await).2, "invalid token");
    let answer = door.token_request("grant_type=client_credentials").await;
    assert_eq!(answer.json()["scope"], "bus:other.example");
}

#[tokio::test]
async fn deleting_a_bus_voids_what_depends_on_it() {
    let door = Door::start().await;
    put_bus(&door.backplane, "other.example", Retention::default()).await;
    let client = "comments-svc".parse().unwrap();
    door.backplane.grant(&client, &[bus("gazette.example"), bus("other.example")]).await.unwrap();
    let (visit, (token, _)) = (door.visit().await, door.client_tokens().await);
    assert!(door.backplane.delete_bus(&bus("gazette.example"), None).await.unwrap());
    // Rule: backplane §13.4 — deleting a bus revokes tokens of changed grants, also for other buses
    assert_eq!(error(&reads(&door, &token).await).2, "invalid token");
    // Rule: backplane §13.4 — deleting a bus makes its channels and anonymous tokens invalid
    assert_eq!(error(&reads(&door, &visit.access).await).2, "invalid token");
    let refresh = format!("/v2/token?callback=f&refresh_token={}", visit.refresh);
    assert_eq!(padded_error(&door.get(&refresh).await).1, "invalid token");
    door.advance(Duration::from_secs(1));
    put_bus(&door.backplane, "gazette.example", Retention::default()).await;
    assert_eq!(error(&reads(&door, &visit.access).await).2, "invalid token");
    let (token, _) = door.client_tokens().await;
    assert!(door.backplane.grants(&client).await.unwrap().len() == 1);
    let body = format!(
        r#"{{"message":{{"type":"t","bus":"gazette.example","channel":"{}","payload":1}}}}"#,
        visit.channel
    );
    assert_eq!(door.post_message(&token, &body).await.status, 403);
}

#[tokio::test]
async fn changing_or_deleting_a_client_kills_its_tokens() {
    let door = Door::start().await;
    let (token, _) = door.client_tokens().await;
    put_client(&door.backplane, "comments-svc", "another").await;
    // Rule: backplane §13.3 — another secret revokes a client's tokens; its grants stay
    assert_eq!(error(&reads(&door, &token).await).2, "invalid token");
    put_client(&door.backplane, "comments-svc", "tangled-kelp-4").await;
    let (token, _) = door.client_tokens().await;
    let client = "comments-svc".parse().unwrap();
    assert!(door.backplane.delete_client(&client, None).await.unwrap());
    // Rule: backplane §13.4 — deleting a client revokes its grants and tokens
    assert_eq!(error(&reads(&door, &token).await).2, "invalid token");
    assert_eq!(door.token_request("grant_type=client_credentials").await.status, 401);
    put_client(&door.backplane, "comments-svc", "tangled-kelp-4").await;
    assert_eq!(door.backplane.grants(&client).await.unwrap(), []);
    assert_eq!(error(&reads(&door, &token).await).2, "invalid token");
    assert!(!door.backplane.delete_client(&"nobody".parse().unwrap(), None).await.unwrap());
}

#[tokio::test]
async fn owners_own_buses() {
    let door = Door::start().await;
    let owner = "nobody".parse().unwrap();
    let unowned = buswire_backplane::OwnedBus {
        name: bus("x.example"),
        owner,
        retention: Retention::default(),
    };
    // Rule: backplane §13.3 — the owner of a bus must exist
    let refused = door.backplane.put_bus(unowned, None).await.unwrap_err();
    assert_eq!(refused.to_string(), "Invalid bus owner: nobody");
    assert_eq!(door.backplane.buses().await.unwrap().len(), 1);
    let wrong = door.backplane.delete_bus(&bus("v1/gazette.example"), None).await.unwrap_err();
    assert_eq!(wrong, AdminError::WrongRealm(bus("v1/gazette.example")));
    // Rule: backplane §13.4 — deleting a bus owner deletes its buses
    assert!(door.backplane.delete_owner(&"gazette-owner".parse().unwrap(), None).await.unwrap());
    assert_eq!(door.backplane.buses().await.unwrap(), []);
    assert_eq!(door.backplane.owners().await.unwrap(), []);
    assert_eq!(door.backplane.users().await.unwrap().len(), 1);
    assert_eq!(door.backplane.v1_buses().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_change_by_another_process_counts_within_moments() {
    use std::sync::Arc;

    use buswire_backplane::Backplane;
    use buswire_bus::{BusConfig, BusLimits, Buses};
    use buswire_testkit::SeededEntropy;

    let door = Door::start().await;
    let (token, _) = door.client_tokens().await;
    assert_eq!(reads(&door, &token).await.status, 200);
    let clock = Arc::new(door.clock.clone());
    let bus_config = BusConfig {
        message_url_prefix: config().public_url.message_url_prefix(),
        limits: BusLimits::default(),
        tracer: None,
    };
    let buses = Buses::open(Arc::clone(&door.store), clock.clone(), bus_config).await.unwrap();
    let entropy = Arc::new(SeededEntropy::new(8));
    let other = Backplane::new(buses, Arc::clone(&door.store), clock, entropy, config());
    assert!(other.revoke_grant(&door.grant, None).await.unwrap());
    // Rule: backplane §8.4 — a grant revoked at one gateway ends its tokens at all
    let ended = async {
        while reads(&door, &token).await.status == 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::PATIENCE, ended).await.unwrap();
}
