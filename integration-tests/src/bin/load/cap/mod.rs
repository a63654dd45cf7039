//! Invocations of capabilities over HTTP, beside servers that only answer as much.
//!
//! Never here: many live grants, which is `grants`.

pub(crate) mod grants;

use buswire_integration_tests::{Gateway, curl};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    exchange,
    http::{Connection, Message, get, post},
    mdp::Echo,
    posts,
    stats::{Floor, Plan, Run},
    table,
};

/// Clients that each invoke again as soon as they are answered.
const CLIENTS: usize = 64;
/// Levels of the chains: the grant alone, and with seven wraps of one another.
const DEPTHS: [usize; 2] = [1, 8];
/// Workers of the service that is called.
const WORKERS: usize = 4;
const BUS: &str = "load.example";

/// What is invoked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// `bus.read` of a channel with so many messages.
    Read(usize),
    Publish,
    Call,
}

impl Work {
    const ALL: [Self; 4] = [Self::Read(0), Self::Read(10), Self::Publish, Self::Call];

    fn name(self) -> String {
        match self {
            Self::Read(messages) => format!("bus.read of {messages}"),
            Self::Publish => "bus.publish".into(),
            Self::Call => "rpc.call".into(),
        }
    }
}

/// Measures everything, or the part that the first word names.
pub(crate) fn measure(words: &[&str]) {
    let part = words.first().copied().filter(|word| !word.starts_with("--"));
    if part != Some("grants") {
        let plan = Plan::parse(words, CLIENTS);
        table::head(&plan);
        for work in Work::ALL {
            for depth in DEPTHS {
                compare(&plan, work, depth);
            }
        }
    }
    if part != Some("calls") {
        grants::measure(&Plan::parse(words, CLIENTS), words);
    }
}

fn compare(plan: &Plan, work: Work, depth: usize) {
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", BUS, "--max-messages", "1000000"]);
    let workers = if work == Work::Call { WORKERS } else { 0 };
    let _echo: Vec<_> = (0..workers).map(|_| Echo::start(&gateway.bound().mdp)).collect();
    let requests = [request(&gateway, work, depth)];
    let address = &gateway.bound().http;
    let length = answer(address, &requests[0]).body.len().to_string();
    let bare = Floor::start(&["answer", &length]);
    // Where the gateway keeps its data too.
    let file = NamedTempFile::new().unwrap();
    let durable = Floor::start(&["posts", &file.path().display().to_string()]);

    let mut programs = [("Buswire", Vec::new()), ("bare floor", Vec::new())].to_vec();
    if work == Work::Publish {
        programs.push(("durable floor", Vec::new()));
    }
    let run = |name: &str| -> Run {
        match name {
            "Buswire" => exchange::run(plan, address, &requests, gateway.pid(), ok),
            "bare floor" => exchange::run(plan, &bare.address, &requests, bare.pid(), ok),
            _ => {
                let posts = [posts::plain("/")];
                exchange::run(plan, &durable.address, &posts, durable.pid(), posts::check)
            }
        }
    };
    for _ in 0..plan.rounds {
        for (name, runs) in &mut programs {
            runs.push(run(name));
        }
    }
    table::rows(&format!("{}, depth {depth}", work.name()), &programs);
}

/// The request of an invocation through a chain of `depth` levels.
fn request(gateway: &Gateway, work: Work, depth: usize) -> Vec<u8> {
    let payload = "x".repeat(64);
    let channel = json!({"bus": BUS, "channel": "c"});
    let granted = match work {
        Work::Read(messages) => {
            for _ in 0..messages {
                let message = ["--channel", "c", "--type", "t", "--payload", "1"];
                gateway.admin(&[&["message", "publish", "--bus", BUS], &message[..]].concat());
            }
            grant(gateway, "bus.read", &channel)
        }
        Work::Publish => grant(gateway, "bus.publish", &channel),
        Work::Call => grant(gateway, "rpc.call", &json!({"service": "echo"})),
    };
    let mut url = text(&granted["cap"]);
    for _ in 1..depth {
        let of = json!({"value": {"of": {"@": url}}});
        let wrapped = curl(&gateway.url("/belay/wrap")).json(&of.to_string()).send();
        assert_eq!(wrapped.status, 200, "{}", wrapped.body);
        url = text(&wrapped.json()["value"]["cap"]["@"]);
    }
    match work {
        Work::Read(_) => get(&path(&url), "none"),
        Work::Publish => invoke(&url, &json!({"type": "t", "payload": payload})),
        Work::Call => invoke(&url, &json!(payload)),
    }
}

/// Grants a capability as an administrator.
pub(crate) fn grant(gateway: &Gateway, kind: &str, target: &Value) -> Value {
    let granted = gateway.admin(&["cap", "grant", kind, "--target", &target.to_string()]);
    serde_json::from_str(&granted).unwrap()
}

/// The POST with a value to a capability.
pub(crate) fn invoke(url: &str, value: &Value) -> Vec<u8> {
    let body = json!({"value": value}).to_string();
    post(&path(url), "none", "application/json", &body)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub(crate) fn path(url: &str) -> String {
    format!("/{}", url.splitn(4, '/').nth(3).unwrap())
}

/// The answer to one request.
fn answer(address: &str, request: &[u8]) -> Message {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Connection::open(address).await.exchange(request).await })
}

pub(crate) fn ok(answer: &Message) {
    assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(&answer.body));
}
