//! The capabilities of Belay.

use buswire_belay::{
    AdminError as BelayError, AuditAction, AuditEvent, AuditPage, BcapValue, CapServer, GrantError,
    GrantInfo, GrantRequest, GrantState, Granted, Handle, IdForm, Label, parse_limits,
};
use buswire_message::Secret;
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use serde_json::Value;

use crate::admin::ports::{
    AdminError, AuditActionView, AuditView, CapabilityAdmin, CapabilityChange, CapabilityState,
    CapabilityView, GrantedCapability, NewCapability, NewWrap, Page, PageRequest, Revoked,
};

/// Administers capabilities.
#[derive(Debug)]
pub(crate) struct CapabilityPort(pub(crate) CapServer);

impl CapabilityAdmin for CapabilityPort {
    fn grant(&self, new: NewCapability) -> BoxFuture<'_, Result<GrantedCapability, AdminError>> {
        Box::pin(async move {
            let granted = self.0.grant(request(new)?).await.map_err(|error| refusal(&error))?;
            Ok(shown(&granted))
        })
    }

    fn wrap(&self, new: NewWrap) -> BoxFuture<'_, Result<GrantedCapability, AdminError>> {
        Box::pin(async move {
            let handle = parse_handle(&new.handle)?;
            let limits = parse_limits(&Value::Object(new.limits).to_string())
                .map_err(|error| AdminError::invalid(crate::cli::chain(&error)))?;
            let label = parse_label(&new.label.unwrap_or_default())?;
            let granted = self.0.wrap_handle(&handle, limits, label).await;
            granted.map(|granted| shown(&granted)).map_err(|error| match error {
                GrantError::NotFound => unknown(&new.handle),
                GrantError::Full | GrantError::TooFast { .. } => {
                    AdminError::TooMany(error.to_string())
                }
                other => refusal(&other),
            })
        })
    }

    fn show<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<CapabilityView, AdminError>> {
        Box::pin(async move {
            let info = self.0.status(&parse_handle(handle)?).await;
            info.map(|info| view(&info)).map_err(|error| failure_of(handle, error))
        })
    }

    fn change<'a>(
        &'a self,
        handle: &'a str,
        change: CapabilityChange,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let parsed = parse_handle(handle)?;
            let failed = |error| failure_of(handle, error);
            if let Some(label) = change.label {
                self.0.set_label(&parsed, parse_label(&label)?).await.map_err(failed)?;
            }
            if let Some(suspended) = change.suspended {
                self.0.set_suspended(&parsed, suspended).await.map_err(failed)?;
            }
            Ok(())
        })
    }

    fn audit(&self, follow: bool) -> BoxStream<'static, AuditView> {
        let caps = self.0.clone();
        // The state is the last event that was read; `None` once there is no more to be read.
        let pages = stream::unfold(Some(0), move |after| {
            let caps = caps.clone();
            async move {
                let after = after?;
                if follow {
                    caps.audit_wait(after).await;
                }
                let page = caps.audit_after(after);
                let last = page.events.last().map_or(after, |event| event.sequence);
                Some((stream::iter(audit_views(&page)), follow.then_some(last)))
            }
        });
        pages.flatten().boxed()
    }

    fn revoke<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Revoked, AdminError>> {
        Box::pin(async move {
            match self.0.revoke(&parse_handle(handle)?).await {
                Ok(buswire_belay::Revoked::Now) => Ok(Revoked::Newly),
                Ok(buswire_belay::Revoked::Already) => Ok(Revoked::Before),
                Err(error) => Err(failure_of(handle, error)),
            }
        })
    }

    fn list(&self, wanted: PageRequest) -> BoxFuture<'_, Result<Page<CapabilityView>, AdminError>> {
        Box::pin(async move {
            let page = self.0.list(wanted.after.as_deref(), wanted.limit).await.map_err(failure)?;
            Ok(Page { items: page.grants.iter().map(view).collect(), next: page.next })
        })
    }
}

fn request(new: NewCapability) -> Result<GrantRequest, AdminError> {
    let [target, limits] =
        [new.target, new.limits].map(|members| Value::Object(members).to_string());
    let label = new.label.unwrap_or_default();
    let request = GrantRequest::parse(&new.kind, &target, &limits, &label)
        .map_err(|error| AdminError::invalid(crate::cli::chain(&error)))?;
    Ok(GrantRequest { form: if new.uuid { IdForm::Uuid } else { IdForm::Token }, ..request })
}

fn shown(granted: &Granted) -> GrantedCapability {
    let text = |cap: &buswire_belay::Bcap| Secret::new(cap.expose().to_owned());
    GrantedCapability {
        cap: text(&granted.cap),
        control: text(&granted.control),
        handle: granted.handle.to_string(),
    }
}

fn unknown(handle: &str) -> AdminError {
    AdminError::missing("capability", handle)
}

fn parse_handle(handle: &str) -> Result<Handle, AdminError> {
    handle.parse().map_err(|_| unknown(handle))
}

fn parse_label(label: &str) -> Result<Label, AdminError> {
    label.parse().map_err(|error| AdminError::invalid(format!("label: {error}")))
}

fn audit_views(page: &AuditPage) -> Vec<AuditView> {
    let events = page.events.iter().enumerate();
    events.map(|(at, event)| audit_view(event, if at == 0 { page.missed } else { 0 })).collect()
}

fn audit_view(event: &AuditEvent, missed: u64) -> AuditView {
    let name = |by: &Option<Handle>| by.as_ref().map(ToString::to_string);
    AuditView {
        sequence: event.sequence,
        at: event.at,
        handle: event.handle.to_string(),
        kind: event.kind.to_string(),
        above: event.above.iter().map(ToString::to_string).collect(),
        action: match &event.action {
            AuditAction::Granted { by } => AuditActionView::Granted { by: name(by) },
            AuditAction::Wrapped { by } => AuditActionView::Wrapped { by: by.to_string() },
            AuditAction::Changed { by, suspended } => {
                AuditActionView::Changed { by: name(by), suspended: *suspended }
            }
            AuditAction::Revoked { by } => AuditActionView::Revoked { by: name(by) },
            AuditAction::Invoked(invoked) => AuditActionView::Invoked {
                control: invoked.control,
                method: invoked.method.as_str(),
                status: invoked.status,
                bytes: [invoked.bytes_in, invoked.bytes_out],
                took: invoked.took,
                peer: invoked.peer.as_str(),
            },
        },
        missed,
    }
}

/// A value as text. What is shown of a target has no capabilities.
fn json(value: &BcapValue) -> String {
    value.to_json().unwrap_or_default().to_string()
}

fn view(info: &GrantInfo) -> CapabilityView {
    let label = info.label.to_string();
    CapabilityView {
        handle: info.handle.to_string(),
        kind: info.kind.to_string(),
        label: (!label.is_empty()).then_some(label),
        state: match info.state {
            GrantState::Live => CapabilityState::Live,
            GrantState::Pending => CapabilityState::Pending,
            GrantState::Suspended => CapabilityState::Suspended,
            GrantState::Expired => CapabilityState::Expired,
            GrantState::Exhausted => CapabilityState::Exhausted,
            GrantState::Revoked => CapabilityState::Revoked,
        },
        parent: info.parent.as_ref().map(ToString::to_string),
        created_at: info.created,
        expires_at: info.expires,
        uses_left: info.uses_left,
        children: info.children,
        invocations: info.invocations,
        last_used_at: info.last_used,
        target: json(&info.target),
        limits: json(&info.limits.to_value()),
    }
}

fn refusal(error: &GrantError) -> AdminError {
    match error {
        GrantError::Store(store) => AdminError::from(store.clone()),
        refused => AdminError::invalid(crate::cli::chain(refused)),
    }
}

fn failure_of(handle: &str, error: BelayError) -> AdminError {
    if error == BelayError::NotFound { unknown(handle) } else { failure(error) }
}

fn failure(error: BelayError) -> AdminError {
    match error {
        BelayError::Store(store) => AdminError::from(store),
        other => AdminError::invalid(other.to_string()),
    }
}
