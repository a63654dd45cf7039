//! The console: a web page on the admin listener, and what it asks for.
//!
//! Everybody gets the page, which holds nothing; whoever has a token of an administrator, or a certificate
//! that the listener verified, gets what the page asks for under `/console/api/`; a viewer changes nothing. It is the administration of
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

use crate::admin::{AdminState, Authenticator, Caller, Role};

/// The most message streams of consoles at once; more are refused.
const STREAMS_MAX: usize = 64;

/// Sent by the page with everything that it asks for.
const OWN_HEADER: &str = "x-buswire-console";

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

/// Lets administrators pass, notes who they are, and keeps what they get out of every cache.
async fn authenticated(
    State(console): State<Console>,
    mut request: Request,
    next: Next,
) -> Response {
    // A form of another site, which a browser sends with the certificate of its user, has no such header.
    if !request.method().is_safe() && !request.headers().contains_key(OWN_HEADER) {
        return (StatusCode::FORBIDDEN, "the header x-buswire-console is missing").into_response();
    }
    let required = if request.method().is_safe() { Role::Viewer } else { Role::Operator };
    match console.0.auth.caller_of(&request) {
        Ok(caller) if caller.role >= required => request.extensions_mut().insert(caller),
        Ok(Caller { role, .. }) => {
            let text =
                format!("the caller has the role {role}; this needs one of {required} or more");
            return (StatusCode::FORBIDDEN, text).into_response();
        }
        Err(status) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (StatusCode::UNAUTHORIZED, challenge, status.message().to_owned())
                .into_response();
        }
    };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
