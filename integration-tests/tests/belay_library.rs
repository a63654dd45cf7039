//! The browser library of Belay with the frame of the gateway, in a real browser (Belay §§8, 11–13, 22).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use axum::{Router, response::Html, routing::get};
use buswire_integration_tests::{Gateway, Website, chromium, curl, eval, named, value_when};
use serde_json::{Value, json};
use thirtyfour::{WebDriver, WindowHandle};

const PRE_IMAGE: &str = "eba68eea-75f2-4b05-b87a-08365cc58043";
const HASHED: &str = "66c6bd1f4cda24069debe0efa2193f64baeae867";
/// Grants in the page's own name, and keeps what the tests need.
const START: &str =
    "belay.start().then((started) => Object.assign(window, started).capServer.instanceId)";

/// A page that loads the library; `attributes` are of its script element.
fn page_of(gateway: &str, attributes: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>A page</title><body>\
         <script src=\"{gateway}/belay/client.js\" {attributes}></script></body></html>"
    ))
}

/// Sites that load the library from the gateway.
///
/// `/strict` allows the gateway and nothing else, `/blocked` not even its frame; `/absent` looks for the
/// frame where there is none.
async fn sites(gateway: &Gateway) -> Website {
    let tag = curl(&gateway.url("/belay/client.js")).send();
    let integrity = tag.header("etag").unwrap().trim_matches('"').to_owned();
    let gateway = named("gw", &gateway.url(""));
    let policy = |frames: &str| {
        let scripts = format!("script-src {gateway}; require-trusted-types-for 'script'");
        [("content-security-policy", format!("default-src 'none'; {scripts}; frame-src {frames}"))]
    };
    let sealed = format!("integrity=\"{integrity}\" crossorigin=\"anonymous\"");
    let strict = (policy(&gateway), page_of(&gateway, &sealed));
    let blocked = (policy("'none'"), page_of(&gateway, ""));
    let absent = page_of(&gateway, "data-belay-frame=\"/nothing\" data-belay-timeout=\"300\"");
    let plain = page_of(&gateway, "");
    let router = Router::new()
        .route("/strict", get(async move || strict))
        .route("/blocked", get(async move || blocked))
        .route("/absent", get(async move || absent))
        .fallback(get(async move || plain));
    Website::start(router).await
}

/// Opens a page of the site `name` and waits until it has started.
async fn open(page: &WebDriver, sites: &Website, name: &str) -> String {
    page.goto(named(name, &sites.url("/page"))).await.unwrap();
    eval(page, START).await.unwrap().as_str().unwrap().to_owned()
}

async fn new_tab(page: &WebDriver) -> WindowHandle {
    let tab = page.new_tab().await.unwrap();
    page.switch_to_window(tab.clone()).await.unwrap();
    tab
}

/// The serialisation of a capability that doubles numbers, granted by an expression.
async fn doubler(page: &WebDriver, server: &str) -> String {
    let grant = format!("{server}.grant((n) => 2 * n).serialize()");
    eval(page, &grant).await.unwrap().as_str().unwrap().to_owned()
}

/// 42, or the status of the failure.
async fn double(page: &WebDriver, serialisation: &str) -> Value {
    let call = format!("capServer.restore('{serialisation}').post(21)");
    eval(page, &call).await.unwrap_or_else(|error| error["status"].clone())
}

/// The start error of an expression, without its message.
async fn start_error(page: &WebDriver, expression: &str) -> Value {
    let mut error = eval(page, expression).await.unwrap_err();
    let message = error.as_object_mut().unwrap().remove("message").unwrap();
    assert!(!message.as_str().unwrap().is_empty());
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_lend_to_each_other() {
    let gateway = Gateway::spawn();
    let sites = sites(&gateway).await;
    let (_driver, page) = chromium().await;
    open(&page, &sites, "app").await;
    let cap = doubler(&page, "capServer").await;
    let lender = page.window().await.unwrap();
    new_tab(&page).await;
    // Rule: belay 8 — a page of the same site invokes what another window granted
    open(&page, &sites, "app").await;
    assert_eq!(double(&page, &cap).await, 42);
    // Rule: belay 8 — capabilities in arguments and results work for whoever decodes them
    let round = format!(
        "capServer.restore('{cap}').get().catch((error) => error.status).then(async (nan) => \
           [nan, await capServer.restore('{cap}').post(4), String(capServer.restore('{cap}'))])"
    );
    assert_eq!(eval(&page, &round).await.unwrap(), json!([500, 8, "[capability]"]));
    // Rule: belay 22.1 — a window of another site reaches it too
    open(&page, &sites, "shop").await;
    assert_eq!(double(&page, &cap).await, 42);
    // Rule: belay 6.9 — once revoked it is dead for all
    let borrower = page.window().await.unwrap();
    page.switch_to_window(lender).await.unwrap();
    eval(&page, &format!("capServer.revoke('{cap}')")).await.unwrap();
    page.switch_to_window(borrower).await.unwrap();
    assert_eq!(double(&page, &cap).await, 404);
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_routes_to_one_window_at_a_time() {
    let gateway = Gateway::spawn();
    let sites = sites(&gateway).await;
    let (_driver, page) = chromium().await;
    open(&page, &sites, "app").await;
    let route = format!(
        "new Promise((resolve, reject) => belay.route('{PRE_IMAGE}', resolve, reject)) \
         .then((server) => (window.routed = server).instanceId)"
    );
    // Rule: belay 12.5 — route gives the CapServer of the hashed id, which others reach
    assert_eq!(eval(&page, &route).await.unwrap(), HASHED);
    let named_cap =
        "routed.setNamedHandler('n', (n) => () => n), routed.grantNamed('n', 7).serialize()";
    let cap = eval(&page, named_cap).await.unwrap().as_str().unwrap().to_owned();
    let snapshot = eval(&page, "routed.serialize()").await.unwrap();
    let owner = page.window().await.unwrap();
    let other = new_tab(&page).await;
    open(&page, &sites, "app").await;
    let get = format!("capServer.restore('{cap}').get()");
    assert_eq!(eval(&page, &get).await.unwrap(), 7);
    // Rule: belay 12.4 — AlreadyRouted: the id is routed in another window
    let routed = json!({"type": "AlreadyRouted", "instanceId": HASHED, "status": 500});
    assert_eq!(start_error(&page, &route).await, routed);

    // Rule: belay 12.5 — after the page goes away another one takes the id, and grants by name go on
    page.switch_to_window(owner).await.unwrap();
    page.close_window().await.unwrap();
    page.switch_to_window(other).await.unwrap();
    assert_eq!(eval(&page, &route).await.unwrap(), HASHED);
    let launch = format!(
        "util.belay.selfLaunch({{ pageUrl: location.href, info: {{ key: '{PRE_IMAGE}', snapshot: {snapshot}, \
           short: 'x' }} }}).then(() => null)"
    );
    eval(&page, &launch).await.unwrap_or_default();
    // Rule: belay 13.5 — a page launches itself, with its info
    value_when(&page, "window.belay && belay.outpost && belay.outpost.info && true", |it| {
        it == &json!(true)
    })
    .await;
    let started = "belay.startForLaunch('key').then((started) => { Object.assign(window, started); \
                   capServer.setNamedHandler('n', (n) => () => -n); return capServer.instanceId; })";
    // Rule: belay 12.2 — startForLaunch routes the secret of the launch info, from its snapshot
    assert_eq!(eval(&page, started).await.unwrap(), HASHED);
    assert_eq!(eval(&page, "location.hash").await.unwrap(), "");
    new_tab(&page).await;
    open(&page, &sites, "shop").await;
    assert_eq!(eval(&page, &get).await.unwrap(), -7);
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_start_error() {
    let gateway = Gateway::spawn();
    let sites = sites(&gateway).await;
    let (_driver, page) = chromium().await;
    open(&page, &sites, "app").await;
    // Rule: belay 12.4 — NoLaunchInfo on a page that was not launched
    let error = start_error(&page, "belay.startForLaunch('k')").await;
    assert_eq!(error, json!({"type": "NoLaunchInfo", "key": "k", "status": 404}));
    // Rule: belay 12.6 — the page's own origin is routed, and once
    let own = "belay.startForOrigin(location.origin, location.href).then(({ capServer }) => capServer.instanceId)";
    let origin = eval(&page, "location.origin").await.unwrap();
    assert_eq!(eval(&page, own).await.unwrap(), origin);
    // Rule: belay 12.4 — OriginError for another origin
    let other =
        "belay.startForOrigin({ origin: 'https://x.example', pageUrl: 'https://x.example/p' })";
    let expected = json!({"type": "OriginError", "origin": "https://x.example", "pageUrl": "https://x.example/p",
        "status": 403});
    assert_eq!(start_error(&page, other).await, expected);
    new_tab(&page).await;
    open(&page, &sites, "app").await;
    let error = start_error(&page, own).await;
    assert_eq!(error, json!({"type": "AlreadyRouted", "instanceId": origin, "status": 500}));
    // Rule: belay 12.6 — another page of the origin: OriginError, and the window goes there
    let elsewhere = "belay.startForOrigin(location.origin, location.origin + '/elsewhere')";
    assert_eq!(start_error(&page, elsewhere).await["type"], "OriginError");
    value_when(&page, "location.pathname", |path| path == &json!("/elsewhere")).await;
    // Rule: belay 12.4 — NoSuchKey and BadSecret on a launched page
    eval(&page, START).await.unwrap();
    let launch =
        "util.belay.selfLaunch({ pageUrl: location.href, info: { short: 'x' } }).then(() => null)";
    eval(&page, launch).await.unwrap_or_default();
    value_when(&page, "window.belay && belay.outpost && belay.outpost.info && true", |it| {
        it == &json!(true)
    })
    .await;
    let error = start_error(&page, "belay.startForLaunch('k')").await;
    assert_eq!(error, json!({"type": "NoSuchKey", "key": "k", "status": 404}));
    let error = start_error(&page, "belay.startForLaunch('short')").await;
    assert_eq!(error, json!({"type": "BadSecret", "key": "short", "status": 400}));
    // Rule: belay 12.4 — CommunicationError without a frame, and at once where the policy blocks it
    for path in ["/absent", "/blocked"] {
        page.goto(named("app", &sites.url(path))).await.unwrap();
        let error = start_error(&page, "belay.start()").await;
        assert_eq!(error, json!({"type": "CommunicationError", "status": 504}), "{path}");
    }
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_page_starts() {
    let gateway = Gateway::spawn();
    let sites = sites(&gateway).await;
    let (_driver, page) = chromium().await;
    // Rule: belay 22.3 — a page that allows the gateway alone, with its hash and Trusted Types, has all of Belay
    page.goto(named("app", &sites.url("/strict"))).await.unwrap();
    eval(&page, START).await.unwrap();
    let cap = doubler(&page, "capServer").await;
    let strict = page.window().await.unwrap();
    new_tab(&page).await;
    open(&page, &sites, "app").await;
    assert_eq!(double(&page, &cap).await, 42);
    // Rule: belay 22.1 — a page that is come back to goes on where it was
    page.switch_to_window(strict.clone()).await.unwrap();
    page.goto(named("app", &sites.url("/blocked"))).await.unwrap();
    page.back().await.unwrap();
    assert_eq!(eval(&page, "window.capServer !== undefined").await.unwrap(), true);
    new_tab(&page).await;
    open(&page, &sites, "app").await;
    assert_eq!(double(&page, &cap).await, 42);
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_window_is_launched() {
    let gateway = Gateway::spawn();
    let sites = sites(&gateway).await;
    let (_driver, page) = chromium().await;
    open(&page, &sites, "app").await;
    let launcher = page.window().await.unwrap();
    // Rule: belay 13.4 — expectLaunch gives what the window brings, and ready its activate capability
    let expect = "util.belay.exepctLaunch({ ready: (activate) => { window.activate = activate; } }) \
                  .then(({ suffix }) => suffix)";
    let suffix = eval(&page, expect).await.unwrap();
    new_tab(&page).await;
    let loading = named("app", &sites.url("/loading"));
    page.goto(format!("{loading}{}", suffix.as_str().unwrap())).await.unwrap();
    let launched = page.window().await.unwrap();
    page.switch_to_window(launcher.clone()).await.unwrap();
    value_when(&page, "window.activate !== undefined", |it| it == &json!(true)).await;
    let instance = "0b9e3d3c-2a0f-4f7e-8a65-9c1d6f1f2e11";
    let shop = named("shop", &sites.url("/shop"));
    let activate = format!(
        "activate.post({{ instanceId: '{instance}', pageUrl: '{shop}', outpostData: {{ instanceId: '{instance}', \
           info: {{ lent: capServer.grant(() => 'lent') }} }} }}).then((closer) => {{ window.closer = closer; }})"
    );
    // Rule: belay 13.2 — the window becomes the instance, on a page of another site
    eval(&page, &activate).await.unwrap();
    page.switch_to_window(launched).await.unwrap();
    let read = "belay.start().then(async ({ capServer, launchInfo }) => \
                [capServer.instanceId, location.href, await launchInfo.lent.get()])";
    assert_eq!(eval(&page, read).await.unwrap(), json!([instance, shop, "lent"]));
    page.quit().await.unwrap();
}
