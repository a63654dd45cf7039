//! The page at `/demo/` and the back ends that it calls; `links` has another one.
//!
//! Visitors are few and forgotten: at most [`SESSIONS_MAX`], the oldest goes first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ANSWER, BUS, Failure, backend::Backend, links};

/// The most visitors at once; each has a route and a capability.
const SESSIONS_MAX: usize = 32;

/// The page, and its back ends once there are any.
#[derive(Clone, Default)]
pub(super) struct Pages(Arc<Inner>);

#[derive(Default)]
struct Inner {
    backend: OnceLock<Backend>,
    sessions: Mutex<VecDeque<Session>>,
}

/// What a visitor has: a route of the name of the session, and capabilities.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) channel: String,
    pub(super) handles: Vec<String>,
}

impl Pages {
    /// What is served, from the beginning; the back ends answer 503 until [`serve`](Self::serve).
    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/demo", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/demo/")]) }))
            .route(
                "/demo/",
                get(async || file("text/html; charset=utf-8", include_str!("page/index.html"))),
            )
            .route("/demo/demo.css", get(async || file("text/css", include_str!("page/demo.css"))))
            .route(
                "/demo/demo.js",
                get(async || file("text/javascript", include_str!("page/demo.js"))),
            )
            .merge(links::router())
            .route("/demo/api/session", post(session))
            .route("/demo/api/order", post(order))
            .route("/demo/api/payload", post(payload))
            .route("/demo/api/revoke", post(revoke))
            .with_state(self.clone())
    }

    /// Lets the back ends work.
    pub(super) fn serve(&self, backend: Backend) {
        self.0.backend.get_or_init(|| backend);
    }

    pub(super) fn backend(&self) -> Result<&Backend, Failed> {
        self.0.backend.get().ok_or(Failed(StatusCode::SERVICE_UNAVAILABLE))
    }

    fn find(&self, id: &str) -> Result<Session, Failed> {
        let sessions = self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let found = sessions.iter().find(|session| session.id == id).cloned();
        found.ok_or(Failed(StatusCode::NOT_FOUND))
    }

    /// Keeps a session, and ends the oldest if there are too many.
    pub(super) async fn keep(&self, session: Session) -> Result<(), Failed> {
        let oldest = {
            let mut sessions = self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.push_back(session);
            if sessions.len() > SESSIONS_MAX { sessions.pop_front() } else { None }
        };
        let Some(oldest) = oldest else { return Ok(()) };
        self.backend()?.command(&["route", "delete", &oldest.id]).await?;
        self.revoke(&oldest).await
    }

    async fn revoke(&self, session: &Session) -> Result<(), Failed> {
        for handle in &session.handles {
            self.backend()?.revoke(handle).await?;
        }
        Ok(())
    }
}

pub(super) fn file(kind: &'static str, text: &'static str) -> Response {
    const POLICY: &str =
        "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'";
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ];
    (headers, text).into_response()
}

/// What the page is answered when something fails; the reason is logged.
pub(super) struct Failed(StatusCode);

impl From<Failure> for Failed {
    fn from(error: Failure) -> Self {
        tracing::warn!(%error, "the demo's back end failed");
        Self(StatusCode::BAD_GATEWAY)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

#[derive(Deserialize)]
struct NewSession {
    channel: String,
    endpoint: String,
}

async fn session(
    State(pages): State<Pages>,
    Json(new): Json<NewSession>,
) -> Result<Json<Value>, Failed> {
    let backend = pages.backend()?;
    let granted = backend.grant("bus.read", &json!({"bus": BUS, "channel": new.channel})).await?;
    // The public name of the grant is random and unique: it names the session and its route too.
    let id = format!("page-{}", granted.handle);
    backend.route(&id, &new.channel, ANSWER, &format!("push:{}", new.endpoint)).await?;
    let handles = vec![granted.handle];
    pages.keep(Session { id: id.clone(), channel: new.channel, handles }).await?;
    Ok(Json(json!({"session": id, "cap": granted.cap})))
}

#[derive(Deserialize)]
struct Order {
    session: String,
    item: String,
}

async fn order(
    State(pages): State<Pages>,
    Json(order): Json<Order>,
) -> Result<Json<Value>, Failed> {
    let session = pages.find(&order.session)?;
    pages.backend()?.order(&session.channel, &order.item).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Wanted {
    session: String,
    #[serde(rename = "messageURL")]
    message_url: String,
}

async fn payload(
    State(pages): State<Pages>,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Value>, Failed> {
    let session = pages.find(&wanted.session)?;
    let message = pages.backend()?.message(&wanted.message_url).await?;
    // A back end shows a visitor the messages of its own visit only.
    if message.get("channel").and_then(Value::as_str) != Some(&session.channel) {
        return Err(Failed(StatusCode::NOT_FOUND));
    }
    Ok(Json(json!({"payload": message.get("payload")})))
}

#[derive(Deserialize)]
struct Named {
    session: String,
}

async fn revoke(
    State(pages): State<Pages>,
    Json(named): Json<Named>,
) -> Result<Json<Value>, Failed> {
    let session = pages.find(&named.session)?;
    pages.revoke(&session).await?;
    Ok(Json(json!({})))
}
