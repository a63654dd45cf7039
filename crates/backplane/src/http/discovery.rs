//! Where the endpoints of 2.0 are (Backplane §12.1).
//!
//! There is no dynamic registration (§12.2), so no link to one.

use std::fmt::Write as _;

use axum::response::Response;
use http::StatusCode;

use super::response;
use crate::{state::State, wire::path::HostMetaForm};

/// The relation types; no specification names any, so they are ours.
const RELATIONS: &str = "urn:buswire:backplane:2.0:";
const ENDPOINTS: [(&str, &str, &str); 4] = [
    ("authorize", "/v2/authorize", "Authorization Endpoint"),
    ("token", "/v2/token", "Token Endpoint"),
    ("messages", "/v2/messages", "Messages Endpoint"),
    ("message", "/v2/message", "Message Endpoint"),
];

/// `GET /v2/.well-known/host-meta`, `GET /.well-known/host-meta`.
pub(crate) fn host_meta(state: &State, form: HostMetaForm) -> Response {
    let base = escaped(state.config.public_url.as_str());
    let (namespace, host, kind) = match form {
        HostMetaForm::Reference => {
            ("", format!("    <Host>{base}</Host>\n"), "application/xrds+xml")
        }
        HostMetaForm::Standard => (
            " xmlns=\"http://docs.oasis-open.org/ns/xri/xrd-1.0\"",
            format!("    <Subject>{base}</Subject>\n"),
            "application/xrd+xml",
        ),
    };
    let mut body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<XRD{namespace}>\n{host}");
    for (relation, path, title) in ENDPOINTS {
        // Writing to memory can't fail.
        let link = format_args!(
            "    <Link rel=\"{RELATIONS}{relation}\" href=\"{base}{path}\">\n        \
             <Title>{title}</Title>\n    </Link>\n"
        );
        body.write_fmt(link).unwrap_or_default();
    }
    body.push_str("</XRD>\n");
    response::document(StatusCode::OK, kind, body)
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}
