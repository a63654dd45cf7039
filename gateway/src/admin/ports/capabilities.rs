//! Capabilities, as an administrator sees them.

use std::time::Duration;

use buswire_message::{Secret, Timestamp};
use futures::{future::BoxFuture, stream::BoxStream};
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
    /// Whether its links are UUIDs.
    pub uuid: bool,
}

/// A narrower capability to be derived.
#[derive(Clone, Debug)]
pub struct NewWrap {
    /// The handle of what it derives from.
    pub handle: String,
    /// Its limits, the members of Belay §20.8.
    pub limits: Map<String, Value>,
    /// What to call it in listings.
    pub label: Option<String>,
}

/// What of a capability to change; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct CapabilityChange {
    /// What to call it; empty for nothing.
    pub label: Option<String>,
    /// Whether it is suspended.
    pub suspended: Option<bool>,
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
    /// Live capabilities that derive from it directly.
    pub children: u32,
    /// How often it was invoked, about.
    pub invocations: u64,
    /// When it was last invoked.
    pub last_used_at: Option<Timestamp>,
    /// What it operates on, JSON without secrets.
    pub target: String,
    /// Its own limits, JSON.
    pub limits: String,
}

/// Something that was recorded of a capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditView {
    /// Its place in the record.
    pub sequence: u64,
    /// When it was.
    pub at: Timestamp,
    /// The capability.
    pub handle: String,
    /// The kind of its operation.
    pub kind: String,
    /// What it derives from, nearest first.
    pub above: Vec<String>,
    /// What happened.
    pub action: AuditActionView,
    /// Events before it that are not kept any more.
    pub missed: u64,
}

/// What happened to a capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditActionView {
    /// It was granted.
    Granted {
        /// By whose authority; `None` for the operator.
        by: Option<String>,
    },
    /// It was derived from another one, narrower.
    Wrapped {
        /// The one that was wrapped.
        by: String,
    },
    /// It was changed.
    Changed {
        /// By whose authority; `None` for the operator.
        by: Option<String>,
        /// Whether it is suspended, if that changed.
        suspended: Option<bool>,
    },
    /// It was revoked.
    Revoked {
        /// By whose authority; `None` for the operator.
        by: Option<String>,
    },
    /// It was invoked.
    Invoked {
        /// Whether by its control link.
        control: bool,
        /// The method.
        method: &'static str,
        /// The HTTP status.
        status: u16,
        /// Bytes in and out.
        bytes: [u64; 2],
        /// How long it took.
        took: Duration,
        /// Where it came from.
        peer: &'static str,
    },
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

    /// Derives a narrower capability; it is stored when the future is done.
    ///
    /// # Errors
    ///
    /// `NotFound` if the other one is not alive, `Invalid`, `Refused`, `Unavailable`.
    fn wrap(&self, new: NewWrap) -> BoxFuture<'_, Result<GrantedCapability, AdminError>>;

    /// Shows one that is not revoked.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    fn show<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<CapabilityView, AdminError>>;

    /// Changes a capability.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Invalid`, `Unavailable`.
    fn change<'a>(
        &'a self,
        handle: &'a str,
        change: CapabilityChange,
    ) -> BoxFuture<'a, Result<(), AdminError>>;

    /// What was recorded, oldest first, as far as it is kept; then, to `follow`, everything further.
    fn audit(&self, follow: bool) -> BoxStream<'static, AuditView>;

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
