//! The registry on the memory store.

use buswire_store::{memory::MemoryStore, system::SystemEntropy};
use buswire_testkit::VirtualClock;

use super::*;
use crate::{
    config::EndpointBase,
    connection::{Change, Done},
    token::{TokenKey, TokenKeys},
};

struct Bench {
    registry: Registry,
    store: Arc<MemoryStore>,
    uaid: Uaid,
}

impl Bench {
    fn new() -> Self {
        let keys = TokenKeys::new(&TokenKey::new(1, [7; 32]), &[]).unwrap();
        let config = Config::new(EndpointBase::new("https://push.example.net").unwrap(), keys);
        let store = Arc::new(MemoryStore::new());
        let shared = Arc::<MemoryStore>::clone(&store);
        let clock = Arc::new(VirtualClock::default());
        let registry = Registry::new(shared, clock, Arc::new(config), [7; 8]);
        let mut random = [0; 16];
        buswire_message::Entropy::fill(&SystemEntropy, &mut random);
        Self { registry, store, uaid: Uaid::from_bytes(random) }
    }

    async fn apply(&self, change: Change) -> Done {
        let command = Command::Apply { uaid: self.uaid, changes: vec![change] };
        match self.registry.execute(1, command).await {
            Reply::Applied(mut done) if done.len() == 1 => done.remove(0),
            other => panic!("{other:?}"),
        }
    }

    async fn pending(&self) -> Vec<u64> {
        match self.registry.execute(1, Command::Load(self.uaid)).await {
            Reply::Loaded(Loaded::Known(known)) => {
                known.pending.iter().map(|pending| pending.version.get()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn put(&self, version: u64) -> Result<u64, PublishError> {
        let key = self.uaid.key();
        let published = self.registry.publish(key, channel(), Version::new(version), None).await?;
        Ok(published.version.get())
    }

    async fn rows(&self) -> usize {
        let partition = self.uaid.key().partition().unwrap();
        self.registry.scan(&partition, KeyRange::all(), self.registry.now()).await.unwrap().len()
    }
}

fn channel() -> ChannelId {
    ChannelId::parse("0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90").unwrap()
}

#[tokio::test]
async fn the_greatest_version_stays_while_pending() {
    let bench = Bench::new();
    bench.apply(Change::Register(channel())).await;
    // Rule: simplepush R-VER-6 — while P is pending a PUT of N changes it to max(P, N)
    // Rule: simplepush S4 — a pending version never decreases
    // Rule: simplepush R-DEL-1 — the version is stored before the PUT is answered
    for (version, pending) in [(5, 5), (4, 5), (6, 6)] {
        assert_eq!(bench.put(version).await.unwrap(), version);
        assert_eq!(bench.pending().await, [pending]);
    }
    // Rule: simplepush S11 — register of an existing channel changes nothing
    bench.apply(Change::Register(channel())).await;
    assert_eq!(bench.pending().await, [6]);
}

#[tokio::test]
async fn nothing_is_left_of_a_channel_that_is_unregistered() {
    let bench = Bench::new();
    assert!(matches!(bench.put(1).await, Err(PublishError::Gone)));
    bench.apply(Change::Register(channel())).await;
    bench.put(5).await.unwrap();
    assert_eq!(bench.apply(Change::Unregister(channel())).await, Done::Unregistered);
    // Rule: simplepush R-GC-2 — a record without channels is not kept
    assert_eq!(bench.rows().await, 0);
    assert!(matches!(bench.put(6).await, Err(PublishError::Gone)));
    // A new life begins with nothing pending and no last version.
    bench.apply(Change::Register(channel())).await;
    assert_eq!(bench.pending().await, [0; 0]);
    assert_eq!(bench.put(0).await.unwrap(), 1_709_993_121);
}

#[tokio::test]
async fn a_uaid_is_dropped_as_a_whole() {
    // Rule: simplepush S13 — a UAID is removed atomically with its channels
    let bench = Bench::new();
    bench.apply(Change::Register(channel())).await;
    bench.put(5).await.unwrap();
    assert_eq!(bench.registry.execute(1, Command::Drop(bench.uaid)).await, Reply::Done);
    assert_eq!(bench.rows().await, 0);
    let reply = bench.registry.execute(1, Command::Load(bench.uaid)).await;
    assert_eq!(reply, Reply::Loaded(Loaded::Unknown));
}

#[tokio::test]
async fn a_stale_revision_is_not_trusted() {
    // Rule: simplepush S14 — a remembered registration does not outlive the channel
    let bench = Bench::new();
    bench.apply(Change::Register(channel())).await;
    let key = bench.uaid.key();
    let version = Version::new(3);
    let published = bench.registry.publish(key, channel(), version, None).await.unwrap();
    bench.apply(Change::Unregister(channel())).await;
    let known = Some(published.record);
    let refused = bench.registry.publish(key, channel(), version, known).await;
    assert!(matches!(refused, Err(PublishError::Gone)));
}

#[tokio::test]
async fn records_of_an_older_epoch_are_not_honoured() {
    // Rule: simplepush §11.3 — after writes may have been lost, no UAID of before is honoured
    let bench = Bench::new();
    bench.apply(Change::Register(channel())).await;
    bench.put(5).await.unwrap();
    bench.registry.epoch.store(bench.store.status().epoch.0 + 1, Ordering::SeqCst);
    let reply = bench.registry.execute(1, Command::Load(bench.uaid)).await;
    assert_eq!(reply, Reply::Loaded(Loaded::Stale));
    assert!(matches!(bench.put(6).await, Err(PublishError::Gone)));
    // Registering under the same UAID begins a life without the old versions.
    bench.apply(Change::Register(channel())).await;
    assert_eq!(bench.pending().await, [0; 0]);
    // The next look finds the store's own epoch.
    assert!(bench.registry.epoch_changed());
    assert!(!bench.registry.epoch_changed());
}
