//! Three gateways on one Redis behind the proxy of `deploy/haproxy.cfg`, under load that never stops.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use buswire_integration_tests::{Gateway, Peer, Site, curl, python, until};
use buswire_testkit::RedisServer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::file;

/// A port that was free just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// HAProxy with the shipped configuration, in which only the addresses are others.
struct Proxy {
    process: Child,
    http: u16,
    _folder: TempDir,
}

impl Proxy {
    fn start(gateways: &[Gateway]) -> Self {
        let (http, admin) = (free_port(), free_port());
        let mut text = file("deploy/haproxy.cfg")
            .replace("bind :8080", &format!("bind 127.0.0.1:{http}"))
            .replace("bind :50051", &format!("bind 127.0.0.1:{admin}"));
        for (number, gateway) in (1..).zip(gateways) {
            let (bound, check) = (gateway.bound(), gateway.bound().ops.rsplit_once(':').unwrap().1);
            for (port, address) in [("8080", &bound.http), ("50051", &bound.admin)] {
                let shipped = format!("gateway{number}:{port}");
                assert!(text.contains(&shipped), "{shipped} in deploy/haproxy.cfg");
                text = text.replace(&shipped, &format!("{address} check port {check}"));
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("haproxy.cfg");
        fs::write(&config, text).unwrap();
        let process = Command::new("haproxy").arg("-f").arg(&config).stdout(Stdio::null()).spawn();
        let proxy = Self {
            process: process.expect("haproxy is installed: apt-get install haproxy"),
            http,
            _folder: folder,
        };
        until("the proxy has found a gateway", || proxy.answers().then_some(()));
        proxy
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// Whether it passes requests on.
    fn answers(&self) -> bool {
        let url = format!("http://{}/.well-known/host-meta", self.address());
        let asked = Command::new("curl").args(["--silent", "--fail", &url]).output();
        asked.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(|_| ()).unwrap_or_default();
    }
}

/// A gateway on ports that it keeps, since the proxy is not told of others.
fn gateway(server: &RedisServer) -> Gateway {
    let mut builder = Gateway::builder()
        .set("store.url", &server.url())
        .set("belay.keys", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        .set("http.public_url", "http://gateways.example")
        .set("http.trusted_proxies", "127.0.0.1")
        // Longer than the proxy takes to notice, at most half a second and a check.
        .set("shutdown_delay", "2s");
    for listener in ["http", "admin", "ops"] {
        let address = format!("127.0.0.1:{}", free_port());
        builder = builder.set(&format!("{listener}.listen"), &address);
    }
    builder.start()
}

/// Posts, reads and long polls through the proxy, each from four clients.
fn load(proxy: &Proxy, posts: &Value) -> Peer {
    let get = |path: String| json!({"method": "GET", "path": path, "expect": 200}).to_string();
    let [reader, waiter] = ["reader", "waiter"].map(|who| posts[who].as_str().unwrap());
    let read = get(format!("/v2/messages?access_token={reader}"));
    let poll = get(format!("/v2/messages?access_token={waiter}&block=2"));
    let load =
        python("steady_load", &[&proxy.address(), "4", &posts["post"].to_string(), &read, &poll]);
    assert_eq!(load.json()["started"], 12);
    load
}

/// Waits until the proxy gives posts to a gateway that has just started.
fn is_used(gateway: &Gateway) {
    until("the proxy uses the gateway", || {
        let metrics = curl(&format!("http://{}/metrics", gateway.bound().ops)).send().body;
        let posts = "buswire_http_requests_total{method=\"POST\",status=\"2xx\"} ";
        metrics.contains(posts).then_some(())
    });
}

#[test]
fn a_rolling_restart_behind_the_proxy_fails_no_request() {
    let server = RedisServer::start(&[]);
    let mut gateways = [(); 3].map(|()| gateway(&server));
    let proxy = Proxy::start(&gateways);
    let site = Site::create(&gateways[0], "shop.example", &["--max-messages", "100000"]);
    let (reader, waiter) = (site.visit(&gateways[0]), site.visit(&gateways[0]));
    let headers = json!({
        "Authorization": format!("Bearer {}", site.token),
        "Content-Type": "application/json",
    });
    let body = site.message(&reader.channel, "order/new", "1");
    let post = json!({"method": "POST", "path": "/v2/message", "headers": headers, "body": body, "expect": 201});
    let requests = json!({"post": post, "reader": reader.token, "waiter": waiter.token});
    let mut load = load(&proxy, &requests);
    for gateway in &mut gateways {
        is_used(gateway);
    }
    for gateway in &mut gateways {
        assert_eq!(gateway.terminate().code(), Some(0), "{}", gateway.log());
        gateway.start();
        is_used(gateway);
    }
    load.say("stop");
    let report = load.json();
    println!("three gateways were restarted: {report}");
    assert_eq!(report["failed"], 0, "{report}");
    let accepted = report["answered"]["POST /v2/message"].as_u64().unwrap();
    let stored = gateways[0].admin(&["message", "read", "--scope", "bus:shop.example"]);
    assert_eq!(stored.lines().count() as u64, accepted, "each post is there once");

    // What is sent after a gateway was killed goes to the others, before the proxy has even noticed.
    gateways[1].kill();
    for _ in 0..20 {
        let reply = curl(&format!("http://{}/v2/message", proxy.address()))
            .header(&format!("Authorization: Bearer {}", site.token))
            .json(&site.message(&reader.channel, "order/new", "2"))
            .send();
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
}
