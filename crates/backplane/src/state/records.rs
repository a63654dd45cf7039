//! The stored forms of accounts, channels and tokens.
//!
//! Each is a small JSON object. Nothing else in the crate knows them.

use std::collections::BTreeMap;

use buswire_message::{BusName, ChannelName, SecretHash, SourceUrl, Timestamp};
use buswire_store::StoreError;
use serde::{Deserialize, Serialize};

use super::password::Credential;
use crate::rules::{
    names::{ClientId, GrantId, OwnerName, Permissions, RedirectUri, UserName},
    token::{BoundBus, Delegation, Holder, Stamp, Token, TokenKind, Visit},
};

/// What can't be read back.
fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a record of Backplane holds an impossible {what}"))
}

fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| corrupt(what))
}

/// A 1.x user or a bus owner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    credential: String,
}

impl AccountRecord {
    pub(crate) fn new(credential: &Credential) -> Self {
        Self { credential: credential.to_text() }
    }

    pub(crate) fn credential(&self) -> Result<Credential, StoreError> {
        Credential::parse(&self.credential).ok_or_else(|| corrupt("credential"))
    }
}

/// What users may do on a 1.x bus.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct V1BusRecord {
    users: BTreeMap<String, String>,
}

impl V1BusRecord {
    pub(crate) fn new(users: &BTreeMap<UserName, Permissions>) -> Self {
        let text = |(user, held): (&UserName, &Permissions)| (user.to_string(), held.to_string());
        Self { users: users.iter().map(text).collect() }
    }

    pub(crate) fn users(&self) -> Result<BTreeMap<UserName, Permissions>, StoreError> {
        let read = |(user, held): (&String, &String)| {
            Ok((parse(user, "user name")?, parse(held, "permission")?))
        };
        self.users.iter().map(read).collect()
    }
}

/// Who owns a 2.0 bus.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct V2BusRecord {
    owner: String,
}

impl V2BusRecord {
    pub(crate) fn new(owner: &OwnerName) -> Self {
        Self { owner: owner.to_string() }
    }

    pub(crate) fn owner(&self) -> Result<OwnerName, StoreError> {
        parse(&self.owner, "owner")
    }
}

/// A client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ClientRecord {
    credential: String,
    source_url: String,
    redirect_uri: String,
    stamp: u64,
}

impl ClientRecord {
    pub(crate) fn new(
        credential: &Credential,
        source_url: &SourceUrl,
        redirect_uri: &RedirectUri,
        stamp: Stamp,
    ) -> Self {
        Self {
            credential: credential.to_text(),
            source_url: source_url.to_string(),
            redirect_uri: redirect_uri.as_str().to_owned(),
            stamp: stamp.0,
        }
    }

    /// The same with another stamp: tokens that it backed are void.
    pub(crate) fn with_stamp(self, stamp: Stamp) -> Self {
        Self { stamp: stamp.0, ..self }
    }

    /// The same with the credential and the stamp of `other`: tokens that `other` backs stay.
    pub(crate) fn with_identity_of(self, other: Self) -> Self {
        Self { credential: other.credential, stamp: other.stamp, ..self }
    }

    pub(crate) fn credential(&self) -> Result<Credential, StoreError> {
        Credential::parse(&self.credential).ok_or_else(|| corrupt("credential"))
    }

    pub(crate) fn source_url(&self) -> Result<SourceUrl, StoreError> {
        parse(&self.source_url, "source URL")
    }

    pub(crate) fn redirect_uri(&self) -> Result<RedirectUri, StoreError> {
        parse(&self.redirect_uri, "redirect URI")
    }

    pub(crate) const fn stamp(&self) -> Stamp {
        Stamp(self.stamp)
    }
}

/// An active grant.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GrantRecord {
    buses: Vec<String>,
    stamp: u64,
    updated_at: u64,
}

impl GrantRecord {
    pub(crate) fn new(buses: &[BusName], stamp: Stamp, updated_at: Timestamp) -> Self {
        let buses = buses.iter().map(BusName::to_string).collect();
        Self { buses, stamp: stamp.0, updated_at: updated_at.as_millis() }
    }

    pub(crate) fn buses(&self) -> Result<Vec<BusName>, StoreError> {
        self.buses.iter().map(|bus| parse(bus, "bus name")).collect()
    }

    pub(crate) const fn stamp(&self) -> Stamp {
        Stamp(self.stamp)
    }

    pub(crate) const fn updated_at(&self) -> Timestamp {
        Timestamp::from_millis(self.updated_at)
    }
}

/// Whose a grant is, found by its id.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GrantIndexRecord {
    client: String,
}

impl GrantIndexRecord {
    pub(crate) fn new(client: &ClientId) -> Self {
        Self { client: client.to_string() }
    }

    pub(crate) fn client(&self) -> Result<ClientId, StoreError> {
        parse(&self.client, "client id")
    }
}

/// The bus that a channel is bound to.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BoundBusRecord {
    bus: String,
    bus_created_at: u64,
}

impl BoundBusRecord {
    fn new(bus: &BoundBus) -> Self {
        Self { bus: bus.name.to_string(), bus_created_at: bus.created_at.as_millis() }
    }

    fn read(&self) -> Result<BoundBus, StoreError> {
        let created_at = Timestamp::from_millis(self.bus_created_at);
        Ok(BoundBus { name: parse(&self.bus, "bus name")?, created_at })
    }
}

/// A channel that an anonymous token request minted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChannelRecord {
    #[serde(flatten)]
    bus: Option<BoundBusRecord>,
    expires_at: u64,
    /// The hash of its present refresh token, which lives as long as it does.
    refresh: String,
}

/// A channel, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    /// `None` until the first post.
    pub(crate) bus: Option<BoundBus>,
    pub(crate) expires_at: Timestamp,
    pub(crate) refresh: SecretHash,
}

impl ChannelRecord {
    pub(crate) fn new(channel: &Channel) -> Self {
        Self {
            bus: channel.bus.as_ref().map(BoundBusRecord::new),
            expires_at: channel.expires_at.as_millis(),
            refresh: hash_text(&channel.refresh),
        }
    }

    pub(crate) fn read(&self) -> Result<Channel, StoreError> {
        Ok(Channel {
            bus: self.bus.as_ref().map(BoundBusRecord::read).transpose()?,
            expires_at: Timestamp::from_millis(self.expires_at),
            refresh: parse_hash(&self.refresh)?,
        })
    }
}

/// The present tokens of a privileged chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChainRecord {
    access: String,
    refresh: String,
}

impl ChainRecord {
    pub(crate) fn new(access: &SecretHash, refresh: &SecretHash) -> Self {
        Self { access: hash_text(access), refresh: hash_text(refresh) }
    }

    pub(crate) fn access(&self) -> Result<SecretHash, StoreError> {
        parse_hash(&self.access)
    }

    pub(crate) fn refresh(&self) -> Result<SecretHash, StoreError> {
        parse_hash(&self.refresh)
    }
}

fn hash_text(hash: &SecretHash) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(hash.as_bytes())
}

fn parse_hash(text: &str) -> Result<SecretHash, StoreError> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(SecretHash::from_bytes).ok_or_else(|| corrupt("hash"))
}

/// A token.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    kind: String,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    visit: Option<VisitRecord>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    delegation: Option<DelegationRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct VisitRecord {
    channel: String,
    #[serde(flatten)]
    bus: Option<BoundBusRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DelegationRecord {
    client: String,
    client_stamp: u64,
    grants: Vec<(String, u64)>,
    chain: String,
    used: bool,
}

impl TokenRecord {
    pub(crate) fn new(token: &Token) -> Self {
        let (visit, delegation) = match &token.holder {
            Holder::Anonymous(visit) => (Some(VisitRecord::new(visit)), None),
            Holder::Privileged(delegation) => (None, Some(DelegationRecord::new(delegation))),
        };
        Self {
            kind: token.kind.prefix().to_owned(),
            scope: token.scope.to_string(),
            expires_at: token.expires_at.map(Timestamp::as_millis),
            visit,
            delegation,
        }
    }

    pub(crate) fn read(&self) -> Result<Token, StoreError> {
        let holder = match (&self.visit, &self.delegation) {
            (Some(visit), None) => Holder::Anonymous(visit.read()?),
            (None, Some(delegation)) => Holder::Privileged(delegation.read()?),
            (None, None) | (Some(_), Some(_)) => return Err(corrupt("holder")),
        };
        Ok(Token {
            kind: TokenKind::from_prefix(&self.kind).ok_or_else(|| corrupt("kind"))?,
            scope: parse(&self.scope, "scope")?,
            expires_at: self.expires_at.map(Timestamp::from_millis),
            holder,
        })
    }
}

impl VisitRecord {
    fn new(visit: &Visit) -> Self {
        Self {
            channel: visit.channel.to_string(),
            bus: visit.bus.as_ref().map(BoundBusRecord::new),
        }
    }

    fn read(&self) -> Result<Visit, StoreError> {
        Ok(Visit {
            channel: parse::<ChannelName>(&self.channel, "channel name")?,
            bus: self.bus.as_ref().map(BoundBusRecord::read).transpose()?,
        })
    }
}

impl DelegationRecord {
    fn new(delegation: &Delegation) -> Self {
        let grants = delegation.grants.iter().map(|(id, stamp)| (id.to_string(), stamp.0));
        Self {
            client: delegation.client.to_string(),
            client_stamp: delegation.client_stamp.0,
            grants: grants.collect(),
            chain: delegation.chain.clone(),
            used: delegation.used,
        }
    }

    fn read(&self) -> Result<Delegation, StoreError> {
        let grant = |(id, stamp): &(String, u64)| {
            parse::<GrantId>(id, "grant id").map(|id| (id, Stamp(*stamp)))
        };
        Ok(Delegation {
            client: parse(&self.client, "client id")?,
            client_stamp: Stamp(self.client_stamp),
            grants: self.grants.iter().map(grant).collect::<Result<_, _>>()?,
            chain: self.chain.clone(),
            used: self.used,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back() {
        let at = Timestamp::from_secs(1_709_993_121);
        let anonymous = Token {
            kind: TokenKind::AnonymousAccess,
            scope: "type:x bus:b channel:c".parse().unwrap(),
            expires_at: Some(at),
            holder: Holder::Anonymous(Visit {
                channel: "c".parse().unwrap(),
                bus: Some(BoundBus { name: "b".parse().unwrap(), created_at: at }),
            }),
        };
        let visit = Visit { channel: "c".parse().unwrap(), bus: None };
        let unbound = Token { holder: Holder::Anonymous(visit), ..anonymous.clone() };
        let privileged = Token {
            kind: TokenKind::PrivilegedRefresh,
            scope: "bus:b".parse().unwrap(),
            expires_at: None,
            holder: Holder::Privileged(Delegation {
                client: "comments-svc".parse().unwrap(),
                client_stamp: Stamp(u64::MAX),
                grants: vec![("g1".parse().unwrap(), Stamp(7))],
                chain: "abc".into(),
                used: true,
            }),
        };
        for token in [anonymous, unbound, privileged] {
            let json = serde_json::to_vec(&TokenRecord::new(&token)).unwrap();
            let record: TokenRecord = serde_json::from_slice(&json).unwrap();
            assert_eq!(record.read().unwrap(), token);
        }
    }

    #[test]
    fn damaged_records_are_corrupt() {
        let record: TokenRecord = serde_json::from_str(r#"{"kind":"AA","scope":"bus:b"}"#).unwrap();
        assert!(matches!(record.read(), Err(StoreError::Corrupt(_))));
    }
}
