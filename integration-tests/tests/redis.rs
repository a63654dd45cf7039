//! Gateways on a Redis server: one alone, and two that share it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use buswire_integration_tests::{
    Gateway, HttpSink, Reply, Single, Site, binary, curl, python, signal, until,
};
use buswire_testkit::RedisServer;
use serde_json::{Value, json};

/// What seals the targets of capabilities: gateways that share a store share it.
const KEYS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How many callers there are at once.
const CALLERS: usize = 64;

fn on(server: &RedisServer) -> Gateway {
    Gateway::single(Single::OwnFleet)
        .set("store.url", &server.url())
        .set("belay.keys", KEYS)
        .start()
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
                let metrics = there.metrics();
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
    let mut old = Gateway::single(Single::OwnFleet).set("belay.keys", KEYS).start();
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
    let answered = AtomicUsize::new(0);
    let accepted: BTreeSet<u64> = thread::scope(|scope| {
        let posts: Vec<_> = (0..8_u64)
            .map(|poster| {
                let (site, visit, url, stop) = (&site, &visit, &url, &stop);
                let answered = &answered;
                scope.spawn(move || {
                    let mut accepted = Vec::new();
                    for number in 0_u64.. {
                        if stop.load(Ordering::Acquire) {
                            break;
                        }
                        let number = poster * 1_000_000 + number;
                        if post(site, &visit.channel, url, number) {
                            accepted.push(number);
                            answered.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                    accepted
                })
            })
            .collect();
        until("some were accepted and the other gateway shows them", || {
            let read = site.read(&there, "");
            let shown = read["messages"].as_array().unwrap().len();
            (shown >= 20 && answered.load(Ordering::Acquire) >= 20).then_some(())
        });
        here.kill();
        stop.store(true, Ordering::Release);
        posts.into_iter().flat_map(|post| post.join().unwrap()).collect()
    });
    let read = ["message", "read", "--scope", "bus:shop.example"];
    let lines = there.admin(&read);
    let payload = |line: &str| serde_json::from_str::<Value>(line).unwrap()["payload"].as_u64();
    let payloads: Vec<u64> = lines.lines().filter_map(payload).collect();
    let stored: BTreeSet<u64> = payloads.iter().copied().collect();
    // What was stored and not answered any more may be there too, at most one of each poster.
    assert!(accepted.len() >= 20 && accepted.is_subset(&stored), "{accepted:?}: {lines}");
    assert!(payloads.len() == stored.len() && stored.len() <= accepted.len() + 8, "{lines}");
    here.start();
    let again = here.admin(&read);
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

/// Two gateways, ten routes from one bus, and programs that post to it.
struct Fleet {
    here: Gateway,
    there: Gateway,
    site: Site,
    channels: [String; POSTERS],
    http: HttpSink,
    _server: RedisServer,
}

/// How many programs post, each on a channel of its own.
const POSTERS: usize = 3;
/// Routes to a channel of another bus, and routes to the HTTP server.
const ROUTES: [usize; 2] = [8, 2];

impl Fleet {
    fn start() -> Self {
        let server = RedisServer::start(&[]);
        let named = |name: &str| {
            Gateway::single(Single::OwnFleet)
                .set("store.url", &server.url())
                .set("belay.keys", KEYS)
                .set("belay.egress.allow_http", "true")
                .set("belay.egress.allow", r#"["127.0.0.1"]"#)
                .set("gateway_name", name)
                .start()
        };
        let (here, there) = (named("here"), named("there"));
        let site = Site::create(&here, "shop.example", &["--max-messages", "100000"]);
        here.admin(&["bus", "create", "copy.example", "--max-messages", "100000"]);
        let channels = [0; POSTERS].map(|_| site.visit(&here).channel);
        let http = HttpSink::start();
        for number in 0..ROUTES[0] + ROUTES[1] {
            let (name, at) = (format!("r{number}"), if number % 2 == 0 { &here } else { &there });
            let sink = if number < ROUTES[0] {
                format!("bus:copy.example/{name}")
            } else {
                http.uri(&name)
            };
            at.admin(&["route", "create", &name, "--scope", "bus:shop.example", "--sink", &sink]);
        }
        let fleet = Self { here, there, site, channels, http, _server: server };
        until("the routes are divided", || {
            let owned = [&fleet.here, &fleet.there].map(owned);
            (owned.iter().sum::<usize>() == 10 && !owned.contains(&0)).then_some(())
        });
        fleet
    }

    /// Posts by every program to the gateways in turn until `enough`, and says what was accepted: by
    /// each program, ascending numbers.
    fn post_until(
        &self,
        first: u64,
        gateways: &[&Gateway],
        enough: impl FnOnce(),
    ) -> Vec<Vec<u64>> {
        let stop = AtomicBool::new(false);
        let urls: Vec<_> = gateways.iter().map(|gateway| gateway.url("/v2/message")).collect();
        thread::scope(|scope| {
            let posters: Vec<_> = (0_u64..)
                .zip(&self.channels)
                .map(|(poster, channel)| {
                    let (stop, urls) = (&stop, &urls);
                    scope.spawn(move || {
                        let numbers = (first..).map(|number| poster * 1_000_000 + number);
                        let each = numbers.zip(urls.iter().cycle());
                        each.take_while(|_| !stop.load(Ordering::Acquire))
                            .filter(|(number, url)| post(&self.site, channel, url, *number))
                            .map(|(number, _)| number)
                            .collect()
                    })
                })
                .collect();
            enough();
            stop.store(true, Ordering::Release);
            posters.into_iter().map(|poster| poster.join().unwrap()).collect()
        })
    }

    /// Checks what came of messages that were accepted: through every route to a bus each came once and
    /// in the order of its channel; through the others at least once, first deliveries in order.
    /// Returns how many repeats there were of the latter.
    fn check(&self, gateway: &Gateway, accepted: &[Vec<u64>]) -> usize {
        let kept = |bus: &str| {
            let shown = gateway.admin(&["bus", "show", bus, "--output", "json"]);
            serde_json::from_str::<Value>(&shown).unwrap()["messages"].as_u64().unwrap()
        };
        let messages = |bus: &str, count: u64| -> Vec<Value> {
            let (scope, count) = (format!("bus:{bus}"), count.to_string());
            let tail = ["message", "tail", "--scope", &scope, "--since", "beginning", "--count"];
            let lines = gateway.admin(&[&tail[..], &[&count]].concat());
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let number = |message: &Value| message["payload"].as_u64().unwrap();
        // What was accepted, and what was although its answer was lost.
        let count = kept("shop.example");
        let sent: BTreeSet<_> = messages("shop.example", count).iter().map(number).collect();
        assert!(accepted.iter().flatten().all(|number| sent.contains(number)));
        let copies = count * u64::try_from(ROUTES[0]).unwrap();
        until("every route to a bus made its copies, and not one more", || {
            (kept("copy.example") == copies).then_some(())
        });
        let mut came = BTreeMap::<String, Vec<u64>>::new();
        for copy in messages("copy.example", copies) {
            came.entry(copy["channel"].to_string()).or_default().push(number(&copy));
        }
        assert_eq!(came.len(), ROUTES[0]);
        for came in came.values() {
            check_order(came, 0);
            let came: BTreeSet<_> = came.iter().copied().collect();
            assert_eq!(came, sent);
        }
        let mut repeats = 0;
        for number in ROUTES[0]..ROUTES[0] + ROUTES[1] {
            let came = until("everything that was accepted came", || {
                let taken = self.http.taken_by(&format!("r{number}"));
                let came: Vec<_> = taken.iter().map(|taken| taken.payload).collect();
                BTreeSet::from_iter(&came).is_superset(&BTreeSet::from_iter(&sent)).then_some(came)
            });
            repeats += check_order(&came, usize::MAX);
        }
        repeats
    }
}

/// Checks that the numbers of each program came in ascending order the first time, with at most so many
/// repeats, and counts those.
fn check_order(came: &[u64], repeats_max: usize) -> usize {
    let mut seen = BTreeSet::new();
    let mut last = [0; POSTERS];
    for number in came {
        if seen.insert(number) {
            let program = usize::try_from(number / 1_000_000).unwrap();
            assert!(last[program] < number % 1_000_000, "{number} came after {last:?}");
            last[program] = number % 1_000_000;
        }
    }
    let repeats = came.len() - seen.len();
    assert!(repeats <= repeats_max, "{repeats} repeats");
    repeats
}

#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// How many routes a gateway says that it runs.
fn owned(gateway: &Gateway) -> usize {
    let metrics = gateway.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix("buswire_bridge_routes_owned "));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}

#[test]
fn routes_of_a_gateway_that_is_killed_go_on_at_the_other_within_five_seconds() {
    let mut fleet = Fleet::start();
    let mut time = None;
    let accepted = fleet.post_until(1, &[&fleet.here, &fleet.there], || {
        until("routes deliver at both", || (fleet.http.taken().len() > 20).then_some(()));
        signal(fleet.here.pid(), "KILL");
        let start = now();
        until("the other gateway has all routes", || (owned(&fleet.there) == 10).then_some(()));
        time = Some(start.elapsed());
    });
    fleet.here.kill();
    let time = time.unwrap();
    assert!(time < Duration::from_secs(5), "it took {time:?}");
    let shown: Value =
        serde_json::from_str(&fleet.there.admin(&["route", "list", "--output", "json"])).unwrap();
    let owners: BTreeSet<_> =
        shown.as_array().unwrap().iter().map(|r| r["owner"].as_str()).collect();
    assert_eq!(owners, BTreeSet::from([Some("there")]));
    let repeats = fleet.check(&fleet.there, &accepted);
    println!("taken over after {time:?}, {repeats} repeats at the HTTP sinks");
    // One that stops in good order leaves its routes at once.
    fleet.here.start();
    until("the routes are divided again", || (owned(&fleet.here) > 0).then_some(()));
    assert!(fleet.there.terminate().success());
    let start = now();
    until("the other gateway has all routes", || (owned(&fleet.here) == 10).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
}

#[test]
fn a_gateway_that_was_paused_records_nothing_when_it_wakes() {
    let fleet = Fleet::start();
    let pid = fleet.here.pid();
    let mut accepted = fleet.post_until(1, &[&fleet.there], || {
        until("routes deliver at both", || (fleet.http.taken().len() > 20).then_some(()));
        signal(pid, "STOP");
        let start = now();
        until("a good while has passed", || {
            (start.elapsed() > Duration::from_secs(12) && owned(&fleet.there) == 10).then_some(())
        });
        signal(pid, "CONT");
        until("it has routes again", || {
            (owned(&fleet.here) > 0 && owned(&fleet.there) < 10).then_some(())
        });
    });
    let more = fleet.post_until(500_000, &[&fleet.here, &fleet.there], || {
        let before = fleet.http.taken().len();
        until("more is delivered", || (fleet.http.taken().len() > before + 20).then_some(()));
    });
    accepted.iter_mut().zip(more).for_each(|(all, more)| all.extend(more));
    let repeats = fleet.check(&fleet.there, &accepted);
    println!("{repeats} repeats at the HTTP sinks");
    assert!(fleet.here.log().contains("the lease ended"), "it noticed");
    assert!(repeats <= POSTERS * ROUTES[1] * 2, "only what was under way: {repeats}");
}

#[test]
fn routes_to_a_service_run_at_the_gateway_that_has_its_worker_if_gateways_do_not_ask_each_other() {
    let server = RedisServer::start(&[]);
    let named = |name: &str| {
        let url = server.url();
        let gateway =
            Gateway::single(Single::OwnFleet).set("store.url", &url).set("belay.keys", KEYS);
        gateway.set("gateway_name", name).set("mdp.peers.listen", "off").start()
    };
    let (here, there) = (named("here"), named("there"));
    let site = Site::create(&here, "shop.example", &[]);
    let channel = site.visit(&here).channel;
    // So many that some would be each gateway's.
    for number in 0..8 {
        let (name, scope) = (format!("r{number}"), "bus:shop.example");
        here.admin(&["route", "create", &name, "--scope", scope, "--sink", "mdp:work"]);
    }
    assert!(post(&site, &channel, &here.url("/v2/message"), 1));
    let all_are = |is_so: fn(&Value) -> bool| {
        let shown = here.admin(&["route", "list", "--output", "json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let routes = shown.as_array().unwrap();
        assert!(routes.iter().all(|route| route["failed_attempts"] == 0));
        (routes.len() == 8 && routes.iter().all(is_so)).then_some(())
    };
    until("the routes wait", || all_are(|route| route["state"] == "waiting"));
    let worker = python("mdp_worker", &[&there.bound().mdp, "work", "echo"]);
    assert_eq!(worker.json()["event"], "ready");
    until("the worker has answered all", || {
        all_are(|route| route["owner"] == "there" && route["delivered"] == 1)
    });
}
