//! The library that pages load: `/belay/client.js`, `/belay/client.mjs` and its types (Belay §22.6).
//!
//! It is written as fragments that see the names of the ones before them; `README.md` says more. Never
//! here: an answer of HTTP.

use std::{fmt::Write as _, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use sha2::{Digest as _, Sha384};

/// What pages and the hosted frame share: ids, bcapJson, capabilities, CapServer, tunnel.
pub(crate) const CORE: [&str; 10] = [
    include_str!("core/errors.js"),
    include_str!("core/hash.js"),
    include_str!("core/ids.js"),
    include_str!("core/bcapjson.js"),
    include_str!("core/capability.js"),
    include_str!("core/transport.js"),
    include_str!("core/items.js"),
    include_str!("core/persistifier.js"),
    include_str!("core/capserver.js"),
    include_str!("core/tunnel.js"),
];

// The start id leaves the address before anything else runs.
const START_ID: &str = include_str!("page/start-id.js");

const PAGE: [&str; 9] = [
    include_str!("page/settings.js"),
    include_str!("page/link.js"),
    include_str!("page/actions.js"),
    include_str!("page/start-errors.js"),
    include_str!("page/session.js"),
    include_str!("page/transfer.js"),
    include_str!("page/exchange.js"),
    include_str!("page/util.js"),
    include_str!("page/face.js"),
];

// A second load finds what the first has made.
const HEAD: &str = concat!(
    "(() => {\n\"use strict\";\n",
    "if (window.belay && !Array.isArray(window.belay.standIn)) return window.belay;\n",
    "const libraryVersion = \"",
    env!("CARGO_PKG_VERSION"),
    "\";\n",
);
const CLASSIC: &str =
    "const libraryURL = document.currentScript ? document.currentScript.src : location.href;\n";
const MODULE: &str = "const libraryURL = import.meta.url;\n";
const EXPORTS: &str = include_str!("page/exports.mjs");

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The library as a classic script, which defines `window.belay`.
pub(crate) static CLIENT: LazyLock<Asset> = LazyLock::new(|| {
    let parts = [&[HEAD, START_ID, CLASSIC], &CORE[..], &PAGE[..], &["})();\n"]];
    Asset::new("client", "js", JAVASCRIPT, parts.concat().concat())
});

/// The library as a module.
pub(crate) static CLIENT_MODULE: LazyLock<Asset> = LazyLock::new(|| {
    let parts =
        [&["const belay = ", HEAD, START_ID, MODULE], &CORE[..], &PAGE[..], &["})();\n", EXPORTS]];
    Asset::new("client", "mjs", JAVASCRIPT, parts.concat().concat())
});

/// The types of both.
pub(crate) static CLIENT_TYPES: LazyLock<Asset> = LazyLock::new(|| {
    let types = include_str!("client.d.ts").to_owned();
    Asset::new("client", "d.ts", "application/typescript; charset=utf-8", types)
});

/// A file that is served as it is, under a plain name and under one that only this content has.
#[derive(Debug)]
pub(crate) struct Asset {
    stem: &'static str,
    extension: &'static str,
    content_type: &'static str,
    body: Bytes,
    digest: [u8; 48],
}

impl Asset {
    pub(crate) fn new(
        stem: &'static str,
        extension: &'static str,
        content_type: &'static str,
        body: String,
    ) -> Self {
        let digest = Sha384::digest(&body).into();
        Self { stem, extension, content_type, body: body.into(), digest }
    }

    /// `client.js`
    pub(crate) fn plain_name(&self) -> String {
        format!("{}.{}", self.stem, self.extension)
    }

    /// `client.HASH.js`
    pub(crate) fn hashed_name(&self) -> String {
        let mut name = format!("{}.", self.stem);
        for byte in self.digest.iter().take(10) {
            // Writing to memory can't fail.
            write!(name, "{byte:02x}").unwrap_or_default();
        }
        format!("{name}.{}", self.extension)
    }

    /// What a page writes into `integrity`, so that its browser takes no other content.
    pub(crate) fn integrity(&self) -> String {
        format!("sha384-{}", STANDARD.encode(self.digest))
    }

    pub(crate) const fn content_type(&self) -> &'static str {
        self.content_type
    }

    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// The path of the library that always means the same content, `/belay/client.HASH.js`, for a page that
/// names its [`client_integrity`] too.
pub fn client_path() -> String {
    format!("/belay/{}", CLIENT.hashed_name())
}

/// The value of `integrity` with which a page may include [`client_path`]; the same for all gateways of
/// one release.
pub fn client_integrity() -> String {
    CLIENT.integrity()
}
