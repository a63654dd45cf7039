//! Tokens of administrators that were made by name, with a role.
//!
//! A token is a row `token/NAME` of the partition `admin`: the hash, the role, when it was made. All are
//! held in memory, since every call asks for one; another gateway on the same store learns of a change by
//! the store's hints, and within [`REREAD_EVERY`] if one is lost. Never here: the token of the first start, what a role may do.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use buswire_message::{Clock, Entropy, Secret, SecretHash, Timestamp, mint_base64url};
use buswire_store::{
    Ack, Applied, Batch, Direction, Expectation, HintFilter, Key, KeyRange, Operation, Outcome,
    Partition, Store, StoreError,
};
use futures::{StreamExt as _, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::admin::{
    KnownTokens, Role,
    ports::{AdminError, AdminTokenView, AdminTokens},
};

/// The most tokens; more are refused.
const TOKENS_MAX: usize = 1000;
/// How often what other gateways changed is read without a hint.
const REREAD_EVERY: Duration = Duration::from_secs(5);
const PREFIX: &str = "token/";
/// What the audit log calls the holder of the admin token, and the configuration.
const RESERVED: [&str; 2] = ["admin", "configuration"];

/// A token as it is written down.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    hash: [u8; 32],
    role: String,
    created_at_ms: u64,
}

/// The tokens of a gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    partition: Partition,
    known: RwLock<BTreeMap<SecretHash, AdminTokenView>>,
    /// Held from a change, or the begin of a read, until `known` is what was stored: what was read
    /// before a revocation must not come after it.
    changing: Mutex<()>,
}

impl Tokens {
    /// The tokens in a store.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Internal` if the store can't be read.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, AdminError> {
        let partition =
            Partition::new("admin").map_err(|error| AdminError::Internal(Box::new(error)))?;
        let known = RwLock::default();
        let changing = Mutex::default();
        let tokens = Self(Arc::new(Inner { store, clock, entropy, partition, known, changing }));
        tokens.reread().await?;
        Ok(tokens)
    }

    /// Takes over what other gateways change, until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut hints = self.0.store.hints(HintFilter::Only(self.0.partition.clone()));
        loop {
            // A stream that has ended says nothing more.
            let hinted = async {
                if hints.next().await.is_none() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = hinted => {}
                () = tokio::time::sleep(REREAD_EVERY) => {}
            }
            if let Err(error) = self.reread().await {
                // A token that is revoked elsewhere passes here until the store is back, as every
                // token does; what it may ask for needs the store.
                tracing::warn!(%error, "the tokens of administrators could not be read again");
            }
        }
    }

    async fn reread(&self) -> Result<(), StoreError> {
        let _changing = self.0.changing.lock().await;
        let Inner { store, clock, partition, known, .. } = &*self.0;
        let range = KeyRange::prefix(PREFIX.as_bytes());
        // One page holds them all.
        let page =
            store.scan(partition, range, TOKENS_MAX, Direction::Ascending, clock.now()).await?;
        let mut read = BTreeMap::new();
        for (key, row) in page.rows {
            let name =
                std::str::from_utf8(key.as_bytes()).ok().and_then(|k| k.strip_prefix(PREFIX));
            let written = row.value.as_bytes().and_then(|b| serde_json::from_slice(b).ok());
            let (Some(name), Some(Written { hash, role, created_at_ms })) = (name, written) else {
                return Err(StoreError::Corrupt("a token of an administrator".to_owned()));
            };
            // A role of a newer release is not known here, and its token lets nobody pass.
            let Ok(role) = role.parse() else { continue };
            let created_at = Timestamp::from_millis(created_at_ms);
            let (name, revision) = (name.to_owned(), row.revision.0);
            let view = AdminTokenView { name, role, created_at, revision };
            read.insert(SecretHash::from_bytes(hash), view);
        }
        *known.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }
}

/// The row of a name.
fn key(name: &str) -> Result<Key, AdminError> {
    let is_name = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_name {
        let text = "name: 1 to 64 characters of A-Z a-z 0-9 - _ .";
        return Err(AdminError::invalid(text));
    }
    Key::new(format!("{PREFIX}{name}")).map_err(|error| AdminError::invalid(error.to_string()))
}

impl KnownTokens for Tokens {
    fn holder(&self, token: &SecretHash) -> Option<(String, Role)> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(token).map(|view| (view.name.clone(), view.role))
    }
}

impl AdminTokens for Tokens {
    fn create<'a>(
        &'a self,
        name: &'a str,
        role: Role,
    ) -> BoxFuture<'a, Result<Secret<String>, AdminError>> {
        Box::pin(async move {
            let _changing = self.0.changing.lock().await;
            let Inner { store, clock, entropy, partition, known, .. } = &*self.0;
            let key = key(name)?;
            if RESERVED.contains(&name) {
                let text = format!("name: {name} is what the audit log calls the gateway's own");
                return Err(AdminError::invalid(text));
            }
            if known.read().unwrap_or_else(PoisonError::into_inner).len() >= TOKENS_MAX {
                return Err(AdminError::TooMany(format!("there are {TOKENS_MAX} tokens already")));
            }
            let token = mint_base64url(&**entropy, 32);
            let now = clock.now();
            let hash = SecretHash::of(token.expose());
            let written = Written {
                hash: *hash.as_bytes(),
                role: role.to_string(),
                created_at_ms: now.as_millis(),
            };
            let value = serde_json::to_vec(&written)
                .map_err(|error| AdminError::Internal(Box::new(error)))?;
            let batch = Batch::new(partition.clone())
                .expect(Expectation::Absent(key.clone()))
                .then(Operation::Put { key, value: value.into(), expires: None });
            let revision = match store.commit(batch, Ack::Safe, now).await? {
                Outcome::Committed(applied) => match applied.first() {
                    Some(Applied::Row(revision)) => revision.0,
                    _ => return Err(StoreError::Corrupt("a token was not written".into()).into()),
                },
                Outcome::Conflict(_) => {
                    let text = format!("there is a token {name} already");
                    return Err(AdminError::Exists(text));
                }
            };
            let view = AdminTokenView { name: name.to_owned(), role, created_at: now, revision };
            known.write().unwrap_or_else(PoisonError::into_inner).insert(hash, view);
            Ok(token)
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<AdminTokenView>, AdminError>> {
        Box::pin(async move {
            self.reread().await?;
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            Ok(known.values().cloned().collect())
        })
    }

    fn revoke<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>> {
        Box::pin(async move {
            let _changing = self.0.changing.lock().await;
            let Inner { store, clock, partition, known, .. } = &*self.0;
            let key = key(name)?;
            let changed = || AdminError::Changed { kind: "token", name: name.to_owned() };
            let mut batch = Batch::new(partition.clone());
            let existed = match store.get(partition, &key, clock.now()).await? {
                Some(row) if expected.is_some_and(|expected| expected != row.revision.0) => {
                    return Err(changed());
                }
                Some(row) => {
                    batch = batch.expect(Expectation::Unchanged(key.clone(), row.revision));
                    true
                }
                None => false,
            };
            let batch = batch.then(Operation::Delete { key });
            if let Outcome::Conflict(_) = store.commit(batch, Ack::Safe, clock.now()).await? {
                return Err(changed());
            }
            let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, view| view.name != name);
            Ok(existed)
        })
    }
}

#[cfg(test)]
mod tests {
    use buswire_store::{
        memory::MemoryStore,
        system::{SystemClock, SystemEntropy},
    };

    use super::*;

    async fn tokens(store: &Arc<MemoryStore>) -> Tokens {
        let store: Arc<dyn Store> = store.clone();
        Tokens::open(store, Arc::new(SystemClock), Arc::new(SystemEntropy)).await.unwrap()
    }

    #[tokio::test]
    async fn what_another_gateway_made_or_revoked_is_known_before_anything_is_read_again_by_the_clock()
     {
        let store = Arc::new(MemoryStore::new());
        let (here, elsewhere) = (tokens(&store).await, tokens(&store).await);
        let follow = elsewhere.clone().follow(CancellationToken::new());
        let changes = async {
            let token = here.create("grafana", Role::Viewer).await.unwrap();
            let hash = SecretHash::of(token.expose());
            while elsewhere.holder(&hash).is_none() {
                tokio::task::yield_now().await;
            }
            assert!(here.revoke("grafana", None).await.unwrap());
            while elsewhere.holder(&hash).is_some() {
                tokio::task::yield_now().await;
            }
        };
        let told = async {
            tokio::select! {
                // It follows before anything changes.
                biased;
                () = follow => {}
                () = changes => {}
            }
        };
        let in_time = tokio::time::timeout(REREAD_EVERY / 2, told).await;
        assert!(in_time.is_ok(), "it waits for the next read");
    }

    #[tokio::test]
    async fn a_token_has_its_role_until_it_is_revoked_also_elsewhere() {
        let store = Arc::new(MemoryStore::new());
        let (here, elsewhere) = (tokens(&store).await, tokens(&store).await);
        let token = here.create("grafana", Role::Viewer).await.unwrap();
        let hash = SecretHash::of(token.expose());
        let holder = Some(("grafana".to_owned(), Role::Viewer));
        assert_eq!(here.holder(&hash), holder);
        assert!(matches!(here.create("grafana", Role::Admin).await, Err(AdminError::Exists(_))));
        assert!(matches!(here.create("a b", Role::Admin).await, Err(AdminError::Invalid(_))));
        for reserved in RESERVED {
            let refused = here.create(reserved, Role::Viewer).await;
            assert!(matches!(refused, Err(AdminError::Invalid(_))), "{reserved}");
        }
        elsewhere.reread().await.unwrap();
        assert_eq!(elsewhere.holder(&hash), holder);
        assert!(elsewhere.revoke("grafana", None).await.unwrap());
        assert_eq!(elsewhere.holder(&hash), None);
        assert!(here.list().await.unwrap().is_empty());
        assert_eq!(here.holder(&hash), None);
        assert!(!here.revoke("grafana", None).await.unwrap());
    }
}
