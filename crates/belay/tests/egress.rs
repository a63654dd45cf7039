//! Asking other servers: what goes out, what is refused, and what comes back.
#![cfg(feature = "egress")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buswire_belay::{
    Allowed, BcapError, BcapValue, Config, Egress, EgressConfig, EgressError, EgressPolicy, Method,
    Refused, Resolver, UrlItem,
};
use buswire_message::{Recorder, SampleRatio, Span, Tracer, Work};
use buswire_testkit::{SeededEntropy, VirtualClock};
use common::World;
use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
};
use url::Url;

/// Answers every connection with the same bytes and keeps what was sent to it.
struct Other {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    /// An answer takes a permit.
    answers: Arc<Semaphore>,
    _tasks: JoinSet<()>,
}

impl Other {
    async fn with(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::default());
        let answers = Arc::new(Semaphore::new(1000));
        let mut tasks = JoinSet::new();
        let (log, count) = (Arc::clone(&heard), Arc::clone(&connections));
        let gate = Arc::clone(&answers);
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                AtomicUsize::fetch_add(&count, 1, Ordering::SeqCst);
                let (log, answer, gate) = (Arc::clone(&log), answer.clone(), Arc::clone(&gate));
                open.spawn(async move {
                    let mut bytes = Vec::new();
                    while !is_whole(&bytes) {
                        let mut chunk = [0; 4096];
                        match stream.read(&mut chunk).await {
                            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
                            _ => return,
                        }
                    }
                    log.lock().unwrap().push(String::from_utf8(bytes).unwrap());
                    gate.acquire().await.unwrap().forget();
                    drop(stream.write_all(answer.as_bytes()).await);
                });
            }
        });
        Self { address, heard, connections, answers, _tasks: tasks }
    }

    async fn ok(body: &str) -> Self {
        let length = body.len();
        Self::with(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
        .await
    }

    async fn status(line: &str) -> Self {
        Self::with(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
            .await
    }

    fn url(&self, host: &str) -> Url {
        Url::parse(&format!("http://{host}:{}/cap/{ID}", self.address.port())).unwrap()
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

const ID: &str = "Qm2vR8xK1tZ4yLw0nS7dJc9fHb3aUe6gPiToXkVh5Yk";

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().trim().parse().unwrap());
    body.len() >= length
}

/// Gives one list of addresses after the other, then the last again.
#[derive(Debug, Clone)]
struct Scripted(Arc<Mutex<VecDeque<Vec<IpAddr>>>>, Arc<AtomicUsize>);

impl Scripted {
    fn new(script: &[&[&str]]) -> Self {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Self(Arc::new(Mutex::new(script.iter().map(parse).collect())), Arc::default())
    }
}

impl Resolver for Scripted {
    fn resolve(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let mut script = self.0.lock().unwrap();
        let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        Box::pin(async move { next.ok_or_else(|| io::Error::other("no such host")) })
    }
}

fn config(allow: &[&str]) -> EgressConfig {
    let allow = allow.iter().map(|text| text.parse::<Allowed>().unwrap()).collect();
    EgressConfig {
        policy: EgressPolicy { allow_http: true, allow },
        timeout: Duration::from_secs(20),
        ..EgressConfig::default()
    }
}

fn egress(config: EgressConfig, script: &[&[&str]]) -> Egress {
    Egress::new(config, Arc::new(Scripted::new(script))).unwrap()
}

fn loopback() -> Egress {
    egress(config(&["127.0.0.1"]), &[&["127.0.0.1"]])
}

async fn send(egress: &Egress, url: &Url) -> Result<u16, EgressError> {
    egress.send(Method::Get, url, None, None).await.map(|answer| answer.status)
}

#[tokio::test]
async fn a_request_carries_the_method_and_the_text_and_nothing_of_ours() {
    // Rule: belay 16.2 — POST and PUT carry bcapJson as text/plain, GET and DELETE carry nothing
    // Rule: belay 23.6 — no headers are forwarded, no credentials, no referrer
    let other = Other::ok(r#"{"value":7}"#).await;
    let egress = loopback();
    let url = other.url("other.example");
    let body = Some(r#"{"value":1}"#.to_owned());
    let answer = egress.send(Method::Post, &url, body, None).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"value":7}"#[..]));
    assert_eq!(send(&egress, &url).await, Ok(200));
    let heard = other.heard();
    let port = other.address.port();
    let expect = format!(
        "POST /cap/{ID} HTTP/1.1\r\ncontent-type: text/plain;charset=UTF-8\r\n\
        accept: */*\r\nuser-agent: buswire\r\nhost: other.example:{port}\r\ncontent-length: 11\r\n\r\n{{\"value\":1}}"
    );
    assert_eq!(heard[0], expect);
    let expect = format!(
        "GET /cap/{ID} HTTP/1.1\r\naccept: */*\r\nuser-agent: buswire\r\nhost: other.example:{port}\r\n\r\n"
    );
    assert_eq!(heard[1], expect);
}

#[tokio::test]
async fn addresses_that_are_not_public_are_never_connected_to() {
    // Rule: belay 23.6 — the address is resolved and judged; loopback, private and own ones are denied
    let other = Other::ok("").await;
    let refused = Err(EgressError::Refused(Refused::Address));
    for script in [["127.0.0.1"], ["::ffff:127.0.0.1"], ["10.0.0.1"], ["64:ff9b::7f00:1"]] {
        let strict = egress(config(&[]), &[&script]);
        assert_eq!(send(&strict, &other.url("evil.example")).await, refused, "{script:?}");
        assert_eq!(send(&strict, &other.url("localhost")).await, refused, "{script:?}");
    }
    let strict = egress(config(&[]), &[&["127.0.0.1"]]);
    for host in ["127.0.0.1", "[::1]", "2130706433", "0x7f.0.0.1", "127.1", "[::ffff:7f00:1]"] {
        assert_eq!(send(&strict, &other.url(host)).await, refused, "{host}");
    }
    assert_eq!(other.connections(), 0);
    // By its name, a host is allowed whatever its address.
    let by_name = egress(config(&["inner.example"]), &[&["127.0.0.1"]]);
    assert_eq!(send(&by_name, &other.url("inner.example")).await, Ok(200));
    assert_eq!(send(&by_name, &other.url("evil.example")).await, refused);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    // Rule: belay 23.6 — the address that was judged is the one that is connected to
    // 127.0.0.1 plays an address that is allowed, 127.0.0.2 one that is not.
    let other = Other::ok("").await;
    let inner = TcpListener::bind(("127.0.0.2", other.address.port())).await.unwrap();
    let resolver = Scripted::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let rebinding = Egress::new(config(&["127.0.0.1"]), Arc::new(resolver.clone())).unwrap();
    let url = other.url("rebind.example");
    assert_eq!(send(&rebinding, &url).await, Ok(200));
    assert_eq!(resolver.1.load(Ordering::SeqCst), 1, "a connection resolves once");
    assert_eq!(send(&rebinding, &url).await, Err(EgressError::Refused(Refused::Address)));
    assert!(inner.accept().now_or_never().is_none(), "nobody came");
    // Of several addresses only those that are allowed are tried.
    let mixed = egress(config(&["127.0.0.1"]), &[&["10.0.0.1", "127.0.0.1", "169.254.169.254"]]);
    assert_eq!(send(&mixed, &other.url("mixed.example")).await, Ok(200));
    assert_eq!(other.connections(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    // Rule: belay 23.6 — no redirects: one would tell the path's secret to another host
    let elsewhere = Other::ok("").await;
    let location = elsewhere.url("127.0.0.1");
    let other = Other::status(&format!("302 Found\r\nLocation: {location}")).await;
    assert_eq!(send(&loopback(), &other.url("127.0.0.1")).await, Ok(302));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time_and_requests_in_number() {
    // Rule: belay 23.6 — response size and time are limited
    let other = Other::ok(&"x".repeat(5000)).await;
    let small = egress(EgressConfig { answer_bytes_max: 4999, ..config(&["127.0.0.1"]) }, &[]);
    assert_eq!(send(&small, &other.url("127.0.0.1")).await, Err(EgressError::TooLong));
    let silent = Other::ok("").await;
    silent.answers.forget_permits(1000);
    let timeout = Duration::from_millis(50);
    let hasty = egress(EgressConfig { timeout, ..config(&["127.0.0.1"]) }, &[]);
    assert_eq!(send(&hasty, &silent.url("127.0.0.1")).await, Err(EgressError::Timeout));
    let silent = Other::ok("").await;
    silent.answers.forget_permits(1000);
    let single = egress(EgressConfig { in_flight_max: 1, ..config(&["127.0.0.1"]) }, &[]);
    let url = silent.url("127.0.0.1");
    let first = send(&single, &url);
    let second = async {
        while silent.heard().is_empty() {
            tokio::task::yield_now().await;
        }
        let second = send(&single, &url).await;
        silent.answers.add_permits(1);
        second
    };
    assert_eq!(tokio::join!(first, second), (Ok(200), Err(EgressError::Busy)));
}

#[tokio::test]
async fn no_error_shows_a_url() {
    // Rule: belay 21.7 — errors of requests to other servers do not show what was asked
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url =
        Url::parse(&format!("http://secret-host.example:{}/cap/{ID}", closed.port())).unwrap();
    let error = send(&loopback(), &url).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(ID) && !shown.contains("secret-host"), "{shown}");
}

async fn world(egress: Egress) -> World {
    world_with(egress, |config| config).await
}

async fn world_with(egress: Egress, change: impl FnOnce(Config) -> Config) -> World {
    let world = World::with(change).await;
    let item = UrlItem::new(world.server.config(), Arc::new(egress));
    world.server.register("url", Arc::new(item)).unwrap();
    world
}

#[tokio::test]
async fn a_url_item_passes_method_data_and_result() {
    // Rule: belay 20.2 — url proxies the allowed methods to an absolute URL
    let other = Other::ok(r#"{"value":{"cap":{"@":"https://third.example/cap/1"}}}"#).await;
    let world = world(loopback()).await;
    let target = format!(r#"{{"url":"{}","methods":["GET","POST"]}}"#, other.url("127.0.0.1"));
    let granted = world.grant("url", &target, "{}").await;
    let answer = world.call("POST", &granted.cap, r#"{"value":[1]}"#).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, r#"{"value":{"cap":{"@":"https://third.example/cap/1"}}}"#);
    assert!(other.heard()[0].ends_with("\r\n\r\n{\"value\":[1]}"), "{:?}", other.heard());
    let refused = world.call("DELETE", &granted.cap, "").await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST")));
    // What is limited to channels can't be passed to somebody who does not know the limit.
    let narrow = world.wrap(&granted.cap, r#"{"channels":["a"]}"#).await;
    assert_eq!(world.call("GET", &narrow.cap, "").await.status, 403);
    // The one above it dies: nothing is asked any more.
    world.server.revoke(&granted.handle).await.unwrap();
    assert_eq!(world.call("GET", &granted.cap, "").await.status, 404);
    assert_eq!(other.connections(), 1);
    let shown = world.server.list(None, 10).await.unwrap();
    assert!(!format!("{shown:?}").contains(ID));
}

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Span>>);

impl Recorder for Kept {
    fn record(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }
}

#[tokio::test]
async fn a_url_item_names_the_span_of_the_invocation_if_there_is_one_and_passes_no_header_on() {
    // Rule: belay 23.6 — no headers are forwarded, no credentials, no referrer
    let (trace, caller) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let kept = Arc::new(Kept::default());
    let tracer = Tracer::new(Arc::new(VirtualClock::default()), Arc::new(SeededEntropy::new(2)));
    let tracer = tracer.recording(kept.clone(), SampleRatio::ALL);
    for tracer in [None, Some(tracer)] {
        let is_recorded = tracer.is_some();
        let other = Other::ok("").await;
        let change = |mut config: Config| {
            config.tracer = tracer;
            config
        };
        let world = world_with(loopback(), change).await;
        let target = format!(r#"{{"url":"{}"}}"#, other.url("127.0.0.1"));
        let granted = world.grant("url", &target, "{}").await;
        let path = common::path_of(granted.cap.expose());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: gw.example\r\nConnection: close\r\nX-Mine: 1\r\n\
             traceparent: 00-{trace}-{caller}-01\r\n\r\n"
        );
        assert_eq!(world.raw(&request).await.status, 200);
        let heard = other.heard()[0].to_ascii_lowercase();
        assert!(!heard.contains("x-mine") && !heard.contains(caller), "{heard}");
        let spans = std::mem::take(&mut *kept.0.lock().unwrap());
        assert_eq!(spans.len(), usize::from(is_recorded));
        assert_eq!(heard.contains("traceparent"), is_recorded, "{heard}");
        for Span { context, parent, work, .. } in spans {
            assert!(heard.contains(&format!("traceparent: {context}\r\n")), "{heard}");
            assert_eq!(parent.map(|parent| format!("{parent:016x}")).as_deref(), Some(caller));
            let expected = Work::Invoke { kind: "url".into(), method: "GET", status: 200 };
            assert_eq!(work, expected);
        }
    }
}

#[tokio::test]
async fn failures_of_another_server_have_statuses_of_ours() {
    // Rule: belay 16.5 — statuses from 400 on raise an error; what is no bcapJson is 502
    let world = world(loopback()).await;
    for (line, status) in [
        ("204 No Content", 200),
        ("404 Not Found", 404),
        ("410 Gone", 404),
        ("403 Forbidden", 403),
        ("405 Method Not Allowed", 405),
        ("429 Too Many Requests\r\nRetry-After: 9", 429),
        ("503 Service Unavailable", 503),
        ("500 Oops", 502),
        ("301 Moved Permanently\r\nLocation: http://10.0.0.1/", 502),
    ] {
        let other = Other::status(line).await;
        let target = format!(r#"{{"url":"{}"}}"#, other.url("127.0.0.1"));
        let granted = world.grant("url", &target, "{}").await;
        let answer = world.call("GET", &granted.cap, "").await;
        assert_eq!(answer.status, status, "{line}");
        if status == 429 {
            assert_eq!(answer.header("retry-after"), Some("9"));
        }
    }
    let other = Other::ok("<html>").await;
    let target = format!(r#"{{"url":"{}"}}"#, other.url("127.0.0.1"));
    let granted = world.grant("url", &target, "{}").await;
    assert_eq!(world.call("GET", &granted.cap, "").await.status, 502);
}

#[tokio::test]
async fn what_the_policy_refuses_is_not_granted() {
    // Rule: belay 23.6 — a url item to a place that the policy refuses is not granted
    let world = world(egress(EgressConfig::default(), &[])).await;
    for url in ["http://other.example/x", "https://127.0.0.1/x", "https://[fd00::1]/x"] {
        let target = format!(r#"{{"url":"{url}"}}"#);
        let request = buswire_belay::GrantRequest::parse("url", &target, "", "").unwrap();
        assert!(world.server.grant(request).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn own_capabilities_are_invoked_in_the_process() {
    // Rule: belay 16.5 — a capability of the server itself is run in the process
    // Rule: belay 23.6 — own capabilities are dispatched in the process, not over the network
    let world = world(egress(EgressConfig::default(), &[])).await;
    let inner = world.grant("test.echo", "{}", "{}").await;
    let target = format!(r#"{{"url":{{"@":"{}"}}}}"#, inner.cap.expose());
    let outer = world.grant("url", &target, r#"{"channels":["a"]}"#).await;
    let said = world.call("POST", &outer.cap, r#"{"value":{"channel":"a"}}"#).await;
    assert_eq!((said.status, said.body.as_str()), (200, r#"{"value":{"channel":"a"}}"#));
    // The limits of the outer one hold for the inner one.
    assert_eq!(world.call("POST", &outer.cap, r#"{"value":{"channel":"b"}}"#).await.status, 403);
    world.server.revoke(&inner.handle).await.unwrap();
    assert_eq!(world.call("POST", &outer.cap, r#"{"value":{"channel":"a"}}"#).await.status, 404);
}

#[tokio::test]
async fn invocations_hang_on_one_another_eight_deep() {
    let world = World::new().await;
    let mut cap = world.grant("test.echo", "{}", "{}").await.cap;
    let mut statuses = Vec::new();
    for _ in 0..9 {
        let target = format!(r#"{{"url":{{"@":"{}"}}}}"#, cap.expose());
        cap = world.grant("url", &target, "{}").await.cap;
        let id = world.server.local_id(&cap).unwrap();
        let done = world.server.invoke(id.expose(), Method::Get, None).await;
        statuses.push(done.map(|value| value == Some(BcapValue::from(Vec::new()))).map(drop));
    }
    assert_eq!(statuses.pop(), Some(Err(BcapError::BadGateway)));
    assert!(statuses.iter().all(Result::is_ok), "{statuses:?}");
}
