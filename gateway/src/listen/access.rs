//! The access log and its metrics.
//!
//! A line has the template of the route, never the path or the query: those may hold capability ids,
//! tokens and names. It is logged at `debug`, so that by default nothing is formatted per request;
//! the filter `info,buswire::access=debug` turns it on.

use std::{net::SocketAddr, sync::LazyLock, time::Duration};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::Instant;

/// Logs a request when its answer begins. A middleware for `axum::middleware::from_fn`, on a router
/// that is complete.
pub async fn log_requests(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = label(request.method());
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
    MEASURES.record(method, status, took);
    response
}

/// The methods that are told apart; whatever else a client invents is the last one.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "other"];

/// The classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The method as a label.
fn label(method: &Method) -> &'static str {
    METHODS.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

/// Counters and histograms, looked up once: a request finds its own by place.
struct Measures {
    requests: [[Counter; CLASSES.len()]; METHODS.len()],
    seconds: [Histogram; METHODS.len()],
}

// Made at the first request, when the recorder of the process is there.
static MEASURES: LazyLock<Measures> = LazyLock::new(|| Measures {
    requests: METHODS.map(|method| {
        CLASSES.map(
            |class| counter!("buswire_http_requests_total", "method" => method, "status" => class),
        )
    }),
    seconds: METHODS.map(|method| histogram!("buswire_http_request_seconds", "method" => method)),
});

impl Measures {
    fn record(&self, method: &str, status: u16, took: Duration) {
        let row = METHODS.iter().position(|name| *name == method).unwrap_or(METHODS.len() - 1);
        let column = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.requests.get(row).and_then(|classes| classes.get(column)) {
            counter.increment(1);
        }
        if let Some(histogram) = self.seconds.get(row) {
            histogram.record(took);
        }
    }
}
