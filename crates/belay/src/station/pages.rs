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

/// The paths of the pages.
pub(crate) fn router(config: &Config) -> Router {
    let html = |text: &str| text.replace("{caps}", &config.cap_url(""));
    let files = [
        ("/belay/open", OPEN, html(include_str!("../browser/open/index.html"))),
        ("/belay/page.css", OPEN, include_str!("../browser/open/page.css").to_owned()),
        ("/belay/open.js", OPEN, include_str!("../browser/open/open.js").to_owned()),
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
