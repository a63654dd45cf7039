//! Gateways on a Redis server: one alone, and two that share it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use buswire_integration_tests::{Gateway, Reply, Site, binary, curl, python, until};
use buswire_testkit::RedisServer;
use serde_json::{Value, json};

/// What seals the targets of capabilities: gateways that share a store share it.
const KEYS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How many callers there are at once.
const CALLERS: usize = 64;

fn on(server: &RedisServer) -> Gateway {
    Gateway::builder().set("store.url", &server.url()).set("belay.keys", KEYS).start()
}

fn grant(gateway: &Gateway, kind: &str, target: &Value, limits: &Value) -> Value {
    let (target, limits) = (target.to_string(), limits.to_string());
    let grant = ["cap", "grant", kind, "--target", &target, "--limits", &limits];
    serde_json::from_str(&gateway.admin(&grant)).unwrap()
}

/// A URL that one gateway handed out, at another one.
fn at(gateway: &Gateway, url: &Value) -> String {
    let path = url.as_str().unwrap().splitn(4, '/').nth(3).unwrap();
    gateway.url(&format!("/{path}"))
}

fn messages(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["messages"].as_array().unwrap().clone()
}

#[test]
fn the_demo_goes_through() {
    let server = RedisServer::start(&[]);
    let url = format!("store.url={}", server.url());
    let demo = Command::new(binary()).args(["demo", "--once", "--set", &url]).output().unwrap();
    let told = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{told}\n{}", String::from_utf8_lossy(&demo.stderr));
    assert_ne!(server.cli(&["dbsize"]), "0", "it is in Redis");
}

#[test]
fn a_long_poll_at_one_gateway_ends_with_a_post_at_the_other() {
    let server = RedisServer::start(&[]);
    let (here, there) = (on(&server), on(&server));
    let site = Site::create(&here, "shop.example", &[]);
    let visit = site.visit(&there);
    let poll = |since: &str| {
        let query = format!("access_token={}&block=20&since={since}", visit.token);
        curl(&there.url(&format!("/v2/messages?{query}"))).send()
    };
    let mut seen = Vec::new();
    let mut since = String::new();
    for number in 0..5 {
        let reply = thread::scope(|scope| {
            let polled = scope.spawn(|| poll(&since));
            until("somebody waits at the other gateway", || {
                let metrics = curl(&format!("http://{}/metrics", there.bound().ops)).send().body;
                metrics.contains("buswire_connections{listener=\"http\"} 1").then_some(())
            });
            let gateway = if number % 2 == 0 { &here } else { &there };
            site.post(gateway, &visit.channel, "order/new", &number.to_string());
            polled.join().unwrap()
        });
        seen.extend(messages(&reply));
        let next = reply.json()["nextURL"].as_str().unwrap().to_owned();
        since = next.split("since=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    }
    let all =
        messages(&curl(&here.url(&format!("/v2/messages?access_token={}", visit.token))).send());
    let urls = |messages: &[Value]| {
        messages
            .iter()
            .map(|m| m["messageURL"].to_string())
            .map(|u| u.rsplit('/').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!((urls(&seen), seen.len()), (urls(&all), 5), "each once, in the same order");
}

#[test]
fn a_put_at_one_gateway_reaches_the_socket_at_the_other() {
    let server = RedisServer::start(&[]);
    let (here, there) = (on(&server), on(&server));
    let mut agent = python("push_client", &[&format!("ws://{}/push", there.bound().http)]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    assert_eq!(agent.json()["status"], 200);
    agent.say(r#"{"messageType":"register","channelID":"8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b11"}"#);
    let endpoint = agent.json()["pushEndpoint"].clone();
    let put = curl(&at(&here, &endpoint)).method("PUT").args(&["--data", "version=7"]).send();
    assert!([200, 202].contains(&put.status), "{}", put.body);
    let notification = agent.json();
    assert_eq!(notification["updates"][0]["version"], 7, "{notification}");
}

#[test]
fn a_capability_for_one_use_is_used_once_by_callers_of_two_gateways() {
    let server = RedisServer::start(&[]);
    let (here, there) = (on(&server), on(&server));
    here.admin(&["bus", "create", "shop.example"]);
    let target = json!({"bus": "shop.example", "channel": "c"});
    let granted = grant(&here, "bus.publish", &target, &json!({"uses": 1}));
    let urls = [at(&here, &granted["cap"]), at(&there, &granted["cap"])];
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (url, taken) = (&urls[caller % 2], &taken);
            scope.spawn(move || {
                let body = json!({"value": {"type": "t", "payload": caller}}).to_string();
                if curl(url).method("POST").json(&body).send().status == 200 {
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(taken.load(Ordering::Relaxed), 1);
    let tail = ["message", "tail", "--scope", "bus:shop.example", "--since", "beginning"];
    assert_eq!(there.admin(&[&tail[..], &["--count", "1"]].concat()).lines().count(), 1);
}

#[test]
fn a_capability_that_is_revoked_at_one_gateway_is_gone_at_the_other() {
    let server = RedisServer::start(&[]);
    let (here, there) = (on(&server), on(&server));
    here.admin(&["bus", "create", "shop.example"]);
    let target = json!({"bus": "shop.example", "channel": "c"});
    let granted = grant(&here, "bus.read", &target, &json!({}));
    let url = at(&there, &granted["cap"]);
    assert_eq!(curl(&url).send().status, 200);
    here.admin(&["cap", "revoke", granted["handle"].as_str().unwrap()]);
    assert_eq!(curl(&url).send().status, 404);
}

#[test]
fn an_embedded_store_is_copied_to_redis_and_the_gateway_goes_on_there() {
    let server = RedisServer::start(&[]);
    let mut old = Gateway::builder().set("belay.keys", KEYS).start();
    let site = Site::create(&old, "shop.example", &[]);
    let visit = site.visit(&old);
    for number in 0..30 {
        site.post(&old, &visit.channel, "t", &number.to_string());
    }
    let tail = ["message", "tail", "--scope", "bus:shop.example", "--since", "beginning"];
    let before = old.admin(&[&tail[..], &["--count", "30"]].concat());
    let from = format!("embedded:{}", old.path("data").display());
    let copy = |to: &str| {
        let copy = ["store", "copy", "--from", &from, "--to", to];
        Command::new(binary()).args(copy).output().unwrap()
    };
    let running = copy(&server.url());
    assert!(String::from_utf8_lossy(&running.stderr).contains("in use"), "{running:?}");
    assert!(old.terminate().success());
    let copied = copy(&server.url());
    let told = String::from_utf8_lossy(&copied.stdout);
    assert!(copied.status.success() && told.starts_with("copied and verified:"), "{copied:?}");
    let again = copy(&server.url());
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"), "{again:?}");
    let new = on(&server);
    assert_eq!(new.admin(&[&tail[..], &["--count", "30"]].concat()), before);
    // Clients go on with what they have.
    site.post(&new, &visit.channel, "t", "30");
    let after = new.admin(&[&tail[..], &["--count", "31"]].concat());
    assert!(after.starts_with(&before) && after.lines().count() == 31, "{after}");
}

#[test]
fn nothing_acknowledged_is_lost_when_a_gateway_is_killed() {
    let server = RedisServer::start(&[]);
    let (mut here, there) = (on(&server), on(&server));
    let site = Site::create(&here, "shop.example", &["--max-messages", "5000"]);
    let visit = site.visit(&here);
    let (url, stop) = (here.url("/v2/message"), AtomicBool::new(false));
    let accepted: BTreeSet<u64> = thread::scope(|scope| {
        let posts: Vec<_> = (0..8_u64)
            .map(|poster| {
                let (site, visit, url, stop) = (&site, &visit, &url, &stop);
                scope.spawn(move || {
                    let mut accepted = Vec::new();
                    for number in 0_u64.. {
                        if stop.load(Ordering::Acquire) {
                            break;
                        }
                        let number = poster * 1_000_000 + number;
                        if post(site, &visit.channel, url, number) {
                            accepted.push(number);
                        }
                    }
                    accepted
                })
            })
            .collect();
        until("some were accepted", || {
            let read = site.read(&there, "");
            (read["messages"].as_array().unwrap().len() >= 20).then_some(())
        });
        here.kill();
        stop.store(true, Ordering::Release);
        posts.into_iter().flat_map(|post| post.join().unwrap()).collect()
    });
    let count = (accepted.len()).to_string();
    let tail = ["message", "tail", "--scope", "bus:shop.example", "--since", "beginning"];
    let lines = there.admin(&[&tail[..], &["--count", &count]].concat());
    let payload = |line: &str| serde_json::from_str::<Value>(line).unwrap()["payload"].as_u64();
    let stored: BTreeSet<u64> = lines.lines().filter_map(payload).collect();
    let read = site.read(&there, "");
    assert!(accepted.len() >= 20 && stored.len() == accepted.len(), "{read}");
    here.start();
    let again = here.admin(&[&tail[..], &["--count", &count]].concat());
    assert_eq!(lines, again, "both gateways show the same order");
}

/// Posts one message; whether it was accepted. The gateway may die meanwhile.
fn post(site: &Site, channel: &str, url: &str, number: u64) -> bool {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--max-time",
            "20",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
        ])
        .args(["--header", &format!("Authorization: Bearer {}", site.token)])
        .args(["--header", "Content-Type: application/json", "--data-binary"])
        .args([&site.message(channel, "t", &number.to_string()), url])
        .output()
        .unwrap();
    output.stdout == b"201"
}
