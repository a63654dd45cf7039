//! The hosted frame that joins pages: its document, script and style (Belay §22.2).
//!
//! Never here: an answer of HTTP.

use std::sync::LazyLock;

use super::{Asset, CORE, JAVASCRIPT};

/// The document, with a place for each thing that a gateway may set.
pub(crate) const DOCUMENT: &str = include_str!("frame.html");

/// The router, which the library has too, for pages that embed a frame of their own.
pub(crate) const ROUTER: [&str; 2] = [include_str!("router.js"), include_str!("partition.js")];

const PARTS: [&str; 8] = [
    include_str!("relay.js"),
    include_str!("starts.js"),
    include_str!("activation.js"),
    include_str!("services.js"),
    include_str!("station.js"),
    include_str!("bar.js"),
    include_str!("page.js"),
    include_str!("frame.js"),
];

/// The script, in one scope: nothing of it is a name of the window.
pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let parts = [&["(() => {\n\"use strict\";\n"], &CORE[..], &ROUTER, &PARTS, &["})();\n"]];
    Asset::new("frame", "js", JAVASCRIPT, parts.concat().concat())
});

/// The style of the bar.
pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("frame", "css", "text/css; charset=utf-8", include_str!("frame.css").to_owned())
});
