//! Inbound endpoints: URLs at which an application server's PUT becomes a message on a bus.
//!
//! One partition, one row for each, by the hash of its token. A revoked one is a tombstone for a while,
//! so that its application server is told 410 and not 404. Never here: publishing.

use std::{fmt, sync::Arc, time::Duration};

use buswire_belay::Handle;
use buswire_message::{
    BusName, ChannelName, Clock, Entropy, MessageType, Secret, SecretHash, SourceUrl, Timestamp,
    mint_base64url,
};
use buswire_store::{
    Ack, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition, Row,
    RowValue, Store, StoreError, StoreNameError,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{from_hex, hex};

const PARTITION: &str = "push-inbound";
/// The random bytes of a token, and the characters that they are written with.
const TOKEN_BYTES: usize = 32;
const TOKEN_CHARS: usize = 43;
/// The bytes of a hash that are the id of an endpoint; knowing them grants nothing.
const ID_BYTES: usize = 10;
/// The most inbound endpoints, and the most of one grant.
const ENDPOINTS_MAX: usize = 10_000;
const ENDPOINTS_PER_GRANT_MAX: usize = 100;
/// How long it is known of a revoked endpoint that there was one.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// Rows that are read at once.
const PAGE: usize = 1000;

/// What a PUT to an endpoint becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct InboundEndpoint {
    /// The bus of the message.
    pub(crate) bus: BusName,
    /// Its channel.
    pub(crate) channel: ChannelName,
    /// Its type.
    pub(crate) kind: MessageType,
    /// Its source.
    pub(crate) source: SourceUrl,
    /// The grant under which the endpoint was made, with which it ends; `None` for one that an
    /// administrator made.
    pub(crate) grant: Option<Handle>,
    /// When it was made.
    pub(crate) created: Timestamp,
}

/// The public name of an endpoint: 20 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InboundId(String);

/// An endpoint that was just made; its URL is not kept anywhere.
#[derive(Debug)]
pub(crate) struct CreatedInbound {
    /// Names it for administrators.
    pub(crate) id: InboundId,
    /// What application servers PUT to.
    pub(crate) url: Secret<String>,
}

/// What is known of a token.
#[derive(Debug)]
pub(crate) enum Found {
    /// An endpoint has it.
    Endpoint(InboundId, Box<InboundEndpoint>),
    /// An endpoint had it that was revoked.
    Revoked,
    /// No endpoint has it, as far as is known.
    Nothing,
}

/// Why an endpoint was not made or found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InboundError {
    /// There are as many as there may be.
    #[error("there are too many inbound endpoints")]
    TooMany,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A name within the store is not one, or a row is damaged, which can't happen.
    #[error("an inbound endpoint in the store is damaged")]
    Damaged,
}

impl From<StoreNameError> for InboundError {
    fn from(_: StoreNameError) -> Self {
        Self::Damaged
    }
}

/// The inbound endpoints of all gateways that share a store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Inbounds(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    partition: Partition,
    /// What URLs of endpoints begin with: `https://host/update/`.
    url_prefix: String,
    /// Endpoints are made one at a time, so that they are counted.
    creating: Mutex<()>,
}

impl Inbounds {
    /// The inbound endpoints in `store`; `public_url` has no slash at its end.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        public_url: &str,
    ) -> Result<Self, StoreNameError> {
        let (partition, creating) = (Partition::new(PARTITION)?, Mutex::default());
        let url_prefix = format!("{public_url}/update/");
        Ok(Self(Arc::new(Inner { store, clock, entropy, partition, url_prefix, creating })))
    }

    /// Makes an endpoint and returns when it is on stable storage.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; an endpoint whose URL nobody learned may be left.
    pub(crate) async fn create(
        &self,
        new: &InboundEndpoint,
    ) -> Result<CreatedInbound, InboundError> {
        let inner = &*self.0;
        let _turn = inner.creating.lock().await;
        let all = self.list().await?;
        let of_grant = all.iter().filter(|(_, one)| new.grant.is_some() && one.grant == new.grant);
        if all.len() >= ENDPOINTS_MAX || of_grant.count() >= ENDPOINTS_PER_GRANT_MAX {
            return Err(InboundError::TooMany);
        }
        let token = mint_base64url(&*inner.entropy, TOKEN_BYTES);
        let key = key_of(token.expose())?;
        let value = serde_json::to_vec(new).map_err(|_| InboundError::Damaged)?.into();
        let batch = Batch::new(inner.partition.clone())
            .expect(Expectation::Absent(key.clone()))
            .then(Operation::Put { key: key.clone(), value, expires: None });
        match inner.store.commit(batch, Ack::Safe, inner.clock.now()).await? {
            Outcome::Committed(_) => {
                let url = Secret::new(format!("{}{}", inner.url_prefix, token.expose()));
                Ok(CreatedInbound { id: InboundId::of(&key), url })
            }
            // Two tokens of 256 random bits are never the same.
            Outcome::Conflict(_) => Err(InboundError::Damaged),
        }
    }

    /// What is known of a token.
    pub(crate) async fn find(&self, token: &str) -> Result<Found, InboundError> {
        if token.len() != TOKEN_CHARS {
            return Ok(Found::Nothing);
        }
        let inner = &*self.0;
        let key = key_of(token)?;
        match inner.store.get(&inner.partition, &key, inner.clock.now()).await? {
            None => Ok(Found::Nothing),
            Some(Row { value: RowValue::Tombstone, .. }) => Ok(Found::Revoked),
            Some(row) => {
                let endpoint = read(&row).ok_or(InboundError::Damaged)?;
                Ok(Found::Endpoint(InboundId::of(&key), Box::new(endpoint)))
            }
        }
    }

    /// Every endpoint, in the order of ids; the number is bounded.
    pub(crate) async fn list(&self) -> Result<Vec<(InboundId, InboundEndpoint)>, InboundError> {
        let Inner { store, partition, clock, .. } = &*self.0;
        let (mut all, mut range) = (Vec::new(), KeyRange::all());
        loop {
            let (at, ascending) = (clock.now(), Direction::Ascending);
            let page = store.scan(partition, range.clone(), PAGE, ascending, at).await?;
            let live = page.rows.iter().filter_map(|(key, row)| Some((key, read(row)?)));
            all.extend(live.map(|(key, endpoint)| (InboundId::of(key), endpoint)));
            match page.rows.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => return Ok(all),
            }
        }
    }

    /// Revokes an endpoint if it was made under `grant`, or whoever made it if that is `None`; returns
    /// when that is on stable storage. `false` if there is no such endpoint.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it is then revoked or not; repeat it to be sure.
    pub(crate) async fn revoke(
        &self,
        id: &InboundId,
        grant: Option<&Handle>,
    ) -> Result<bool, InboundError> {
        let Inner { store, partition, clock, .. } = &*self.0;
        let (range, now) = (KeyRange::prefix(&id.bytes()), clock.now());
        let page = store.scan(partition, range, 1, Direction::Ascending, now).await?;
        let Some((key, row)) = page.rows.into_iter().next() else { return Ok(false) };
        let Some(endpoint) = read(&row) else { return Ok(false) };
        if grant.is_some() && endpoint.grant.as_ref() != grant {
            return Ok(false);
        }
        let until = now.saturating_add(REMEMBERED);
        let batch = Batch::new(partition.clone()).then(Operation::Tombstone { key, until });
        store.commit(batch, Ack::Safe, now).await?;
        Ok(true)
    }
}

impl fmt::Debug for Inbounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbounds")
    }
}

fn key_of(token: &str) -> Result<Key, StoreNameError> {
    Key::new(SecretHash::of(token).as_bytes().to_vec())
}

fn read(row: &Row) -> Option<InboundEndpoint> {
    serde_json::from_slice(row.value.as_bytes()?).ok()
}

impl InboundId {
    fn of(key: &Key) -> Self {
        Self(hex(key.as_bytes().get(..ID_BYTES).unwrap_or_default()))
    }

    /// Reads an id; `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = from_hex(text).filter(|bytes| bytes.len() == ID_BYTES);
        bytes.map(|_| Self(text.to_owned()))
    }

    fn bytes(&self) -> Vec<u8> {
        from_hex(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for InboundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An endpoint as it is stored.
#[derive(Serialize, Deserialize)]
struct Written {
    bus: String,
    channel: String,
    kind: String,
    source: String,
    grant: Option<String>,
    created_ms: u64,
}

impl From<InboundEndpoint> for Written {
    fn from(endpoint: InboundEndpoint) -> Self {
        Self {
            bus: endpoint.bus.to_string(),
            channel: endpoint.channel.to_string(),
            kind: endpoint.kind.to_string(),
            source: endpoint.source.to_string(),
            grant: endpoint.grant.map(|grant| grant.to_string()),
            created_ms: endpoint.created.as_millis(),
        }
    }
}

impl TryFrom<Written> for InboundEndpoint {
    type Error = InboundError;

    fn try_from(written: Written) -> Result<Self, InboundError> {
        fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, InboundError> {
            text.parse().map_err(|_| InboundError::Damaged)
        }
        Ok(Self {
            bus: parsed(&written.bus)?,
            channel: parsed(&written.channel)?,
            kind: parsed(&written.kind)?,
            source: parsed(&written.source)?,
            grant: written.grant.as_deref().map(parsed).transpose()?,
            created: Timestamp::from_millis(written.created_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use buswire_store::memory::MemoryStore;
    use buswire_testkit::{SeededEntropy, VirtualClock};

    use super::*;

    fn inbounds() -> Inbounds {
        let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(VirtualClock::default()));
        let entropy = Arc::new(SeededEntropy::new(5));
        Inbounds::new(store, clock, entropy, "https://gw.example").unwrap()
    }

    fn endpoint(grant: Option<&str>) -> InboundEndpoint {
        InboundEndpoint {
            bus: "a".parse().unwrap(),
            channel: "c".parse().unwrap(),
            kind: "t".parse().unwrap(),
            source: "https://shop.example/".parse().unwrap(),
            grant: grant.map(|grant| grant.parse().unwrap()),
            created: Timestamp::from_secs(1_700_000_000),
        }
    }

    #[tokio::test]
    async fn an_endpoint_is_found_by_its_token_until_it_is_revoked() {
        let all = inbounds();
        let made = all.create(&endpoint(None)).await.unwrap();
        let token =
            made.url.expose().strip_prefix("https://gw.example/update/").unwrap().to_owned();
        let Found::Endpoint(id, found) = all.find(&token).await.unwrap() else { panic!("found") };
        assert_eq!((id, *found), (made.id.clone(), endpoint(None)));
        assert_eq!(InboundId::parse(&made.id.to_string()), Some(made.id.clone()));
        for other in ["", "garbage", &"A".repeat(TOKEN_CHARS)] {
            assert!(matches!(all.find(other).await, Ok(Found::Nothing)), "{other}");
        }
        assert!(all.revoke(&made.id, None).await.unwrap());
        assert!(!all.revoke(&made.id, None).await.unwrap());
        assert!(matches!(all.find(&token).await, Ok(Found::Revoked)));
        assert!(all.list().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_grant_has_its_own_endpoints_and_not_too_many() {
        let all = inbounds();
        let (one, other) = ("g_aaaaaaaaaaaaaaaa", "g_bbbbbbbbbbbbbbbb");
        let made = all.create(&endpoint(Some(one))).await.unwrap();
        assert!(!all.revoke(&made.id, Some(&other.parse().unwrap())).await.unwrap());
        for _ in 1..ENDPOINTS_PER_GRANT_MAX {
            all.create(&endpoint(Some(one))).await.unwrap();
        }
        let refused = all.create(&endpoint(Some(one))).await;
        assert!(matches!(refused, Err(InboundError::TooMany)));
        assert!(all.create(&endpoint(Some(other))).await.is_ok());
        assert!(all.revoke(&made.id, Some(&one.parse().unwrap())).await.unwrap());
        assert!(all.create(&endpoint(Some(one))).await.is_ok());
    }

    #[test]
    fn an_id_is_twenty_digits() {
        for bad in ["", "0123456789abcdef012", "0123456789ABCDEF0123", "0123456789abcdef01234", "ü"]
        {
            assert_eq!(InboundId::parse(bad), None, "{bad}");
        }
    }
}
