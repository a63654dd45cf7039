//! Provisioning over HTTP through the built gateway, with curl.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{Gateway, curl};
use serde_json::{Value, json};

fn provision(gateway: &Gateway, path: &str, admin: &str, mut body: Value) -> (u16, Value) {
    body["admin"] = admin.into();
    body["secret"] = gateway.admin_token().into();
    let reply = curl(&gateway.url(path)).json(&body.to_string()).send();
    (reply.status, reply.json())
}

#[test]
fn published_tooling_provisions_a_client_that_gets_a_token() {
    let gateway = Gateway::spawn();
    let done = |name: &str| (200, json!({ name: "BACKPLANE_UPDATE_SUCCESS" }));
    let owner = json!({"configs": [{"USER": "shop", "PWDHASH": "paper-and-ink"}]});
    // Rule: backplane §13.7 — the administrator is made without the network; bpadmin is its name too
    // Rule: backplane §11.4 — administrators register clients and grant buses by hand
    for admin in ["admin", "bpadmin"] {
        let answer = provision(&gateway, "/v2/provision/user/update", admin, owner.clone());
        assert_eq!(answer, done("shop"));
    }
    let bus = json!({"configs": [{"BUS_NAME": "shop.example", "OWNER": "shop",
        "RETENTION_TIME_SECONDS": 600, "RETENTION_STICKY_TIME_SECONDS": 28800}]});
    let answer = provision(&gateway, "/v2/provision/bus/update", "bpadmin", bus);
    assert_eq!(answer, done("shop.example"));
    let client = json!({"configs": [{"USER": "vendor", "PWDHASH": "kelp",
        "SOURCE_URL": "https://vendor.example/", "REDIRECT_URI": "https://vendor.example/cb"}]});
    let answer = provision(&gateway, "/v2/provision/client/update", "bpadmin", client);
    assert_eq!(answer, done("vendor"));
    let grants = json!({"grants": {"vendor": "shop.example"}});
    let answer = provision(&gateway, "/v2/provision/grant/add", "bpadmin", grants);
    assert_eq!(answer, (200, json!({"vendor": "GRANT_UPDATE_SUCCESS"})));

    let token = curl(&gateway.url("/v2/token"))
        .args(&["--user", "vendor:kelp", "--data", "grant_type=client_credentials"])
        .send();
    assert_eq!((token.status, &token.json()["scope"]), (200, &json!("bus:shop.example")));
    let listed = gateway.admin(&["client", "list", "--output", "json"]);
    assert!(listed.contains("vendor"), "one store for HTTP and gRPC: {listed}");

    let records =
        gateway.admin(&["audit", "list", "--resource", "client/vendor", "--output", "json"]);
    let records: Value = serde_json::from_str(&records).unwrap();
    let made = &records[0];
    assert_eq!(made["caller"], "bpadmin");
    assert_eq!(made["method"], "POST /v2/provision/client/update");
    assert_eq!((&made["via"], &made["result"]), (&json!("provisioning"), &json!("done")), "{made}");
    assert!(made["after"].to_string().contains("vendor.example"), "{made}");
    assert!(!records.to_string().contains("kelp"), "{records}");

    let stranger = provision(&gateway, "/v2/provision/bus/list", "root", json!({"entities": []}));
    assert_eq!(stranger, (401, json!({"ERR_MSG": "Access denied"})));
    // Rule: backplane §13.7 — who uses the name of an administrator without its secret is written down
    let body = r#"{"admin":"bpadmin","secret":"a guess","entities":["vendor"]}"#;
    let refused = curl(&gateway.url("/v2/provision/client/delete")).json(body).send();
    assert_eq!(refused.status, 401);
    let records = gateway.admin(&["audit", "list", "--resource", "client", "--output", "json"]);
    let records: Value = serde_json::from_str(&records).unwrap();
    assert_eq!(records.as_array().unwrap().len(), 1, "{records}");
    assert_eq!(records[0]["result"], "Unauthenticated");
    assert!(!records.to_string().contains("a guess"));
}
