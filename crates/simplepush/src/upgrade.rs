//! The opening of a WebSocket (SimplePush §5.1).
//!
//! Never here: frames.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts as _, Request, ws::WebSocketUpgrade},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    config::{Config, Subprotocol},
    driver::Driver,
    service::SimplePush,
};

const SUBPROTOCOL: &str = "push-notification";
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// Whether a request asks for a WebSocket, so that one path can serve both pages and connections.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, "websocket")
        && has_token(headers, &header::CONNECTION, "upgrade")
}

/// Whether a header that is a list has this entry, compared without case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|entry| entry.trim().eq_ignore_ascii_case(token))
}

/// Opens the WebSocket that a request asks for, or says why not.
pub(crate) async fn open(push: &SimplePush, request: Request) -> Response {
    let (mut parts, _body) = request.into_parts();
    if let Err(refusal) = check(push.config(), &parts) {
        return *refusal;
    }
    let Some(connection) = push.admit() else {
        let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        return response;
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let limits = &push.config().limits;
    let shared = Arc::clone(push.shared());
    upgrade
        .read_buffer_size(limits.read_buffer_bytes)
        .write_buffer_size(0)
        .max_write_buffer_size(limits.write_buffer_bytes_max)
        .max_message_size(limits.message_bytes_max)
        .max_frame_size(limits.message_bytes_max)
        .protocols([SUBPROTOCOL])
        .on_upgrade(move |socket| Driver::new(socket, shared, connection))
}

fn check(config: &Config, parts: &Parts) -> Result<(), Box<Response>> {
    let headers = &parts.headers;
    let refuse = |status: StatusCode| Err(Box::new(status.into_response()));
    // R-WS-5: an ordinary request gets an ordinary error.
    if !is_upgrade(headers) {
        return upgrade_required(header::UPGRADE, "websocket");
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return upgrade_required(header::SEC_WEBSOCKET_VERSION, "13");
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
        if !origin_allowed(config, headers) {
            return refuse(StatusCode::FORBIDDEN);
        }
        let offered = has_protocol(headers);
        return if config.subprotocol == Subprotocol::Required && !offered {
            refuse(StatusCode::BAD_REQUEST)
        } else {
            Ok(())
        };
    }
    refuse(StatusCode::BAD_REQUEST)
}

fn upgrade_required(name: HeaderName, value: &'static str) -> Result<(), Box<Response>> {
    let mut response = StatusCode::UPGRADE_REQUIRED.into_response();
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    Err(Box::new(response))
}

/// Names of subprotocols are compared with case (RFC 6455 §11.3.4).
fn has_protocol(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|entry| entry.trim() == SUBPROTOCOL)
}

/// R-WS-3: with an allow-list the origin must equal an entry as a text.
fn origin_allowed(config: &Config, headers: &HeaderMap) -> bool {
    if config.origins.is_empty() {
        return true;
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => config.origins.iter().any(|allowed| origin == allowed.as_str()),
        _ => false,
    }
}
