//! The router of the Belay frame in a real browser, on pages that speak to it in literal messages: frames
//! of a page, windows of a site, windows of different sites (Belay §8, §10, §12.5, §12.6, §22.1).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{
    DEADLINE, Gateway, WirePages,
    belay::{double, doubler, post, status},
    chromium, eval, outpost, tab, value_when,
};
use serde_json::json;

/// The worked pre-image of the seed, and its hash.
const PRE_IMAGE: &str = "eba68eea-75f2-4b05-b87a-08365cc58043";
const SHA1: &str = "66c6bd1f4cda24069debe0efa2193f64baeae867";

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_a_site_reach_each_other_in_the_browser() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    let first = page.window().await.unwrap();
    pages.open(&page, "app").await;
    let cap = doubler(&page, "undefined").await;
    let second = tab(&page).await;
    pages.open(&page, "app").await;
    // Rule: belay 10.2 — the partition tier: another window of the same site, by broadcast
    // Rule: belay 22.1 — two windows of one site reach each other
    assert_eq!(double(&page, &cap).await, 42);
    // Rule: belay 8 — the wire text arrives as it was sent, and who failed is told to the caller
    let (instance, _) = cap.rsplit_once(':').unwrap();
    let none = format!("{instance}:d859f7a0-4008-4c35-a99a-b7a23a5fc35d");
    assert_eq!(double(&page, &none).await, 404);

    // Rule: belay 12.5 — the frame hashes the pre-image, 40 hex digits for the library of today
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    // Rule: belay 12.5 — the same page may not route an id twice, nor may two windows
    let taken = json!({"status": 500, "message": format!("route: {SHA1} already has a route.")});
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap_err(), taken);
    // Rule: belay 12.5 — no instance id without its pre-image
    for bad in [json!(SHA1), json!("EBA68EEA-75F2-4B05-B87A-08365CC58043"), json!(5), json!(null)] {
        assert_eq!(status(&page, "routeWithHash", &bad).await, 400, "{bad}");
    }
    let routed = doubler(&page, &format!("'{SHA1}'")).await;
    page.switch_to_window(first.clone()).await.unwrap();
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap_err(), taken);
    assert_eq!(double(&page, &routed).await, 42);

    // Rule: belay 12.5 — after the page has gone the id is free, and another page can take it
    page.switch_to_window(second).await.unwrap();
    page.close_window().await.unwrap();
    page.switch_to_window(first.clone()).await.unwrap();
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    // Rule: belay 22.1 — a reload in the same window takes it again
    page.refresh().await.unwrap();
    outpost(&page).await;
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    // Rule: belay 11.3 — highlight and unhighlight reach the pages of all windows of the partition
    let classes = json!({"className": "belay-cap-target", "rc": "note"});
    let watch = tab(&page).await;
    pages.open(&page, "app").await;
    page.switch_to_window(first.clone()).await.unwrap();
    let show =
        format!("wire.post(wire.outpost.services.highlightByRC, {classes}).then(() => null)");
    eval(&page, &show).await.unwrap();
    eval(&page, "wire.post(wire.outpost.services.unhighlight).then(() => null)").await.unwrap();
    let highlight = json!({"op": "highlight", "args": classes});
    for window in [watch, first] {
        page.switch_to_window(window).await.unwrap();
        let both = json!([highlight, "unhighlight"]);
        value_when(&page, "wire.actions.slice(-2)", |actions| actions == &both).await;
    }
    // Rule: belay 9 — bye closes the tunnel, and what the page had is free
    eval(&page, "wire.send({ op: 'bye' })").await.unwrap();
    tab(&page).await;
    pages.open(&page, "app").await;
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    // Rule: belay 22.1 — an id is free when the frame is taken out of its page
    eval(&page, "wire.remove()").await.unwrap();
    tab(&page).await;
    pages.open(&page, "app").await;
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_routes_its_own_origin_and_no_other() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    pages.open(&page, "app").await;
    let url = eval(&page, "location.href").await.unwrap();
    let origin = eval(&page, "location.origin").await.unwrap();
    // Rule: belay 12.6 — origin must be that of pageUrl, and the one that the browser says the page has
    for (origin, url) in [
        (json!("https://app.example"), json!("https://app.example/")),
        (origin.clone(), json!("https://app.example/")),
        (json!(format!("{}/", origin.as_str().unwrap())), url.clone()),
        (json!("null"), url.clone()),
        (json!(null), url.clone()),
    ] {
        let claimed = json!({"origin": origin, "pageUrl": url});
        assert_eq!(status(&page, "routeOrigin", &claimed).await, 403, "{claimed}");
    }
    let claimed = json!({"origin": origin, "pageUrl": url});
    assert_eq!(post(&page, "routeOrigin", &claimed).await.unwrap(), origin);
    let cap = doubler(&page, "location.origin").await;
    tab(&page).await;
    pages.open(&page, "app").await;
    assert_eq!(double(&page, &cap).await, 42);
    // Rule: belay 12.6 — one live owner per origin and partition
    assert_eq!(status(&page, "routeOrigin", &claimed).await, 500);
    // Rule: belay 22.4 — an origin is not routed over the relay: another site does not reach it
    tab(&page).await;
    pages.open(&page, "shop").await;
    assert_eq!(double(&page, &cap).await, 404);
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_frames_of_a_page_reach_each_other() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    page.goto(pages.url("app", "/", "&embed=no")).await.unwrap();
    for name in ["shop", "bank"] {
        let embed = format!(
            "const frame = document.createElement('iframe'); frame.src = '{}'; \
             document.body.append(frame);",
            pages.url(name, "/", "")
        );
        page.execute(&embed, Vec::new()).await.unwrap();
    }
    // Rule: belay 22.1 — two iframes in one page, even of different sites, are in one partition
    page.enter_frame(0).await.unwrap();
    outpost(&page).await;
    let cap = doubler(&page, "undefined").await;
    page.enter_default_frame().await.unwrap();
    page.enter_frame(1).await.unwrap();
    outpost(&page).await;
    assert_eq!(double(&page, &cap).await, 42);
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_different_sites_reach_each_other_over_the_relay() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    let first = page.window().await.unwrap();
    pages.open(&page, "app").await;
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    let temporary = doubler(&page, "undefined").await;
    let routed = doubler(&page, &format!("'{SHA1}'")).await;
    let second = tab(&page).await;
    pages.open(&page, "shop").await;
    // Rule: belay 10.2 — the relay tier: an instance of another site
    // Rule: belay 22.1 — windows of different sites need the relay
    assert_eq!(double(&page, &temporary).await, 42);
    assert_eq!(double(&page, &routed).await, 42);
    // Rule: belay 8 — a capability in the arguments is a text, which whoever gets it can use
    let back = eval(&page, "wire.grant((n) => n + 1)").await.unwrap();
    page.switch_to_window(first.clone()).await.unwrap();
    let caller = eval(&page, "wire.grant(async (cap) => wire.post(cap, 1))").await.unwrap();
    page.switch_to_window(second.clone()).await.unwrap();
    assert_eq!(eval(&page, &format!("wire.post({caller}, {back})")).await.unwrap(), 2);

    // Rule: belay 22.4 — a second registration of a live id is refused: AlreadyRouted
    let taken = post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap_err();
    assert_eq!(
        taken,
        json!({"status": 500, "message": format!("route: {SHA1} already has a route.")})
    );
    // Rule: belay 22.4 — when its owner has gone, whoever knows the pre-image may claim it
    page.switch_to_window(first).await.unwrap();
    page.close_window().await.unwrap();
    page.switch_to_window(second).await.unwrap();
    assert_eq!(double(&page, &routed).await, 404);
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    assert_eq!(double(&page, &temporary).await, 404);
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_relay_sites_are_apart() {
    let gateway = Gateway::builder().set("belay.relay.enabled", "false").start();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    pages.open(&page, "app").await;
    let cap = doubler(&page, "undefined").await;
    tab(&page).await;
    pages.open(&page, "app").await;
    assert_eq!(double(&page, &cap).await, 42);
    // Rule: belay 22.1 — storage is partitioned by site: no broadcast gets from one to another
    pages.open(&page, "shop").await;
    assert_eq!(double(&page, &cap).await, 404);
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_come_back_to_has_its_routes() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    let window = page.window().await.unwrap();
    pages.open(&page, "app").await;
    assert_eq!(post(&page, "routeWithHash", &json!(PRE_IMAGE)).await.unwrap(), SHA1);
    let cap = doubler(&page, &format!("'{SHA1}'")).await;
    eval(&page, "wire.marker = 'kept'").await.unwrap();
    page.goto(pages.url("app", "/elsewhere", "&embed=no")).await.unwrap();
    let other = tab(&page).await;
    pages.open(&page, "shop").await;
    // Rule: belay 22.1 — a page that may be come back to holds no id meanwhile
    assert_eq!(double(&page, &cap).await, 404);
    page.switch_to_window(window).await.unwrap();
    page.back().await.unwrap();
    // Rule: belay 22.1 — the frame holds no lock and no socket that would keep its page out of the back/forward cache
    assert_eq!(
        eval(
            &page,
            "wire.marker || performance.getEntriesByType('navigation')[0].notRestoredReasons"
        )
        .await
        .unwrap(),
        "kept"
    );
    page.switch_to_window(other).await.unwrap();
    let call = format!("wire.call({}, 'POST', 21).then(({{ type }}) => type)", json!(cap));
    let reached = async {
        while eval(&page, &call).await.unwrap() != "success" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.expect("it is routed again");
    page.quit().await.unwrap();
}
