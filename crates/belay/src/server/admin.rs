//! What an operator does by handle: list, look at, label, suspend, revoke.
//!
//! Never here: ids; an operator needs none and sees none.

use std::sync::Arc;

use buswire_message::Timestamp;
use buswire_store::StoreError;

use crate::{
    audit::{AuditAction, AuditPage},
    grants::{Change, Cursor, Grant, Link, Removal},
    limits::Limits,
    names::{Handle, Kind, Label},
    server::{CapServer, Designated, Inner},
    target::without_caps,
    wire::BcapValue,
};

/// The most grants of one page.
const PAGE_MAX: usize = 500;

/// Why an operator's request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// There is no grant of that handle, or it was revoked too long ago.
    #[error("there is no such grant")]
    NotFound,
    /// The text does not say where a listing goes on.
    #[error("the page token is not one")]
    BadCursor,
    /// The store did not do it.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// What a revocation came to; both mean that the grant is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It died of this one.
    Now,
    /// It already was.
    Already,
}

/// Whether a grant can be invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantState {
    /// It can.
    Live,
    /// Its time has not come.
    Pending,
    /// It, or one above it, is suspended.
    Suspended,
    /// Its time is over.
    Expired,
    /// Its uses, or those of one above it, are taken.
    Exhausted,
    /// It, or one above it, is revoked.
    Revoked,
}

impl GrantState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Pending => "pending",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::Revoked => "revoked",
        }
    }
}

/// What may be shown of a grant: no id, no capability.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantInfo {
    /// Its name.
    pub handle: Handle,
    /// `wrap` for an attenuated child, otherwise the same as `operation` (Belay §20.2).
    pub kind: Kind,
    /// What is invoked.
    pub operation: Kind,
    /// What it is about, without secrets.
    pub target: BcapValue,
    /// What people call it.
    pub label: Label,
    /// Whether it can be invoked.
    pub state: GrantState,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends, the chain considered.
    pub expires: Option<Timestamp>,
    /// What is left of its own `uses`.
    pub uses_left: Option<u64>,
    /// The grant above it.
    pub parent: Option<Handle>,
    /// Live grants below it.
    pub children: u32,
    /// How often it was invoked, about.
    pub invocations: u64,
    /// When it last was, about.
    pub last_used: Option<Timestamp>,
    /// Its own limits.
    pub limits: Limits,
}

/// Some grants.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantPage {
    /// The grants, oldest tree first.
    pub grants: Vec<GrantInfo>,
    /// To be handed to [`CapServer::list`] for what follows; `None` at the end.
    pub next: Option<String>,
}

impl CapServer {
    /// Revokes a grant and with it everything below. After this no invocation of them starts, and
    /// those that only read are answered 404 (Belay §20.6). Repeating it is fine.
    ///
    /// Returns when the revocation is on stable storage.
    ///
    /// # Errors
    ///
    /// [`AdminError::NotFound`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the grant is then revoked or not; repeat it to be sure.
    pub async fn revoke(&self, handle: &Handle) -> Result<Revoked, AdminError> {
        let tree = self.0.tree_of(handle).await?;
        self.0.revoke(&tree, handle, None).await?.ok_or(AdminError::NotFound)
    }

    /// Suspends a grant, and so everything below, or ends that.
    ///
    /// # Errors
    ///
    /// [`AdminError::NotFound`], also if it is revoked; [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it is then done or not.
    pub async fn set_suspended(&self, handle: &Handle, suspended: bool) -> Result<(), AdminError> {
        self.change(handle, Change { label: None, suspended: Some(suspended) }).await
    }

    /// Changes what people call a grant.
    ///
    /// # Errors
    ///
    /// As [`set_suspended`](Self::set_suspended).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it is then done or not.
    pub async fn set_label(&self, handle: &Handle, label: Label) -> Result<(), AdminError> {
        self.change(handle, Change { label: Some(label), suspended: None }).await
    }

    async fn change(&self, handle: &Handle, change: Change) -> Result<(), AdminError> {
        let tree = self.0.tree_of(handle).await?;
        if self.0.change(&tree, handle, &change, None).await? {
            Ok(())
        } else {
            Err(AdminError::NotFound)
        }
    }

    /// Lists at most `limit` (1 to 500) grants from where a page ended, or from the beginning. Those
    /// that ended are listed for [`Config::retention`](crate::Config::retention).
    ///
    /// # Errors
    ///
    /// [`AdminError::BadCursor`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only reads.
    pub async fn list(&self, cursor: Option<&str>, limit: usize) -> Result<GrantPage, AdminError> {
        let cursor = cursor.map(|text| Cursor::parse(text).ok_or(AdminError::BadCursor));
        let limit = limit.clamp(1, PAGE_MAX);
        let now = self.0.now();
        let (listed, next) = self.0.grants.list(cursor.transpose()?, limit, now).await?;
        let mut grants = Vec::with_capacity(listed.len());
        for one in listed {
            grants.push(self.0.info(&one.grant, one.retired).await?);
        }
        Ok(GrantPage { grants, next: next.map(|cursor| cursor.to_text()) })
    }

    /// The events after one, by its sequence, of the last thousand or so that this server recorded
    /// (Belay §20.9); 0 is before all.
    pub fn audit_after(&self, sequence: u64) -> AuditPage {
        self.0.audit.after(sequence)
    }

    /// Waits until there is an event after one.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only waits.
    pub async fn audit_wait(&self, sequence: u64) {
        self.0.audit.wait_after(sequence).await;
    }

    /// What may be shown of a grant that is not revoked.
    ///
    /// # Errors
    ///
    /// [`AdminError::NotFound`], [`AdminError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only reads.
    pub async fn status(&self, handle: &Handle) -> Result<GrantInfo, AdminError> {
        let tree = self.0.tree_of(handle).await?;
        let loaded = self.0.grants.load(&tree, handle, self.0.now()).await?;
        let loaded = loaded.ok_or(AdminError::NotFound)?;
        Ok(self.0.info(&loaded.grant, false).await?)
    }
}

impl Inner {
    async fn tree_of(&self, handle: &Handle) -> Result<Handle, AdminError> {
        self.grants.tree_of(handle, self.now()).await?.ok_or(AdminError::NotFound)
    }

    pub(super) async fn info(&self, grant: &Grant, retired: bool) -> Result<GrantInfo, StoreError> {
        let now = self.now();
        let details = self.grants.details(grant, now).await?;
        let usage = self.grants.usage(&self.usage, grant.root(), &grant.handle, now).await?;
        let state = match &details.chain {
            Some(chain) if !retired => {
                let (bounds, current) = (&grant.bounds, chain.is_current(now));
                if bounds.expires().is_some_and(|end| now >= end) {
                    GrantState::Expired
                } else if bounds.not_before().is_some_and(|begin| now < begin) {
                    GrantState::Pending
                } else if !current {
                    GrantState::Suspended
                } else if chain.exhausted {
                    GrantState::Exhausted
                } else {
                    GrantState::Live
                }
            }
            _ => GrantState::Revoked,
        };
        let designated = self.designated(&grant.kind, &grant.target);
        let kind =
            if grant.link == Link::Wrap { Kind::WRAP.parse() } else { Ok(grant.kind.clone()) };
        Ok(GrantInfo {
            handle: grant.handle.clone(),
            kind: kind.unwrap_or_else(|_| grant.kind.clone()),
            operation: grant.kind.clone(),
            target: designated.map_or_else(
                // Whether there are other secrets in it only the operation knows.
                || {
                    if grant.kind.as_str() == Kind::GRANTOR {
                        without_caps(&grant.target)
                    } else {
                        BcapValue::Null
                    }
                },
                |Designated { operation, target }| operation.public_target(&target),
            ),
            label: grant.label.clone(),
            state,
            created: grant.created,
            expires: grant.bounds.expires(),
            uses_left: details.uses_left,
            parent: grant.parent().cloned(),
            children: details.children,
            invocations: usage.invocations,
            last_used: (usage.invocations > 0).then(|| Timestamp::from_millis(usage.last_used)),
            limits: grant.limits.clone(),
        })
    }

    /// Whether there was such a grant to change.
    pub(super) async fn change(
        self: &Arc<Self>,
        tree: &Handle,
        handle: &Handle,
        change: &Change,
        by: Option<Handle>,
    ) -> Result<bool, StoreError> {
        let changed = self.grants.change(tree, handle, change, self.now()).await?;
        if changed.is_some() && change.suspended == Some(true) {
            self.live.cut(handle);
        }
        if let Some(grant) = &changed {
            let action = AuditAction::Changed { by, suspended: change.suspended };
            self.audit.record(self.now(), grant, action);
        }
        Ok(changed.is_some())
    }

    /// `None` if there is no such grant.
    pub(super) async fn revoke(
        self: &Arc<Self>,
        tree: &Handle,
        handle: &Handle,
        by: Option<Handle>,
    ) -> Result<Option<Revoked>, StoreError> {
        match self.grants.revoke(tree, handle, self.now()).await? {
            Removal::Unknown => Ok(None),
            Removal::Already => {
                self.live.cut(handle);
                Ok(Some(Revoked::Already))
            }
            Removal::Revoked(grant) => {
                self.bury(*grant, by);
                Ok(Some(Revoked::Now))
            }
        }
    }

    /// Cancels what is in progress below a grant that is dead in the store, and buries what is below
    /// it, in the background.
    pub(super) fn bury(self: &Arc<Self>, grant: Grant, by: Option<Handle>) {
        self.live.cut(&grant.handle);
        self.audit.record(self.now(), &grant, AuditAction::Revoked { by });
        let this = Arc::clone(self);
        self.tracker.spawn(async move {
            if let Err(error) = this.bury_below(grant).await {
                tracing::warn!(error = %error, "dead grants could not be buried");
            }
        });
    }

    async fn bury_below(&self, grant: Grant) -> Result<(), StoreError> {
        self.grants.forget_ids(&grant, self.now()).await?;
        self.grants.bury_below(grant.root(), &grant.handle, self.now()).await
    }
}
