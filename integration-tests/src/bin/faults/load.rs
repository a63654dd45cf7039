//! Clients of several doors at once, and what each was told.
//!
//! Never here: judging it.

use std::{
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::Value;
use tokio::{runtime::Runtime, task::JoinSet, time::sleep};

use crate::{
    push::{self, Agent},
    world::{POSTERS, World},
};

/// A request that is not answered for so long is given up.
const PATIENCE: Duration = Duration::from_secs(14);
/// How long a read waits for a message.
const BLOCK: &str = "10";
/// The pause of a program between two requests, so that faults and not the processor decide.
const PACE: Duration = Duration::from_millis(20);
const PACE_ONCE: Duration = Duration::from_millis(400);
/// Numbers of each program begin here.
pub(crate) const SPAN: u64 = 1_000_000;
/// The programs beyond those that post: one uses a capability, one those for one use.
pub(crate) const INVOKER: u64 = 10;
pub(crate) const ONCE: u64 = 20;
/// Clients of SimplePush that are told by PUT; one more is told by a route.
pub(crate) const AGENTS: usize = 3;

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is stored; a capability says under which id.
    Accepted(Option<String>),
    /// It was answered with this status.
    Refused(u16),
    /// It was not answered.
    Unknown,
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) gateway: usize,
    pub(crate) told: Told,
    pub(crate) at: Instant,
}

/// What one reader saw: ids of a channel, as they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) poster: usize,
    pub(crate) ids: Vec<String>,
}

/// What clients share.
pub(crate) struct Shared {
    pub(crate) places: Arc<RwLock<Vec<String>>>,
    pub(crate) http: Client,
    pub(crate) stop: AtomicBool,
    /// Readers go on until they have seen the end.
    stop_reading: AtomicBool,
    pub(crate) sent: Mutex<Vec<Sent>>,
    pub(crate) seen: Mutex<Vec<Seen>>,
    pub(crate) agents: Vec<Arc<Agent>>,
}

impl Shared {
    pub(crate) fn place(&self, gateway: usize) -> String {
        let places = self.places.read().unwrap();
        places[gateway % places.len()].clone()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    async fn send(&self, number: u64, gateway: usize, request: reqwest::RequestBuilder) -> Told {
        let told = match request.send().await {
            Err(_) => Told::Unknown,
            Ok(answer) => match answer.status().as_u16() {
                // A post is not told its id.
                201 => Told::Accepted(None),
                200 => match answer.json::<Value>().await {
                    Ok(body) => Told::Accepted(body["value"]["id"].as_str().map(str::to_owned)),
                    Err(_) => Told::Unknown,
                },
                status => Told::Refused(status),
            },
        };
        let sent = Sent { number, gateway, told: told.clone(), at: Instant::now() };
        self.sent.lock().unwrap().push(sent);
        told
    }
}

/// What became of everything.
pub(crate) struct Record {
    pub(crate) sent: Vec<Sent>,
    pub(crate) load: Load,
}

pub(crate) struct Load {
    pub(crate) runtime: Runtime,
    pub(crate) shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    readers: Mutex<JoinSet<()>>,
    began: Instant,
    gateways: usize,
}

impl Load {
    pub(crate) fn start(world: &World) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let http = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let agents = (0..=AGENTS).map(|number| Arc::new(Agent::new(number))).collect();
        let shared = Arc::new(Shared {
            places: Arc::clone(&world.places),
            http,
            stop: AtomicBool::new(false),
            stop_reading: AtomicBool::new(false),
            sent: Mutex::new(Vec::new()),
            seen: Mutex::new(Vec::new()),
            agents,
        });
        let (mut tasks, mut readers) = (JoinSet::new(), JoinSet::new());
        let handle = runtime.handle();
        for agent in &shared.agents {
            readers.spawn_on(push::listen(Arc::clone(&shared), Arc::clone(agent)), handle);
        }
        let load = Self {
            shared: Arc::clone(&shared),
            tasks: Mutex::new(JoinSet::new()),
            readers: Mutex::new(JoinSet::new()),
            began: Instant::now(),
            gateways: world.gateways.len(),
            runtime,
        };
        Load::until("all agents are registered", Duration::from_secs(30), || {
            shared.agents.iter().all(|agent| agent.endpoint().is_some())
        });
        world.route_to(&load.endpoint_of_route(&shared.place(0)));
        let handle = load.runtime.handle();
        for poster in 0..POSTERS {
            let (token, body) = (world.site.token.clone(), world.site.clone());
            let channel = world.visits[poster].channel.clone();
            tasks.spawn_on(
                post(Arc::clone(&shared), poster, token, move |number| {
                    body.message(&channel, "t", &number.to_string())
                }),
                handle,
            );
            for gateway in 0..world.gateways.len() {
                let token = world.visits[poster].token.clone();
                readers.spawn_on(read(Arc::clone(&shared), poster, gateway, token), handle);
            }
        }
        tasks.spawn_on(invoke(Arc::clone(&shared), world.caps.publish.clone()), handle);
        tasks.spawn_on(use_once(Arc::clone(&shared), world.caps.once.clone()), handle);
        for agent in &shared.agents[..AGENTS] {
            tasks.spawn_on(push::put(Arc::clone(&shared), Arc::clone(agent)), handle);
        }
        *load.tasks.lock().unwrap() = tasks;
        *load.readers.lock().unwrap() = readers;
        load
    }

    fn endpoint_of_route(&self, place: &str) -> String {
        format!("{place}{}", self.shared.agents[AGENTS].endpoint().unwrap_or_default())
    }

    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    /// How many messages were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        let sent = self.shared.sent.lock().unwrap();
        sent.iter().filter(|sent| matches!(sent.told, Told::Accepted(_))).count()
    }

    /// Whether every gateway accepted posts of every program since `then`.
    pub(crate) fn is_accepted_everywhere_within(&self, span: Duration) -> bool {
        let sent = self.shared.sent.lock().unwrap();
        let recent = sent.iter().rev().take_while(|sent| sent.at.elapsed() < span);
        let accepted = recent.filter(|sent| matches!(sent.told, Told::Accepted(_)));
        let at: std::collections::BTreeSet<_> =
            accepted.map(|sent| sent.gateway % self.gateways).collect();
        at.len() == self.gateways
    }

    /// Waits until `holds`, at most so long.
    pub(crate) fn until(what: &str, patience: Duration, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < patience, "waited {patience:?} in vain: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends what sends; what reads goes on.
    pub(crate) fn stop(self) -> Record {
        self.shared.stop.store(true, Ordering::Release);
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        self.runtime.block_on(async { while tasks.join_next().await.is_some() {} });
        let sent = self.shared.sent.lock().unwrap().clone();
        Record { sent, load: self }
    }
}

impl Record {
    /// What the readers have seen so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.load.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn agents(&self) -> &[Arc<Agent>] {
        &self.load.shared.agents
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.stop_reading.store(true, Ordering::Release);
        self.readers.lock().unwrap().abort_all();
    }
}

/// Posts one message after the other: half of the programs to the gateways in turn, the others to one as
/// long as it accepts.
async fn post(
    shared: Arc<Shared>,
    poster: usize,
    token: String,
    message: impl Fn(u64) -> String + Send + 'static,
) {
    let first = u64::try_from(poster).unwrap() * SPAN;
    let mut gateway = poster;
    for number in first + 1.. {
        if shared.is_over() {
            break;
        }
        let url = format!("{}/v2/message", shared.place(gateway));
        let request = shared.http.post(url).bearer_auth(&token);
        let request = request.header("content-type", "application/json").body(message(number));
        let told = shared.send(number, gateway, request).await;
        if poster < POSTERS / 2 || !matches!(told, Told::Accepted(_)) {
            gateway += 1;
        }
        sleep(PACE).await;
    }
}

fn invocation(shared: &Shared, gateway: usize, path: &str, number: u64) -> reqwest::RequestBuilder {
    let body = format!(r#"{{"value":{{"type":"t","payload":{number}}}}}"#);
    let request = shared.http.post(format!("{}{path}", shared.place(gateway)));
    request.header("content-type", "application/json").body(body)
}

/// Invokes a capability again and again, at the gateways in turn.
async fn invoke(shared: Arc<Shared>, path: String) {
    for (number, gateway) in (INVOKER * SPAN + 1..).zip(0..) {
        if shared.is_over() {
            break;
        }
        let request = invocation(&shared, gateway, &path, number);
        shared.send(number, gateway, request).await;
        sleep(PACE).await;
    }
}

/// Uses each capability at two gateways at once, and again at one if nobody got through.
async fn use_once(shared: Arc<Shared>, paths: Vec<String>) {
    for (index, path) in (0_u64..).zip(paths) {
        if shared.is_over() {
            break;
        }
        let first = ONCE * SPAN + index * 10;
        let call = |turn: u64, gateway: usize| {
            let request = invocation(&shared, gateway, &path, first + turn);
            shared.send(first + turn, gateway, request)
        };
        let (one, other) = futures::join!(call(0, 0), call(1, 1));
        let is_used = [one, other].iter().any(|told| matches!(told, Told::Accepted(_)));
        if !is_used {
            call(2, 0).await;
        }
        sleep(PACE_ONCE).await;
    }
}

/// Follows a channel by long polls, from one gateway to the next whenever one fails.
async fn read(shared: Arc<Shared>, poster: usize, first: usize, token: String) {
    let index = {
        let mut seen = shared.seen.lock().unwrap();
        seen.push(Seen { poster, ids: Vec::new() });
        seen.len() - 1
    };
    let (mut gateway, mut since) = (first, String::new());
    while !shared.stop_reading.load(Ordering::Acquire) {
        let url = format!("{}/v2/messages", shared.place(gateway));
        let query = [("access_token", token.as_str()), ("block", BLOCK), ("since", &since)];
        let answer = async {
            let url = reqwest::Url::parse_with_params(&url, &query).unwrap();
            let answer = shared.http.get(url).send().await.ok()?.error_for_status().ok()?;
            answer.json::<Value>().await.ok()
        };
        let Some(page) = answer.await else {
            gateway += 1;
            sleep(PACE).await;
            continue;
        };
        let next = page["nextURL"].as_str().unwrap_or_default();
        let next = next.split("since=").nth(1).unwrap_or_default();
        next.split('&').next().unwrap_or_default().clone_into(&mut since);
        let urls = page["messages"].as_array().into_iter().flatten();
        let urls = urls.filter_map(|message| message["messageURL"].as_str());
        let ids = urls.filter_map(|url| url.rsplit('/').next()).map(str::to_owned);
        shared.seen.lock().unwrap()[index].ids.extend(ids);
    }
}
