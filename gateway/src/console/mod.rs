//! The console: a web page on the admin listener, and what it asks for.
//!
//! Everybody gets the page, which holds nothing; whoever has the admin token, or a certificate that the
//! listener verified, gets what the page asks for under `/console/api/`. It is the administration of
//! `admin::ports`, the same that gRPC offers, as JSON and server-sent events. The token stays in the
//! memory of the page. Never here: a rule of a door, anything that gRPC can't do.

mod api;
mod assets;
mod error;
mod json;
mod stream;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use tokio::sync::Semaphore;

use crate::admin::{AdminState, Authenticator, VerifiedPeer};

/// The most message streams of consoles at once; more are refused.
const STREAMS_MAX: usize = 64;

/// What every handler has at hand.
#[derive(Clone)]
struct Console(Arc<Inner>);

struct Inner {
    state: AdminState,
    auth: Authenticator,
    /// One permit for each stream.
    streams: Arc<Semaphore>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

/// The page and what it asks for, to be merged with the admin interface.
pub(crate) fn router(state: AdminState, auth: Authenticator) -> Router {
    let streams = Arc::new(Semaphore::new(STREAMS_MAX));
    let console = Console(Arc::new(Inner { state, auth, streams }));
    let guarded = middleware::from_fn_with_state(console.clone(), authenticated);
    let api = api::router().route_layer(guarded).with_state(console);
    Router::new().merge(assets::router()).nest("/console/api", api)
}

/// Lets administrators pass, and keeps what they get out of every cache.
async fn authenticated(State(console): State<Console>, request: Request, next: Next) -> Response {
    let is_verified = request.extensions().get::<VerifiedPeer>().is_some();
    if !is_verified && !console.0.auth.permits(request.headers()) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "the admin token is missing or wrong")
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
