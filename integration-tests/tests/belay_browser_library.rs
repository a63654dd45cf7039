//! The library of Belay in a real browser, with the frame and the relay of a gateway (Belay §5, §12, §13,
//! §22).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{Gateway, WirePages, chromium, eval, leave, tab, value_when};
use serde_json::{Value, json};
use thirtyfour::WebDriver;

const PRE_IMAGE: &str = "eba68eea-75f2-4b05-b87a-08365cc58043";
const SHA1: &str = "66c6bd1f4cda24069debe0efa2193f64baeae867";

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

/// What a promise gives, or the member `type` of what it fails with.
async fn kind(page: &WebDriver, expression: &str) -> Value {
    match eval(page, expression).await {
        Ok(value) => value,
        Err(error) => error["type"].clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hand_capabilities_to_each_other() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    let first = page.window().await.unwrap();
    start(&page, &pages.url("app", "/library", "")).await;
    // Rule: belay 12.1 — start gives the page's own CapServer, the same each time, under a fresh UUID
    let same = "belay.start().then(({ capServer: again, launchInfo }) => \
                [again === capServer, capServer.instanceId === belay.outpost.instanceId, launchInfo])";
    assert_eq!(eval(&page, same).await.unwrap(), json!([true, true, null]));
    let granted = "(window.shelf = { items: [] }, capServer.grant({ get: () => shelf.items, \
                   put: (item) => { shelf.items.push(item); }, post: (n) => 2 * n, \
                   remove: () => { shelf.items = []; } }).serialize())";
    let serialisation = eval(&page, granted).await.unwrap();
    for (site, tier) in [("app", "partition"), ("shop", "relay")] {
        tab(&page).await;
        start(&page, &pages.url(site, "/library", "")).await;
        // Rule: belay 5.2 — get, put, post and remove of a capability in another window
        // Rule: belay 8 — an invocation travels from page to frame, over the tiers, to the other page
        let used = format!(
            "(async (cap) => {{ await cap.put({{ from: '{tier}' }}); const got = await cap.get(); \
               const twice = await cap.post(21); await cap.remove(); \
               return [got, twice, await cap.get()]; }})(capServer.restore({serialisation}))"
        );
        assert_eq!(eval(&page, &used).await.unwrap(), json!([[{"from": tier}], 42, []]), "{tier}");
    }
    // Rule: belay 6.9 — what was revoked is 404 in every window
    let window = page.window().await.unwrap();
    page.switch_to_window(first).await.unwrap();
    eval(&page, &format!("capServer.revoke({serialisation})")).await.unwrap();
    page.switch_to_window(window).await.unwrap();
    let dead = format!("capServer.restore({serialisation}).get()");
    assert_eq!(
        eval(&page, &dead).await.unwrap_err(),
        json!({"status": 404, "message": "not found"})
    );
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_a_route_that_outlives_its_page() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    start(&page, &pages.url("app", "/library", "")).await;
    // Rule: belay 12.5 — route gives a CapServer at once, under the SHA-1 of the secret, and success once it is registered
    let route = format!(
        "new Promise((resolve, reject) => {{ window.routed = belay.route('{PRE_IMAGE}', resolve, reject); \
         routed.setNamedHandler('greet', (name) => () => `hello ${{name}}`); }}) \
         .then((capServer) => [capServer === routed, routed.instanceId])"
    );
    assert_eq!(eval(&page, &route).await.unwrap(), json!([true, SHA1]));
    let granted = "[routed.grantNamed('greet', 'Ann').serialize(), routed.serialize()]";
    let told = eval(&page, granted).await.unwrap();
    let (cap, snapshot) = (&told[0], &told[1]);
    assert!(cap.as_str().unwrap().starts_with(&format!("urn:x-cap:{SHA1}:")), "{cap}");
    let other = tab(&page).await;
    start(&page, &pages.url("shop", "/library", "")).await;
    let get = format!("capServer.restore({cap}).get()");
    assert_eq!(eval(&page, &get).await.unwrap(), "hello Ann");
    // Rule: belay 12.4 — AlreadyRouted, with the members of the original
    let again =
        format!("new Promise((resolve, reject) => belay.route('{PRE_IMAGE}', resolve, reject))");
    assert_eq!(
        eval(&page, &again).await.unwrap_err(),
        json!({"type": "AlreadyRouted", "instanceId": SHA1, "status": 500,
            "message": format!("route: {SHA1} already has a route.")})
    );
    // Rule: belay 12.5 — the page has gone: another with the secret takes the id, with the CapServer of the snapshot
    // Rule: belay 6.11 — a launched page gets the CapServer of launchInfo.snapshot, and capabilities granted by name work on
    let windows = page.windows().await.unwrap();
    let first = windows.into_iter().find(|window| *window != other).unwrap();
    page.switch_to_window(first).await.unwrap();
    let launched = pages.url("app", "/library", "&launched");
    let launch = format!(
        "util.belay.selfLaunch({{ pageUrl: '{launched}', \
           info: {{ secret: '{PRE_IMAGE}', snapshot: {snapshot} }} }})"
    );
    leave(&page, &launch).await;
    value_when(&page, "location.href", |href| href == &json!(launched)).await;
    started(&page).await;
    let revive = "belay.startForLaunch('secret').then(({ capServer }) => \
                  capServer.setNamedHandler('greet', (name) => () => `welcome back ${name}`))";
    eval(&page, revive).await.unwrap();
    page.switch_to_window(other).await.unwrap();
    assert_eq!(eval(&page, &get).await.unwrap(), "welcome back Ann");
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_starts_for_its_origin_and_for_no_other() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    let url = pages.url("app", "/library", "");
    start(&page, &url).await;
    // Rule: belay 12.3 — startForOrigin in both shapes of its arguments
    let by_name = "belay.startForOrigin({ origin: location.origin, pageUrl: location.href }) \
                   .then(({ capServer }) => capServer.instanceId === location.origin)";
    assert_eq!(eval(&page, by_name).await.unwrap(), true);
    // Rule: belay 12.4 — OriginError with the claimed values
    let claims = "belay.startForOrigin('https://other.example', 'https://other.example/x')";
    let error = eval(&page, claims).await.unwrap_err();
    assert_eq!(
        (&error["type"], &error["status"], &error["origin"], &error["pageUrl"]),
        (
            &json!("OriginError"),
            &json!(403),
            &json!("https://other.example"),
            &json!("https://other.example/x")
        )
    );
    // Rule: belay 12.6 — a page of the origin at another address goes there
    let elsewhere = pages.url("app", "/library", "&elsewhere");
    let claims = format!("belay.startForOrigin(location.origin, '{elsewhere}')");
    leave(&page, &claims).await;
    value_when(&page, "location.href", |href| href == &json!(elsewhere)).await;
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launched_page_starts_by_the_keys_of_its_info() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    let url = pages.url("app", "/library", "");
    start(&page, &url).await;
    // Rule: belay 12.4 — NoLaunchInfo on a page that was not launched
    assert_eq!(kind(&page, "belay.startForLaunch('secret')").await, "NoLaunchInfo");
    // Rule: belay 13.5 — selfLaunch turns this window into an instance of its own
    let info = json!({"secret": PRE_IMAGE, "spoilt": "eba68eea"});
    let launched = pages.url("app", "/library", "&launched");
    let launch = format!("util.belay.selfLaunch({{ pageUrl: '{launched}', info: {info} }})");
    leave(&page, &launch).await;
    // Rule: belay 22.5 — the library takes the start id out of the address first of all
    value_when(&page, "location.href", |href| href == &json!(launched)).await;
    started(&page).await;
    assert_eq!(eval(&page, "launchInfo").await.unwrap(), info);
    // Rule: belay 12.2 — startForLaunch routes the secret under its key
    let secret = "belay.startForLaunch('secret').then(({ capServer, launchInfo }) => \
                  [capServer.instanceId, launchInfo.secret])";
    assert_eq!(eval(&page, secret).await.unwrap(), json!([SHA1, PRE_IMAGE]));
    // Rule: belay 12.4 — NoSuchKey and BadSecret, with their key
    for (key, expected) in [("missing", "NoSuchKey"), ("spoilt", "BadSecret")] {
        let call = format!("belay.startForLaunch('{key}')");
        let error = eval(&page, &call).await.unwrap_err();
        assert_eq!((&error["type"], &error["key"]), (&json!(expected), &json!(key)));
    }
    page.quit().await.unwrap();
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
async fn a_page_without_its_frame_is_told() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    // Rule: belay 12.4 — CommunicationError when the handshake is not complete in time, or the page's policy blocks the frame
    for path in ["/library-alone", "/library-blocked"] {
        page.goto(pages.url("app", path, "")).await.unwrap();
        assert_eq!(kind(&page, "belay.start()").await, "CommunicationError", "{path}");
        assert_eq!(kind(&page, "belay.startForLaunch('x')").await, "CommunicationError", "{path}");
    }
    // Rule: belay 22.3 — a host page with script-src and frame-src of the gateway and Trusted Types needs no more
    let url = pages.url("app", "/library-strict", "");
    start(&page, &url).await;
    assert_eq!(eval(&page, "violations").await.unwrap(), json!([]));
    let own = "capServer.grant((n) => n + 1).post(1)";
    assert_eq!(eval(&page, own).await.unwrap(), 2);
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
