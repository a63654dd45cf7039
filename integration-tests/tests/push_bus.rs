//! Buses and push endpoints: subscribers of a scope are woken, and a PUT becomes a message.
//!
//! UserAgents on the PyPI package `websockets`, application servers on curl.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use buswire_integration_tests::{Gateway, Peer, Reply, again, curl, python, until};
use serde_json::{Value, json};

const CHANNELS: [&str; 3] = [
    "8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b11",
    "8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b12",
    "8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b13",
];

/// A UserAgent with one channel, and the endpoint of that.
fn agent(gateway: &Gateway, channel: &str) -> (Peer, String) {
    let mut agent = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    assert_eq!(agent.json()["status"], 200);
    agent.say(&format!(r#"{{"messageType":"register","channelID":"{channel}"}}"#));
    let endpoint = agent.json()["pushEndpoint"].as_str().unwrap().to_owned();
    (agent, endpoint)
}

/// The version of the next notification, which is for `channel`.
fn notified(agent: &Peer, channel: &str) -> u64 {
    let message = agent.json();
    assert_eq!(message["messageType"], "notification", "{message}");
    assert_eq!(message["updates"][0]["channelID"], channel);
    message["updates"][0]["version"].as_u64().unwrap()
}

/// That nothing else came: a ping is answered with `{}`.
fn assert_quiet(agent: &mut Peer) {
    agent.say("{}");
    assert_eq!(agent.line(), "{}");
}

fn shown(gateway: &Gateway, arguments: &[&str]) -> Value {
    let text = gateway.admin(&[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&text).unwrap()
}

fn grant(gateway: &Gateway, kind: &str, target: &Value) -> Value {
    let granted = gateway.admin(&["cap", "grant", kind, "--target", &target.to_string()]);
    serde_json::from_str(&granted).unwrap()
}

fn invoke(cap: &Value, method: &str, argument: &Value) -> Reply {
    let body = json!({ "value": argument }).to_string();
    curl(cap.as_str().unwrap()).method(method).json(&body).send()
}

/// Publishes and gives the id of the message.
fn publish(gateway: &Gateway, channel: &str, kind: &str) -> String {
    let message = ["--bus", "news.example", "--channel", channel, "--type", kind];
    gateway.admin(&[&["message", "publish"], &message[..], &["--payload", "1"]].concat())
}

/// A gateway with a bus and a route from it to its subscribers.
fn gateway_with_route() -> Gateway {
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "news.example"]);
    let create = ["route", "create", "wake", "--scope", "bus:news.example"];
    gateway.admin(&[&create[..], &["--sink", "push:subscribers"]].concat());
    gateway
}

fn subscriptions(gateway: &Gateway) -> usize {
    shown(gateway, &["push", "subscriptions"]).as_array().unwrap().len()
}

#[test]
fn subscribers_of_a_scope_are_woken_and_read_on_from_the_version() {
    let gateway = gateway_with_route();
    let (mut one, first) = agent(&gateway, CHANNELS[0]);
    let (mut other, second) = agent(&gateway, CHANNELS[1]);
    let target = json!({"bus": "news.example", "channels": ["sport", "art"]});
    let subscribe = &grant(&gateway, "push.subscribe", &target)["cap"];

    // PUT gives nothing back, POST says what was subscribed to.
    let put = invoke(subscribe, "PUT", &json!({"endpoint": first}));
    assert_eq!((put.status, put.body.as_str()), (200, ""));
    let narrow = json!({"endpoint": second, "scope": "channel:sport type:goal"});
    let post = invoke(subscribe, "POST", &narrow);
    let scope = "bus:news.example channel:sport type:goal";
    assert_eq!(post.json(), json!({"value": {"scope": scope, "subscribed": true}}));
    assert_eq!(subscriptions(&gateway), 2);

    let id = publish(&gateway, "sport", "goal");
    let version = notified(&one, CHANNELS[0]);
    assert_eq!(notified(&other, CHANNELS[1]), version);
    // Not granted at all; and not what the second asked for.
    publish(&gateway, "politics", "goal");
    let later = publish(&gateway, "art", "goal");
    let later_version = notified(&one, CHANNELS[0]);
    assert!(version < later_version && later_version < 1 << 53);
    assert_quiet(&mut other);

    // The version is a place on the bus: reading from it begins with the message.
    let read = &grant(&gateway, "bus.read", &json!({"bus": "news.example"}))["cap"];
    let ids = |version: Value| {
        let page = invoke(read, "POST", &json!({ "version": version })).json();
        let messages = page["value"]["messages"].as_array().unwrap().clone();
        messages.iter().map(|message| message["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(json!(later_version)), [json!(later)]);
    assert_eq!(ids(json!(version.to_string()))[0], json!(id));
    assert_quiet(&mut one);
}

#[test]
fn one_message_wakes_more_subscribers_than_are_read_at_once() {
    const COUNT: usize = 300;
    let gateway = gateway_with_route();
    let mut agent = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    assert_eq!(agent.json()["status"], 200);
    let target = json!({"bus": "news.example"});
    let subscribe = grant(&gateway, "push.subscribe", &target)["cap"].clone();
    let mut subscribing = Command::new("curl");
    let mut waiting = BTreeSet::new();
    for n in 0..COUNT {
        let channel = format!("{n:032x}");
        agent.say(&format!(r#"{{"messageType":"register","channelID":"{channel}"}}"#));
        let endpoint = agent.json()["pushEndpoint"].clone();
        let body = json!({"value": {"endpoint": endpoint}}).to_string();
        let put = ["--silent", "--fail", "--request", "PUT", "--data-binary", &body];
        let json = ["--header", "Content-Type: application/json", "--next"];
        subscribing.args(put).arg(subscribe.as_str().unwrap()).args(json);
        waiting.insert(channel);
    }
    let subscribed = subscribing.arg(gateway.url("/status")).stdout(Stdio::null()).status();
    assert!(subscribed.unwrap().success());
    assert_eq!(subscriptions(&gateway), COUNT);
    publish(&gateway, "c", "t");
    let mut versions = BTreeSet::new();
    while !waiting.is_empty() {
        for update in agent.json()["updates"].as_array().unwrap() {
            waiting.remove(update["channelID"].as_str().unwrap());
            versions.insert(update["version"].as_u64().unwrap());
        }
    }
    assert_eq!(versions.len(), 1, "the version is the message's");
}

#[test]
fn a_subscription_is_refused_what_its_grant_does_not_allow() {
    let gateway = gateway_with_route();
    let (_one, endpoint) = agent(&gateway, CHANNELS[0]);
    let target = json!({"bus": "news.example", "channel": "sport"});
    let subscribe = &grant(&gateway, "push.subscribe", &target)["cap"];
    for (scope, status) in [
        ("bus:other.example", 403),
        ("channel:politics", 403),
        ("nonsense", 400),
        ("messageURL:http://x/v2/message/1", 400),
    ] {
        let reply = invoke(subscribe, "PUT", &json!({"endpoint": endpoint, "scope": scope}));
        assert_eq!(reply.status, status, "{scope}: {}", reply.body);
    }
    let stranger = gateway.url("/update/AAAA");
    for argument in [
        json!({"endpoint": stranger}),
        json!({"endpoint": 7}),
        json!({}),
        json!({"endpoint": endpoint, "more": 1}),
    ] {
        assert_eq!(invoke(subscribe, "PUT", &argument).status, 400, "{argument}");
    }
    assert_eq!(curl(subscribe.as_str().unwrap()).send().status, 405);
    assert_eq!(subscriptions(&gateway), 0);
}

#[test]
fn a_subscription_ends_with_its_channel_its_grant_or_by_request() {
    let gateway = gateway_with_route();
    let mut agents: Vec<_> = CHANNELS.iter().map(|channel| agent(&gateway, channel)).collect();
    let target = json!({"bus": "news.example"});
    let [lasting, brief] = [0, 1].map(|_| grant(&gateway, "push.subscribe", &target));
    for (n, (_, endpoint)) in agents.iter().enumerate() {
        let cap = if n == 2 { &brief["cap"] } else { &lasting["cap"] };
        assert_eq!(invoke(cap, "PUT", &json!({"endpoint": endpoint})).status, 200);
    }
    let first = publish(&gateway, "c", "t");
    for (n, (agent, _)) in agents.iter().enumerate() {
        notified(agent, CHANNELS[n]);
    }
    assert!(!first.is_empty());

    // The first unregisters, the third's grant is revoked; the second goes on.
    let unregister = format!(r#"{{"messageType":"unregister","channelID":"{}"}}"#, CHANNELS[0]);
    agents[0].0.say(&unregister);
    assert_eq!(agents[0].0.json()["status"], 200);
    gateway.admin(&["cap", "revoke", brief["handle"].as_str().unwrap()]);
    publish(&gateway, "c", "t");
    notified(&agents[1].0, CHANNELS[1]);
    until("what has ended is removed", || (subscriptions(&gateway) == 1).then_some(()));
    for n in [0, 2] {
        assert_quiet(&mut agents[n].0);
    }
    // Registering again does not bring the subscription back.
    agents[0].0.say(&unregister.replace("unregister", "register"));
    assert_eq!(agents[0].0.json()["status"], 200);

    // The second asks no more.
    let end = json!({"endpoint": agents[1].1, "subscribed": false});
    let ended = invoke(&lasting["cap"], "POST", &end);
    let value = json!({"value": {"scope": "bus:news.example", "subscribed": false}});
    assert_eq!(ended.json(), value);
    assert_eq!(subscriptions(&gateway), 0);
    publish(&gateway, "c", "t");
    until("the route is done", || {
        let route = shown(&gateway, &["route", "show", "wake"]);
        (route["delivered"] == 3 && route["pending"] == 0).then_some(())
    });
    for (agent, _) in &mut agents {
        agent.say(r#"{"messageType":"purge"}"#);
    }
    let (agent, _) = &mut agents[0];
    agent.say(&unregister);
    assert_eq!(agent.json()["messageType"], "unregister", "no notification came before");
}

#[test]
fn subscriptions_and_inbound_endpoints_survive_a_kill() {
    let mut gateway = gateway_with_route();
    let (agent_before, endpoint) = agent(&gateway, CHANNELS[0]);
    let target = json!({"bus": "news.example"});
    let subscribe = &grant(&gateway, "push.subscribe", &target)["cap"];
    assert_eq!(invoke(subscribe, "PUT", &json!({"endpoint": endpoint})).status, 200);
    let inbound = ["--bus", "news.example", "--channel", "in", "--type", "put"];
    let made = shown(&gateway, &[&["push", "inbound", "create"], &inbound[..]].concat());
    let path = made["endpoint"].as_str().unwrap().rsplit_once("/update/").unwrap().1.to_owned();
    gateway.kill();
    drop(agent_before);
    gateway.start();
    let put = curl(&gateway.url(&format!("/update/{path}"))).method("PUT").send();
    assert_eq!((put.status, put.body.as_str()), (200, "{}"));
    until("the subscriber's version waits for it", || {
        let agents = shown(&gateway, &["push", "list"]);
        (agents[0]["pending"] == 1).then_some(())
    });
}

#[test]
fn a_put_to_an_inbound_endpoint_is_a_message() {
    let gateway = gateway_with_route();
    let inbound = ["--bus", "news.example", "--channel", "in", "--type", "put"];
    let create = [&["push", "inbound", "create"], &inbound[..]].concat();
    let source = ["--source", "https://shop.example/"];
    let made = shown(&gateway, &[&create[..], &source].concat());
    let url = made["endpoint"].as_str().unwrap();
    let put = |body: &str| curl(url).method("PUT").args(&["--data", body]).send();
    for body in ["version=7&data=hi", "version=7&data=hi", "version=8", "", "data=only"] {
        let reply = put(body);
        assert_eq!((reply.status, reply.body.as_str()), (200, "{}"), "{body}");
    }
    let tail = ["message", "tail", "--scope", "bus:news.example", "--since", "beginning"];
    let lines = gateway.admin(&[&tail[..], &["--count", "4"]].concat());
    let messages: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let payloads: Vec<_> = messages.iter().map(|message| message["payload"].clone()).collect();
    // The same PUT again changed nothing.
    let expected = [
        json!({"version": 7, "data": "hi"}),
        json!({"version": 8}),
        json!({}),
        json!({"data": "only"}),
    ];
    assert_eq!(payloads, expected);
    assert_eq!(messages[0]["channel"], "in");
    assert_eq!(messages[0]["type"], "put");
    assert_eq!(messages[0]["source"], "https://shop.example/");

    // Rule: simplepush R-VER-1 — what is no version is refused at an inbound endpoint too
    assert_eq!(put("version=-1").status, 400);
    assert_eq!(curl(url).send().status, 405);
    assert_eq!(curl(url).method("OPTIONS").send().status, 200);
    let listed = shown(&gateway, &["push", "inbound", "list"]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &made["id"]));
    assert!(!listed.to_string().contains("/update/"));
    gateway.admin(&["push", "inbound", "revoke", made["id"].as_str().unwrap()]);
    assert_eq!(put("version=9").status, 410);
    let garbage = curl(&gateway.url(&format!("/update/{}", "A".repeat(43)))).method("PUT").send();
    assert_eq!(garbage.status, 404);
}

#[test]
fn a_capability_makes_inbound_endpoints_that_end_with_it() {
    let gateway = gateway_with_route();
    let target = json!({"bus": "news.example", "channel": "in", "types": ["a", "b"]});
    let granted = grant(&gateway, "push.inbound", &target);
    let create = |argument: Value| invoke(&granted["cap"], "POST", &argument);
    assert_eq!(create(json!({"type": "c"})).status, 403);
    assert_eq!(create(json!({"type": "a", "channel": "out"})).status, 403);
    assert_eq!(create(json!({})).status, 400);
    let [one, two] = ["a", "b"].map(|kind| create(json!({ "type": kind })).json()["value"].clone());
    let put = |made: &Value| {
        curl(made["endpoint"].as_str().unwrap()).method("PUT").args(&["--data", "version=1"]).send()
    };
    assert_eq!((put(&one).status, put(&two).status), (200, 200));
    let listed = shown(&gateway, &["push", "inbound", "list"]);
    assert_eq!(listed[0]["grant"], granted["handle"]);
    let revoke = |id: &Value| invoke(&granted["cap"], "PUT", &json!({ "revoke": id })).status;
    assert_eq!(revoke(&one["id"]), 200);
    assert_eq!(revoke(&one["id"]), 404);
    assert_eq!((put(&one).status, put(&two).status), (410, 200));
    gateway.admin(&["cap", "revoke", granted["handle"].as_str().unwrap()]);
    assert_eq!(put(&two).status, 410);
    assert_eq!(shown(&gateway, &["push", "inbound", "list"]), json!([]));
}

#[test]
fn a_notify_capability_tells_one_endpoint() {
    let gateway = Gateway::spawn();
    let (mut one, endpoint) = agent(&gateway, CHANNELS[0]);
    let notify = grant(&gateway, "push.notify", &json!({"endpoint": endpoint}));
    let cap = &notify["cap"];
    // Rule: belay 20.2 — push.notify takes a version as integer, text or member; PUT gives nothing
    for (n, argument) in [json!(5), json!("6"), json!({"version": 7})].iter().enumerate() {
        let put = invoke(cap, "PUT", argument);
        assert_eq!((put.status, put.body.as_str()), (200, ""), "{argument}");
        assert_eq!(notified(&one, CHANNELS[0]), 5 + n as u64);
    }
    // Rule: belay 20.2 — POST to push.notify returns the version
    let post = invoke(cap, "POST", &json!({"version": "8"}));
    assert_eq!(post.json(), json!({"value": {"version": "8"}}));
    assert_eq!(notified(&one, CHANNELS[0]), 8);
    let chosen = curl(cap.as_str().unwrap()).method("POST").send();
    let version = chosen.json()["value"]["version"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(notified(&one, CHANNELS[0]), version);
    for argument in [json!(-1), json!(1.5), json!("x"), json!([]), json!({"version": 1, "x": 2})] {
        assert_eq!(invoke(cap, "PUT", &argument).status, 400, "{argument}");
    }
    assert_eq!(curl(cap.as_str().unwrap()).send().status, 405);
    one.say(&format!(r#"{{"messageType":"unregister","channelID":"{}"}}"#, CHANNELS[0]));
    assert_eq!(one.json()["status"], 200);
    assert_eq!(invoke(cap, "PUT", &json!(9)).status, 404);
    // The endpoint is a secret; a listing of capabilities does not show it.
    let token = endpoint.rsplit_once('/').unwrap().1;
    assert!(!gateway.admin(&["cap", "list", "--output", "json"]).contains(token));
}

#[test]
fn administrators_see_and_drop_user_agents() {
    let gateway = Gateway::spawn();
    let (one, endpoint) = agent(&gateway, CHANNELS[0]);
    let list = shown(&gateway, &["push", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!((&list[0]["connected"], &list[0]["channels"]), (&json!(true), &json!(1)));
    assert_eq!(list[0]["pending"], 0);
    let name = list[0]["agent"].as_str().unwrap();
    gateway.admin(&["push", "notify", "--agent", name, "--channel", CHANNELS[0], "--version", "3"]);
    assert_eq!(notified(&one, CHANNELS[0]), 3);
    let channels = shown(&gateway, &["push", "channels", name]);
    assert_eq!(
        (&channels[0]["channel"], &channels[0]["pending_version"]),
        (&json!(CHANNELS[0]), &json!(3))
    );
    assert!(channels[0]["pending_since"].is_string());
    let agent_shown = shown(&gateway, &["push", "show", name]);
    assert_eq!(agent_shown["pending"], 1);
    // Each gateway counts its own.
    let status = gateway.admin_each(&["push", "status", "--output", "json"]);
    let each = serde_json::Deserializer::from_str(&status).into_iter::<Value>();
    let each: Vec<Value> = each.map(Result::unwrap).collect();
    let sum = |name: &str| each.iter().map(|status| status[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((each.len(), sum("connections"), sum("agents")), (gateway.size(), 1, 1));

    gateway.admin(&["push", "drop", name]);
    // Rule: simplepush L8 — a client whose state was dropped is disconnected
    assert_eq!(one.json()["closed"], 1011);
    assert_eq!(curl(&endpoint).method("PUT").send().status, 410);
    assert_eq!(shown(&gateway, &["push", "list"]), json!([]));
    let gone = gateway.command(&["push", "show", name]);
    assert!(!gone.status.success());
}

#[test]
fn logs_name_neither_user_agents_nor_endpoints() {
    // Rule: simplepush R-OPS-3 — logs never hold a UAID, channelID, token or data
    let gateway = Gateway::builder().set("log.filter", "trace").start();
    gateway.admin(&["bus", "create", "news.example"]);
    let mut one = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    one.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    let uaid = one.json()["uaid"].as_str().unwrap().to_owned();
    one.say(&format!(r#"{{"messageType":"register","channelID":"{}"}}"#, CHANNELS[0]));
    let endpoint = one.json()["pushEndpoint"].as_str().unwrap().to_owned();
    let put = ["--data", "version=1&data=a-secret-datum"];
    assert_eq!(curl(&endpoint).method("PUT").args(&put).send().status, 200);
    notified(&one, CHANNELS[0]);
    let inbound = ["--bus", "news.example", "--channel", "in", "--type", "put"];
    let made = shown(&gateway, &[&["push", "inbound", "create"], &inbound[..]].concat());
    let inbound = made["endpoint"].as_str().unwrap();
    assert_eq!(curl(inbound).method("PUT").args(&put).send().status, 200);
    let target = json!({"bus": "news.example"});
    let subscribe = grant(&gateway, "push.subscribe", &target);
    assert_eq!(invoke(&subscribe["cap"], "PUT", &json!({"endpoint": endpoint})).status, 200);
    gateway.admin(&["push", "notify", &endpoint]);
    notified(&one, CHANNELS[0]);
    one.say("[]");
    assert_eq!(one.json()["closed"], 1008);
    let log = gateway.log();
    assert!(log.contains("TRACE buswire") || log.contains("DEBUG buswire"), "the filter works");
    let token = |url: &str| url.rsplit_once('/').unwrap().1.to_owned();
    for secret in [
        uaid,
        CHANNELS[0].to_owned(),
        token(&endpoint),
        token(inbound),
        token(subscribe["cap"].as_str().unwrap()),
        "a-secret-datum".to_owned(),
    ] {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}

#[test]
fn metrics_count_what_happened() {
    // Rule: simplepush R-OPS-2 — connections, commands, PUTs and resets are counted on a listener
    // that can be kept private
    let gateway = Gateway::spawn();
    let (mut one, endpoint) = agent(&gateway, CHANNELS[0]);
    assert_eq!(curl(&endpoint).method("PUT").args(&["--data", "version=1"]).send().status, 200);
    notified(&one, CHANNELS[0]);
    let ack = json!({"messageType": "ack", "updates": [{"channelID": CHANNELS[0], "version": 1}]});
    one.say(&ack.to_string());
    one.say("{}");
    assert_eq!(one.line(), "{}");
    one.say("{}");
    assert_eq!(one.json()["status"], 401);
    assert_eq!(one.json()["closed"], 1008);
    assert_eq!(curl(&endpoint).method("PUT").args(&["--data", "version=x"]).send().status, 400);
    let mut stranger = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    let uaid = "6f1c0b7a52d94e0c9b3ad41e8f27c650";
    let hello = json!({"messageType": "hello", "uaid": uaid, "channelIDs": [CHANNELS[1]]});
    stranger.say(&hello.to_string());
    assert_ne!(stranger.json()["uaid"], uaid);
    for line in [
        "simplepush_connections 1",
        "simplepush_connects_total 2",
        "simplepush_requests_total{type=\"hello\"} 2",
        "simplepush_requests_total{type=\"register\"} 1",
        "simplepush_requests_total{type=\"ack\"} 1",
        "simplepush_requests_total{type=\"ping\"} 2",
        "simplepush_too_many_pings_total 1",
        "simplepush_closes_total{reason=\"client_fault\"} 1",
        "simplepush_resets_total{cause=\"unknown\"} 1",
        "simplepush_puts_total{result=\"delivered\"} 1",
        "simplepush_puts_total{result=\"invalid\"} 1",
        "simplepush_put_seconds_count 1",
        "simplepush_connection_seconds_count 1",
    ] {
        until(line, || gateway.metrics().lines().find(|seen| *seen == line).map(|_| ()));
    }
}

#[test]
fn notifications_come_whichever_gateway_is_told() {
    again(
        3,
        &[
            "subscribers_of_a_scope_are_woken_and_read_on_from_the_version",
            "a_put_to_an_inbound_endpoint_is_a_message",
        ],
    );
}
