//! The buses under test beside the model.

use std::{pin::Pin, sync::Arc, time::Duration};

use buswire_message::{
    BusName, ChannelName, Clock, Cursor, Headers, MessageId, NewMessage, Payload, Scope, Sequence,
    Timestamp,
};
use buswire_store::{LogName, Partition, Store, memory::MemoryStore};
use bytes::Bytes;
use futures::{StreamExt, poll};

use super::{
    BUSES, Fault, Item, Op, Query, Since,
    model::{BUS_MAX, Expected, IN_DOUBT, Known, Model, bus_name, retention},
    store::FaultyStore,
};
use crate::{
    BusConfig, BusError, BusLimits, Buses, PublishError, ReadPage, StoredMessage, Subscription,
    run::{read_all, sweep_once},
};

/// Applies `ops` to buses and to the model.
///
/// # Panics
///
/// When they differ.
pub fn exercise(ops: &[Op]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new().await;
        for op in ops {
            world.apply(op).await;
            world.settle(op).await;
        }
    });
}

/// A clock that the world moves.
#[derive(Debug, Default)]
struct HandClock(std::sync::atomic::AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

struct Poll {
    future: Pin<Box<dyn Future<Output = Result<ReadPage, BusError>>>>,
    query: Query,
    after: Option<Sequence>,
    deadline: Timestamp,
}

struct Feed {
    stream: Subscription,
    query: Query,
    /// Up to where each bus was taken.
    places: Vec<Option<Sequence>>,
}

struct World {
    clock: Arc<HandClock>,
    store: Arc<FaultyStore>,
    buses: Buses,
    model: Model,
    next: u64,
    polls: Vec<Poll>,
    feeds: Vec<Feed>,
}

async fn open(store: &Arc<FaultyStore>, clock: &Arc<HandClock>) -> Buses {
    let limits =
        BusLimits { bus_messages_max: BUS_MAX, in_doubt: IN_DOUBT, ..BusLimits::default() };
    let config = BusConfig {
        message_url_prefix: "https://h.example/v2/message/".into(),
        limits,
        tracer: None,
    };
    let (store, clock) = (Arc::clone(store), Arc::clone(clock));
    Buses::open(store, clock, config).await.unwrap()
}

fn name(bus: u8) -> BusName {
    bus_name(bus).parse().unwrap()
}

fn message(now: Timestamp, number: u64, item: &Item) -> NewMessage {
    let key = item.key.map(|key| format!("k{key}").parse().unwrap());
    NewMessage {
        channel: format!("c{}", item.channel).parse::<ChannelName>().unwrap(),
        source: "https://s.example/".parse().unwrap(),
        kind: format!("t{}", item.kind).parse().unwrap(),
        sticky: item.sticky,
        expires_at: item.ttl.map(|secs| now.saturating_add(Duration::from_secs(secs.into()))),
        payload: Payload::parse(&Bytes::from(format!("[{number}]"))).unwrap(),
        headers: Headers { dedupe_key: key, ..Headers::default() },
    }
}

fn number(message: &StoredMessage) -> u64 {
    message.payload.as_str().trim_matches(['[', ']']).parse().unwrap()
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(HandClock::default());
        clock.0.store(1_709_993_121_000, std::sync::atomic::Ordering::SeqCst);
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        let buses = open(&store, &clock).await;
        for bus in 0..BUSES - 1 {
            buses.create(&name(bus), retention()).await.unwrap();
        }
        let model = Model::default();
        Self { clock, store, buses, model, next: 1, polls: Vec::new(), feeds: Vec::new() }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn apply(&mut self, op: &Op) {
        match op {
            Op::Publish { bus, items, fault } => self.publish(*bus, items, *fault).await,
            Op::Read { query, since, limit } => {
                let after = self.since(*since);
                self.read(query, after, (*limit).into()).await;
            }
            Op::Walk { query, limit } => self.walk(query, (*limit).into()).await,
            Op::Fetch { pick, query } => self.fetch(*pick, query).await,
            Op::Wait { query, since, millis } => self.wait(query, *since, *millis),
            Op::Subscribe { query, since } => self.subscribe(query, *since),
            Op::Drain { pick } => self.drain(*pick).await,
            Op::DropReaders { pick } => self.drop_readers(*pick),
            Op::Advance { millis } => self.step(i64::from(*millis)),
            Op::NextExpiry { early } => self.step_to_expiry(*early),
            Op::StepBack { millis } => self.step(-2001 - i64::from(*millis)),
            Op::Land => self.store.land().await,
            Op::Sweep => {
                // What another commit has swept from the store may still be in the window.
                sweep_once(&self.buses.shared).await;
                self.model.sweep(self.now());
            }
            Op::Reopen => self.reopen().await,
        }
    }

    /// Checks what must hold after every step.
    async fn settle(&mut self, op: &Op) {
        if matches!(op, Op::Land) {
            self.sync().await;
            self.hint().await;
        }
        let all = Query { buses: 0, channels: None, kind: None, sticky: None };
        self.read(&all, None, 1000).await;
        for bus in 0..BUSES - 1 {
            let info = self.buses.get(&name(bus)).await.unwrap().unwrap();
            let query = Query { buses: 1 << bus, ..all.clone() };
            let live = self.model.read(self.now(), &query, None);
            assert_eq!(info.messages, live.len(), "live messages of bus {bus}");
            let channels: std::collections::BTreeSet<u8> =
                live.iter().map(|known| known.channel).collect();
            assert_eq!(info.channels, channels.len(), "live channels of bus {bus}");
        }
        self.hint().await;
        self.buses.tick();
        self.check_polls().await;
        assert!(self.buses.waiting() <= self.polls.len() + self.feeds.len(), "entries leak");
    }

    /// Tells the buses of every change, as hints do.
    async fn hint(&self) {
        read_all(&self.buses.shared, (0..BUSES).map(name).collect()).await;
    }

    async fn stored(&self) -> Vec<(u8, Sequence, u64)> {
        let mut stored = Vec::new();
        let log = LogName::new("messages").unwrap();
        for bus in 0..BUSES {
            let partition = Partition::new(&format!("bus/{}", name(bus).qualified())).unwrap();
            let mut after = None;
            loop {
                let page = self
                    .store
                    .read_log(&partition, &log, after, 100, Timestamp::EPOCH)
                    .await
                    .unwrap();
                after = Some(page.next);
                stored.extend(page.entries.iter().map(|entry| {
                    // The payload is the last field of the record.
                    let text = entry.body.rsplit(|byte| *byte == b'[').next().unwrap();
                    let text = std::str::from_utf8(text).unwrap().trim_end_matches(']');
                    let number = text.parse().unwrap();
                    (bus, entry.sequence, number)
                }));
                if !page.more {
                    break;
                }
            }
        }
        stored
    }

    /// Tells the model what the store has taken.
    async fn sync(&mut self) {
        let mut stored = self.stored().await;
        stored.sort_by_key(|(_, sequence, _)| *sequence);
        for (_, sequence, number) in stored {
            if !self.model.known.iter().any(|known| known.number == number) {
                self.model.land(number, sequence);
            }
        }
    }

    async fn publish(&mut self, bus: u8, items: &[Item], fault: Fault) {
        let now = self.now();
        let first = self.next;
        self.next += u64::try_from(items.len()).unwrap();
        let expected = self.model.publish(now, bus, items, first);
        let messages = (first..).zip(items).map(|(number, item)| message(now, number, item));
        self.store.set_fault(fault);
        let outcome = {
            let name = name(bus);
            let mut publish = Box::pin(self.buses.publish_all(&name, messages.collect()));
            poll!(&mut publish)
        };
        self.store.set_fault(Fault::None);
        self.sync().await;
        let gives = self.model.given.range(first..).next().is_some();
        match (&expected, outcome) {
            (Expected::Numbers(numbers), std::task::Poll::Ready(Ok(ids))) => {
                assert!(!gives || fault == Fault::None, "a fault was answered as success");
                let stored = self.stored().await;
                let of = |number: u64| self.model.known.iter().find(|known| known.number == number);
                let expected = numbers.iter().zip(items).map(|(number, item)| {
                    let mut known = of(*number).expect("it is stored");
                    // What the store swept is live again when the clock steps back, but not there.
                    if !stored.iter().any(|(_, sequence, _)| *sequence == known.sequence) {
                        let now_keyed = self.model.keyed(bus, item.key.expect("it has a key"));
                        known = now_keyed.and_then(of).expect("it is stored anew");
                    }
                    MessageId::from_sequence(known.sequence)
                });
                assert_eq!(ids, expected.collect::<Vec<_>>());
            }
            (Expected::Numbers(_), std::task::Poll::Ready(Err(PublishError::Store(_)))) => {
                assert!(matches!(fault, Fault::Before | Fault::Answer), "the store did not fail");
            }
            (Expected::Numbers(_), std::task::Poll::Pending) => {
                assert!(gives, "only a commit is pending");
                self.model.doubt(bus, first, now);
            }
            (expected, std::task::Poll::Ready(Err(error))) => {
                let got = match error {
                    PublishError::UnknownBus => Expected::UnknownBus,
                    PublishError::Expiry(error) => Expected::Expiry(error),
                    PublishError::ChannelFull { .. } => Expected::ChannelFull,
                    PublishError::BusFull => Expected::BusFull,
                    other => panic!("{expected:?} was expected, not {other:?}"),
                };
                assert_eq!(*expected, got);
            }
            (expected, outcome) => panic!("{expected:?} was expected, not {outcome:?}"),
        }
    }

    fn since(&self, since: Since) -> Option<Sequence> {
        let known = &self.model.known;
        match since {
            Since::Start => None,
            Since::Message(pick) => {
                known.get(usize::from(pick) % known.len().max(1)).map(|known| known.sequence)
            }
            Since::Last => known.iter().map(|known| known.sequence).max(),
        }
    }

    fn check_page(&self, query: &Query, after: Option<Sequence>, limit: usize, page: &ReadPage) {
        let limit = limit.max(1);
        let expected = self.model.read(self.now(), query, after);
        let got: Vec<u64> = page.messages.iter().map(|message| number(message)).collect();
        let want: Vec<u64> = expected.iter().take(limit).map(|known| known.number).collect();
        assert_eq!(got, want, "{query:?} after {after:?}");
        assert_eq!(page.more, expected.len() > limit);
        let last = expected.iter().take(limit).next_back().map(|known| known.sequence);
        match last {
            Some(last) => assert_eq!(page.next, Cursor::After(last)),
            None => assert!(page.next.after() >= after, "a cursor does not go back"),
        }
        for (message, known) in page.messages.iter().zip(expected) {
            assert_eq!(message.id.sequence(), known.sequence);
            assert_eq!(message.expires_at, known.expires);
            assert_eq!(message.channel.as_str(), format!("c{}", known.channel));
            assert_eq!(message.bus, name(known.bus));
        }
    }

    async fn read(&mut self, query: &Query, after: Option<Sequence>, limit: usize) -> ReadPage {
        let scope: Scope = query.scope().parse().unwrap();
        let cursor = after.map_or(Cursor::Start, Cursor::After);
        let page = self.buses.read(&scope, cursor, limit).await.unwrap();
        self.check_page(query, after, limit, &page);
        page
    }

    async fn walk(&mut self, query: &Query, limit: usize) {
        let mut after = None;
        loop {
            let page = self.read(query, after, limit).await;
            after = page.next.after();
            if !page.more {
                break;
            }
        }
        assert!(self.model.read(self.now(), query, after).is_empty(), "a walk misses nothing");
    }

    async fn fetch(&mut self, pick: u8, query: &Query) {
        let Some(known) = self.model.known.get(usize::from(pick) % self.model.known.len().max(1))
        else {
            return;
        };
        let scope: Scope = query.scope().parse().unwrap();
        let id = MessageId::from_sequence(known.sequence);
        let found = self.buses.message(id, &scope).await.unwrap();
        let is_there =
            |known: &Known| !known.gone && self.now() < known.expires && query.admits(known);
        assert_eq!(found.map(|m| number(&m)), is_there(known).then_some(known.number));
    }

    fn wait(&mut self, query: &Query, since: Since, millis: u16) {
        let after = self.since(since);
        let deadline = self.now().saturating_add(Duration::from_millis(millis.into()));
        let scope: Scope = query.scope().parse().unwrap();
        let buses = self.buses.clone();
        let cursor = after.map_or(Cursor::Start, Cursor::After);
        let future = Box::pin(async move { buses.read_wait(&scope, cursor, 3, deadline).await });
        self.polls.push(Poll { future, query: query.clone(), after, deadline });
    }

    async fn check_polls(&mut self) {
        for mut waiting in std::mem::take(&mut self.polls) {
            let there = !self.model.read(self.now(), &waiting.query, waiting.after).is_empty();
            let over = there || self.now() >= waiting.deadline;
            match poll!(&mut waiting.future) {
                std::task::Poll::Ready(page) => {
                    assert!(over, "a poll ended early: {:?}", waiting.query);
                    self.check_page(&waiting.query, waiting.after, 3, &page.unwrap());
                }
                std::task::Poll::Pending => {
                    assert!(!over, "a poll did not end: {:?}", waiting.query);
                    // It has looked at everything up to here and does not look back.
                    waiting.after = waiting.after.max(self.looked_at(&waiting.query));
                    self.polls.push(waiting);
                }
            }
        }
    }

    /// The last message that a reader of `query` has looked at by now.
    fn looked_at(&self, query: &Query) -> Option<Sequence> {
        let places = Query { kind: None, sticky: None, ..query.clone() };
        let seen = self.model.known.iter().filter(|k| !k.gone && places.admits(k));
        seen.map(|known| known.sequence).max()
    }

    fn subscribe(&mut self, query: &Query, since: Since) {
        let after = self.since(since);
        let cursor = after.map_or(Cursor::Start, Cursor::After);
        let stream = self.buses.subscribe(query.scope().parse().unwrap(), cursor);
        let places = vec![after; BUSES.into()];
        self.feeds.push(Feed { stream, query: query.clone(), places });
    }

    async fn drain(&mut self, pick: u8) {
        let count = self.feeds.len();
        let now = self.now();
        let Some(feed) = self.feeds.get_mut(usize::from(pick) % count.max(1)) else { return };
        let mut got = Vec::new();
        while let std::task::Poll::Ready(item) = poll!(feed.stream.next()) {
            got.push(item.expect("it does not end").unwrap());
        }
        for bus in (0..BUSES).filter(|bus| feed.query.has_bus(*bus)) {
            let query = Query { buses: 1 << bus, ..feed.query.clone() };
            let place = &mut feed.places[usize::from(bus)];
            let expected = self.model.read(now, &query, *place);
            let want: Vec<u64> = expected.iter().map(|known| known.number).collect();
            let name = name(bus);
            let of_bus = got.iter().filter(|message| message.bus == name);
            assert_eq!(of_bus.map(|m| number(m)).collect::<Vec<_>>(), want, "{query:?}");
            let places = Query { kind: None, sticky: None, ..query };
            let seen = self.model.known.iter().filter(|k| !k.gone && places.admits(k));
            *place = seen.map(|known| known.sequence).max().max(*place);
        }
    }

    fn drop_readers(&mut self, pick: u8) {
        let pick = usize::from(pick);
        if !self.polls.is_empty() {
            self.polls.swap_remove(pick % self.polls.len());
        }
        if !self.feeds.is_empty() {
            self.feeds.swap_remove(pick % self.feeds.len());
        }
    }

    fn step(&mut self, millis: i64) {
        let now = self.now().as_millis().saturating_add_signed(millis);
        self.clock.0.store(now, std::sync::atomic::Ordering::SeqCst);
        if millis < 0 {
            // Waits do not get longer.
            for waiting in &mut self.polls {
                let deadline = waiting.deadline.as_millis().saturating_add_signed(millis);
                waiting.deadline = Timestamp::from_millis(deadline);
            }
        }
    }

    fn step_to_expiry(&mut self, early: bool) {
        let now = self.now();
        let later = self.model.known.iter().map(|known| known.expires).filter(|at| *at > now);
        if let Some(next) = later.min() {
            let left = next.saturating_since(now).as_millis();
            self.step(i64::try_from(left).unwrap() - i64::from(early));
        }
    }

    async fn reopen(&mut self) {
        self.polls.clear();
        self.feeds.clear();
        self.store.crash();
        self.buses = open(&self.store, &self.clock).await;
        let stored = self.stored().await;
        let stored: Vec<_> = stored.into_iter().map(|(bus, sequence, _)| (bus, sequence)).collect();
        self.model.reopen(&stored);
    }
}
