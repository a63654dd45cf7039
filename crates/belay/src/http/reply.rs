//! What is answered, and with which headers (Belay §21.4, §21.5).
//!
//! Never here: deciding what.

use axum::response::Response;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        HeaderName, REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};

use crate::error::BcapError;

/// A success.
#[derive(Debug)]
pub(super) struct Reply(pub(super) Body);

/// The body of a success.
#[derive(Debug)]
pub(super) enum Body {
    /// No data.
    Empty,
    /// A bcapJson text.
    Text(String),
}

impl Reply {
    pub(super) fn len(&self) -> u64 {
        match &self.0 {
            Body::Empty => 0,
            Body::Text(text) => text.len() as u64,
        }
    }
}

/// How a success is labelled; old clients parse the body themselves only if it is `text/plain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    TextPlain,
    Json,
}

const ALWAYS: [(HeaderName, &str); 7] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
    (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
];

fn response(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(axum::body::Body::from(body));
    *response.status_mut() = status;
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(super) fn success(reply: Reply, label: Label) -> Response {
    let Body::Text(text) = reply.0 else { return response(StatusCode::OK, String::new()) };
    let mut response = response(StatusCode::OK, text);
    let media_type = match label {
        Label::TextPlain => "text/plain;charset=UTF-8",
        Label::Json => "application/json",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

pub(super) fn failure(error: BcapError) -> Response {
    let status = error.status();
    // Messages are words of ours, so there is nothing to escape.
    let body = format!(r#"{{"error":{{"status":{status},"message":"{error}"}}}}"#);
    let mut response =
        response(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let BcapError::MethodNotAllowed { allow } = error {
        insert_text(headers, ALLOW, &allow.to_allow());
    }
    if let Some(secs) = error.retry_after_secs() {
        insert_text(headers, RETRY_AFTER, &secs.to_string());
    }
    response
}

/// An answer that only pages of this gateway may read.
pub(crate) fn same_origin(result: Result<String, BcapError>) -> Response {
    let mut response = match result {
        Ok(text) => success(Reply(Body::Text(text)), Label::Json),
        Err(error) => failure(error),
    };
    response.headers_mut().remove(ACCESS_CONTROL_ALLOW_ORIGIN);
    response
}

/// The answer to a preflight: the same for every id, so that it tells nothing (Belay §21.3).
pub(super) fn preflight(requested_headers: Option<&HeaderValue>) -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, PUT, POST, DELETE"),
    );
    if let Some(requested) = requested_headers.filter(|value| is_token_list(value.as_bytes())) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("2592000"));
    headers.insert(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    response
}

fn insert_text(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

// RFC 9110 §5.6.2: a list of tokens, with blanks around the commas.
fn is_token_list(bytes: &[u8]) -> bool {
    let is_token = |token: &[u8]| {
        !token.is_empty()
            && token
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
    };
    bytes.split(|byte| *byte == b',').all(|token| is_token(token.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_of_tokens_are_echoed() {
        // Rule: belay 21.3 — the requested headers are echoed by a preflight if they are tokens
        assert!(is_token_list(b"content-type, X-Custom"));
        for bad in [b"".as_slice(), b"a b", b"a,,b", b"a\"", b"a:b"] {
            assert!(!is_token_list(bad), "{bad:?}");
        }
    }
}
