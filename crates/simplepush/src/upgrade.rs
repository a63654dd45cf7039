//! The opening of a WebSocket (SimplePush §5.1).
//!
//! Never here: frames.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request},
    http::{
        Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts,
    },
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use buswire_message::{TooOften, source_of};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    admission::NotAdmitted,
    config::{Config, Subprotocol},
    driver::Carrier,
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
pub(crate) fn open(push: &SimplePush, request: Request) -> Response {
    let (mut parts, _body) = request.into_parts();
    let accept = match check(push.config(), &parts) {
        Ok(key) => derive_accept_key(key.as_bytes()),
        Err(refusal) => return *refusal,
    };
    let connection = match push.admit(source(&parts.extensions)) {
        Ok(connection) => connection,
        Err(refusal) => return refuse(refusal),
    };
    // Only a server that allows upgrades of its connections puts this there.
    let (Some(upgrade), Ok(accept)) =
        (parts.extensions.remove::<OnUpgrade>(), HeaderValue::from_str(&accept))
    else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    push.spawn(Carrier::Opening(upgrade, Arc::clone(push.shared()), Some(connection)));
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if offers_protocol(&parts.headers) {
        let protocol = HeaderValue::from_static(SUBPROTOCOL);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

fn refuse(refusal: NotAdmitted) -> Response {
    let (status, wait) = match refusal {
        NotAdmitted::Full => (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER),
        NotAdmitted::TooOften(wait) => (StatusCode::TOO_MANY_REQUESTS, retry_after(wait)),
    };
    let mut response = status.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, wait);
    response
}

/// Where a request comes from, if the server says so.
pub(crate) fn source(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| source_of(info.0.ip()))
}

/// The value of `Retry-After`: whole seconds, one at least.
pub(crate) fn retry_after(TooOften(wait): TooOften) -> HeaderValue {
    HeaderValue::from(wait.as_secs().max(1))
}

/// The key of an opening that is in order.
fn check<'a>(config: &Config, parts: &'a Parts) -> Result<&'a HeaderValue, Box<Response>> {
    let headers = &parts.headers;
    let refuse = |status: StatusCode| Err(Box::new(status.into_response()));
    // R-WS-5: an ordinary request gets an ordinary error.
    if !is_upgrade(headers) {
        return Err(Box::new(upgrade_required(header::UPGRADE, "websocket")));
    }
    if parts.method != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Box::new(upgrade_required(header::SEC_WEBSOCKET_VERSION, "13")));
    }
    let is_key = |key: &&HeaderValue| STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY).filter(is_key) else {
        return refuse(StatusCode::BAD_REQUEST);
    };
    if !origin_allowed(config, headers) {
        return refuse(StatusCode::FORBIDDEN);
    }
    if config.subprotocol == Subprotocol::Required && !offers_protocol(headers) {
        return refuse(StatusCode::BAD_REQUEST);
    }
    Ok(key)
}

fn upgrade_required(name: HeaderName, value: &'static str) -> Response {
    let mut response = StatusCode::UPGRADE_REQUIRED.into_response();
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// Names of subprotocols are compared with case (RFC 6455 §11.3.4).
fn offers_protocol(headers: &HeaderMap) -> bool {
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
