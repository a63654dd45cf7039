//! What gateways are asked to do, and a run of it with what each process used.
//!
//! Never here: how gateways are started, which is `fleet`; what a table looks like.

use std::time::{Duration, Instant};

use buswire_integration_tests::Site;
use serde_json::json;

use super::{
    client::{Task, Window},
    fleet::{Fleet, Used},
    redis::Redis,
};
use crate::{
    cap,
    http::{get, post},
    poll::following,
    posts, reads,
    stats::{Plan, quantile},
};

/// Time in which connections and caches are made.
pub(super) const WARM_UP: Duration = Duration::from_millis(500);
/// The bus that all use.
pub(crate) const BUS: &str = "load";
/// Channels that posts go to.
const CHANNELS: usize = 8;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Posts on one bus, through every gateway.
    Posts,
    /// Posts on as many buses as there are gateways, each through one of them.
    Apart,
    /// A post at one gateway that a long poll at another waits for.
    Delivery,
    /// A PUT at one gateway that a WebSocket at another is told of, and acknowledges.
    Push,
    /// `bus.publish` by a capability, on one bus, through every gateway.
    Capability,
    /// Reads that find nothing.
    Polls,
}

impl Work {
    pub(crate) const ALL: [Self; 6] =
        [Self::Posts, Self::Apart, Self::Delivery, Self::Push, Self::Capability, Self::Polls];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Posts => "posts, one bus",
            Self::Apart => "posts, a bus for each gateway",
            Self::Delivery => "post → long poll at the next gateway",
            Self::Push => "PUT → frame at the next gateway, ack",
            Self::Capability => "capability bus.publish, one bus",
            Self::Polls => "polls that find nothing",
        }
    }

    /// What `clients` do, client `n` at gateway `n`.
    pub(crate) fn tasks(self, fleet: &Fleet, clients: usize) -> Vec<Task> {
        match self {
            Self::Posts => {
                let requests = posted(fleet, 0, BUS);
                asking(fleet, clients, &[requests], posts::check)
            }
            Self::Apart => {
                let gateways = 0..fleet.gateways().len();
                let requests: Vec<_> =
                    gateways.map(|at| posted(fleet, at, &format!("load{at}"))).collect();
                asking(fleet, clients, &requests, posts::check)
            }
            Self::Delivery => deliveries(fleet, clients),
            Self::Push => (0..clients)
                .map(|number| Task::Notify {
                    put_at: fleet.address(number).to_owned(),
                    listen_at: fleet.address(number + 1).to_owned(),
                    number,
                })
                .collect(),
            Self::Capability => {
                let gateway = fleet.at(0);
                gateway.admin(&["bus", "create", BUS, "--max-messages", "1000000"]);
                let target = json!({"bus": BUS, "channel": "c"});
                let granted = cap::grant(gateway, "bus.publish", &target);
                let url = granted["cap"].as_str().expect("a capability");
                let value = json!({"type": "t", "payload": "x".repeat(64)});
                asking(fleet, clients, &[vec![cap::invoke(url, &value)]], cap::ok)
            }
            Self::Polls => {
                let site = site(fleet, 0, BUS);
                let visits = (0..CHANNELS).map(|_| site.visit(fleet.at(0)));
                let requests = visits.map(|visit| get("/v2/messages", &visit.token)).collect();
                asking(fleet, clients, &[requests], reads::check)
            }
        }
    }
}

fn site(fleet: &Fleet, at: usize, bus: &str) -> Site {
    Site::create(fleet.at(at), bus, &["--max-messages", "1000000"])
}

/// Posts to some channels of a new bus.
fn posted(fleet: &Fleet, at: usize, bus: &str) -> Vec<Vec<u8>> {
    let site = site(fleet, at, bus);
    let visits = (0..CHANNELS).map(|_| site.visit(fleet.at(at)));
    visits.map(|visit| a_post(&site, &visit.channel)).collect()
}

fn a_post(site: &Site, channel: &str) -> Vec<u8> {
    let payload = format!("\"{}\"", "x".repeat(64));
    let body = site.message(channel, "load/post", &payload);
    post("/v2/message", &format!("Bearer {}", site.token), "application/json", &body)
}

/// Clients that send one list of requests each: the one of their gateway, or the only one.
fn asking(
    fleet: &Fleet,
    clients: usize,
    requests: &[Vec<Vec<u8>>],
    check: fn(&crate::http::Message),
) -> Vec<Task> {
    (0..clients)
        .map(|number| {
            let mut requests = requests[number % requests.len()].clone();
            // Each begins elsewhere.
            let first = number % requests.len();
            requests.rotate_left(first);
            Task::Ask { address: fleet.address(number).to_owned(), requests, check }
        })
        .collect()
}

/// Each client has a channel of its own.
fn deliveries(fleet: &Fleet, clients: usize) -> Vec<Task> {
    let site = site(fleet, 0, BUS);
    (0..clients)
        .map(|number| {
            let visit = site.visit(fleet.at(number));
            Task::Deliver {
                post_at: fleet.address(number).to_owned(),
                post: a_post(&site, &visit.channel),
                read_at: fleet.address(number + 1).to_owned(),
                again: Box::new(following(&visit.token)),
            }
        })
        .collect()
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) operations: f64,
    pub(crate) seconds: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) used: Used,
    /// Requests to Redis, if they were counted.
    pub(crate) requests: Option<f64>,
}

impl Done {
    pub(crate) fn rate(&self) -> f64 {
        self.operations / self.seconds
    }
}

/// Whether the requests to Redis are counted, which costs it time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    Yes,
    No,
}

/// Runs `work` once.
pub(crate) fn run(work: Work, fleet: &Fleet, plan: &Plan, counting: Counting) -> Done {
    drive(work.tasks(fleet, plan.clients), fleet, WARM_UP, plan.time, counting)
}

/// Lets the clients work, and reads what was used in the time after the warm-up.
pub(crate) fn drive(
    tasks: Vec<Task>,
    fleet: &Fleet,
    warm_up: Duration,
    time: Duration,
    counting: Counting,
) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut connected = Vec::new();
        for task in tasks {
            connected.push(task.connect().await);
        }
        let from = Instant::now() + warm_up;
        let window = Window { from, until: from + time };
        let working = connected.into_iter().map(|client| client.work(window));
        let working: Vec<_> = working.map(tokio::task::spawn_local).collect();
        tokio::time::sleep_until(window.from.into()).await;
        let (before, start) = (fleet.read(), Instant::now());
        let watch = fleet.redis().filter(|_| counting == Counting::Yes).map(Redis::watch);
        tokio::time::sleep_until(window.until.into()).await;
        let (after, seconds) = (fleet.read(), start.elapsed().as_secs_f64());
        let requests = watch.map(|watch| watch.end() as f64);
        let mut times = Vec::new();
        for client in working {
            times.extend(client.await.unwrap());
        }
        assert!(!times.is_empty(), "nothing was done: the run is void");
        let mut sorted: Vec<_> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        Done {
            operations: times.len() as f64,
            seconds,
            p50: quantile(&sorted, 50),
            p99: quantile(&sorted, 99),
            used: Used::between(&before, &after),
            requests,
        }
    })
}
