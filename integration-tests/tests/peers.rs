//! Majordomo services through any of several gateways that share a Redis server. Clients and workers are
//! pyzmq, frame by frame.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use buswire_integration_tests::{Gateway, Peer, Single, binary, curl, python, until};
use buswire_testkit::RedisServer;
use serde_json::{Value, json};

/// What gateways on one store share; their brokers know each other by it.
const KEYS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn gateway(server: &RedisServer, name: &str) -> Gateway {
    Gateway::single(Single::OwnFleet)
        .set("store.url", &server.url())
        .set("belay.keys", KEYS)
        .set("gateway_name", name)
        .start()
}

fn fleet<const N: usize>(server: &RedisServer, names: [&str; N]) -> [Gateway; N] {
    names.map(|name| gateway(server, name))
}

fn worker(gateway: &Gateway, service: &str, mode: &str) -> Peer {
    let worker = python("mdp_worker", &[&gateway.bound().mdp, service, mode]);
    assert_eq!(worker.json()["event"], "ready");
    worker
}

/// The frames of the answer, or null.
fn ask(gateway: &Gateway, service: &str, body: &[&str]) -> Value {
    asking(gateway, service, body).json()
}

fn asking(gateway: &Gateway, service: &str, body: &[&str]) -> Peer {
    python("mdp_client", &[&[&gateway.bound().mdp, service][..], body].concat())
}

/// Waits until the service has workers here, or at the gateway of that name.
fn until_served(gateway: &Gateway, service: &str, at: &str) {
    until("the service is known", || {
        let shown = gateway.command(&["service", "show", service, "--output", "json"]).stdout;
        let shown: Value = serde_json::from_slice(&shown).ok()?;
        shown["gateways"].as_array()?.contains(&json!(at)).then_some(())
    });
}

/// The next line of the worker that tells of a request.
fn request(worker: &Peer) -> Value {
    loop {
        let line = worker.json();
        if line["event"] == "request" {
            return line["body"].clone();
        }
    }
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let metrics = curl(&format!("http://{}/metrics", gateway.bound().ops)).send().body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

#[test]
fn a_request_at_any_gateway_reaches_the_worker_at_another_and_follows_it() {
    // Rule: mdp §13.1 — mmi.service: 200 if a worker is registered, at whichever gateway
    let server = RedisServer::start(&[]);
    let [a, b, c] = fleet(&server, ["a", "b", "c"]);
    // It waits at its gateway until the service comes up at another one.
    let early = asking(&a, "echo", &["early"]);
    let mut at_b = worker(&b, "echo", "echo");
    assert_eq!(early.json(), json!(["MDPC01", "echo", "early"]));
    until_served(&c, "echo", "b");
    assert_eq!(ask(&c, "echo", &["x", "", "y"]), json!(["MDPC01", "echo", "x", "", "y"]));
    assert_eq!(ask(&a, "mmi.service", &["echo"]), json!(["MDPC01", "mmi.service", "200"]));
    assert_eq!(a.admin(&["service", "call", "echo", "--timeout", "9s"]), "");
    let list = a.admin(&["service", "list", "--output", "json"]);
    let list: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let all = list.iter().flat_map(|it| it.as_array().cloned().unwrap_or(vec![it.clone()]));
    let echo: Vec<_> = all.filter(|it| it["name"] == "echo").collect();
    assert_eq!((&echo[0]["gateways"], &echo[0]["workers"]), (&json!(["b"]), &json!(0)));
    // The worker moves.
    at_b.kill();
    let _at_c = worker(&c, "echo", "echo");
    until_served(&b, "echo", "c");
    assert_eq!(ask(&b, "echo", &["moved"]), json!(["MDPC01", "echo", "moved"]));
    // Services of the gateway itself are at each of them, and are asked nowhere else.
    assert_eq!(ask(&a, "bus.read", &["no capability"])[2], "404");
    let shown = a.admin(&["service", "show", "bus.read", "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["local"], &shown["gateways"]), (&json!(true), &json!([])));
    until("both others can be asked", || (metric(&a, "buswire_mdp_links") == 2).then_some(()));
}

#[test]
fn parts_of_an_answer_pass_through_as_they_come() {
    let server = RedisServer::start(&[]);
    let [a, b] = fleet(&server, ["a", "b"]);
    let mut streamer = python("mdp_streamer", &[&b.bound().mdp, "lines"]);
    until_served(&a, "lines", "b");
    let mut client = python("mdp_parts", &[&a.bound().mdp, "lines"]);
    assert_eq!(client.json(), json!(["MDPC02", "\u{2}", "lines", "one"]));
    assert_eq!(client.json(), json!(["MDPC02", "\u{2}", "lines", "two"]));
    // Only now is the last sent.
    streamer.say("go on");
    assert_eq!(client.json(), json!(["MDPC02", "\u{3}", "lines", "three"]));
    client.kill();
}

#[test]
fn a_request_of_a_gateway_that_is_killed_goes_to_a_worker_elsewhere() {
    let server = RedisServer::start(&[]);
    let [a, mut b, c] = fleet(&server, ["a", "b", "c"]);
    let silent = worker(&b, "work", "silent");
    until_served(&a, "work", "b");
    let client = asking(&a, "work", &["must be done"]);
    assert_eq!(request(&silent), json!(["must be done"]));
    let other = worker(&c, "work", "echo");
    until_served(&a, "work", "c");
    b.kill();
    assert_eq!(request(&other), json!(["must be done"]));
    assert_eq!(client.json(), json!(["MDPC01", "work", "must be done"]));
    until("a has seen b go", || (metric(&a, "buswire_mdp_links") == 1).then_some(()));
    assert!(a.log().contains("can't be reached"), "{}", a.log());
    // It comes back under another id and is asked again.
    b.start();
    let _again = worker(&b, "other", "echo");
    until_served(&a, "other", "b");
    assert_eq!(ask(&a, "other", &["x"]), json!(["MDPC01", "other", "x"]));
}

#[test]
fn the_worker_of_a_client_whose_gateway_is_killed_is_free_again() {
    let server = RedisServer::start(&[]);
    let [mut a, b, c] = fleet(&server, ["a", "b", "c"]);
    let mut held = worker(&b, "work", "held");
    until_served(&a, "work", "b");
    until_served(&c, "work", "b");
    let _gone = asking(&a, "work", &["one"]);
    assert_eq!(request(&held), json!(["one"]));
    a.kill();
    let client = asking(&c, "work", &["two"]);
    held.say("nobody waits for this");
    assert_eq!(request(&held), json!(["two"]));
    held.say("done");
    assert_eq!(client.json(), json!(["MDPC01", "work", "done"]));
}

#[test]
fn of_a_thousand_requests_at_three_gateways_none_is_lost_while_workers_come_and_go() {
    let server = RedisServer::start(&[]);
    let gateways = fleet(&server, ["a", "b", "c"]);
    let [a, b, c] = &gateways;
    let _steady = worker(b, "echo", "echo");
    let mut leaves = worker(c, "echo", "echo");
    until_served(a, "echo", "b");
    until_served(a, "echo", "c");
    let endpoints = gateways.each_ref().map(|it| it.bound().mdp.clone());
    let endpoints = endpoints.each_ref().map(String::as_str);
    let load = python("mdp_spread", &[&["echo", "1000"][..], &endpoints].concat());
    assert_eq!(load.json()["event"], "under way");
    leaves.kill();
    let _comes = worker(a, "echo", "echo");
    let done = load.json();
    let came = [&done["answered"], &done["twice"], &done["wrong"]];
    assert_eq!(came, [&json!(1000), &json!(0), &json!(0)], "{done}");
    until("the metrics show what was forwarded", || {
        (metric(c, "buswire_mdp_links_forwarded_total") > 0).then_some(())
    });
}

#[test]
fn a_route_to_a_service_runs_wherever_its_worker_is() {
    let server = RedisServer::start(&[]);
    let [a, b] = fleet(&server, ["a", "b"]);
    a.admin(&["bus", "create", "shop.example"]);
    let scope = "bus:shop.example type:t";
    a.admin(&["route", "create", "work", "--scope", scope, "--sink", "mdp:work"]);
    a.admin(&[
        "message",
        "publish",
        "--bus",
        "shop.example",
        "--channel",
        "c",
        "--type",
        "t",
        "--payload",
        "1",
    ]);
    let mut first = worker(&a, "work", "echo");
    assert_eq!(request(&first), json!(["1"]));
    let owner = |gateway: &Gateway| {
        let shown = gateway.admin(&["route", "show", "work", "--output", "json"]);
        serde_json::from_str::<Value>(&shown).unwrap()["owner"].clone()
    };
    // The worker moves to the gateway that does not run the route.
    let (from, to) = if owner(&b) == "a" { (&a, &b) } else { (&b, &a) };
    first.kill();
    let second = worker(to, "work", "echo");
    from.admin(&[
        "message",
        "publish",
        "--bus",
        "shop.example",
        "--channel",
        "c",
        "--type",
        "t",
        "--payload",
        "2",
    ]);
    assert_eq!(request(&second), json!(["2"]));
    // What is stored with Titanic is done there as well.
    let port = from.bound().mdp.rsplit(':').next().unwrap().to_owned();
    let titanic = ["mdp", "titanic", "request", "--port", &port, "work", "3"];
    let stored = Command::new(binary()).args(titanic).output().unwrap();
    assert!(stored.status.success(), "{stored:?}");
    assert_eq!(request(&second), json!(["3"]));
}

#[test]
fn a_stored_request_outlives_its_gateway() {
    // Rule: mdp §17 — a request that was acknowledged is executed, whatever becomes of its gateway
    let server = RedisServer::start(&[]);
    let [mut a, b] = fleet(&server, ["a", "b"]);
    let titanic = |gateway: &Gateway, words: &[&str]| {
        let command = [&["mdp", "titanic"], words, &["--endpoint", &gateway.bound().mdp]].concat();
        let output = Command::new(binary()).args(command).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let id = titanic(&a, &["request", "echo", "Hello"]);
    a.kill();
    let _worker = worker(&b, "echo", "echo");
    assert_eq!(titanic(&b, &["reply", &id, "--wait", "20000"]), "Hello");
}

#[test]
fn a_stranger_gets_nothing_at_the_port_of_gateways() {
    let server = RedisServer::start(&[]);
    let [a, b] = fleet(&server, ["a", "b"]);
    let _worker = worker(&b, "echo", "echo");
    until_served(&a, "echo", "b");
    let status: Value = serde_json::from_str(&b.admin(&["status", "--output", "json"])).unwrap();
    let mut listeners = status["listeners"].as_array().unwrap().iter();
    let peers = listeners.find(|it| it["name"] == "mdp.peers").unwrap()["address"].clone();
    let stranger = python("mdp_stranger", &[peers.as_str().unwrap()]);
    for attempt in ["plain", "own keys"] {
        let came = stranger.json();
        assert_eq!(came, json!({"try": attempt, "ended": "shut out", "heard": 0}));
    }
    // Those who belong there go on.
    assert_eq!(ask(&a, "echo", &["x"]), json!(["MDPC01", "echo", "x"]));
    assert_eq!(metric(&b, "buswire_mdp_links_lost_total"), 0);
}

#[test]
fn gateways_that_are_told_not_to_do_not_ask_each_other() {
    let server = RedisServer::start(&[]);
    let b = gateway(&server, "b");
    let a = Gateway::single(Single::OwnFleet)
        .set("store.url", &server.url())
        .set("belay.keys", KEYS)
        .set("mdp.peers.listen", "off")
        .start();
    let _worker = worker(&b, "echo", "echo");
    assert_eq!(ask(&b, "echo", &["x"]), json!(["MDPC01", "echo", "x"]));
    assert_eq!(ask(&a, "mmi.service", &["echo"]), json!(["MDPC01", "mmi.service", "404"]));
    assert!(!a.log().contains("other gateways can ask"), "{}", a.log());
}
