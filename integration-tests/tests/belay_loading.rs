//! The ways in which a page loads the library of Belay, in a real browser (Belay §11.1, §22.1, §22.6).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use axum::{Router, response::Html, routing::get};
use buswire_integration_tests::{Gateway, Website, chromium, curl, eval, named, value_when};
use serde_json::{Value, json};
use thirtyfour::WebDriver;

/// A site with one page for each of these pairs of a path and what is in the page.
async fn site<const N: usize>(pages: [(&'static str, String); N]) -> Website {
    let router = pages.into_iter().fold(Router::new(), |router, (path, body)| {
        let head = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>A page</title>";
        let page = Html(format!("{head}<body>{body}</body></html>"));
        router.route(path, get(async move || page))
    });
    Website::start(router).await
}

/// The attributes with which a browser runs a file of the gateway in this version alone.
fn pinned(gateway: &Gateway, file: &str) -> String {
    let reply = curl(&gateway.url(&format!("/belay/{file}"))).send();
    let integrity = reply.header("etag").unwrap().trim_matches('"');
    format!("integrity=\"{integrity}\" crossorigin=\"anonymous\"")
}

/// Waits until the page has started, as an instance that answers itself.
async fn started(page: &WebDriver) -> Value {
    value_when(page, "typeof belay", |kind| kind == "object").await;
    let start = "belay.start().then((started) => Object.assign(window, started)) \
                 .then(() => capServer.grant((n) => 2 * n).post(21))";
    eval(page, start).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_script_as_a_module_and_later() {
    let gateway = Gateway::spawn();
    let belay = named("gw", &gateway.url("/belay"));
    let (script, module) = (pinned(&gateway, "client.js"), pinned(&gateway, "client.mjs"));
    let stand_in = "<script>window.belay = { standIn: [] }; window.order = []; \
        belay.start = (...given) => { belay.standIn.push(['start', given]); }; \
        belay.start(() => order.push(1)); belay.start(() => order.push(2));</script>";
    let sites = site([
        ("/script", format!("<script src=\"{belay}/client.js\" {script}></script>")),
        (
            "/module",
            format!("<script type=\"module\" src=\"{belay}/client.mjs\" {module}></script>"),
        ),
        (
            "/imported",
            format!(
                "<script type=\"module\">import it, {{ start }} from \"{belay}/client.mjs\"; \
                 window.isSame = it === window.belay && start === it.start;</script>"
            ),
        ),
        ("/later", format!("{stand_in}<script async src=\"{belay}/client.js\"></script>")),
        (
            "/twice",
            format!(
                "<script src=\"{belay}/client.js\"></script><script>window.first = belay;</script>\
                 <script src=\"{belay}/client.js\"></script>\
                 <script type=\"module\" src=\"{belay}/client.mjs\"></script>"
            ),
        ),
        ("/altered", format!("<script src=\"{belay}/frame.js\" {script}></script>")),
    ])
    .await;
    let (_driver, page) = chromium().await;
    // Rule: belay 22.6 — the library is a classic script and a module, each with a hash that browsers check
    for path in ["/script", "/module", "/imported", "/later", "/twice"] {
        page.goto(named("app", &sites.url(path))).await.unwrap();
        assert_eq!(started(&page).await, 42, "{path}");
        // Rule: belay 22.6 — loaded twice, it is one library with one frame
        let frames = "document.querySelectorAll('iframe').length";
        assert_eq!(eval(&page, frames).await.unwrap(), 1, "{path}");
        let told = match path {
            "/imported" => eval(&page, "isSame").await.unwrap(),
            "/twice" => eval(&page, "first === belay").await.unwrap(),
            // Rule: belay 11.1 — calls that a stand-in kept run in their order
            "/later" => value_when(&page, "order", |order| order == &json!([1, 2])).await,
            _ => continue,
        };
        assert!(told == true || told.is_array(), "{path}: {told}");
    }
    page.goto(named("app", &sites.url("/altered"))).await.unwrap();
    assert_eq!(eval(&page, "typeof belay").await.unwrap(), "undefined");
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn and_comes_back_to_it() {
    let gateway = Gateway::spawn();
    let belay = named("gw", &gateway.url("/belay"));
    let script = format!("<script src=\"{belay}/client.js\"></script>");
    let sites = site([("/one", script.clone()), ("/two", script)]).await;
    let (_driver, page) = chromium().await;
    let first = page.window().await.unwrap();
    page.goto(named("app", &sites.url("/one"))).await.unwrap();
    started(&page).await;
    // Once this is answered the frame is known everywhere, and has nothing under way.
    let cap = "new Promise((resolve, reject) => belay.route(belay.newUUIDv4(), resolve, reject)) \
               .then((routed) => (window.cap = routed.grant((n) => 2 * n)).serialize())";
    let cap = eval(&page, cap).await.unwrap();
    page.goto(named("app", &sites.url("/two"))).await.unwrap();
    started(&page).await;
    page.back().await.unwrap();
    // Rule: belay 22.1 — a page that is come back to is the one that it was, and others reach it
    assert_eq!(eval(&page, "cap.post(21)").await.unwrap(), 42);
    let other = page.new_tab().await.unwrap();
    page.switch_to_window(other).await.unwrap();
    page.goto(named("app", &sites.url("/two"))).await.unwrap();
    started(&page).await;
    let call = format!("capServer.restore({cap}).post(21)");
    assert_eq!(eval(&page, &call).await.unwrap(), 42);
    // Rule: belay 12.5 — a page that is gone is reached by nobody
    page.switch_to_window(first).await.unwrap();
    page.close_window().await.unwrap();
    let other = page.windows().await.unwrap();
    page.switch_to_window(other.first().unwrap().clone()).await.unwrap();
    let status =
        format!("capServer.restore({cap}).post(21).then(() => 200, ({{ status }}) => status)");
    let gone = async { while eval(&page, &status).await.unwrap() != 404 {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.expect("it is gone");
    page.quit().await.unwrap();
}
