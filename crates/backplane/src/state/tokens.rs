//! Tokens: looking them up, whether they are good, and those of anonymous visits (Backplane §9, §10.1).

use std::sync::Arc;

use buswire_bus::BusError;
use buswire_message::{Field, Scope, Secret, SecretHash, Timestamp, mint_alphanumeric};
use buswire_store::{Batch, Operation, StoreError};

use super::{
    State,
    buses::BusFacts,
    channels::{ATTEMPTS, CHANNEL},
    clients::Client,
    records::{Channel, ChannelRecord, TokenRecord},
    rows::{Committed, key, put, secret_key, unchanged},
};
use crate::rules::{
    scopes::{self, ScopeRefusal},
    token::{self, BoundBus, Delegation, Holder, Locator, Token, TokenKind, TokenText, Visit},
};

/// The first word of the key of a token.
pub(crate) const TOKEN: &str = "token";

/// The length of a 2.0 channel name: 32 characters, about 190 bits (Backplane §4.2).
const CHANNEL_LENGTH: usize = 32;

/// Why a token is not good or was not issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("invalid token")]
    Invalid,
    #[error("expired token")]
    Expired,
    #[error(transparent)]
    Scope(#[from] ScopeRefusal),
    #[error("the buses failed")]
    Bus(#[from] BusError),
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// A pair of tokens, as they are told to whoever asked (§9.3).
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) access: Secret<String>,
    pub(crate) refresh: Secret<String>,
    pub(crate) scope: Scope,
    /// Seconds.
    pub(crate) expires_in: u64,
}

/// A token that is good, and what it depends on as it was when that was found.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) token: Arc<Token>,
    pub(crate) hash: SecretHash,
    locator: Locator,
    pub(crate) bearer: Bearer,
}

/// Who bears a token.
#[derive(Clone, Debug)]
pub(crate) enum Bearer {
    Anonymous,
    Privileged(Arc<Client>),
}

impl State {
    /// The token of this text and everything that it depends on, if it is good at present.
    ///
    /// An expired anonymous token is invalid like an unknown one, so that pages recover (§9.4).
    pub(crate) async fn verify_token(&self, text: TokenText<'_>) -> Result<Verified, TokenError> {
        let (hash, locator) = (SecretHash::of(text.as_str()), text.locator());
        let token = self.token(&locator, hash).await?;
        // The prefix is part of what was hashed, so the kinds agree unless a record is damaged.
        let token = token.filter(|token| token.kind == text.kind()).ok_or(TokenError::Invalid)?;
        let token = self.resolved(token).await?;
        let bearer = self.verify_still(&token).await?;
        Ok(Verified { token, hash, locator, bearer })
    }

    /// Whether a token that was good before still is, also in the store: for the end of a long wait.
    pub(crate) async fn verify_again(&self, verified: &Verified) -> Result<(), TokenError> {
        let token = self.token(&verified.locator, verified.hash).await?;
        let token = self.resolved(token.ok_or(TokenError::Invalid)?).await?;
        self.verify_still(&token).await.map(drop)
    }

    /// A token with the bus that its channel was bound to since the token was issued, if any (§7.2).
    pub(crate) async fn resolved(&self, token: Arc<Token>) -> Result<Arc<Token>, TokenError> {
        let Holder::Anonymous(visit @ Visit { bus: None, .. }) = &token.holder else {
            return Ok(token);
        };
        let channel = self.live_channel(&visit.channel).await?.ok_or(TokenError::Invalid)?;
        let Some(bus) = &channel.bus else { return Ok(token) };
        Ok(Arc::new(Token {
            scope: token.scope.clone().with(Field::Bus, &bus.name.to_string()),
            holder: Holder::Anonymous(Visit { bus: Some(bus.clone()), ..visit.clone() }),
            ..(*token).clone()
        }))
    }

    /// Whether everything that a token depends on is as it was when it was issued.
    pub(crate) async fn verify_still(&self, token: &Token) -> Result<Bearer, TokenError> {
        let is_over = token.expires_at.is_some_and(|expires_at| expires_at <= self.now());
        match &token.holder {
            Holder::Anonymous(_) if is_over => Err(TokenError::Invalid),
            Holder::Anonymous(visit) => match &visit.bus {
                Some(bus) if !self.is_same_bus(bus).await? => Err(TokenError::Invalid),
                Some(_) | None => Ok(Bearer::Anonymous),
            },
            Holder::Privileged(delegation) => {
                let client = self.verify_delegation(delegation).await?;
                if is_over { Err(TokenError::Expired) } else { Ok(Bearer::Privileged(client)) }
            }
        }
    }

    async fn verify_delegation(&self, delegation: &Delegation) -> Result<Arc<Client>, TokenError> {
        let client = self.client(&delegation.client).await?.ok_or(TokenError::Invalid)?;
        if delegation.used || !client.backs(delegation) {
            return Err(TokenError::Invalid);
        }
        Ok(client)
    }

    async fn token(
        &self,
        locator: &Locator,
        hash: SecretHash,
    ) -> Result<Option<Arc<Token>>, StoreError> {
        if let Some(found) = self.tokens.get(&hash, self.now()) {
            return Ok(Some(found));
        }
        let version = self.tokens.version();
        let shard = self.rows.shard(locator);
        let row = self.rows.get::<TokenRecord>(shard, &secret_key(TOKEN, &hash)).await?;
        let Some((record, _)) = row else { return Ok(None) };
        let token = Arc::new(record.read()?);
        self.tokens.insert(version, hash, Arc::clone(&token), self.now());
        Ok(Some(token))
    }

    /// Makes the end of a token count at once.
    pub(crate) fn forget_token(&self, hash: &SecretHash) {
        self.tokens.remove(hash);
    }

    /// Mints a channel, on `bus` or not bound yet, and its first pair of tokens (§10.1).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: all of it is one commit.
    pub(crate) async fn open_channel(
        &self,
        bus: Option<&BusFacts>,
        filters: &Scope,
    ) -> Result<Issued, TokenError> {
        let minted = mint_alphanumeric(&*self.entropy, CHANNEL_LENGTH);
        let channel = minted.expose().parse().map_err(|_| TokenError::Invalid)?;
        let scope = scopes::anonymous(filters, bus.map(|bus| &bus.name), &channel)?;
        let bound = bus.map(BusFacts::to_bound);
        let visit = Visit { channel, bus: bound.clone() };
        let locator = Locator::of_channel(&visit.channel).ok_or(TokenError::Invalid)?;
        let until = self.channel_expiry(bus);
        let pair = self.mint_visit_pair(&visit, &locator, scope, (bound, until));
        let batch = Batch::new(self.rows.shard(&locator).clone());
        let batch = pair.operations.into_iter().fold(batch, Batch::then);
        self.rows.apply(batch).await?;
        Ok(pair.issued)
    }

    /// Uses up an anonymous refresh token: extends its channel and issues the next pair (§9.5, §10.1).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: all of it is one commit.
    pub(crate) async fn refresh_visit(
        &self,
        text: TokenText<'_>,
        requested: &Scope,
    ) -> Result<Issued, TokenError> {
        if text.kind() != TokenKind::AnonymousRefresh {
            return Err(TokenError::Invalid);
        }
        let (hash, locator) = (SecretHash::of(text.as_str()), text.locator());
        let (shard, token_key) = (self.rows.shard(&locator), secret_key(TOKEN, &hash));
        for _ in 0..ATTEMPTS {
            let row = self.rows.get::<TokenRecord>(shard, &token_key).await?;
            let (record, token_revision) = row.ok_or(TokenError::Invalid)?;
            let token = record.read()?;
            let Holder::Anonymous(visit) = &token.holder else { return Err(TokenError::Invalid) };
            let channel_key = key(&[CHANNEL, visit.channel.as_str()]);
            let row = self.rows.get::<ChannelRecord>(shard, &channel_key).await?;
            let (record, channel_revision) = row.ok_or(TokenError::Invalid)?;
            let channel = record.read()?;
            let facts = match &channel.bus {
                Some(bus) => Some(self.bus_facts(&bus.name).await?.ok_or(TokenError::Invalid)?),
                None => None,
            };
            let facts = facts.as_deref();
            if facts.map(BusFacts::to_bound) != channel.bus || channel.refresh != hash {
                return Err(TokenError::Invalid);
            }
            let scope = scopes::anonymous_refreshed(&token.scope, requested)?;
            let until = channel.expires_at.max(self.channel_expiry(facts));
            let pair = self.mint_visit_pair(visit, &locator, scope, (channel.bus, until));
            let batch = Batch::new(shard.clone())
                .expect(unchanged(token_key.clone(), token_revision))
                .expect(unchanged(channel_key, channel_revision))
                .then(Operation::Delete { key: token_key.clone() });
            let batch = pair.operations.into_iter().fold(batch, Batch::then);
            if self.rows.commit(batch).await? == Committed::Done {
                self.forget_token(&hash);
                self.channels.remove(&visit.channel);
                return Ok(pair.issued);
            }
        }
        Err(StoreError::Retry("a channel changed again and again".into()).into())
    }

    fn mint_visit_pair(
        &self,
        visit: &Visit,
        locator: &Locator,
        scope: Scope,
        (bus, channel_expires_at): (Option<BoundBus>, Timestamp),
    ) -> MintedPair {
        let lifetime = self.config.lifetimes.anonymous_access;
        let access_expires_at = self.now().saturating_add(lifetime);
        let access = token::mint(TokenKind::AnonymousAccess, locator, &*self.entropy);
        let refresh = token::mint(TokenKind::AnonymousRefresh, locator, &*self.entropy);
        let (access_hash, refresh_hash) =
            (SecretHash::of(access.expose()), SecretHash::of(refresh.expose()));
        let record = |kind, expires_at| {
            let holder = Holder::Anonymous(visit.clone());
            TokenRecord::new(&Token { kind, scope: scope.clone(), expires_at, holder })
        };
        let channel = Channel { bus, expires_at: channel_expires_at, refresh: refresh_hash };
        let operations = vec![
            put(
                key(&[CHANNEL, visit.channel.as_str()]),
                &ChannelRecord::new(&channel),
                Some(channel_expires_at),
            ),
            put(
                secret_key(TOKEN, &access_hash),
                &record(TokenKind::AnonymousAccess, Some(access_expires_at)),
                Some(access_expires_at),
            ),
            put(
                secret_key(TOKEN, &refresh_hash),
                &record(TokenKind::AnonymousRefresh, None),
                Some(channel_expires_at),
            ),
        ];
        let issued = Issued { access, refresh, scope, expires_in: lifetime.as_secs() };
        MintedPair { issued, operations }
    }
}

/// Tokens that exist once the operations are committed.
pub(crate) struct MintedPair {
    pub(crate) issued: Issued,
    pub(crate) operations: Vec<Operation>,
}
