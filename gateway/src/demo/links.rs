//! The page at `/demo/links/`: one capability for each transport, used with the library of Belay, and one
//! of the page itself, into which a route delivers.
//!
//! Never here: what a visitor has left behind; see `page`.

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    BUS, ORDER, SERVICE,
    page::{Failed, Pages, Session, file},
};

/// The page and its back end.
pub(super) fn router() -> Router<Pages> {
    let html = get(async || file("text/html; charset=utf-8", include_str!("page/links.html")));
    let script = get(async || file("text/javascript", include_str!("page/links.js")));
    Router::new()
        .route("/demo/links/", html)
        .route("/demo/links/links.js", script)
        .route("/demo/api/links", post(links))
}

#[derive(Deserialize)]
struct Wanted {
    channel: String,
    /// Where the page is rung.
    endpoint: String,
    /// A capability of the page: `urn:x-cap:…`.
    window: String,
}

async fn links(
    State(pages): State<Pages>,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Value>, Failed> {
    let Wanted { channel, endpoint, window } = wanted;
    let backend = pages.backend()?;
    let on_bus = json!({"bus": BUS, "channel": channel});
    let kinds = [
        ("publish", "bus.publish", on_bus.clone()),
        ("read", "bus.read", on_bus),
        ("call", "rpc.call", json!({"service": SERVICE})),
        ("ring", "push.notify", json!({"endpoint": endpoint})),
    ];
    let (mut caps, mut handles) = (json!({}), Vec::new());
    for (name, kind, target) in kinds {
        let granted = backend.grant(kind, &target).await?;
        if let Some(members) = caps.as_object_mut() {
            members.insert(name.to_owned(), granted.cap.into());
        }
        handles.push(granted.handle);
    }
    // Random and unique as the handles are, which are no secrets.
    let id = format!("links-{}", handles.first().map_or("", String::as_str));
    backend.route(&id, &channel, ORDER, &format!("cap:{window}")).await?;
    pages.keep(Session { id: id.clone(), channel, handles }).await?;
    Ok(Json(json!({"session": id, "caps": caps})))
}
