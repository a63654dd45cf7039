//! The files that pages load, which are no secrets (Belay §22.6).
//!
//! Never here: a capability.

use std::sync::LazyLock;

use axum::{
    Router,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use crate::browser::{Asset, CLIENT, CLIENT_MODULE, CLIENT_TYPES};

/// What is named by its content never changes.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const MINUTES: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The paths of the library.
pub(super) fn router() -> Router {
    [&CLIENT, &CLIENT_MODULE, &CLIENT_TYPES].into_iter().fold(Router::new(), serve)
}

/// Serves a file under both of its names.
pub(super) fn serve(router: Router, asset: &'static LazyLock<Asset>) -> Router {
    let plain = move |headers: HeaderMap| async move { answer(asset, MINUTES, &headers) };
    let hashed = move |headers: HeaderMap| async move { answer(asset, FOREVER, &headers) };
    router
        .route(&format!("/belay/{}", asset.plain_name()), get(plain))
        .route(&format!("/belay/{}", asset.hashed_name()), get(hashed))
}

/// The file; nothing but its tag if the browser has it already.
fn answer(asset: &Asset, caching: HeaderValue, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", asset.integrity());
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let mut tags = known.flat_map(|line| line.split(',')).map(str::trim);
    let has_it = tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.content_type())),
        // Base64 is visible ASCII.
        (ETAG, HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))),
        (CACHE_CONTROL, caching),
        // Pages of other sites check its hash, which browsers allow with CORS only.
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    if has_it {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, asset.body()).into_response()
}
