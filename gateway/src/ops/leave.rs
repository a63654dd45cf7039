//! What a request of the public listener meets while the gateway goes out of service.
//!
//! Never here: when that is.

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Version, header},
    middleware::Next,
    response::Response,
};

use super::{Health, Phase};
use crate::listen::refusal;

/// Asks HTTP/1 clients to take the next request elsewhere while the gateway leaves, so that nobody
/// sends one into a connection that closes, and refuses requests once it is drained. HTTP/2 has its
/// own way of saying it, which the listener uses. A middleware for `axum::middleware::from_fn_with_state`.
pub async fn leave(State(health): State<Health>, request: Request, next: Next) -> Response {
    let has_one_connection = request.version() < Version::HTTP_2;
    let mut response = if health.phase() == Phase::Drained {
        let mut refused = refusal(
            request.uri().path(),
            StatusCode::SERVICE_UNAVAILABLE,
            "The gateway is out of service",
        );
        refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        refused
    } else {
        next.run(request).await
    };
    let is_over = response.status() != StatusCode::SWITCHING_PROTOCOLS;
    if has_one_connection && is_over && health.phase().is_leaving() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
