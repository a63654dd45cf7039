//! The rows of subscriptions: keys and contents.
//!
//! Never here: reading or writing them.

use buswire_message::{BusName, Scope, Timestamp};
use buswire_store::{Key, KeyRange, Operation, Row, StoreNameError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Endpoint, ScopeKey, Subscription, SubscriptionKey};
use crate::push::{Name, from_hex, hex, name_of};

pub(super) const SUBSCRIPTION: &[u8] = b"s";
const ENDPOINT: &[u8] = b"e";
const COUNT: &[u8] = b"n";
const PLACE: &[u8] = b"p";

/// The keys of one subscription.
pub(super) struct Names {
    scope: Name,
    pub(super) subscription: Key,
    pub(super) endpoint: Key,
    pub(super) count: Key,
}

impl Names {
    pub(super) fn of(scope: &Scope, endpoint: Endpoint) -> Result<Self, StoreNameError> {
        let scope = name_of(&scope.to_string());
        let endpoint = endpoint_name(endpoint);
        Ok(Self {
            scope,
            subscription: key(&[SUBSCRIPTION, &scope, &endpoint])?,
            endpoint: key(&[ENDPOINT, &endpoint, &scope])?,
            count: key(&[COUNT, &scope])?,
        })
    }

    /// The key of the scope under a place.
    pub(super) fn at(&self, place: Name) -> Result<Key, StoreNameError> {
        key(&[PLACE, &place, &self.scope])
    }
}

/// The scopes of an endpoint.
pub(super) fn of_endpoint(endpoint: Endpoint) -> KeyRange {
    KeyRange::prefix(&[ENDPOINT, &endpoint_name(endpoint)].concat())
}

/// The key of the subscription that an endpoint's row tells of.
pub(super) fn subscription_of(row: &Key) -> Result<Option<Key>, StoreNameError> {
    let names = row.as_bytes().strip_prefix(ENDPOINT).and_then(<[u8]>::split_first_chunk);
    let key = names.map(|(endpoint, scope): (&Name, &[u8])| key(&[SUBSCRIPTION, scope, endpoint]));
    key.transpose()
}

fn endpoint_name(endpoint: Endpoint) -> Name {
    name_of(&format!("{}/{}", endpoint.user_agent, endpoint.channel))
}

/// The name of a channel of a bus, or of a whole bus.
pub(super) fn place(bus: &BusName, channel: Option<&str>) -> Name {
    // No name of a bus has a line feed in it.
    name_of(&channel.map_or_else(|| bus.to_string(), |channel| format!("{bus}\n{channel}")))
}

/// The scopes under a place.
pub(super) fn at_place(place: Name) -> KeyRange {
    KeyRange::prefix(&[PLACE, &place].concat())
}

/// What the keys of a scope's subscriptions begin with.
pub(super) fn of_scope(scope: ScopeKey) -> Vec<u8> {
    [SUBSCRIPTION, &scope.0].concat()
}

/// A scope under a place; `None` if the row is damaged.
pub(super) fn read_place(key: &Key, row: &Row) -> Option<(ScopeKey, Scope)> {
    let name = key.as_bytes().last_chunk().copied()?;
    let text = std::str::from_utf8(row.value.as_bytes()?).ok()?;
    Some((ScopeKey(name), text.parse().ok()?))
}

/// A subscription as it is stored.
#[derive(Serialize, Deserialize)]
struct Written {
    scope: String,
    user_agent: String,
    channel: String,
    grant: String,
    created_ms: u64,
}

/// Writes a subscription.
pub(super) fn write(names: &Names, new: &Subscription) -> Operation {
    let written = Written {
        scope: new.scope.to_string(),
        user_agent: new.endpoint.user_agent.to_string(),
        channel: new.endpoint.channel.to_string(),
        grant: new.grant.to_string(),
        created_ms: new.created.as_millis(),
    };
    // Texts and a number are JSON always.
    let value = serde_json::to_vec(&written).unwrap_or_default().into();
    Operation::Put { key: names.subscription.clone(), value, expires: None }
}

/// A subscription; `None` if the row is damaged.
pub(super) fn read(row: &Row) -> Option<Subscription> {
    let written: Written = serde_json::from_slice(row.value.as_bytes()?).ok()?;
    Some(Subscription {
        scope: written.scope.parse().ok()?,
        endpoint: Endpoint {
            user_agent: written.user_agent.parse().ok()?,
            channel: written.channel.parse().ok()?,
        },
        grant: written.grant.parse().ok()?,
        created: Timestamp::from_millis(written.created_ms),
    })
}

/// Writes how many endpoints a scope has.
pub(super) fn write_count(names: &Names, count: u64) -> Operation {
    let value = Bytes::copy_from_slice(&count.to_be_bytes());
    Operation::Put { key: names.count.clone(), value, expires: None }
}

/// How many endpoints a scope has.
pub(super) fn read_count(row: &Row) -> u64 {
    let bytes = row.value.as_bytes().and_then(|bytes| <[u8; 8]>::try_from(&bytes[..]).ok());
    bytes.map_or(0, u64::from_be_bytes)
}

impl SubscriptionKey {
    /// The text of the key, for pages and for administrators.
    pub(crate) fn to_text(&self) -> String {
        hex(self.0.as_bytes().strip_prefix(SUBSCRIPTION).unwrap_or_default())
    }

    /// Reads what [`to_text`](Self::to_text) gave.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = from_hex(text).filter(|bytes| bytes.len() == 2 * size_of::<Name>())?;
        key(&[SUBSCRIPTION, &bytes]).ok().map(Self)
    }

    /// The scope that it belongs to.
    pub(crate) fn scope(&self) -> Option<ScopeKey> {
        let bytes = self.0.as_bytes().strip_prefix(SUBSCRIPTION)?;
        bytes.first_chunk().copied().map(ScopeKey)
    }
}

fn key(parts: &[&[u8]]) -> Result<Key, StoreNameError> {
    Key::new(parts.concat())
}
