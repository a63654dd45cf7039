//! Belay over HTTP, through the binary: the worked examples of its reference, and attacks on it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{Gateway, Reply, again, curl, python, until};
use serde_json::{Value, json};

const BUSES: [&str; 2] = ["b1", "b2"];

fn gateway() -> Gateway {
    let gateway = Gateway::spawn();
    for bus in BUSES {
        gateway.admin(&["bus", "create", bus]);
    }
    gateway
}

fn granted(gateway: &Gateway, arguments: &[&str]) -> Value {
    serde_json::from_str(&gateway.admin(&[&["cap"], arguments].concat())).unwrap()
}

fn grant(gateway: &Gateway, kind: &str, target: &Value) -> Value {
    granted(gateway, &["grant", kind, "--target", &target.to_string()])
}

fn call(method: &str, url: &Value, body: &str) -> Reply {
    let curl = curl(url.as_str().unwrap()).method(method);
    let text = ["--header", "Content-Type: text/plain;charset=UTF-8", "--data-binary", body];
    if body.is_empty() { curl.send() } else { curl.args(&text).send() }
}

fn value(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["value"].clone()
}

const NOT_FOUND: &str = r#"{"error":{"status":404,"message":"not found"}}"#;

#[test]
fn the_worked_exchanges_of_the_original_style() {
    // Rule: belay 25.7 — the exchanges over HTTP, in the original's style
    // Rule: belay 16.2 — a client sends text/plain and no header of its own
    // Rule: belay 16.3 — a result is 200 text/plain, no result is 200 and empty, dead is 404
    let gateway = gateway();
    let read = grant(&gateway, "bus.read", &json!({"bus": "b1", "channel": "orders"}));
    let posted = call("POST", &read["cap"], r#"{"value":{"since":null,"block":0}}"#);
    assert_eq!(value(&posted)["messages"], json!([]));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("content-type", "text/plain;charset=UTF-8"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(posted.header(name), Some(value), "{name}");
    }
    let preflight = curl(read["cap"].as_str().unwrap()).method("OPTIONS");
    let asks = ["--header", "Origin: https://app.example", "--header"];
    let asks = [&asks[..], &["Access-Control-Request-Method: PUT"]].concat();
    let preflight = preflight.args(&asks).send();
    assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, HEAD, PUT, POST, DELETE"),
        ("access-control-max-age", "2592000"),
    ] {
        assert_eq!(preflight.header(name), Some(value), "{name}");
    }
    let mut agent = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    drop(agent.json());
    agent.say(r#"{"messageType":"register","channelID":"8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b11"}"#);
    let endpoint = agent.json()["pushEndpoint"].clone();
    let notify = grant(&gateway, "push.notify", &json!({ "endpoint": endpoint }));
    let put = call("PUT", &notify["cap"], r#"{"value":{"version":12}}"#);
    assert_eq!((put.status, put.body.as_str()), (200, ""));
    let delete = call("DELETE", &notify["cap"], "");
    assert_eq!((delete.status, delete.header("allow")), (405, Some("PUT, POST")));
    let unknown = curl(&gateway.url("/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936")).send();
    assert_eq!((unknown.status, unknown.body.as_str()), (404, NOT_FOUND));
    assert_eq!(call("GET", &read["cap"], "{}").status, 400);
    assert_eq!(call("POST", &read["cap"], r#"{"valu":1}"#).status, 400);
}

#[test]
fn the_worked_grant_attenuation_and_revocation() {
    // Rule: belay 25.8 — grant by a grantor, attenuate by wrap, revoke by the control capability
    // Rule: belay 20.5 — the first grantor is minted by an operator's command and printed once
    let gateway = gateway();
    let grantor = granted(&gateway, &["grant", "grantor"]);
    let request = r#"{"value":{"kind":"bus.publish","target":{"bus":"b1","channel":"orders"},"limits":{"types":["order/new"],"expires":"2030-01-01T00:00:00Z"},"label":"shop front"}}"#;
    let shop = value(&call("POST", &grantor["cap"], request));
    let of = &shop["cap"]["@"];
    let wrap = json!({"value": {"of": {"@": of}, "limits": {"uses": 3}, "label": "courier"}});
    let wrapped = call("POST", &json!(gateway.url("/belay/wrap")), &wrap.to_string());
    let courier = value(&wrapped);
    for made in [&shop, &courier] {
        assert!(made["handle"].as_str().unwrap().starts_with("g_"));
        assert_eq!(made.as_object().unwrap().len(), 3);
    }
    let order = r#"{"value":{"type":"order/new","payload":{"n":1}}}"#;
    for _ in 0..3 {
        assert!(value(&call("POST", &courier["cap"]["@"], order))["id"].is_string());
    }
    let spent = call("POST", &courier["cap"]["@"], order);
    assert_eq!((spent.status, spent.body.as_str()), (404, NOT_FOUND));
    let forbidden = call("POST", of, r#"{"value":{"type":"order/old","payload":1}}"#);
    assert_eq!(forbidden.status, 403);
    let tree = gateway.admin(&["cap", "list", "--tree"]);
    let depths: Vec<_> = tree.lines().skip(1).map(|l| l.len() - l.trim_start().len()).collect();
    assert_eq!(depths, [0, 2, 4], "{tree}");
    let revoked = call("DELETE", &shop["control"]["@"], "");
    assert_eq!((revoked.status, revoked.body.as_str()), (200, ""));
    for dead in [of, &courier["cap"]["@"], &shop["control"]["@"]] {
        assert_eq!(call("POST", dead, order).body, NOT_FOUND);
    }
    let audit = gateway.admin_each(&["cap", "audit"]);
    let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<_> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    let count = |of: &str| actions.iter().filter(|action| **action == of).count();
    assert_eq!((count("granted"), count("wrapped")), (2, 1));
    let revocation = lines.iter().find(|line| line["action"] == "revoked").unwrap();
    assert_eq!((&revocation["by"], &revocation["handle"]), (&shop["handle"], &shop["handle"]));
    assert!(!audit.contains("/cap/"));
}

#[test]
fn the_operator_wraps_suspends_labels_and_shows() {
    let gateway = gateway();
    let read = grant(&gateway, "bus.read", &json!({"bus": "b1"}));
    let handle = read["handle"].as_str().unwrap();
    let uuid =
        granted(&gateway, &["grant", "bus.read", "--target", r#"{"bus":"b1"}"#, "--form", "uuid"]);
    assert_eq!(uuid["cap"].as_str().unwrap().rsplit('/').next().unwrap().len(), 36);
    let child = granted(&gateway, &["wrap", handle, "--limits", r#"{"uses":1}"#]);
    gateway.admin(&["cap", "suspend", handle]);
    assert_eq!(call("GET", &child["cap"], "").status, 404);
    gateway.admin(&["cap", "resume", handle]);
    assert_eq!(call("GET", &child["cap"], "").status, 200);
    assert_eq!(call("GET", &child["cap"], "").status, 404, "its one use is spent");
    gateway.admin(&["cap", "label", handle, "till"]);
    let shown = gateway.admin(&["cap", "show", handle, "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["label"], &shown["children"]), (&json!("till"), &json!(1)));
    assert_eq!(shown["target"]["bus"], "b1");
}

#[test]
fn a_bus_that_was_made_again_is_not_addressed_by_old_grants() {
    // Rule: belay 23.4 — what is deleted and created again is not addressed by old grants
    let gateway = gateway();
    let target = json!({"bus": "b1", "channel": "c"});
    let old = ["bus.read", "bus.publish"].map(|kind| grant(&gateway, kind, &target));
    let wrapped = granted(&gateway, &["wrap", old[0]["handle"].as_str().unwrap()]);
    assert_eq!(call("GET", &wrapped["cap"], "").status, 200);
    gateway.admin(&["bus", "delete", "b1"]);
    assert_eq!(call("GET", &old[0]["cap"], "").status, 404);
    let absent = gateway.command(&["cap", "grant", "bus.read", "--target", r#"{"bus":"b1"}"#]);
    assert!(String::from_utf8(absent.stderr).unwrap().contains("does not exist"));
    gateway.admin(&["bus", "create", "b1"]);
    let post = r#"{"value":{"type":"t","payload":1}}"#;
    assert_eq!(call("GET", &old[0]["cap"], "").body, NOT_FOUND);
    assert_eq!(call("GET", &wrapped["cap"], "").body, NOT_FOUND);
    assert_eq!(call("POST", &old[1]["cap"], post).body, NOT_FOUND);
    let new = grant(&gateway, "bus.publish", &target);
    assert_eq!(call("POST", &new["cap"], post).status, 200);
}

#[test]
fn a_page_that_knows_no_url_can_do_nothing() {
    // Rule: belay 20.1 — no request reaches an operation but through a grant
    // Rule: belay 23.1 — a request is authorised by what it presents alone: cookies do nothing
    let gateway = gateway();
    let target = json!({"bus": "b1", "channel": "c"});
    let publish = grant(&gateway, "bus.publish", &target);
    let id = publish["cap"].as_str().unwrap().rsplit('/').next().unwrap();
    let post = r#"{"value":{"type":"t","payload":1}}"#;
    let forge = |path: &str| {
        let session = format!("Cookie: cap={id}; session={id}");
        let bearer = format!("Authorization: Bearer {id}");
        let referer = format!("Referer: {}", publish["cap"].as_str().unwrap());
        let headers = ["--header", &session, "--header", &bearer, "--header", &referer];
        let body = ["--header", "Content-Type: text/plain", "--data-binary", post];
        curl(&gateway.url(path)).method("POST").args(&[&headers[..], &body].concat()).send().status
    };
    assert_eq!(forge(&format!("/cap/{}", "A".repeat(43))), 404);
    assert_eq!(forge("/cap/"), 404);
    assert_eq!(forge("/belay/wrap"), 400);
}

#[test]
fn no_response_lets_an_id_travel_on() {
    // Rule: belay 21.7 — no referrer, no store, no index, no frame, on results and failures alike
    let gateway = gateway();
    let read = grant(&gateway, "bus.read", &json!({"bus": "b1"}));
    let dead = json!(gateway.url(&format!("/cap/{}", "A".repeat(43))));
    let wrap = json!(gateway.url("/belay/wrap"));
    for (method, url) in
        [("GET", &read["cap"]), ("DELETE", &read["cap"]), ("GET", &dead), ("POST", &wrap)]
    {
        let reply = call(method, url, "");
        for (name, value) in [
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("x-robots-tag", "noindex"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("access-control-allow-origin", "*"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name} of {method} {}", reply.status);
        }
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("sandbox"),
            "{policy}"
        );
        assert!(reply.header("set-cookie").is_none());
        // Rule: belay 21.5 — a failure names no id and no URL
        let id = url.as_str().unwrap().rsplit('/').next().unwrap();
        assert!(!reply.body.contains(id) && !reply.headers.contains(id), "{reply:?}");
    }
}

#[test]
fn a_get_has_no_effect() {
    // Rule: belay 21.7 — a GET has no effect: what scanners of links do changes nothing
    let gateway = gateway();
    let publish = grant(&gateway, "bus.publish", &json!({"bus": "b1", "channel": "c"}));
    let read = grant(&gateway, "bus.read", &json!({"bus": "b1"}));
    for _ in 0..3 {
        assert_eq!(call("GET", &publish["cap"], "").status, 405);
        assert_eq!(value(&call("GET", &read["cap"], ""))["messages"], json!([]));
        assert_eq!(call("GET", &read["control"], "").status, 200);
    }
    assert_eq!(value(&call("GET", &publish["control"], ""))["invocations"], 0);
}

#[test]
fn a_forged_reference_stays_data_or_is_refused() {
    // Rule: belay 4.4 — a reference in a payload is not taken for a capability by whoever reads it
    let gateway = gateway();
    let target = json!({"bus": "b1", "channel": "c"});
    let publish = grant(&gateway, "bus.publish", &target);
    let read = grant(&gateway, "bus.read", &target);
    let forged = r#"{"value":{"type":"t","payload":{"@":"http://127.0.0.1:1/cap/x"}}}"#;
    assert_eq!(call("POST", &publish["cap"], forged).status, 400);
    // Published by another door, it is shown as the text that it is.
    let payload = r#"{"@":"http://127.0.0.1:1/cap/x"}"#;
    let message = ["--bus", "b1", "--channel", "c", "--type", "t", "--payload", payload];
    gateway.admin(&[&["message", "publish"], &message[..]].concat());
    let shown = until("the message is there", || {
        value(&call("GET", &read["cap"], ""))["messages"].get(0).cloned()
    });
    assert_eq!(shown["payload"], payload);
    for malformed in [
        r#"{"value":{"@":"x","also":1}}"#,
        r#"{"value":{"@":5}}"#,
        r#"{"value":{"type":"t","payload":{"a":1,"@":"x"}}}"#,
    ] {
        assert_eq!(call("POST", &publish["cap"], malformed).status, 400, "{malformed}");
    }
}

#[test]
fn nobody_makes_the_gateway_ask_for_him() {
    // Rule: belay 23.2 — a foreign capability is not invoked or wrapped with the gateway's authority
    // Rule: belay 23.6 — url items and cap: sinks to places that are not public are refused
    let gateway = gateway();
    let ops = format!("http://{}/metrics", gateway.bound().ops);
    let foreign =
        json!({"value": {"of": {"@": "https://other.example/cap/AAAAAAAAAAAAAAAAAAAAAAAA"}}});
    let wrap = json!(gateway.url("/belay/wrap"));
    assert_eq!(call("POST", &wrap, &foreign.to_string()).status, 400);
    let grantor = granted(&gateway, &["grant", "grantor"]);
    for url in
        [ops.as_str(), "https://127.0.0.1/x", "https://169.254.169.254/latest/", "https://[::1]/"]
    {
        let asked = json!({"value": {"kind": "url", "target": {"url": url}}}).to_string();
        assert_eq!(call("POST", &grantor["cap"], &asked).status, 400, "{url}");
        let sink = format!("cap:{url}");
        let route = ["route", "create", "r", "--scope", "bus:b1", "--sink", &sink];
        let refused = gateway.command(&route);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{url}: {said}");
        assert!(!said.contains(url), "{said}");
    }
    // A name is judged by what it resolves to, when it is asked.
    let asked =
        json!({"value": {"kind": "url", "target": {"url": "https://localhost/x"}}}).to_string();
    let local = value(&call("POST", &grantor["cap"], &asked));
    assert_eq!(call("GET", &local["cap"]["@"], "").status, 502);
}

#[test]
fn another_gateway_is_asked_where_that_is_allowed() {
    // Rule: belay 16.5 — a capability of another server is asked over HTTP, one of our own is not
    let there = gateway();
    let here = Gateway::builder()
        .set("belay.egress.allow_http", "true")
        .set("belay.egress.allow", r#"["127.0.0.1"]"#)
        .start();
    let read = grant(&there, "bus.read", &json!({"bus": "b1"}));
    let proxy = grant(&here, "url", &json!({"url": read["cap"], "methods": ["GET"]}));
    assert_eq!(value(&call("GET", &proxy["cap"], ""))["messages"], json!([]));
    assert_eq!(call("POST", &proxy["cap"], r#"{"value":{}}"#).status, 405);
    let shown = here.admin(&["cap", "show", proxy["handle"].as_str().unwrap()]);
    assert!(!shown.contains("/cap/"), "{shown}");
    let record = json!({"facets": {"read": {"@": proxy["cap"]}}});
    let record = grant(&here, "record", &record);
    let facet = value(&call("GET", &record["cap"], ""))["read"]["@"].clone();
    assert_ne!(facet, proxy["cap"]);
    assert_eq!(call("GET", &facet, "").status, 200);
    // Revoked there, it is dead here; and so are the facets of a record that is revoked.
    there.admin(&["cap", "revoke", read["handle"].as_str().unwrap()]);
    assert_eq!(call("GET", &facet, "").status, 404);
    here.admin(&["cap", "revoke", record["handle"].as_str().unwrap()]);
    assert_eq!(call("GET", &facet, "").status, 404);
}

#[test]
fn a_body_over_the_bound_is_refused() {
    // Rule: belay 21.6 — a body has at most 1 MiB, JSON at most 64 levels, 256 capabilities a message
    let gateway = gateway();
    let publish = grant(&gateway, "bus.publish", &json!({"bus": "b1", "channel": "c"}));
    let status = |payload: &str| {
        let body = format!(r#"{{"value":{{"type":"t","payload":{payload}}}}}"#);
        let file = gateway.path("body");
        std::fs::write(&file, body).unwrap();
        let from = format!("@{}", file.display());
        call("POST", &publish["cap"], &from).status
    };
    assert_eq!(status(&format!("\"{}\"", "x".repeat(1 << 20))), 413);
    assert_eq!(status(&format!("{}1{}", "[".repeat(64), "]".repeat(64))), 400);
    assert_eq!(status(&format!("{}1{}", "[".repeat(60), "]".repeat(60))), 200);
    let caps = vec![r#"{"@":"https://x.example/cap/1"}"#; 257].join(",");
    assert_eq!(status(&format!("[{caps}]")), 400);
}

#[test]
fn capabilities_are_the_same_at_every_gateway() {
    again(
        3,
        &[
            "the_worked_exchanges_of_the_original_style",
            "the_worked_grant_attenuation_and_revocation",
            "the_operator_wraps_suspends_labels_and_shows",
            "a_bus_that_was_made_again_is_not_addressed_by_old_grants",
        ],
    );
}
