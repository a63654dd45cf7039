//! The audit record: what was granted, changed, revoked and invoked (Belay §20.9).
//!
//! Each event is a line of the log and a count, and the last of them are kept for whoever follows the
//! record. Never here: an id, a URL, a body, a target; handles and statuses only.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buswire_message::Timestamp;
use metrics::{Counter, counter};
use tokio::sync::watch;

use crate::{
    grants::Grant,
    method::Method,
    names::{Handle, Kind},
};

/// The target of every audit event in the log.
const TARGET: &str = "buswire::belay::audit";

/// Events that are kept, about 400 bytes each; the oldest go first. The log has all of them.
const KEPT: usize = 1024;

/// Something that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Its place in the record of this server, from 1.
    pub sequence: u64,
    /// When it was.
    pub at: Timestamp,
    /// The grant.
    pub handle: Handle,
    /// What is invoked.
    pub kind: Kind,
    /// The grants above it, nearest first: who handed it on.
    pub above: Vec<Handle>,
    /// What happened.
    pub action: AuditAction,
}

/// What happened to a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditAction {
    /// It was made.
    Granted {
        /// The grantor; `None` for the operator.
        by: Option<Handle>,
    },
    /// It was derived from another one, narrower.
    Wrapped {
        /// The capability that was wrapped.
        by: Handle,
    },
    /// Its label or suspension was changed.
    Changed {
        /// The grant whose control capability was used; `None` for the operator.
        by: Option<Handle>,
        /// Whether it is suspended, if that is what was changed.
        suspended: Option<bool>,
    },
    /// It was revoked, and what is below with it.
    Revoked {
        /// The grant whose control capability was used, or the grantor that replaced it; `None` for the
        /// operator.
        by: Option<Handle>,
    },
    /// It was invoked, or its control capability was.
    Invoked(Invoked),
}

/// What became of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoked {
    /// Whether it was the control capability.
    pub control: bool,
    /// The method.
    pub method: Method,
    /// The HTTP status.
    pub status: u16,
    /// The bytes of the argument.
    pub bytes_in: u64,
    /// The bytes of the result; 0 within the process.
    pub bytes_out: u64,
    /// How long it took.
    pub took: Duration,
    /// Where it came from.
    pub peer: Peer,
}

/// Where an invocation came from, coarsely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This process.
    InProcess,
    /// This machine.
    Loopback,
    /// A private or link-local address.
    Private,
    /// Any other address.
    Public,
    /// The listener did not say.
    Unknown,
}

impl Peer {
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(address) if address.is_loopback() => Self::Loopback,
            Some(IpAddr::V4(v4)) if v4.is_private() || v4.is_link_local() => Self::Private,
            Some(IpAddr::V6(v6)) if v6.is_unique_local() || v6.is_unicast_link_local() => {
                Self::Private
            }
            Some(_) => Self::Public,
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProcess => "process",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Public => "public",
            Self::Unknown => "unknown",
        }
    }
}

/// A part of the record.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AuditPage {
    /// Events, oldest first.
    pub events: Vec<Arc<AuditEvent>>,
    /// Events before them that are not kept any more.
    pub missed: u64,
}

/// The last events.
#[derive(Debug)]
pub(crate) struct AuditLog {
    kept: Mutex<Kept>,
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<AuditEvent>>,
    /// Each is looked up once. Kinds are what the program registered, so there are few.
    invocations: HashMap<(Kind, u16), Counter>,
}

impl Kept {
    fn count(&mut self, kind: &Kind, status: u16) {
        let look_up = || {
            counter!(
                "buswire_belay_invocations_total",
                "kind" => kind.to_string(),
                "status" => status.to_string()
            )
        };
        self.invocations.entry((kind.clone(), status)).or_insert_with(look_up).increment(1);
    }
}

impl Default for AuditLog {
    fn default() -> Self {
        Self { kept: Mutex::default(), latest: watch::Sender::new(0) }
    }
}

impl AuditLog {
    pub(crate) fn record(&self, at: Timestamp, grant: &Grant, action: AuditAction) {
        emit(grant, &action);
        let mut event = AuditEvent {
            sequence: 0,
            at,
            handle: grant.handle.clone(),
            kind: grant.kind.clone(),
            above: grant.ancestors.iter().map(|above| above.handle.clone()).collect(),
            action,
        };
        let mut kept = self.kept();
        if let AuditAction::Invoked(invoked) = &event.action {
            kept.count(&event.kind, invoked.status);
        }
        event.sequence = kept.events.back().map_or(0, |last| last.sequence) + 1;
        let sequence = event.sequence;
        let gone = if kept.events.len() == KEPT { kept.events.pop_front() } else { None };
        kept.events.push_back(Arc::new(event));
        self.latest.send_replace(sequence);
        drop(kept);
        // Not while others wait.
        drop(gone);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept of the events after one.
    pub(crate) fn after(&self, sequence: u64) -> AuditPage {
        let kept = self.kept();
        let events: Vec<_> =
            kept.events.iter().filter(|it| it.sequence > sequence).cloned().collect();
        let missed = events.first().map_or(0, |first| first.sequence - sequence - 1);
        AuditPage { events, missed }
    }

    /// Waits until there is an event after one.
    pub(crate) async fn wait_after(&self, sequence: u64) {
        let mut latest = self.latest.subscribe();
        // The sender is part of the log, so it is there.
        drop(latest.wait_for(|latest| *latest > sequence).await);
    }
}

fn emit(grant: &Grant, action: &AuditAction) {
    let (handle, kind) = (&grant.handle, &grant.kind);
    let name = |by: &Option<Handle>| by.as_ref().map(|by| by.as_str().to_owned());
    match action {
        AuditAction::Granted { by } => {
            let link = grant.link;
            tracing::info!(target: TARGET, %handle, %kind, ?link, by = name(by), "granted");
            metrics::counter!("buswire_belay_grants_total").increment(1);
        }
        AuditAction::Wrapped { by } => {
            tracing::info!(target: TARGET, %handle, %kind, by = by.as_str(), "wrapped");
            metrics::counter!("buswire_belay_grants_total").increment(1);
        }
        AuditAction::Changed { by, suspended } => {
            tracing::info!(target: TARGET, %handle, suspended, by = name(by), "changed");
        }
        AuditAction::Revoked { by } => {
            tracing::info!(target: TARGET, %handle, %kind, by = name(by), "revoked");
            metrics::counter!("buswire_belay_revocations_total").increment(1);
        }
        AuditAction::Invoked(invoked) => emit_invoked(grant, invoked),
    }
}

fn emit_invoked(grant: &Grant, invoked: &Invoked) {
    let Invoked { control, method, status, bytes_in, bytes_out, took, peer } = invoked;
    // Joining the chain costs an allocation for each level; not for events that nobody logs.
    if tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        let above = grant.ancestors.iter().map(|ancestor| ancestor.handle.as_str());
        let chain = above.collect::<Vec<_>>().join(" ");
        tracing::info!(
            target: TARGET,
            handle = %grant.handle,
            chain,
            control,
            method = method.as_str(),
            status,
            bytes_in,
            bytes_out,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            peer = peer.as_str(),
            "invoked"
        );
    }
}

pub(crate) fn not_found() {
    metrics::counter!("buswire_belay_not_found_total").increment(1);
}
