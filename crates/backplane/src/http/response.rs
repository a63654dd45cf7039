//! Building answers: types and headers of Backplane §3.4 to §3.7.

use axum::{body::Body, response::Response};
use buswire_message::TooOften;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{config::PaddingPrefix, wire::callback::Callback};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"backplane\"");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

fn bare(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    response
}

fn typed(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = bare(status, body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    typed(status, JSON, body.into())
}

/// An answer in plain text.
pub(crate) fn text(status: StatusCode, body: &'static str) -> Response {
    typed(status, TEXT, body)
}

/// A document of another type.
pub(crate) fn document(status: StatusCode, kind: &'static str, body: String) -> Response {
    typed(status, HeaderValue::from_static(kind), body)
}

/// A script that is no secret: caches keep it as `caching` says, and pages of all origins may check
/// its content against `integrity`, which browsers allow of what they may read.
pub(crate) fn script(body: &'static str, caching: HeaderValue, tag: HeaderValue) -> Response {
    let response = typed(StatusCode::OK, SCRIPT, body);
    with_validator(response, caching, tag)
}

/// The answer to who has the script already.
pub(crate) fn not_modified(caching: HeaderValue, tag: HeaderValue) -> Response {
    with_validator(empty(StatusCode::NOT_MODIFIED), caching, tag)
}

fn with_validator(mut response: Response, caching: HeaderValue, tag: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, caching);
    headers.insert(header::ETAG, tag);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    bare(status, Body::empty())
}

/// An answer in JSON, or padded and then always 200 (§3.5).
pub(crate) fn maybe_padded(
    callback: Option<&Callback>,
    prefix: PaddingPrefix,
    status: StatusCode,
    body: Vec<u8>,
) -> Response {
    let Some(callback) = callback else { return json(status, body) };
    let mut response = typed(StatusCode::OK, SCRIPT, callback.pad(&body, prefix));
    response.headers_mut().insert(header::REFERRER_POLICY, NO_REFERRER);
    response
}

fn with(mut response: Response, name: HeaderName, value: HeaderValue) -> Response {
    response.headers_mut().insert(name, value);
    response
}

/// The same answer, asking for credentials.
pub(crate) fn with_challenge(response: Response) -> Response {
    with(response, header::WWW_AUTHENTICATE, CHALLENGE)
}

/// The same answer, saying in whole seconds when to try again.
pub(crate) fn with_retry_after(response: Response, wait: TooOften) -> Response {
    let seconds = wait.0.as_millis().div_ceil(1000).max(1);
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    with(response, header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// The same answer, for caches of HTTP/1.0 too (RFC 6749 §5.1).
pub(crate) fn with_pragma(response: Response) -> Response {
    with(response, header::PRAGMA, NO_CACHE)
}

/// The same answer, naming the methods that would do.
pub(crate) fn with_allow(response: Response, allowed: &'static str) -> Response {
    with(response, header::ALLOW, HeaderValue::from_static(allowed))
}

/// The answer to HEAD: the same headers, the length of the body, no body.
pub(crate) fn without_body(response: Response) -> Response {
    use axum::body::HttpBody as _;
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::empty())
}
