//! The scripts for pages, and the page that says how to load them (Backplane §13.10).

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

use super::{pages, response, served};
use crate::{
    browser::{Script, ScriptName},
    state::State,
    wire::path::Endpoint,
};

/// What is named by its content never changes.
const FOREVER: HeaderValue = HeaderValue::from_static("public,max-age=31536000,immutable");
const HOUR: HeaderValue = HeaderValue::from_static("public,max-age=3600");

/// A script, unless the browser says that it has it.
pub(crate) fn script(headers: &HeaderMap, script: Script, name: ScriptName) -> Response {
    let caching = match name {
        ScriptName::Plain => HOUR,
        ScriptName::Hashed => FOREVER,
    };
    // Base64 is visible ASCII.
    let tag = HeaderValue::from_str(&format!("\"{}\"", script.integrity()));
    let tag = tag.unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let mut tags = known.flat_map(|line| line.split(',')).map(str::trim);
    let has_it = tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag);
    if has_it {
        return response::not_modified(caching, tag);
    }
    response::script(script.source(), caching, tag)
}

/// The page at the root of the host (Backplane §13.10).
pub(crate) fn welcome(state: &State) -> Response {
    let is_served = |script: &Script| {
        let endpoint = Endpoint::Script(*script, ScriptName::Plain);
        matches!(served(endpoint, state.config.generations), Endpoint::Script(..))
    };
    let base = state.config.public_url.as_str();
    let tags = Script::ALL.into_iter().filter(is_served).map(|script| {
        let src = format!("{base}/static/{}", script.hashed_name());
        pages::ScriptTag { about: script.about(), src, integrity: script.integrity() }
    });
    pages::welcome(tags.collect())
}
