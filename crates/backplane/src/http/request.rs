//! Taking requests apart: bodies, content types, credentials.

use std::net::SocketAddr;

use axum::{body::Body, extract::ConnectInfo};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use buswire_message::{Secret, TraceParent, TraceState, source_of};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::state::throttle::Source;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// Longer than the limit.
    TooLarge,
    /// The connection broke.
    Broken,
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_body(body: Body, limit: usize) -> Result<Bytes, BodyError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}

/// Whether the content type is `expected` with any parameters, or there is none (Backplane §3.4).
pub(crate) fn has_type(headers: &HeaderMap, expected: &str) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let Ok(value) = value.to_str() else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.is_empty() || essence.eq_ignore_ascii_case(expected)
}

/// Where a request comes from, as the owner of the listener found out. This machine is nobody: a
/// loopback address is a proxy that nobody told us of, behind which all clients look alike.
pub(crate) fn source(parts: &Parts) -> Source {
    let address = parts.extensions.get::<ConnectInfo<SocketAddr>>()?.0.ip().to_canonical();
    (!address.is_loopback()).then(|| source_of(address))
}

/// The text of the `Authorization` header.
pub(crate) fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
}

/// A name and a password from HTTP Basic.
#[derive(Debug)]
pub(crate) struct Basic {
    pub(crate) name: String,
    pub(crate) password: Secret<String>,
}

/// Reads HTTP Basic: UTF-8, split at the first colon (Backplane §6.2).
pub(crate) fn basic(headers: &HeaderMap) -> Option<Basic> {
    let (scheme, encoded) = authorization(headers)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Secret::new(STANDARD.decode(encoded.trim()).ok()?);
    let (name, password) = std::str::from_utf8(decoded.expose()).ok()?.split_once(':')?;
    Some(Basic { name: name.to_owned(), password: Secret::new(password.to_owned()) })
}

/// The place in a trace that the sender of a request names.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    let sent = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    TraceParent::received(sent(TraceParent::HEADER), sent(TraceState::HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_bytes(value.as_bytes()).unwrap())])
    }

    #[test]
    fn basic_is_split_at_the_first_colon() {
        // Rule: backplane §6.2 — user and password are split at the first colon, text is UTF-8
        let encoded = STANDARD.encode("commentsco:pass:ü");
        let read = basic(&headers(header::AUTHORIZATION, &format!("basic {encoded}"))).unwrap();
        assert_eq!((read.name.as_str(), read.password.expose().as_str()), ("commentsco", "pass:ü"));
        for value in ["Basic", "Basic !", "Bearer x", &format!("Basic {}", STANDARD.encode("x"))] {
            assert!(basic(&headers(header::AUTHORIZATION, value)).is_none(), "{value}");
        }
        assert!(basic(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_content_type_may_have_parameters_or_be_absent() {
        // Rule: backplane §3.4 — application/json with any parameters, or no content type, else 415
        let json = "application/json";
        for value in ["application/json", "Application/JSON; charset=latin1", ""] {
            assert!(has_type(&headers(header::CONTENT_TYPE, value), json), "{value}");
        }
        assert!(has_type(&HeaderMap::new(), json));
        for value in ["text/plain", "application/jsonp", "application/x-www-form-urlencoded"] {
            assert!(!has_type(&headers(header::CONTENT_TYPE, value), json), "{value}");
        }
    }
}
