//! Titanic on stores that work, fail, and are opened again.

use buswire_mdp::titanic::MemoryStorage;
use buswire_mdp::{Broker, BrokerConfig, Frames, LocalRequest, LocalService, ServiceName};
use buswire_store::memory::MemoryStore;
use buswire_testkit::{Fault, Faults, FaultyStore, SeededEntropy, VirtualClock};
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A broker with a Titanic, in which requests are sent until it is dropped.
struct Gateway {
    broker: BrokerHandle,
    titanic: Titanic,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl Gateway {
    async fn start(store: Arc<dyn Store>, clock: &VirtualClock, seed: u64) -> Self {
        let endpoints = vec!["tcp://127.0.0.1:0".to_owned()];
        let broker = Broker::start(BrokerConfig { endpoints, ..BrokerConfig::default() }).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
        let config = Config { backoff: Duration::from_millis(10), ..Config::default() };
        let opened = open(&broker, &store, &clock, &entropy, config).await.unwrap();
        let (titanic, stop) = (opened.titanic.clone(), CancellationToken::new());
        #[expect(clippy::disallowed_methods, reason = "a test owns its tasks")]
        let run = tokio::spawn(opened.run(stop.clone()));
        Self { broker, titanic, stop, run }
    }

    async fn call(&self, service: &str, frames: &[&str]) -> Vec<String> {
        let frames = frames.iter().map(|frame| frame.as_bytes().to_vec()).collect::<Frames>();
        let name: ServiceName = service.parse().unwrap();
        let reply = self.broker.request(&name, frames, PATIENCE).await.unwrap();
        reply.iter().map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect()
    }

    /// Stores a request and returns its id.
    async fn submit(&self, frames: &[&str]) -> String {
        let answer = self.call("titanic.request", frames).await;
        assert_eq!(answer.first().map(String::as_str), Some("200"));
        answer.into_iter().nth(1).unwrap()
    }

    /// Asks for a reply until it is not `300`.
    async fn reply(&self, id: &str) -> Vec<String> {
        let ask = async {
            loop {
                let answer = self.call("titanic.reply", &[id]).await;
                if answer != ["300"] {
                    return answer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ask).await.expect("no reply in time")
    }

    async fn offer_echo(&self) {
        self.broker.register(&"echo".parse().unwrap(), Arc::new(Echo)).await.unwrap();
    }

    /// Ends as a gateway does that drains.
    async fn drain(self) {
        self.stop.cancel();
        self.run.await.unwrap();
        self.broker.shutdown(Duration::ZERO).await;
    }

    async fn stop(self) {
        self.run.abort();
        self.run.await.unwrap_or_default();
        self.broker.shutdown(Duration::ZERO).await;
    }
}

struct Echo;

impl LocalService for Echo {
    fn call(&self, request: LocalRequest) -> BoxFuture<'static, Frames> {
        Box::pin(async move { request.frames })
    }
}

#[tokio::test]
async fn a_reply_has_a_place_only_where_its_request_stands() {
    // Rule: mdp §17 — a result that arrives after titanic.close is discarded
    let store = Arc::new(MemoryStore::new());
    let rows = StoreStorage { store, clock: Arc::new(VirtualClock::default()), owners: None };
    let storages: [&dyn Storage; 2] = [&rows, &MemoryStorage::new()];
    for storage in storages {
        let key = RecordKey::from_bytes([7; 32]);
        let hour = Duration::from_secs(3600);
        let replace =
            |revision, record: &'static str| storage.replace(key, revision, record.into(), hour);
        assert!(!replace(0, "reply").await.unwrap(), "there never was a request");
        storage.insert(key, "request".into(), hour).await.unwrap();
        let request = storage.load(key).await.unwrap().unwrap();
        assert_eq!(request.record, "request");
        assert!(request.remaining <= hour && request.remaining > hour / 2);
        assert!(replace(request.revision, "first").await.unwrap());
        assert!(!replace(request.revision, "second").await.unwrap(), "the first stays");
        let reply = storage.load(key).await.unwrap().unwrap();
        assert_eq!(reply.record, "first");
        for _ in 0..2 {
            storage.remove(key).await.unwrap();
        }
        assert!(!replace(reply.revision, "late").await.unwrap(), "it is closed");
        assert_eq!(storage.load(key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn pages_hold_every_record_once_in_order() {
    let store = Arc::new(MemoryStore::new());
    let rows = StoreStorage { store, clock: Arc::new(VirtualClock::default()), owners: None };
    let storages: [&dyn Storage; 2] = [&rows, &MemoryStorage::new()];
    for storage in storages {
        let mut keys = Vec::new();
        // More than a page in one partition, one in the first, and one in the last.
        for (first, second) in (0..150_u8).map(|at| (9, at)).chain([(0, 0), (9, 255), (255, 255)]) {
            let mut bytes = [second; 32];
            bytes[0] = first;
            let key = RecordKey::from_bytes(bytes);
            storage.insert(key, "r".into(), Duration::from_secs(60)).await.unwrap();
            keys.push(key);
        }
        keys.sort();
        let mut seen = Vec::new();
        loop {
            let page = storage.page(seen.last().copied()).await.unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page.into_iter().map(|(key, _)| key));
        }
        assert_eq!(seen, keys);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_answered_500_and_promises_nothing() {
    // Rule: mdp §17 — titanic.request stores durably before it answers 200
    // Rule: mdp §17 — 500 says that the service failed and the client may retry
    let clock = VirtualClock::default();
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
    let gateway = Gateway::start(store.clone(), &clock, 1).await;
    for fault in [Fault::Before, Fault::After] {
        store.script(fault);
        assert_eq!(gateway.call("titanic.request", &["echo", "lost"]).await, ["500"]);
    }
    let counts = gateway.titanic.counts();
    assert_eq!((counts.pending, counts.bytes, counts.accepted, counts.refused), (0, 0, 0, 2));

    let id = gateway.submit(&["echo", "kept"]).await;
    store.script(Fault::Before);
    assert_eq!(gateway.call("titanic.close", &[&id]).await, ["500"]);
    assert_eq!(gateway.call("titanic.reply", &[&id]).await, ["300"], "it is still there");

    // The reply is stored twice before its storage says so; the first one stays.
    store.script(Fault::Before);
    store.script(Fault::After);
    gateway.offer_echo().await;
    assert_eq!(gateway.reply(&id).await, ["200", "kept"]);
    assert_eq!(gateway.call("titanic.close", &[&id]).await, ["200"]);
    assert_eq!(gateway.call("titanic.reply", &[&id]).await, ["400"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_the_commit() {
    // Rule: mdp §17 — no 200 leaves before the request is durable
    let clock = VirtualClock::default();
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
    let gateway = Gateway::start(store.clone(), &clock, 1).await;
    let gate = store.gate();
    gate.close();
    store.script(Fault::DelayBefore);
    let mut answer = Box::pin(gateway.call("titanic.request", &["echo"]));
    // A later call is answered, so the one at the gate would have been.
    tokio::select! {
        answer = &mut answer => panic!("answered {answer:?} before the commit"),
        late = gateway.call("titanic.reply", &["no id"]) => assert_eq!(late, ["400"]),
    }
    gate.open();
    assert_eq!(answer.await.first().map(String::as_str), Some("200"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_answered_is_pending_again_after_a_start() {
    // Rule: mdp §17 — after a restart everything not closed and without reply is executed
    // Rule: mdp §17 — repeated titanic.reply gives the same answer until titanic.close
    let clock = VirtualClock::default();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let gateway = Gateway::start(Arc::clone(&store), &clock, 1).await;
    let mut ids = Vec::new();
    for number in 0..300_u32 {
        ids.push(gateway.submit(&["echo", &number.to_string()]).await);
    }
    let closed = gateway.submit(&["echo", "closed"]).await;
    assert_eq!(gateway.call("titanic.close", &[&closed]).await, ["200"]);
    gateway.stop().await;

    let gateway = Gateway::start(Arc::clone(&store), &clock, 2).await;
    assert_eq!(gateway.titanic.counts().pending, 300);
    gateway.offer_echo().await;
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(gateway.reply(id).await, ["200".to_owned(), number.to_string()]);
    }
    gateway.stop().await;

    let gateway = Gateway::start(store, &clock, 3).await;
    let counts = gateway.titanic.counts();
    assert_eq!((counts.pending, counts.done), (0, 300));
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(gateway.reply(id).await, ["200".to_owned(), number.to_string()]);
    }
    assert_eq!(gateway.reply(&closed).await, ["400"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asks_for_is_unknown_after_its_time() {
    // Rule: mdp §17 — after its TTL an unclaimed reply or a request never served is answered 400
    let clock = VirtualClock::default();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let gateway = Gateway::start(Arc::clone(&store), &clock, 1).await;
    gateway.offer_echo().await;
    let done = gateway.submit(&["echo", "x"]).await;
    let never = gateway.submit(&["nobody", "y"]).await;
    assert_eq!(gateway.reply(&done).await, ["200", "x"]);
    let ttl = Config::default().reply_ttl;
    clock.advance(ttl.saturating_sub(Duration::from_secs(1)));
    assert_eq!(gateway.call("titanic.reply", &[&done]).await, ["200", "x"]);
    assert_eq!(gateway.call("titanic.reply", &[&never]).await, ["300"]);
    clock.advance(Duration::from_secs(1));
    for id in [&done, &never] {
        assert_eq!(gateway.call("titanic.reply", &[id]).await, ["400"]);
    }
    gateway.stop().await;

    store.sweep(clock.now(), usize::MAX).await.unwrap();
    let gateway = Gateway::start(store, &clock, 2).await;
    assert_eq!(gateway.titanic.counts().pending + gateway.titanic.counts().done, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_the_store_reveals_no_id() {
    // Rule: mdp §17 — ids are bearer secrets: unpredictable, and stored as hashes only
    let clock = VirtualClock::default();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let gateway = Gateway::start(Arc::clone(&store), &clock, 1).await;
    let id = gateway.submit(&["nobody", "body"]).await;
    assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16);
    let raw: Vec<u8> = id.as_bytes().chunks(2).map(|digits| byte(digits).unwrap()).collect();
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let mut rows = 0;
    for shard in 0..=u8::MAX {
        let partition = partition(shard).unwrap();
        let order = Direction::Ascending;
        let page = store.scan(&partition, KeyRange::all(), 10, order, clock.now()).await.unwrap();
        for (key, row) in page.rows {
            rows += 1;
            for bytes in [key.as_bytes(), row.value.as_bytes().unwrap()] {
                assert!(!holds(bytes, &raw) && !holds(bytes, id.as_bytes()));
            }
        }
    }
    assert_eq!(rows, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_answered_whatever_fails() {
    // Rule: mdp §17 — an acknowledged request is answered, and with the reply to itself
    let faults = Faults { before: 15, after: 15, read: 10, ..Faults::default() };
    for seed in 0..20 {
        let clock = VirtualClock::default();
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), seed));
        let mut acknowledged = Vec::new();
        for start in 0..3 {
            let gateway = Gateway::start(store.clone(), &clock, 3 * seed + start).await;
            store.set_faults(faults);
            if start == 1 {
                gateway.offer_echo().await;
            }
            for number in 0..10 {
                let body = format!("{start}-{number}");
                let answer = gateway.call("titanic.request", &["echo", &body]).await;
                match answer.as_slice() {
                    [status, id] if status == "200" => acknowledged.push((id.clone(), body)),
                    other => assert_eq!(other, ["500"], "seed {seed}"),
                }
            }
            store.set_faults(Faults::default());
            gateway.stop().await;
        }
        let gateway = Gateway::start(store.clone(), &clock, 1000 + seed).await;
        gateway.offer_echo().await;
        for (id, body) in &acknowledged {
            let expected = ["200", body];
            assert_eq!(gateway.reply(id).await, expected, "seed {seed}");
            assert_eq!(gateway.call("titanic.close", &[id]).await, ["200"]);
            assert_eq!(gateway.reply(id).await, ["400"], "seed {seed}");
        }
        gateway.stop().await;
    }
}

/// A store that gateways share.
fn shared() -> Arc<FaultyStore> {
    Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1).shared())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_of_a_gateway_that_is_gone_are_answered_by_another() {
    // Rule: mdp §17 — a request that was acknowledged is executed, whatever becomes of its gateway
    let (store, clock) = (shared(), VirtualClock::default());
    for drains in [false, true] {
        let gone = Gateway::start(store.clone(), &clock, 1).await;
        let other = Gateway::start(store.clone(), &clock, 2).await;
        other.offer_echo().await;
        let id = gone.submit(&["echo", "left"]).await;
        assert_eq!(other.call("titanic.reply", &[&id]).await, ["300"], "any gateway tells");
        let here = other.submit(&["echo", "here"]).await;
        assert_eq!(other.reply(&here).await, ["200", "here"]);
        let counts = other.titanic.counts();
        assert_eq!((counts.pending, counts.in_flight), (0, 0), "what another has is its to send");
        if drains {
            gone.drain().await;
        } else {
            gone.stop().await;
            // Its row ends with the lease.
            clock.advance(Duration::from_secs(6));
        }
        assert_eq!(other.reply(&id).await, ["200", "left"]);
        other.drain().await;
    }
}

async fn member(store: &Arc<FaultyStore>, clock: &VirtualClock, seed: u64) -> StoreStorage {
    let store: Arc<dyn Store> = store.clone();
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let owners = join(&store, &clock, &SeededEntropy::new(seed)).await.unwrap();
    StoreStorage { store, clock, owners: Some(Arc::new(owners)) }
}

async fn all_of(storage: &StoreStorage) -> Vec<RecordKey> {
    let mut seen = Vec::new();
    loop {
        let page = storage.page(seen.last().copied()).await.unwrap();
        if page.is_empty() {
            return seen;
        }
        assert!(page.iter().all(|(_, stored)| stored.is_ours && stored.record == "r"));
        seen.extend(page.into_iter().map(|(key, _)| key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_that_is_left_is_taken_over_once() {
    let (store, clock) = (shared(), VirtualClock::default());
    let left = member(&store, &clock, 1).await;
    let mut keys = Vec::new();
    for number in 0..200_u8 {
        let key = RecordKey::from_bytes([number % 7; 32].map(|byte| byte.wrapping_add(number)));
        left.insert(key, "r".into(), Duration::from_secs(60)).await.unwrap();
        keys.push(key);
    }
    keys.sort();
    keys.dedup();
    assert_eq!(all_of(&left).await, keys);
    let (one, two) = (member(&store, &clock, 2).await, member(&store, &clock, 3).await);
    assert_eq!(all_of(&one).await, [], "it lives");
    clock.advance(Duration::from_secs(6));
    for storage in [&one, &two] {
        storage.owners.as_ref().unwrap().announce().await.unwrap();
    }
    let (mut taken, more) = tokio::join!(all_of(&one), all_of(&two));
    taken.extend(more);
    taken.sort();
    assert_eq!(taken, keys);
    // Who only seemed to be gone has nothing to send any more, and its late replies find no place.
    let stored = left.load(keys[0]).await.unwrap().unwrap();
    assert!(!stored.is_ours);
    assert_eq!(all_of(&left).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_names_no_gateway_is_anybodys() {
    // As one that was copied from a store that is not shared.
    let (store, clock) = (shared(), VirtualClock::default());
    let (inner, key) = (store.clone(), RecordKey::from_bytes([7; 32]));
    let alone = StoreStorage { store: inner, clock: Arc::new(clock.clone()), owners: None };
    alone.insert(key, "r".into(), Duration::from_secs(60)).await.unwrap();
    let one = member(&store, &clock, 1).await;
    assert_eq!(all_of(&one).await, [key]);
    assert_eq!(all_of(&member(&store, &clock, 2).await).await, []);
    // And back: one that is named is read where nobody shares.
    assert_eq!(alone.load(key).await.unwrap().unwrap().record, "r");
}
