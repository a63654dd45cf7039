//! The operations listener: `/healthz`, `/readyz` and `/metrics`, and the phase that they are about.
//!
//! Never here: a path that changes something, or that names a bus, a channel or a client.

mod clock_jump;
mod health;
mod leave;
mod metrics;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

pub use self::{
    clock_jump::watch_clock,
    health::{Health, Phase},
    leave::Leave,
    metrics::{Metrics, MetricsError},
};

/// The routes of the operations listener.
pub fn router(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(alive).with_state(health.clone()))
        .route("/readyz", get(ready).with_state(health.clone()))
        .route("/metrics", get(scrape).with_state((health, metrics)))
}

/// Whether the process works; if it does not, it should be started again.
async fn alive(State(health): State<Health>) -> Response {
    match health.broken() {
        None => text(StatusCode::OK, "ok\n".to_owned()),
        Some(task) => text(StatusCode::SERVICE_UNAVAILABLE, format!("task {task} ended\n")),
    }
}

/// Whether requests should be sent here at present.
async fn ready(State(health): State<Health>) -> Response {
    match health.not_ready() {
        None if health.lacks_certificate() => {
            text(StatusCode::OK, "ready: no certificate yet\n".to_owned())
        }
        None => text(StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

async fn scrape(State((health, metrics)): State<(Health, Metrics)>) -> Response {
    // Gauges that somebody knows anyway are written when somebody asks.
    health.measure();
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, metrics.render()).into_response()
}

fn text(status: StatusCode, body: String) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
