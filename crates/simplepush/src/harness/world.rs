//! The world of the model test: devices, sessions, application servers, time.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use buswire_message::{Clock, Entropy, Timestamp, Version};
use serde_json::{Value, json};

use super::{
    CHANNELS, ChannelIx, Listed, Op, PEERS, PeerIx,
    model::{Attempt, Device, Life},
    store::FlakyStore,
};
use crate::{
    Config, EndpointBase, Notified, NotifyError, SimplePush, TokenKey, TokenKeys,
    connection::{Input, Transmit},
    session::Session,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Rounds of one pump; more mean that the world does not come to rest (L5).
const ROUNDS_MAX: usize = 10_000;

#[derive(Debug)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Debug)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::SeqCst).to_le_bytes();
        for (to, from) in bytes.iter_mut().zip(count.iter().cycle()) {
            *to = *from;
        }
    }
}

/// What a device waits to be answered on a connection, in order.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Hello(Listed),
    Register(ChannelIx),
    Unregister(ChannelIx),
}

struct Link {
    session: Session,
    asked: Vec<Asked>,
    greeted: bool,
    blocked: bool,
}

type PutFuture = Pin<Box<dyn Future<Output = Result<Notified, NotifyError>>>>;

struct Put {
    peer: PeerIx,
    channel: ChannelIx,
    version: u64,
    endpoint: String,
    attempt: Attempt,
    future: PutFuture,
}

struct World {
    push: SimplePush,
    store: Arc<FlakyStore>,
    clock: Arc<ManualClock>,
    devices: Vec<Device>,
    links: BTreeMap<PeerIx, Link>,
    /// Connections that ended and still have work under way.
    ending: Vec<Session>,
    puts: Vec<Put>,
    /// Whether the store failed, so that some outcomes are uncertain.
    faulty: bool,
    /// What the final `hello` of each device showed.
    flushed: BTreeMap<(PeerIx, ChannelIx), u64>,
}

/// Carries out `ops`, checks every step, and at the end that everything was delivered.
pub fn exercise(ops: &[Op]) {
    let mut world = World::new();
    for op in ops {
        world.apply(op);
        world.pump();
    }
    world.drain();
}

fn name(channel: ChannelIx) -> String {
    format!("0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e{channel:02x}")
}

fn index(name: &Value) -> ChannelIx {
    let name = name.as_str().expect("a channelID");
    ChannelIx::from_str_radix(&name[34..], 16).expect("a channelID of ours")
}

impl World {
    fn new() -> Self {
        let store = Arc::new(FlakyStore::new());
        let clock = Arc::new(ManualClock(AtomicU64::new(1_709_993_121_000)));
        let keys = TokenKeys::new(&TokenKey::new(1, [7; 32]), &[]).unwrap();
        let base = EndpointBase::new("https://push.example.net").unwrap();
        let mut config = Config::new(base, keys);
        // One fewer than there are names: the limit is met (R-REG-5).
        config.limits.channels_max = usize::from(CHANNELS) - 1;
        config.limits.updates_max = 2;
        // Devices here take over as often as they like.
        config.rates.takeovers = 0;
        let entropy = Arc::new(Counting(AtomicU64::new(1)));
        let push =
            SimplePush::new(Arc::<FlakyStore>::clone(&store), clock.clone(), entropy, config);
        let devices = (0..PEERS).map(|_| Device::default()).collect();
        Self {
            push,
            store,
            clock,
            devices,
            links: BTreeMap::new(),
            ending: Vec::new(),
            puts: Vec::new(),
            faulty: false,
            flushed: BTreeMap::new(),
        }
    }

    fn device(&mut self, peer: PeerIx) -> &mut Device {
        &mut self.devices[usize::from(peer % PEERS)]
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Connect(peer, listed) => self.connect(peer % PEERS, listed),
            Op::HelloAgain(peer) => self.hello_again(peer % PEERS),
            Op::Register(peer, channel) => {
                let channel = channel % CHANNELS;
                self.ask(peer % PEERS, "register", Asked::Register(channel), channel);
            }
            Op::Unregister(peer, channel) => {
                let channel = channel % CHANNELS;
                self.ask(peer % PEERS, "unregister", Asked::Unregister(channel), channel);
            }
            Op::Put(peer, channel, version) => self.put(peer % PEERS, channel % CHANNELS, version),
            Op::Ack(peer, channel) => {
                let (peer, channel) = (peer % PEERS, channel % CHANNELS);
                let shown = self.device(peer).lives.get(&channel).and_then(|life| life.shown);
                if let Some(version) = shown {
                    self.ack(peer, channel, version);
                }
            }
            Op::AckWrong(peer, channel, version) => {
                self.ack(peer % PEERS, channel % CHANNELS, version.max(1));
            }
            Op::DropLink(peer) => self.drop_link(peer % PEERS),
            Op::Block(peer) => self.block(peer % PEERS, true),
            Op::Unblock(peer) => self.block(peer % PEERS, false),
            Op::Advance(seconds) => self.advance(Duration::from_secs(u64::from(seconds))),
            Op::AdvanceDays(days) => {
                // No call of a store takes days.
                self.store.release();
                self.pump();
                for _ in 0..days {
                    self.advance(DAY);
                    self.pump();
                }
            }
            Op::Hold => self.store.hold(),
            Op::Release => self.store.release(),
            Op::Fail(failure, times) => {
                self.faulty = true;
                self.store.fail(failure, times);
            }
        }
    }

    fn block(&mut self, peer: PeerIx, blocked: bool) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.blocked = blocked;
        }
    }

    fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap();
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    fn send(&mut self, peer: PeerIx, message: &Value) {
        if let Some(link) = self.links.get_mut(&peer) {
            let now = link.session.now();
            link.session.handle(now, Input::Text(&message.to_string()));
        }
    }

    fn connect(&mut self, peer: PeerIx, listed: Listed) {
        self.drop_older(peer);
        self.device(peer).lives.values_mut().for_each(Life::hand_over);
        // A client that lists nothing can't learn that it was forgotten (§11.3): after so long it
        // lists what it has.
        let away = self.clock.now().saturating_since(self.device(peer).seen);
        let listed = if away >= DAY * 30 { Listed::All } else { listed };
        let open = self.push.admit(None).expect("a place");
        let session = Session::new(Arc::clone(self.push.shared()), open);
        let asked = vec![Asked::Hello(listed)];
        self.links.insert(peer, Link { session, asked, greeted: false, blocked: false });
        let hello = self.hello(peer, listed);
        self.send(peer, &hello);
    }

    /// The older connection of a device stays open at the server until that notices.
    fn drop_older(&mut self, peer: PeerIx) {
        if let Some(link) = self.links.remove(&peer) {
            self.forsake(peer, &link);
            self.ending.push(link.session);
        }
    }

    fn hello(&mut self, peer: PeerIx, listed: Listed) -> Value {
        let device = self.device(peer);
        let lists = |channel: &ChannelIx| match listed {
            Listed::All => true,
            Listed::None => false,
            Listed::AllBut(other) => *channel != other % CHANNELS,
        };
        let channels: Vec<String> = device.lives.keys().copied().filter(lists).map(name).collect();
        json!({"messageType": "hello", "uaid": device.uaid, "channelIDs": channels})
    }

    fn ready(&self, peer: PeerIx) -> bool {
        self.links.get(&peer).is_some_and(|link| link.greeted && link.session.core().wants_read())
    }

    fn hello_again(&mut self, peer: PeerIx) {
        if self.ready(peer) {
            let hello = self.hello(peer, Listed::None);
            self.links.get_mut(&peer).unwrap().asked.push(Asked::Hello(Listed::None));
            self.send(peer, &hello);
        }
    }

    fn ask(&mut self, peer: PeerIx, kind: &str, asked: Asked, channel: ChannelIx) {
        if !self.ready(peer) {
            return;
        }
        match asked {
            Asked::Register(_) => {
                self.device(peer).maybe.insert(channel);
            }
            // The UserAgent deletes first and ignores the reply (§7.3); until that comes, the
            // channel may be there or not.
            Asked::Unregister(_) | Asked::Hello(_) => {}
        }
        self.links.get_mut(&peer).unwrap().asked.push(asked);
        self.send(peer, &json!({"messageType": kind, "channelID": name(channel)}));
    }

    fn ack(&mut self, peer: PeerIx, channel: ChannelIx, version: u64) {
        if !self.ready(peer) {
            return;
        }
        if let Some(life) = self.device(peer).lives.get_mut(&channel) {
            life.ack(version);
        }
        for put in self.puts.iter_mut().filter(|put| put.peer == peer && put.channel == channel) {
            put.attempt.acked_max = put.attempt.acked_max.max(version);
        }
        let updates = json!([{"channelID": name(channel), "version": version}]);
        self.send(peer, &json!({"messageType": "ack", "updates": updates}));
    }

    fn put(&mut self, peer: PeerIx, channel: ChannelIx, version: u64) {
        let about = [Asked::Register(channel), Asked::Unregister(channel)];
        let link = self.links.get(&peer);
        if link.is_some_and(|link| link.asked.iter().any(|asked| about.contains(asked))) {
            self.device(peer).blurred.insert(channel);
        }
        let device = self.device(peer);
        let endpoint = match device.lives.get_mut(&channel) {
            Some(life) => {
                life.attempt(version);
                life.endpoint.clone()
            }
            None => match device.dead.iter().find(|(dead, _)| *dead == channel) {
                Some((_, endpoint)) => endpoint.clone(),
                None => return,
            },
        };
        let (push, url) = (self.push.clone(), endpoint.clone());
        let future = async move { push.notify(&url, Version::new(version)).await };
        let attempt = Attempt::default();
        self.puts.push(Put { peer, channel, version, endpoint, attempt, future: Box::pin(future) });
    }

    fn drop_link(&mut self, peer: PeerIx) {
        if let Some(mut link) = self.links.remove(&peer) {
            let now = link.session.now();
            link.session.handle(now, Input::PeerClosed);
            self.forsake(peer, &link);
            self.ending.push(link.session);
        }
    }

    /// What was not answered on a connection is uncertain: the client must assume the worst.
    fn forsake(&mut self, peer: PeerIx, link: &Link) {
        let device = &mut self.devices[usize::from(peer)];
        for asked in &link.asked {
            match asked {
                Asked::Unregister(channel) => device.forsake(*channel),
                // Pruning may have happened.
                Asked::Hello(Listed::AllBut(channel)) => device.forsake(channel % CHANNELS),
                Asked::Register(_) | Asked::Hello(_) => {}
            }
        }
    }

    /// Lets everything happen that can.
    fn pump(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.pump_puts(&mut cx);
            for peer in 0..PEERS {
                moved |= self.pump_link(peer, &mut cx);
            }
            for session in &mut self.ending {
                moved |= session.poll(&mut cx);
                let now = session.now();
                while let Some(transmit) = session.poll_transmit(now) {
                    if matches!(transmit, Transmit::Close(_)) {
                        session.handle(now, Input::PeerClosed);
                    }
                }
            }
            self.ending.retain(|session| !session.core().is_finished());
            if !moved {
                if !self.store.is_held() {
                    let lives = self.devices.iter_mut().flat_map(|d| d.lives.values_mut());
                    lives.for_each(Life::settle);
                }
                return;
            }
        }
        panic!("L5: the world does not come to rest");
    }

    fn pump_puts(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        for mut put in std::mem::take(&mut self.puts) {
            match put.future.as_mut().poll(cx) {
                Poll::Pending => self.puts.push(put),
                Poll::Ready(result) => {
                    moved = true;
                    self.on_put(&put, result);
                }
            }
        }
        moved
    }

    fn on_put(&mut self, put: &Put, result: Result<Notified, NotifyError>) {
        let faulty = self.faulty;
        let device = self.device(put.peer);
        let known = device.maybe.contains(&put.channel);
        let life = device.lives.get_mut(&put.channel).filter(|life| life.endpoint == put.endpoint);
        match (result, life) {
            (Ok(notified), Some(life)) => life.accepted(notified.version.get(), &put.attempt),
            // S14: nothing is accepted for a channel that is not registered.
            (Ok(_), None) => assert!(known || faulty, "S14: accepted for a dead channel"),
            (Err(NotifyError::Unavailable), Some(life)) => {
                assert!(faulty, "a PUT failed");
                life.failed(put.version);
            }
            (Err(NotifyError::Unavailable), None) => assert!(faulty, "a PUT failed"),
            (Err(_), Some(life)) => {
                // The UserAgent was away for too long, or is being forgotten this moment.
                life.failed(put.version);
            }
            (Err(_), None) => {}
        }
    }

    fn pump_link(&mut self, peer: PeerIx, cx: &mut Context<'_>) -> bool {
        let Some(mut link) = self.links.remove(&peer) else { return false };
        let mut moved = link.session.poll(cx);
        let now = link.session.now();
        if link.greeted {
            self.device(peer).seen = now;
        }
        while !link.blocked {
            let Some(transmit) = link.session.poll_transmit(now) else { break };
            moved = true;
            match transmit {
                Transmit::Text(text) => self.on_text(peer, &mut link, &text),
                Transmit::Probe => link.session.handle(now, Input::Control),
                Transmit::Close(_) => link.session.handle(now, Input::PeerClosed),
            }
        }
        if link.session.core().is_hung_up() {
            self.forsake(peer, &link);
            self.ending.push(link.session);
        } else {
            self.links.insert(peer, link);
        }
        moved
    }

    fn on_text(&mut self, peer: PeerIx, link: &mut Link, text: &str) {
        let message: Value = serde_json::from_str(text).expect("JSON");
        match message["messageType"].as_str().expect("a type") {
            "hello" => self.on_hello(peer, link, &message),
            "register" => self.on_register(peer, link, &message),
            "unregister" => self.on_unregister(peer, link, &message),
            "notification" => self.on_notification(peer, link, &message),
            other => panic!("a device does not expect {other}: {text}"),
        }
    }

    fn on_hello(&mut self, peer: PeerIx, link: &mut Link, message: &Value) {
        let faulty = self.faulty;
        let Asked::Hello(listed) = link.asked.remove(0) else { panic!("R-HELLO-2: {message}") };
        if message["status"] != 200 {
            assert!(faulty, "a hello failed: {message}");
            link.asked.insert(0, Asked::Hello(listed));
            return;
        }
        link.greeted = true;
        let device = self.device(peer);
        let uaid = message["uaid"].as_str().unwrap();
        device.identify(uaid);
        if let Listed::AllBut(channel) = listed
            && device.lives.len() > 1
        {
            // A `register` on an older connection may still be under way.
            let channel = channel % CHANNELS;
            if device.maybe.contains(&channel) {
                device.forsake(channel);
            } else {
                device.bury(channel);
            }
        }
    }

    fn on_register(&mut self, peer: PeerIx, link: &mut Link, message: &Value) {
        let channel = index(&message["channelID"]);
        assert_eq!(link.asked.remove(0), Asked::Register(channel), "O5: {message}");
        let faulty = self.faulty;
        let device = self.device(peer);
        if message["status"] != 200 {
            let too_many = message["error"] == "Too many channels";
            assert!(faulty || too_many, "a register failed: {message}");
            // L9: only a UserAgent that has so many channels is refused.
            let have = device.lives.len() + device.maybe.len();
            assert!(faulty || have >= usize::from(CHANNELS) - 1, "L9: {message}");
            return;
        }
        let endpoint = message["pushEndpoint"].as_str().unwrap().to_owned();
        let life = device.register(channel, &endpoint);
        // S11: the endpoint of a channel that is registered again stays the same.
        assert_eq!(life.endpoint, endpoint, "S11");
    }

    fn on_unregister(&mut self, peer: PeerIx, link: &mut Link, message: &Value) {
        let channel = index(&message["channelID"]);
        assert_eq!(link.asked.remove(0), Asked::Unregister(channel), "O5: {message}");
        let faulty = self.faulty;
        let device = self.device(peer);
        if message["status"] == 200 {
            device.bury(channel);
        } else {
            assert!(faulty, "an unregister failed: {message}");
            device.forsake(channel);
        }
    }

    fn on_notification(&mut self, peer: PeerIx, link: &Link, message: &Value) {
        // S9: no notification precedes the reply to hello; none is empty.
        assert!(link.greeted && !link.asked.iter().any(|a| matches!(a, Asked::Hello(_))), "S9");
        let updates = message["updates"].as_array().expect("S9: updates");
        assert!((1..=2).contains(&updates.len()), "S9, R-NOTIF-3: {message}");
        for update in updates {
            let (channel, version) =
                (index(&update["channelID"]), update["version"].as_u64().expect("a version"));
            self.flushed.insert((peer, channel), version);
            for put in self.puts.iter_mut().filter(|p| p.peer == peer && p.channel == channel) {
                put.attempt.shown_max = put.attempt.shown_max.max(version);
            }
            let device = self.device(peer);
            let uncertain = device.maybe.contains(&channel);
            match device.lives.get_mut(&channel) {
                Some(life) => life.show(version),
                // S2, S8: no channel is named that this UserAgent did not register.
                None => assert!(uncertain || self.faulty, "S2, S8: channel {channel}: {message}"),
            }
        }
    }

    /// Ends all trouble and lets every device come back: what is owed must arrive.
    fn drain(&mut self) {
        self.store.recover();
        self.store.release();
        self.pump();
        for peer in 0..PEERS {
            self.drop_link(peer);
        }
        for session in &mut self.ending {
            let now = session.now();
            session.handle(now, Input::PeerClosed);
        }
        self.pump();
        assert!(self.puts.is_empty() && self.ending.is_empty(), "L6: something never ended");
        assert_eq!(self.push.status().user_agents, 0, "R-DEL-10: an entry was left");
        for peer in 0..PEERS {
            self.check_return(peer);
        }
    }

    fn check_return(&mut self, peer: PeerIx) {
        let uaid = self.device(peer).uaid.clone();
        self.flushed.clear();
        self.connect(peer, Listed::All);
        self.pump();
        assert!(self.ready(peer), "L6: no answer to hello");
        let flushed = std::mem::take(&mut self.flushed);
        let faulty = self.faulty;
        let device = self.device(peer);
        if device.uaid != uaid {
            // A new UAID is the only other way to tell the UserAgent (L1).
            return;
        }
        for (&channel, life) in &device.lives {
            let shown = flushed.get(&(peer, channel)).copied();
            life.check_flushed(shown, faulty);
            life.check_delivered();
        }
        // L5: after every version is acknowledged nothing more comes.
        for (_, channel) in flushed.into_keys() {
            if let Some(version) = self.device(peer).lives.get(&channel).and_then(|l| l.shown) {
                self.ack(peer, channel, version);
                self.pump();
            }
        }
        self.drop_link(peer);
        self.pump();
        self.flushed.clear();
        self.connect(peer, Listed::All);
        self.pump();
        let channels = &self.devices[usize::from(peer)].lives;
        let again = self.flushed.keys().any(|(_, channel)| channels.contains_key(channel));
        assert!(!again, "L5: shown again after the ack: {:?}", self.flushed);
    }
}
