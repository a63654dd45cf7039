//! `/backplane.js` and `/backplane2.js` in a real browser, on pages of other sites than the gateway's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::Html,
    routing::{get, post},
};
use buswire_integration_tests::{Gateway, Site, Website, chromium, curl, text_when, value_when};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

const BUS: &str = "gazette.example";

/// How pages load a script, as the gateway itself says: with the hash of its content.
fn tag(gateway: &Gateway, script: &str) -> String {
    let welcome = curl(&gateway.url("/")).send().body;
    let mut codes = welcome.split("<code>");
    let code = codes.find(|code| code.contains(&format!("/static/{script}.")));
    let code = code.and_then(|code| code.split("</code>").next());
    let code = code.unwrap_or_else(|| panic!("no {script} in {welcome}"));
    assert!(code.contains("integrity=\"sha384-"), "{code}");
    code.replace("&lt;", "<").replace("&gt;", ">")
}

/// What the back ends of the pages have at hand.
type At = State<Arc<Vendors>>;

/// The vendors of two widgets, with a client each.
struct Vendors {
    gateway: Gateway,
    login: Site,
    comments: Site,
}

impl Vendors {
    fn start() -> Arc<Self> {
        let gateway = Gateway::spawn();
        let login = Site::create(&gateway, BUS, &[]);
        let comments = Site::client(&gateway, BUS);
        Arc::new(Self { gateway, login, comments })
    }

    fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/", get(async |State(vendors): At| vendors.page()))
            .route(
                "/login",
                post(async |State(vendors): At, channel: String| {
                    vendors.log_in(&channel);
                }),
            )
            .route(
                "/comments/name",
                post(async |State(vendors): At, message: String| vendors.name(&message)),
            )
            .with_state(Arc::clone(self))
    }

    /// A page with a login widget and a comment widget.
    fn page(&self) -> Html<String> {
        let page = r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>Gazette</title>
TAG
<button id="log-in">Log in</button> <button id="log-out">Log out</button>
<p id="comments">Write as a guest.</p>
<script>
  window.got = [];
  const replayOnPageLoad = location.search === "?replay";
  const tell = async (path, body) => (await fetch(path, { method: "POST", body })).text();
  // The login widget.
  document.getElementById("log-in").onclick = () => {
    Backplane.expectMessages("identity/login");
    tell("/login", Backplane.getChannelID());
  };
  document.getElementById("log-out").onclick = () => Backplane.resetCookieChannel();
  // The comment widget.
  const comments = document.getElementById("comments");
  Backplane(() => Backplane.subscribe(async (message) => {
    window.got.push(message);
    if (message.type !== "identity/login") return;
    comments.textContent = `Write as ${await tell("/comments/name", message.messageURL)}.`;
  }, replayOnPageLoad));
  Backplane.init({ serverBaseURL: "BASE/v2", busName: "gazette.example", replayOnPageLoad });
</script></html>"#;
        let page = page.replace("TAG", &tag(&self.gateway, "backplane2"));
        Html(page.replace("BASE", &self.gateway.url("")))
    }

    /// The back end of the login widget: who is at this channel has just logged in.
    fn log_in(&self, channel: &str) {
        let named = self.gateway.url(&format!("/v2/bus/{BUS}/channel/"));
        let channel = channel.strip_prefix(&named).unwrap_or_else(|| panic!("{channel}"));
        let entry = json!([{ "accountUri": "https://id.example/anna", "domain": "id.example",
            "displayName": "Anna Holm" }]);
        let identities =
            json!({ "startIndex": 0, "itemsPerPage": 1, "totalResults": 1, "entry": entry });
        let payload = json!({ "context": "https://gazette.example/", "identities": identities });
        let message = json!({ "type": "identity/login", "bus": BUS, "channel": channel,
            "sticky": true, "payload": payload });
        let posted = curl(&self.gateway.url("/v2/message"))
            .header(&format!("Authorization: Bearer {}", self.login.token))
            .json(&json!({ "message": message }).to_string())
            .send();
        assert_eq!(posted.status, 201, "{}", posted.body);
    }

    /// The back end of the comment widget: the name in a message that the page got the header of.
    fn name(&self, message_url: &str) -> String {
        let own = self.gateway.url("/v2/message/");
        assert!(message_url.starts_with(&own), "{message_url}");
        let message = curl(message_url)
            .header(&format!("Authorization: Bearer {}", self.comments.token))
            .send();
        assert_eq!(message.status, 200, "{}", message.body);
        let entry = &message.json()["payload"]["identities"]["entry"][0];
        entry["displayName"].as_str().unwrap().to_owned()
    }
}

/// What the page asked the gateway, without the random parameter at the end.
async fn asked(page: &WebDriver, gateway: &Gateway, accept: impl Fn(&[String]) -> bool) {
    let base = gateway.url("/");
    let expression = format!(
        "performance.getEntriesByType('resource').map((entry) => entry.name) \
         .filter((name) => name.startsWith('{base}')).map((name) => name.split('&rnd=')[0])"
    );
    let names = |value: &Value| -> Vec<String> {
        let names = value.as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().replace(&base, "/")).collect()
    };
    value_when(page, &expression, |value| accept(&names(value))).await;
}

async fn text(page: &WebDriver, expression: &str) -> String {
    let value = value_when(page, expression, Value::is_string).await;
    value.as_str().unwrap().to_owned()
}

async fn click(page: &WebDriver, id: &str) {
    page.find(By::Id(id)).await.unwrap().click().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_told_to_the_widgets_of_its_page_alone() {
    let vendors = Vendors::start();
    let site = Website::start(vendors.router()).await;
    let (_driver, page) = chromium().await;
    page.goto(site.other_url("/")).await.unwrap();
    let elsewhere = page.window().await.unwrap();
    let other = text(&page, "Backplane.getChannelName()").await;
    page.new_tab().await.map(async |tab| page.switch_to_window(tab).await).unwrap().await.unwrap();
    page.goto(site.url("/")).await.unwrap();

    // Rule: backplane §14.1 — each site has a channel of its own, kept in a cookie of its host
    let channel = text(&page, "Backplane.getChannelName()").await;
    assert!(channel.len() == 32 && channel != other, "{channel} {other}");
    let cookie = text(&page, "document.cookie").await;
    let parts: Vec<&str> = cookie.strip_prefix("backplane2-channel=").unwrap().split(':').collect();
    assert_eq!((parts.len(), parts[1]), (3, channel.as_str()));

    // Rule: backplane §14.5 — the library lets the server hold its requests once the page is loaded
    let visit = format!("/v2/token?callback=Backplane.finishInit&bus={BUS}");
    let first = format!("/v2/messages?callback=Backplane.response&access_token={}", parts[0]);
    asked(&page, &vendors.gateway, |asked| {
        asked.contains(&visit) && asked.iter().any(|one| one.starts_with(&first))
    })
    .await;

    // Rule: backplane §15.1 — the login widget's back end posts identity/login, the comment widget gets
    // the header, its back end reads the payload with its privileged token
    click(&page, "log-in").await;
    let told = text_when(&page, "#comments", |text| text != "Write as a guest.").await;
    assert_eq!(told, "Write as Anna Holm.");
    let got = value_when(&page, "window.got", |got| got != &json!([])).await;
    assert_eq!(got.as_array().unwrap().len(), 1);
    // Rule: backplane §7.1 — what reaches the browser has no payload
    let header = got[0].as_object().unwrap();
    let fields: Vec<&str> = header.keys().map(String::as_str).collect();
    assert_eq!(fields, ["bus", "channel", "expire", "messageURL", "source", "sticky", "type"]);
    assert_eq!((&header["type"], &header["sticky"]), (&json!("identity/login"), &json!(true)));
    asked(&page, &vendors.gateway, |asked| {
        asked.iter().any(|one| one.starts_with("/v2/messages?") && one.ends_with("&block=25"))
    })
    .await;

    // Rule: backplane §14.4 — the next page of the visit replays what it stored, if it wants to
    page.goto(site.url("/?replay")).await.unwrap();
    text_when(&page, "#comments", |text| text == "Write as Anna Holm.").await;
    assert_eq!(text(&page, "Backplane.getChannelName()").await, channel);

    // Rule: backplane §15.1 — a local logout resets the channel
    click(&page, "log-out").await;
    let after = value_when(&page, "Backplane.getChannelName()", |name| {
        name.is_string() && name != &json!(channel)
    });
    let after = after.await;
    vendors.login.post(&vendors.gateway, &channel, "comment/posted", "1");
    vendors.login.post(&vendors.gateway, after.as_str().unwrap(), "comment/posted", "2");
    let last =
        value_when(&page, "window.got[window.got.length - 1].channel", |channel| channel == &after);
    last.await;
    let got = value_when(&page, "window.got.length", |got| got == &json!(2)).await;
    assert_eq!(got, json!(2), "nothing of the channel that was left");

    // The page of the other site heard nothing of all this, and hears what is for it.
    page.switch_to_window(elsewhere).await.unwrap();
    vendors.login.post(&vendors.gateway, &other, "comment/posted", "3");
    let got = value_when(&page, "window.got", |got| got != &json!([])).await;
    assert_eq!((got.as_array().unwrap().len(), &got[0]["channel"]), (1, &json!(other)));
    page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_goes_on_when_its_tokens_are_over() {
    let vendors = Vendors::start();
    let site = Website::start(vendors.router()).await;
    let (_driver, page) = chromium().await;
    page.goto(site.url("/")).await.unwrap();
    let channel = text(&page, "Backplane.getChannelName()").await;
    // An access token that the server does not know, beside a refresh token that it does.
    let spoil = "document.cookie = document.cookie.replace(/=[^:]+/, '=AA0000000000000000000000000000') \
                 + '; path=/'";
    page.execute(spoil, Vec::new()).await.unwrap();
    page.goto(site.url("/")).await.unwrap();
    // Rule: backplane §14.4 — an access token that is invalid is renewed, in the cookie too
    let cookie = value_when(&page, "document.cookie", |cookie| {
        cookie.as_str().is_some_and(|cookie| !cookie.contains("=AA00000000"))
    });
    let cookie = cookie.await;
    assert!(cookie.as_str().unwrap().contains(&channel), "{cookie}");
    vendors.login.post(&vendors.gateway, &channel, "comment/posted", "1");
    value_when(&page, "window.got.length", |got| got == &json!(1)).await;
    page.quit().await.unwrap();
}

/// A page of 1.x with the filter of identities.
fn page_of_one(gateway: &Gateway) -> Html<String> {
    let page = r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>Gazette</title>
TAGS
<p id="last"></p>
<script>
  window.got = [];
  const options = { serverBaseURL: "BASE/v1.2", busName: "gazette.example" };
  if (location.search === "?identities") {
    options.initFrameFilter = Backplane.identityServices.init;
  }
  Backplane.init(options);
  Backplane.subscribe((message) => window.got.push(message));
  Backplane.expectMessages();
</script></html>"#;
    let tags = ["backplane", "identity-services"].map(|script| tag(gateway, script)).concat();
    Html(page.replace("TAGS", &tags).replace("BASE", &gateway.url("")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_one_gets_whole_messages() {
    let gateway = Arc::new(Gateway::spawn());
    gateway.admin(&["bus", "create", &format!("v1/{BUS}")]);
    std::fs::write(gateway.path("password"), "quiet-harbor-7").unwrap();
    let file = gateway.path("password").display().to_string();
    gateway.admin(&["user", "create", "commentsco", "--password-file", &file]);
    gateway.admin(&["user", "permit", "commentsco", &format!("v1/{BUS}"), "POST"]);
    let at = Arc::clone(&gateway);
    let router = Router::new().route("/", get(async move || page_of_one(&at)));
    let site = Website::start(router).await;
    let (_driver, page) = chromium().await;
    page.goto(site.url("/")).await.unwrap();

    let channel = text(&page, "Backplane.getChannelID()").await;
    let name = channel.rsplit('/').next().unwrap().to_owned();
    assert_eq!(channel, gateway.url(&format!("/v1.2/bus/{BUS}/channel/{name}")));
    assert_eq!(text(&page, "document.cookie").await, format!("backplane-channel={BUS}:{name}"));
    let post = |messages: &Value| {
        let user = ["--user", "commentsco:quiet-harbor-7"];
        assert_eq!(curl(&channel).args(&user).json(&messages.to_string()).send().status, 200);
    };
    // Rule: backplane §14.3 — literal requests: channel/new, then the channel, with callback and rnd
    let new = format!("/v1.2/bus/{BUS}/channel/new?callback=Backplane.finishInit");
    let poll = format!("/v1.2/bus/{BUS}/channel/{name}?callback=Backplane.response");
    asked(&page, &gateway, |asked| asked.contains(&new) && asked.contains(&poll)).await;

    let login = json!({ "source": "https://login.example/", "type": "identity/login",
        "sticky": true, "payload": { "identities": { "entry": { "id": "anna" } } } });
    let comment = json!({ "source": "https://comments.example/", "type": "comment/posted",
        "payload": { "n": 1 } });
    post(&json!([login, comment]));
    let got = value_when(&page, "window.got", |got| got.as_array().unwrap().len() == 2).await;
    assert_eq!((&got[0]["type"], &got[1]["payload"]), (&json!("identity/login"), &json!({"n": 1})));
    let index = "JSON.parse(localStorage.backplaneCachedMessagesIndex)";
    let index = value_when(&page, index, Value::is_array).await;
    let since = index[1].as_str().unwrap().replace(':', "%3A");
    asked(&page, &gateway, |asked| asked.contains(&format!("{poll}&since={since}"))).await;

    // Rule: backplane §14.3 — another page of the visit gets only what is new
    page.goto(site.url("/?new")).await.unwrap();
    post(&json!([comment]));
    let got = value_when(&page, "window.got", |got| got != &json!([])).await;
    assert_eq!(got.as_array().unwrap().len(), 1);
    // Rule: backplane §14.6 — with identityServices.init it is told who is logged in
    page.goto(site.url("/?identities")).await.unwrap();
    let got = value_when(&page, "window.got", |got| got != &json!([])).await;
    assert_eq!((got.as_array().unwrap().len(), &got[0]["type"]), (1, &json!("identity/login")));
    page.quit().await.unwrap();
}
