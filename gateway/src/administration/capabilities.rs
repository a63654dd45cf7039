//! The capabilities of Belay.

use buswire_belay::{
    AdminError as BelayError, CapServer, GrantError, GrantInfo, GrantRequest, GrantState, Handle,
};
use buswire_message::Secret;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::admin::ports::{
    AdminError, CapabilityAdmin, CapabilityState, CapabilityView, GrantedCapability, NewCapability,
    Page, PageRequest, Revoked,
};

/// Administers capabilities.
#[derive(Debug)]
pub(crate) struct CapabilityPort(pub(crate) CapServer);

impl CapabilityAdmin for CapabilityPort {
    fn grant(&self, new: NewCapability) -> BoxFuture<'_, Result<GrantedCapability, AdminError>> {
        Box::pin(async move {
            let granted = self.0.grant(request(new)?).await.map_err(|error| refusal(&error))?;
            let text = |cap: &buswire_belay::Bcap| Secret::new(cap.expose().to_owned());
            Ok(GrantedCapability {
                cap: text(&granted.cap),
                control: text(&granted.control),
                handle: granted.handle.to_string(),
            })
        })
    }

    fn revoke<'a>(&'a self, handle: &'a str) -> BoxFuture<'a, Result<Revoked, AdminError>> {
        Box::pin(async move {
            let unknown = || AdminError::NotFound(format!("there is no capability {handle}"));
            let handle: Handle = handle.parse().map_err(|_| unknown())?;
            match self.0.revoke(&handle).await {
                Ok(buswire_belay::Revoked::Now) => Ok(Revoked::Newly),
                Ok(buswire_belay::Revoked::Already) => Ok(Revoked::Before),
                Err(BelayError::NotFound) => Err(unknown()),
                Err(error) => Err(failure(error)),
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
    GrantRequest::parse(&new.kind, &target, &limits, &label)
        .map_err(|error| AdminError::Invalid(crate::cli::chain(&error)))
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
    }
}

fn refusal(error: &GrantError) -> AdminError {
    match error {
        GrantError::Store(store) => AdminError::from(store.clone()),
        refused => AdminError::Invalid(crate::cli::chain(refused)),
    }
}

fn failure(error: BelayError) -> AdminError {
    match error {
        BelayError::Store(store) => AdminError::from(store),
        other => AdminError::Invalid(other.to_string()),
    }
}
