//! A web site of a test, and what a browser shows of it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum::Router;
use serde_json::{Value, json};
use thirtyfour::{By, WebDriver};
use tokio::{net::TcpListener, task::JoinSet};

use crate::wait::{DEADLINE, until};

/// A site on a free port of this machine. Under its two host names it has two origins, each with its
/// own cookies.
#[derive(Debug)]
pub struct Website {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Website {
    /// Serves pages and their back ends. Needs a runtime of several threads where these wait without
    /// yielding.
    pub async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        Self { address, _serving: serving }
    }

    /// The URL of a path under the first host name.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The URL of a path under the second host name.
    pub fn other_url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.address.port())
    }
}

/// The text of an element as soon as `accept` takes it.
///
/// # Panics
///
/// After [`DEADLINE`], with the page.
pub async fn text_when(page: &WebDriver, css: &str, accept: impl Fn(&str) -> bool) -> String {
    let look = async {
        loop {
            if let Ok(element) = page.find(By::Css(css)).await
                && let Ok(text) = element.text().await
                && accept(&text)
            {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(DEADLINE, look).await {
        Ok(text) => text,
        Err(late) => panic!("{css} ({late}); the page: {:?}", page.source().await),
    }
}

/// The value of an expression as soon as `accept` takes it.
///
/// # Panics
///
/// After [`DEADLINE`], with the last value.
pub async fn value_when(
    page: &WebDriver,
    expression: &str,
    accept: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let look = async {
        loop {
            let script = format!("return {expression}");
            last = page.execute(&script, Vec::new()).await.expect("a value").json().clone();
            if accept(&last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, look).await;
    assert!(in_time.is_ok(), "{expression} is {last}");
    last
}

/// Clicks the button with this text as soon as there is one that can be clicked.
///
/// # Panics
///
/// After [`DEADLINE`].
pub async fn press(page: &WebDriver, text: &str) {
    let named = By::XPath(format!("//button[normalize-space()=\"{text}\"]"));
    let look = async {
        loop {
            if let Ok(button) = page.find(named.clone()).await
                && button.is_clickable().await.unwrap_or(false)
                && button.click().await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, look).await;
    assert!(in_time.is_ok(), "no button {text}; the page: {:?}", page.source().await);
}

/// Shows the page in a window of this width, to a person who prefers `scheme`: `light` or `dark`.
pub async fn look(page: &WebDriver, width: u32, scheme: &str) {
    let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
    let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    let cdp = page.cdp();
    cdp.send_raw("Emulation.setDeviceMetricsOverride", metrics).await.expect("a width");
    cdp.send_raw("Emulation.setEmulatedMedia", features).await.expect("a scheme");
}

/// Keeps a picture of the page in the target folder, to be looked at.
pub async fn screenshot(page: &WebDriver, name: &str) {
    let target = std::env::current_exe().expect("a test knows where it is");
    let folder = target.ancestors().nth(3).expect("a target folder").join("screenshots");
    std::fs::create_dir_all(&folder).expect("a folder");
    let file: PathBuf = folder.join(name);
    page.screenshot(&file).await.expect("a screenshot");
    let size = until("the screenshot is written", || std::fs::metadata(&file).ok()).len();
    assert!(size > 5_000, "the page shows something");
}
