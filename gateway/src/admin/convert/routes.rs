//! Routes, and what they gave up.

use buswire_message::{MessageId, Timestamp};
use buswire_proto::v1;
use tonic::Status;

use super::{Fields, messages, non_empty, optional_duration, to_wire_duration, to_wire_time};
use crate::admin::{
    ports::{ChangedRoute, DeadLetterView, NewRetry, NewRoute, RouteState, RouteView},
    status,
};

/// The route that a request describes.
pub(crate) fn new_route(request: v1::CreateRouteRequest) -> Result<NewRoute, Status> {
    let retry = retry(request.retry.unwrap_or_default())?;
    Ok(NewRoute {
        name: request.name,
        scope: request.scope,
        sink: request.sink,
        reply_type: non_empty(request.reply_type),
        from: non_empty(request.from).unwrap_or_else(|| "now".to_owned()),
        map: request.map,
        retry,
    })
}

/// What of a route can be changed.
const PATHS: [&str; 9] = [
    "scope",
    "sink",
    "reply_type",
    "map",
    "retry",
    "retry.first_delay",
    "retry.longest_delay",
    "retry.attempts_max",
    "retry.timeout",
];

/// The change of a route that a request describes.
pub(crate) fn changed_route(request: v1::UpdateRouteRequest) -> Result<ChangedRoute, Status> {
    let paths = request.update_mask.unwrap_or_default().paths;
    if paths.is_empty() {
        return Err(status::invalid(["update_mask: name at least one field"]));
    }
    super::check_mask(&paths, &PATHS)?;
    let is_named = |path: &str| paths.iter().any(|named| named == path);
    let retried = |path: &str| is_named("retry") || is_named(path);
    let retry = retry(request.retry.unwrap_or_default())?;
    Ok(ChangedRoute {
        scope: is_named("scope").then_some(request.scope),
        sink: is_named("sink").then_some(request.sink),
        reply_type: is_named("reply_type").then(|| non_empty(request.reply_type)),
        map: is_named("map").then_some(request.map),
        retry: NewRetry {
            first_delay: retry.first_delay.filter(|_| retried("retry.first_delay")),
            longest_delay: retry.longest_delay.filter(|_| retried("retry.longest_delay")),
            attempts_max: retry.attempts_max.filter(|_| retried("retry.attempts_max")),
            timeout: retry.timeout.filter(|_| retried("retry.timeout")),
        },
    })
}

/// The ids of messages that a request names.
pub(crate) fn ids(texts: &[String], most: usize) -> Result<Vec<MessageId>, Status> {
    let mut fields = Fields::default();
    if texts.is_empty() || texts.len() > most {
        return Err(status::invalid([format!("ids: 1 to {most}")]));
    }
    let ids = texts.iter().filter_map(|id| fields.parse("ids", id)).collect();
    fields.check().map(|()| ids)
}

/// An attempt that failed, on the wire.
pub(super) fn failure_to_wire((at, error): &(Timestamp, String)) -> v1::DeliveryFailure {
    v1::DeliveryFailure { at: Some(to_wire_time(*at)), error: error.clone() }
}

/// A dead letter on the wire.
pub(crate) fn letter_to_wire(letter: &DeadLetterView) -> v1::DeadLetter {
    v1::DeadLetter {
        message: Some(messages::to_wire(&letter.message)),
        attempts: letter.attempts,
        failures: letter.failures.iter().map(failure_to_wire).collect(),
        given_up_at: Some(to_wire_time(letter.given_up_at)),
    }
}

fn retry(wanted: v1::Retry) -> Result<NewRetry, Status> {
    let mut fields = Fields::default();
    let retry = NewRetry {
        first_delay: optional_duration(&mut fields, "retry.first_delay", wanted.first_delay),
        longest_delay: optional_duration(&mut fields, "retry.longest_delay", wanted.longest_delay),
        attempts_max: wanted.attempts_max,
        timeout: optional_duration(&mut fields, "retry.timeout", wanted.timeout),
    };
    fields.check().map(|()| retry)
}

/// A route on the wire.
pub(crate) fn to_wire(route: RouteView) -> v1::Route {
    let (state, blocked_reason) = match route.state {
        RouteState::Running => (v1::RouteState::Running, String::new()),
        RouteState::Paused => (v1::RouteState::Paused, String::new()),
        RouteState::Blocked(why) => (v1::RouteState::Blocked, why),
        RouteState::Waiting => (v1::RouteState::Waiting, String::new()),
    };
    v1::Route {
        name: route.name,
        scope: route.scope,
        sink: route.sink,
        reply_type: route.reply_type.unwrap_or_default(),
        retry: Some(v1::Retry {
            first_delay: Some(to_wire_duration(route.retry.first_delay)),
            longest_delay: Some(to_wire_duration(route.retry.longest_delay)),
            attempts_max: Some(route.retry.attempts_max),
            timeout: Some(to_wire_duration(route.retry.timeout)),
        }),
        state: state.into(),
        blocked_reason,
        delivered: route.delivered,
        failed_attempts: route.failed_attempts,
        dead_letters: route.dead_letters,
        pending: route.pending,
        map: route.map,
        dead_letters_kept: route.dead_letters_kept,
        revision: route.revision,
        owner: route.owner.unwrap_or_default(),
    }
}
