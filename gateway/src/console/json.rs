//! What the page shows, as JSON.
//!
//! Payloads are spliced in as they were published. Never here: a secret; the views have none.

use buswire_bus::BusInfo;
use buswire_mdp::core::{ServiceInfo, ServiceKind, WorkerInfo};
use buswire_message::{Door, Message, Timestamp};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use crate::admin::ports::{
    AgentView, CapabilityState, CapabilityView, DeadLetterView, HopView, PassageState, PassageView,
    RouteState, RouteView, SystemView,
};

/// A message; `payload` is left out where it is not asked for.
#[derive(Serialize)]
pub(super) struct MessageJson {
    id: String,
    bus: String,
    channel: String,
    r#type: String,
    source: String,
    sticky: bool,
    published_at: Value,
    expires_at: Value,
    door: Option<&'static str>,
    via: Vec<String>,
    in_reply_to: Option<String>,
    traceparent: Option<String>,
    content_type: Option<String>,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
}

impl MessageJson {
    pub(super) fn with_payload(message: &Message) -> Self {
        let payload = RawValue::from_string(message.payload.as_str().to_owned()).ok();
        Self { payload, ..Self::without_payload(message) }
    }

    pub(super) fn without_payload(message: &Message) -> Self {
        let headers = &message.headers;
        Self {
            id: message.id.to_string(),
            bus: message.bus.to_string(),
            channel: message.channel.to_string(),
            r#type: message.kind.to_string(),
            source: message.source.to_string(),
            sticky: message.sticky,
            published_at: time(message.id.timestamp()),
            expires_at: time(message.expires_at),
            door: headers.door.map(Door::as_str),
            via: headers.via.iter().map(ToString::to_string).collect(),
            in_reply_to: headers.in_reply_to.map(|id| id.to_string()),
            traceparent: headers.traceparent.map(|trace| trace.to_string()),
            content_type: headers.content_type.as_ref().map(|kind| kind.as_str().to_owned()),
            bytes: message.payload.len(),
            payload: None,
        }
    }
}

fn time(at: Timestamp) -> Value {
    json!(at.to_string())
}

fn maybe(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, time)
}

pub(super) fn system(system: &SystemView, now: Timestamp) -> Value {
    let listener = |l: &crate::admin::ports::ListenerView| json!([l.name, l.address]);
    json!({
        "version": system.version,
        "started_at": time(system.started_at),
        "now": time(now),
        "store": system.store,
        "ready": system.ready,
        "listeners": system.listeners.iter().map(listener).collect::<Vec<_>>(),
        "counts": system.counts.iter().map(|(name, n)| ((*name).to_owned(), json!(n)))
            .collect::<serde_json::Map<_, _>>(),
    })
}

pub(super) fn bus(bus: &BusInfo) -> Value {
    json!({
        "name": bus.name.to_string(),
        "retention_s": bus.retention.default_time().as_secs(),
        "sticky_retention_s": bus.retention.maximum_time().as_secs(),
        "max_messages": bus.retention.messages_per_channel_max(),
        "messages": bus.messages,
        "channels": bus.channels,
    })
}

pub(super) fn route(route: &RouteView) -> Value {
    let (state, why) = match &route.state {
        RouteState::Running => ("running", None),
        RouteState::Paused => ("paused", None),
        RouteState::Blocked(why) => ("blocked", Some(why)),
        RouteState::Waiting => ("waiting", None),
    };
    json!({
        "name": route.name,
        "scope": route.scope,
        "sink": route.sink,
        "map": route.map,
        "reply_type": route.reply_type,
        "state": state,
        "blocked_reason": why,
        "owner": route.owner,
        "delivered": route.delivered,
        "failed_attempts": route.failed_attempts,
        "pending": route.pending,
        "dead_letters": route.dead_letters_kept,
        "attempts_max": route.retry.attempts_max,
        "timeout_ms": u64::try_from(route.retry.timeout.as_millis()).unwrap_or(u64::MAX),
    })
}

fn failures(all: &[(Timestamp, String)]) -> Value {
    all.iter().map(|(at, error)| json!({"at": time(*at), "error": error})).collect()
}

/// A dead letter; its payload is there if one is asked for.
pub(super) fn dead_letter(letter: &DeadLetterView, with_payload: bool) -> Value {
    let message = if with_payload {
        MessageJson::with_payload(&letter.message)
    } else {
        MessageJson::without_payload(&letter.message)
    };
    json!({
        "message": message,
        "attempts": letter.attempts,
        "given_up_at": time(letter.given_up_at),
        "failures": failures(&letter.failures),
    })
}

pub(super) fn hop(hop: &HopView) -> Value {
    json!({
        "message": MessageJson::without_payload(&hop.message),
        "passages": hop.passages.iter().map(passage).collect::<Vec<_>>(),
    })
}

fn passage(passage: &PassageView) -> Value {
    let (state, ended_at) = match passage.state {
        PassageState::Pending => ("pending", None),
        PassageState::Delivered(at) => ("delivered", Some(at)),
        PassageState::Dead(at) => ("dead", Some(at)),
        PassageState::Skipped => ("skipped", None),
        PassageState::Passed => ("passed", None),
    };
    json!({
        "route": passage.route,
        "sink": passage.sink,
        "state": state,
        "ended_at": maybe(ended_at),
        "attempts": passage.attempts,
        "failures": failures(&passage.failures),
        "results": passage.results.iter().map(hop).collect::<Vec<_>>(),
    })
}

pub(super) fn agent(agent: &AgentView) -> Value {
    json!({
        "id": agent.id,
        "connected": agent.connected,
        "seen_at": time(agent.seen_at),
        "channels": agent.channels,
        "pending": agent.pending,
        "pending_since": maybe(agent.pending_since),
    })
}

pub(super) fn service(service: &ServiceInfo) -> Value {
    json!({
        "name": String::from_utf8_lossy(service.name.as_bytes()),
        "paused": service.paused,
        "workers": match service.kind {
            ServiceKind::Local => None,
            ServiceKind::Remote => Some(service.workers),
        },
        "busy": service.busy,
        "queued": service.queued,
    })
}

pub(super) fn worker(worker: &WorkerInfo) -> Value {
    json!({
        "service": String::from_utf8_lossy(worker.service.as_bytes()),
        "state": format!("{:?}", worker.state).to_lowercase(),
        "answered": worker.answered,
    })
}

pub(super) fn capability(capability: &CapabilityView) -> Value {
    let state = match capability.state {
        CapabilityState::Live => "live",
        CapabilityState::Suspended => "suspended",
        CapabilityState::Expired => "expired",
        CapabilityState::Exhausted => "exhausted",
        CapabilityState::Revoked => "revoked",
        CapabilityState::Pending => "pending",
    };
    json!({
        "handle": capability.handle,
        "kind": capability.kind,
        "label": capability.label,
        "state": state,
        "parent": capability.parent,
        "created_at": time(capability.created_at),
        "expires_at": maybe(capability.expires_at),
        "uses_left": capability.uses_left,
    })
}
