//! The router: which endpoint a request is for, and what all answers have in common.
//!
//! Never here: a rule of one endpoint.

mod cors;
mod request;
mod response;
mod v1;
mod v2_error;
mod v2_messages;
mod v2_post;
mod v2_token;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State as Shared},
    response::Response,
    routing::any,
};
use http::{Method, StatusCode, request::Parts};

use self::{v1::V1Error, v2_error::V2Error};
use crate::{
    config::{Generations, SecureTransport, TlsPolicy},
    state::State,
    wire::path::{Endpoint, Family},
};

/// What a request asks of a resource: GET, or GET without the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Get,
    Head,
}

/// The routes of the door. Paths with doubled slashes are taken whatever they begin with, since
/// published clients send such; what is not ours of these is answered 404.
pub(crate) fn router(state: Arc<State>) -> Router {
    let mut router = Router::new().route("//{*rest}", any(serve));
    for first in ["v1", "v1.1", "v1.2", "v1.3", "v2", "bus"] {
        for path in [format!("/{first}"), format!("/{first}/"), format!("/{first}/{{*rest}}")] {
            router = router.route(&path, any(serve));
        }
    }
    router.with_state(state)
}

/// What is answered to a path that nobody serves (Backplane §3.8).
pub(crate) fn unknown_url() -> Response {
    response::text(StatusCode::NOT_FOUND, "Invalid Request URL")
}

async fn serve(Shared(state): Shared<Arc<State>>, request: Request) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let endpoint = served(Endpoint::parse(&path), state.config.generations);
    let label = endpoint.label();
    let preflight =
        if method == Method::OPTIONS { cors::preflight(&state, &endpoint, &request) } else { None };
    let response = match preflight {
        Some(preflight) => preflight,
        None => dispatch(state, endpoint, request).await,
    };
    let class = match response.status().as_u16() {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    };
    metrics::counter!("buswire_backplane_requests_total", "endpoint" => label, "class" => class)
        .increment(1);
    if method == Method::HEAD { response::without_body(response) } else { response }
}

fn served(endpoint: Endpoint<'_>, generations: Generations) -> Endpoint<'_> {
    let family = endpoint.family();
    let is_served = match family {
        Family::One => generations != Generations::TwoOnly,
        Family::Two => generations != Generations::OneOnly,
        Family::Other => true,
    };
    if is_served { endpoint } else { Endpoint::Unknown(family) }
}

/// Calls the endpoint. Everything but the long poll is boxed, so that a waiting read is not as large
/// as the largest of the others.
async fn dispatch(state: Arc<State>, endpoint: Endpoint<'_>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let reading = match parts.method {
        Method::GET => Some(Reading::Get),
        Method::HEAD => Some(Reading::Head),
        _ => None,
    };
    let is_post = parts.method == Method::POST;
    let allow_origin = reading.and_then(|_| cors::allow_origin(&state, &endpoint, &parts));
    let response = match (&endpoint, reading) {
        (Endpoint::Messages, Some(reading)) => v2_messages::messages(&state, parts, reading).await,
        (Endpoint::Message { id }, Some(_)) => {
            Box::pin(v2_messages::message(&state, parts, id)).await
        }
        (Endpoint::Token, Some(reading)) => {
            Box::pin(v2_token::anonymous(&state, parts, reading)).await
        }
        (Endpoint::Token, None) if is_post => {
            Box::pin(v2_token::privileged(&state, parts, body)).await
        }
        (Endpoint::Post, None) if is_post => Box::pin(v2_post::post(&state, parts, body)).await,
        (Endpoint::NewChannel { .. }, Some(reading)) => v1::new_channel(&state, &parts, reading),
        (Endpoint::Channel { form, bus, channel }, Some(_)) => {
            Box::pin(v1::channel(&state, &parts, *form, bus, channel)).await
        }
        (Endpoint::Channel { bus, channel, .. }, None) if is_post => {
            Box::pin(v1::post(&state, &parts, body, bus, channel)).await
        }
        (Endpoint::NewChannel { bus }, None) if is_post => {
            Box::pin(v1::post(&state, &parts, body, bus, "new")).await
        }
        (Endpoint::Bus { form, bus }, Some(_)) => {
            Box::pin(v1::bus(&state, &parts, *form, bus)).await
        }
        (Endpoint::Unknown(family), _) => unknown(*family),
        (known, _) => method_not_allowed(known),
    };
    match allow_origin {
        Some(origin) => cors::with_origin(response, origin),
        None => response,
    }
}

fn unknown(family: Family) -> Response {
    match family {
        Family::One => v1::refuse(&V1Error::UnknownUrl),
        Family::Two => v2_error::refuse(&V2Error::UnknownUrl),
        Family::Other => unknown_url(),
    }
}

fn method_not_allowed(endpoint: &Endpoint<'_>) -> Response {
    let response = match endpoint.family() {
        Family::One => v1::refuse(&V1Error::Method),
        Family::Two => v2_error::refuse(&V2Error::Method),
        Family::Other => unknown_url(),
    };
    response::with_allow(response, endpoint.allowed())
}

/// Whether a request came over a transport that is good enough for what is reserved for HTTPS.
fn is_secure(state: &State, parts: &Parts) -> bool {
    match state.config.tls {
        TlsPolicy::Optional => true,
        TlsPolicy::Required => parts.extensions.get::<SecureTransport>().is_some(),
    }
}
