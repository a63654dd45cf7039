//! The station page and the exchange of capabilities between windows, in a real browser (Belay §13, §14).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{
    Gateway, Running, Shop, chromium, curl, drag, eval, look, press, screenshot, text_when,
    value_when,
};
use serde_json::{Value, json};
use thirtyfour::{By, Key, WebDriver, WindowHandle};

/// A gateway with a station, a shop, and a browser.
struct World {
    gateway: Gateway,
    shop: Shop,
    page: WebDriver,
    station: String,
    _driver: Running,
}

impl World {
    async fn start() -> Self {
        let gateway = Gateway::spawn();
        let shop = Shop::start(&gateway).await;
        let target = r#"{"directory":"ann"}"#;
        let granted = gateway.admin(&["cap", "grant", "station", "--target", target]);
        let granted: Value = serde_json::from_str(&granted).unwrap();
        let (_, id) = granted["cap"].as_str().unwrap().rsplit_once('/').unwrap();
        let station = gateway.url(&format!("/belay/station#{id}"));
        let (driver, page) = chromium().await;
        Self { gateway, shop, page, station, _driver: driver }
    }

    /// Opens the station and has the frame accept it as this browser's; the window it is in.
    async fn open_station(&self) -> WindowHandle {
        self.page.goto(&self.station).await.unwrap();
        text_when(&self.page, "#message-title", |text| text == "No memberships yet").await;
        self.page.clone().enter_frame(0).await.unwrap();
        press(&self.page, "Allow").await;
        self.page.enter_default_frame().await.unwrap();
        self.page.window().await.unwrap()
    }

    /// Opens a page of the shop in another window.
    async fn open_shop(&self, name: &str) -> WindowHandle {
        let window = self.page.new_window().await.unwrap();
        self.page.switch_to_window(window.clone()).await.unwrap();
        self.page.goto(self.shop.url(name, "/")).await.unwrap();
        self.told("nobody yet").await;
        window
    }

    /// Waits until the page of the shop says something.
    async fn told(&self, text: &str) {
        text_when(&self.page, "#told", |all| all.lines().any(|line| line == text)).await;
    }

    async fn go(&self, window: &WindowHandle) {
        self.page.switch_to_window(window.clone()).await.unwrap();
    }

    /// Goes to the window that was opened besides `known`.
    async fn go_to_new(&self, known: &[&WindowHandle]) -> WindowHandle {
        let look = async {
            loop {
                let all = self.page.windows().await.unwrap();
                if let Some(new) = all.into_iter().find(|window| !known.contains(&window)) {
                    self.go(&new).await;
                    return new;
                }
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(buswire_integration_tests::DEADLINE, look).await;
        in_time.expect("a window opens")
    }

    async fn windows(&self, count: usize) {
        let look = async {
            while self.page.windows().await.unwrap().len() != count {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(buswire_integration_tests::DEADLINE, look).await;
        in_time.unwrap_or_else(|_| panic!("{count} windows"));
    }

    /// Adds the membership of the shop by its link.
    async fn paste(&self) {
        let link = self.page.find(By::Id("link")).await.unwrap();
        link.send_keys(self.shop.url("shop", "/cap/launch")).await.unwrap();
        press(&self.page, "Add").await;
        text_when(&self.page, "#notice", |text| text.ends_with("was added.")).await;
    }
}

/// Presses Enter at an element, as somebody without a pointer does.
async fn enter(page: &WebDriver, id: &str) {
    let focus = format!("document.getElementById('{id}').focus()");
    page.execute(&focus, Vec::new()).await.unwrap();
    page.active_element().await.unwrap().send_keys(Key::Enter).await.unwrap();
}

fn has(text: &'static str) -> impl Fn(&str) -> bool {
    move |all| all.contains(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_keeps_opens_and_ends_memberships() {
    let world = World::start().await;
    let page = &world.page;
    let station = world.open_station().await;
    // Rule: belay 21.7 — the secret of a station's link leaves the address bar
    assert_eq!(page.current_url().await.unwrap().fragment(), None);
    // Rule: belay 18 D17 — a bare launch capability is a membership, without a description
    world.paste().await;
    text_when(page, ".membership", has("shop.localhost")).await;

    // Rule: belay 13.1 — a launch capability is asked with GET for page and info; the info is the page's launchInfo
    // Rule: belay 13.4 — a window is opened with a start id and handed to who expects it
    // Rule: belay 13.7 — a membership is activated from its row, in a page of another site
    press(page, "Open").await;
    world.go_to_new(&[&station]).await;
    world.told("hello ann").await;
    // Rule: belay 19 row 11 — neither start id nor launch data are in the address, the name or the storage of the page
    // Rule: belay 19 row 16 — start-up and launch work in present browsers
    let address = page.current_url().await.unwrap();
    assert_eq!((address.path(), address.fragment()), ("/app", None));
    let traces = "[window.name, localStorage.length, sessionStorage.length]";
    assert_eq!(value_when(page, traces, Value::is_array).await, json!(["", 0, 0]));
    // Rule: belay 13.6 — a launched page has no hold of the window that launched it
    assert_eq!(value_when(page, "window.opener", |_| true).await, Value::Null);
    // Rule: belay 13.2 — a launched page that is loaded again is launched again
    page.refresh().await.unwrap();
    world.told("hello ann").await;

    page.close_window().await.unwrap();
    world.go(&station).await;
    // Rule: belay 13.2 — whoever activates a window gets what closes it
    press(page, "Open").await;
    world.go_to_new(&[&station]).await;
    world.told("hello ann").await;
    world.go(&station).await;
    text_when(page, ".membership", has("open in a window")).await;
    press(page, "Close").await;
    world.windows(1).await;

    // Loaded again, the station still knows itself.
    page.refresh().await.unwrap();
    text_when(page, ".membership", has("opened")).await;
    press(page, "Edit").await;
    let name = page.find(By::Id("name")).await.unwrap();
    name.clear().await.unwrap();
    name.send_keys("Corner shop").await.unwrap();
    page.find(By::Id("section")).await.unwrap().send_keys("Errands").await.unwrap();
    press(page, "Save").await;
    text_when(page, "#sections h2", has("Errands")).await;
    text_when(page, ".membership h3", has("Corner shop")).await;
    press(page, "Edit").await;
    press(page, "Remove").await;
    text_when(page, "#message-title", has("No memberships yet")).await;
    press(page, "Undo").await;
    text_when(page, "#sections h2", has("Errands")).await;
    assert!(!world.gateway.log().contains("panicked"));
    page.clone().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_offer_themselves_to_the_station() {
    let world = World::start().await;
    let page = &world.page;
    let station = world.open_station().await;
    // Rule: belay 13.3 — a page becomes an instance: the station keeps it and launches it into the same window
    let shop = world.open_shop("").await;
    // Rule: belay 19 row 12 — a page that is no station has no way to register as one
    let privileges = "[util.setStationCallbacks, util.isRunning].filter(Boolean).length";
    assert_eq!(value_when(page, privileges, Value::is_number).await, json!(0));
    page.find(By::Id("become")).await.unwrap().click().await.unwrap();
    world.told("hello ann").await;
    world.go(&station).await;
    text_when(page, ".membership", has("Corner shop")).await;
    text_when(page, ".membership", has("open in a window")).await;

    // Rule: belay 13.6 — a page of the same origin is offered the memberships that do not run
    world.go(&shop).await;
    page.close_window().await.unwrap();
    world.go(&station).await;
    text_when(page, ".membership .row", has("Open")).await;
    world.open_shop("").await;
    page.clone().enter_frame(0).await.unwrap();
    press(page, "Corner shop").await;
    page.enter_default_frame().await.unwrap();
    world.told("hello ann").await;

    // Rule: belay 13.6 — without a station becomeInstance fails 404; what is launched can't become anything
    let refused =
        eval(page, "util.station.becomeInstance({ launch: 'http://x/', name: 'x' })").await;
    assert_eq!(refused.unwrap_err()["status"], 405);
    world.open_shop("elsewhere").await;
    page.find(By::Id("become")).await.unwrap().click().await.unwrap();
    world.told("404 no station").await;

    // Rule: belay 14.1 — for belay/generate the acceptor gets {launch, name, icon} from the generator
    let shop = world.open_shop("shop").await;
    drag(page, (&shop, "#chit"), (&station, "#zone")).await;
    world.go(&station).await;
    text_when(page, "#sections", |text| text.matches("Corner shop").count() == 2).await;
    text_when(page, "#sections", has("open in a window")).await;
    let sections = page.find(By::Id("sections")).await.unwrap().text().await.unwrap();
    assert!(!sections.contains("Close"), "only what was opened from here: {sections}");

    // Rule: belay 14.2 — by keyboard alone: Enter arms an offer, and Enter at an acceptor takes it
    world.open_shop("").await;
    enter(page, "chit").await;
    world.go(&station).await;
    let possible = "document.getElementById('zone').className.includes('belay-possible')";
    value_when(page, possible, |it| *it == json!(true)).await;
    enter(page, "zone").await;
    text_when(page, "#sections", |text| text.matches("Corner shop").count() == 3).await;
    for (width, scheme) in [(1120, "light"), (1120, "dark"), (390, "light"), (390, "dark")] {
        look(page, width, scheme).await;
        screenshot(page, &format!("station-{width}-{scheme}.png")).await;
        let overflow = "document.documentElement.scrollWidth > innerWidth";
        assert_eq!(value_when(page, overflow, Value::is_boolean).await, json!(false));
    }
    press(page, "Edit").await;
    screenshot(page, "station-edit.png").await;
    page.clone().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sites_offer_is_shown_and_not_trusted() {
    let world = World::start().await;
    let page = &world.page;
    let station = world.open_station().await;
    world.open_shop("").await;
    // Rule: belay 14.2 — what comes from another page is data: no markup, nothing loaded from elsewhere
    let hostile = "util.station.becomeInstance({ launch: `${location.origin}/cap/none`, \
         name: '<img src=x onerror=alert(1)>\\u0007'.padEnd(400, 'x'), icon: `${location.origin}/icon.png` })";
    let refused = eval(page, hostile).await.unwrap_err();
    assert_eq!(refused["status"], 404, "there is nothing to launch: {refused}");
    world.go(&station).await;
    let shown = text_when(page, ".membership h3", has("<img")).await;
    assert_eq!(shown.chars().count(), 60, "{shown}");
    assert_eq!(value_when(page, "document.images.length", Value::is_number).await, json!(0));
    // A membership that the site has ended says so, and its window closes.
    press(page, "Open").await;
    text_when(page, "#notice", has("not there any more")).await;
    world.windows(2).await;
    press(page, "Edit").await;
    press(page, "Remove").await;
    text_when(page, "#message-title", has("No memberships yet")).await;

    // Rule: belay 6.9 — whoever issued a membership can give the right to end it along with it
    world.gateway.admin(&["bus", "create", "b"]);
    let granted = world.gateway.admin(&["cap", "grant", "bus.read", "--target", r#"{"bus":"b"}"#]);
    let granted: Value = serde_json::from_str(&granted).unwrap();
    let add = json!({"value": {"add": {"launch": {"@": granted["cap"]},
        "control": {"@": granted["control"]}, "name": "Aunt Agatha"}}});
    let (_, id) = world.station.split_once('#').unwrap();
    let added = curl(&world.gateway.url(&format!("/cap/{id}"))).json(&add.to_string()).send();
    assert_eq!(added.status, 200);
    page.refresh().await.unwrap();
    text_when(page, ".membership h3", has("Aunt Agatha")).await;
    press(page, "Edit").await;
    press(page, "End it at the site").await;
    text_when(page, "#notice", has("Aunt Agatha was ended.")).await;
    assert_eq!(curl(granted["cap"].as_str().unwrap()).send().status, 404);

    // Rule: belay 21.7 — a dead station tells no more than any dead link
    let dead = world.gateway.url("/belay/station#AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    page.goto("about:blank").await.unwrap();
    page.goto(&dead).await.unwrap();
    text_when(page, "#message-title", has("does nothing")).await;
    page.clone().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_pass_between_windows_by_click_and_by_drag() {
    let world = World::start().await;
    let page = &world.page;
    let giver = world.open_shop("shop").await;
    let taker = world.open_shop("shop").await;
    // Rule: belay 14 — an offer and an acceptor of one class exchange a capability, by click and by drag
    // Rule: belay 15 — the generator is asked for the resource class under which it was offered
    // Rule: belay 14.2 — activating an offer arms it; acceptors of its class in other windows show so
    world.go(&giver).await;
    page.find(By::Id("giver")).await.unwrap().click().await.unwrap();
    world.go(&taker).await;
    let possible = "document.getElementById('taker').className.includes('belay-possible')";
    value_when(page, possible, |it| *it == json!(true)).await;
    // Rule: belay 14.1 — the generator is asked once the person has completed the gesture, and gives what was made for it
    page.find(By::Id("taker")).await.unwrap().click().await.unwrap();
    world.told("Corner shop, a place for notes: thanks").await;
    world.go(&giver).await;
    world.told("asked for note/text").await;
    world.told("got a note").await;
    let asked = "document.querySelectorAll('#told li').length";
    assert_eq!(value_when(page, asked, Value::is_number).await, json!(3), "asked once");

    // Rule: belay 14.2 — a drag carries a generator to a page of any site
    let other = world.open_shop("elsewhere").await;
    drag(page, (&giver, "#giver"), (&other, "#taker")).await;
    world.go(&other).await;
    world.told("Corner shop, a place for notes: thanks").await;

    // Rule: belay 14.2 — what is dropped must be of the class that is accepted
    drag(page, (&giver, "#chit"), (&other, "#taker")).await;
    // Rule: belay 14.2 — Escape disarms
    world.go(&giver).await;
    let armed = page.find(By::Id("giver")).await.unwrap();
    armed.click().await.unwrap();
    value_when(page, "document.getElementById('giver').ariaPressed", |it| *it == json!("true"))
        .await;
    page.find(By::Css("body")).await.unwrap().send_keys(Key::Escape).await.unwrap();
    value_when(page, "document.getElementById('giver').ariaPressed", |it| *it == json!("false"))
        .await;
    world.go(&taker).await;
    value_when(page, possible, |it| *it == json!(false)).await;
    page.find(By::Id("taker")).await.unwrap().click().await.unwrap();
    world.go(&other).await;
    let lines = "[...document.querySelectorAll('#told li')].map((it) => it.textContent)";
    let expected = json!(["nobody yet", "Corner shop, a place for notes: thanks"]);
    assert_eq!(value_when(page, lines, Value::is_array).await, expected);
    page.clone().quit().await.unwrap();
}
