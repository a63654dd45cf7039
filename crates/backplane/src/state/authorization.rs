//! Bus owners who sign in, the requests that they decide, and the keys of their decisions
//! (Backplane §11.1).
//!
//! Each is a row that is found by a ticket, of which only the hash is stored, and that expires.

use std::time::Duration;

use buswire_message::{BusName, Realm, Scope, Secret, SecretHash, Timestamp, mint_alphanumeric};
use buswire_store::{Batch, Operation, StoreError};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

use super::{
    State,
    accounts::kinds,
    handles::{Handle, Listing, Wanted},
    issued::{AuthorizationRequestInfo, DecisionInfo, SignInInfo},
    password::Account,
    records::{AccountRecord, V2BusRecord},
    rows::{Committed, Stored, key, put, secret_key, unchanged},
    throttle::{NotVerified, Source},
};
use crate::rules::{
    authorization::{AuthorizationRequest, Challenge},
    names::{ClientId, OwnerName},
    token::Locator,
};

/// Random characters of a ticket: about 178 bits (§11.1).
const TICKET_LENGTH: usize = 30;

pub(crate) const REQUEST: &str = "authorization-request";
pub(crate) const SIGN_IN: &str = "sign-in";
pub(crate) const DECISION: &str = "decision";

#[derive(Debug, Serialize, Deserialize)]
struct RequestRecord {
    client: String,
    redirect_uri: String,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    challenge: Option<String>,
}

impl RequestRecord {
    fn new(request: &AuthorizationRequest) -> Self {
        Self {
            client: request.client.to_string(),
            redirect_uri: request.redirect_uri.as_str().to_owned(),
            scope: request.scope.to_string(),
            state: request.state.clone(),
            challenge: request.challenge.as_ref().map(Challenge::to_text),
        }
    }

    fn read(self) -> Option<AuthorizationRequest> {
        Some(AuthorizationRequest {
            client: self.client.parse().ok()?,
            redirect_uri: self.redirect_uri.parse().ok()?,
            scope: self.scope.parse::<Scope>().ok()?,
            state: self.state,
            challenge: match self.challenge {
                Some(text) => Some(Challenge::parse(&text)?),
                None => None,
            },
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct SignInRecord {
    owner: String,
}

/// What a decision belongs to, as hashes of the two tickets in the browser's cookies.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct DecisionRecord {
    sign_in: [u8; 32],
    request: [u8; 32],
}

impl DecisionRecord {
    fn new(sign_in: &str, request: &str) -> Self {
        let hash = |ticket: &str| *SecretHash::of(ticket).as_bytes();
        Self { sign_in: hash(sign_in), request: hash(request) }
    }
}

impl State {
    /// Keeps a request until it is decided, and gives the ticket to find it by.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, as all of this file: each is one commit at most.
    pub(crate) async fn keep_request(
        &self,
        request: &AuthorizationRequest,
    ) -> Result<Secret<String>, StoreError> {
        let record = RequestRecord::new(request);
        self.keep(REQUEST, &record, self.config.lifetimes.authorization_request).await
    }

    /// The request of a ticket, unless it was decided or expired.
    pub(crate) async fn request(
        &self,
        ticket: &str,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let record = self.recall::<RequestRecord>(REQUEST, ticket).await?;
        Ok(record.and_then(RequestRecord::read))
    }

    /// Signs an owner in if the password is right, and gives the ticket of the sign-in.
    pub(crate) async fn sign_in(
        &self,
        owner: &str,
        password: &Secret<String>,
        source: Source,
    ) -> Result<Option<Secret<String>>, SignInError> {
        let stored = match owner.parse::<OwnerName>() {
            Ok(name) => {
                let key = key(&[kinds::OWNER, name.as_str()]);
                let row = self.rows.get::<AccountRecord>(self.rows.accounts(), &key).await?;
                row.map(|(record, _)| record.credential()).transpose()?
            }
            Err(_) => None,
        };
        let account = Account::Owner(owner);
        if !self.verify_password(account, stored.as_ref(), password, source).await? {
            return Ok(None);
        }
        let record = SignInRecord { owner: owner.to_owned() };
        Ok(Some(self.keep(SIGN_IN, &record, self.config.lifetimes.sign_in).await?))
    }

    /// Who is signed in with this ticket.
    pub(crate) async fn signed_in(&self, ticket: &str) -> Result<Option<OwnerName>, StoreError> {
        let record = self.recall::<SignInRecord>(SIGN_IN, ticket).await?;
        Ok(record.and_then(|record| record.owner.parse().ok()))
    }

    /// Ends a sign-in.
    pub(crate) async fn sign_out(&self, ticket: &str) -> Result<(), StoreError> {
        self.discard(SIGN_IN, ticket).await
    }

    /// Ends all sign-ins of an owner; how many there were.
    pub(crate) async fn sign_out_everywhere(&self, owner: &OwnerName) -> Result<usize, StoreError> {
        let mut ended = 0;
        for shard in self.rows.shards() {
            let all = self.rows.scan_rows::<SignInRecord>(shard, &[SIGN_IN]).await?;
            let own = all.into_iter().filter(|row| row.value.owner == owner.as_str());
            let deletions: Vec<_> = own.map(|row| Operation::Delete { key: row.key }).collect();
            if !deletions.is_empty() {
                ended += deletions.len();
                let batch = deletions.into_iter().fold(Batch::new(shard.clone()), Batch::then);
                self.rows.apply(batch).await?;
            }
        }
        Ok(ended)
    }

    /// The sign-ins, or those of one owner.
    pub(crate) async fn sign_ins(
        &self,
        owner: Option<&OwnerName>,
        wanted: Wanted,
    ) -> Result<Listing<SignInInfo>, StoreError> {
        let view = |handle, row: Stored<SignInRecord>| {
            let name = row.value.owner.parse::<OwnerName>().map_err(|_| corrupt())?;
            let is_wanted = owner.is_none_or(|wanted| *wanted == name);
            let expires_at = row.expires;
            Ok(is_wanted.then_some(SignInInfo { handle, owner: name, expires_at }))
        };
        self.rows.list(SIGN_IN, wanted, view).await
    }

    /// The requests that wait for a decision, or those of one client.
    pub(crate) async fn requests(
        &self,
        client: Option<&ClientId>,
        wanted: Wanted,
    ) -> Result<Listing<AuthorizationRequestInfo>, StoreError> {
        let view = |handle, row: Stored<RequestRecord>| {
            let request = row.value.read().ok_or_else(corrupt)?;
            let is_wanted = client.is_none_or(|wanted| *wanted == request.client);
            Ok(is_wanted.then_some(AuthorizationRequestInfo {
                handle,
                client: request.client,
                redirect_uri: request.redirect_uri,
                scope: request.scope,
                expires_at: row.expires,
            }))
        };
        self.rows.list(REQUEST, wanted, view).await
    }

    /// The keys of decisions.
    pub(crate) async fn decisions(
        &self,
        wanted: Wanted,
    ) -> Result<Listing<DecisionInfo>, StoreError> {
        let view = |handle, row: Stored<DecisionRecord>| {
            let DecisionRecord { sign_in, request } = row.value;
            let (sign_in, request) = (Handle::of(&sign_in), Handle::of(&request));
            Ok(Some(DecisionInfo { handle, sign_in, request, expires_at: row.expires }))
        };
        self.rows.list(DECISION, wanted, view).await
    }

    /// Deletes the row of a sign-in, a request or a decision; whether there was one.
    pub(crate) async fn discard_named(
        &self,
        kind: &str,
        handle: Handle,
    ) -> Result<bool, StoreError> {
        let found = self.rows.find::<IgnoredAny>(kind, handle).await?;
        let Some((shard, row)) = found else { return Ok(false) };
        let delete = Operation::Delete { key: row.key };
        self.rows.apply(Batch::new(shard.clone()).then(delete)).await?;
        Ok(true)
    }

    /// The buses that an owner has, in order of name.
    pub(crate) async fn owned_buses(&self, owner: &OwnerName) -> Result<Vec<BusName>, StoreError> {
        let accounts = self.rows.accounts();
        let records = self.rows.scan::<V2BusRecord>(accounts, &[kinds::V2_BUS]).await?;
        let mut buses = Vec::new();
        for (name, record) in records {
            if record.owner()? == *owner
                && let Ok(bus) = BusName::new(Realm::V2, &name)
            {
                buses.push(bus);
            }
        }
        Ok(buses)
    }

    /// A key for one decision on this request by who is signed in.
    pub(crate) async fn open_decision(
        &self,
        sign_in: &str,
        request: &str,
    ) -> Result<Secret<String>, StoreError> {
        let record = DecisionRecord::new(sign_in, request);
        self.keep(DECISION, &record, self.config.lifetimes.decision).await
    }

    /// Uses up the key of a decision; whether it was one for this request by who is signed in.
    pub(crate) async fn use_decision(
        &self,
        decision: &str,
        sign_in: &str,
        request: &str,
    ) -> Result<bool, StoreError> {
        let Some(locator) = Locator::of_ticket(decision) else { return Ok(false) };
        let (shard, key) = (self.rows.shard(&locator), ticket_key(DECISION, decision));
        let Some((record, revision)) = self.rows.get::<DecisionRecord>(shard, &key).await? else {
            return Ok(false);
        };
        let batch = Batch::new(shard.clone())
            .expect(unchanged(key.clone(), revision))
            .then(Operation::Delete { key });
        let is_first = self.rows.commit(batch).await? == Committed::Done;
        Ok(is_first && record == DecisionRecord::new(sign_in, request))
    }

    /// Forgets a request that was decided.
    pub(crate) async fn end_request(&self, ticket: &str) -> Result<(), StoreError> {
        self.discard(REQUEST, ticket).await
    }

    async fn keep<T: Serialize>(
        &self,
        kind: &str,
        record: &T,
        lifetime: Duration,
    ) -> Result<Secret<String>, StoreError> {
        let ticket = mint_alphanumeric(&*self.entropy, TICKET_LENGTH);
        let locator = Locator::of_ticket(ticket.expose());
        let locator = locator.ok_or_else(|| StoreError::Corrupt("a minted ticket".into()))?;
        let end: Timestamp = self.now().saturating_add(lifetime);
        let write = put(ticket_key(kind, ticket.expose()), record, Some(end));
        self.rows.apply(Batch::new(self.rows.shard(&locator).clone()).then(write)).await?;
        Ok(ticket)
    }

    async fn recall<T: DeserializeOwned>(
        &self,
        kind: &str,
        ticket: &str,
    ) -> Result<Option<T>, StoreError> {
        let Some(locator) = Locator::of_ticket(ticket) else { return Ok(None) };
        let row = self.rows.get::<T>(self.rows.shard(&locator), &ticket_key(kind, ticket)).await?;
        Ok(row.map(|(record, _)| record))
    }

    async fn discard(&self, kind: &str, ticket: &str) -> Result<(), StoreError> {
        let Some(locator) = Locator::of_ticket(ticket) else { return Ok(()) };
        let delete = Operation::Delete { key: ticket_key(kind, ticket) };
        self.rows.apply(Batch::new(self.rows.shard(&locator).clone()).then(delete)).await
    }
}

fn corrupt() -> StoreError {
    StoreError::Corrupt("a ticket of Backplane".into())
}

fn ticket_key(kind: &str, ticket: &str) -> buswire_store::Key {
    secret_key(kind, &SecretHash::of(ticket))
}

/// Why a sign-in was not looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error(transparent)]
    NotVerified(#[from] NotVerified),
    #[error("the store failed")]
    Store(#[from] StoreError),
}
