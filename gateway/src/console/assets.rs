//! The files of the page, as they are in `page/`, and the page itself.

use askama::Template as _;
use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http::{StatusCode, header};

/// Nothing from elsewhere, nothing inline, no frames, and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

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
    "dialog.js",
    "dom.js",
    "format.js",
    "listing.js",
    "views/access.js",
    "views/administrators.js",
    "views/buses.js",
    "views/capabilities.js",
    "views/letters.js",
    "views/map.js",
    "views/messages.js",
    "views/overview.js",
    "views/push.js",
    "views/routes.js",
    "views/services.js",
    "views/trace.js",
];

/// The page: what is in it is there before anybody signs in.
#[derive(askama::Template)]
#[template(path = "console.html")]
struct Page {
    version: &'static str,
    /// Fetched beside each other rather than one after the other.
    modules: Vec<&'static str>,
}

pub(super) fn router() -> Router {
    Router::new()
        .route("/console", get(async || Redirect::permanent("/console/")))
        .route("/console/", get(page))
        .route("/console/{*name}", get(named))
}

async fn page() -> Response {
    let names = FILES.iter().map(|(name, _)| *name);
    let page = Page {
        version: env!("CARGO_PKG_VERSION"),
        modules: names.filter(|name| kind(name) == SCRIPT).collect(),
    };
    match page.render() {
        Ok(html) => file("index.html", html),
        Err(error) => {
            tracing::error!(%error, "the console could not be shown");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn named(Path(name): Path<String>) -> Response {
    let found = FILES.iter().find(|(known, _)| *known == name);
    found.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |(name, text)| file(name, *text))
}

/// What a file is, by its name.
fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => SCRIPT,
        Some("css") => "text/css; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}

fn file(name: &str, text: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind(name)),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}
