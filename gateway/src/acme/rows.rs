//! What is kept in the store: account, certificate, who orders, answers to challenges.
//!
//! | row of the partition `acme` | holds |
//! |---|---|
//! | `account/DIRECTORY` | the account at a server, sealed |
//! | `certificate/SET` | chain and key for a set of names of a server, sealed |
//! | `attempt/SET` | who orders it, or how long all rest after a failure |
//! | `challenge/NAME` | what proves to the server that it reached us at this name |
//!
//! A proof is found by its name alone, so that gateways whose sets differ, as while a setting is changed in
//! one after the other, answer for each other. If two sets with a common name are ordered at the same
//! time the later proof replaces the earlier one, and that order fails and is tried again.
//!
//! `DIRECTORY` and `SET` are hashes. Whoever orders writes `attempt` first and certificates only while
//! that row is as it wrote it: its revision is the fence against a gateway that wakes too late. Never
//! here: what is ordered, and when.

use std::{sync::Arc, time::Duration};

use buswire_belay::SealKeys;
use buswire_message::{Clock, SecretHash, Timestamp};
use buswire_store::{
    Ack, Applied, Batch, Expectation, HintFilter, Hints, Key, Operation, Outcome, Partition,
    Revision, Row, Store, StoreError, StoreNameError,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::plan::Attempt;
use crate::config::{AcmeConfig, AcmeDomain};

/// How long an answer to a challenge is kept: longer than an order takes.
const CHALLENGE_TIME: Duration = Duration::from_secs(15 * 60);

/// Why a row can't be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowsError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A name within the store is not one.
    #[error("a name in the store")]
    Name(#[from] StoreNameError),
    /// A row was sealed with a key that is not here, or is damaged.
    #[error("the stored {0} can't be read: it was written with other belay.keys, or is damaged")]
    Sealed(&'static str),
    /// There is no key to seal with.
    #[error("there is no key to seal with")]
    NoKey,
}

/// The account at a server, as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccount {
    /// What the client library makes of it; it holds the private key.
    pub(super) credentials: serde_json::Value,
    /// The contacts that the server was told.
    pub(super) contact: Vec<String>,
}

/// A certificate, as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptCertificate {
    /// The chain, PEM.
    pub(super) chain: String,
    /// The private key, PEM.
    pub(super) key: String,
}

/// The rows of one set of names at one server.
pub(super) struct Rows {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    keys: SealKeys,
    partition: Partition,
    account: Key,
    certificate: Key,
    attempt: Key,
}

impl Rows {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        keys: SealKeys,
        config: &AcmeConfig,
    ) -> Result<Self, RowsError> {
        let directory = config.directory.as_str();
        let names = config.domains.iter().map(AcmeDomain::as_str);
        let set = [directory].into_iter().chain(names).collect::<Vec<_>>().join("\n");
        let key = |kind: &str, of: &str| Key::new(format!("{kind}/{}", short_hash(of)));
        Ok(Self {
            partition: Partition::new("acme")?,
            account: key("account", directory)?,
            certificate: key("certificate", &set)?,
            attempt: key("attempt", &set)?,
            store,
            clock,
            keys,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether other processes use the store too.
    pub(super) fn is_shared(&self) -> bool {
        self.store.status().is_shared
    }

    /// Is told of changes.
    pub(super) fn hints(&self) -> Hints {
        self.store.hints(HintFilter::Only(self.partition.clone()))
    }

    pub(super) async fn certificate(
        &self,
    ) -> Result<Option<(Revision, KeptCertificate)>, RowsError> {
        let Some(row) = self.get(&self.certificate).await? else { return Ok(None) };
        Ok(Some((row.revision, self.open("certificate", &self.certificate, &row)?)))
    }

    pub(super) async fn account(&self) -> Result<Option<KeptAccount>, RowsError> {
        let Some(row) = self.get(&self.account).await? else { return Ok(None) };
        self.open("account", &self.account, &row).map(Some)
    }

    pub(super) async fn keep_account(&self, account: &KeptAccount) -> Result<(), RowsError> {
        let value = self.seal(&self.account, account)?;
        self.put(&self.account, value, None).await
    }

    pub(super) async fn forget_account(&self) -> Result<(), RowsError> {
        let batch = Batch::new(self.partition.clone())
            .then(Operation::Delete { key: self.account.clone() });
        self.store.commit(batch, Ack::Safe, self.now()).await?;
        Ok(())
    }

    /// What is stored of orders. One that can't be read is as good as none.
    pub(super) async fn attempt(&self) -> Result<(Option<Revision>, Option<Attempt>), RowsError> {
        let row = self.get(&self.attempt).await?;
        let read = row.as_ref().and_then(|row| row.value.as_bytes());
        let attempt = read.and_then(|bytes| serde_json::from_slice(bytes).ok());
        Ok((row.map(|row| row.revision), attempt))
    }

    /// Writes an attempt in place of the one with the revision `expected`. `None` if that is not there
    /// any more.
    pub(super) async fn replace_attempt(
        &self,
        expected: Option<Revision>,
        attempt: &Attempt,
    ) -> Result<Option<Revision>, RowsError> {
        let key = self.attempt.clone();
        let value = serde_json::to_vec(attempt).map_err(|_| RowsError::NoKey)?;
        let batch = Batch::new(self.partition.clone())
            .expect(expectation(&key, expected))
            .then(Operation::Put { key, value: value.into(), expires: None });
        match self.store.commit(batch, Ack::Safe, self.now()).await? {
            Outcome::Committed(applied) => Ok(match applied.first() {
                Some(Applied::Row(revision)) => Some(*revision),
                _ => None,
            }),
            Outcome::Conflict(_) => Ok(None),
        }
    }

    /// Keeps a certificate and ends the attempt with the revision `attempt`. `false`, and nothing is
    /// kept, if that is another's by now.
    pub(super) async fn keep_certificate(
        &self,
        attempt: Revision,
        certificate: &KeptCertificate,
    ) -> Result<bool, RowsError> {
        let value = self.seal(&self.certificate, certificate)?;
        let batch = Batch::new(self.partition.clone())
            .expect(Expectation::Unchanged(self.attempt.clone(), attempt))
            .then(Operation::Put { key: self.certificate.clone(), value, expires: None })
            .then(Operation::Delete { key: self.attempt.clone() });
        let outcome = self.store.commit(batch, Ack::Safe, self.now()).await?;
        Ok(matches!(outcome, Outcome::Committed(_)))
    }

    /// Keeps what proves to the server that it reached us at `name`; every gateway can show it then.
    pub(super) async fn keep_challenge(&self, name: &str, digest: &[u8]) -> Result<(), RowsError> {
        let expires = self.now().saturating_add(CHALLENGE_TIME);
        self.put(&challenge(name)?, Bytes::copy_from_slice(digest), Some(expires)).await
    }

    /// What was kept for `name`.
    pub(super) async fn challenge(&self, name: &str) -> Result<Option<Bytes>, RowsError> {
        let row = self.get(&challenge(name)?).await?;
        Ok(row.and_then(|row| row.value.as_bytes().cloned()))
    }

    async fn get(&self, key: &Key) -> Result<Option<Row>, RowsError> {
        Ok(self.store.get(&self.partition, key, self.now()).await?)
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        expires: Option<Timestamp>,
    ) -> Result<(), RowsError> {
        let put = Operation::Put { key: key.clone(), value, expires };
        let batch = Batch::new(self.partition.clone()).then(put);
        self.store.commit(batch, Ack::Safe, self.now()).await?;
        Ok(())
    }

    fn seal(&self, key: &Key, value: &impl Serialize) -> Result<Bytes, RowsError> {
        let text = serde_json::to_string(value).map_err(|_| RowsError::NoKey)?;
        let sealed = self.keys.seal(&name(key), &text).ok_or(RowsError::NoKey)?;
        Ok(sealed.into())
    }

    fn open<T: DeserializeOwned>(
        &self,
        what: &'static str,
        key: &Key,
        row: &Row,
    ) -> Result<T, RowsError> {
        let sealed = row.value.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let text = sealed.and_then(|sealed| self.keys.open(&name(key), sealed));
        text.and_then(|text| serde_json::from_str(&text).ok()).ok_or(RowsError::Sealed(what))
    }
}

fn expectation(key: &Key, expected: Option<Revision>) -> Expectation {
    match expected {
        None => Expectation::Absent(key.clone()),
        Some(revision) => Expectation::Unchanged(key.clone(), revision),
    }
}

fn challenge(name: &str) -> Result<Key, StoreNameError> {
    Key::new(format!("challenge/{name}"))
}

/// What a sealed text is bound to.
fn name(key: &Key) -> String {
    String::from_utf8_lossy(key.as_bytes()).into_owned()
}

/// The first 16 bytes of the hash, in hexadecimal.
fn short_hash(text: &str) -> String {
    let hash = SecretHash::of(text);
    let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(first))
}

#[cfg(test)]
pub(super) mod tests {
    use buswire_message::Secret;
    use buswire_store::memory::MemoryStore;
    use buswire_testkit::VirtualClock;

    use super::*;

    pub(in crate::acme) fn config(domains: &[&str]) -> AcmeConfig {
        AcmeConfig {
            domains: domains.iter().map(|name| name.parse().unwrap()).collect(),
            contact: Vec::new(),
            directory: "https://ca.example/directory".parse().unwrap(),
            ca: None,
        }
    }

    pub(in crate::acme) fn rows(store: &Arc<MemoryStore>, key: u8, domains: &[&str]) -> Rows {
        let keys = SealKeys::derived(&[Secret::new([key; 32])], "test").unwrap();
        let clock = Arc::new(VirtualClock::default());
        Rows::new(store.clone(), clock, keys, &config(domains)).unwrap()
    }

    fn kept(chain: &str) -> KeptCertificate {
        KeptCertificate { chain: chain.to_owned(), key: "secret key".to_owned() }
    }

    #[tokio::test]
    async fn only_who_holds_the_attempt_keeps_a_certificate() {
        let store = Arc::new(MemoryStore::new());
        let (here, there) = (rows(&store, 1, &["a.example"]), rows(&store, 1, &["a.example"]));
        let attempt = |by: &str| Attempt { by: Some(by.to_owned()), until_ms: 1, failures: 0 };
        let first = here.replace_attempt(None, &attempt("here")).await.unwrap().unwrap();
        assert_eq!(there.replace_attempt(None, &attempt("there")).await.unwrap(), None);
        // The first one is taken for dead, and wakes too late.
        let second = there.replace_attempt(Some(first), &attempt("there")).await.unwrap().unwrap();
        assert!(!here.keep_certificate(first, &kept("late")).await.unwrap());
        assert!(there.certificate().await.unwrap().is_none());
        assert!(there.keep_certificate(second, &kept("good")).await.unwrap());
        let (_, found) = here.certificate().await.unwrap().unwrap();
        assert_eq!((found.chain.as_str(), found.key.as_str()), ("good", "secret key"));
        assert_eq!(here.attempt().await.unwrap(), (None, None));
    }

    #[tokio::test]
    async fn the_store_alone_shows_no_key() {
        let store = Arc::new(MemoryStore::new());
        let rows_of = |key| rows(&store, key, &["a.example"]);
        let own = rows_of(1);
        let attempt = Attempt { by: None, until_ms: 0, failures: 0 };
        let revision = own.replace_attempt(None, &attempt).await.unwrap().unwrap();
        own.keep_certificate(revision, &kept("chain")).await.unwrap();
        let account = KeptAccount { credentials: "secret account".into(), contact: Vec::new() };
        own.keep_account(&account).await.unwrap();
        for key in [&own.certificate, &own.account] {
            let row = own.get(key).await.unwrap().unwrap();
            let bytes = row.value.as_bytes().unwrap();
            assert!(!String::from_utf8_lossy(bytes).contains("secret"), "{key:?}");
        }
        assert!(matches!(rows_of(2).certificate().await, Err(RowsError::Sealed("certificate"))));
        assert!(matches!(rows_of(2).account().await, Err(RowsError::Sealed("account"))));
    }

    #[tokio::test]
    async fn other_names_are_another_certificate_of_the_same_account() {
        let store = Arc::new(MemoryStore::new());
        let (one, two) = (rows(&store, 1, &["a.example"]), rows(&store, 1, &["b.example"]));
        assert_eq!(one.account, two.account);
        assert_ne!(one.certificate, two.certificate);
        assert_ne!(one.attempt, two.attempt);
    }
}
