//! Messages as they are published, as server-sent events.
//!
//! A stream is a reader of the buses that holds one message at a time: a page that does not keep up
//! gets its messages later. It ends when the gateway begins to stop.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::{StreamExt as _, future};
use tonic::Status;

use super::{Console, api::Wanted, error::Failed, json::MessageJson};
use crate::admin::convert;

/// How often a quiet stream says that it is there, so that proxies leave it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn messages(
    State(console): State<Console>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failed> {
    let state = console.state();
    let (scope, since) = convert::messages::stream(&wanted.into_wire(), &*state.clock)?;
    if scope.buses().next().is_none() {
        return Err(buswire_bus::BusError::NoBus.into());
    }
    let permit = Arc::clone(&console.0.streams)
        .try_acquire_owned()
        .map_err(|_| Status::resource_exhausted("too many streams are open"))?;
    let stop = state.shutdown.clone();
    let events = state
        .buses
        .subscribe(scope, since)
        // A bus that was deleted ends the stream; the page begins anew and is told.
        .take_while(|item| future::ready(item.is_ok()))
        .filter_map(|item| future::ready(item.ok()))
        .map(move |message| {
            let _held = &permit;
            let json = serde_json::to_string(&MessageJson::without_payload(&message));
            Ok::<_, Infallible>(Event::default().data(json.unwrap_or_default()))
        })
        .take_until(async move { stop.cancelled().await });
    let alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}
