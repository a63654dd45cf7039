//! The Belay frame in a real browser, on pages that speak to it in literal messages: headers, handshake,
//! outpost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{
    Gateway, WirePages,
    belay::{double, doubler, post, status},
    chromium, curl, eval, outpost, value_when,
};
use serde_json::{Value, json};
use thirtyfour::WebDriver;

/// The worked pre-image of the seed, and both forms of its hash.
const PRE_IMAGE: &str = "eba68eea-75f2-4b05-b87a-08365cc58043";
const SHA1: &str = "66c6bd1f4cda24069debe0efa2193f64baeae867";
const SHA256: &str = "f3522d294a20493303bd4c2ceb28d6aa";

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

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_says_no_hello_is_an_original_one() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    page.goto(pages.url("app", "/", "&hello=late")).await.unwrap();
    // Rule: belay 11.1 — the original's sequence: init, location and start id on the action port, outpost
    // Rule: belay 22.2 — without a hello in 500 ms the original's init: no data, the two ports in their order
    let first = outpost(&page).await;
    assert_eq!(eval(&page, "[wire.init, wire.inits]").await.unwrap(), json!([null, 1]));
    // Rule: belay 12.5 — an original-style client gets an id of 32 hex digits
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA256);
    // Rule: belay 22.2 — its origin is not authenticated: origin routes and station calls are refused
    let origin = eval(&page, "location.origin").await.unwrap();
    let claimed = json!({"origin": origin, "pageUrl": origin});
    assert_eq!(status(&page, "routeOrigin", &claimed).await, 403);
    let launch = json!({"@": "https://app.example/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936"});
    let description = json!({"launch": launch, "name": "A", "icon": "data:,"});
    assert_eq!(status(&page, "becomeInstance", &description).await, 403);

    // Rule: belay 22.2 — a late hello is honoured: the ports of the fallback are dropped, a new init is sent
    eval(&page, "wire.hello()").await.unwrap();
    let fresh = format!("wire.outpost.instanceId !== {} && wire.inits", first["instanceId"]);
    value_when(&page, &fresh, |inits| inits == &json!(2)).await;
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_pages_without_an_origin_are_not_answered() {
    let gateway = Gateway::builder().set("belay.frame.original_clients", "false").start();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    page.goto(pages.url("app", "/", "&hello=late")).await.unwrap();
    value_when(&page, "wire.isLoaded", |loaded| loaded == &json!(true)).await;
    // A page of another site in a frame beside the Belay frame.
    let stranger = pages.url("evil", "/", "&embed=no");
    let embed = format!(
        "new Promise((resolve) => {{ const frame = document.createElement('iframe'); \
         frame.onload = resolve; frame.src = '{stranger}'; document.body.append(frame); }}) && null"
    );
    eval(&page, &embed).await.unwrap();
    value_when(&page, "frames.length", |frames| frames == &json!(2)).await;
    page.enter_frame(1).await.unwrap();
    // Rule: belay 22.2 — a hello from anybody but the page around the frame is ignored
    // Rule: belay 23.1 — a message from a stranger has no effect: who it comes from is the browser's word
    let forged = "new Promise((resolve) => { onmessage = ({ data }) => resolve(data); \
                  parent.frames[0].postMessage({ belay: 'hello', v: 1 }, '*'); \
                  parent.frames[0].postMessage({ belay: 'init', v: 1 }, '*'); \
                  setTimeout(() => resolve('silence'), 300); })";
    assert_eq!(eval(&page, forged).await.unwrap(), "silence");
    page.enter_default_frame().await.unwrap();
    assert_eq!(eval(&page, "wire.inits").await.unwrap(), 0);
    // Rule: belay 22.2 — another version, or another shape, is no hello
    for bad in ["{ belay: 'hello', v: 2 }", "{ belay: 'goodbye', v: 1 }", "'hello'", "null"] {
        eval(&page, &format!("wire.hello({bad})")).await.unwrap();
    }
    eval(&page, "wire.hello()").await.unwrap();
    outpost(&page).await;
    assert_eq!(eval(&page, "wire.inits").await.unwrap(), 1);

    // Rule: belay 22.2 — a page whose origin is null is refused unless the gateway is set otherwise
    let opaque = opaque_page(&page, &pages).await;
    assert_eq!(opaque, "silence");
    let open = Gateway::builder().set("belay.frame.opaque_origins", "true").start();
    let pages = WirePages::start(&open).await;
    assert_eq!(opaque_page(&page, &pages).await, "init");
    // Rule: belay 22.3 — such a page can use everything but routeOrigin and the station calls
    page.enter_frame(0).await.unwrap();
    outpost(&page).await;
    let own = doubler(&page, "undefined").await;
    assert_eq!(double(&page, &own).await, 42);
    let claimed = json!({"origin": "null", "pageUrl": "https://app.example/"});
    assert_eq!(status(&page, "routeOrigin", &claimed).await, 403);
    page.quit().await.unwrap();
}

/// What a page without an origin, the first frame of the current window, hears of the Belay frame.
async fn opaque_page(page: &WebDriver, pages: &WirePages) -> Value {
    page.goto(pages.url("app", "/", "&embed=no")).await.unwrap();
    let script = pages.url("app", "/wire.js", "");
    let html = format!(
        "<body><script>window.query = '?gateway={}';</script><script src='{script}'></script>",
        pages.gateway()
    );
    let embed = format!(
        "new Promise((resolve) => {{ const frame = document.createElement('iframe'); \
         frame.onload = resolve; frame.src = 'data:text/html,' + encodeURIComponent({}); \
         document.body.append(frame); }}).then(() => null)",
        json!(html)
    );
    eval(page, &embed).await.unwrap();
    page.enter_frame(0).await.unwrap();
    let heard = "new Promise((resolve) => { \
                   const look = () => (wire.inits ? resolve('init') : setTimeout(look, 20)); look(); \
                   setTimeout(() => resolve('silence'), 1000); })";
    let heard = eval(page, heard).await.unwrap();
    page.enter_default_frame().await.unwrap();
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_be_strict_and_isolated() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    // Rule: belay 22.3 — a host page needs frame-src of the gateway; neither inline styles nor scripts
    // Rule: belay 22.3 — a page that is isolated from other origins may embed the frame
    page.goto(pages.url("app", "/strict", "")).await.unwrap();
    outpost(&page).await;
    assert_eq!(eval(&page, "crossOriginIsolated").await.unwrap(), true);
    assert_eq!(eval(&page, "wire.violations").await.unwrap(), json!([]));
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_that_are_not_listed_can_not_embed_the_frame() {
    let gateway =
        Gateway::builder().set("belay.frame.ancestors", "[\"https://app.example\"]").start();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    // Rule: belay 22.3 — frame-ancestors keeps other sites from embedding the frame
    page.goto(pages.url("app", "/", "")).await.unwrap();
    value_when(&page, "wire.isLoaded", |loaded| loaded == &json!(true)).await;
    let heard = "new Promise((resolve) => setTimeout(() => resolve(wire.inits), 1000))";
    assert_eq!(eval(&page, heard).await.unwrap(), 0);
    page.quit().await.unwrap();
}
