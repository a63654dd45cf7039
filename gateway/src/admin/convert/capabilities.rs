//! Capabilities.

use buswire_proto::v1;
use serde_json::{Map, Value};
use tonic::Status;

use super::{Fields, non_empty, to_wire_time};
use crate::admin::ports::{CapabilityState, CapabilityView, NewCapability};

/// The capability that a request asks for.
pub(crate) fn new_capability(request: v1::GrantCapabilityRequest) -> Result<NewCapability, Status> {
    let mut fields = Fields::default();
    let kind = fields.require("kind", request.kind);
    let target = fields.take("target", object(&request.target));
    let limits = fields.take("limits", object(&request.limits));
    match (kind, target, limits) {
        (Some(kind), Some(target), Some(limits)) => {
            Ok(NewCapability { kind, target, limits, label: non_empty(request.label) })
        }
        _ => Err(fields.status()),
    }
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
    }
}
