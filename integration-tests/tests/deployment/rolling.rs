//! Three gateways on one Redis behind the proxy of `deploy/haproxy.cfg`, under load that never stops.

use std::{
    fs,
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
};

use buswire_integration_tests::{Gateway, Peer, Single, Site, curl, python, until};
use buswire_testkit::RedisServer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::file;

/// A loopback address of this process's own, 0 for the proxy and 1 to 3 for the gateways: ports of
/// 127.0.0.1 go to others while a gateway is away.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f80_0000 | ((std::process::id() << 2) | number) & 0x007f_ffff)
}

const HTTP: u16 = 18080;
const ADMIN: u16 = 18051;
const OPS: u16 = 18090;
const MDP: u16 = 18055;

/// HAProxy with the shipped configuration, in which only the addresses are others.
struct Proxy {
    process: Child,
    _folder: TempDir,
}

impl Proxy {
    fn start() -> Self {
        let mut text =
            file("deploy/haproxy.cfg").replace("check port 9090", &format!("check port {OPS}"));
        for (shipped, port) in [("8080", HTTP), ("50051", ADMIN), ("5555", MDP)] {
            text =
                text.replace(&format!("bind :{shipped}"), &format!("bind {}:{port}", address(0)));
            for number in 1..=3 {
                let shipped = format!("gateway{number}:{shipped}");
                assert!(text.contains(&shipped), "{shipped} in deploy/haproxy.cfg");
                text = text.replace(&shipped, &format!("{}:{port}", address(number)));
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("haproxy.cfg");
        fs::write(&config, text).unwrap();
        let mut command = Command::new("haproxy");
        command.arg("-f").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("haproxy is installed: apt-get install haproxy");
        let proxy = Self { process, _folder: folder };
        until("the proxy has found a gateway", || Self::answers().then_some(()));
        proxy
    }

    /// Where it listens.
    fn address() -> String {
        format!("{}:{HTTP}", address(0))
    }

    /// Whether it passes requests on.
    fn answers() -> bool {
        let url = format!("http://{}/.well-known/host-meta", Self::address());
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

/// A gateway on an address that it keeps, since the proxy is not told of others.
fn gateway(server: &RedisServer, number: u32) -> Gateway {
    let listen = |port: u16| format!("{}:{port}", address(number));
    Gateway::single(Single::OwnFleet)
        .set("store.url", &server.url())
        .set("belay.keys", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        .set("http.public_url", "http://gateways.example")
        .set("http.trusted_proxies", "127.0.0.0/8")
        .set("http.listen", &listen(HTTP))
        .set("admin.listen", &listen(ADMIN))
        .set("ops.listen", &listen(OPS))
        .set("mdp.listen", &format!("[\"tcp://{}\"]", listen(MDP)))
        // Longer than the proxy takes to notice, at most half a second and a check.
        .set("shutdown_delay", "2s")
        .start()
}

/// Posts, reads and long polls through the proxy, each from four clients.
fn load(requests: &Value) -> Peer {
    let get = |path: String| json!({"method": "GET", "path": path, "expect": 200}).to_string();
    let [reader, waiter] = ["reader", "waiter"].map(|who| requests[who].as_str().unwrap());
    let read = get(format!("/v2/messages?access_token={reader}"));
    let poll = get(format!("/v2/messages?access_token={waiter}&block=2"));
    let load = python(
        "steady_load",
        &[&Proxy::address(), "4", &requests["post"].to_string(), &read, &poll],
    );
    assert_eq!(load.json()["started"], 12);
    load
}

/// Waits until the proxy gives posts to a gateway that has just started.
fn is_used(gateway: &Gateway) {
    until("the proxy uses the gateway", || {
        let metrics = gateway.metrics();
        let posts = "buswire_http_requests_total{method=\"POST\",status=\"2xx\"} ";
        metrics.contains(posts).then_some(())
    });
}

#[test]
fn a_rolling_restart_behind_the_proxy_fails_no_request() {
    let server = RedisServer::start(&[]);
    let mut gateways = [1, 2, 3].map(|number| gateway(&server, number));
    let _proxy = Proxy::start();
    let site = Site::create(&gateways[0], "shop.example", &["--max-messages", "100000"]);
    let (reader, waiter) = (site.visit(&gateways[0]), site.visit(&gateways[0]));
    let headers = json!({
        "Authorization": format!("Bearer {}", site.token),
        "Content-Type": "application/json",
    });
    let body = site.message(&reader.channel, "order/new", "1");
    let post = json!({"method": "POST", "path": "/v2/message", "headers": headers, "body": body, "expect": 201});
    let requests = json!({"post": post, "reader": reader.token, "waiter": waiter.token});
    let mut load = load(&requests);
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
        let reply = curl(&format!("http://{}/v2/message", Proxy::address()))
            .header(&format!("Authorization: Bearer {}", site.token))
            .json(&site.message(&reader.channel, "order/new", "2"))
            .send();
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
}
