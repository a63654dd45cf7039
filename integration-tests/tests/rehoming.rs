//! Clients whose gateway dies or drains go on at another one, and miss nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use buswire_integration_tests::{Gateway, Peer, Site, python, until};
use serde_json::{Value, json};

/// The status of a request through the proxy, whose gateway may die meanwhile; 0 if there is no answer.
fn status(arguments: &[&str]) -> u16 {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "20", "--output", "/dev/null"]);
    let output = curl.args(["--write-out", "%{http_code}"]).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().parse().unwrap_or_default()
}

fn numbers(report: &Value, name: &str) -> Vec<u64> {
    report[name].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect()
}

/// User agents of two makes.
struct Agents {
    peers: [Peer; 2],
    endpoints: Vec<String>,
}

/// User agents of each make.
const EACH: usize = 10;

impl Agents {
    fn start(gateway: &Gateway) -> Self {
        let url = format!("ws://{}/push", gateway.bound().http);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/js/push_rehome.mjs");
        let each = EACH.to_string();
        let node = Peer::start(Command::new("node").args([script, &url, &each]));
        let peers = [python("push_rehome", &[&url, &each]), node];
        let endpoints = peers.iter().flat_map(|peer| {
            let said = peer.json();
            let endpoints = said["endpoints"].as_array().unwrap().clone();
            endpoints.into_iter().map(|it| it.as_str().unwrap().to_owned())
        });
        let endpoints: Vec<_> = endpoints.collect();
        assert_eq!(endpoints.len(), 2 * EACH);
        Self { peers, endpoints }
    }

    /// The latest versions that they know, how many hellos they said, and how many UAIDs were lost.
    fn report(&mut self) -> (Vec<u64>, u64, u64) {
        let (mut latest, mut hellos, mut lost) = (Vec::new(), 0, 0);
        for peer in &mut self.peers {
            peer.say("report");
            let report = peer.json();
            latest.extend(numbers(&report, "latest"));
            hellos += numbers(&report, "hellos").iter().sum::<u64>();
            lost += report["lost"].as_u64().unwrap();
        }
        (latest, hellos, lost)
    }

    /// PUTs a version to every endpoint; notes those that were accepted.
    fn tell(&self, version: u64, accepted: &mut [u64]) {
        for (endpoint, accepted) in self.endpoints.iter().zip(accepted) {
            let form = format!("version={version}");
            let status = status(&["--request", "PUT", "--data", &form, endpoint]);
            if status == 200 || status == 202 {
                *accepted = version;
            }
        }
    }
}

#[test]
fn user_agents_of_a_gateway_that_is_killed_learn_every_latest_version_at_another() {
    // Rule: simplepush S6 — after kill -9 a version that was answered 2xx is pending, or the UAID is new
    // Rule: simplepush L3 — what came while a UA was away arrives after its next hello
    let mut gateway = Gateway::builder().fleet(3).start();
    let mut agents = Agents::start(&gateway);
    let mut accepted = vec![0; 2 * EACH];
    let mut version = 0;
    for round in 0..3 {
        version += 1;
        agents.tell(version, &mut accepted);
        let (_, before, _) = agents.report();
        gateway.kill_one(round);
        // Some of these come while their user agent is on its way to another gateway.
        version += 1;
        agents.tell(version, &mut accepted);
        let knows_all = |agents: &mut Agents| {
            let (latest, ..) = agents.report();
            // An answer that was lost may have been a version that was stored.
            latest.iter().zip(&accepted).all(|(latest, accepted)| latest >= accepted)
        };
        until("each knows the latest version", || knows_all(&mut agents).then_some(()));
        let (_, after, lost) = agents.report();
        assert_eq!(lost, 0, "no UAID is lost");
        let moved = after - before;
        println!("gateway {round} was killed: {moved} of {} user agents came back", 2 * EACH);
        gateway.start();
    }
    let (_, hellos, _) = agents.report();
    assert!(hellos > 2 * EACH as u64, "some had to move: {hellos} hellos");
    assert!(accepted.iter().all(|accepted| *accepted >= version - 1), "{accepted:?}");
}

/// How many messages are posted.
const POSTS: u64 = 120;
/// Pollers of each door.
const POLLERS: usize = 6;

/// Posts numbers through the proxy; returns how many were accepted.
fn post_all(gateway: &str, site: &Site, channel: &str, sent: &AtomicU64) -> Vec<u64> {
    let authorization = format!("Authorization: Bearer {}", site.token);
    let mut accepted = Vec::new();
    for number in 0..POSTS {
        let body = site.message(channel, "t", &number.to_string());
        let headers = ["--header", &authorization, "--header", "Content-Type: application/json"];
        let post = [&headers[..], &["--data-binary", &body, gateway]].concat();
        if status(&post) == 201 {
            accepted.push(number);
        }
        sent.store(number + 1, Ordering::Release);
    }
    accepted
}

#[test]
fn long_polls_of_a_gateway_that_dies_or_drains_miss_nothing_and_repeat_nothing_at_another() {
    // Rule: backplane §10.3 — a poll goes on from `since`: nothing is skipped and nothing repeated
    let mut gateway = Gateway::builder().fleet(3).set("shutdown_grace", "5s").start();
    let site = Site::create(&gateway, "shop.example", &["--max-messages", "5000"]);
    let channel = site.visit(&gateway).channel;
    let target = json!({"bus": "shop.example", "channel": channel}).to_string();
    let granted = gateway.admin(&["cap", "grant", "bus.read", "--target", &target]);
    let granted: Value = serde_json::from_str(&granted).unwrap();
    let (messages, many) = (gateway.url("/v2/messages"), POLLERS.to_string());
    let mut pollers = [
        python("poll_rehome", &["backplane", &messages, &many, &site.token]),
        python("poll_rehome", &["belay", granted["cap"].as_str().unwrap(), &many]),
    ];
    for poller in &pollers {
        assert_eq!(poller.json()["started"], POLLERS);
    }
    let (sent, url) = (AtomicU64::new(0), gateway.url("/v2/message"));
    let accepted = thread::scope(|scope| {
        let posting = scope.spawn(|| post_all(&url, &site, &channel, &sent));
        let after = |many: u64| {
            until("so many are posted", || (sent.load(Ordering::Acquire) >= many).then_some(()));
        };
        for (round, at) in [(0, 15), (1, 45), (2, 75)] {
            after(at);
            gateway.kill_one(round);
            after(at + 10);
            gateway.start();
        }
        after(95);
        assert!(gateway.terminate_one(1).success(), "it drains");
        posting.join().unwrap()
    });
    let read = gateway.admin(&["message", "read", "--scope", "bus:shop.example"]);
    let payload = |line: &str| serde_json::from_str::<Value>(line).unwrap()["payload"].clone();
    let stored: Vec<Value> = read.lines().map(payload).collect();
    assert!(accepted.iter().all(|number| stored.contains(&json!(number))), "{accepted:?}: {read}");
    assert!(accepted.len() as u64 >= POSTS - 20, "{accepted:?}");
    for (poller, door) in pollers.iter_mut().zip(["backplane", "belay"]) {
        poller.say(&stored.len().to_string());
        let report = poller.json();
        for seen in report["seen"].as_array().unwrap() {
            assert_eq!(seen.as_array().unwrap(), &stored, "{door}: each once, in order");
        }
        println!(
            "{door}: {POLLERS} pollers, {} messages each, {} polls answered, {} broken",
            stored.len(),
            report["polls"],
            report["broken"]
        );
    }
}
