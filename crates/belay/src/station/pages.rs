//! The pages for people: `/belay/open`, `/belay/station` and what they load (Belay §13, §21.7).
//!
//! Static: the secret of a link is in the fragment, which never comes here. Never here: looking a
//! capability up.

use std::sync::Arc;

use axum::{Router, response::Response, routing::get};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY},
};

use crate::{browser::Asset, config::Config, http::respond};

/// What a page may do: it loads from here alone, is framed by nobody, and submits nothing.
const STRICT: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/belay/open` calls capabilities of this gateway, and makes no markup of texts.
const OPEN: &str = "connect-src 'self'; require-trusted-types-for 'script'";

/// A file as it is served.
struct Page {
    asset: Asset,
    policy: HeaderValue,
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
    fn new(path: &'static str, rights: &str, text: String) -> Self {
        let (stem, extension) = path.rsplit_once('.').unwrap_or((path, "html"));
        let content_type = match extension {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        let policy = HeaderValue::from_str(&format!("{STRICT}; {rights}"));
        Self {
            asset: Asset::new(stem, extension, content_type, text),
            // Both are visible ASCII.
            policy: policy.unwrap_or(HeaderValue::from_static(STRICT)),
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let named = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let more = [
            (CONTENT_SECURITY_POLICY, self.policy.clone()),
            (CACHE_CONTROL, HeaderValue::from_static("public, no-cache")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            named("x-robots-tag", "noindex"),
            // A page that a station opens gets no hold of it.
            named("cross-origin-opener-policy", "same-origin"),
            named("cross-origin-resource-policy", "same-origin"),
        ];
        respond(&self.asset, headers, more)
    }
}
