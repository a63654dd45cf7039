//! What may be shown of what the door has handed out (Backplane §0.5).
//!
//! Never here: a secret, or anything that stands for one.

use buswire_message::{BusName, ChannelName, Scope, Timestamp};

use super::handles::Handle;
use crate::rules::{
    names::{ClientId, GrantId, OwnerName, RedirectUri},
    token::TokenKind,
};

/// The kinds of what is handed out and named by a [`Handle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuedKind {
    /// Access and refresh tokens (§9).
    Token,
    /// Authorization codes (§10.2).
    Code,
    /// Sign-ins of bus owners (§11.1).
    SignIn,
    /// Requests for authorization that wait for an owner's decision (§11.1).
    AuthorizationRequest,
    /// Keys with which a page of decision was shown (§11.1).
    Decision,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its name.
    pub handle: Handle,
    /// What kind of token it is.
    pub kind: TokenKind,
    /// What it reaches.
    pub scope: Scope,
    /// When it ends by itself; `None`: with its channel or its client.
    pub expires_at: Option<Timestamp>,
    /// On whose behalf it acts.
    pub holder: TokenHolder,
    /// Whether it is good.
    pub state: TokenState,
}

/// On whose behalf a token acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenHolder {
    /// A visit to a page.
    Visit {
        /// The bus; `None` if the channel is not bound by its creation.
        bus: Option<BusName>,
        /// The channel of the visit; its tokens come of one another by refreshing.
        channel: ChannelName,
    },
    /// A client.
    Client {
        /// The client.
        client: ClientId,
        /// The grants behind it.
        grants: Vec<GrantId>,
        /// What it has in common with the tokens that come of one another by refreshing.
        chain: String,
    },
}

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It is.
    Good,
    /// Its time is over.
    Expired,
    /// It was used up, or what it depends on has changed.
    Void,
}

/// Which tokens to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFilter {
    /// Only those of this client.
    pub client: Option<ClientId>,
    /// Only those that reach this bus.
    pub bus: Option<BusName>,
    /// Only those of this kind.
    pub kind: Option<TokenKind>,
}

/// An authorization code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeInfo {
    /// Its name.
    pub handle: Handle,
    /// Who may redeem it.
    pub client: ClientId,
    /// The owner who agreed.
    pub owner: OwnerName,
    /// The buses that the owner gave.
    pub buses: Vec<BusName>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// How far it is.
    pub state: CodeState,
}

/// How far a code is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeState {
    /// It can be redeemed.
    Unused,
    /// It was redeemed; this grant came of it.
    Used(GrantId),
    /// Its time is over.
    Expired,
    /// It was shown wrongly or again, was revoked, or its client has changed.
    Void,
}

/// A sign-in of a bus owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInInfo {
    /// Its name.
    pub handle: Handle,
    /// Who is signed in.
    pub owner: OwnerName,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A request for authorization that waits for a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequestInfo {
    /// Its name.
    pub handle: Handle,
    /// Who asks.
    pub client: ClientId,
    /// Where the answer goes.
    pub redirect_uri: RedirectUri,
    /// What is asked for.
    pub scope: Scope,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// The key of a page of decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionInfo {
    /// Its name.
    pub handle: Handle,
    /// The sign-in of who may decide.
    pub sign_in: Handle,
    /// What is decided on.
    pub request: Handle,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}
