//! The Belay frame in a real browser, on pages that speak to it in literal messages: handshake, outpost,
//! tunnel, and the tiers of its router.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{
    Gateway, WirePages, chromium, curl, eval, outpost, screenshot, value_when,
};
use serde_json::{Value, json};
use thirtyfour::{WebDriver, WindowHandle};

/// The worked pre-image of the seed, and both forms of its hash.
const PRE_IMAGE: &str = "eba68eea-75f2-4b05-b87a-08365cc58043";
const SHA1: &str = "66c6bd1f4cda24069debe0efa2193f64baeae867";
const SHA256: &str = "f3522d294a20493303bd4c2ceb28d6aa";

/// What `wire.post(wire.outpost.NAME, value)` gives.
async fn post(page: &WebDriver, name: &str, value: &Value) -> Result<Value, Value> {
    eval(page, &format!("wire.post(wire.outpost.{name}, {value})")).await
}

/// The status that it fails with.
async fn status(page: &WebDriver, name: &str, value: &Value) -> Value {
    post(page, name, value).await.expect_err("it fails")["status"].clone()
}

/// Grants what doubles a number, under the page's own id or a routed one; its serialisation.
async fn doubler(page: &WebDriver, instance: &str) -> String {
    let cap = eval(page, &format!("wire.grant((n) => 2 * n, {instance})")).await.unwrap();
    cap["@"].as_str().unwrap().to_owned()
}

/// What a page gets that posts 21 to a serialisation: 42 or the status of the failure.
async fn double(page: &WebDriver, serialisation: &str) -> Value {
    let call = format!("wire.call({}, 'POST', 21)", json!(serialisation));
    let told = eval(page, &call).await.unwrap();
    if told["type"] == "failure" {
        return told["data"]["status"].clone();
    }
    let text = told["data"].as_str().unwrap();
    serde_json::from_str::<Value>(text).unwrap()["value"].clone()
}

/// Opens another window and stays in it.
async fn tab(page: &WebDriver) -> WindowHandle {
    let tab = page.new_tab().await.unwrap();
    page.switch_to_window(tab.clone()).await.unwrap();
    tab
}

#[test]
fn the_frame_is_served_with_exactly_these_headers() {
    let gateway = Gateway::spawn();
    let reply = curl(&gateway.url("/belay/frame.html")).send();
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    // Rule: belay 22.3 — the policy of the frame: nothing but its own script and style, its gateway, and whoever embeds it
    let socket = gateway.url("").replace("http", "ws");
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {socket}; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors *"
    );
    assert_eq!(reply.header("content-security-policy"), Some(&*policy));
    // Rule: belay 22.3 — Referrer-Policy, CORP and COEP, so that isolated pages may embed it; no X-Frame-Options
    for (name, value) in [
        ("referrer-policy", Some("no-referrer")),
        ("cross-origin-resource-policy", Some("cross-origin")),
        ("cross-origin-embedder-policy", Some("require-corp")),
        ("x-content-type-options", Some("nosniff")),
        ("x-frame-options", None),
        ("set-cookie", None),
        // Rule: belay 22.2 — the frame is static, cacheable for minutes, its script external
        ("cache-control", Some("public, max-age=300")),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    assert!(reply.body.contains(r#"<script src="frame.js" defer></script>"#), "{}", reply.body);
    // Rule: belay 22.3 — Permissions-Policy denies everything
    let features = reply.header("permissions-policy").unwrap();
    assert!(features.split(", ").all(|feature| feature.ends_with("=()")), "{features}");
    for feature in ["camera", "geolocation", "microphone", "payment", "storage-access", "usb"] {
        assert!(features.contains(&format!("{feature}=()")), "{feature}");
    }
    for (path, kind) in [
        ("/belay/frame.js", "text/javascript; charset=utf-8"),
        ("/belay/frame.css", "text/css; charset=utf-8"),
    ] {
        let part = curl(&gateway.url(path)).send();
        assert_eq!((part.status, part.header("content-type")), (200, Some(kind)));
    }
    // Rule: belay 22.3 — frame-ancestors may be a configured list
    let listed = Gateway::builder()
        .set("belay.frame.ancestors", "[\"https://app.example\", \"https://*.shop.example\"]")
        .start();
    let reply = curl(&listed.url("/belay/frame.html")).send();
    let policy = reply.header("content-security-policy").unwrap();
    let end = "frame-ancestors https://app.example https://*.shop.example";
    assert!(policy.ends_with(end), "{policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_hello_and_gets_its_outpost() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    // Rule: belay 11.4 — the outpost of a fresh page
    let outpost = pages.open(&page, "app").await;
    let mut members: Vec<&str> = outpost.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    let expected = [
        "activateLocalPage",
        "becomeInstance",
        "expectPage",
        "instanceId",
        "routeOrigin",
        "routeWithHash",
        "services",
        "temporaryInstance",
    ];
    assert_eq!((members.as_slice(), &outpost["temporaryInstance"]), (&expected[..], &json!(true)));
    let services: Vec<&str> =
        outpost["services"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(services, ["disarm", "highlightByRC", "offer", "take", "unhighlight"]);
    let id = outpost["instanceId"].as_str().unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'4', "{id}");

    // Rule: belay 22.2 — init answers a hello, to the origin that said it, with two ports, once
    assert_eq!(eval(&page, "wire.init").await.unwrap(), json!({"belay": "init", "v": 1}));
    eval(&page, "wire.hello()").await.unwrap();
    // Rule: belay 9 — an unknown op and what is no object are ignored, a ping is answered
    eval(&page, "[wire.send({ op: 'dance' }), wire.send('invoke'), wire.send(null)].length")
        .await
        .unwrap();
    // Rule: belay 9 — an invocation for an instance that nobody has fails 404
    // Rule: belay 10.2 — an instance that is unroutable in all tiers is 404 at once
    let nobody =
        "urn:x-cap:3c89bdda-ff70-4389-8870-2630e768c25d:d859f7a0-4008-4c35-a99a-b7a23a5fc35d";
    assert_eq!(double(&page, nobody).await, 404);
    // Rule: belay 10.1 — a serialisation that does not decode is 400 at once
    let told = eval(&page, "wire.call('urn-x-cap:66c6:0664', 'GET')").await.unwrap();
    assert_eq!(told["data"], json!({"status": 400, "message": "Unparsable capability"}));
    assert_eq!(eval(&page, "wire.inits").await.unwrap(), json!(1), "a second hello has no answer");
    // Rule: belay 8 — what a page grants comes back to it through its own frame
    let own = doubler(&page, "undefined").await;
    assert_eq!(double(&page, &own).await, 42);
    assert_eq!(eval(&page, "wire.served").await.unwrap()[0]["ser"], own);
    page.quit().await.unwrap();
}
