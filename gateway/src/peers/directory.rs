//! The rows by which gateways find each other's brokers: where each is asked, nothing else.
//!
//! A row is written every ten seconds and ends a minute after it was written last, by the clocks of the
//! gateways. It says where a gateway may be, not that it is there: whether it is shows when it is asked.
//! So a clock that is wrong, or a store that is away for a while, keeps a gateway from being found at
//! most: a link that is up stays until it is lost. No request writes a row.
//!
//! Never here: which services there are.

use std::{future, sync::Arc, time::Duration};

use buswire_mdp::{BrokerHandle, core::BrokerAddress, wire::BrokerId};
use buswire_message::Clock;
use buswire_store::{
    Ack, Batch, Direction, HintFilter, Hints, Key, KeyRange, Operation, Partition, Store,
    StoreError, StoreNameError,
};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

/// How often a gateway writes its row.
const BEAT: Duration = Duration::from_secs(10);
/// How long a row that is not written again stays.
const LEASE: Duration = Duration::from_secs(60);
/// How often the rows are read when nothing is heard of a change.
const LOOK: Duration = Duration::from_secs(5);
/// Rows that are read: more than there are links.
const ROWS_MAX: usize = 256;

/// Why there is no directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A name within the store is not one.
    #[error("a name in the store")]
    Name(#[from] StoreNameError),
    /// The row can't be written down.
    #[error("a row")]
    Row(#[from] serde_json::Error),
}

/// What a row says. Members that are not known are from a later release and mean nothing here.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// What the gateway is called.
    name: Arc<str>,
    /// Where its broker is asked.
    endpoint: Arc<str>,
}

/// The rows, as one gateway sees them.
#[derive(Debug)]
pub(super) struct Directory {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    partition: Partition,
    own: BrokerAddress,
}

impl Directory {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        id: BrokerId,
        name: Arc<str>,
        endpoint: Arc<str>,
    ) -> Result<Self, DirectoryError> {
        let own = BrokerAddress { id, name, endpoint };
        Ok(Self { store, clock, partition: Partition::new("mdp-gateways")?, own })
    }

    /// Writes the own row and tells `broker` of the others, until `stop` is ready.
    pub(super) async fn follow(self, broker: BrokerHandle, stop: CancellationToken) {
        let mut hints = self.store.hints(HintFilter::Only(self.partition.clone()));
        let (mut beat_at, mut known, mut fails) = (Instant::now(), Vec::new(), false);
        loop {
            if Instant::now() >= beat_at {
                beat_at = Instant::now() + BEAT;
                fails = told(self.announce().await, fails);
            }
            match self.others().await {
                Ok(others) if others != known => {
                    broker.set_brokers(others.clone()).await;
                    known = others;
                }
                Ok(_) => {}
                // What is known stays; links show what of it is true.
                Err(error) => fails = told(Err(error), fails),
            }
            let woken = time::timeout(LOOK, changed(&mut hints));
            tokio::select! {
                _woken_or_late = woken => {}
                () = stop.cancelled() => break,
            }
        }
        if let Err(error) = self.withdraw().await {
            tracing::debug!(why = ?error, "the row of this gateway ends by itself");
        }
    }

    async fn announce(&self) -> Result<(), DirectoryError> {
        let now = self.clock.now();
        let BrokerAddress { name, endpoint, .. } = self.own.clone();
        let value = Bytes::from(serde_json::to_vec(&Entry { name, endpoint })?);
        let expires = Some(now.saturating_add(LEASE));
        let batch = Batch::new(self.partition.clone());
        let batch = batch.then(Operation::Put { key: self.key()?, value, expires });
        self.store.commit(batch, Ack::Accepted, now).await?;
        Ok(())
    }

    async fn withdraw(&self) -> Result<(), DirectoryError> {
        let gone = Operation::Delete { key: self.key()? };
        let batch = Batch::new(self.partition.clone()).then(gone);
        self.store.commit(batch, Ack::Accepted, self.clock.now()).await?;
        Ok(())
    }

    fn key(&self) -> Result<Key, StoreNameError> {
        Key::new(self.own.id.0.to_vec())
    }

    async fn others(&self) -> Result<Vec<BrokerAddress>, DirectoryError> {
        let (all, order) = (KeyRange::all(), Direction::Ascending);
        let rows = self.store.scan(&self.partition, all, ROWS_MAX, order, self.clock.now()).await?;
        let entries = rows.rows.iter().filter_map(|(key, row)| {
            let id = BrokerId(<[u8; 8]>::try_from(&key.as_bytes()[..]).ok()?);
            let Entry { name, endpoint } = serde_json::from_slice(row.value.as_bytes()?).ok()?;
            Some(BrokerAddress { id, name, endpoint })
        });
        Ok(entries.filter(|it| it.id != self.own.id).collect())
    }
}

/// Waits for a change of the rows.
async fn changed(hints: &mut Hints) {
    if hints.next().await.is_none() {
        future::pending::<()>().await;
    }
}

/// Says once that the rows can't be read or written; returns whether they could not.
fn told(result: Result<(), DirectoryError>, failed_before: bool) -> bool {
    let Err(error) = result else { return false };
    if !failed_before {
        tracing::warn!(why = ?error, "the gateways that can be asked for services are not known");
    }
    true
}

#[cfg(test)]
mod tests {
    use buswire_mdp::{Broker, BrokerConfig, LinkSettings, core::LinkConfig, has_curve};
    use buswire_message::Secret;
    use buswire_store::memory::MemoryStore;
    use buswire_testkit::VirtualClock;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::peers::keys;

    fn directory(store: &Arc<dyn Store>, clock: &Arc<VirtualClock>, number: u8) -> Directory {
        let (name, endpoint) = (format!("g{number}"), format!("tcp://127.0.0.1:{number}"));
        let (store, clock) = (Arc::clone(store), Arc::clone(clock) as Arc<dyn Clock>);
        Directory::new(store, clock, BrokerId([number; 8]), name.into(), endpoint.into()).unwrap()
    }

    #[tokio::test]
    async fn gateways_see_each_other_until_they_leave_or_die() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = Arc::new(VirtualClock::default());
        let [one, two, three] = [1, 2, 3].map(|number| directory(&store, &clock, number));
        for it in [&one, &two, &three] {
            it.announce().await.unwrap();
        }
        let names = |others: Vec<BrokerAddress>| {
            others.iter().map(|it| it.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(one.others().await.unwrap()), ["g2", "g3"]);
        two.withdraw().await.unwrap();
        assert_eq!(names(one.others().await.unwrap()), ["g3"]);
        clock.advance(BEAT * 2);
        three.announce().await.unwrap();
        clock.advance(LEASE.saturating_sub(BEAT));
        assert_eq!(names(two.others().await.unwrap()), ["g3"], "one died");
    }

    #[tokio::test]
    async fn rows_of_other_releases_are_passed_over_or_read_as_far_as_they_are_known() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = Arc::new(VirtualClock::default());
        let it = directory(&store, &clock, 1);
        let put = |key: &[u8], value: &'static str| Operation::Put {
            key: Key::new(key.to_vec()).unwrap(),
            value: Bytes::from(value),
            expires: None,
        };
        let batch = Batch::new(it.partition.clone())
            .then(put(&[9; 8], r#"{"name":"g9","endpoint":"tcp://x:1","more":1}"#))
            .then(put(&[8; 8], "other"))
            .then(put(&[7; 3], r#"{"name":"g7","endpoint":"tcp://x:1"}"#));
        store.commit(batch, Ack::Accepted, clock.now()).await.unwrap();
        let others = it.others().await.unwrap();
        assert_eq!(others.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["g9"]);
    }

    #[tokio::test]
    async fn the_row_is_there_while_the_gateway_lives_and_the_broker_knows_the_others() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = Arc::new(VirtualClock::default());
        directory(&store, &clock, 2).announce().await.unwrap();
        let mut config = BrokerConfig {
            endpoints: vec!["inproc://directory".to_owned()],
            ..BrokerConfig::default()
        };
        // A libzmq without CURVE has no links, and the broker nobody to know.
        let has_links = has_curve();
        if has_links {
            let pair = keys::derive(&Secret::new([1; 32])).unwrap();
            let listen = "tcp://127.0.0.1:0".to_owned();
            config.links = Some(LinkSettings { listen, public: pair.public, secret: pair.secret });
            config.core.links = Some(LinkConfig::new(BrokerId([1; 8])));
        }
        let broker = Broker::start(config).unwrap();
        let knower = broker.clone();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let running = tasks.spawn(directory(&store, &clock, 1).follow(broker, stop.clone()));
        let two = directory(&store, &clock, 2);
        let mut hints = store.hints(HintFilter::Only(two.partition.clone()));
        while two.others().await.unwrap().is_empty() {
            time::timeout(LOOK, hints.next()).await.unwrap();
        }
        let knows = async {
            while knower.brokers().await.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        if has_links {
            time::timeout(LOOK, knows).await.unwrap();
            let names: Vec<_> =
                knower.brokers().await.into_iter().map(|it| it.address.name).collect();
            assert_eq!(names, [Arc::from("g2")]);
        }
        stop.cancel();
        running.await.unwrap();
        assert!(two.others().await.unwrap().is_empty(), "it left");
    }
}
