//! The access log and its metrics.
//!
//! A line has the template of the route, never the path or the query: those may hold capability ids,
//! tokens and names. It is logged at `debug`, so that by default nothing is formatted per request;
//! the filter `info,buswire::access=debug` turns it on.

use std::{
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request},
    http::Method,
    response::Response,
};
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::Instant;

use super::step::Step;

/// Logs a request when its answer begins, and counts it. For a router that is complete.
#[derive(Clone, Copy, Debug)]
pub struct LogRequests;

/// What is logged of a request.
#[derive(Debug)]
pub struct Seen {
    started: Instant,
    method: &'static str,
    // Only if it is logged: most gateways never do.
    origin: Option<Box<Origin>>,
}

#[derive(Debug)]
struct Origin {
    client: Option<IpAddr>,
    route: Option<MatchedPath>,
}

impl Step for LogRequests {
    type Kept = Seen;

    fn before(&self, request: &mut Request) -> Result<Seen, Box<Response>> {
        let is_logged = tracing::enabled!(target: "buswire::access", tracing::Level::DEBUG);
        let origin = is_logged.then(|| {
            let extensions = request.extensions();
            let client = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
            Box::new(Origin { client, route: extensions.get::<MatchedPath>().cloned() })
        });
        Ok(Seen { started: Instant::now(), method: label(request.method()), origin })
    }

    fn after(Seen { started, method, origin }: Seen, response: &mut Response) {
        let took = started.elapsed();
        let status = response.status().as_u16();
        if let Some(origin) = origin {
            let route = origin.route.as_ref().map_or("-", MatchedPath::as_str);
            tracing::debug!(
                target: "buswire::access",
                method,
                route,
                status,
                client = origin.client.map(tracing::field::display),
                took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                "request"
            );
        }
        MEASURES.record(method, status, took);
    }
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
