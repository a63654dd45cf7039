//! Who may use the buses of Backplane, as an administrator sees them (Backplane §0.5, §13).

use buswire_message::{BusName, Secret, SourceUrl, Timestamp};
use buswire_store::Revision;
use futures::future::BoxFuture;
use url::Url;

use super::AdminError;

/// Deletes buses.
pub trait BusRemoval: Send + Sync {
    /// Deletes a bus, if it has the revision `expected`, its grants, the tokens that stand on them and
    /// the permissions of users; whether there was such a bus (Backplane §13.4). `None` is any revision.
    ///
    /// # Errors
    ///
    /// `Changed` (then nothing is deleted), `Unavailable`.
    fn delete<'a>(
        &'a self,
        bus: &'a BusName,
        expected: Option<Revision>,
    ) -> BoxFuture<'a, Result<bool, AdminError>>;
}

/// An owner of Backplane 2.0 buses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerView {
    /// Its name.
    pub name: String,
    /// The buses that it owns.
    pub buses: Vec<BusName>,
    /// Changes with its password.
    pub revision: u64,
}

/// Administers owners of buses.
pub trait OwnerAdmin: Send + Sync {
    /// Creates an owner or gives one another password, if it has the revision `expected`; `None` is any.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that can't be one, `Changed`, `TooMany`, `Unavailable`.
    fn put<'a>(
        &'a self,
        name: &'a str,
        password: Secret<String>,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>>;

    /// Shows every owner, in any order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn list(&self) -> BoxFuture<'_, Result<Vec<OwnerView>, AdminError>>;

    /// Deletes an owner, if it has the revision `expected`, and its buses; `None` is any. Whether there was
    /// one (Backplane §13.4).
    ///
    /// # Errors
    ///
    /// `Changed`, `Unavailable`.
    fn delete<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>>;

    /// Makes an owner the only owner of a bus, if that has the revision `expected`; `None` is any.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such owner or bus, `Changed`, `Unavailable`.
    fn assign<'a>(
        &'a self,
        owner: &'a str,
        bus: &'a BusName,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
}

/// A client to be created.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Its id; `None` leaves it to the gateway.
    pub client_id: Option<String>,
    /// Its secret; `None` leaves it to the gateway.
    pub secret: Option<Secret<String>>,
    /// The source of every message that it posts.
    pub source_url: SourceUrl,
    /// Where an owner's browser is sent; absolute, without a fragment.
    pub redirect_uri: Url,
}

/// A client, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// Its id.
    pub client_id: String,
    /// The source of every message that it posts.
    pub source_url: String,
    /// Where an owner's browser is sent.
    pub redirect_uri: String,
    /// Changes with everything that is changed of it.
    pub revision: u64,
}

/// A client that was created.
#[derive(Clone, Debug)]
pub struct CreatedClient {
    /// The client.
    pub client: ClientView,
    /// Its secret, shown this once.
    pub secret: Secret<String>,
}

/// Administers clients.
pub trait ClientAdmin: Send + Sync {
    /// Creates a client; it is stored when the future is done.
    ///
    /// # Errors
    ///
    /// `Invalid`, `Exists`, `TooMany`, `Unavailable`.
    fn create(&self, new: NewClient) -> BoxFuture<'_, Result<CreatedClient, AdminError>>;

    /// Shows every client, in any order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn list(&self) -> BoxFuture<'_, Result<Vec<ClientView>, AdminError>>;

    /// Deletes a client, if it has the revision `expected`, with its grants and tokens; `None` is any.
    /// Whether there was one.
    ///
    /// # Errors
    ///
    /// `Changed`, `Unavailable`.
    fn delete<'a>(
        &'a self,
        client_id: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>>;
}

/// A grant (Backplane §8.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantView {
    /// Its id.
    pub id: String,
    /// The client that has it.
    pub client_id: String,
    /// The buses that it is for.
    pub buses: Vec<BusName>,
    /// How far it is.
    pub state: GrantState,
    /// The owner who gave it; `None` for an administrator.
    pub issuer: Option<String>,
    /// When it was given or changed.
    pub updated_at: Timestamp,
    /// Changes with its buses.
    pub revision: u64,
}

/// How far a grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// Its code was not redeemed yet.
    Inactive,
    /// It gives rights.
    Active,
    /// It gave rights.
    Revoked,
}

/// Administers grants.
pub trait GrantAdmin: Send + Sync {
    /// Lets a client use buses, at once and without end.
    ///
    /// # Errors
    ///
    /// `NotFound` if the client or a bus does not exist, `TooMany`, `Unavailable`.
    fn create<'a>(
        &'a self,
        client_id: &'a str,
        buses: Vec<BusName>,
    ) -> BoxFuture<'a, Result<GrantView, AdminError>>;

    /// Shows every grant, or those of one client, in any order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn list<'a>(
        &'a self,
        client_id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<GrantView>, AdminError>>;

    /// Revokes a grant, if it has the revision `expected`, and every token that stands on it; `None` is
    /// any. Whether there was one.
    ///
    /// # Errors
    ///
    /// `Changed`, `Unavailable`.
    fn revoke<'a>(
        &'a self,
        id: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>>;
}

/// What a Backplane 1.x user may do with a bus (Backplane §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// May read the whole bus.
    GetAll,
    /// May post to any channel.
    Post,
    /// Without effect.
    GetPayload,
    /// Without effect.
    Identity,
}

/// A Backplane 1.x user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    /// Its name.
    pub name: String,
    /// What it may do, bus by bus.
    pub buses: Vec<(BusName, Vec<Permission>)>,
    /// Changes with its password.
    pub revision: u64,
}

/// Administers users of Backplane 1.x.
pub trait UserAdmin: Send + Sync {
    /// Creates a user or gives one another password, if it has the revision `expected`; `None` is any.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that can't be one, `Changed`, `TooMany`, `Unavailable`.
    fn put<'a>(
        &'a self,
        name: &'a str,
        password: Secret<String>,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<(), AdminError>>;

    /// Shows every user, in any order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn list(&self) -> BoxFuture<'_, Result<Vec<UserView>, AdminError>>;

    /// Deletes a user, if it has the revision `expected`; `None` is any. Whether there was one.
    ///
    /// # Errors
    ///
    /// `Changed`, `Unavailable`.
    fn delete<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>>;

    /// Sets what a user may do with a bus, instead of what it could do before. The user need not
    /// exist yet.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such bus, `Invalid` for a user's name that can't be one,
    /// `Unavailable`.
    fn permit<'a>(
        &'a self,
        user: &'a str,
        bus: &'a BusName,
        permissions: Vec<Permission>,
    ) -> BoxFuture<'a, Result<(), AdminError>>;
}
