//! The pages that people see (Backplane §11.1, §13.10): no scripts, nothing from elsewhere, no frames.

use std::sync::LazyLock;

use askama::Template;
use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::response;
use crate::rules::names::RedirectUri;

const STYLE: &str = include_str!("../../templates/style.css");

/// Lets in the one style sheet of the pages, by its hash.
static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(STYLE))));

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    style: &'a str,
    client: Option<&'a str>,
    problem: Option<&'a str>,
}

/// What the page of a decision shows.
#[derive(Template)]
#[template(path = "decision.html")]
pub(super) struct Decision<'a> {
    style: &'a str,
    client: &'a str,
    source_url: &'a str,
    buses: Vec<&'a str>,
    redirect_uri: &'a str,
    auth_key: &'a str,
    owner: &'a str,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Problem<'a> {
    style: &'a str,
    text: &'a str,
    advice: &'a str,
}

#[derive(Template)]
#[template(path = "welcome.html")]
struct Welcome<'a> {
    style: &'a str,
    tags: Vec<ScriptTag>,
}

/// How a page loads a script.
pub(super) struct ScriptTag {
    pub(super) about: &'static str,
    pub(super) src: String,
    pub(super) integrity: String,
}

/// The page at the root of the host.
pub(super) fn welcome(tags: Vec<ScriptTag>) -> Response {
    document(StatusCode::OK, &Welcome { style: STYLE, tags }, None)
}

/// The form to sign in with, for the client whose request waits.
pub(super) fn sign_in(
    status: StatusCode,
    waiting: Option<(&str, &RedirectUri)>,
    problem: Option<&str>,
) -> Response {
    let client = waiting.map(|(client, _)| client);
    let page = SignIn { style: STYLE, client, problem };
    document(status, &page, waiting.map(|(_, uri)| uri))
}

/// The form to decide with.
pub(super) fn decision(
    client: &crate::state::clients::Client,
    buses: &[buswire_message::BusName],
    auth_key: &str,
    owner: &str,
) -> Response {
    let page = Decision {
        style: STYLE,
        client: client.id.as_str(),
        source_url: client.source_url.as_str(),
        buses: buses.iter().map(buswire_message::BusName::name).collect(),
        redirect_uri: client.redirect_uri.as_str(),
        auth_key,
        owner,
    };
    document(StatusCode::OK, &page, Some(&client.redirect_uri))
}

/// Says what is wrong, and what to do about it.
pub(super) fn problem(status: StatusCode, text: &str, advice: &str) -> Response {
    document(status, &Problem { style: STYLE, text, advice }, None)
}

/// `target` is where a form may lead beside this server: browsers hold the redirect after a form
/// against `form-action` too.
fn document(status: StatusCode, page: &impl Template, target: Option<&RedirectUri>) -> Response {
    // Writing to memory can't fail.
    let body = page.render().unwrap_or_default();
    let mut response = response::document(status, "text/html; charset=utf-8", body);
    let target = target.map(RedirectUri::policy_source).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src {}; form-action 'self' {target}; frame-ancestors 'none'; \
         base-uri 'none'",
        *STYLE_SOURCE
    );
    let headers = response.headers_mut();
    // An origin and a hash are visible ASCII, so the policy is a header value.
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
