//! Privileged tokens: issuing and refreshing them (Backplane §8.5, §9.5, §10.2).

use buswire_message::{Scope, SecretHash, mint_alphanumeric};
use buswire_store::{Batch, Operation, StoreError};

use super::{
    State,
    channels::ATTEMPTS,
    clients::Client,
    records::{ChainRecord, TokenRecord},
    rows::{Committed, key, put, secret_key, unchanged},
    tokens::{Issued, MintedPair, TOKEN, TokenError},
};
use crate::rules::{
    names::GrantId,
    scopes::{self, ScopeRefusal},
    token::{self, Delegation, Holder, Locator, Stamp, Token, TokenKind, TokenText},
};

/// The first word of the key of a chain.
pub(crate) const CHAIN: &str = "chain";

/// The length of the name of a chain. It is no secret, only unique within a partition.
const CHAIN_LENGTH: usize = 24;

/// What the tokens of a pair have in common.
struct PairBasis<'a> {
    locator: &'a Locator,
    access_kind: TokenKind,
    scope: Scope,
    delegation: Delegation,
}

impl State {
    /// Issues a pair to a client for its own credentials (§10.2).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: all of it is one commit.
    pub(crate) async fn issue_to_client(
        &self,
        client: &Client,
        requested: &Scope,
    ) -> Result<Issued, TokenError> {
        let scope = scopes::privileged(&client.buses(), requested)?;
        let grants = client.backing(&scope);
        self.issue(client, TokenKind::ClientAccess, scope, grants).await
    }

    /// Issues a pair that one grant of a client backs alone, for an authorization code (§8.5).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: all of it is one commit.
    pub(crate) async fn issue_from_grant(
        &self,
        client: &Client,
        grant: &GrantId,
        requested: &Scope,
    ) -> Result<Issued, TokenError> {
        let grant = client.grants.iter().find(|held| held.id == *grant);
        let grant = grant.ok_or(TokenError::Scope(ScopeRefusal::NoGrant))?;
        let scope = scopes::privileged(&grant.buses, requested)?;
        let backing = vec![(grant.id.clone(), grant.stamp)];
        self.issue(client, TokenKind::CodeAccess, scope, backing).await
    }

    async fn issue(
        &self,
        client: &Client,
        access_kind: TokenKind,
        scope: Scope,
        grants: Vec<(GrantId, Stamp)>,
    ) -> Result<Issued, TokenError> {
        let locator = Locator::mint(&*self.entropy);
        let delegation = Delegation {
            client: client.id.clone(),
            client_stamp: client.stamp,
            grants,
            chain: mint_alphanumeric(&*self.entropy, CHAIN_LENGTH).expose().clone(),
            used: false,
        };
        let pair = self.mint_pair(PairBasis { locator: &locator, access_kind, scope, delegation });
        let batch = Batch::new(self.rows.shard(&locator).clone());
        self.rows.apply(pair.operations.into_iter().fold(batch, Batch::then)).await?;
        Ok(pair.issued)
    }

    /// Uses up a privileged refresh token of `client`: its access token dies, the next pair is
    /// issued. A token that was used before ends its whole chain (§9.5). `requested` is the text of
    /// a scope; it is looked at last.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: all of it is one commit.
    pub(crate) async fn refresh_privileged(
        &self,
        client: &Client,
        text: TokenText<'_>,
        requested: &str,
    ) -> Result<Issued, TokenError> {
        if text.kind() != TokenKind::PrivilegedRefresh {
            return Err(TokenError::Invalid);
        }
        let (hash, locator) = (SecretHash::of(text.as_str()), text.locator());
        let (shard, token_key) = (self.rows.shard(&locator), secret_key(TOKEN, &hash));
        for _ in 0..ATTEMPTS {
            let row = self.rows.get::<TokenRecord>(shard, &token_key).await?;
            let (record, token_revision) = row.ok_or(TokenError::Invalid)?;
            let token = record.read()?;
            let Holder::Privileged(delegation) = &token.holder else {
                return Err(TokenError::Invalid);
            };
            if delegation.client != client.id {
                return Err(TokenError::Invalid);
            }
            if delegation.used {
                self.end_chain(&locator, &delegation.chain).await?;
                return Err(TokenError::Invalid);
            }
            if !client.backs(delegation) {
                return Err(TokenError::Invalid);
            }
            if token.expires_at.is_some_and(|expires_at| expires_at <= self.now()) {
                return Err(TokenError::Expired);
            }
            let chain_key = key(&[CHAIN, &delegation.chain]);
            let row = self.rows.get::<ChainRecord>(shard, &chain_key).await?;
            let (chain, chain_revision) = row.ok_or(TokenError::Invalid)?;
            let old_access = chain.access()?;
            let requested: Scope = requested.parse().map_err(ScopeRefusal::Syntax)?;
            let scope = scopes::refreshed(&token.scope, &requested)?;
            let delegation = delegation.clone();
            let basis = PairBasis {
                locator: &locator,
                access_kind: TokenKind::ClientAccess,
                scope,
                delegation,
            };
            let pair = self.mint_pair(basis);
            let memory = self.now().saturating_add(self.config.lifetimes.memory_of_spent_tokens);
            let batch = Batch::new(shard.clone())
                .expect(unchanged(token_key.clone(), token_revision))
                .expect(unchanged(chain_key, chain_revision))
                .then(put(token_key.clone(), &TokenRecord::new(&spent(token)), Some(memory)))
                .then(Operation::Delete { key: secret_key(TOKEN, &old_access) });
            let batch = pair.operations.into_iter().fold(batch, Batch::then);
            if self.rows.commit(batch).await? == Committed::Done {
                self.forget_token(&hash);
                self.forget_token(&old_access);
                return Ok(pair.issued);
            }
        }
        Err(StoreError::Retry("a token was refreshed again and again".into()).into())
    }

    /// Ends every token of a chain.
    async fn end_chain(&self, locator: &Locator, chain: &str) -> Result<(), StoreError> {
        let (shard, chain_key) = (self.rows.shard(locator), key(&[CHAIN, chain]));
        for _ in 0..ATTEMPTS {
            let row = self.rows.get::<ChainRecord>(shard, &chain_key).await?;
            let Some((record, revision)) = row else { return Ok(()) };
            let (access, refresh) = (record.access()?, record.refresh()?);
            let batch = Batch::new(shard.clone())
                .expect(unchanged(chain_key.clone(), revision))
                .then(Operation::Delete { key: secret_key(TOKEN, &access) })
                .then(Operation::Delete { key: secret_key(TOKEN, &refresh) })
                .then(Operation::Delete { key: chain_key.clone() });
            if self.rows.commit(batch).await? == Committed::Done {
                self.forget_token(&access);
                self.forget_token(&refresh);
                return Ok(());
            }
        }
        Err(StoreError::Retry("a chain changed again and again".into()))
    }

    fn mint_pair(&self, basis: PairBasis<'_>) -> MintedPair {
        let PairBasis { locator, access_kind, scope, delegation } = basis;
        let lifetimes = self.config.lifetimes;
        let now = self.now();
        let access = token::mint(access_kind, locator, &*self.entropy);
        let refresh = token::mint(TokenKind::PrivilegedRefresh, locator, &*self.entropy);
        let (access_hash, refresh_hash) =
            (SecretHash::of(access.expose()), SecretHash::of(refresh.expose()));
        let chain_key = key(&[CHAIN, &delegation.chain]);
        let record = |kind, expires_at| {
            let holder = Holder::Privileged(delegation.clone());
            TokenRecord::new(&Token { kind, scope: scope.clone(), expires_at, holder })
        };
        // Rows outlive their tokens a while, so that an expired token is told from an unknown one.
        let memory = lifetimes.memory_of_spent_tokens;
        let access_end = now.saturating_add(lifetimes.privileged_access);
        let refresh_end = lifetimes.privileged_refresh.map(|lifetime| now.saturating_add(lifetime));
        let chain_end = refresh_end.map(|end| end.max(access_end).saturating_add(memory));
        let operations = vec![
            put(
                secret_key(TOKEN, &access_hash),
                &record(access_kind, Some(access_end)),
                Some(access_end.saturating_add(memory)),
            ),
            put(
                secret_key(TOKEN, &refresh_hash),
                &record(TokenKind::PrivilegedRefresh, refresh_end),
                refresh_end.map(|end| end.saturating_add(memory)),
            ),
            put(chain_key, &ChainRecord::new(&access_hash, &refresh_hash), chain_end),
        ];
        let expires_in = lifetimes.privileged_access.as_secs();
        MintedPair { issued: Issued { access, refresh, scope, expires_in }, operations }
    }
}

/// The same refresh token, used.
fn spent(token: Token) -> Token {
    let holder = match token.holder {
        Holder::Privileged(delegation) => {
            Holder::Privileged(Delegation { used: true, ..delegation })
        }
        anonymous @ Holder::Anonymous(_) => anonymous,
    };
    Token { holder, ..token }
}
