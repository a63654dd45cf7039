//! Tokens of administrators, as an administrator sees them.

use buswire_message::{Secret, Timestamp};
use futures::future::BoxFuture;

use super::AdminError;
use crate::admin::role::Role;

/// A token, without itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTokenView {
    /// Its name.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// Tells it from another one that had its name before.
    pub revision: u64,
}

/// Makes, shows and revokes tokens of administrators.
pub trait AdminTokens: Send + Sync {
    /// Makes a token, which is shown this once.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that is none, `Exists`, `TooMany`, `Unavailable`.
    fn create<'a>(
        &'a self,
        name: &'a str,
        role: Role,
    ) -> BoxFuture<'a, Result<Secret<String>, AdminError>>;

    /// Every token, in any order.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn list(&self) -> BoxFuture<'_, Result<Vec<AdminTokenView>, AdminError>>;

    /// Revokes a token, if it has the revision that is expected: no call begins with it any more; whether
    /// there was one.
    ///
    /// # Errors
    ///
    /// `Invalid` for a name that is none, `Changed`, `Unavailable`.
    fn revoke<'a>(
        &'a self,
        name: &'a str,
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<bool, AdminError>>;
}
