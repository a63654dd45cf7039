//! Capabilities, as an administrator sees them.

use buswire_message::{Secret, Timestamp};
use futures::future::BoxFuture;
use serde_json::{Map, Value};

use super::{AdminError, Page, PageRequest};

/// A capability to be granted (Belay §20.5).
#[derive(Clone)]
pub struct NewCapability {
    /// The kind of its operation, such as `bus.publish`.
    pub kind: String,
    /// What it operates on; the kind prescribes the members.
    pub target: Map<String, Value>,
    /// Its limits, the members of Belay §20.8.
    pub limits: Map<String, Value>,
    /// What to call it in listings.
    pub label: Option<String>,
}

impl std::fmt::Debug for NewCapability {
    /// Leaves out the target, which may hold capabilities.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewCapability").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A capability that was granted.
#[derive(Clone, Debug)]
pub struct GrantedCapability {
    /// The link that invokes the operation.
    pub cap: Secret<String>,
    /// The link that shows, suspends and revokes the capability.
    pub control: Secret<String>,
    /// Its public name.
    pub handle: String,
}

/// A capability, without its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilityView {
    /// Its public name.
    pub handle: String,
    /// The kind of its operation.
    pub kind: String,
    /// What an administrator calls it.
    pub label: Option<String>,
    /// Whether it can be invoked.
    pub state: CapabilityState,
    /// The handle of what it derives from.
    pub parent: Option<String>,
    /// When it was granted.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// How many invocations are left.
    pub uses_left: Option<u64>,
}

/// Whether a capability can be invoked, what it derives from included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapabilityState {
    /// It can.
    Live,
    /// It is suspended.
    Suspended,
    /// It has expired.
    Expired,
    /// Its uses are used up.
    Exhausted,
    /// It is revoked.
    Revoked,
    /// Its time has not come.
    Pending,
}

/// What revoking changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It was not revoked before.
    Newly,
    /// It was revoked before.
    Before,
}

/// Administers capabilities.
pub trait CapabilityAdmin: Send + Sync {
    /// Grants a capability; it is stored when the future is done.
    ///
    /// # Errors
    ///
    /// `Invalid` for an unknown kind or member, `TooMany`, `Unavailable`.
    fn grant(&self, new: NewCapability) -> BoxFuture<'_, Result<GrantedCapability, AdminError>>;

    /// Revokes a capability and everything derived from it; repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    fn revoke<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Revoked, AdminError>>;

    /// Shows a part of all capabilities, in an order that does not change. `next` of a page is text of
    /// the door's own.
    ///
    /// # Errors
    ///
    /// `Invalid` if `after` is not `next` of a page, `Unavailable`.
    fn list(&self, wanted: PageRequest) -> BoxFuture<'_, Result<Page<CapabilityView>, AdminError>>;
}
