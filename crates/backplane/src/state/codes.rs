//! Authorization codes: minted by a decision, redeemed once (Backplane §10.2, §11.1).
//!
//! The grant behind a code is made at its redemption, so a code that nobody redeems leaves nothing
//! behind. A code shown again ends the grant, in whatever order the two showings arrive.

use buswire_message::{BusName, Secret, SecretHash, Timestamp, mint_alphanumeric};
use buswire_store::{Batch, StoreError};
use serde::{Deserialize, Serialize};

use super::{
    State,
    channels::ATTEMPTS,
    clients::Client,
    handles::{Handle, Listing, Wanted},
    issued::{CodeInfo, CodeState},
    rows::{Committed, Stored, put, secret_key, unchanged},
};
use crate::rules::{
    authorization::{AuthorizationRequest, Challenge},
    names::{ClientId, GrantId, OwnerName},
    token::Locator,
};

/// Random characters of a code: about 190 bits.
const CODE_LENGTH: usize = 32;
const CODE: &str = "code";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CodeRecord {
    client: String,
    /// The stamp of the client at that time: what ends its tokens ends its codes. A code of a release
    /// that did not write it is void.
    #[serde(default)]
    client_stamp: Option<u64>,
    owner: String,
    buses: Vec<String>,
    expires_at: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    challenge: Option<String>,
    status: CodeStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum CodeStatus {
    Unused,
    /// Shown once; the id is that of the grant that came of it.
    Used(String),
    /// Shown again, or shown wrongly.
    Void,
}

/// What showing a code came to.
#[derive(Debug)]
pub(crate) enum Showing {
    /// It was good, and is used now.
    Burned(Burned),
    /// Unknown, used, expired or another client's. The grant that came of it, if any, is to end.
    Refused(Option<GrantId>),
}

/// A code that was used just now. What it still has to be checked against was not looked at.
#[derive(Debug)]
pub(crate) struct Burned {
    code: SecretHash,
    locator: Locator,
    /// The id of the grant that is to be made of it.
    pub(crate) grant: GrantId,
    pub(crate) owner: OwnerName,
    pub(crate) buses: Vec<BusName>,
    pub(crate) challenge: Option<Challenge>,
}

impl State {
    /// A code for the buses that an owner gives to the client of a request.
    pub(crate) async fn mint_code(
        &self,
        request: &AuthorizationRequest,
        client: &Client,
        owner: &OwnerName,
        buses: &[BusName],
    ) -> Result<Secret<String>, StoreError> {
        let code = mint_alphanumeric(&*self.entropy, CODE_LENGTH);
        let locator = Locator::of_ticket(code.expose());
        let locator = locator.ok_or_else(|| StoreError::Corrupt("a minted code".into()))?;
        let lifetimes = self.config.lifetimes;
        let end = self.now().saturating_add(lifetimes.code);
        let record = CodeRecord {
            client: client.id.to_string(),
            client_stamp: Some(client.stamp.0),
            owner: owner.to_string(),
            buses: buses.iter().map(BusName::to_string).collect(),
            expires_at: end.as_millis(),
            challenge: request.challenge.as_ref().map(Challenge::to_text),
            status: CodeStatus::Unused,
        };
        // The row outlives the code, so that one shown again is known.
        let memory = end.saturating_add(lifetimes.memory_of_spent_tokens);
        let key = secret_key(CODE, &SecretHash::of(code.expose()));
        let batch = Batch::new(self.rows.shard(&locator).clone());
        self.rows.apply(batch.then(put(key, &record, Some(memory)))).await?;
        Ok(code)
    }

    /// Uses up a code that an authenticated client shows. Shown by another client, too late or
    /// again, it is void for good.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the code may then be used up for nothing.
    pub(crate) async fn show_code(
        &self,
        client: &Client,
        text: &str,
    ) -> Result<Showing, StoreError> {
        let code = SecretHash::of(text);
        let Some(locator) = Locator::of_ticket(text) else { return Ok(Showing::Refused(None)) };
        let (shard, key) = (self.rows.shard(&locator), secret_key(CODE, &code));
        for _ in 0..ATTEMPTS {
            let row = self.rows.get::<CodeRecord>(shard, &key).await?;
            let Some((record, revision)) = row else { return Ok(Showing::Refused(None)) };
            let grant = GrantId::mint(&*self.entropy);
            let next = record.status.shown(record.is_good(client, self.now()), &grant);
            let memory = self.now().saturating_add(self.config.lifetimes.memory_of_spent_tokens);
            let shown = CodeRecord { status: next.clone(), ..record.clone() };
            let batch = Batch::new(shard.clone())
                .expect(unchanged(key.clone(), revision))
                .then(put(key.clone(), &shown, Some(memory)));
            // A conflict means that somebody shows it at the same time: the next look finds it used.
            if self.rows.commit(batch).await? == Committed::Done {
                return match (next, &record.status) {
                    (CodeStatus::Used(_), _) => burned(record, code, locator, grant),
                    (_, CodeStatus::Used(earlier)) => Ok(Showing::Refused(earlier.parse().ok())),
                    (_, CodeStatus::Unused | CodeStatus::Void) => Ok(Showing::Refused(None)),
                };
            }
        }
        Err(StoreError::Retry("a code was shown again and again".into()))
    }

    /// The codes, or those of one client.
    pub(crate) async fn codes(
        &self,
        client: Option<&ClientId>,
        wanted: Wanted,
    ) -> Result<Listing<CodeInfo>, StoreError> {
        let view = |handle, row: Stored<CodeRecord>| {
            let is_wanted = client.is_none_or(|wanted| *wanted.as_str() == row.value.client);
            Ok(is_wanted.then_some((handle, row.value)))
        };
        let found = self.rows.list(CODE, wanted, view).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for (handle, record) in found.items {
            items.push(self.code_info(handle, record).await?);
        }
        Ok(Listing { items, next: found.next })
    }

    async fn code_info(&self, handle: Handle, record: CodeRecord) -> Result<CodeInfo, StoreError> {
        let id = record.client.parse().map_err(|_| corrupt())?;
        let client = self.client(&id).await?;
        let expires_at = Timestamp::from_millis(record.expires_at);
        let state = match &record.status {
            CodeStatus::Used(grant) => CodeState::Used(grant.parse().map_err(|_| corrupt())?),
            CodeStatus::Unused if !client.is_some_and(|client| record.is_backed_by(&client)) => {
                CodeState::Void
            }
            CodeStatus::Unused if expires_at <= self.now() => CodeState::Expired,
            CodeStatus::Unused => CodeState::Unused,
            CodeStatus::Void => CodeState::Void,
        };
        let owner = record.owner.parse().map_err(|_| corrupt())?;
        Ok(CodeInfo { handle, client: id, owner, buses: record.buses()?, expires_at, state })
    }

    /// Makes a code void, as one shown again is; whether there is one. Gives the grant that came of
    /// it, if any, which is to end.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the change is one commit.
    pub(crate) async fn void_code(
        &self,
        handle: Handle,
    ) -> Result<Option<Option<GrantId>>, StoreError> {
        for _ in 0..ATTEMPTS {
            let found = self.rows.find::<CodeRecord>(CODE, handle).await?;
            let Some((shard, row)) = found else { return Ok(None) };
            let grant = match &row.value.status {
                CodeStatus::Used(grant) => Some(grant.parse().map_err(|_| corrupt())?),
                CodeStatus::Unused | CodeStatus::Void => None,
            };
            let void = CodeRecord { status: CodeStatus::Void, ..row.value };
            let batch = Batch::new(shard.clone())
                .expect(unchanged(row.key.clone(), row.revision))
                .then(put(row.key, &void, row.expires));
            if self.rows.commit(batch).await? == Committed::Done {
                return Ok(Some(grant));
            }
        }
        Err(StoreError::Retry("a code was shown again and again".into()))
    }

    /// Whether a code was shown again since it was used.
    pub(crate) async fn is_void(&self, burned: &Burned) -> Result<bool, StoreError> {
        let shard = self.rows.shard(&burned.locator);
        let row = self.rows.get::<CodeRecord>(shard, &secret_key(CODE, &burned.code)).await?;
        Ok(row.is_none_or(|(record, _)| record.status == CodeStatus::Void))
    }
}

impl CodeRecord {
    fn is_good(&self, client: &Client, now: Timestamp) -> bool {
        self.is_backed_by(client) && now < Timestamp::from_millis(self.expires_at)
    }

    fn buses(&self) -> Result<Vec<BusName>, StoreError> {
        self.buses.iter().map(|bus| bus.parse().map_err(|_| corrupt())).collect()
    }

    fn is_backed_by(&self, client: &Client) -> bool {
        self.client == client.id.as_str() && self.client_stamp == Some(client.stamp.0)
    }
}

impl CodeStatus {
    fn shown(&self, is_good: bool, grant: &GrantId) -> Self {
        match self {
            Self::Unused if is_good => Self::Used(grant.to_string()),
            Self::Unused | Self::Used(_) | Self::Void => Self::Void,
        }
    }
}

fn corrupt() -> StoreError {
    StoreError::Corrupt("a code of Backplane".into())
}

fn burned(
    record: CodeRecord,
    code: SecretHash,
    locator: Locator,
    grant: GrantId,
) -> Result<Showing, StoreError> {
    let buses = record.buses()?;
    let challenge = record.challenge.map(|text| Challenge::parse(&text).ok_or_else(corrupt));
    Ok(Showing::Burned(Burned {
        code,
        locator,
        grant,
        owner: record.owner.parse().map_err(|_| corrupt())?,
        buses,
        challenge: challenge.transpose()?,
    }))
}
