//! The access log and its metrics.
//!
//! A line has the template of the route, never the path or the query: those may hold capability ids,
//! tokens and names. It is logged at `debug`, so that by default nothing is formatted per request;
//! the filter `info,buswire::access=debug` turns it on.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use tokio::time::Instant;

/// Logs a request when its answer begins. A middleware for `axum::middleware::from_fn`, on a router
/// that is complete.
pub async fn log_requests(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = method(request.method());
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let took = started.elapsed();
    let status = response.status().as_u16();
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    tracing::debug!(
        target: "buswire::access",
        method,
        route,
        status,
        client = client.map(tracing::field::display),
        took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    let class = class(status);
    metrics::counter!("buswire_http_requests_total", "method" => method, "status" => class)
        .increment(1);
    metrics::histogram!("buswire_http_request_seconds", "method" => method).record(took);
    response
}

/// The method as a label: one of a closed set, whatever a client invents.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// The class of a status as a label.
const fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
