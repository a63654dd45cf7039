//! Capabilities.

use buswire_proto::v1;
use serde_json::{Map, Value};
use tonic::Status;

use super::{Fields, non_empty, to_wire_duration, to_wire_time};
use crate::admin::ports::{
    AuditActionView, AuditView, CapabilityChange, CapabilityState, CapabilityView, NewCapability,
    NewWrap,
};

/// The capability that a request asks for.
pub(crate) fn new_capability(request: v1::GrantCapabilityRequest) -> Result<NewCapability, Status> {
    let mut fields = Fields::default();
    let uuid = request.form() == v1::LinkForm::Uuid;
    let kind = fields.require("kind", request.kind);
    let target = fields.take("target", object(&request.target));
    let limits = fields.take("limits", object(&request.limits));
    match (kind, target, limits) {
        (Some(kind), Some(target), Some(limits)) => {
            Ok(NewCapability { kind, target, limits, uuid, label: non_empty(request.label) })
        }
        _ => Err(fields.status()),
    }
}

/// The narrower capability that a request asks for.
pub(crate) fn new_wrap(request: v1::WrapCapabilityRequest) -> Result<NewWrap, Status> {
    let mut fields = Fields::default();
    let handle = fields.require("handle", request.handle);
    let limits = fields.take("limits", object(&request.limits));
    match (handle, limits) {
        (Some(handle), Some(limits)) => {
            Ok(NewWrap { handle, limits, label: non_empty(request.label) })
        }
        _ => Err(fields.status()),
    }
}

/// The change that a request asks for. A field that the mask names and the request leaves open goes back to
/// nothing.
pub(crate) fn change(request: v1::UpdateCapabilityRequest) -> Result<CapabilityChange, Status> {
    let v1::UpdateCapabilityRequest { label, suspended, update_mask, .. } = request;
    let paths = update_mask.unwrap_or_default().paths;
    if paths.is_empty() {
        return Ok(CapabilityChange { label, suspended });
    }
    super::check_mask(&paths, &["label", "suspended"])?;
    let is_named = |path: &str| paths.iter().any(|named| named == path);
    Ok(CapabilityChange {
        label: is_named("label").then(|| label.unwrap_or_default()),
        suspended: is_named("suspended").then(|| suspended.unwrap_or_default()),
    })
}

fn object(text: &str) -> Result<Map<String, Value>, &'static str> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    // The parser's own error would quote what may be secret.
    serde_json::from_str(text).map_err(|_| "not a JSON object")
}

/// A capability on the wire.
pub(crate) fn to_wire(capability: CapabilityView) -> v1::Capability {
    let state = match capability.state {
        CapabilityState::Live => v1::CapabilityState::Live,
        CapabilityState::Suspended => v1::CapabilityState::Suspended,
        CapabilityState::Expired => v1::CapabilityState::Expired,
        CapabilityState::Exhausted => v1::CapabilityState::Exhausted,
        CapabilityState::Revoked => v1::CapabilityState::Revoked,
        CapabilityState::Pending => v1::CapabilityState::Pending,
    };
    v1::Capability {
        handle: capability.handle,
        kind: capability.kind,
        label: capability.label.unwrap_or_default(),
        state: state.into(),
        parent: capability.parent.unwrap_or_default(),
        created_at: Some(to_wire_time(capability.created_at)),
        expires_at: capability.expires_at.map(to_wire_time),
        uses_left: capability.uses_left,
        children: capability.children,
        invocations: capability.invocations,
        last_used_at: capability.last_used_at.map(to_wire_time),
        target: capability.target,
        limits: capability.limits,
    }
}

/// An event of the record on the wire.
pub(crate) fn event_to_wire(event: AuditView) -> v1::TailAuditResponse {
    let mut wire = v1::AuditEvent {
        sequence: event.sequence,
        at: Some(to_wire_time(event.at)),
        handle: event.handle,
        kind: event.kind,
        above: event.above,
        ..v1::AuditEvent::default()
    };
    let (action, by) = match event.action {
        AuditActionView::Granted { by } => (v1::AuditAction::Granted, by),
        AuditActionView::Wrapped { by } => (v1::AuditAction::Wrapped, Some(by)),
        AuditActionView::Changed { by, suspended } => {
            wire.suspended = suspended;
            (v1::AuditAction::Changed, by)
        }
        AuditActionView::Revoked { by } => (v1::AuditAction::Revoked, by),
        AuditActionView::Invoked { control, method, status, bytes, took, peer } => {
            let [bytes_in, bytes_out] = bytes;
            wire.invocation = Some(v1::AuditInvocation {
                control,
                method: method.to_owned(),
                status: status.into(),
                bytes_in,
                bytes_out,
                took: Some(to_wire_duration(took)),
                peer: peer.to_owned(),
            });
            (v1::AuditAction::Invoked, None)
        }
    };
    wire.set_action(action);
    wire.by = by.unwrap_or_default();
    v1::TailAuditResponse { event: Some(wire), missed: event.missed }
}
