//! Posting a 2.0 message (Backplane §10.5).

use std::sync::Arc;

use axum::{body::Body, response::Response};
use buswire_bus::PublishError;
use buswire_message::{BusName, ChannelName, Door, Realm, RetentionError, Subject, Timestamp};
use http::{StatusCode, request::Parts};

use super::{
    is_secure,
    request::{self, has_type, read_body},
    response,
    v2_error::{V2Error, refuse},
    v2_messages::{access_token, params},
};
use crate::{
    rules::token::Token,
    state::{State, buses::BusFacts, clients::Client, records::Channel, tokens::Bearer},
    wire::upstream::{Content, Upstream},
};

/// `POST /v2/message`.
pub(crate) async fn post(state: &State, parts: &Parts, body: Body) -> Response {
    match publish(state, parts, body).await {
        Ok(()) => response::empty(StatusCode::CREATED),
        Err(error) => refuse(&error),
    }
}

async fn publish(state: &State, parts: &Parts, body: Body) -> Result<(), V2Error> {
    if !is_secure(state, parts) {
        return Err(V2Error::Insecure);
    }
    let verified = access_token(state, parts, &params(parts)).await?;
    let Bearer::Privileged(client) = &verified.bearer else {
        return Err(V2Error::TokenType(verified.token.kind));
    };
    if !has_type(&parts.headers, "application/json") {
        return Err(V2Error::ContentType);
    }
    let body = read_body(body, state.config.limits.body_bytes_max).await?;
    let upstream = Upstream::parse(&body)?;
    let place = bound(state, &upstream).await?;
    let content = upstream.content()?;
    let expires_at = expiry(state, &place.bus, &content)?;
    if !in_scope(&verified.token, client, &place, &content) {
        return Err(V2Error::OutOfScope);
    }
    keep(state, &place, content.sticky, expires_at).await?;
    let (name, limit_name) = (place.channel_name.clone(), place.channel_name);
    let mut message = content.into_message(name, client.source_url.clone());
    message.headers.traceparent = request::traceparent(&parts.headers);
    message.headers.door = Some(Door::Backplane2);
    match state.buses.publish(&place.bus.name, message).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(error, &limit_name)),
    }
}

/// A channel and the bus that it is, or is to be, bound to.
struct Place {
    bus: Arc<BusFacts>,
    channel_name: ChannelName,
    channel: Arc<Channel>,
}

/// The channel and the bus of a message, if they exist and belong together (§7.2).
async fn bound(state: &State, upstream: &Upstream<'_>) -> Result<Place, V2Error> {
    let bus = upstream.bus().and_then(|bus| BusName::new(Realm::V2, &bus).ok());
    let channel_name = upstream.channel().and_then(|channel| channel.parse().ok());
    let (Some(bus), Some(channel_name)) = (bus, channel_name) else {
        return Err(V2Error::Binding);
    };
    let facts = state.bus_facts(&bus).await.map_err(|error| V2Error::unavailable(&error))?;
    let bus = facts.ok_or(V2Error::Binding)?;
    let channel = state.channel(&channel_name, &bus).await;
    let channel = channel.map_err(|error| V2Error::unavailable(&error))?;
    let channel = channel.ok_or(V2Error::Binding)?;
    Ok(Place { bus, channel_name, channel })
}

fn expiry(state: &State, bus: &BusFacts, content: &Content) -> Result<Timestamp, V2Error> {
    let expiry = bus.retention.expiry(state.now(), content.sticky, content.expires_at);
    expiry.map_err(|error| match (error, content.expires_at) {
        (RetentionError::TooLate, Some(asked)) => V2Error::ExpireTooFar {
            asked: asked.to_rfc3339().to_string(),
            max_seconds: bus.retention.maximum_time().as_secs(),
        },
        _ => V2Error::ExpirePast,
    })
}

/// A token's whole scope holds for posting too (§8.3).
fn in_scope(token: &Token, client: &Client, place: &Place, content: &Content) -> bool {
    token.scope.matches(&Subject {
        bus: &place.bus.name,
        channel: place.channel_name.as_str(),
        kind: content.kind.as_str(),
        source: client.source_url.as_str(),
        sticky: content.sticky,
        message_url: None,
    })
}

/// Lets the channel live as long as the message at least, and longer than a sticky one (§7.3), and
/// binds it if it is not bound yet. It is done before the message is published, so that no message is
/// ever in a channel that is gone or of another bus.
async fn keep(
    state: &State,
    place: &Place,
    sticky: bool,
    expires_at: Timestamp,
) -> Result<(), V2Error> {
    let margin = state.config.lifetimes.channel_margin;
    let until = if sticky { expires_at.saturating_add(margin) } else { expires_at };
    if place.channel.bus.is_some() && place.channel.expires_at >= until {
        return Ok(());
    }
    match state.keep_channel(&place.channel_name, &place.bus, until).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(V2Error::Binding),
        Err(error) => Err(V2Error::unavailable(&error)),
    }
}

fn refused(error: PublishError, channel: &ChannelName) -> V2Error {
    match error {
        PublishError::UnknownBus => V2Error::Binding,
        PublishError::ChannelFull { limit } => {
            V2Error::ChannelFull { limit, channel: channel.to_string() }
        }
        PublishError::Expiry(_) => V2Error::ExpirePast,
        PublishError::PayloadTooLarge { .. } | PublishError::ListTooLarge { .. } => {
            V2Error::TooLarge
        }
        other => V2Error::unavailable(&other),
    }
}
