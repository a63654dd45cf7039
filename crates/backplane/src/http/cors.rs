//! Cross-origin reading (Backplane §3.7).

use axum::{extract::Request, response::Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::response;
use crate::{
    config::{Cors, Origin},
    state::State,
    wire::path::Endpoint,
};

/// The value of `Access-Control-Allow-Origin` for a GET; `None` if pages may not read the answer.
pub(crate) fn allow_origin(
    state: &State,
    endpoint: &Endpoint<'_>,
    request: &Request,
) -> Option<HeaderValue> {
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    allowed(&state.config.cors, endpoint, request.headers()).filter(|_| is_reading)
}

fn allowed(cors: &Cors, endpoint: &Endpoint<'_>, headers: &HeaderMap) -> Option<HeaderValue> {
    if !endpoint.is_for_browsers() {
        return None;
    }
    match cors {
        Cors::Off => None,
        Cors::AnyOrigin => Some(HeaderValue::from_static("*")),
        Cors::Origins(origins) => {
            let asked = headers.get(header::ORIGIN)?;
            origins.iter().map(Origin::header).find(|origin| *origin == asked).cloned()
        }
    }
}

/// The answer to a preflight; `None` if there is no such thing here.
pub(crate) fn preflight(
    state: &State,
    endpoint: &Endpoint<'_>,
    request: &Request,
) -> Option<Response> {
    let headers = request.headers();
    let asks_for_get = request.method() == Method::OPTIONS
        && headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).is_some_and(|method| method == "GET");
    let origin = allowed(&state.config.cors, endpoint, headers).filter(|_| asks_for_get)?;
    let mut response = with_origin(response::empty(StatusCode::NO_CONTENT), origin);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type"),
    );
    Some(response)
}

/// The same answer, readable by pages of `origin`.
pub(crate) fn with_origin(mut response: Response, origin: HeaderValue) -> Response {
    let headers = response.headers_mut();
    if origin != "*" {
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response
}
