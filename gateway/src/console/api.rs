//! What the page asks for.
//!
//! Each handler reads its parameters, asks a port or the buses, and shows the answer.

use std::{collections::VecDeque, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    routing::{delete, get, post},
};
use buswire_bus::BusError;
use buswire_message::{MessageId, Scope};
use buswire_proto::v1;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Console,
    error::Failed,
    json::{self as show, MessageJson},
    stream,
};
use crate::admin::{
    AdminState, convert,
    ports::{PageRequest, Ports},
    status,
};

/// The most items that one answer holds.
const ITEMS_MAX: usize = 200;
/// How many messages are read at once.
const READ_MAX: usize = 1000;

type Answer = Result<Json<Value>, Failed>;

pub(super) fn router() -> Router<Console> {
    Router::new()
        .route("/overview", get(overview))
        .route("/messages", get(messages))
        .route("/messages/stream", get(stream::messages))
        .route("/messages/{id}", get(message))
        .route("/traces/{id}", get(trace))
        .route("/routes/{name}/pause", post(pause))
        .route("/routes/{name}/resume", post(resume))
        .route("/routes/{name}/dead-letters", get(letters))
        .route("/routes/{name}/dead-letters/{id}", get(letter).delete(drop_letter))
        .route("/routes/{name}/dead-letters/{id}/replay", post(replay))
        .route("/push", get(push))
        .route("/broker", get(broker))
        .route("/capabilities", get(capabilities))
        .route("/capabilities/{handle}", delete(revoke))
}

impl Console {
    pub(super) fn state(&self) -> &AdminState {
        &self.0.state
    }
}

/// A door, if this gateway has it.
fn door<'a, T: ?Sized>(
    console: &'a Console,
    what: &str,
    of: impl Fn(&'a Ports) -> &'a Option<Arc<T>>,
) -> Result<&'a Arc<T>, Failed> {
    of(&console.state().ports).as_ref().ok_or_else(|| status::absent(what).into())
}

/// Everything that the first view shows, in one answer: it is asked for every other second.
async fn overview(State(console): State<Console>) -> Answer {
    let state = console.state();
    let system = door(&console, "status", |ports| &ports.system)?.status().await?;
    let routes = door(&console, "routes", |ports| &ports.routes)?.list().await?;
    let buses = state.buses.list(None).await?;
    let published: serde_json::Map<_, _> = state
        .buses
        .published()
        .into_iter()
        .map(|(door, count)| (door.map_or("routes", |door| door.as_str()).to_owned(), json!(count)))
        .collect();
    Ok(Json(json!({
        "system": show::system(&system, state.clock.now()),
        "published": published,
        "buses": buses.iter().map(show::bus).collect::<Vec<_>>(),
        "routes": routes.iter().map(show::route).collect::<Vec<_>>(),
    })))
}

/// Which messages, and from where on.
#[derive(Deserialize)]
pub(super) struct Wanted {
    scope: String,
    #[serde(default)]
    since: String,
}

impl Wanted {
    pub(super) fn into_wire(self) -> v1::SubscribeRequest {
        v1::SubscribeRequest { scope: self.scope, since: self.since }
    }
}

/// The newest messages after `since`, oldest first, and where to go on.
async fn messages(State(console): State<Console>, Query(wanted): Query<Wanted>) -> Answer {
    let Wanted { scope, since } = wanted;
    let (scope, mut cursor) =
        convert::messages::page(&v1::ReadRequest { scope, since, page_size: 0 })?;
    let mut newest = VecDeque::with_capacity(ITEMS_MAX);
    loop {
        let page = console.state().buses.read(&scope, cursor, READ_MAX).await?;
        cursor = page.next;
        newest.extend(page.messages);
        newest.drain(..newest.len().saturating_sub(ITEMS_MAX));
        if !page.more {
            break;
        }
    }
    let messages = newest.iter().map(|message| MessageJson::without_payload(message));
    let messages: Vec<_> = messages.collect();
    Ok(Json(json!({"messages": messages, "next": convert::messages::cursor_to_wire(cursor)})))
}

async fn message(State(console): State<Console>, Path(id): Path<String>) -> Answer {
    let id: MessageId = convert::parse("id", &id)?;
    let buses = &console.state().buses;
    for bus in buses.list(None).await? {
        match buses.message(id, &Scope::bus(&bus.name)).await {
            Ok(Some(message)) => return Ok(Json(json!(MessageJson::with_payload(&message)))),
            // A bus that was deleted in between has no messages.
            Ok(None) | Err(BusError::UnknownBus(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(tonic::Status::not_found(format!("no bus has the message {id} any more")).into())
}

async fn trace(State(console): State<Console>, Path(id): Path<String>) -> Answer {
    let id = convert::parse("id", &id)?;
    let traces = door(&console, "traces", |ports| &ports.traces)?;
    Ok(Json(show::hop(&traces.trace(id).await?)))
}

async fn pause(State(console): State<Console>, Path(name): Path<String>) -> Answer {
    let routes = door(&console, "routes", |ports| &ports.routes)?;
    routes.pause(&name, None).await?;
    Ok(Json(show::route(&routes.get(&name).await?)))
}

async fn resume(State(console): State<Console>, Path(name): Path<String>) -> Answer {
    let routes = door(&console, "routes", |ports| &ports.routes)?;
    routes.resume(&name, None).await?;
    Ok(Json(show::route(&routes.get(&name).await?)))
}

/// Where a listing goes on.
#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: String,
}

async fn letters(
    State(console): State<Console>,
    Path(name): Path<String>,
    Query(After { after }): Query<After>,
) -> Answer {
    let port = door(&console, "dead letters", |ports| &ports.dead_letters)?;
    let after = convert::non_empty(after);
    let after = after.map(|id| convert::parse("after", &id)).transpose()?;
    let page = port.list(&name, after, ITEMS_MAX).await?;
    let letters: Vec<_> =
        page.letters.iter().map(|letter| show::dead_letter(letter, false)).collect();
    let unreadable: Vec<_> = page.unreadable.iter().map(ToString::to_string).collect();
    Ok(Json(json!({"dead_letters": letters, "unreadable": unreadable, "more": page.more})))
}

async fn letter(
    State(console): State<Console>,
    Path((name, id)): Path<(String, String)>,
) -> Answer {
    let port = door(&console, "dead letters", |ports| &ports.dead_letters)?;
    let letter = port.get(&name, convert::parse("id", &id)?).await?;
    Ok(Json(show::dead_letter(&letter, true)))
}

async fn drop_letter(
    State(console): State<Console>,
    Path((name, id)): Path<(String, String)>,
) -> Answer {
    let port = door(&console, "dead letters", |ports| &ports.dead_letters)?;
    port.drop_one(&name, convert::parse("id", &id)?).await?;
    Ok(Json(json!({})))
}

async fn replay(
    State(console): State<Console>,
    Path((name, id)): Path<(String, String)>,
) -> Answer {
    let port = door(&console, "dead letters", |ports| &ports.dead_letters)?;
    let error = port.replay(&name, convert::parse("id", &id)?).await?;
    Ok(Json(json!({"delivered": error.is_none(), "error": error})))
}

async fn push(State(console): State<Console>) -> Answer {
    let port = door(&console, "SimplePush", |ports| &ports.push)?;
    let status = port.status();
    let page = port.agents(PageRequest { after: None, limit: ITEMS_MAX }).await?;
    Ok(Json(json!({
        "connections": status.connections,
        "connected": status.agents,
        "draining": status.draining,
        "store_unavailable": status.store_unavailable,
        "agents": page.items.iter().map(show::agent).collect::<Vec<_>>(),
        "more": page.next.is_some(),
    })))
}

async fn broker(State(console): State<Console>) -> Answer {
    let port = door(&console, "broker", |ports| &ports.broker)?;
    let mut services = port.services().await?;
    services.sort_by(|a, b| a.name.cmp(&b.name));
    let workers = port.workers().await?;
    Ok(Json(json!({
        "services": services.iter().take(ITEMS_MAX).map(show::service).collect::<Vec<_>>(),
        "workers": workers.iter().take(ITEMS_MAX).map(show::worker).collect::<Vec<_>>(),
    })))
}

async fn capabilities(
    State(console): State<Console>,
    Query(After { after }): Query<After>,
) -> Answer {
    let port = door(&console, "capabilities", |ports| &ports.capabilities)?;
    let wanted = PageRequest { after: convert::non_empty(after), limit: ITEMS_MAX };
    let page = port.list(wanted).await?;
    Ok(Json(json!({
        "capabilities": page.items.iter().map(show::capability).collect::<Vec<_>>(),
        "next": page.next,
    })))
}

async fn revoke(State(console): State<Console>, Path(handle): Path<String>) -> Answer {
    door(&console, "capabilities", |ports| &ports.capabilities)?.revoke(&handle).await?;
    Ok(Json(json!({})))
}
