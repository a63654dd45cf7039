//! `/belay/open` in a real browser: looking at a link takes no use of it (Belay §21.7).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{
    Gateway, Running, chromium, curl, look, press, screenshot, text_when, value_when,
};
use serde_json::Value;
use thirtyfour::{By, WebDriver};

struct World {
    gateway: Gateway,
    page: WebDriver,
    _driver: Running,
}

impl World {
    async fn start() -> Self {
        let gateway = Gateway::spawn();
        gateway.admin(&["bus", "create", "shop"]);
        gateway.admin(&[
            "message",
            "publish",
            "--bus",
            "shop",
            "--channel",
            "orders",
            "--type",
            "order/new",
            "--payload",
            r#"{"item":"two tickets","note":"<b>no markup</b>"}"#,
        ]);
        let (driver, page) = chromium().await;
        Self { gateway, page, _driver: driver }
    }

    fn grant(&self, kind: &str, target: &str, limits: &str, label: &str) -> Value {
        let granted = self.gateway.admin(&[
            "cap", "grant", kind, "--target", target, "--limits", limits, "--label", label,
        ]);
        serde_json::from_str(&granted).unwrap()
    }

    /// Opens the user form of a capability and waits until the page says what it is.
    async fn open(&self, cap: &Value, title: &str) {
        let (_, id) = cap.as_str().unwrap().rsplit_once('/').unwrap();
        self.page.goto(self.gateway.url(&format!("/belay/open#{id}"))).await.unwrap();
        text_when(&self.page, "#title", |text| text == title).await;
    }

    async fn text(&self, css: &str) -> String {
        self.page.find(By::Css(css)).await.unwrap().text().await.unwrap()
    }
}

const READ: &str = r#"{"bus":"shop","channel":"orders"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_one_use_link_is_used_when_a_person_says_so() {
    let world = World::start().await;
    let once =
        world.grant("bus.read", READ, r#"{"uses":1,"methods":["GET"]}"#, "The orders of today");
    // Rule: belay 21.7 — the skeleton page is not the resource: whoever GETs it consumes nothing
    assert_eq!(curl(&world.gateway.url("/belay/open")).send().status, 200);
    for _ in 0..2 {
        world.open(&once["cap"], "The orders of today").await;
        // Rule: belay 21.7 — the secret leaves the address bar before it is used
        let address = world.page.current_url().await.unwrap();
        assert_eq!((address.path(), address.fragment()), ("/belay/open", None));
        assert_eq!(value_when(&world.page, "history.length > 0", Value::is_boolean).await, true);
        assert_eq!(world.text("#warning").await, "It works once more. Opening it uses it up.");
        world.page.goto("about:blank").await.unwrap();
    }
    world.open(&once["cap"], "The orders of today").await;
    for (width, scheme) in [(1120, "light"), (390, "light"), (390, "dark")] {
        look(&world.page, width, scheme).await;
        screenshot(&world.page, &format!("open-{width}-{scheme}.png")).await;
        let overflow = "document.documentElement.scrollWidth > innerWidth";
        assert_eq!(value_when(&world.page, overflow, Value::is_boolean).await, false);
    }
    press(&world.page, "Open").await;
    let shown = text_when(&world.page, "#value", |text| text.contains("two tickets")).await;
    assert!(shown.contains("<b>no markup</b>"), "{shown}");
    text_when(&world.page, "#title", |text| text == "The link is used up").await;
    look(&world.page, 1120, "light").await;
    screenshot(&world.page, "open-read.png").await;
    world.open(&once["cap"], "This link does nothing").await;
    screenshot(&world.page, "open-dead.png").await;
    world.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_links_say_what_they_are_for() {
    let world = World::start().await;
    let post = world.grant("bus.publish", READ, "{}", "");
    world.open(&post["cap"], "Posts messages on a bus.").await;
    assert!(world.text("#about").await.contains("it is for programs"));
    assert!(world.text("#facts").await.contains("POST"));

    // Loaded again, the page has nothing: the secret was in memory alone.
    world.page.refresh().await.unwrap();
    text_when(&world.page, "#title", |text| text == "Nothing to open").await;

    // A link that is pasted into the same tab is opened too.
    let (_, control) = post["control"].as_str().unwrap().rsplit_once('/').unwrap();
    let paste = format!("location.hash = '{control}'");
    world.page.execute(&paste, Vec::new()).await.unwrap();
    text_when(&world.page, "#title", |text| text.starts_with("Controls another link")).await;
    press(&world.page, "Open").await;
    text_when(&world.page, "#value", |text| text.contains("live")).await;
    press(&world.page, "End the link").await;
    press(&world.page, "Really end it, for everybody").await;
    text_when(&world.page, "#title", |text| text == "Ended").await;
    world.open(&post["cap"], "This link does nothing").await;

    // Rule: belay 21.7 — an id that is none is answered as one that is dead
    for id in ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "short", "%3Cb%3E"] {
        let url = world.gateway.url(&format!("/belay/open#{id}"));
        world.page.goto("about:blank").await.unwrap();
        world.page.goto(&url).await.unwrap();
        text_when(&world.page, "#title", |text| text == "This link does nothing").await;
    }
    world.page.quit().await.unwrap();
}
