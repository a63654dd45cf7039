//! User agents, subscriptions and inbound endpoints of SimplePush.

use buswire_message::{Secret, Version};
use buswire_proto::v1;
use tonic::Status;

use super::{Fields, to_wire_time};
use crate::admin::{
    ports::{
        AgentView, CreatedInbound, InboundView, NewInbound, PushChannelView, PushStatusView,
        PushTarget, SubscriptionView,
    },
    status,
};

/// What a request asks to be notified, and of which version.
pub(crate) fn notification(
    request: v1::NotifyRequest,
) -> Result<(PushTarget, Option<Version>), Status> {
    let version = match request.version.map(Version::new) {
        Some(None) => return Err(status::invalid(["version: 1 to 2^63 - 1"])),
        Some(given) => given,
        None => None,
    };
    let v1::NotifyRequest { endpoint, agent, channel, .. } = request;
    let target = match (endpoint.is_empty(), agent.is_empty(), channel.is_empty()) {
        (false, true, true) => PushTarget::Endpoint(Secret::new(endpoint)),
        (true, false, false) => PushTarget::Channel { agent, channel },
        _ => return Err(status::invalid(["give an endpoint, or an agent and a channel"])),
    };
    Ok((target, version))
}

/// A user agent on the wire.
pub(crate) fn agent(view: AgentView) -> v1::Agent {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    v1::Agent {
        id: view.id,
        connected: view.connected,
        created_at: Some(to_wire_time(view.created_at)),
        seen_at: Some(to_wire_time(view.seen_at)),
        channels: count(view.channels),
        pending: count(view.pending),
        pending_since: view.pending_since.map(to_wire_time),
    }
}

/// A channel on the wire.
pub(crate) fn channel(view: PushChannelView) -> v1::PushChannel {
    v1::PushChannel {
        channel: view.channel,
        version: view.pending.map(|(version, _)| version.get()),
        pending_since: view.pending.map(|(_, since)| to_wire_time(since)),
    }
}

/// What a gateway holds, on the wire.
pub(crate) fn status(view: PushStatusView) -> v1::GetPushStatusResponse {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    v1::GetPushStatusResponse {
        connections: count(view.connections),
        agents: count(view.agents),
        draining: view.draining,
        store_unavailable: view.store_unavailable.unwrap_or_default(),
    }
}

/// A subscription on the wire.
pub(crate) fn subscription(view: SubscriptionView) -> v1::Subscription {
    v1::Subscription {
        id: view.id,
        scope: view.scope,
        agent: view.agent,
        channel: view.channel,
        grant: view.grant,
        created_at: Some(to_wire_time(view.created_at)),
    }
}

/// The inbound endpoint that a request describes.
pub(crate) fn new_inbound(request: &v1::CreateInboundRequest) -> Result<NewInbound, Status> {
    let mut fields = Fields::default();
    let bus = fields.parse("bus", &request.bus);
    let channel = fields.parse("channel", &request.channel);
    let kind = fields.parse("type", &request.r#type);
    let source = fields.parse_optional("source", &request.source);
    fields.check()?;
    match (bus, channel, kind) {
        (Some(bus), Some(channel), Some(kind)) => Ok(NewInbound { bus, channel, kind, source }),
        _ => Err(fields.status()),
    }
}

/// An inbound endpoint that was just made, on the wire.
pub(crate) fn created_inbound(made: &CreatedInbound) -> v1::CreateInboundResponse {
    v1::CreateInboundResponse { id: made.id.clone(), endpoint: made.endpoint.expose().clone() }
}

/// An inbound endpoint on the wire.
pub(crate) fn inbound(view: InboundView) -> v1::Inbound {
    v1::Inbound {
        id: view.id,
        bus: view.bus.to_string(),
        channel: view.channel.to_string(),
        r#type: view.kind.to_string(),
        source: view.source.to_string(),
        grant: view.grant.unwrap_or_default(),
        created_at: Some(to_wire_time(view.created_at)),
    }
}
