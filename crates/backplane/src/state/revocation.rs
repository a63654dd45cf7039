//! Showing tokens, and ending one with everything that came of it (Backplane §0.5, §9.5).

use std::sync::Arc;

use buswire_message::SecretHash;
use buswire_store::{Batch, Key, Operation, StoreError};
use serde::de::IgnoredAny;

use super::{
    State,
    channels::{ATTEMPTS, CHANNEL},
    handles::{Handle, Listing, Wanted},
    issued::{TokenFilter, TokenHolder, TokenInfo, TokenState},
    privileged::CHAIN,
    records::TokenRecord,
    rows::{Committed, Stored, key, unchanged},
    tokens::{TOKEN, TokenError},
};
use crate::{
    error::AdminError,
    rules::token::{Holder, Token},
};

/// The most tokens that one commit ends.
const ENDED_MAX: usize = 4000;

impl State {
    /// The tokens that pass a filter.
    pub(crate) async fn list_tokens(
        &self,
        filter: &TokenFilter,
        wanted: Wanted,
    ) -> Result<Listing<TokenInfo>, AdminError> {
        let view = |handle, row: Stored<TokenRecord>| {
            let token = row.value.read()?;
            Ok(filter.passes(&token).then_some((handle, token)))
        };
        let found = self.rows.list(TOKEN, wanted, view).await?;
        let mut items = Vec::with_capacity(found.items.len());
        for (handle, token) in found.items {
            let state = self.token_state(&token).await?;
            let holder = match token.holder {
                Holder::Anonymous(visit) => {
                    let bus = visit.bus.map(|bus| bus.name);
                    TokenHolder::Visit { bus, channel: visit.channel }
                }
                Holder::Privileged(delegation) => TokenHolder::Client {
                    client: delegation.client,
                    grants: delegation.grants.into_iter().map(|(id, _)| id).collect(),
                    chain: delegation.chain,
                },
            };
            let Token { kind, scope, expires_at, .. } = token;
            items.push(TokenInfo { handle, kind, scope, expires_at, holder, state });
        }
        Ok(Listing { items, next: found.next })
    }

    async fn token_state(&self, token: &Token) -> Result<TokenState, AdminError> {
        let resolved = self.resolved(Arc::new(token.clone()));
        let verified = match resolved.await {
            Ok(token) => self.verify_still(&token).await,
            Err(error) => Err(error),
        };
        match verified {
            Ok(_) => Ok(TokenState::Good),
            Err(TokenError::Expired) => Ok(TokenState::Expired),
            Err(TokenError::Invalid | TokenError::Scope(_)) => Ok(TokenState::Void),
            Err(TokenError::Bus(error)) => Err(error.into()),
            Err(TokenError::Store(error)) => Err(error.into()),
        }
    }

    /// Ends a token with all tokens that come of one another by refreshing: a chain of a client, or a
    /// visit with its channel. Whether there was such a token. Refresh tokens that were used stay, as
    /// what they are.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: all of it is one commit, unless a visit has more tokens than a batch takes.
    pub(crate) async fn revoke_token(&self, handle: Handle) -> Result<bool, StoreError> {
        let found = self.rows.find::<TokenRecord>(TOKEN, handle).await?;
        let Some((shard, row)) = found else { return Ok(false) };
        let token = row.value.read()?;
        let stem = stem(&token);
        for _ in 0..ATTEMPTS {
            let mut batch = Batch::new(shard.clone());
            // A refresh changes the stem, so none goes through beside this.
            if let Some((_, revision)) = self.rows.get::<IgnoredAny>(shard, &stem).await? {
                batch = batch
                    .expect(unchanged(stem.clone(), revision))
                    .then(Operation::Delete { key: stem.clone() });
            }
            let mut ended = Vec::new();
            for row in self.rows.scan_rows::<TokenRecord>(shard, &[TOKEN]).await? {
                let member = row.value.read()?;
                if self::stem(&member) == stem && !member.is_spent() && ended.len() < ENDED_MAX {
                    ended.extend(hash_of(&row.key));
                    batch = batch.then(Operation::Delete { key: row.key });
                }
            }
            if self.rows.commit(batch).await? == Committed::Done {
                for hash in &ended {
                    self.forget_token(hash);
                }
                if let Holder::Anonymous(visit) = &token.holder {
                    self.forget_channel(&visit.channel);
                }
                if ended.len() < ENDED_MAX {
                    return Ok(true);
                }
            }
        }
        Err(StoreError::Retry("a token was refreshed again and again".into()))
    }
}

impl TokenFilter {
    fn passes(&self, token: &Token) -> bool {
        let client = match &token.holder {
            Holder::Anonymous(_) => None,
            Holder::Privileged(delegation) => Some(&delegation.client),
        };
        self.kind.is_none_or(|kind| kind == token.kind)
            && self.client.as_ref().is_none_or(|wanted| Some(wanted) == client)
            && self.bus.as_ref().is_none_or(|bus| token.scope.buses().any(|held| held == *bus))
    }
}

/// The key of the row that every token of a chain or a visit hangs on.
fn stem(token: &Token) -> Key {
    match &token.holder {
        Holder::Anonymous(visit) => key(&[CHANNEL, visit.channel.as_str()]),
        Holder::Privileged(delegation) => key(&[CHAIN, &delegation.chain]),
    }
}

fn hash_of(key: &Key) -> Option<SecretHash> {
    key.as_bytes().last_chunk().copied().map(SecretHash::from_bytes)
}
