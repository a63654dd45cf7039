//! The console in a real browser: a message that failed is found, understood and replayed there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{Gateway, Running, chromium, curl, screenshot, text_when, until};
use serde_json::json;
use thirtyfour::prelude::*;

struct Console {
    gateway: Gateway,
    page: WebDriver,
    _driver: Running,
}

impl Console {
    async fn open() -> Self {
        let gateway = Gateway::spawn();
        let (driver, page) = chromium().await;
        page.goto(&address(&gateway, "/console/")).await.unwrap();
        Self { gateway, page, _driver: driver }
    }

    async fn find(&self, css: &str) -> WebElement {
        self.page.query(By::Css(css)).first().await.unwrap()
    }

    async fn press(&self, text: &str) {
        let path = format!("//button[normalize-space()='{text}']");
        self.page.query(By::XPath(path)).first().await.unwrap().click().await.unwrap();
    }

    async fn sign_in(&self) {
        self.find("#token").await.send_keys(self.gateway.admin_token()).await.unwrap();
        self.press("Sign in").await;
        text_when(&self.page, "h1", |text| text == "Overview").await;
    }

    async fn show(&self, view: &str) {
        let script = format!("location.hash = '#/{view}'");
        self.page.execute(script, Vec::new()).await.unwrap();
    }

    async fn pictures(&self, name: &str) {
        for (width, scheme) in [(1120, "light"), (1120, "dark"), (390, "light")] {
            let metrics = json!({"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500});
            let cdp = self.page.cdp();
            cdp.send_raw("Emulation.setDeviceMetricsOverride", metrics).await.unwrap();
            let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            cdp.send_raw("Emulation.setEmulatedMedia", media).await.unwrap();
            screenshot(&self.page, &format!("console-{name}-{width}-{scheme}.png")).await;
            // Nothing is wider than the window.
            let overflow = "return document.documentElement.scrollWidth - innerWidth";
            let overflow = self.page.execute(overflow, Vec::new()).await.unwrap();
            assert!(overflow.json().as_i64().unwrap() <= 0, "{name} at {width} px");
        }
    }
}

fn address(gateway: &Gateway, path: &str) -> String {
    format!("http://{}{path}", gateway.bound().admin)
}

fn publish(gateway: &Gateway, payload: &str) -> String {
    let message = ["--bus", "from.example", "--channel", "c", "--type", "order/new"];
    gateway.admin(&[&["message", "publish", "--payload", payload], &message[..]].concat())
}

/// Buses and a route that leads to one that is not there any more.
fn broken_route(gateway: &Gateway) -> String {
    gateway.admin(&["bus", "create", "from.example"]);
    gateway.admin(&["bus", "create", "to.example"]);
    let route = ["route", "create", "copy", "--scope", "bus:from.example", "--sink"];
    let hard = ["bus:to.example", "--max-attempts", "2", "--first-delay", "1ms"];
    gateway.admin(&[&route[..], &hard].concat());
    gateway.admin(&["bus", "delete", "to.example"]);
    let id = publish(gateway, r#"{"item":"two tickets"}"#);
    until("the message is given up", || {
        gateway.admin(&["dead-letter", "list", "copy"]).contains(&id).then_some(())
    });
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_failed_is_found_understood_and_replayed() {
    let console = Console::open().await;
    let id = broken_route(&console.gateway);
    console.pictures("sign-in").await;
    console.sign_in().await;
    let trouble = text_when(&console.page, ".troubles", |text| !text.is_empty()).await;
    assert!(trouble.contains("Route copy has 1 dead letter"), "{trouble}");
    console.pictures("overview").await;

    console.find(".troubles a").await.click().await.unwrap();
    text_when(&console.page, "h1", |text| text == "Dead letters of copy").await;
    let why = text_when(&console.page, "tbody", |text| text.contains("order/new")).await;
    assert!(why.contains("there is no such bus"), "{why}");
    console.press("order/new").await;
    let shown = text_when(&console.page, ".timeline", |text| text.contains("copy")).await;
    assert!(shown.contains("dead letter"), "{shown}");
    console.pictures("dead-letter").await;

    console.gateway.admin(&["bus", "create", "to.example"]);
    console.press("Replay").await;
    text_when(&console.page, "[role=status]", |text| text == "1 delivered, 0 failed again.").await;
    let copies = ["message", "tail", "--scope", "bus:to.example", "--count", "1"];
    assert!(console.gateway.admin(&copies).contains("two tickets"));

    console.show(&format!("message/{id}")).await;
    let trace = text_when(&console.page, ".timeline", |text| text.contains("to.example")).await;
    assert!(trace.contains("admin"), "{trace}");
    console.pictures("message").await;
    console.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_in_live_and_every_view_shows() {
    let console = Console::open().await;
    let _ = broken_route(&console.gateway);
    console.gateway.admin(&[
        "cap",
        "grant",
        "bus.read",
        "--target",
        r#"{"bus":"from.example","channel":"c"}"#,
        "--label",
        "desk",
    ]);
    console.sign_in().await;
    console.show("messages").await;
    text_when(&console.page, "[role=status]", |text| text.starts_with("Following")).await;
    let before = console.page.find_all(By::Css("tbody tr")).await.unwrap().len();
    publish(&console.gateway, r#"{"item":"live"}"#);
    console.page.query(By::XPath(format!("//tbody/tr[{}]", before + 1))).first().await.unwrap();
    console.pictures("messages").await;

    console.show("routes").await;
    text_when(&console.page, "tbody", |text| text.contains("running")).await;
    console.press("Pause").await;
    text_when(&console.page, "tbody", |text| text.contains("paused")).await;
    console.pictures("routes").await;
    for (view, text) in [
        ("buses", "from.example"),
        ("push", "No user agent"),
        ("services", "bus.publish"),
        ("capabilities", "desk"),
    ] {
        console.show(view).await;
        text_when(&console.page, "main", |shown| shown.contains(text)).await;
        console.pictures(view).await;
    }
    console.press("Revoke").await;
    console.page.accept_alert().await.unwrap();
    text_when(&console.page, ".tree", |text| text.contains("revoked")).await;

    // The token is in memory only.
    console.page.refresh().await.unwrap();
    console.find("#token").await.send_keys("wrong").await.unwrap();
    console.press("Sign in").await;
    text_when(&console.page, ".wrong", |text| text == "This is not the admin token.").await;
    let kept = "return [localStorage.length, sessionStorage.length, document.cookie]";
    let kept = console.page.execute(kept, Vec::new()).await.unwrap();
    assert_eq!(kept.json(), &json!([0, 0, ""]));
    console.page.quit().await.unwrap();
}

#[test]
fn nothing_but_the_page_is_given_without_the_token() {
    let gateway = Gateway::spawn();
    let page = curl(&address(&gateway, "/console/")).send();
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.body.contains(&gateway.admin_token()));
    for path in ["overview", "messages?scope=bus:a", "messages/stream?scope=bus:a", "capabilities"]
    {
        let url = address(&gateway, &format!("/console/api/{path}"));
        for reply in [curl(&url).send(), curl(&url).header("authorization: Bearer wrong").send()] {
            assert_eq!(reply.status, 401, "{path}");
        }
    }
    let bearer = format!("authorization: Bearer {}", gateway.admin_token());
    let ask = |path: &str| {
        let url = address(&gateway, &format!("/console/api/{path}"));
        curl(&url).header(&bearer).send()
    };
    let overview = ask("overview");
    assert_eq!((overview.status, overview.header("cache-control")), (200, Some("no-store")));
    for (path, status) in [
        ("messages?scope=type:x", 400),
        ("messages?scope=bus:nowhere", 200),
        ("messages/xyz", 400),
        ("routes/none/dead-letters", 404),
        ("traces/2020-01-01T00:00:00.000Z-0000000000", 404),
        ("nothing", 404),
    ] {
        assert_eq!(ask(path).status, status, "{path}");
    }
    // The public listener knows no console.
    assert_eq!(curl(&gateway.url("/console/")).send().status, 404);
}
