//! A bus owner lets a client use buses, in a real browser: from the client's redirect to the exchanged
//! code (Backplane §11.1).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{Html, Redirect},
    routing::get,
};
use buswire_integration_tests::{
    DEADLINE, Gateway, Reply, Running, Website, chromium, curl, screenshot, text_when, value_when,
};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

/// Between two looks at a page.
const PAUSE: Duration = Duration::from_millis(20);

/// What the pages of the client have at hand.
type At = State<Arc<Gateway>>;

/// Whose client asks, of whose browser.
struct World {
    gateway: Arc<Gateway>,
    site: Website,
    page: WebDriver,
    _driver: Running,
}

impl World {
    /// The owner `gazette` of two buses, and the client `comments` that is a site with a button.
    async fn start() -> Self {
        let gateway = Arc::new(Gateway::spawn());
        let router = Router::new()
            .route("/", get(async || Html("<title>Comments</title><h1>Comments</h1>")))
            .route("/connect", get(async |State(gateway): At| connect(&gateway)))
            .route("/connected", get(async || Html("<title>Connected</title><h1>Back</h1>")))
            .route("/framing", get(async |State(gateway): At| framing(&gateway)))
            .with_state(Arc::clone(&gateway));
        let site = Website::start(router).await;
        provision(&gateway, "user", &json!({ "USER": "gazette", "PWDHASH": "paper-and-ink" }));
        for bus in ["gazette.example", "sports.gazette.example"] {
            let bus = json!({ "BUS_NAME": bus, "OWNER": "gazette", "RETENTION_TIME_SECONDS": 600,
                "RETENTION_STICKY_TIME_SECONDS": 28800 });
            provision(&gateway, "bus", &bus);
        }
        let client = json!({ "USER": "comments", "PWDHASH": "tangled-kelp-4",
            "SOURCE_URL": "https://comments.example/", "REDIRECT_URI": site.other_url("/connected") });
        provision(&gateway, "client", &client);
        let (driver, page) = chromium().await;
        Self { gateway, site, page, _driver: driver }
    }

    /// Begins at the client, which redirects to the gateway.
    async fn connect(&self) {
        self.page.goto(self.site.other_url("/connect")).await.unwrap();
    }

    async fn sign_in(&self, password: &str) {
        self.fill("busOwner", "gazette").await;
        self.fill("password", password).await;
        self.press("Sign in").await;
    }

    async fn fill(&self, name: &str, text: &str) {
        let field = self.page.find(By::Name(name)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    async fn press(&self, name: &str) {
        let button = By::XPath(format!("//button[normalize-space()='{name}']"));
        let button = self.page.query(button).wait(DEADLINE, PAUSE).and_clickable().first().await;
        button.unwrap().click().await.unwrap();
    }

    /// Waits for a page with this heading.
    async fn heading(&self, text: &str) {
        text_when(&self.page, "h1", |heading| heading == text).await;
    }

    /// The parameters that the client's redirect URI was called with.
    async fn answer(&self) -> HashMap<String, String> {
        let called = self.site.other_url("/connected?");
        let is_called = |url: &Value| url.as_str().is_some_and(|url| url.starts_with(&called));
        let url = value_when(&self.page, "location.href", is_called).await;
        let url = url::Url::parse(url.as_str().unwrap()).unwrap();
        url.query_pairs().into_owned().collect()
    }

    /// Exchanges a code as the client's back end does.
    fn exchange(&self, code: &str) -> Reply {
        curl(&self.gateway.url("/v2/token"))
            .args(&["--user", "comments:tangled-kelp-4"])
            .args(&["--data", "grant_type=authorization_code"])
            .args(&["--data", &format!("code={code}")])
            .args(&["--data-urlencode"])
            .args(&[&format!("redirect_uri={}", self.site.other_url("/connected"))])
            .send()
    }

    /// Pictures of the page for both colour schemes.
    async fn pictures(&self, name: &str) {
        for scheme in ["light", "dark"] {
            let features =
                json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
            let emulate = "Emulation.setEmulatedMedia";
            self.page.cdp().send_raw(emulate, features).await.unwrap();
            screenshot(&self.page, &format!("{name}-{scheme}.png")).await;
        }
    }
}

fn provision(gateway: &Gateway, entity: &str, config: &Value) {
    let body = json!({ "admin": "bpadmin", "secret": gateway.admin_token(), "configs": [config] });
    let url = gateway.url(&format!("/v2/provision/{entity}/update"));
    let reply = curl(&url).json(&body.to_string()).send();
    assert!(reply.body.contains("BACKPLANE_UPDATE_SUCCESS"), "{}", reply.body);
}

/// The client sends the browser to the gateway, with a state that it will recognise.
fn connect(gateway: &Gateway) -> Redirect {
    Redirect::to(&gateway.url("/v2/authorize?client_id=comments&response_type=code&state=xyz%201"))
}

/// A page that would have the decision made by clicks that are meant for something else.
fn framing(gateway: &Gateway) -> Html<String> {
    let target = gateway.url("/v2/authorize");
    Html(format!("<title>Game</title><h1>Game</h1><iframe src=\"{target}\"></iframe>"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_authorizes_a_client() {
    let world = World::start().await;
    // Rule: backplane §11.1 — in a browser: the client's redirect, sign-in, decision, exchanged code
    world.connect().await;
    world.heading("Sign in as a bus owner").await;
    world.pictures("sign-in").await;
    world.sign_in("paper-and-inc").await;
    text_when(&world.page, "[role=alert]", |text| text == "Access denied.").await;
    world.pictures("sign-in-denied").await;
    world.sign_in("paper-and-ink").await;
    world.heading("Let comments use your buses?").await;
    let buses = text_when(&world.page, "ul", |text| !text.is_empty()).await;
    assert_eq!(buses, "gazette.example\nsports.gazette.example");
    world.pictures("decision").await;
    // Nothing that a script of the page could read.
    let cookies = value_when(&world.page, "document.cookie", Value::is_string).await;
    assert_eq!(cookies, json!(""));
    world.press("Authorize").await;
    let answer = world.answer().await;
    assert_eq!((answer.len(), answer["state"].as_str()), (2, "xyz 1"));

    let exchanged = world.exchange(&answer["code"]);
    assert_eq!(exchanged.status, 200, "{}", exchanged.body);
    let scope = &exchanged.json()["scope"];
    assert_eq!(scope, &json!("bus:gazette.example bus:sports.gazette.example"));
    // Rule: backplane §17 row 13 — a code is good once
    let again = world.exchange(&answer["code"]);
    assert_eq!((again.status, &again.json()["error"]), (400, &json!("invalid_grant")));
    world.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_welcomes_people() {
    let world = World::start().await;
    // Rule: backplane §13.10 — the root is a page that says how to load the scripts
    world.page.goto(world.gateway.url("/")).await.unwrap();
    world.heading("This is a Backplane server").await;
    world.pictures("welcome").await;
    world.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_denies_and_signs_out() {
    let world = World::start().await;
    world.connect().await;
    world.sign_in("paper-and-ink").await;
    // Rule: backplane §11.1 — a denial redirects with access_denied and the state
    world.press("Deny").await;
    let answer = world.answer().await;
    assert_eq!((answer["error"].as_str(), answer["state"].as_str()), ("access_denied", "xyz 1"));

    // The sign-in lasts: the next request leads to the decision at once.
    world.connect().await;
    world.heading("Let comments use your buses?").await;
    // Rule: backplane §11.1 — a button signs out
    world.press("Sign out").await;
    world.heading("Sign in as a bus owner").await;
    world.connect().await;
    world.heading("Sign in as a bus owner").await;
    world.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_counts_once_and_only_as_it_was_asked() {
    let world = World::start().await;
    world.connect().await;
    world.sign_in("paper-and-ink").await;
    world.heading("Let comments use your buses?").await;
    // Rule: backplane §11.1 — a forged key is refused with a page, without a redirect
    let forge = "document.getElementsByName('auth_key')[0].value = 'x'.repeat(30)";
    world.page.execute(forge, Vec::new()).await.unwrap();
    world.press("Authorize").await;
    world.heading("This is not possible").await;
    let at = world.page.current_url().await.unwrap();
    assert_eq!(at.as_str(), world.gateway.url("/v2/authorize"));
    world.pictures("problem").await;

    // Rule: backplane §11.1 — a decision that was made can not be made again
    world.connect().await;
    let key = value_when(&world.page, "document.getElementsByName('auth_key')[0]?.value", |key| {
        key.is_string()
    });
    let key = key.await;
    world.press("Authorize").await;
    let answer = world.answer().await;
    world.connect().await;
    world.heading("Let comments use your buses?").await;
    let repeat = "document.getElementsByName('auth_key')[0].value = arguments[0]";
    world.page.execute(repeat, vec![key]).await.unwrap();
    world.press("Authorize").await;
    world.heading("This is not possible").await;
    assert_eq!(world.exchange(&answer["code"]).status, 200);

    // Rule: backplane §11.1 — without a request there is nothing to decide
    let request = "bp2.authorization.request";
    world.page.goto(world.gateway.url("/v2/authenticate")).await.unwrap();
    world.page.delete_cookie(request).await.unwrap();
    world.page.goto(world.gateway.url("/v2/authorize")).await.unwrap();
    let alert = text_when(&world.page, "[role=alert]", |text| !text.is_empty()).await;
    assert_eq!(alert, "There is no request to decide, or it expired.");
    world.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_not_shown_in_a_frame() {
    let world = World::start().await;
    world.connect().await;
    world.sign_in("paper-and-ink").await;
    world.heading("Let comments use your buses?").await;
    // Rule: backplane §17 row 10 — the approval page is shown in no frame
    world.page.goto(world.site.other_url("/framing")).await.unwrap();
    let frame = world.page.find(By::Tag("iframe")).await.unwrap();
    frame.enter_frame().await.unwrap();
    let shown = value_when(&world.page, "document.body.innerText", Value::is_string).await;
    assert!(!shown.as_str().unwrap().contains("buses"), "{shown}");
    let buttons = world.page.find_all(By::Name("authorize")).await.unwrap();
    assert!(buttons.is_empty(), "nothing to be clicked by mistake");
    world.page.quit().await.unwrap();
}
