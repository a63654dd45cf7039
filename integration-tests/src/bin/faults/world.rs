//! What a round has: servers, gateways, a bus with routes, clients.
//!
//! Never here: load, faults.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use buswire_integration_tests::{Gateway, HttpSink, Single, Site, Visit};
use buswire_testkit::{RedisSentinel, RedisServer};
use serde_json::{Value, json};

use crate::slow::SlowWay;

/// What seals the targets of capabilities: gateways that share a store share it.
const KEYS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The bus that is posted to, and the one that routes copy to.
pub(crate) const BUS: &str = "shop.example";
pub(crate) const COPY: &str = "copy.example";
/// How many programs post, each on a channel of its own.
pub(crate) const POSTERS: usize = 4;
/// Routes to a channel of the other bus, and to an HTTP server.
pub(crate) const BUS_ROUTES: [&str; 4] = ["b0", "b1", "b2", "b3"];
pub(crate) const HTTP_ROUTES: [&str; 4] = ["h0", "h1", "h2", "h3"];
/// The route to an endpoint of SimplePush, made when the client has one.
pub(crate) const PUSH_ROUTE: &str = "p0";
/// Capabilities for one use.
const ONE_USE: usize = 24;

/// What keeps the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One server, with this `appendfsync`.
    One(&'static str),
    /// The same, reached by a way that can be slow.
    Slow,
    /// A master and so many replicas, a sentinel, and this `min-replicas-to-write`.
    Sentinel(u8, &'static str),
    /// One gateway alone, on a small disk.
    Embedded,
}

/// What capabilities there are.
#[derive(Clone, Debug)]
pub(crate) struct Caps {
    /// Publishes to a channel.
    pub(crate) publish: String,
    /// Publish to a channel once.
    pub(crate) once: Vec<String>,
}

pub(crate) struct World {
    pub(crate) servers: Vec<RedisServer>,
    /// Runs as long as this lives.
    _sentinel: Option<RedisSentinel>,
    pub(crate) slow: Option<SlowWay>,
    pub(crate) gateways: Vec<Gateway>,
    /// Where each gateway is, for the clients.
    pub(crate) places: Arc<RwLock<Vec<String>>>,
    pub(crate) site: Site,
    pub(crate) visits: Vec<Visit>,
    pub(crate) http: HttpSink,
    pub(crate) caps: Caps,
    pub(crate) disk: Option<tempfile::TempDir>,
}

/// The address at which a gateway finds Redis.
pub(crate) fn address(gateway: usize) -> String {
    format!("127.0.1.{}", gateway + 1)
}

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) channel: String,
    pub(crate) number: u64,
}

impl World {
    pub(crate) fn start(kind: Kind) -> Self {
        let (servers, sentinel, slow, urls) = stores(kind);
        let (gateways, disk) = gateways(kind, &urls);
        let first = &gateways[0];
        let limits = ["--max-messages", "100000", "--retention", "3h"];
        let site = Site::create(first, BUS, &limits);
        first.admin(&[&["bus", "create", COPY], &limits[..]].concat());
        let visits = (0..POSTERS).map(|_| site.visit(first)).collect();
        let http = HttpSink::start();
        for (index, name) in BUS_ROUTES.iter().chain(&HTTP_ROUTES).enumerate() {
            let is_bus = BUS_ROUTES.contains(name);
            let sink = if is_bus { format!("bus:{COPY}/{name}") } else { http.uri(name) };
            let at = &gateways[index % gateways.len()];
            at.admin(&["route", "create", name, "--scope", &format!("bus:{BUS}"), "--sink", &sink]);
        }
        let caps = Caps {
            publish: grant(first, "cap", &json!({})),
            once: (0..ONE_USE).map(|_| grant(first, "once", &json!({"uses": 1}))).collect(),
        };
        let places = Arc::new(RwLock::new(gateways.iter().map(|g| g.url("")).collect()));
        Self {
            servers,
            _sentinel: sentinel,
            slow,
            gateways,
            places,
            site,
            visits,
            http,
            caps,
            disk,
        }
    }

    /// Makes the route to a client of SimplePush.
    pub(crate) fn route_to(&self, endpoint: &str) {
        let (scope, sink) = (format!("bus:{BUS}"), format!("push:{endpoint}"));
        self.gateways[0]
            .admin(&["route", "create", PUSH_ROUTE, "--scope", &scope, "--sink", &sink]);
    }

    /// Tells the clients where gateways are that were started again.
    pub(crate) fn tell(&self) {
        *self.places.write().unwrap() = self.gateways.iter().map(|g| g.url("")).collect();
    }

    /// Whether every route to the HTTP server delivered something since `then`.
    pub(crate) fn routes_ran_since(&self, then: Instant) -> bool {
        let mut last = BTreeMap::new();
        for taken in self.http.taken() {
            last.insert(taken.path.get(..8).map(str::to_owned), taken.at);
        }
        last.len() == HTTP_ROUTES.len() && last.values().all(|at| *at > then)
    }

    /// Everything that a bus has, in its order.
    pub(crate) fn stored(&self, bus: &str) -> Vec<Stored> {
        let count = self.count(bus).to_string();
        if count == "0" {
            return Vec::new();
        }
        let scope = format!("bus:{bus}");
        let tail =
            ["message", "tail", "--scope", &scope, "--since", "beginning", "--count", &count];
        let lines = self.gateways[0].admin(&tail);
        let stored = |line: &str| {
            let message: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
            let number = message["payload"].as_u64().unwrap();
            Stored { id: text("id"), channel: text("channel"), number }
        };
        lines.lines().map(stored).collect()
    }

    /// How many messages a bus has.
    pub(crate) fn count(&self, bus: &str) -> u64 {
        let shown = self.gateways[0].admin(&["bus", "show", bus, "--output", "json"]);
        serde_json::from_str::<Value>(&shown).unwrap()["messages"].as_u64().unwrap()
    }

    /// What all gateways logged.
    pub(crate) fn logs(&self) -> String {
        self.gateways.iter().map(Gateway::log).collect()
    }

    /// What routes say of themselves and what was logged, in a file of this name, for whoever looks why
    /// a promise was broken.
    pub(crate) fn keep_evidence(&self, name: &str) -> PathBuf {
        let told = self.gateways[0].admin(&["route", "list", "--output", "json"]);
        let path = std::env::temp_dir().join(name);
        fs::write(&path, format!("{told}\n{}", self.logs())).unwrap();
        path
    }
}

/// Starts the gateways; the disk of the one that is alone.
fn gateways(kind: Kind, urls: &[String]) -> (Vec<Gateway>, Option<tempfile::TempDir>) {
    let settings = |url: &str, name: &str| {
        Gateway::single(Single::OwnFleet)
            .set("store.url", url)
            .set("belay.keys", KEYS)
            .set("belay.egress.allow_http", "true")
            .set("belay.egress.allow", r#"["127.0.0.1"]"#)
            .set("gateway_name", name)
    };
    if kind != Kind::Embedded {
        let named = urls.iter().enumerate();
        let started = named.map(|(index, url)| settings(url, &format!("g{index}")).start());
        return (started.collect(), None);
    }
    let disk = tempfile::tempdir().unwrap();
    mount(&disk);
    let data_dir = disk.path().join("data");
    let gateway =
        settings("embedded:", "g0").set("data_dir", &data_dir.display().to_string()).start();
    // Commands look for the token in the folder of the gateway.
    fs::create_dir_all(gateway.path("data")).unwrap();
    fs::copy(data_dir.join("admin.token"), gateway.path("data/admin.token")).unwrap();
    (vec![gateway], Some(disk))
}

fn grant(gateway: &Gateway, channel: &str, limits: &Value) -> String {
    let target = json!({"bus": BUS, "channel": channel}).to_string();
    let limits = limits.to_string();
    let grant = ["cap", "grant", "bus.publish", "--target", &target, "--limits", &limits];
    let granted: Value = serde_json::from_str(&gateway.admin(&grant)).unwrap();
    // Its path: any gateway serves it.
    format!("/{}", granted["cap"].as_str().unwrap().splitn(4, '/').nth(3).unwrap())
}

/// A disk of 64 MiB, which goes with the name space of mounts.
fn mount(folder: &tempfile::TempDir) {
    let mut command = std::process::Command::new("mount");
    let command = command.args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(folder.path());
    assert!(command.status().unwrap().success(), "a disk can be mounted");
}

type Stores = (Vec<RedisServer>, Option<RedisSentinel>, Option<SlowWay>, Vec<String>);

/// Starts what keeps the state; how each gateway reaches it.
fn stores(kind: Kind) -> Stores {
    let (first, second) = (address(0), address(1));
    let bind = ["--bind", "127.0.0.1", &first, &second];
    match kind {
        Kind::Embedded => (Vec::new(), None, None, Vec::new()),
        Kind::One(fsync) => {
            let server = RedisServer::start(&[&bind[..], &["--appendfsync", fsync]].concat());
            let url = |address: &String| format!("redis://{address}:{}", server.port());
            let urls = vec![url(&first), url(&second)];
            (vec![server], None, None, urls)
        }
        Kind::Slow => {
            let server = RedisServer::start(&["--appendfsync", "always"]);
            let way = SlowWay::to(server.port());
            let urls = vec![format!("redis://127.0.0.1:{}", way.port); 2];
            (vec![server], None, Some(way), urls)
        }
        Kind::Sentinel(replicas, min) => {
            let options = [
                ["--appendfsync", "always"],
                ["--min-replicas-to-write", min],
                ["--min-replicas-max-lag", "2"],
                ["--repl-ping-replica-period", "1"],
                ["--repl-diskless-sync-delay", "0"],
            ];
            let servers = RedisServer::replicated(replicas + 1, options.as_flattened());
            let down_after = Duration::from_secs(1);
            let sentinel = RedisSentinel::apart("127.0.2.1", &servers[0], down_after);
            let known = || {
                let known = sentinel.cli(&["sentinel", "replicas", "main"]);
                servers.iter().skip(1).all(|server| known.contains(&server.port().to_string()))
            };
            servers[0].until("the sentinel knows the replicas", known);
            let urls = vec![format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port()); 2];
            (servers, Some(sentinel), None, urls)
        }
    }
}
