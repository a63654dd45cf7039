//! The state machine of a UserAgent: its order and times, and any history against a model of a server.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
const UAID: &str = "6f1c0b7a52d94e0c9b3ad41e8f27c650";

fn channel(text: &str) -> ChannelId {
    text.parse().unwrap()
}

fn secs(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn outputs(agent: &mut Agent) -> Vec<Output> {
    std::iter::from_fn(|| agent.poll_output()).collect()
}

/// What it sends, in order.
fn sent(agent: &mut Agent) -> Vec<String> {
    let text = |output| match output {
        Output::Send(text) => Some(text),
        _ => None,
    };
    outputs(agent).into_iter().filter_map(text).collect()
}

/// A UserAgent whose connection opened at time 0.
fn opened(state: ClientState) -> Agent {
    let mut agent = Agent::new(Settings::default(), state, secs(0));
    agent.handle_timeout(secs(0));
    assert_eq!(outputs(&mut agent), [Output::Connect(None)]);
    agent.handle(secs(0), Input::Opened);
    agent
}

fn state(uaid: &str) -> ClientState {
    serde_json::from_str(&format!(
        "{{\"uaid\":\"{uaid}\",\"channels\":{{\"{A}\":{{\"endpoint\":\"http://x/update/TOKA\",\"version\":7}}}}}}"
    ))
    .unwrap()
}

/// A UserAgent that was greeted under its name at time 0 and has channel A.
fn ready() -> Agent {
    let mut agent = opened(state(UAID));
    assert_eq!(
        sent(&mut agent),
        [format!("{{\"messageType\":\"hello\",\"uaid\":\"{UAID}\",\"channelIDs\":[\"{A}\"]}}")]
    );
    agent.handle(secs(0), Input::Text(&greeting(UAID)));
    assert_eq!(outputs(&mut agent), []);
    assert!(agent.is_ready());
    agent
}

fn greeting(uaid: &str) -> String {
    format!("{{\"messageType\":\"hello\",\"uaid\":\"{uaid}\",\"status\":200}}")
}

fn notification(version: u64) -> String {
    format!(
        "{{\"messageType\":\"notification\",\"updates\":[{{\"channelID\":\"{A}\",\"version\":{version}}}]}}"
    )
}

fn ack(version: u64) -> String {
    format!(
        "{{\"messageType\":\"ack\",\"updates\":[{{\"channelID\":\"{A}\",\"version\":{version}}}]}}"
    )
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

#[test]
fn nothing_but_hello_before_its_answer() {
    // Rule: simplepush O1 — a client sends nothing but hello before the hello reply
    let mut agent = opened(ClientState::default());
    agent.handle(secs(1), Input::Register(channel(A)));
    agent.handle(secs(1), Input::Text(&notification(9)));
    assert_eq!(sent(&mut agent), ["{\"messageType\":\"hello\",\"uaid\":\"\",\"channelIDs\":[]}"]);
    assert!(!agent.has_news());
    agent.handle(secs(2), Input::Text(&greeting(UAID)));
    let register = format!("{{\"messageType\":\"register\",\"channelID\":\"{A}\"}}");
    assert_eq!(outputs(&mut agent), [Output::Save, Output::Send(register)]);
    // Rule: simplepush §17.7 — a register that is not answered in 10 s ends the connection
    agent.handle_timeout(secs(11));
    assert_eq!(outputs(&mut agent), []);
    agent.handle_timeout(secs(12));
    assert_eq!(outputs(&mut agent), [Output::Disconnect]);
}

#[test]
fn a_version_is_acknowledged_when_the_program_has_taken_it() {
    let mut agent = ready();
    agent.handle(secs(1), Input::Text(&notification(8)));
    agent.handle(secs(1), Input::Text(&notification(9)));
    agent.handle(secs(1), Input::Text(&notification(8)));
    assert_eq!(outputs(&mut agent), []);
    // Rule: simplepush §17.7 — only the greatest version is told
    let news = agent.poll_news();
    assert_eq!(news, Some(News::Version(channel(A), Told { version: version(9), data: None })));
    assert!(!agent.has_news());
    agent.handle(secs(2), Input::Acknowledge(channel(A), version(9)));
    assert_eq!(outputs(&mut agent), [Output::Save, Output::Send(ack(9))]);
    // Rule: simplepush §17.7 — a version not greater than the stored one is acknowledged, not told
    agent.handle(secs(3), Input::Text(&notification(5)));
    assert_eq!(outputs(&mut agent), [Output::Send(ack(5))]);
    assert!(!agent.has_news());
    let foreign = notification(3).replace(A, "never-known");
    agent.handle(secs(3), Input::Text(&foreign));
    // Rule: simplepush §17.7 — versions of unknown channels are acknowledged
    assert_eq!(sent(&mut agent), [ack(3).replace(A, "never-known")]);
}

#[test]
fn a_new_name_registers_every_channel_again() {
    let mut agent = opened(state("1f1c0b7a52d94e0c9b3ad41e8f27c650"));
    assert_eq!(sent(&mut agent).len(), 1);
    agent.handle(secs(0), Input::Text(&greeting(UAID)));
    let register = format!("{{\"messageType\":\"register\",\"channelID\":\"{A}\"}}");
    // Rule: simplepush §7.1 — a UA that gets another UAID deletes its channels and registers again
    assert_eq!(outputs(&mut agent), [Output::Save, Output::Send(register)]);
    assert_eq!(agent.state().registered().count(), 0);
    let registered = format!(
        "{{\"messageType\":\"register\",\"status\":200,\"channelID\":\"{A}\",\"pushEndpoint\":\"http://x/update/TOKC\"}}"
    );
    agent.handle(secs(0), Input::Text(&registered));
    assert_eq!(outputs(&mut agent), [Output::Save]);
    let moved = News::Registered(channel(A), Ok(Endpoint::new("http://x/update/TOKC")));
    assert_eq!(agent.poll_news(), Some(moved));
    agent.handle(secs(0), Input::Text(&notification(1)));
    assert!(agent.has_news(), "versions begin anew");
}

#[test]
fn a_silent_server_is_asked_then_left() {
    let mut agent = ready();
    // Rule: simplepush §17.7 — idle for the ping interval: ping, and leave if nothing comes in 10 s
    agent.handle_timeout(secs(299));
    assert_eq!(outputs(&mut agent), []);
    agent.handle_timeout(secs(300));
    assert_eq!(sent(&mut agent), ["{}"]);
    agent.handle(secs(301), Input::Frame);
    assert_eq!(agent.poll_timeout(), secs(601));
    agent.handle_timeout(secs(601));
    assert_eq!(sent(&mut agent), ["{}"]);
    agent.handle_timeout(secs(611));
    assert_eq!(outputs(&mut agent), [Output::Disconnect]);
    agent.handle(secs(611), Input::Gone { code: None, random: u32::MAX });
    assert_eq!(agent.poll_timeout(), secs(616));
    agent.handle_timeout(secs(616));
    assert_eq!(outputs(&mut agent), [Output::Connect(None)]);
    // Rule: simplepush §17.7 — no answer to hello in 10 s ends the connection
    agent.handle(secs(617), Input::Opened);
    assert_eq!(sent(&mut agent).len(), 1);
    agent.handle_timeout(secs(627));
    assert_eq!(outputs(&mut agent), [Output::Disconnect]);
}

#[test]
fn a_server_that_closes_with_4774_is_left_alone_until_woken() {
    // Rule: simplepush §5.4 — after 4774 a UA does not reconnect until it is woken
    let mut agent = ready();
    agent.handle(secs(1), Input::Gone { code: Some(4774), random: 0 });
    assert_eq!(agent.poll_timeout(), secs(301));
    agent.handle(secs(2), Input::Wake);
    assert_eq!(outputs(&mut agent), [Output::Connect(None)]);
}

#[test]
fn redirects_are_followed_ten_times() {
    // Rule: simplepush §15.4 — a UA disconnects and tries the URL of a redirect, up to 10 in a row
    let mut agent = opened(ClientState::default());
    let redirect =
        "{\"messageType\":\"hello\",\"uaid\":\"x\",\"status\":307,\"redirect\":\"ws://b/\"}";
    for _ in 0..10 {
        agent.handle(secs(0), Input::Text(redirect));
        assert_eq!(outputs(&mut agent).last(), Some(&Output::Disconnect));
        agent.handle(secs(0), Input::Gone { code: None, random: 0 });
        assert_eq!(outputs(&mut agent), [Output::Connect(Some("ws://b/".into()))]);
        agent.handle(secs(0), Input::Opened);
    }
    agent.handle(secs(0), Input::Text(redirect));
    agent.handle(secs(0), Input::Gone { code: None, random: 0 });
    assert!(agent.poll_timeout() > secs(0), "then it waits");
    assert!(agent.state().uaid.is_none());
}

#[test]
fn an_unavailable_server_keeps_nobody_from_its_name() {
    // Rule: simplepush R-HELLO-5 — 503 to hello changes no UAID
    let mut agent = opened(state(UAID));
    assert_eq!(sent(&mut agent).len(), 1);
    let refusal = greeting("1f1c0b7a52d94e0c9b3ad41e8f27c650").replace("200", "503");
    agent.handle(secs(0), Input::Text(&refusal));
    assert_eq!(outputs(&mut agent), [Output::Disconnect]);
    assert_eq!(agent.state().uaid.as_ref().unwrap().expose(), UAID);
    assert_eq!(agent.state().registered().count(), 1);
}

/// What can happen to a UserAgent, its program and its server.
#[derive(Clone, Debug)]
enum Op {
    Advance(u64),
    Open,
    Drop,
    /// The server hears one message.
    Forth,
    /// The client hears one message.
    Back,
    Want(u8),
    GiveUp(u8),
    Put(u8),
    Take,
    Acknowledge,
    Remind,
    /// The client starts again from what it saved.
    Crash,
    /// The server loses everything.
    Forget,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => (1..400_u64).prop_map(Op::Advance),
        4 => Just(Op::Open),
        1 => Just(Op::Drop),
        6 => Just(Op::Forth),
        6 => Just(Op::Back),
        2 => (0..4_u8).prop_map(Op::Want),
        1 => (0..4_u8).prop_map(Op::GiveUp),
        3 => (0..4_u8).prop_map(Op::Put),
        3 => Just(Op::Take),
        3 => Just(Op::Acknowledge),
        1 => Just(Op::Remind),
        1 => Just(Op::Crash),
        1 => Just(Op::Forget),
    ]
}

/// A server as §9 and §17.6 describe it, for one UserAgent.
#[derive(Default)]
struct Server {
    names: u64,
    known: Option<(String, BTreeMap<String, Option<u64>>)>,
    greeted: bool,
    replies: VecDeque<String>,
}

impl Server {
    fn hear(&mut self, text: &str) {
        let message: serde_json::Value = serde_json::from_str(text).unwrap();
        let of = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        if of("messageType") == "hello" {
            assert!(!self.greeted, "one hello on a connection");
            self.greeted = true;
            return self.greet(&of("uaid"), &message["channelIDs"]);
        }
        assert!(self.greeted, "hello comes first");
        let Some((_, channels)) = &mut self.known else { return };
        match of("messageType").as_str() {
            "register" => {
                channels.entry(of("channelID")).or_default();
                let channel = of("channelID");
                self.replies.push_back(format!(
                    "{{\"messageType\":\"register\",\"status\":200,\"channelID\":\"{channel}\",\"pushEndpoint\":\"http://x/{}\"}}",
                    self.names
                ));
            }
            "unregister" => drop(channels.remove(&of("channelID"))),
            "ack" => {
                let update = &message["updates"][0];
                let channel = update["channelID"].as_str().unwrap();
                let version = update["version"].as_u64().unwrap();
                if let Some(pending) = channels.get_mut(channel) {
                    pending.take_if(|pending| *pending <= version);
                }
            }
            other => assert_eq!(other, "", "nothing else but pings"),
        }
    }

    fn greet(&mut self, uaid: &str, listed: &serde_json::Value) {
        let listed: Vec<&str> =
            listed.as_array().unwrap().iter().map(|channel| channel.as_str().unwrap()).collect();
        let known = self.known.take().filter(|(name, _)| name == uaid);
        if let Some((_, channels)) = &known {
            let confirmed = listed.iter().all(|channel| channels.contains_key(*channel));
            assert!(confirmed, "a channel is listed that the server never confirmed");
        }
        let (name, mut channels) = known.unwrap_or_else(|| {
            self.names += 1;
            (format!("name-{}", self.names), BTreeMap::new())
        });
        if !listed.is_empty() {
            channels.retain(|channel, _| listed.contains(&channel.as_str()));
        }
        self.replies.push_back(greeting(&name));
        self.known = Some((name, channels));
        self.remind();
    }

    fn remind(&mut self) {
        let Some((_, channels)) = self.known.as_ref().filter(|_| self.greeted) else { return };
        for (channel, pending) in channels {
            if let Some(version) = pending {
                self.replies.push_back(notification(*version).replace(A, channel));
            }
        }
    }
}

/// A UserAgent with its program, its disk and its server.
struct World {
    now: Timestamp,
    agent: Agent,
    server: Server,
    disk: ClientState,
    link: Link,
    requests: VecDeque<String>,
    wanted: BTreeSet<String>,
    /// The version that the program has in hand.
    hand: Option<(ChannelId, Version)>,
    /// The greatest version that the program acknowledged on each channel.
    taken: BTreeMap<String, u64>,
    /// What the program knows of each channel, by version or by reading after a loss.
    seen: BTreeMap<String, u64>,
    put: BTreeMap<String, u64>,
    versions: u64,
}

#[derive(PartialEq, Eq)]
enum Link {
    Down,
    Opening,
    Up,
}

fn name(index: u8) -> String {
    format!("{index:08}-7c11-4f0e-8a57-2b9f6c1d3e90")
}

impl World {
    fn new() -> Self {
        let disk = ClientState::default();
        Self {
            now: secs(0),
            agent: Agent::new(Settings::default(), disk.clone(), secs(0)),
            server: Server::default(),
            disk,
            link: Link::Down,
            requests: VecDeque::new(),
            wanted: BTreeSet::new(),
            hand: None,
            taken: BTreeMap::new(),
            seen: BTreeMap::new(),
            put: BTreeMap::new(),
            versions: 0,
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.agent.handle(self.now, input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Connect(_) => {
                    assert!(self.link == Link::Down, "one connection at a time");
                    self.link = Link::Opening;
                }
                Output::Send(text) => {
                    assert!(self.link == Link::Up, "sent without a connection");
                    self.check_ack(&text);
                    self.requests.push_back(text);
                }
                Output::Disconnect => self.gone(),
                Output::Save => self.disk = self.agent.state().clone(),
                // The program reads what the channel stands for when it begins to listen.
                Output::Registered(channel, result) => {
                    assert!(result.is_ok());
                    self.read(&channel.to_string());
                }
            }
        }
    }

    fn check_ack(&self, text: &str) {
        let message: serde_json::Value = serde_json::from_str(text).unwrap();
        let Some(update) = message.pointer("/updates/0") else { return };
        let channel = update["channelID"].as_str().unwrap();
        let is_taken = self.taken.get(channel).copied() >= update["version"].as_u64();
        assert!(is_taken || !self.wanted.contains(channel), "acknowledged before it was taken");
    }

    fn gone(&mut self) {
        self.cut();
        self.agent.handle(self.now, Input::Gone { code: None, random: 0 });
    }

    fn cut(&mut self) {
        self.link = Link::Down;
        self.requests.clear();
        self.server.replies.clear();
        self.server.greeted = false;
    }

    fn read(&mut self, channel: &str) {
        if let Some(version) = self.put.get(channel) {
            self.seen.insert(channel.to_owned(), *version);
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Advance(by) => {
                self.now = self.now.saturating_add(Duration::from_secs(*by));
                self.agent.handle_timeout(self.now);
            }
            Op::Open if self.link == Link::Opening => {
                self.link = Link::Up;
                self.agent.handle(self.now, Input::Opened);
            }
            Op::Drop if self.link != Link::Down => self.gone(),
            Op::Forth => {
                if let Some(text) = self.requests.pop_front() {
                    self.server.hear(&text);
                }
            }
            Op::Back => {
                if let Some(text) = self.server.replies.pop_front() {
                    self.handle(Input::Text(&text));
                }
            }
            Op::Want(index) => {
                self.wanted.insert(name(*index));
                self.handle(Input::Register(channel(&name(*index))));
            }
            Op::GiveUp(index) => {
                self.wanted.remove(&name(*index));
                self.hand.take_if(|(channel, _)| channel.to_string() == name(*index));
                self.handle(Input::Unregister(channel(&name(*index))));
            }
            Op::Put(index) => self.put(&name(*index)),
            Op::Take => self.take(),
            Op::Acknowledge => {
                if let Some((channel, version)) = self.hand.take() {
                    self.taken.insert(channel.to_string(), version.get());
                    self.handle(Input::Acknowledge(channel, version));
                }
            }
            Op::Remind => self.server.remind(),
            Op::Crash => self.crash(),
            Op::Forget => {
                self.server = Server { names: self.server.names, ..Server::default() };
                self.gone_if_up();
            }
            Op::Open | Op::Drop => {}
        }
        self.carry_out();
    }

    fn gone_if_up(&mut self) {
        if self.link == Link::Up {
            self.gone();
        }
    }

    fn put(&mut self, name: &str) {
        self.versions += 1;
        let versions = self.versions;
        let Some((_, channels)) = &mut self.server.known else { return };
        if let Some(pending) = channels.get_mut(name) {
            *pending = Some(versions);
            self.put.insert(name.to_owned(), versions);
            if self.server.greeted {
                self.server.replies.push_back(notification(versions).replace(A, name));
            }
        }
    }

    fn take(&mut self) {
        match self.agent.poll_news() {
            Some(News::Version(channel, told)) => {
                self.seen.insert(channel.to_string(), told.version.get());
                self.hand = Some((channel, told.version));
            }
            Some(News::Registered(channel, result)) => {
                assert!(result.is_ok());
                self.read(&channel.to_string());
            }
            None => {}
        }
    }

    /// The process ends and starts again: the program reads everything and asks for its channels.
    fn crash(&mut self) {
        self.cut();
        self.hand = None;
        self.agent = Agent::new(Settings::default(), self.disk.clone(), self.now);
        for name in self.wanted.clone() {
            self.read(&name);
            self.handle(Input::Register(channel(&name)));
        }
    }

    /// The network works, the program takes everything: in the end nothing is left to be told.
    fn settle(&mut self) {
        for _ in 0..400 {
            self.apply(&Op::Advance(400));
            for op in [Op::Open, Op::Remind] {
                self.apply(&op);
            }
            for _ in 0..40 {
                for op in [Op::Forth, Op::Back, Op::Take, Op::Acknowledge] {
                    self.apply(&op);
                }
            }
            let idle = self.requests.is_empty() && self.server.replies.is_empty();
            if idle && self.agent.is_ready() && !self.agent.has_news() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn check(&self) {
        let (_, channels) = self.server.known.as_ref().unwrap();
        for name in &self.wanted {
            let pending = channels.get(name).unwrap_or_else(|| panic!("{name} is not registered"));
            assert_eq!(*pending, None, "{name} is acknowledged");
            assert!(self.seen.get(name) >= self.put.get(name), "{name} was told");
        }
        let registered: Vec<String> =
            self.agent.state().registered().map(|(channel, ..)| channel.to_string()).collect();
        assert_eq!(registered, self.wanted.iter().cloned().collect::<Vec<_>>());
    }
}

proptest! {
    #[test]
    fn any_history_ends_well(ops in prop::collection::vec(op(), 0..120)) {
        // Rule: simplepush L1 — whatever happens, the program learns the latest version or of a new name
        // Rule: simplepush §17.7 — no version is acknowledged before the program has taken it
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.settle();
        world.check();
    }
}
