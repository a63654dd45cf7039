//! The CapServer: grants, wraps, revokes, lists and dispatches (Belay §20.1, §20.3).
//!
//! Never here: HTTP.

mod admin;
mod control;
mod describe;
mod grant;
mod grantor;
mod invoke;
mod live;
mod named;
mod standing;
mod watch;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use buswire_message::{Clock, Entropy, Secret, Timestamp};
use buswire_store::{Store, StoreError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use admin::{AdminError, GrantInfo, GrantPage, GrantState, Revoked};
pub use grant::{GrantError, Granted};
pub use standing::Standing;

use crate::{
    audit::AuditLog,
    config::Config,
    grants::{Admission, Grants, UsageBuffer},
    items::{RecordItem, UrlItem},
    names::Kind,
    operation::Operation,
    server::live::Live,
    target::NamedTarget,
    wire::{Bcap, BcapValue, Serialisation},
};

/// A kind that can't be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Not a kind.
    #[error("a kind has 1 to 64 characters of a-z 0-9 . _ -")]
    Name,
    /// `grantor`, `wrap`, `control`, `named` and `record` are the server's own.
    #[error("the kind is the server's own")]
    Reserved,
}

/// Grants capabilities, dispatches their invocations and revokes them.
///
/// A cheap handle: clones share everything. The store is the authority; several servers, in one
/// process or many, may share it.
///
/// # Examples
///
/// `examples/belay_server.rs` serves an operation of its own from the store in memory.
#[derive(Clone)]
pub struct CapServer(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) grants: Arc<Grants>,
    admission: Arc<Admission>,
    live: Arc<Live>,
    usage: UsageBuffer,
    audit: AuditLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) config: Config,
    operations: RwLock<BTreeMap<Kind, Arc<dyn Operation>>>,
    named: RwLock<BTreeMap<String, Arc<dyn Operation>>>,
    tracker: TaskTracker,
    draining: CancellationToken,
}

impl CapServer {
    /// A server over a store, which may already hold grants.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: Config,
    ) -> Self {
        let tracker = TaskTracker::new();
        let grants = Arc::new(Grants::new(store, &config));
        let admission = Admission::new(
            Arc::clone(&grants),
            Arc::clone(&clock),
            tracker.clone(),
            config.waiting_max,
        );
        let url: Arc<dyn Operation> = Arc::new(UrlItem::within(&config));
        let record = Arc::new(RecordItem { has_stable: config.regrant_key.is_some() });
        Self(Arc::new(Inner {
            grants,
            admission: Arc::new(admission),
            live: Arc::new(Live::new(config.in_flight_max)),
            usage: UsageBuffer::default(),
            audit: AuditLog::default(),
            clock,
            entropy,
            config,
            operations: RwLock::new([(Kind::url(), url), (Kind::record(), record)].into()),
            named: RwLock::default(),
            tracker,
            draining: CancellationToken::new(),
        }))
    }

    /// Registers what grants of a kind designate, in place of what was registered before.
    ///
    /// Grants outlive the process: until their kind is registered they answer 404. `url` is there
    /// from the beginning, for capabilities of this server; a [`UrlItem`] that asks
    /// other servers takes its place.
    ///
    /// # Errors
    ///
    /// [`RegisterError`].
    pub fn register(&self, kind: &str, operation: Arc<dyn Operation>) -> Result<(), RegisterError> {
        if Kind::RESERVED.contains(&kind) {
            return Err(RegisterError::Reserved);
        }
        let kind = kind.parse().map_err(|_| RegisterError::Name)?;
        let mut operations = self.0.operations.write().unwrap_or_else(PoisonError::into_inner);
        operations.insert(kind, operation);
        Ok(())
    }

    /// The id in a capability of this server; `None` if it is somebody else's or none at all.
    ///
    /// The URL is parsed before it is compared (Belay §16.5). Whether the id is alive shows when it
    /// is invoked.
    pub fn local_id(&self, cap: &Bcap) -> Option<Secret<String>> {
        match cap.serialisation()? {
            Serialisation::Url(url) => self.0.config.id_in(url.expose()).map(Secret::new),
            Serialisation::Urn { .. } => None,
        }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Answers 503 to every new invocation from here on, and to those that only read at once, so
    /// that a shutdown does not wait for blocked reads.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Waits for the tasks that the server started and writes what it counted in memory. Nothing is
    /// lost for limits if it is not called.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the counts can't be written.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: counts that were not written are lost.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.tracker.close();
        self.0.tracker.wait().await;
        self.0.grants.write_usage(&self.0.usage, self.0.now()).await
    }
}

#[cfg(test)]
impl CapServer {
    /// Waits until nothing goes on in the background.
    pub(crate) async fn settle(&self) {
        self.0.tracker.close();
        self.0.tracker.wait().await;
        self.0.tracker.reopen();
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What a kind and a target designate; `None` if it is not registered.
    fn designated(&self, kind: &Kind, target: &Arc<BcapValue>) -> Option<Designated> {
        if kind.as_str() != Kind::NAMED {
            let operations = self.operations.read().unwrap_or_else(PoisonError::into_inner);
            let operation = operations.get(kind)?.clone();
            return Some(Designated { operation, target: Arc::clone(target) });
        }
        let NamedTarget { name, args } = NamedTarget::parse(target).ok()?;
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        Some(Designated { operation: named.get(&name)?.clone(), target: Arc::new(args) })
    }
}

/// An operation with what it is about.
#[derive(Clone)]
struct Designated {
    operation: Arc<dyn Operation>,
    target: Arc<BcapValue>,
}

impl fmt::Debug for CapServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapServer").field("config", &self.0.config).finish_non_exhaustive()
    }
}
