//! The files of the page, as they are in `page/`.

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{StatusCode, header};

/// Nothing from elsewhere, nothing inline, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; form-action 'none'; base-uri 'none'; \
                      frame-ancestors 'none'";

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("page/", $name)))),+]
    };
}

/// Every file but the page itself.
const FILES: &[(&str, &str)] = files![
    "console.css",
    "main.js",
    "api.js",
    "dom.js",
    "views/overview.js",
    "views/map.js",
    "views/messages.js",
    "views/trace.js",
    "views/routes.js",
    "views/buses.js",
    "views/push.js",
    "views/services.js",
    "views/caps.js",
];

pub(super) fn router() -> Router {
    Router::new()
        .route("/console", get(async || Redirect::permanent("/console/")))
        .route("/console/", get(async || file("index.html", include_str!("page/index.html"))))
        .route("/console/{*name}", get(named))
}

async fn named(Path(name): Path<String>) -> Response {
    let found = FILES.iter().find(|(known, _)| *known == name);
    found.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |(name, text)| file(name, text))
}

fn file(name: &'static str, text: &'static str) -> Response {
    let kind = match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "text/html; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}
