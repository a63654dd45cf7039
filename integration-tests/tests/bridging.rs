//! Every source of messages to every sink, in one gateway, each driven by a program that is not ours.
//!
//! `docs/bridging.md` has the table of what was seen here; `BUSWIRE_REGENERATE=1` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path, process::Command};

use buswire_integration_tests::{Gateway, Peer, Site, curl, python, until};
use serde_json::{Value, json};

const BUS: &str = "from.example";
/// The secret of the window's id, and the id.
const WINDOW: [&str; 2] =
    ["eba68eea-75f2-4b05-b87a-08365cc58043", "66c6bd1f4cda24069debe0efa2193f64baeae867"];
const CHANNELS: [&str; 2] =
    ["8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b11", "8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b12"];

/// Where messages come from.
const SOURCES: [&str; 6] = [
    "Backplane 1.x post",
    "Backplane 2.0 post",
    "SimplePush inbound PUT",
    "MDP `bus.publish`",
    "BCAP `bus.publish`",
    "gRPC `Publish`",
];

/// Where they go.
const SINKS: [&str; 8] = [
    "bus",
    "MDP service",
    "MDP service with reply",
    "SimplePush endpoint",
    "`push:subscribers`",
    "BCAP over HTTP",
    "BCAP in a window",
    "gRPC `Subscribe`",
];

fn granted(gateway: &Gateway, kind: &str, target: &Value) -> String {
    let granted = gateway.admin(&["cap", "grant", kind, "--target", &target.to_string()]);
    let granted: Value = serde_json::from_str(&granted).unwrap();
    granted["cap"].as_str().unwrap().to_owned()
}

fn messages(gateway: &Gateway, scope: &str) -> Vec<Value> {
    let lines = gateway.admin(&["message", "read", "--scope", scope]);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The number in a payload: which source it is from.
fn origin(payload: &Value) -> Option<usize> {
    let data = payload.get("data").and_then(Value::as_str).and_then(|text| text.parse().ok());
    payload.get("n").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok()).or(data)
}

/// Publishes one message by each source, its number in the payload.
fn publish_all(gateway: &Gateway) {
    // A user of 1.x with its bus.
    let password = gateway.path("password");
    fs::write(&password, "s3cret").unwrap();
    let v1 = format!("v1/{BUS}");
    let file = password.display().to_string();
    gateway.admin(&["user", "create", "shop", "--password-file", &file]);
    gateway.admin(&["user", "permit", "shop", &v1, "GETALL", "POST"]);
    let channel = curl(&gateway.url(&format!("/v1.2/bus/{BUS}/channel/new"))).send().json();
    let url = format!("/v1.2/bus/{BUS}/channel/{}", channel.as_str().unwrap());
    let message = r#"[{"source":"https://shop.example/","type":"t","payload":{"n":0}}]"#;
    let posted = curl(&gateway.url(&url)).args(&["--user", "shop:s3cret"]).json(message).send();
    assert_eq!(posted.status, 200, "{}", posted.body);

    let site = Site::client(gateway, BUS);
    let visit = site.visit(gateway);
    site.post(gateway, &visit.channel, "t", r#"{"n":1}"#);

    let inbound = ["--bus", BUS, "--channel", "in", "--type", "t", "--output", "json"];
    let made = gateway.admin(&[&["push", "inbound", "create"], &inbound[..]].concat());
    let made: Value = serde_json::from_str(&made).unwrap();
    let put = curl(made["endpoint"].as_str().unwrap()).method("PUT").args(&["--data", "data=2"]);
    assert_eq!(put.send().status, 200);

    let cap = granted(gateway, "bus.publish", &json!({ "bus": BUS }));
    let message = r#"{"channel":"c","type":"t","payload":{"n":3}}"#;
    let mdp = python("mdp_client", &[&gateway.bound().mdp, "bus.publish", &cap, message]);
    assert_eq!(mdp.json()[2], "200");

    let body = r#"{"value":{"channel":"c","type":"t","payload":{"n":4}}}"#;
    assert_eq!(curl(&cap).method("POST").json(body).send().status, 200);

    let message = ["--bus", BUS, "--channel", "c", "--type", "t", "--payload", r#"{"n":5}"#];
    gateway.admin(&[&["message", "publish"], &message[..]].concat());
}

/// A user agent with one channel, and the endpoint of that.
fn agent(gateway: &Gateway, channel: &str) -> (Peer, String) {
    let mut agent = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    assert_eq!(agent.json()["status"], 200);
    agent.say(&format!(r#"{{"messageType":"register","channelID":"{channel}"}}"#));
    let endpoint = agent.json()["pushEndpoint"].as_str().unwrap().to_owned();
    (agent, endpoint)
}

/// The sinks, each at work.
struct Sinks {
    to: Gateway,
    quiet: Peer,
    asked: Peer,
    agents: [Peer; 2],
    window: Peer,
}

impl Sinks {
    fn open(gateway: &Gateway) -> Self {
        let [quiet, asked] = ["quiet", "asked"].map(|name| {
            let worker = python("mdp_worker", &[&gateway.bound().mdp, name, "json"]);
            assert_eq!(worker.json()["event"], "ready");
            worker
        });
        let [(one, endpoint), (other, subscriber)] = CHANNELS.map(|id| agent(gateway, id));
        for bus in [BUS.to_owned(), format!("v1/{BUS}")] {
            let subscribe = granted(gateway, "push.subscribe", &json!({ "bus": bus }));
            let body = json!({"value": {"endpoint": subscriber}}).to_string();
            assert_eq!(curl(&subscribe).method("PUT").json(&body).send().status, 200);
        }
        let to = Gateway::spawn();
        to.admin(&["bus", "create", "far.example"]);
        let cap = granted(&to, "bus.publish", &json!({"bus": "far.example", "channel": "c"}));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/js/window.mjs");
        let relay = format!("ws://{}/belay/relay", gateway.bound().http);
        let [secret, id] = WINDOW;
        let window = Peer::start(Command::new("node").args([script, &relay, id, secret]));
        assert_eq!(window.json()["op"], "registered");
        let urn = format!("cap:urn:x-cap:{id}:d859f7a0-4008-4c35-a99a-b7a23a5fc35d");
        gateway.admin(&["bus", "create", "to.example"]);
        let scope = format!("bus:{BUS} bus:v1/{BUS} type:t");
        for (name, sink, more) in [
            ("bus", "bus:to.example", &[][..]),
            ("quiet", "mdp:quiet", &[]),
            ("asked", "mdp:asked", &["--reply-type", "answer"]),
            ("push", &format!("push:{endpoint}"), &[]),
            ("subscribers", "push:subscribers", &[]),
            ("cap", &format!("cap:{cap}"), &[]),
            ("window", &urn, &[]),
        ] {
            let route = ["route", "create", name, "--scope", &scope, "--sink", sink];
            gateway.admin(&[&route[..], more].concat());
        }
        Self { to, quiet, asked, agents: [one, other], window }
    }

    /// Which sources came through to each sink, in the order of [`SINKS`].
    fn seen(self, gateway: &Gateway, ids: &[String]) -> Vec<BTreeSet<usize>> {
        let wait = |what: &str, look: &dyn Fn() -> BTreeSet<usize>| {
            until(what, || Some(look()).filter(|seen| seen.len() == SOURCES.len()))
        };
        let on_bus = |gateway: &Gateway, scope: &str| -> BTreeSet<usize> {
            messages(gateway, scope).iter().filter_map(|m| origin(&m["payload"])).collect()
        };
        let requests = |worker: &Peer| -> BTreeSet<usize> {
            let mut seen = BTreeSet::new();
            while seen.len() < SOURCES.len() {
                let line = worker.json();
                if line["event"] == "request" {
                    let body: Value =
                        serde_json::from_str(line["body"][0].as_str().unwrap()).unwrap();
                    seen.extend(origin(&body));
                }
            }
            seen
        };
        let versions = |agent: &Peer| -> BTreeSet<usize> {
            // Versions only grow: the last message's is the last that is told, and tells of all.
            let last = ids.len();
            let mut version = 0;
            let newest = version_of(ids.last().unwrap());
            while version < newest {
                let update = agent.json();
                version = update["updates"][0]["version"].as_u64().unwrap();
            }
            assert_eq!(version, newest);
            (0..last).collect()
        };
        let windowed = || -> BTreeSet<usize> {
            let mut seen = BTreeSet::new();
            while seen.len() < SOURCES.len() {
                let data = self.window.json();
                let data: Value = serde_json::from_str(data["data"].as_str().unwrap()).unwrap();
                seen.extend(origin(&data["value"]["payload"]).or_else(|| origin(&data["value"])));
            }
            seen
        };
        let answers = || -> BTreeSet<usize> {
            let scope = format!("bus:{BUS} bus:v1/{BUS} type:answer");
            messages(gateway, &scope).iter().filter_map(|m| origin(&m["payload"]["seen"])).collect()
        };
        let scope = format!("bus:{BUS} bus:v1/{BUS} type:t");
        let tail = ["message", "tail", "--scope", &scope, "--since", "beginning", "--count", "6"];
        let subscribed = gateway.admin(&tail);
        let subscribed = subscribed
            .lines()
            .filter_map(|line| origin(&serde_json::from_str::<Value>(line).unwrap()["payload"]));
        vec![
            wait("the bus has all", &|| on_bus(gateway, "bus:to.example")),
            requests(&self.quiet),
            {
                requests(&self.asked);
                wait("every answer is published", &answers)
            },
            versions(&self.agents[0]),
            versions(&self.agents[1]),
            wait("the other gateway has all", &|| on_bus(&self.to, "bus:far.example")),
            windowed(),
            subscribed.collect(),
        ]
    }
}

/// The version that push endpoints are told for a message: its id as one number.
fn version_of(id: &str) -> u64 {
    let (time, counter) = id.rsplit_once('-').unwrap();
    let time = Command::new("date").args(["-ud", time, "+%s%3N"]).output().unwrap().stdout;
    let millis: u64 = String::from_utf8(time).unwrap().trim().parse().unwrap();
    let since_2020 = millis - 1_577_836_800_000;
    (since_2020 << 12) | counter.parse::<u64>().unwrap()
}

fn table(seen: &[BTreeSet<usize>]) -> String {
    let mut text =
        format!("| source | {} |\n|---|{}\n", SINKS.join(" | "), "---|".repeat(SINKS.len()));
    for (number, source) in SOURCES.iter().enumerate() {
        let cells = seen.iter().map(|sink| if sink.contains(&number) { "yes" } else { "no" });
        writeln!(text, "| {source} | {} |", cells.collect::<Vec<_>>().join(" | ")).unwrap();
    }
    text
}

#[test]
fn every_source_reaches_every_sink() {
    // The other gateway is on this machine too.
    let gateway = Gateway::builder()
        .set("belay.egress.allow_http", "true")
        .set("belay.egress.allow", r#"["127.0.0.1"]"#)
        .start();
    gateway.admin(&["bus", "create", BUS]);
    gateway.admin(&["bus", "create", &format!("v1/{BUS}")]);
    let sinks = Sinks::open(&gateway);
    publish_all(&gateway);
    let scope = format!("bus:{BUS} bus:v1/{BUS} type:t");
    let ids: Vec<String> = messages(&gateway, &scope)
        .iter()
        .map(|message| message["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), SOURCES.len());
    let seen = sinks.seen(&gateway, &ids);
    let table = table(&seen);
    assert!(!table.contains("| no"), "{table}");

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bridging.md");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let (before, rest) = text.split_once("<!-- table -->\n").expect("a place for the table");
    let (_, after) = rest.split_once("<!-- end of table -->").expect("an end of the table");
    let wanted = format!("{before}<!-- table -->\n{table}<!-- end of table -->{after}");
    if std::env::var_os("BUSWIRE_REGENERATE").is_some() {
        fs::write(&file, wanted).unwrap();
    } else {
        assert_eq!(text, wanted, "BUSWIRE_REGENERATE=1 writes docs/bridging.md anew");
    }
}
