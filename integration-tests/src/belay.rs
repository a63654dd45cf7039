//! Pages with the Belay frame, on sites of their own.

mod shop;

use axum::{Router, response::Html, routing::get};
use serde_json::Value;
use thirtyfour::WebDriver;

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
/// library: `/library` and below, `/library-strict` with a policy that allows what it needs and nothing
/// else, `/library-alone` whose frame is not there and is waited for 300 ms.
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
        let (caps, gateway) = (gateway.url(""), named("gw", &gateway.url("")));
        let policy = format!("default-src 'none'; script-src 'self'; frame-src {gateway}");
        let strict = [
            ("content-security-policy", policy),
            ("cross-origin-embedder-policy", "require-corp".to_owned()),
            ("cross-origin-opener-policy", "same-origin".to_owned()),
        ];
        let policy = format!(
            "default-src 'none'; script-src 'self' {gateway}; frame-src {gateway}; \
             connect-src {caps}; require-trusted-types-for 'script'; trusted-types 'none'"
        );
        let library = |attributes: &str| {
            let page = LIBRARY.replace("ATTRIBUTES", attributes);
            Html(page.replace("GATEWAY", &gateway))
        };
        let (plain, strictly) = (library(""), ([("content-security-policy", policy)], library("")));
        let alone = library("data-belay-frame='/nothing' data-belay-timeout='300'");
        let script = |text| ([("content-type", "text/javascript")], text);
        let (wire, seen) = (script(include_str!("belay/wire.js")), script(SEEN));
        let router = Router::new()
            .route("/wire.js", get(async move || wire))
            .route("/seen.js", get(async move || seen))
            .route("/strict", get(async || (strict, Html(PAGE))))
            .route("/library", get(async || plain))
            .route("/library-strict", get(async || strictly))
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
