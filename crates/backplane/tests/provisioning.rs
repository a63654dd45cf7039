//! The provisioning interface (Backplane §13, §18.2), byte for byte but for what is minted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use buswire_backplane::{Config, TlsPolicy};
use buswire_message::Retention;
use support::{Answer, Door, config};

const AUTH: &str = r#""admin":"bpadmin","secret":"copper-lantern""#;

/// Sends a call as the examples do, with the length that they give.
async fn example(door: &Door, path: &str, length: usize, body: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.1\nHost: bp.example.net\nContent-Type: application/json\n\
         Content-Length: {length}\n\n{body}"
    );
    door.send(&request).await
}

/// Sends a call of the administrator; `members` stands beside its credentials.
async fn call(door: &Door, path: &str, members: &str) -> Answer {
    let body = format!("{{{AUTH},{members}}}");
    example(door, path, body.len(), &body).await
}

async fn told(door: &Door, path: &str, members: &str) -> String {
    let answer = call(door, path, members).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn ok(length: usize, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\nContent-Type: application/json; charset=utf-8\nContent-Length: {length}\n\n{body}"
    )
}

#[tokio::test]
async fn e11_to_e17_the_worked_examples() {
    // Rule: backplane E11 — bus owner, byte for byte but for what is minted
    // Rule: backplane E12 — buses, one bad, byte for byte but for what is minted
    // Rule: backplane E13 — client, byte for byte but for what is minted
    // Rule: backplane E14 — grant, byte for byte but for what is minted
    // Rule: backplane E15 — list grants, byte for byte but for what is minted
    // Rule: backplane E16 — list buses, one unknown, byte for byte but for what is minted
    // Rule: backplane E17 — wrong administrator secret, byte for byte but for what is minted
    let door = Door::start().await;
    // Rule: backplane §13.3 — an update creates or replaces and says BACKPLANE_UPDATE_SUCCESS
    let body = r#"{"admin":"bpadmin","secret":"copper-lantern","configs":[{"USER":"gazette-owner","PWDHASH":"paper-and-ink"}]}"#;
    let answer = example(&door, "/v2/provision/user/update", 108, body).await;
    answer.expect(&ok(44, r#"{"gazette-owner":"BACKPLANE_UPDATE_SUCCESS"}"#));

    // Rule: backplane §13.3 — 2.0 updates go entry by entry; the owner of a bus must exist
    // Rule: backplane §13.3 — numbers may be JSON numbers or strings
    let body = r#"{"admin":"bpadmin","secret":"copper-lantern","configs":[{"BUS_NAME":"gazette.example","OWNER":"gazette-owner","RETENTION_TIME_SECONDS":"600","RETENTION_STICKY_TIME_SECONDS":28800},{"BUS_NAME":"x.example","OWNER":"nobody","RETENTION_TIME_SECONDS":600,"RETENTION_STICKY_TIME_SECONDS":28800}]}"#;
    let answer = example(&door, "/v2/provision/bus/update", 290, body).await;
    answer.expect(&ok(
        86,
        r#"{"gazette.example":"BACKPLANE_UPDATE_SUCCESS","x.example":"Invalid bus owner: nobody"}"#,
    ));

    let body = r#"{"admin":"bpadmin","secret":"copper-lantern","configs":[{"USER":"comments-svc","PWDHASH":"tangled-kelp-4","SOURCE_URL":"https://comments.example/","REDIRECT_URI":"https://comments.example/oauth/cb"}]}"#;
    let answer = example(&door, "/v2/provision/client/update", 200, body).await;
    answer.expect(&ok(43, r#"{"comments-svc":"BACKPLANE_UPDATE_SUCCESS"}"#));

    // Rule: backplane §13.6 — adding a grant makes a new one, also where an equal one exists
    assert!(door.backplane.revoke_grant(&door.grant, None).await.unwrap());
    let body = r#"{"admin":"bpadmin","secret":"copper-lantern","grants":{"comments-svc":"gazette.example"}}"#;
    let answer = example(&door, "/v2/provision/grant/add", 89, body).await;
    answer.expect(&ok(39, r#"{"comments-svc":"GRANT_UPDATE_SUCCESS"}"#));

    // Rule: backplane §13.6 — grants are listed by id; an unknown client has none
    let body =
        r#"{"admin":"bpadmin","secret":"copper-lantern","entities":["comments-svc","ghost"]}"#;
    let answer = example(&door, "/v2/provision/grant/list", 81, body).await;
    answer.expect(&ok(74, r#"{"comments-svc":{"<grant>":"bus:gazette.example"},"ghost":{}}"#));

    // Rule: backplane §13.2 — all listed values are strings; what is unknown is CONFIG_NOT_FOUND
    // Rule: backplane §16 row 46 — the text for what is unknown is CONFIG_NOT_FOUND
    let body =
        r#"{"admin":"bpadmin","secret":"copper-lantern","entities":["gazette.example","nope"]}"#;
    let answer = example(&door, "/v2/provision/bus/list", 83, body).await;
    answer.expect(&ok(
        183,
        r#"{"gazette.example":{"BUS_NAME":"gazette.example","OWNER":"gazette-owner","RETENTION_TIME_SECONDS":"600","RETENTION_STICKY_TIME_SECONDS":"28800"},"nope":{"ERR_MSG":"CONFIG_NOT_FOUND"}}"#,
    ));

    // Rule: backplane §13.1 — a wrong secret is 401 with one text for both generations
    let body = r#"{"admin":"bpadmin","secret":"wrong","entities":[]}"#;
    let denied = "HTTP/1.1 401 Unauthorized\nContent-Type: application/json; charset=utf-8\n\
                  Content-Length: 27\n\n{\"ERR_MSG\":\"Access denied\"}";
    for path in ["/v2/provision/bus/list", "/v1.2/provision/bus/list"] {
        example(&door, path, 50, body).await.expect(denied);
    }
}

#[tokio::test]
async fn only_administrators_provision() {
    let door = Door::start().await;
    for body in [
        r#"{"admin":"root","secret":"copper-lantern","entities":[]}"#,
        r#"{"admin":"","secret":"","entities":[]}"#,
        r#"{"admin":"bpadmin","secret":"copper-lanter","entities":[]}"#,
    ] {
        let answer = example(&door, "/v2/provision/client/list", body.len(), body).await;
        assert_eq!(answer.status, 401, "{body}");
    }
    // Rule: backplane §17 row 25 — where no administrator is configured nobody becomes one
    let config = Config { administrators: Vec::new(), ..config() };
    let door = Door::start_with(config, Retention::default()).await;
    assert_eq!(call(&door, "/v2/provision/bus/list", r#""entities":[]"#).await.status, 401);
    assert_eq!(door.get("/admin").await.status, 404);
}

#[tokio::test]
async fn requests_have_a_form() {
    let door = Door::start().await;
    // Rule: backplane §13.1 — entities absent is 400, unknown members are ignored
    let answer = call(&door, "/v2/provision/bus/list", r#""extra":1"#).await;
    let text = r#"{"ERR_MSG":"Invalid body: entities is required and has another form"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (400, text));
    assert_eq!(call(&door, "/v2/provision/bus/list", r#""x":1,"entities":[]"#).await.status, 200);
    for path in ["/v1/provision/user/update", "/v2/provision/grant/add"] {
        assert_eq!(call(&door, path, r#""entities":[]"#).await.status, 400, "{path}");
    }
    let answer = door.get("/v2/provision/bus/list").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(answer.body, r#"{"ERR_MSG":"Request method not supported"}"#);
    let answer = door.post("/v1/provision/bus/list", "x", "text/plain", "{}").await;
    assert_eq!(answer.status, 415);
    // Rule: backplane §13.1 — 1.x is provisioned under each of its four paths
    for version in ["v1", "v1.1", "v1.2", "v1.3"] {
        let path = format!("/{version}/provision/user/list");
        assert_eq!(call(&door, &path, r#""entities":[]"#).await.status, 200);
    }
}

#[tokio::test]
async fn provisioning_needs_https() {
    // Rule: backplane §3.2 — provisioning of both generations is refused without HTTPS
    let config = Config { tls: TlsPolicy::Required, ..config() };
    let door = Door::start_with(config, Retention::default()).await;
    for path in ["/v1/provision/bus/list", "/v2/provision/bus/list"] {
        let answer = call(&door, path, r#""entities":[]"#).await;
        let text = r#"{"ERR_MSG":"Connection must be made over https"}"#;
        assert_eq!((answer.status, answer.body.as_str()), (403, text));
    }
}

#[tokio::test]
async fn a_1x_bus_is_provisioned_and_used() {
    let door = Door::start().await;
    let user = r#""configs":[{"USER":"desk","PWDHASH":"ink-9"}]"#;
    assert_eq!(
        told(&door, "/v1/provision/user/update", user).await,
        r#"{"desk":"BACKPLANE_UPDATE_SUCCESS"}"#
    );
    let bus = r#""configs":[{"BUS_NAME":"desk.example","RETENTION_TIME_SECONDS":"60","desk":"GETALL,POST","late":"POST"}]"#;
    told(&door, "/v1.1/provision/bus/update", bus).await;
    let post = |target: &'static str| {
        let message = r#"[{"source":"https://desk.example/","type":"t","payload":1}]"#;
        door.post(target, "Basic ZGVzazppbmstOQ==", "application/json", message)
    };
    let target = "/v1.2/bus/desk.example/channel/c1";
    assert_eq!(post(target).await.status, 200);
    // Rule: backplane §13.2 — users are listed with their hash masked
    // Rule: backplane §16 row 47 — PWDHASH is masked in lists
    // Rule: backplane §17 row 21 — hashes are never listed
    assert_eq!(
        told(&door, "/v1/provision/user/list", r#""entities":["desk","x"]"#).await,
        r#"{"desk":{"USER":"desk","PWDHASH":"***"},"x":{"ERR_MSG":"CONFIG_NOT_FOUND"}}"#
    );
    assert_eq!(
        told(&door, "/v1/provision/bus/list", r#""entities":["desk.example"]"#).await,
        r#"{"desk.example":{"BUS_NAME":"desk.example","RETENTION_TIME_SECONDS":"60","RETENTION_STICKY_TIME_SECONDS":"28800","desk":"GETALL,POST","late":"POST"}}"#
    );
    // Rule: backplane §13.4 — 1.x deletes always succeed; a deleted user's access ends at once
    assert_eq!(
        told(&door, "/v1/provision/user/delete", r#""entities":["desk","ghost"]"#).await,
        r#"{"desk":"BACKPLANE_DELETE_SUCCESS","ghost":"BACKPLANE_DELETE_SUCCESS"}"#
    );
    assert_eq!(post(target).await.status, 401);
    let deleted = told(&door, "/v1/provision/bus/delete", r#""entities":["desk.example"]"#).await;
    assert_eq!(deleted, r#"{"desk.example":"BACKPLANE_DELETE_SUCCESS"}"#);
    // Rule: backplane §13.4 — a delete of nothing deletes nothing
    assert_eq!(told(&door, "/v1/provision/bus/delete", r#""entities":[]"#).await, "{}");
    assert_eq!(door.backplane.v1_buses().await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_invalid_1x_entry_refuses_all() {
    let door = Door::start().await;
    // Rule: backplane §13.3 — 1.x validates all entries first; one invalid one changes nothing
    let users = r#""configs":[{"USER":"ann","PWDHASH":"p1"},{"USER":"b:b","PWDHASH":"p2"}]"#;
    let answer = call(&door, "/v1/provision/user/update", users).await;
    let text = r#"{"ERR_MSG":"b:b: Invalid value of USER"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (400, text));
    let names = door.backplane.users().await.unwrap();
    assert!(names.iter().all(|user| user.name.as_str() != "ann"));
}

#[tokio::test]
async fn what_is_unknown_is_not_found_in_2() {
    let door = Door::start().await;
    // Rule: backplane §13.4 — 2.0 deletes of unknown names say BACKPLANE_ENTRY_NOT_FOUND
    for entity in ["bus", "user", "client"] {
        let path = format!("/v2/provision/{entity}/delete");
        assert_eq!(
            told(&door, &path, r#""entities":["does","not","exist"]"#).await,
            r#"{"does":"BACKPLANE_ENTRY_NOT_FOUND","not":"BACKPLANE_ENTRY_NOT_FOUND","exist":"BACKPLANE_ENTRY_NOT_FOUND"}"#
        );
    }
    // Rule: backplane §13.2 — no names list everything
    let all = told(&door, "/v2/provision/client/list", r#""entities":[]"#).await;
    assert_eq!(
        all,
        r#"{"comments-svc":{"USER":"comments-svc","PWDHASH":"***","SOURCE_URL":"https://comments.example/","REDIRECT_URI":"https://comments.example/oauth/cb"}}"#
    );
    // Rule: backplane §13.4 — deleting a bus owner deletes its buses
    let deleted = told(&door, "/v2/provision/user/delete", r#""entities":["gazette-owner"]"#).await;
    assert_eq!(deleted, r#"{"gazette-owner":"BACKPLANE_DELETE_SUCCESS"}"#);
    let buses = told(&door, "/v2/provision/bus/list", r#""entities":[]"#).await;
    assert_eq!(buses, "{}");
    // Rule: backplane §13.4 — deleting a bus takes it out of all grants
    let grants = told(&door, "/v2/provision/grant/list", r#""entities":["comments-svc"]"#).await;
    assert_eq!(grants, r#"{"comments-svc":{}}"#);
}

#[tokio::test]
async fn grants_are_whole_or_not_at_all() {
    let door = Door::start().await;
    let add = "/v2/provision/grant/add";
    // Rule: backplane §13.6 — one unknown bus and nothing is granted to this client
    let mixed =
        r#""grants":{"comments-svc":"gazette.example no.example","ghost":"gazette.example"}"#;
    assert_eq!(
        told(&door, add, mixed).await,
        r#"{"comments-svc":"Invalid bus: no.example","ghost":"invalid client_id"}"#
    );
    let client = "comments-svc".parse().unwrap();
    assert_eq!(door.backplane.grants(&client).await.unwrap().len(), 1);
    let (access, _) = door.client_tokens().await;
    // Rule: backplane §13.6 — revoking removes the buses from all grants and kills their tokens
    let revoke = "/v2/provision/grant/revoke";
    let buses = r#""grants":{"comments-svc":"gazette.example"}"#;
    assert_eq!(told(&door, revoke, buses).await, r#"{"comments-svc":"GRANT_UPDATE_SUCCESS"}"#);
    let read = door.get_as("/v2/messages", &format!("Bearer {access}")).await;
    assert_eq!(read.status, 403, "{}", read.body);
    assert_eq!(
        told(&door, revoke, buses).await,
        r#"{"comments-svc":"No grants found to revoke for buses: [gazette.example]"}"#
    );
    assert_eq!(
        told(&door, revoke, r#""grants":{"comments-svc":"no.example"}"#).await,
        r#"{"comments-svc":"Invalid bus: no.example"}"#
    );
}

#[tokio::test]
async fn a_replaced_client_keeps_its_tokens_only_as_it_was() {
    let door = Door::start().await;
    let put = async |secret: &str, source: &str| {
        let client = format!(
            r#""configs":[{{"USER":"comments-svc","PWDHASH":"{secret}","SOURCE_URL":"{source}","REDIRECT_URI":"https://comments.example/other"}}]"#
        );
        told(&door, "/v2/provision/client/update", &client).await
    };
    let works = async |token: &str| {
        door.get_as("/v2/messages", &format!("Bearer {token}")).await.status == 200
    };
    let (token, _) = door.client_tokens().await;
    put("tangled-kelp-4", "https://comments.example/").await;
    assert!(works(&token).await, "neither the secret nor the source URL changed");
    // Rule: backplane §13.3 — another SOURCE_URL or another secret revokes a client's tokens
    put("tangled-kelp-4", "https://elsewhere.example/").await;
    assert!(!works(&token).await);
    let (token, _) = door.client_tokens().await;
    put("tangled-kelp-5", "https://elsewhere.example/").await;
    assert!(!works(&token).await);
}
