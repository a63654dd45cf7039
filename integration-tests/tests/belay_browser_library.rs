//! Popups, and routers of their own, of pages with the library of Belay in a real browser (Belay §13.4,
//! §22.5, §22.6).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{Gateway, WirePages, chromium, eval, value_when};
use serde_json::json;
use thirtyfour::{WebDriver, WindowHandle};

async fn tab(page: &WebDriver) -> WindowHandle {
    let tab = page.new_tab().await.unwrap();
    page.switch_to_window(tab.clone()).await.unwrap();
    tab
}

/// Opens a page with the library and waits until it has started: `capServer` and `util` are there.
async fn start(page: &WebDriver, url: &str) {
    page.goto(url).await.unwrap();
    started(page).await;
}

async fn started(page: &WebDriver) {
    let start = "belay.start((capServer, util, launchInfo) => \
                 Object.assign(window, { capServer, util, launchInfo })).then(() => null)";
    value_when(page, "typeof belay", |kind| kind == "object").await;
    eval(page, start).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_popup_is_expected_launched_and_closed() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    let first = page.window().await.unwrap();
    start(&page, &pages.url("app", "/library", "")).await;
    // Rule: belay 13.4 — expectLaunch gives a start id and the suffix to open; ready gets the activate capability
    // Rule: belay 22.5 — nothing depends on the opener: noopener works
    let loading = pages.url("app", "/library", "&loading");
    let open = format!(
        "util.launch.expectLaunch({{ ready: (activate) => {{ window.activate = activate; }} }}) \
         .then(({{ startId, suffix }}) => {{ open('{loading}' + suffix, '_blank', 'noopener'); \
           return [startId.length, suffix === '#belay-start=' + startId]; }})"
    );
    assert_eq!(eval(&page, &open).await.unwrap(), json!([43, true]));
    value_when(&page, "Boolean(window.activate)", |is_there| is_there == &json!(true)).await;
    let launched = pages.url("shop", "/library", "&launched");
    let activate = format!(
        "activate.post({{ instanceId: belay.newUUIDv4(), pageUrl: '{launched}', \
           outpostData: {{ info: {{ welcome: capServer.grant(() => 'in') }} }} }}) \
         .then((close) => {{ window.closePopup = close; return typeof close.post; }})"
    );
    assert_eq!(eval(&page, &activate).await.unwrap(), "function");
    let windows = page.windows().await.unwrap();
    let popup = windows.into_iter().find(|window| *window != first).unwrap();
    page.switch_to_window(popup).await.unwrap();
    value_when(&page, "location.href", |href| href == &json!(launched)).await;
    started(&page).await;
    // Rule: belay 22.1 — a capability in the start data works on another site
    assert_eq!(eval(&page, "launchInfo.welcome.get()").await.unwrap(), "in");
    page.switch_to_window(first).await.unwrap();
    eval(&page, "closePopup.post().then(() => null)").await.unwrap();
    let count = async {
        while page.windows().await.unwrap().len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    let closed = tokio::time::timeout(buswire_integration_tests::DEADLINE, count).await;
    closed.expect("the popup is closed");
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_have_a_router_of_its_own() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    start(&page, &pages.url("app", "/library", "")).await;
    // Rule: belay 22.6 — internals has CapRouter: addInterface, resolver, isRoutable, storeStart, retrieveStart, expireMessages, close
    let id = "926c0c63-b02a-40a9-a19f-edb19190c143";
    let one = format!(
        "(async () => {{ const server = new belay.CapServer('{id}'); \
           window.router = new belay.internals.CapRouter(); \
           const added = await router.addInterface('{id}', server.publicInterface); \
           return [added, server.grant((n) => 2 * n).serialize()]; }})()"
    );
    let told = eval(&page, &one).await.unwrap();
    assert_eq!(told[0], true);
    tab(&page).await;
    start(&page, &pages.url("app", "/library", "")).await;
    // Rule: belay 10.1 — an instance in another window of the medium is routable; one that nobody has is not
    let other = format!(
        "(async () => {{ const router = new belay.internals.CapRouter(); router.expireMessages(1); \
           const server = new belay.CapServer(); server.setResolver(router.resolver); \
           const told = [await router.isRoutable('{id}'), await router.isRoutable(belay.newUUIDv4()), \
             await server.restore({}).post(21), await router.retrieveStart('x')]; \
           router.close(); return told; }})()",
        told[1]
    );
    assert_eq!(eval(&page, &other).await.unwrap(), json!([true, false, 42, null]));
    page.quit().await.unwrap();
}
