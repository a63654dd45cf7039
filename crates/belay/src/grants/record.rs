//! A grant and its row.
//!
//! Rows are JSON with a version number, so that a later release reads what an earlier one wrote.
//! Never here: reading or writing the store.

use std::{num::NonZeroU64, sync::Arc};

use buswire_message::{SecretHash, Timestamp};
use buswire_store::StoreError;
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    derive::{Seed, Seeds},
    limits::{Bounds, Bucket, Limits, Rate},
    names::{Handle, Kind, Label},
    seal::SealKeys,
    wire::{BcapValue, WireLimits, decode_bare, encode_bare},
};

/// How a grant hangs on the one above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Link {
    /// Not at all.
    Root,
    /// It is an attenuated child.
    Wrap,
    /// A grantor made it.
    Granted,
}

/// A grant above another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ancestor {
    pub(crate) handle: Handle,
    /// Whether an invocation of the lower one counts as a use of this one. It does up to the first
    /// grantor: what a grantor made is not a use of the grantor.
    pub(crate) counts: bool,
}

/// What a grant is. Only `label` and `suspended` ever change.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) handle: Handle,
    pub(crate) kind: Kind,
    pub(crate) link: Link,
    /// Nearest first.
    pub(crate) ancestors: Vec<Ancestor>,
    pub(crate) target: Arc<BcapValue>,
    /// What was asked for.
    pub(crate) limits: Limits,
    /// The intersection over the chain.
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) label: Label,
    pub(crate) created: Timestamp,
    pub(crate) suspended: bool,
    pub(crate) id_hash: SecretHash,
    pub(crate) control_hash: SecretHash,
    /// What its ids are derived from, if they can be computed again.
    pub(crate) seeds: Option<Seeds>,
    /// What a grantor was asked for, if a regrant may refer to it.
    pub(crate) fingerprint: Option<SecretHash>,
}

impl Grant {
    pub(crate) fn parent(&self) -> Option<&Handle> {
        self.ancestors.first().map(|ancestor| &ancestor.handle)
    }

    /// The capability that this one was derived from in the end, wrap by wrap; `None` if it was not
    /// derived.
    pub(crate) fn head(&self) -> Option<&Handle> {
        self.ancestors.iter().take_while(|ancestor| ancestor.counts).last().map(|last| &last.handle)
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> &Handle {
        self.ancestors.last().map_or(&self.handle, |ancestor| &ancestor.handle)
    }
}

#[derive(Serialize, Deserialize)]
struct GrantRow {
    v: u32,
    kind: String,
    link: Link,
    // With a `+` in front of those that count.
    ancestors: Vec<String>,
    // In clear or sealed, one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    limits: String,
    bounds: String,
    label: String,
    created: u64,
    suspended: bool,
    id: [u8; 32],
    control: [u8; 32],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seeds: Option<(u32, Seed, Seed)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<[u8; 32]>,
}

const VERSION: u32 = 1;

// What is stored was within the bounds of requests; the store sets none of its own.
const STORED: WireLimits = WireLimits { depth_max: 100, caps_max: usize::MAX };

pub(super) fn encode_grant(grant: &Grant, keys: Option<&SealKeys>) -> Result<Bytes, StoreError> {
    let text = |value: &BcapValue| encode_bare(value, STORED).map_err(|_| corrupt());
    let ancestors = grant.ancestors.iter().map(|ancestor| {
        let mark = if ancestor.counts { "+" } else { "" };
        format!("{mark}{}", ancestor.handle)
    });
    let target = text(&grant.target)?;
    let (target, sealed) = match keys {
        None => (Some(target), None),
        Some(keys) => (None, Some(keys.seal(grant.handle.as_str(), &target).ok_or_else(corrupt)?)),
    };
    encode(&GrantRow {
        v: VERSION,
        kind: grant.kind.to_string(),
        link: grant.link,
        ancestors: ancestors.collect(),
        target,
        sealed,
        limits: text(&grant.limits.to_value())?,
        bounds: text(&Limits::from((*grant.bounds).clone()).to_value())?,
        label: grant.label.to_string(),
        created: grant.created.as_millis(),
        suspended: grant.suspended,
        id: *grant.id_hash.as_bytes(),
        control: *grant.control_hash.as_bytes(),
        seeds: grant.seeds.map(|seeds| (seeds.version, seeds.cap, seeds.control)),
        fingerprint: grant.fingerprint.map(|digest| *digest.as_bytes()),
    })
}

/// Reads a row, and whether its target is not sealed as it would be now.
pub(super) fn decode_grant(
    handle: &Handle,
    bytes: &[u8],
    keys: Option<&SealKeys>,
) -> Result<(Grant, bool), StoreError> {
    let row: GrantRow = decode(bytes)?;
    if row.v != VERSION {
        return Err(StoreError::Corrupt("a grant of an unknown version".to_owned()));
    }
    let (target, is_stale) = match (row.target, row.sealed, keys) {
        (Some(target), None, keys) => (target, keys.is_some()),
        (None, Some(sealed), Some(keys)) => {
            let target = keys.open(handle.as_str(), &sealed).ok_or_else(unsealable)?;
            (target, !keys.is_newest(&sealed))
        }
        (None, Some(_), None) => return Err(unsealable()),
        (None, None, _) | (Some(_), Some(_), _) => return Err(corrupt()),
    };
    let limits = |text: &str| {
        let value = decode_bare(text, STORED).ok();
        value.and_then(|value| Limits::parse(&value).ok()).ok_or_else(corrupt)
    };
    let ancestors = row.ancestors.iter().map(|text| {
        let (counts, handle) = match text.strip_prefix('+') {
            Some(handle) => (true, handle),
            None => (false, text.as_str()),
        };
        Ok(Ancestor { handle: handle.parse().map_err(|_| corrupt())?, counts })
    });
    let grant = Grant {
        handle: handle.clone(),
        kind: row.kind.parse().map_err(|_| corrupt())?,
        link: row.link,
        ancestors: ancestors.collect::<Result<_, StoreError>>()?,
        target: Arc::new(decode_bare(&target, STORED).map_err(|_| corrupt())?),
        limits: limits(&row.limits)?,
        bounds: Arc::new(limits(&row.bounds)?.bounds().clone()),
        label: row.label.parse().map_err(|_| corrupt())?,
        created: Timestamp::from_millis(row.created),
        suspended: row.suspended,
        id_hash: SecretHash::from_bytes(row.id),
        control_hash: SecretHash::from_bytes(row.control),
        seeds: row.seeds.map(|(version, cap, control)| Seeds { version, cap, control }),
        fingerprint: row.fingerprint.map(SecretHash::from_bytes),
    };
    Ok((grant, is_stale))
}

/// What an id was issued for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Invoking the grant.
    Cap,
    /// Controlling it.
    Control,
}

/// What the index says of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Designated {
    pub(crate) tree: Handle,
    pub(crate) handle: Handle,
    pub(crate) role: Role,
}

#[derive(Serialize, Deserialize)]
struct IndexRow {
    tree: String,
    handle: String,
    role: Role,
}

pub(super) fn encode_index(designated: &Designated) -> Result<Bytes, StoreError> {
    encode(&IndexRow {
        tree: designated.tree.to_string(),
        handle: designated.handle.to_string(),
        role: designated.role,
    })
}

pub(super) fn decode_index(bytes: &[u8]) -> Result<Designated, StoreError> {
    let row: IndexRow = decode(bytes)?;
    let handle = |text: &str| text.parse().map_err(|_| corrupt());
    Ok(Designated { tree: handle(&row.tree)?, handle: handle(&row.handle)?, role: row.role })
}

/// A token bucket as stored; its place is the same for every rate.
#[derive(Serialize, Deserialize)]
struct BucketRow {
    parts: u64,
    at: u64,
}

pub(super) fn encode_bucket(bucket: Bucket) -> Result<Bytes, StoreError> {
    encode(&BucketRow { parts: bucket.parts, at: bucket.at.as_millis() })
}

pub(super) fn decode_bucket(bytes: &[u8]) -> Result<Bucket, StoreError> {
    let row: BucketRow = decode(bytes)?;
    Ok(Bucket { parts: row.parts, at: Timestamp::from_millis(row.at) })
}

/// How many grants there are below something, and how fast they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// At least as many as there are live ones.
    pub(super) grants: u32,
    /// The bucket of the rate at which they are made.
    pub(super) bucket: Option<Bucket>,
}

#[derive(Serialize, Deserialize)]
struct CountRow {
    grants: u32,
    bucket: Option<BucketRow>,
}

pub(super) fn encode_count(count: Count) -> Result<Bytes, StoreError> {
    let bucket =
        count.bucket.map(|bucket| BucketRow { parts: bucket.parts, at: bucket.at.as_millis() });
    encode(&CountRow { grants: count.grants, bucket })
}

pub(super) fn decode_count(bytes: &[u8]) -> Result<Count, StoreError> {
    let row: CountRow = decode(bytes)?;
    let bucket =
        row.bucket.map(|row| Bucket { parts: row.parts, at: Timestamp::from_millis(row.at) });
    Ok(Count { grants: row.grants, bucket })
}

/// How often a grant was invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) invocations: u64,
    /// Milliseconds since the epoch.
    pub(crate) last_used: u64,
}

impl Usage {
    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            invocations: self.invocations.saturating_add(other.invocations),
            last_used: self.last_used.max(other.last_used),
        }
    }
}

pub(super) fn encode<T: Serialize>(row: &T) -> Result<Bytes, StoreError> {
    serde_json::to_vec(row).map(Bytes::from).map_err(|_| corrupt())
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| corrupt())
}

/// Says that a row of ours can't be read. No content: rows hold targets.
pub(super) fn corrupt() -> StoreError {
    StoreError::Corrupt("a row of a capability tree can't be read".to_owned())
}

/// Says that a target was sealed with a key that is not there.
fn unsealable() -> StoreError {
    StoreError::Corrupt("a target is sealed with a key that is not configured".to_owned())
}

/// How an invocation of a grant counts at one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meter {
    pub(crate) uses: Option<NonZeroU64>,
    pub(crate) rate: Option<Rate>,
}

impl Meter {
    pub(crate) fn of(limits: &Limits) -> Option<Self> {
        let meter = Self { uses: limits.uses(), rate: limits.rate() };
        (meter.uses.is_some() || meter.rate.is_some()).then_some(meter)
    }
}
