//! What a grant designates: the [`Operation`] trait and what an operation is told.
//!
//! Never here: anything of the request but its method, its data and its origin, which says nothing of
//! authority. No other headers, no cookies, no address: an operation has no way to authorise
//! by who asks (Belay §20.3, §23.1).

use std::{fmt, sync::Arc};

use buswire_message::{Entropy, Secret, TraceParent};
use buswire_store::StoreError;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    error::BcapError,
    limits::{Bounds, NameSet},
    method::{Method, MethodSet},
    names::Handle,
    origin::Origin,
    target::{TargetError, without_caps},
    wire::{Bcap, BcapValue},
};

/// One kind of operation, such as `bus.publish`.
///
/// Registered once with [`CapServer::register`](crate::CapServer::register). Everything that it may
/// touch comes from the target that was fixed at grant time, nothing from the request.
pub trait Operation: Send + Sync {
    /// Refuses a target that the operation can't be granted for; unknown members are refused too
    /// (Belay §20.5).
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError>;

    /// Completes a target at grant with which things its names mean, so that another thing that gets
    /// the name later is not addressed (Belay §23.4). Nothing by default.
    ///
    /// # Errors
    ///
    /// [`BindError`] if there is no such thing.
    fn bind(&self, target: BcapValue) -> BoxFuture<'_, Result<BcapValue, BindError>> {
        Box::pin(std::future::ready(Ok(target)))
    }

    /// Whether what a target was bound to is still there; a grant for what is gone is dead. It is by
    /// default.
    ///
    /// # Errors
    ///
    /// [`BcapError`] if that can't be found out; the invocation fails with it.
    fn is_bound<'a>(&'a self, target: &'a BcapValue) -> BoxFuture<'a, Result<bool, BcapError>> {
        let _ = target;
        Box::pin(std::future::ready(Ok(true)))
    }

    /// The methods that the operation has for a target.
    fn methods(&self, target: &BcapValue) -> MethodSet;

    /// Those of its methods that change nothing: `readOnly` leaves these (Belay §20.8), and an
    /// invocation of one of them is dropped and answered 404 as soon as the grant is revoked
    /// (Belay §20.6). GET by default.
    fn reading_methods(&self) -> MethodSet {
        MethodSet::GET
    }

    /// What an invocation would touch, for the limits `channels` and `types`. Nothing by default. Asked
    /// before a use is counted: what is refused here costs none (Belay §20.8).
    ///
    /// # Errors
    ///
    /// [`BcapError::BadRequest`] if the data has not the right shape, [`BcapError::Forbidden`] if the
    /// target does not reach so far.
    fn subject(
        &self,
        target: &BcapValue,
        method: Method,
        data: Option<&BcapValue>,
    ) -> Result<Subject, BcapError> {
        let (_, _, _) = (target, method, data);
        Ok(Subject::default())
    }

    /// The channels that a target reaches, for grantors that are limited to some. `None`, the
    /// default, for an operation that can't tell; such a grantor does not grant it.
    fn reach(&self, target: &BcapValue) -> Option<NameSet> {
        let _ = target;
        None
    }

    /// The target as it may be shown to people: without capabilities by default. An operation whose
    /// target holds other secrets leaves them out.
    fn public_target(&self, target: &BcapValue) -> BcapValue {
        without_caps(target)
    }

    /// Does it. A PUT or DELETE that gives a result is a bug and answered 500 (Belay §20.3).
    ///
    /// An operation with several steps calls [`Invocation::still_valid`] before each that can't be
    /// undone, and one that waits calls it when it wakes up (Belay §20.6).
    ///
    /// # Errors
    ///
    /// [`BcapError`]; it goes to the caller as it is.
    fn invoke(
        &self,
        cx: Invocation,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>>;
}

/// Why a target can't be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// There is no such thing.
    #[error("the target is refused")]
    Target(#[from] TargetError),
    /// It can't be found out.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// What an invocation touches; checked against the limits before it is made.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Subject {
    /// Channels, each of which must be within the limit.
    pub channels: Vec<String>,
    /// Message types, each of which must be within the limit.
    pub types: Vec<String>,
}

impl Subject {
    /// Whether the limits admit all of it.
    pub(crate) fn is_within(&self, bounds: &Bounds) -> bool {
        self.channels.iter().all(|channel| bounds.admits_channel(channel))
            && self.types.iter().all(|name| bounds.admits_type(name))
    }
}

/// Names one invocation; an operation that must not be done twice uses it to recognise the second
/// time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvocationId([u8; 16]);

impl InvocationId {
    pub(crate) fn mint(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InvocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvocationId({self})")
    }
}

/// What an invocation may ask of the server that makes it.
pub(crate) trait Host: Send + Sync {
    /// Reads the chain of the grant again.
    fn still_valid(&self) -> BoxFuture<'_, Result<(), BcapError>>;

    /// Invokes a capability of the server, within the limits of this invocation.
    fn invoke<'a>(
        &'a self,
        id: &'a str,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'a, Result<Option<BcapValue>, BcapError>>;

    /// The id in a capability of the server; `None` if it is another one's.
    fn local_id(&self, cap: &Bcap) -> Option<Secret<String>>;

    /// A capability that forwards to `cap`, dies with the grant that was invoked and is within its
    /// limits. The same one every time, unless it shall be `fresh`.
    fn forward<'a>(
        &'a self,
        name: &'a str,
        cap: &'a Bcap,
        fresh: bool,
    ) -> BoxFuture<'a, Result<Bcap, BcapError>>;
}

/// What an operation is told besides method and data.
pub struct Invocation {
    pub(crate) id: InvocationId,
    pub(crate) handle: Handle,
    pub(crate) target: Arc<BcapValue>,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) cancelled: CancellationToken,
    pub(crate) origin: Origin,
    pub(crate) host: Arc<dyn Host>,
}

impl Invocation {
    /// Names this invocation.
    pub const fn id(&self) -> InvocationId {
        self.id
    }

    /// Names the grant that was invoked.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What was fixed when it was granted.
    pub fn target(&self) -> &BcapValue {
        &self.target
    }

    /// What is left after the limits of the whole chain.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Cancelled when the grant or one above it is revoked or suspended.
    pub const fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Its place in a trace, for what is done in it; never a reason to allow or refuse.
    pub fn traceparent(&self) -> Option<TraceParent> {
        self.origin.traceparent().cloned()
    }

    /// The door that it came in by, and the text of its argument; never a reason to allow or refuse.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Reads the whole chain again, from the store.
    ///
    /// # Errors
    ///
    /// [`BcapError::NotFound`] if the grant is not alive any more, [`BcapError::Unavailable`] if the
    /// store can't be read.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only reads.
    pub async fn still_valid(&self) -> Result<(), BcapError> {
        self.host.still_valid().await
    }

    /// Invokes a capability of the server that makes this invocation, within the limits of this one;
    /// `None` if it is another server's. For capabilities that a target or an argument holds: their
    /// own authority is used, not the operation's (Belay §23.2).
    ///
    /// # Errors
    ///
    /// As the capability fails; [`BcapError::BadGateway`] if this is the ninth that hangs on another.
    ///
    /// # Cancel safety
    ///
    /// As [`CapServer::invoke`](crate::CapServer::invoke).
    pub async fn invoke_own(
        &self,
        cap: &Bcap,
        method: Method,
        data: Option<BcapValue>,
    ) -> Option<Result<Option<BcapValue>, BcapError>> {
        let id = self.host.local_id(cap)?;
        Some(self.host.invoke(id.expose(), method, data).await)
    }
}

impl Invocation {
    /// A forwarder to `cap` that dies with this grant and is within its limits.
    pub(crate) async fn forward(
        &self,
        name: &str,
        cap: &Bcap,
        fresh: bool,
    ) -> Result<Bcap, BcapError> {
        self.host.forward(name, cap, fresh).await
    }
}

impl fmt::Debug for Invocation {
    /// Leaves out the target, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("id", &self.id)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
