//! The browser library: `/simplepush.js` and its types, `/simplepush.d.ts`.
//!
//! The library is written as modules and served as one script. Never here: the protocol, which is in the
//! modules.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::RawQuery,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// The modules, each after those that it imports.
const MODULES: [&str; 7] = [
    include_str!("protocol.mjs"),
    include_str!("pace.mjs"),
    include_str!("agent.mjs"),
    include_str!("storage.mjs"),
    include_str!("hub.mjs"),
    include_str!("page.mjs"),
    include_str!("main.mjs"),
];

/// The script as it is served, with its hash.
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(bundle(&MODULES), "text/javascript; charset=utf-8"));
static TYPES: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(include_str!("simplepush.d.ts").to_owned(), "application/typescript; charset=utf-8")
});

/// The value of `integrity` with which a page on another site may include `/simplepush.js`.
///
/// The script is the same for all gateways of one release.
pub fn script_integrity() -> &'static str {
    &SCRIPT.integrity
}

/// The paths of the library.
pub(crate) fn router() -> Router {
    let script =
        |query: RawQuery, headers: HeaderMap| async move { SCRIPT.answer(query, &headers) };
    let types = |query: RawQuery, headers: HeaderMap| async move { TYPES.answer(query, &headers) };
    Router::new().route("/simplepush.js", get(script)).route("/simplepush.d.ts", get(types))
}

/// Joins modules into one script: their imports are each other's exports.
fn bundle(modules: &[&str]) -> String {
    let mut script = String::from("(() => {\n\"use strict\";\n");
    let lines = modules.iter().flat_map(|module| module.lines());
    for line in lines.filter(|line| !line.starts_with("import ")) {
        script.push_str(line.strip_prefix("export ").unwrap_or(line));
        script.push('\n');
    }
    script.push_str("})();\n");
    script
}

struct Asset {
    body: Bytes,
    content_type: HeaderValue,
    /// `sha256-` and the hash in Base64.
    integrity: String,
    etag: HeaderValue,
    /// The query of the URL that always means this content, and may be cached for ever.
    pinned: String,
}

impl Asset {
    fn new(body: String, content_type: &'static str) -> Self {
        let hash: [u8; 32] = Sha256::digest(&body).into();
        let [first, second, third, fourth, ..] = hash;
        let integrity = format!("sha256-{}", STANDARD.encode(hash));
        // Base64 needs no escaping in a header.
        let etag = HeaderValue::from_str(&format!("\"{integrity}\""));
        Self {
            body: body.into(),
            content_type: HeaderValue::from_static(content_type),
            integrity,
            pinned: format!("v={:08x}", u32::from_be_bytes([first, second, third, fourth])),
            etag: etag.unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }

    /// The asset; nothing but its ETag if the browser has it already.
    fn answer(&self, RawQuery(query): RawQuery, headers: &HeaderMap) -> Response {
        let caching = if query.is_some_and(|query| query == self.pinned) {
            "public, max-age=31536000, immutable"
        } else {
            "public, no-cache"
        };
        let headers_out: [(HeaderName, HeaderValue); 6] = [
            (header::CONTENT_TYPE, self.content_type.clone()),
            (header::ETAG, self.etag.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static(caching)),
            // Pages of other sites check its hash, which browsers allow with CORS only.
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                HeaderValue::from_static("cross-origin"),
            ),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        let is_known = headers.get_all(header::IF_NONE_MATCH).iter().any(|known| {
            let mut tags = known.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            tags.any(|tag| {
                tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.etag.as_bytes()
            })
        });
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers_out).into_response();
        }
        (headers_out, self.body.clone()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_become_one_script() {
        let modules = ["export const a = 1;\n", "import { a } from \"./a.mjs\";\n\nconst b = a;\n"];
        assert_eq!(
            bundle(&modules),
            "(() => {\n\"use strict\";\nconst a = 1;\n\nconst b = a;\n})();\n"
        );
        assert!(!SCRIPT.body.windows(7).any(|window| window == b"import " || window == b"export "));
    }

    #[test]
    fn the_readme_shows_the_integrity_of_the_script() {
        let readme = include_str!("../../README.md");
        let (integrity, pinned) = (script_integrity(), &SCRIPT.pinned);
        assert!(readme.contains(integrity), "write {integrity} there");
        assert!(readme.contains(pinned), "write {pinned} there");
    }
}
