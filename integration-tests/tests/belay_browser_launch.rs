//! Launching windows and the station in a real browser (Belay §13, §22.5), on pages that speak to the
//! frame in literal messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{
    Gateway, WirePages, chromium, curl, eval, leave, outpost, screenshot, tab, value_when,
};
use serde_json::{Value, json};
use thirtyfour::{By, WebDriver};

const INSTANCE: &str = "0b9e3d3c-2a0f-4f7e-8a65-9c1d6f1f2e11";
const OTHER: &str = "5f0c9b7e-4a1d-4c52-9e36-71b2d8a0c4f3";

/// What the frame asked of the page last.
const LAST_ACTION: &str = "wire.actions[wire.actions.length - 1]";

/// An activate record for a page of these sites.
fn record(pages: &WirePages, site: &str, instance: &str) -> Value {
    let info = json!({"account": site});
    json!({"instanceId": instance, "pageUrl": pages.url(site, "/launched", ""),
        "outpostData": {"info": info, "setRefresh": {"@": "urn:x-cap:x"}}})
}

/// Waits until the page has the outpost of this instance.
async fn launched(page: &WebDriver, instance: &str) -> Value {
    let ours = format!(
        "window.wire && wire.outpost && wire.outpost.instanceId === '{instance}' && wire.outpost"
    );
    value_when(page, &ours, Value::is_object).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_launches_itself_and_a_reload_launches_it_again() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    // The one who launches again: another window of the site.
    let launcher = page.window().await.unwrap();
    pages.open(&page, "app").await;
    let again = record(&pages, "app", INSTANCE);
    let relaunch = format!(
        "wire.grant(async (activate) => {{ wire.relaunches = (wire.relaunches || 0) + 1; \
           await wire.post(activate, Object.assign({again}, {{ outpostData: {{ info: 'again' }} }})); \
           return null; }})"
    );
    let relaunch = eval(&page, &relaunch).await.unwrap();
    tab(&page).await;
    pages.open(&page, "app").await;

    // Rule: belay 13.5 — activateLocalPage applies an activate record to the current window
    // Rule: belay 13.2 — bad records are refused, among them one that would run a script
    for bad in [
        json!({}),
        json!({"instanceId": INSTANCE, "pageUrl": "javascript:alert(1)", "outpostData": {}}),
    ] {
        let call = format!("wire.post(wire.outpost.activateLocalPage, {bad})");
        assert_eq!(eval(&page, &call).await.unwrap_err()["status"], 400);
    }
    let mut given = again.clone();
    given["relaunch"] = relaunch;
    let call = format!("wire.post(wire.outpost.activateLocalPage, {given})");
    leave(&page, &call).await;
    let outpost = launched(&page, INSTANCE).await;
    // Rule: belay 11.4 — a launched page has the record of its launcher, and what every page has; nothing of a fresh one
    assert_eq!(
        (&outpost["info"], &outpost["setRefresh"]),
        (&json!({"account": "app"}), &json!({"@": "urn:x-cap:x"}))
    );
    let members: Vec<&String> = outpost.as_object().unwrap().keys().collect();
    for (member, is_there) in [
        ("expectPage", true),
        ("activateLocalPage", true),
        ("routeWithHash", true),
        ("services", true),
        ("becomeInstance", false),
        ("temporaryInstance", false),
        ("setStationCallbacks", false),
        ("isRunning", false),
    ] {
        assert_eq!(members.iter().any(|name| *name == member), is_there, "{member}");
    }
    // Rule: belay 22.5 — the start id came behind #belay-start=, and works once
    let url = eval(&page, "location.href").await.unwrap();
    assert_eq!(url, pages.url("app", "/launched", ""));
    // Rule: belay 8 — the launched instance is reached by others under its id
    let cap = eval(&page, "wire.grant((n) => 2 * n)").await.unwrap();
    let window = page.window().await.unwrap();
    page.switch_to_window(launcher.clone()).await.unwrap();
    let call = format!("wire.post({cap}, 21)");
    assert_eq!(eval(&page, &call).await.unwrap(), 42);

    // Rule: belay 13.2 — a reload launches the page again, through the relaunch of its launcher
    page.switch_to_window(window.clone()).await.unwrap();
    page.refresh().await.unwrap();
    let again = "window.wire && wire.outpost && wire.outpost.info";
    value_when(&page, again, |info| info == &json!("again")).await;
    launched(&page, INSTANCE).await;
    page.switch_to_window(launcher).await.unwrap();
    assert_eq!(eval(&page, "wire.relaunches").await.unwrap(), 1);
    // Rule: belay 13.2 — relaunch is kept for one reload; without one it is a fresh page
    page.switch_to_window(window).await.unwrap();
    page.refresh().await.unwrap();
    let fresh = "window.wire && wire.outpost && wire.outpost.temporaryInstance";
    value_when(&page, fresh, |fresh| fresh == &json!(true)).await;
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_expected_is_launched_and_closed() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    let launcher = page.window().await.unwrap();
    pages.open(&page, "app").await;
    // Rule: belay 13.4 — expectPage gives the start id for a window that will load; ready gets its activate capability
    let expect = "wire.post(wire.outpost.expectPage, \
                  { ready: wire.grant((activate) => { wire.activate = activate; return null; }) })";
    let start_id = eval(&page, expect).await.unwrap();
    let start_id = start_id.as_str().unwrap();
    assert_eq!(start_id.len(), 43, "{start_id}");
    assert_eq!(
        eval(&page, "wire.post(wire.outpost.expectPage, {})").await.unwrap_err()["status"],
        400
    );
    tab(&page).await;
    let popup = page.window().await.unwrap();
    let loading = format!("{}#belay-start={start_id}", pages.url("app", "/loading", ""));
    page.goto(&loading).await.unwrap();
    page.switch_to_window(launcher.clone()).await.unwrap();
    value_when(&page, "wire.activate", Value::is_object).await;

    // Rule: belay 13.2 — the window goes to pageUrl, on another site too; the activator gets what closes it
    // Rule: belay 22.1 — start data are handed to another site's page through the gateway
    let activate = format!(
        "wire.post(wire.activate, {}).then((close) => {{ wire.close = close; return null; }})",
        record(&pages, "shop", OTHER)
    );
    eval(&page, &activate).await.unwrap();
    assert!(eval(&page, "wire.close").await.unwrap().is_object());
    page.switch_to_window(popup.clone()).await.unwrap();
    assert_eq!(launched(&page, OTHER).await["info"], json!({"account": "shop"}));
    page.switch_to_window(launcher).await.unwrap();
    eval(&page, "wire.post(wire.close).then(() => null)").await.unwrap();
    page.switch_to_window(popup.clone()).await.unwrap();
    // Rule: belay 11.3 — 'close' asks the page to close its window
    value_when(&page, "wire.actions", |actions| {
        actions.as_array().unwrap().contains(&json!("close"))
    })
    .await;

    // Rule: belay 22.5 — the second take is nothing: the page is a fresh one
    page.goto("about:blank").await.unwrap();
    page.goto(&loading).await.unwrap();
    assert_eq!(outpost(&page).await["temporaryInstance"], true);
    // Rule: belay 22.5 — a record that names an origin is not given to pages of another
    let body = json!({"value": {"record": {"setupLaunch": record(&pages, "app", INSTANCE)},
        "origin": "https://app.example"}});
    let stored = curl(&gateway.url("/belay/start")).json(&body.to_string()).send();
    let start_id = stored.json()["value"]["startId"].as_str().unwrap().to_owned();
    page.goto("about:blank").await.unwrap();
    page.goto(format!("{}#belay-start={start_id}", pages.url("evil", "/", ""))).await.unwrap();
    assert_eq!(outpost(&page).await["temporaryInstance"], true);
    page.quit().await.unwrap();
}

/// Opens a page of the site `station` that is launched as a station.
async fn station(page: &WebDriver, pages: &WirePages) {
    pages.open(page, "station").await;
    let mut given = record(pages, "station", INSTANCE);
    given["isStation"] = json!(true);
    let call = format!("wire.post(wire.outpost.activateLocalPage, {given})");
    leave(page, &call).await;
    launched(page, INSTANCE).await;
}

/// Has it register; `wire.registered` becomes what came of it.
async fn register(page: &WebDriver) {
    let register = "{ wire.news = []; \
        const newInstHandler = wire.grant((given) => { wire.news.push(given); return null; }); \
        const doLaunch = wire.grant((activate) => { wire.chosen = activate; return null; }); \
        const getSuggestions = wire.grant((origin) => { wire.asked = origin; \
            return [{ name: 'Ann at work', doLaunch }, { name: 'Ann at home', doLaunch }]; }); \
        wire.post(wire.outpost.setStationCallbacks, { newInstHandler, getSuggestions }, 'PUT').then( \
            () => { wire.registered = 'yes'; }, (error) => { wire.registered = error.status; }); }";
    page.execute(register, Vec::new()).await.unwrap();
}

/// Whether the button of the frame's bar can be pressed, as soon as it is so.
async fn enabled(page: &WebDriver, css: &str, is_enabled: bool) {
    let state =
        format!("document.querySelector('{css}') && !document.querySelector('{css}').disabled");
    value_when(page, &state, |now| now == &json!(is_enabled)).await;
}

async fn press(page: &WebDriver, css: &str) {
    page.enter_frame(0).await.unwrap();
    enabled(page, css, true).await;
    page.find(By::Css(css)).await.unwrap().click().await.unwrap();
    page.enter_default_frame().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_is_who_the_person_allows() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    station(&page, &pages).await;
    let running = format!("wire.post(wire.outpost.isRunning, '{INSTANCE}')");
    // Rule: belay 13.6 — isRunning is for stations alone: to be launched as one is not enough
    assert_eq!(eval(&page, &running).await.unwrap_err()["status"], 403);
    register(&page).await;
    // Rule: belay 11.3 — showButterBar and hideButterBar slide the frame
    value_when(&page, LAST_ACTION, |action| action == "showButterBar").await;
    page.enter_frame(0).await.unwrap();
    // Rule: belay 13.6 — the bar names the station's origin
    let site = page.find(By::Id("site")).await.unwrap().text().await.unwrap();
    page.enter_default_frame().await.unwrap();
    assert_eq!(site, eval(&page, "location.origin").await.unwrap());
    // Rule: belay 22.2 — consent buttons can be pressed 500 ms after they are visible, and only while they are
    let cover = "const cover = document.createElement('div'); cover.id = 'cover'; \
                 cover.style = 'position:fixed; inset:0; background:white'; document.body.append(cover);";
    page.execute(cover, Vec::new()).await.unwrap();
    page.enter_frame(0).await.unwrap();
    enabled(&page, "#allow", false).await;
    page.enter_default_frame().await.unwrap();
    page.execute("document.getElementById('cover').remove()", Vec::new()).await.unwrap();
    page.enter_frame(0).await.unwrap();
    enabled(&page, "#allow", true).await;
    // Rule: belay 22.2 — a click that no person made does nothing
    page.execute("document.getElementById('allow').click()", Vec::new()).await.unwrap();
    page.enter_default_frame().await.unwrap();
    assert_eq!(eval(&page, "wire.registered || 'not yet'").await.unwrap(), "not yet");
    screenshot(&page, "belay-consent.png").await;
    press(&page, "#refuse").await;
    value_when(&page, "wire.registered", |told| told == &json!(403)).await;
    value_when(&page, LAST_ACTION, |action| action == "hideButterBar").await;

    register(&page).await;
    press(&page, "#allow").await;
    value_when(&page, "wire.registered", |told| told == "yes").await;
    // Rule: belay 13.6 — isRunning: whether the router can route an instance
    assert_eq!(eval(&page, &running).await.unwrap(), true);
    let other = running.replace(INSTANCE, OTHER);
    assert_eq!(eval(&page, &other).await.unwrap(), false);
    let station = page.window().await.unwrap();
    tab(&page).await;
    let elsewhere = pages.open(&page, "app").await["instanceId"].clone();
    page.switch_to_window(station).await.unwrap();
    let other = format!("wire.post(wire.outpost.isRunning, {elsewhere})");
    // A window of another site, as soon as this one has heard of it.
    value_when(&page, &other, |is_running| is_running == &json!(true)).await;
    // Rule: belay 13.6 — consent is remembered per origin
    register(&page).await;
    value_when(&page, "wire.registered", |told| told == "yes").await;
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_station_suggests_and_takes_up_instances() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    station(&page, &pages).await;
    register(&page).await;
    press(&page, "#allow").await;
    value_when(&page, "wire.registered", |told| told == "yes").await;
    let window = page.window().await.unwrap();

    // Rule: belay 13.6 — a page of the site is offered the station's suggestions, one button each
    tab(&page).await;
    pages.open(&page, "station").await;
    value_when(&page, LAST_ACTION, |action| action == "showButterBar").await;
    page.enter_frame(0).await.unwrap();
    enabled(&page, "#list button", true).await;
    let names =
        "[...document.querySelectorAll('#list button')].map((button) => button.textContent)";
    let names = value_when(&page, names, Value::is_array).await;
    assert_eq!(names, json!(["Ann at work", "Ann at home"]));
    page.enter_default_frame().await.unwrap();
    screenshot(&page, "belay-suggestions.png").await;
    press(&page, "#list button").await;
    let fresh = page.window().await.unwrap();
    page.switch_to_window(window.clone()).await.unwrap();
    value_when(&page, "wire.chosen", Value::is_object).await;
    assert_eq!(
        eval(&page, "wire.asked").await.unwrap(),
        eval(&page, "location.origin").await.unwrap()
    );
    let launch =
        format!("wire.post(wire.chosen, {}).then(() => null)", record(&pages, "station", OTHER));
    eval(&page, &launch).await.unwrap();
    page.switch_to_window(fresh).await.unwrap();
    launched(&page, OTHER).await;

    // Rule: belay 13.3 — becomeInstance hands the description and an activate capability to the station
    pages.open(&page, "station").await;
    let description = json!({"launch": "https://app.example/cap/7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936",
        "name": "Ann", "icon": "data:,"});
    let become_it =
        format!("wire.post(wire.outpost.becomeInstance, {description}).then(() => null)");
    eval(&page, &become_it).await.unwrap();
    page.switch_to_window(window).await.unwrap();
    let news = eval(&page, "wire.news[0]").await.unwrap();
    let launch = json!({"@": description["launch"]});
    assert_eq!(
        news["instanceDescription"],
        json!({"launch": launch, "name": "Ann", "icon": "data:,"})
    );
    assert!(news["activate"]["@"].is_string());
    page.quit().await.unwrap();
}

/// The current window is as narrow as a phone's, and dark.
async fn dark_phone(page: &WebDriver) {
    page.set_window_rect(0, 0, 390, 700).await.unwrap();
    let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    page.cdp().send_raw("Emulation.setEmulatedMedia", scheme).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bar_fits_in_the_dark_and_on_a_phone() {
    let gateway = Gateway::spawn();
    let pages = WirePages::start(&gateway).await;
    let (_driver, page) = chromium().await;
    dark_phone(&page).await;
    station(&page, &pages).await;
    register(&page).await;
    page.enter_frame(0).await.unwrap();
    enabled(&page, "#allow", true).await;
    let fits = "document.documentElement.scrollWidth <= innerWidth && \
                [...document.querySelectorAll('#consent button')].every((button) => \
                    button.getBoundingClientRect().right <= innerWidth)";
    value_when(&page, fits, |fits| fits == &json!(true)).await;
    page.enter_default_frame().await.unwrap();
    screenshot(&page, "belay-consent-dark-390.png").await;
    press(&page, "#allow").await;
    value_when(&page, "wire.registered", |told| told == "yes").await;
    tab(&page).await;
    dark_phone(&page).await;
    pages.open(&page, "station").await;
    page.enter_frame(0).await.unwrap();
    enabled(&page, "#list button", true).await;
    page.enter_default_frame().await.unwrap();
    screenshot(&page, "belay-suggestions-dark-390.png").await;
    page.quit().await.unwrap();
}
