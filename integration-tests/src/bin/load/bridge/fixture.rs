//! Gateways that are set up for a crossing, and one whose doors are used alone.
//!
//! Never here: what is compared with what.

use std::{fmt::Write as _, time::Instant};

use buswire_integration_tests::{Gateway, Site, curl};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    Crossing,
    trip::{self, ARRIVALS, Arrival, Client},
};
use crate::{
    exchange,
    http::{Connection, Message, post},
    mdp::Echo,
    poll::{Again, following},
    posts,
    push::Socket,
    stats::{Plan, Run},
};

const FROM: &str = "from.example";
const TO: &str = "to.example";
/// The type of what is posted, and of what a worker answers.
const ASKED: &str = "load/asked";
const ANSWERED: &str = "load/answered";
const WORKERS: usize = 4;
/// Bytes of a payload.
const PAYLOAD: usize = 64;
/// Digits of a client and of a message at the beginning of each payload.
const DIGITS: usize = 8;
const MARK: &str = "\"payload\":\"";
/// The first version that is PUT, so that every version has the same length.
const FIRST_VERSION: u64 = 1_000_000_000;

/// A gateway for one crossing.
pub(super) struct Fixture {
    gateway: Gateway,
    crossing: Crossing,
    publisher: Publisher,
    /// Reads on where the messages arrive.
    reader: Option<Reader>,
    agents: Vec<Agent>,
    call: Vec<u8>,
    _workers: Vec<Echo>,
}

/// What a reader asks next.
struct Reader {
    again: Box<Again<'static>>,
    request: Vec<u8>,
}

/// A UserAgent with one channel.
struct Agent {
    socket: Socket,
    path: String,
    version: u64,
}

thread_local! {
    /// Sockets work on the runtime that opened them.
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(work))
}

impl Fixture {
    /// A gateway with `routes`, of which one is used by at most so many clients.
    pub(super) fn start(crossing: Crossing, routes: usize, clients: usize) -> Self {
        let gateway = gateway(&declared(crossing, routes));
        let serves = matches!(crossing, Crossing::Mdp | Crossing::Capability);
        let workers = if serves { WORKERS } else { 0 };
        let workers = (0..workers).map(|_| Echo::start(&gateway.bound().mdp)).collect();
        let publisher = Publisher::new(&gateway, clients);
        let reader = match crossing {
            Crossing::Bus => Some(Reader::new(&gateway, TO, ASKED)),
            Crossing::Mdp => Some(Reader::new(&gateway, FROM, ANSWERED)),
            Crossing::Push | Crossing::Capability => None,
        };
        let agents = match crossing {
            Crossing::Push => subscribers(&gateway, &publisher.channels),
            _ => Vec::new(),
        };
        let call = match crossing {
            Crossing::Capability => call(&gateway),
            _ => Vec::new(),
        };
        Self { gateway, crossing, publisher, reader, agents, call, _workers: workers }
    }

    pub(super) const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Runs the crossing once.
    pub(super) fn run(&mut self, plan: &Plan) -> Run {
        let Self { gateway, crossing, publisher, reader, agents, call, .. } = self;
        let (address, pid) = (&gateway.bound().http, gateway.pid());
        let publisher = &*publisher;
        let client = |number, arrival| Client {
            request: Box::new(move |message| publisher.post(number, message)),
            check: posts::check,
            arrival,
        };
        match crossing {
            Crossing::Bus | Crossing::Mdp => {
                let (tell, arrivals): (Vec<_>, Vec<_>) =
                    (0..plan.clients).map(|_| mpsc::channel(ARRIVALS)).unzip();
                let arrivals = arrivals.into_iter().map(Arrival::Read).enumerate();
                let clients = arrivals.map(|(number, arrival)| client(number, arrival)).collect();
                let reader = reader.as_mut().expect("messages are read");
                block_on(async {
                    tokio::select! {
                        () = reader.read_on(address, &tell) => panic!("the reader ended"),
                        run = trip::run(plan, address, pid, clients) => run,
                    }
                })
            }
            Crossing::Push => {
                let agents = agents.iter_mut().take(plan.clients).enumerate();
                let clients =
                    agents.map(|(number, agent)| client(number, agent.arrival(number))).collect();
                block_on(trip::run(plan, address, pid, clients))
            }
            Crossing::Capability => {
                exchange::run(plan, address, std::slice::from_ref(call), pid, |answer| {
                    assert_eq!(answer.status(), 200, "{}", answer.head);
                })
            }
        }
    }
}

impl Reader {
    fn new(gateway: &Gateway, bus: &str, kind: &str) -> Self {
        let site = Site::client(gateway, bus);
        let scope = format!("scope=bus:{bus} type:{kind}");
        let token = curl(&gateway.url("/v2/token"))
            .args(&["--user", &format!("{}:{}", site.client_id, site.secret)])
            .args(&["--data", "grant_type=client_credentials", "--data-urlencode", &scope])
            .send();
        assert_eq!(token.status, 200, "{}", token.body);
        let again = Box::new(following(&text(&token.json()["access_token"])));
        Self { request: again(None), again }
    }

    /// Tells each client of the messages that are its own, for ever.
    async fn read_on(&mut self, address: &str, tell: &[mpsc::Sender<(u64, Instant)>]) {
        let mut connection = Connection::open(address).await;
        loop {
            let answer = connection.exchange(&self.request).await;
            let at = Instant::now();
            assert_eq!(answer.status(), 200, "{}", answer.head);
            for (client, message) in tags(&answer) {
                // A client that has ended does not listen any more.
                tell[client].try_send((message, at)).unwrap_or_default();
            }
            self.request = (self.again)(Some(&answer));
        }
    }
}

/// The clients and messages that an answer's payloads name.
fn tags(answer: &Message) -> Vec<(usize, u64)> {
    let body = String::from_utf8_lossy(&answer.body);
    let number = |digits: Option<&str>| -> u64 { digits.expect("digits").parse().expect("digits") };
    let tag = |payload: &str| {
        let client = usize::try_from(number(payload.get(..DIGITS))).unwrap();
        (client, number(payload.get(DIGITS..2 * DIGITS)))
    };
    body.split(MARK).skip(1).map(tag).collect()
}

impl Agent {
    const fn arrival(&mut self, channel: usize) -> Arrival<'_> {
        Arrival::Frame { socket: &mut self.socket, channel, version: &mut self.version }
    }
}

/// A gateway whose doors are used without a route between them.
pub(super) struct Alone {
    gateway: Gateway,
    publisher: Publisher,
    agents: Vec<Agent>,
}

impl Alone {
    /// For at most so many clients.
    pub(super) fn start(clients: usize) -> Self {
        let gateway = gateway(&bus(FROM));
        let publisher = Publisher::new(&gateway, clients);
        let agents = (0..clients).map(|number| agent(&gateway, number)).collect();
        Self { gateway, publisher, agents }
    }

    pub(super) fn address(&self) -> &str {
        &self.gateway.bound().http
    }

    pub(super) fn pid(&self) -> u32 {
        self.gateway.pid()
    }

    /// A post for each client.
    pub(super) fn posts(&self, clients: usize) -> Vec<Vec<u8>> {
        (0..clients).map(|client| self.publisher.post(client, 0)).collect()
    }

    /// From PUT to frame.
    pub(super) fn notify(&mut self, plan: &Plan) -> Run {
        let (address, pid) = (&self.gateway.bound().http, self.gateway.pid());
        let agents = self.agents.iter_mut().take(plan.clients).enumerate();
        let clients = agents.map(|(number, agent)| {
            let (path, from) = (agent.path.clone(), agent.version.max(FIRST_VERSION) + 1);
            Client {
                request: Box::new(move |message| put(&path, from + message)),
                check: |answer| assert_eq!(answer.status(), 200, "{}", answer.head),
                arrival: agent.arrival(number),
            }
        });
        block_on(trip::run(plan, address, pid, clients.collect()))
    }
}

fn gateway(declared: &str) -> Gateway {
    Gateway::builder().file(declared).set("backplane.page_size", "1000").start()
}

fn bus(name: &str) -> String {
    format!("[[buses]]\nname = \"{name}\"\nmax_messages = 1000000\n")
}

/// The buses and routes of the configuration file. The first route is the one that is used.
fn declared(crossing: Crossing, routes: usize) -> String {
    let mut text = [bus(FROM), bus(TO)].concat();
    let (sink, reply) = match crossing {
        Crossing::Bus => (format!("bus:{TO}"), String::new()),
        Crossing::Mdp => ("mdp:echo".to_owned(), format!("reply_type = \"{ANSWERED}\"\n")),
        Crossing::Push => ("push:subscribers".to_owned(), String::new()),
        // Waits for messages as the others do.
        Crossing::Capability => ("mdp:echo".to_owned(), String::new()),
    };
    for route in 0..routes {
        let kind = if route == 0 { ASKED.to_owned() } else { format!("load/idle-{route}") };
        writeln!(
            text,
            "[[routes]]\nname = \"r{route}\"\nscope = \"bus:{FROM} type:{kind}\"\nsink = \"{sink}\"\n{reply}"
        )
        .unwrap();
    }
    text
}

/// Posts to a bus, each client's on a channel of its own.
struct Publisher {
    site: Site,
    channels: Vec<String>,
}

impl Publisher {
    fn new(gateway: &Gateway, clients: usize) -> Self {
        let site = Site::client(gateway, FROM);
        let channels = (0..clients).map(|_| site.visit(gateway).channel).collect();
        Self { site, channels }
    }

    /// The post of a client's message, which says whose it is.
    fn post(&self, client: usize, message: u64) -> Vec<u8> {
        let payload = format!("\"{client:0DIGITS$}{message:0DIGITS$}{}\"", "x".repeat(PAYLOAD));
        let body = self.site.message(&self.channels[client], ASKED, &payload);
        post("/v2/message", &format!("Bearer {}", self.site.token), "application/json", &body)
    }
}

fn put(path: &str, version: u64) -> Vec<u8> {
    let body = format!("version={version}");
    let length = body.len();
    let kind = "application/x-www-form-urlencoded";
    format!(
        "PUT {path} HTTP/1.1\r\nHost: load\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn agent(gateway: &Gateway, number: usize) -> Agent {
    let open = async {
        let mut socket = Socket::open(&gateway.bound().http, "/push", number).await;
        socket.hello().await;
        let path = socket.register(number).await;
        Agent { socket, path, version: 0 }
    };
    block_on(open)
}

/// UserAgents that are each told of one client's channel.
fn subscribers(gateway: &Gateway, channels: &[String]) -> Vec<Agent> {
    let target = json!({ "bus": FROM }).to_string();
    let granted = gateway.admin(&["cap", "grant", "push.subscribe", "--target", &target]);
    let granted: Value = serde_json::from_str(&granted).unwrap();
    let subscribe = text(&granted["cap"]);
    let agents = channels.iter().enumerate().map(|(number, channel)| {
        let agent = agent(gateway, number);
        let scope = format!("channel:{channel}");
        let value = json!({"value": {"endpoint": gateway.url(&agent.path), "scope": scope}});
        let reply = curl(&subscribe).method("PUT").json(&value.to_string()).send();
        assert_eq!(reply.status, 200, "{}", reply.body);
        agent
    });
    agents.collect()
}

/// The invocation of a capability that calls the echo workers.
fn call(gateway: &Gateway) -> Vec<u8> {
    let target = json!({"service": "echo"}).to_string();
    let granted = gateway.admin(&["cap", "grant", "rpc.call", "--target", &target]);
    let granted: Value = serde_json::from_str(&granted).unwrap();
    let url = text(&granted["cap"]);
    let path = format!("/{}", url.splitn(4, '/').nth(3).unwrap());
    let body = json!({"value": "x".repeat(PAYLOAD)}).to_string();
    let request = post(&path, "none", "application/json", &body);
    let answer =
        block_on(async { Connection::open(&gateway.bound().http).await.exchange(&request).await });
    assert_eq!(answer.status(), 200, "{}", answer.head);
    request
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
