//! The console: a web page on the admin listener, and what it asks for.
//!
//! Everybody gets the page, which holds nothing. What it shows and changes it asks for under
//! `/console/api/`: every call of `buswire.admin.v1`, as JSON or server-sent events, made by the same
//! services as gRPC, with the same tokens, certificates and roles. The token stays in the memory of the
//! page. Never here: anything that gRPC can't do, a right of its own.

mod assets;
mod call;
mod error;

use std::{fmt, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};
use prost_reflect::DescriptorPool;
use serde_json::json;
use tokio::sync::Semaphore;

use self::error::Failed;
use crate::admin::{Authenticator, Caller, Role};

/// The most streams of consoles at once; more are refused.
const STREAMS_MAX: usize = 64;

/// Sent by the page with everything that it asks for.
const OWN_HEADER: &str = "x-buswire-console";

/// What every handler has at hand.
#[derive(Clone)]
struct Console(Arc<Inner>);

struct Inner {
    /// The gRPC interface.
    grpc: Router,
    /// What it consists of.
    descriptors: DescriptorPool,
    auth: Authenticator,
    /// One permit for each stream.
    streams: Arc<Semaphore>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

/// The page and what it asks for, to be merged with `grpc`, the administration that it is made over.
///
/// # Errors
///
/// If the description of the interface is damaged: never, unless the program was built wrong.
pub(crate) fn router(
    grpc: Router,
    auth: Authenticator,
) -> Result<Router, prost_reflect::DescriptorError> {
    let descriptors = DescriptorPool::decode(buswire_proto::FILE_DESCRIPTOR_SET)?;
    let streams = Arc::new(Semaphore::new(STREAMS_MAX));
    let console = Console(Arc::new(Inner { grpc, descriptors, auth, streams }));
    let api = Router::new()
        .route("/session", get(session))
        .route("/{service}/{method}", post(call::call))
        .route_layer(middleware::from_fn(guarded))
        .with_state(console);
    Ok(Router::new().merge(assets::router()).nest("/console/api", api))
}

/// Lets our page pass, and keeps what it gets out of every cache.
async fn guarded(request: Request, next: Next) -> Response {
    // What another site sends with the certificate of its user has no such header.
    if !request.headers().contains_key(OWN_HEADER) {
        return (StatusCode::FORBIDDEN, "the header x-buswire-console is missing").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Who asks, and which calls it may make: the page offers no other.
async fn session(State(console): State<Console>, request: Request) -> Result<Response, Failed> {
    let Caller { name, role, .. } = console.0.auth.caller_of(&request)?;
    let services = console.0.descriptors.services();
    let calls: Vec<_> = services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
        .filter(|path| Role::required(path) <= role)
        .filter_map(|path| path.strip_prefix(call::PREFIX).map(str::to_owned))
        .collect();
    Ok(Json(json!({"name": name, "role": role.as_str(), "calls": calls})).into_response())
}
