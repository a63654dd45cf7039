//! Routes.

use buswire_proto::v1;
use tonic::Status;

use super::{Fields, non_empty, optional_duration, to_wire_duration};
use crate::admin::ports::{NewRetry, NewRoute, RouteState, RouteView};

/// The route that a request describes.
pub(crate) fn new_route(request: v1::CreateRouteRequest) -> Result<NewRoute, Status> {
    let retry = retry(request.retry.unwrap_or_default())?;
    Ok(NewRoute {
        name: request.name,
        scope: request.scope,
        sink: request.sink,
        reply_type: non_empty(request.reply_type),
        from: non_empty(request.from).unwrap_or_else(|| "now".to_owned()),
        retry,
    })
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
    }
}
