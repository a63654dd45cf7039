//! What the door has handed out: channels, tokens, sign-ins.

use buswire_message::{BusName, ChannelName, Cursor, Realm, Scope, Timestamp};
use buswire_store::Batch;

use crate::{
    Backplane,
    admin::{ATTEMPTS, buses::in_realm},
    error::AdminError,
    rules::{
        names::{ClientId, OwnerName},
        token::{Locator, Stamp},
    },
    state::{
        accounts::kinds,
        authorization::{DECISION, REQUEST, SIGN_IN},
        channels::CHANNEL,
        handles::{Handle, Listing, Wanted},
        issued::{
            AuthorizationRequestInfo, CodeInfo, DecisionInfo, IssuedKind, SignInInfo, TokenFilter,
            TokenInfo,
        },
        records::{ChannelRecord, ClientRecord},
        rows::{Committed, Rows, key, put, unchanged},
    },
};

/// A channel of 2.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Its name.
    pub name: ChannelName,
    /// When it ends, unless it is refreshed or posted to before.
    pub expires_at: Timestamp,
    /// How many live messages it holds.
    pub messages: usize,
}

impl Backplane {
    /// At most `limit` of the channels of a 2.0 bus, in an order of their own, those behind `after`.
    /// Looks through all channels behind it until it has found so many.
    ///
    /// # Errors
    ///
    /// [`AdminError::WrongRealm`], [`AdminError::UnknownBus`], [`AdminError::Bus`],
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn channels(
        &self,
        bus: &BusName,
        after: Option<&ChannelName>,
        limit: usize,
    ) -> Result<Vec<ChannelInfo>, AdminError> {
        in_realm(bus, Realm::V2)?;
        let info = self.state.buses.get(bus).await?;
        let info = info.ok_or_else(|| AdminError::UnknownBus(bus.clone()))?;
        let per_channel = info.retention.messages_per_channel_max() as usize;
        let first = after.and_then(Locator::of_channel).map_or(0, |at| Rows::shard_number(&at));
        let (rows, mut found) = (&self.state.rows, Vec::new());
        for (number, shard) in rows.shards().iter().enumerate().skip(first) {
            for (name, record) in rows.scan::<ChannelRecord>(shard, &[CHANNEL]).await? {
                let channel = record.read()?;
                let is_before = number == first && after.is_some_and(|at| *name <= *at.as_str());
                let is_of_bus = channel
                    .bus
                    .is_some_and(|at| at.name == *bus && at.created_at == info.created_at);
                let Ok(name) = name.parse() else { continue };
                if is_before || !is_of_bus {
                    continue;
                }
                if found.len() == limit {
                    return Ok(found);
                }
                let scope = Scope::channel(bus, &name);
                let held = self.state.buses.read(&scope, Cursor::Start, per_channel).await?;
                let (expires_at, messages) = (channel.expires_at, held.messages.len());
                found.push(ChannelInfo { name, expires_at, messages });
            }
        }
        Ok(found)
    }

    /// Ends all tokens and unredeemed codes of a client; whether there is such a client. Its grants
    /// stay, so with its secret it can get others.
    ///
    /// # Errors
    ///
    /// [`AdminError::Contended`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the change is one commit.
    pub async fn revoke_tokens(&self, client: &ClientId) -> Result<bool, AdminError> {
        let (rows, key) = (&self.state.rows, key(&[kinds::CLIENT, client.as_str()]));
        for _ in 0..ATTEMPTS {
            let row = rows.get::<ClientRecord>(rows.accounts(), &key).await?;
            let Some((record, revision)) = row else { return Ok(false) };
            let record = record.with_stamp(Stamp::mint(&*self.state.entropy));
            let batch = Batch::new(rows.accounts().clone())
                .expect(unchanged(key.clone(), revision))
                .then(put(key.clone(), &record, None));
            if rows.commit(batch).await? == Committed::Done {
                self.state.forget_client(client);
                return Ok(true);
            }
        }
        Err(AdminError::Contended)
    }

    /// Signs an owner out of every browser; how many sign-ins there were (Backplane §11.1).
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; some may have ended then, and the call can be repeated.
    pub async fn sign_out_everywhere(&self, owner: &OwnerName) -> Result<usize, AdminError> {
        Ok(self.state.sign_out_everywhere(owner).await?)
    }
    /// The tokens that pass a filter, in an order of their own, a page at a time (Backplane §0.5).
    /// Those whose time is over or that are void are shown while they are remembered. Looks at
    /// 100 000 tokens at most.
    ///
    /// # Errors
    ///
    /// [`AdminError::Bus`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn tokens(
        &self,
        filter: &TokenFilter,
        wanted: Wanted,
    ) -> Result<Listing<TokenInfo>, AdminError> {
        self.state.list_tokens(filter, wanted).await
    }

    /// The authorization codes, or those of one client, a page at a time, as [`tokens`](Self::tokens).
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn codes(
        &self,
        client: Option<&ClientId>,
        wanted: Wanted,
    ) -> Result<Listing<CodeInfo>, AdminError> {
        Ok(self.state.codes(client, wanted).await?)
    }

    /// The sign-ins, or those of one owner, a page at a time, as [`tokens`](Self::tokens).
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn sign_ins(
        &self,
        owner: Option<&OwnerName>,
        wanted: Wanted,
    ) -> Result<Listing<SignInInfo>, AdminError> {
        Ok(self.state.sign_ins(owner, wanted).await?)
    }

    /// The requests that wait for an owner's decision, or those of one client, a page at a time, as
    /// [`tokens`](Self::tokens).
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn authorization_requests(
        &self,
        client: Option<&ClientId>,
        wanted: Wanted,
    ) -> Result<Listing<AuthorizationRequestInfo>, AdminError> {
        Ok(self.state.requests(client, wanted).await?)
    }

    /// The keys of decisions that were not used yet, a page at a time, as [`tokens`](Self::tokens).
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn decisions(&self, wanted: Wanted) -> Result<Listing<DecisionInfo>, AdminError> {
        Ok(self.state.decisions(wanted).await?)
    }

    /// Ends one thing that was handed out; whether there was one of this handle. With a token end
    /// all that come of one another by refreshing, and with those of a visit its channel; with a code
    /// the grant that came of it. Other processes notice the end of a token within
    /// [`cached_for`](crate::Limits::cached_for).
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: a used code may then be void while its grant stays; the grant can be revoked.
    pub async fn end(&self, kind: IssuedKind, handle: Handle) -> Result<bool, AdminError> {
        let state = &self.state;
        match kind {
            IssuedKind::Token => Ok(state.revoke_token(handle).await?),
            IssuedKind::Code => {
                let Some(grant) = state.void_code(handle).await? else { return Ok(false) };
                if let Some(grant) = grant {
                    self.revoke_grant(&grant, None).await?;
                }
                Ok(true)
            }
            IssuedKind::SignIn => Ok(state.discard_named(SIGN_IN, handle).await?),
            IssuedKind::AuthorizationRequest => Ok(state.discard_named(REQUEST, handle).await?),
            IssuedKind::Decision => Ok(state.discard_named(DECISION, handle).await?),
        }
    }
}
