//! `/simplepush.js` in a real browser, over network losses and restarts of the gateway.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{process::Command, time::Duration};

use buswire_integration_tests::{DEADLINE, Gateway, Relay, Reply, chromium, curl};
use serde_json::{Value, json};
use thirtyfour::{WebDriver, WindowHandle};

/// Includes the library and collects what it tells.
const PAGE: &str = r#"
    window.got = [];
    window.lost = 0;
    window.listen = () => {
      navigator.setMessageHandler("push", ({ pushEndpoint, version }) => {
        window.got.push([pushEndpoint, version]);
      });
      navigator.setMessageHandler("push-register", () => { window.lost += 1; });
    };
    const script = document.createElement("script");
    script.dataset.worker = arguments[0];
    if (!arguments[0]) delete script.dataset.worker;
    script.onload = () => { window.loaded = true; };
    script.src = "/simplepush.js";
    document.head.append(script);
"#;

/// A gateway behind a network that can be cut, and a browser.
struct World {
    gateway: Gateway,
    relay: Relay,
    page: WebDriver,
    _driver: buswire_integration_tests::Running,
}

impl World {
    async fn start() -> Self {
        let relay = Relay::start().await;
        let url = relay.url("/");
        let gateway = Gateway::builder().set("http.public_url", url.trim_end_matches('/')).start();
        relay.connect(&gateway.bound().http);
        let (driver, page) = chromium().await;
        Self { gateway, relay, page, _driver: driver }
    }

    /// Opens a page that includes the library; `worker` is the value of `data-worker`.
    async fn open(&self, worker: &str) {
        // Any document of the origin will do.
        self.page.goto(self.relay.url("/simplepush.js")).await.unwrap();
        self.page.execute(PAGE, vec![json!(worker)]).await.unwrap();
        self.eventually("return window.loaded === true").await;
    }

    /// Opens one more tab.
    async fn tab(&self, worker: &str) -> WindowHandle {
        let tab = self.page.new_tab().await.unwrap();
        self.page.switch_to_window(tab.clone()).await.unwrap();
        self.open(worker).await;
        tab
    }

    async fn run(&self, script: &str) -> Value {
        self.page.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Runs a script that ends with a promise.
    async fn awaited(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; Promise.resolve({expression}).then(done, (error) => done(error.name));"
        );
        self.page.execute_async(&script, Vec::new()).await.unwrap().json().clone()
    }

    /// Waits until a script returns true.
    async fn eventually(&self, script: &str) {
        let look = async {
            while self.run(script).await != json!(true) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, look).await.is_ok();
        let told = if in_time { Value::Null } else { self.run("return window.got").await };
        assert!(in_time, "{script}; told: {told}");
    }

    async fn told(&self, endpoint: &Value, version: u32) {
        let pair = json!([endpoint, version]).to_string();
        self.eventually(&format!(
            "return window.got.some((it) => JSON.stringify(it) === '{pair}')"
        ))
        .await;
    }

    async fn register(&self) -> Value {
        let endpoint = self.awaited("navigator.push.register()").await;
        let url = endpoint.as_str().unwrap();
        assert!(url.starts_with(&self.relay.url("/update/")), "{url}");
        endpoint
    }

    /// PUTs a version past the network.
    fn put(&self, endpoint: &Value, version: u32) -> u16 {
        let (_, token) = endpoint.as_str().unwrap().rsplit_once("/update/").unwrap();
        let put = curl(&self.gateway.url(&format!("/update/{token}"))).method("PUT");
        put.args(&["--data", &format!("version={version}")]).send().status
    }

    /// Waits until so many WebSockets are open.
    async fn connections(&self, count: usize) {
        let line = format!("simplepush_connections {count}\n");
        let look = async {
            while !self.gateway.metrics().contains(&line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, look).await.unwrap_or_else(|_| panic!("{line}"));
    }

    /// The browser notices that there is a network again.
    async fn online(&self) {
        self.run("window.dispatchEvent(new Event('online'))").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_told_over_losses_and_restarts() {
    let mut world = World::start().await;
    world.open("").await;
    world.run("window.listen()").await;
    let endpoint = world.register().await;
    // Rule: simplepush L2 — a connected UA is told at once
    assert_eq!(world.put(&endpoint, 1), 200);
    world.told(&endpoint, 1).await;

    world.relay.cut();
    world.connections(0).await;
    assert_eq!(world.put(&endpoint, 2), 202);
    world.relay.connect(&world.gateway.bound().http);
    world.online().await;
    // Rule: simplepush L3 — what came while a UA was away arrives after its next hello
    world.told(&endpoint, 2).await;

    // It comes back by itself when the gateway does.
    assert!(world.gateway.terminate().success());
    world.relay.cut();
    world.gateway.start();
    assert_eq!(world.put(&endpoint, 3), 202);
    world.relay.connect(&world.gateway.bound().http);
    world.told(&endpoint, 3).await;
    let registrations = world.awaited("navigator.push.registrations()").await;
    assert_eq!(registrations, json!([{ "pushEndpoint": endpoint, "version": 3 }]));

    world.gateway.kill();
    world.relay.cut();
    world.gateway.lose_data();
    world.gateway.start();
    world.relay.connect(&world.gateway.bound().http);
    world.online().await;
    // Rule: simplepush L8 — a UA whose state is dropped gets a working UAID and its apps register again
    world.eventually("return window.lost === 1").await;
    assert_eq!(world.awaited("navigator.push.registrations()").await, json!([]));
    let anew = world.register().await;
    assert_ne!(anew, endpoint);
    assert_eq!(world.put(&anew, 1), 200);
    world.told(&anew, 1).await;

    let quoted = anew.to_string();
    world
        .run(&format!(
            "const request = navigator.push.unregister({quoted});
             window.events = [request.readyState];
             request.onsuccess = ({{ target }}) => window.events.push(target.readyState, target.result);"
        ))
        .await;
    let events = json!(["pending", "done", anew]).to_string();
    world.eventually(&format!("return JSON.stringify(window.events) === '{events}'")).await;
    let unknown = world.awaited(&format!("navigator.push.unregister({quoted})")).await;
    assert_eq!(unknown, "NotRegisteredError");
    let gone = async {
        while world.put(&anew, 2) != 410 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the server is told");
    world.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_share_a_connection_and_outlive_each_other() {
    let world = World::start().await;
    world.open("").await;
    let endpoint = world.register().await;
    let first = world.page.window().await.unwrap();
    let second = world.tab("").await;
    world.run("window.listen()").await;
    assert_eq!(world.awaited("navigator.push.registrations()").await[0]["pushEndpoint"], endpoint);
    world.connections(1).await;
    world.put(&endpoint, 1);
    world.told(&endpoint, 1).await;

    world.page.switch_to_window(first).await.unwrap();
    world.page.close_window().await.unwrap();
    world.page.switch_to_window(second).await.unwrap();
    assert_eq!(world.put(&endpoint, 2), 200);
    world.told(&endpoint, 2).await;

    // A version that no page takes is kept until one does, once.
    let other = world.tab("").await;
    world.run("window.listen()").await;
    world.run("navigator.setMessageHandler('push', () => { throw new Error('not now'); })").await;
    world.page.switch_to_window(world.page.windows().await.unwrap()[0].clone()).await.unwrap();
    world.page.close_window().await.unwrap();
    world.page.switch_to_window(other).await.unwrap();
    assert_eq!(world.put(&endpoint, 3), 200);
    let arrived = format!(
        "navigator.push.registrations().then(([it]) => it?.pushEndpoint === {endpoint} && it.version === 3)"
    );
    let look = async { while world.awaited(&arrived).await != json!(true) {} };
    tokio::time::timeout(DEADLINE, look).await.expect("it arrives");
    world.open("").await;
    world.run("window.listen()").await;
    world.told(&endpoint, 3).await;
    assert_eq!(world.run("return window.got.length").await, json!(1));
    world.page.quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_shared_worker_every_tab_is_a_client() {
    let world = World::start().await;
    world.open("off").await;
    world.run("window.listen()").await;
    let mine = world.register().await;
    let first = world.page.window().await.unwrap();
    world.tab("off").await;
    world.run("window.listen()").await;
    let other = world.register().await;
    world.connections(2).await;
    assert_eq!(world.put(&other, 4), 200);
    world.told(&other, 4).await;
    assert_eq!(world.run("return window.got.length").await, json!(1));

    world.page.switch_to_window(first).await.unwrap();
    assert_eq!(world.put(&mine, 5), 200);
    world.told(&mine, 5).await;
    // A page that is loaded again goes on where it was.
    world.open("off").await;
    let registrations = world.awaited("navigator.push.registrations()").await;
    assert_eq!(registrations, json!([{ "pushEndpoint": mine, "version": 5 }]));
    world.page.quit().await.unwrap();
}

#[test]
fn the_script_is_cached_by_its_content() {
    let gateway = Gateway::spawn();
    let get =
        |path: &str, header: &str| -> Reply { curl(&gateway.url(path)).header(header).send() };
    let script = get("/simplepush.js", "Accept: */*");
    assert_eq!(script.status, 200);
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(script.header("cache-control"), Some("public, no-cache"));
    assert_eq!(script.header("access-control-allow-origin"), Some("*"));
    let etag = script.header("etag").unwrap();
    let again = get("/simplepush.js", &format!("If-None-Match: W/\"x\", {etag}"));
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let readme = include_str!("../../crates/simplepush/README.md");
    let (_, after) = readme.split_once("/simplepush.js?v=").unwrap();
    let pinned =
        get(&format!("/simplepush.js?v={}", after.split('"').next().unwrap()), "Accept: */*");
    assert_eq!(pinned.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(pinned.body, script.body);
    let types = get("/simplepush.d.ts", "Accept: */*");
    assert_eq!(types.header("content-type"), Some("application/typescript; charset=utf-8"));
}

#[test]
fn the_parts_that_need_no_browser_hold() {
    let tests = format!("{}/js/simplepush.test.mjs", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("node").arg("--test").arg(tests).output();
    let output = output.expect("node is installed: apt-get install nodejs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
