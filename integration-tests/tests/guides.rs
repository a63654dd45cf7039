//! The pages of `docs`, done as they stand: by a shell, by Python, Node and Rust programs, and by pages
//! in a browser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use axum::{Router, response::Html, routing::get};
use buswire_integration_tests::{
    Gateway, Guide, Running, Single, Site, Website, chromium, curl, text_when, value_when,
};
use serde_json::Value;
use thirtyfour::WebDriver;

/// The page in the only HTML block of a guide, in a browser. It is of another site than the gateway, and
/// has the `links` at the places of their names.
async fn shown(
    guide: &Guide,
    gateway: &Gateway,
    links: &[(&str, &str)],
) -> (WebDriver, Website, Running) {
    let block = guide.of("html").next().expect("a page").text;
    let html = block.replace("https://gw.example", &gateway.url(""));
    let html = links.iter().fold(html, |html, (name, link)| html.replace(name, link));
    let page = format!("<!doctype html><title>A page</title><body>{html}</body>");
    let site =
        Website::start(Router::new().route("/", get(async move || Html(page.clone())))).await;
    let (driver, browser) = chromium().await;
    browser.goto(site.other_url("/")).await.unwrap();
    (browser, site, driver)
}

#[test]
fn backplane_is_posted_and_read_by_curl_python_and_rust() {
    let guide = Guide::page("docs/backplane.md");
    guide.follow();
    guide.rust_is_of("crates/backplane/examples/backplane_client.rs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_hears_of_what_is_posted_to_its_visit() {
    let gateway = Gateway::spawn();
    let site = Site::create(&gateway, "gazette.example", &[]);
    let (page, _website, _driver) = shown(&Guide::page("docs/backplane.md"), &gateway, &[]).await;
    let channel = value_when(&page, "Backplane.getChannelName()", Value::is_string).await;
    site.post(&gateway, channel.as_str().unwrap(), "comment/posted", "1");
    let seen = "comment/posted from https://vendor.example/";
    text_when(&page, "#seen", |text| text == seen).await;
    page.quit().await.unwrap();
}

#[test]
fn simplepush_wakes_devices_of_every_language() {
    let guide = Guide::page("docs/simplepush.md");
    guide.follow();
    guide.rust_is_of("crates/simplepush/examples/simplepush_client.rs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_woken() {
    let gateway = Gateway::spawn();
    let (page, _website, _driver) = shown(&Guide::page("docs/simplepush.md"), &gateway, &[]).await;
    let endpoint = value_when(&page, "window.endpoint", Value::is_string).await;
    let put = curl(endpoint.as_str().unwrap()).method("PUT").args(&["--data", "version=7"]);
    assert_eq!(put.send().status, 200);
    text_when(&page, "#told", |text| text == "Fetch version 7.").await;
    page.quit().await.unwrap();
}

#[test]
fn majordomo_serves_and_asks_in_every_language() {
    let guide = Guide::page("docs/majordomo.md");
    guide.follow();
    guide.rust_is_of("crates/mdp/examples/echo.rs");
}

#[test]
fn links_are_used_narrowed_and_revoked_in_every_language() {
    // Rule: belay 16.2 — holders need nothing but HTTP: the guide's examples by curl, Python and Node
    let guide = Guide::page("docs/belay.md");
    guide.follow();
    guide.rust_is_of("crates/belay/examples/belay_server.rs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_reads_grants_and_publishes() {
    // Rule: belay 12.1 — the guide's example of a page
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "example.com"]);
    let target = r#"{"bus":"example.com","channel":"orders"}"#;
    let [read, publish] = ["bus.read", "bus.publish"].map(|kind| {
        let granted = gateway.admin(&["cap", "grant", kind, "--target", target]);
        serde_json::from_str::<Value>(&granted).unwrap()["cap"].as_str().unwrap().to_owned()
    });
    let links = [("PUBLISH-LINK", &*publish), ("READ-LINK", &*read)];
    let (page, _website, _driver) = shown(&Guide::page("docs/belay.md"), &gateway, &links).await;
    text_when(&page, "body", |text| text == "0 orders").await;

    let scope = "bus:example.com";
    let tail = ["message", "tail", "--scope", scope, "--count", "1"];
    let message: Value = serde_json::from_str(&gateway.admin(&tail)).unwrap();
    let sink = format!("cap:{}", message["payload"]["cap"].as_str().unwrap());
    gateway.admin(&["route", "create", "r", "--scope", scope, "--sink", &sink]);
    let publish = ["message", "publish", "--bus", "example.com", "--channel", "orders"];
    let order = ["--type", "order/new", "--payload", r#"{"item":"a hat"}"#];
    gateway.admin(&[&publish[..], &order].concat());
    text_when(&page, "body", |text| text == "0 orders, now a hat").await;
    page.quit().await.unwrap();
}

/// The stories of the cookbook.
fn stories() -> Vec<Guide> {
    Guide::page("docs/cookbook.md").sections()
}

/// Tells those stories of the cookbook that are a shell's alone, every second of them from this one on.
fn tell(first: usize) {
    let stories = stories();
    assert_eq!(stories.len(), 12);
    for story in stories.iter().skip(first).step_by(2) {
        if story.of("html").next().is_none() {
            story.follow_with(match story.title() {
                "7. More workers, and one less" => Gateway::single(Single::Broker),
                "12. Who used which link" => Gateway::single(Single::Counts),
                _ => Gateway::builder(),
            });
        }
    }
}

#[test]
fn the_cookbooks_odd_stories_happen() {
    tell(0);
}

#[test]
fn the_cookbooks_even_stories_happen() {
    tell(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookbooks_window_shows_orders() {
    let story = stories().into_iter().find(|story| story.of("html").next().is_some()).unwrap();
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "kitchen.example"]);
    let target = r#"{"bus":"kitchen.example","channel":"screens"}"#;
    let granted = gateway.admin(&["cap", "grant", "bus.publish", "--target", target]);
    let granted: Value = serde_json::from_str(&granted).unwrap();
    let links = [("SCREEN-LINK", granted["cap"].as_str().unwrap())];
    let (page, _website, _driver) = shown(&story, &gateway, &links).await;
    tokio::task::block_in_place(|| story.follow_beside(&gateway));
    text_when(&page, "#orders", |text| text == "soup").await;
    page.quit().await.unwrap();
}

#[test]
fn an_operator_backs_up_restores_upgrades_and_checks() {
    let operating = Guide::page("docs/operating.md").sections();
    let section = |title: &str| {
        let found = operating.iter().find(|section| section.title() == title);
        found.unwrap_or_else(|| panic!("no section {title}"))
    };
    section("Upgrade").follow();
    section("Security checklist").follow();
    let gateway = Gateway::single(Single::OwnStore).start();
    gateway.admin(&["bus", "create", "shop.example"]);
    let publish = ["message", "publish", "--bus", "shop.example", "--channel", "orders"];
    gateway.admin(&[&publish[..], &["--type", "t", "--payload", r#"{"n":1}"#]].concat());
    section("Backup and restore").follow_beside(&gateway);
}

#[test]
fn what_is_measured_is_in_the_operators_list() {
    let gateway = Gateway::spawn();
    let metrics = gateway.metrics();
    let page = Guide::page("docs/operating.md");
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let missing: Vec<&str> = names
        .filter(|name| {
            let parts = ["_bucket", "_count", "_sum"];
            let name = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            !page.says(&format!("| `{name}` |"))
        })
        .collect();
    assert!(metrics.lines().count() > 50 && missing.is_empty(), "{missing:?}");
}

#[test]
fn the_first_help_in_trouble_works() {
    Guide::page("docs/troubleshooting.md").follow();
}

#[test]
fn the_examples_of_crates_print_what_their_readmes_show() {
    let crates = ["crates/message", "crates/store", "crates/bus", "crates/bridge", "gateway"];
    for readme in crates.map(|folder| format!("{folder}/README.md")) {
        Guide::page(&readme).follow();
    }
}
