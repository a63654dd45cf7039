//! What Backplane 2.0 has handed out, as an administrator sees it (Backplane §0.5).
//!
//! No secret is here: a handle is the beginning of the hash of one.

use buswire_message::{BusName, ChannelName, Timestamp};
use futures::future::BoxFuture;

use super::{AdminError, Page, PageRequest};

/// A channel of one visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// Its name.
    pub name: ChannelName,
    /// When it ends, unless it is refreshed or posted to before.
    pub expires_at: Timestamp,
    /// How many live messages it holds.
    pub messages: usize,
}

/// The kinds of what has a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// An access or refresh token.
    Token,
    /// An authorization code.
    Code,
    /// A sign-in of an owner.
    SignIn,
    /// A request that waits for an owner's decision.
    AuthorizationRequest,
    /// The key of a page of decision.
    Decision,
}

/// The kinds of token (Backplane §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Reads the headers of one channel.
    AnonymousAccess,
    /// Gets the next anonymous pair.
    AnonymousRefresh,
    /// Privileged, from an authorization code.
    CodeAccess,
    /// Privileged, from client credentials or refreshed.
    ClientAccess,
    /// Gets the next privileged pair.
    PrivilegedRefresh,
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

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    /// Its handle.
    pub handle: String,
    /// What kind of token it is.
    pub kind: TokenKind,
    /// Whether it is good.
    pub state: TokenState,
    /// What it reaches.
    pub scope: String,
    /// When it ends by itself; `None`: with its channel or its client.
    pub expires_at: Option<Timestamp>,
    /// Whose it is; `None`: a visit's.
    pub client_id: Option<String>,
    /// The ids of the grants behind it.
    pub grants: Vec<String>,
    /// What it has in common with the tokens that come of one another by refreshing: the name of
    /// their chain, or of the channel of a visit.
    pub chain: String,
}

/// Which tokens to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFilter {
    /// Only those of this client.
    pub client_id: Option<String>,
    /// Only those that reach this bus.
    pub bus: Option<BusName>,
    /// Only those of this kind.
    pub kind: Option<TokenKind>,
}

/// How far a code is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeState {
    /// It can be redeemed.
    Unused,
    /// It was redeemed; the grant of this id came of it.
    Used(String),
    /// Its time is over.
    Expired,
    /// It was shown wrongly or again, was revoked, or its client has changed.
    Void,
}

/// An authorization code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeView {
    /// Its handle.
    pub handle: String,
    /// Who may redeem it.
    pub client_id: String,
    /// The owner who agreed.
    pub owner: String,
    /// The buses that the owner gave.
    pub buses: Vec<BusName>,
    /// How far it is.
    pub state: CodeState,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// A sign-in of an owner in one browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInView {
    /// Its handle.
    pub handle: String,
    /// Who is signed in.
    pub owner: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A request that waits for an owner's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequestView {
    /// Its handle.
    pub handle: String,
    /// Who asks.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// What is asked for.
    pub scope: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// The key of a page of decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionView {
    /// Its handle.
    pub handle: String,
    /// The handle of the sign-in of who may decide.
    pub sign_in: String,
    /// The handle of what is decided on.
    pub request: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Shows and ends channels, tokens, codes, sign-ins and requests for authorization.
///
/// Listings have an order of their own. A page of what has a handle may hold fewer items than are
/// wanted, or none, and not be the last.
pub trait AccessAdmin: Send + Sync {
    /// Shows a page of the channels of a bus.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such bus, `Invalid` if it is none of 2.0, `Unavailable`.
    fn channels<'a>(
        &'a self,
        bus: &'a BusName,
        wanted: PageRequest,
    ) -> BoxFuture<'a, Result<Page<ChannelView>, AdminError>>;

    /// Ends all tokens and unredeemed codes of a client; whether there is one.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn revoke_tokens<'a>(&'a self, client_id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>>;

    /// Signs an owner out of every browser; how many sign-ins there were.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn end_sign_ins<'a>(&'a self, owner: &'a str) -> BoxFuture<'a, Result<usize, AdminError>>;

    /// Shows a page of the tokens that pass a filter.
    ///
    /// # Errors
    ///
    /// `Invalid` for an id that can't be one, `Unavailable`; so too the following.
    fn tokens(
        &self,
        filter: TokenFilter,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<TokenView>, AdminError>>;

    /// Shows a page of the codes, or of those of one client.
    ///
    /// # Errors
    ///
    /// As [`tokens`](Self::tokens).
    fn codes(
        &self,
        client_id: Option<String>,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<CodeView>, AdminError>>;

    /// Shows a page of the sign-ins, or of those of one owner.
    ///
    /// # Errors
    ///
    /// As [`tokens`](Self::tokens).
    fn sign_ins(
        &self,
        owner: Option<String>,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<SignInView>, AdminError>>;

    /// Shows a page of the requests that wait for a decision, or of those of one client.
    ///
    /// # Errors
    ///
    /// As [`tokens`](Self::tokens).
    fn authorization_requests(
        &self,
        client_id: Option<String>,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<AuthorizationRequestView>, AdminError>>;

    /// Shows a page of the keys of decisions.
    ///
    /// # Errors
    ///
    /// As [`tokens`](Self::tokens).
    fn decisions(
        &self,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<DecisionView>, AdminError>>;

    /// Ends what has this handle; whether there was anything.
    ///
    /// # Errors
    ///
    /// `Invalid` for a handle that can't be one, `Unavailable`.
    fn end<'a>(&'a self, kind: Issued, handle: &'a str) -> BoxFuture<'a, Result<bool, AdminError>>;
}
