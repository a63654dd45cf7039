//! A door on a TCP socket, and a client that speaks bytes.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    middleware::map_request,
    routing::get,
};
use buswire_backplane::{
    Administrator, Backplane, Config, CreatedClient, GrantId, NewClient, NewPassword, OwnedBus,
    PasswordCost, Permission, Permissions, PublicUrl, TlsPolicy, V1Bus,
};
use buswire_bus::{BusConfig, BusLimits, Buses};
use buswire_message::{BusName, Clock, Retention, Secret, SecretHash, Timestamp};
use buswire_store::{Store, memory::MemoryStore};
use buswire_testkit::{SeededEntropy, VirtualClock};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// `commentsco:quiet-harbor-7`.
pub(crate) const USER: &str = "Y29tbWVudHNjbzpxdWlldC1oYXJib3ItNw==";
/// `comments-svc:tangled-kelp-4`.
pub(crate) const CLIENT: &str = "Y29tbWVudHMtc3ZjOnRhbmdsZWQta2VscC00";

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Door {
    pub(crate) backplane: Backplane,
    pub(crate) buses: Buses,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: VirtualClock,
    pub(crate) address: SocketAddr,
    pub(crate) grant: GrantId,
    shutdown: CancellationToken,
    _tasks: TaskTracker,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The settings of the tests: those of the worked examples, with cheap password hashes.
pub(crate) fn config() -> Config {
    Config {
        tls: TlsPolicy::Optional,
        password_cost: PasswordCost { memory_kib: 8, iterations: 1 },
        administrators: vec![Administrator {
            name: "bpadmin".to_owned(),
            secret: SecretHash::of("copper-lantern"),
        }],
        ..Config::new(PublicUrl::parse("https://bp.example.net").unwrap())
    }
}

impl Door {
    /// The installation of the worked examples (Backplane §18).
    pub(crate) async fn start() -> Self {
        Self::start_with(config(), Retention::default()).await
    }

    pub(crate) async fn start_with(config: Config, retention: Retention) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = VirtualClock::default();
        let bus_config = BusConfig {
            message_url_prefix: config.public_url.message_url_prefix(),
            limits: BusLimits::default(),
            tracer: None,
        };
        let buses =
            Buses::open(Arc::clone(&store), Arc::new(clock.clone()), bus_config).await.unwrap();
        let backplane = Backplane::new(
            buses.clone(),
            Arc::clone(&store),
            Arc::new(clock.clone()),
            Arc::new(SeededEntropy::new(7)),
            config,
        );
        let grant = set_up(&backplane, retention).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let site = backplane.clone();
        let router = Router::new()
            .merge(backplane.router())
            .route("/", get(async move || site.welcome()))
            .fallback(async || Backplane::unknown_url())
            .layer(map_request(from_elsewhere));
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(buses.run(shutdown.clone()));
        let (door, stop) = (backplane.clone(), shutdown.clone());
        tasks.spawn(async move { door.run(stop).await });
        let stop = shutdown.clone();
        tasks.spawn(async move {
            axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
        });
        Self { backplane, buses, store, clock, address, grant, shutdown, _tasks: tasks }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock and ends the waits that are over.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.buses.tick();
    }

    /// Sends bytes, with lines ended by CRLF, and reads one answer.
    pub(crate) async fn send(&self, request: &str) -> Answer {
        exchange(self.address, request).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send(&format!("GET {target} HTTP/1.1\nHost: bp.example.net\n\n")).await
    }

    pub(crate) async fn get_as(&self, target: &str, authorization: &str) -> Answer {
        let request = format!(
            "GET {target} HTTP/1.1\nHost: bp.example.net\nAuthorization: {authorization}\n\n"
        );
        self.send(&request).await
    }

    pub(crate) async fn post(
        &self,
        target: &str,
        authorization: &str,
        kind: &str,
        body: &str,
    ) -> Answer {
        let request = format!(
            "POST {target} HTTP/1.1\nHost: bp.example.net\nAuthorization: {authorization}\n\
             Content-Type: {kind}\nContent-Length: {}\n\n{body}",
            body.len()
        );
        self.send(&request).await
    }

    /// Posts JSON to a 1.x channel as the user of the examples.
    pub(crate) async fn post_v1(&self, channel: &str, body: &str) -> Answer {
        let target = format!("/v1.2/bus/gazette.example/channel/{channel}");
        self.post(&target, &format!("Basic {USER}"), "application/json", body).await
    }

    /// A token for a visit: access token, refresh token, channel.
    pub(crate) async fn visit(&self) -> Visit {
        let answer = self.get("/v2/token?callback=f&bus=gazette.example").await;
        Visit::read(&answer)
    }

    /// A privileged access and refresh token of the client of the examples.
    pub(crate) async fn client_tokens(&self) -> (String, String) {
        let answer = self.token_request("grant_type=client_credentials").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let json = answer.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        (text("access_token"), text("refresh_token"))
    }

    pub(crate) async fn token_request(&self, form: &str) -> Answer {
        let kind = "application/x-www-form-urlencoded";
        self.post("/v2/token", &format!("Basic {CLIENT}"), kind, form).await
    }

    pub(crate) async fn post_message(&self, token: &str, body: &str) -> Answer {
        self.post("/v2/message", &format!("Bearer {token}"), "application/json", body).await
    }
}

/// Lets a request come from another machine: what comes from this one is not limited.
async fn from_elsewhere(mut request: Request) -> Request {
    let address = SocketAddr::from(([203, 0, 113, 7], 40_000));
    request.extensions_mut().insert(ConnectInfo(address));
    request
}

/// The tokens and the channel of one visit.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) scope: String,
    pub(crate) channel: String,
}

impl Visit {
    pub(crate) fn read(answer: &Answer) -> Self {
        let json = answer.unpadded();
        let text = |name: &str| {
            json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
        };
        let scope = text("scope");
        let channel = scope.rsplit("channel:").next().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token"), scope, channel }
    }
}

async fn set_up(backplane: &Backplane, retention: Retention) -> GrantId {
    let clear = |text: &str| NewPassword::Clear(Secret::new(text.to_owned()));
    let user = "commentsco".parse().unwrap();
    backplane.put_user(&user, clear("quiet-harbor-7"), None).await.unwrap();
    let held = Permissions::none().with(Permission::GetAll).with(Permission::Post);
    let users = BTreeMap::from([(user, held)]);
    let name = "v1/gazette.example".parse().unwrap();
    backplane.put_v1_bus(V1Bus { name, users, retention }).await.unwrap();
    let owner = "gazette-owner".parse().unwrap();
    backplane.put_owner(&owner, clear("paper-and-ink"), None).await.unwrap();
    put_bus(backplane, "gazette.example", retention).await;
    let created = put_client(backplane, "comments-svc", "tangled-kelp-4").await;
    backplane.grant(&created.client_id, &[bus("gazette.example")]).await.unwrap()
}

pub(crate) async fn put_bus(backplane: &Backplane, name: &str, retention: Retention) {
    let owner = "gazette-owner".parse().unwrap();
    backplane.put_bus(OwnedBus { name: bus(name), owner, retention }, None).await.unwrap();
}

pub(crate) async fn put_client(backplane: &Backplane, id: &str, secret: &str) -> CreatedClient {
    let client = NewClient {
        client_id: Some(id.parse().unwrap()),
        secret: Some(Secret::new(secret.to_owned())),
        source_url: "https://comments.example/".parse().unwrap(),
        redirect_uri: "https://comments.example/oauth/cb".parse().unwrap(),
    };
    backplane.put_client(client).await.unwrap()
}

pub(crate) fn bus(name: &str) -> BusName {
    name.parse().unwrap()
}

/// Sends bytes to an address and reads one answer.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> Answer {
    let (head, body) = request.split_once("\n\n").unwrap();
    let bytes = format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n"));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let is_head = request.starts_with("HEAD ");
    tokio::time::timeout(PATIENCE, read_answer(&mut stream, is_head)).await.unwrap()
}

/// Reads one answer, its body by its `Content-Length`.
pub(crate) async fn read_answer(stream: &mut TcpStream, is_head: bool) -> Answer {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the connection ended within a head: {bytes:?}");
        bytes.extend_from_slice(&buffer[..read]);
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap().to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, status_line, headers, body: String::new() };
    let length = match answer.header("content-length") {
        Some(length) if !is_head => length.parse::<usize>().unwrap(),
        _ => 0,
    };
    let mut body = bytes[head_end + 4..].to_vec();
    let missing = length.checked_sub(body.len()).unwrap();
    let mut rest = vec![0; missing];
    stream.read_exact(&mut rest).await.unwrap();
    body.extend(rest);
    answer.body = String::from_utf8(body).unwrap();
    answer
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) status_line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// The JSON within the padding: the name, a parenthesis, JSON, `);`.
    pub(crate) fn unpadded(&self) -> serde_json::Value {
        let (_, rest) = self.body.split_once('(').unwrap();
        serde_json::from_str(rest.strip_suffix(");").unwrap()).unwrap()
    }

    /// Checks an answer against one of the worked examples. Its first lines are the status line and
    /// the headers that it lists; in its body `<name>` stands for letters, digits and `-:.` that
    /// differ from run to run, the same for the same name. Gives what the names stood for.
    pub(crate) fn expect(&self, example: &str) -> BTreeMap<String, String> {
        let (head, body) = example.split_once("\n\n").unwrap_or((example, ""));
        let mut lines = head.lines();
        assert_eq!(self.status_line, lines.next().unwrap(), "{}", self.body);
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            let found = self.header(&name.to_ascii_lowercase());
            assert_eq!(found, Some(value), "{name} of {}", self.body);
        }
        capture(body, &self.body)
    }
}

fn capture(pattern: &str, text: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let (mut pattern_rest, mut text_rest) = (pattern, text);
    while let Some((literal, rest)) = pattern_rest.split_once('<') {
        let (name, after) = rest.split_once('>').unwrap();
        text_rest = text_rest
            .strip_prefix(literal)
            .unwrap_or_else(|| panic!("expected {literal:?} at {text_rest:?} in {text}"));
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
        let end = text_rest.find(|c| !is_part(c)).unwrap_or(text_rest.len());
        let (value, remaining) = text_rest.split_at(end);
        let known = found.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        assert_eq!(known, value, "{name} differs in {text}");
        (pattern_rest, text_rest) = (after, remaining);
    }
    assert_eq!(text_rest, pattern_rest, "the end of {text}");
    found
}

/// Waits until `condition` holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the condition never came to hold");
}
