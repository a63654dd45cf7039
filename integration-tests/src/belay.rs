//! Pages with the Belay frame, on sites of their own.

mod shop;

use axum::{Router, response::Html, routing::get};
use serde_json::Value;
use thirtyfour::{WebDriver, WindowHandle};

use crate::{
    gateway::Gateway,
    website::{Website, value_when},
};

pub use shop::Shop;

const PAGE: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>A Belay page</title>
<body><p>A page.</p><script src="/wire.js"></script></body></html>"#;

/// A page with the library, whose attributes are to be put in.
const LIBRARY: &str = r#"<!doctype html><html lang="en"><meta charset="utf-8"><title>A Belay page</title>
<script src="GATEWAY/belay/client.js" ATTRIBUTES></script>
<body><p>A page.</p><script src="/seen.js"></script></body></html>"#;
/// What the browser refused.
const SEEN: &str = "window.violations = []; \
    addEventListener('securitypolicyviolation', ({ blockedURI }) => violations.push(blockedURI));";

/// Pages that speak to the frame in literal messages: `/` and every path below it; and pages with the
/// library: `/library`, `/library-strict` with a policy that allows what it needs and nothing else,
/// `/library-blocked` whose policy allows no frame, `/library-alone` whose frame is not there and is
/// waited for 300 ms.
///
/// Each name below `localhost` is a site of its own and a secure context, and leads here.
#[derive(Debug)]
pub struct WirePages {
    website: Website,
    gateway: String,
}

impl WirePages {
    /// Serves them for the frame of `gateway`. `/strict` is isolated from other origins and has a
    /// policy that allows nothing but its own script and the frame.
    pub async fn start(gateway: &Gateway) -> Self {
        let gateway = named("gw", &gateway.url(""));
        let policy = format!("default-src 'none'; script-src 'self'; frame-src {gateway}");
        let strict = [
            ("content-security-policy", policy),
            ("cross-origin-embedder-policy", "require-corp".to_owned()),
            ("cross-origin-opener-policy", "same-origin".to_owned()),
        ];
        let policy = |frames: &str| {
            let scripts =
                format!("script-src 'self' {gateway}; require-trusted-types-for 'script'");
            let policy = format!("default-src 'none'; {scripts}; trusted-types 'none'");
            [("content-security-policy", format!("{policy}; frame-src {frames}"))]
        };
        let library = |attributes: &str| {
            let page = LIBRARY.replace("ATTRIBUTES", attributes);
            Html(page.replace("GATEWAY", &gateway))
        };
        let (plain, strictly) = (library(""), (policy(&gateway), library("")));
        let blocked = (policy("'none'"), library(""));
        let alone = library("data-belay-frame='/nothing' data-belay-timeout='300'");
        let script = |text| ([("content-type", "text/javascript")], text);
        let (wire, seen) = (script(include_str!("belay/wire.js")), script(SEEN));
        let router = Router::new()
            .route("/wire.js", get(async move || wire))
            .route("/seen.js", get(async move || seen))
            .route("/strict", get(async || (strict, Html(PAGE))))
            .route("/library", get(async || plain))
            .route("/library-strict", get(async || strictly))
            .route("/library-blocked", get(async || blocked))
            .route("/library-alone", get(async || alone))
            .route("/nothing", get(async || "nothing"))
            .fallback(get(async || Html(PAGE)));
        Self { website: Website::start(router).await, gateway }
    }

    /// The URL of a page at the site `name`, with more of the query (`&hello=late`).
    pub fn url(&self, name: &str, path: &str, more: &str) -> String {
        let page = named(name, &self.website.url(path));
        format!("{page}?gateway={}{more}", self.gateway)
    }

    /// Where the pages find the gateway.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Opens a page in the current window and waits for its outpost.
    pub async fn open(&self, page: &WebDriver, name: &str) -> Value {
        page.goto(self.url(name, "/", "")).await.expect("the page loads");
        outpost(page).await
    }
}

/// A loopback URL under another name of this machine.
pub fn named(name: &str, url: &str) -> String {
    url.replace("127.0.0.1", &format!("{name}.localhost"))
}

/// The outpost that the page got.
pub async fn outpost(page: &WebDriver) -> Value {
    value_when(page, "window.wire && wire.outpost", Value::is_object).await
}

/// The value of an expression in the page, whose promise is awaited.
///
/// # Errors
///
/// What the promise was rejected with, or the text of what was thrown.
pub async fn eval(page: &WebDriver, expression: &str) -> Result<Value, Value> {
    let script = format!(
        "const done = arguments[arguments.length - 1]; \
         (async () => ({expression}))().then( \
           (value) => done({{ value }}), \
           (error) => done({{ failed: error instanceof Error ? String(error) : error }}))"
    );
    let told = page.execute_async(&script, Vec::new()).await.expect("an answer").json().clone();
    match told.get("failed") {
        Some(failed) => Err(failed.clone()),
        None => Ok(told.get("value").cloned().unwrap_or(Value::Null)),
    }
}

/// Has the page do what leads it away: nothing waits for the promise of the expression.
pub async fn leave(page: &WebDriver, expression: &str) {
    let script = format!("Promise.resolve({expression}).catch(() => {{}})");
    page.execute(&script, Vec::new()).await.expect("a running page");
}

/// What a capability of the outpost gives, by its name, for a value that is posted.
///
/// # Errors
///
/// What it fails with.
pub async fn post(page: &WebDriver, name: &str, value: &Value) -> Result<Value, Value> {
    eval(page, &format!("wire.post(wire.outpost.{name}, {value})")).await
}

/// The status of the failure of [`post`].
pub async fn status(page: &WebDriver, name: &str, value: &Value) -> Value {
    let error = post(page, name, value).await.expect_err("it fails");
    error.get("status").cloned().unwrap_or_default()
}

/// The serialisation of a new capability that doubles a number, under the id that an expression gives;
/// under the page's own if that is `undefined`.
pub async fn doubler(page: &WebDriver, instance: &str) -> String {
    let granted = eval(page, &format!("wire.doubler({instance})")).await.expect("a capability");
    granted.as_str().expect("its serialisation").to_owned()
}

/// What a page gets that posts 21 to a serialisation: 42, or the status of the failure.
pub async fn double(page: &WebDriver, serialisation: &str) -> Value {
    eval(page, &format!("wire.double('{serialisation}')")).await.expect("an answer")
}

/// Opens another window and stays in it.
pub async fn tab(page: &WebDriver) -> WindowHandle {
    let tab = page.new_tab().await.expect("a window");
    page.switch_to_window(tab.clone()).await.expect("it is there");
    tab
}
