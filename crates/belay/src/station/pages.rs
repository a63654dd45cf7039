//! The pages for people: `/belay/open`, `/belay/station` and what they load (Belay §13, §21.7).
//!
//! Static: the secret of a link is in the fragment, which never comes here. Never here: looking a
//! capability up.

use std::sync::Arc;

use axum::{Router, response::IntoResponse as _, response::Response, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

use crate::config::Config;

/// What a page may do: it loads from here alone, is framed by nobody, and submits nothing.
const STRICT: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/belay/open` calls capabilities of this gateway, and makes no markup of texts.
const OPEN: &str = "connect-src 'self'; require-trusted-types-for 'script'";

/// A file as it is served, with its hash.
struct Page {
    body: Bytes,
    content_type: &'static str,
    policy: HeaderValue,
    etag: HeaderValue,
}

/// `/belay/station` is itself a page of Belay: it has the frame in it, and launch capabilities are
/// anywhere.
const STATION: &str = "connect-src 'self' https:; frame-src 'self'";

/// The same at a gateway without TLS, on a loopback address, where those of others have none either.
const PLAIN_STATION: &str = "connect-src 'self' https: http:; frame-src 'self'";

const STATION_SCRIPT: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("../browser/station/secret.js"),
    include_str!("../browser/station/directory.js"),
    include_str!("../browser/station/launcher.js"),
    include_str!("../browser/station/view.js"),
    include_str!("../browser/station/main.js"),
    "})();\n"
);

/// The paths of the pages.
pub(crate) fn router(config: &Config) -> Router {
    let caps = config.cap_url("");
    let html = |text: &str| text.replace("{caps}", &caps);
    let station = if caps.starts_with("http:") { PLAIN_STATION } else { STATION };
    let files = [
        ("/belay/page.css", OPEN, include_str!("../browser/open/page.css").to_owned()),
        ("/belay/open", OPEN, html(include_str!("../browser/open/index.html"))),
        ("/belay/open.js", OPEN, include_str!("../browser/open/open.js").to_owned()),
        ("/belay/station", station, html(include_str!("../browser/station/index.html"))),
        ("/belay/station/loading", station, html(include_str!("../browser/station/loading.html"))),
        ("/belay/station.js", station, STATION_SCRIPT.to_owned()),
        ("/belay/station.css", station, include_str!("../browser/station/station.css").to_owned()),
    ];
    files.into_iter().fold(Router::new(), |router, (path, rights, text)| {
        let page = Arc::new(Page::new(path, rights, text));
        router.route(path, get(async move |headers: HeaderMap| page.answer(&headers)))
    })
}

impl Page {
    fn new(path: &str, rights: &str, text: String) -> Self {
        let content_type = match path.rsplit_once('.') {
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        let hash = STANDARD.encode(Sha256::digest(&text));
        let value =
            |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        let (policy, etag) = (value(&format!("{STRICT}; {rights}")), value(&format!("\"{hash}\"")));
        Self { body: text.into(), content_type, policy, etag }
    }

    /// The page; nothing but its headers if the browser has it already.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == self.etag);
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (header::ETAG, self.etag.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache")),
            (header::CONTENT_SECURITY_POLICY, self.policy.clone()),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")),
            // A page that a station opens gets no hold of it.
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                HeaderValue::from_static("same-origin"),
            ),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                HeaderValue::from_static("same-origin"),
            ),
        ];
        if known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.body.clone()).into_response()
    }
}
