//! `/belay/frame.html` with its script and style, which every Belay page embeds (Belay §22.2, §22.3).
//!
//! They are static, and the same for everybody. Never here: who embeds the frame; the frame itself asks
//! the browser.

use axum::{
    Router,
    response::{Html, IntoResponse as _, Response},
    routing::get,
};
use http::{
    HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};

use super::library;
use crate::{
    browser::frame::{DOCUMENT, SCRIPT, STYLE},
    config::Config,
};

/// Whatever a document could be allowed to use; the frame uses none of it.
const FEATURES: [&str; 30] = [
    "accelerometer",
    "autoplay",
    "bluetooth",
    "browsing-topics",
    "camera",
    "clipboard-read",
    "clipboard-write",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "gamepad",
    "geolocation",
    "gyroscope",
    "hid",
    "identity-credentials-get",
    "idle-detection",
    "local-fonts",
    "magnetometer",
    "microphone",
    "midi",
    "otp-credentials",
    "payment",
    "picture-in-picture",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "storage-access",
    "usb",
    "web-share",
    "xr-spatial-tracking",
];

/// The documents of the frame. They may be kept for minutes: a page that is open keeps its own anyway.
pub(super) fn router(config: &Config) -> Router {
    let document = Document::new(config);
    let router = [&SCRIPT, &STYLE].into_iter().fold(Router::new(), library::serve);
    router.route("/belay/frame.html", get(async move || document.respond()))
}

/// The document, as this gateway is set.
#[derive(Clone)]
struct Document {
    html: String,
    headers: [(HeaderName, HeaderValue); 7],
}

impl Document {
    fn new(config: &Config) -> Self {
        let frame = &config.frame;
        let on = |is_on: bool| if is_on { "on" } else { "off" };
        let html = DOCUMENT
            .replace("{relay}", on(frame.relay))
            .replace("{original}", on(frame.original_clients))
            .replace("{opaque}", on(frame.opaque_origins));
        let socket = config.socket_origin();
        let mut policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {socket}; \
             img-src 'self' data:; base-uri 'none'; form-action 'none'"
        );
        if let Some(ancestors) = frame.ancestor_list() {
            policy.push_str("; frame-ancestors ");
            policy.push_str(&ancestors);
        }
        let features = FEATURES.map(|feature| format!("{feature}=()")).join(", ");
        // Both are visible ASCII: origins, and names of ours.
        let text =
            |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        let word = HeaderValue::from_static;
        let headers = [
            (CONTENT_SECURITY_POLICY, text(policy)),
            (HeaderName::from_static("permissions-policy"), text(features)),
            (REFERRER_POLICY, word("no-referrer")),
            // Pages that are isolated from other origins may embed it.
            (HeaderName::from_static("cross-origin-embedder-policy"), word("require-corp")),
            (HeaderName::from_static("cross-origin-resource-policy"), word("cross-origin")),
            (CACHE_CONTROL, word("public, max-age=300")),
            (X_CONTENT_TYPE_OPTIONS, word("nosniff")),
        ];
        Self { html, headers }
    }

    fn respond(&self) -> Response {
        (self.headers.clone(), Html(self.html.clone())).into_response()
    }
}
