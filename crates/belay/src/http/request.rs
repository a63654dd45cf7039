//! Receiving a request: steps 1 to 3 of Belay §21.3, and the parts that later steps need.
//!
//! Never here: looking anything up; a preflight and a refusal made here are the same for every id.

use std::net::{IpAddr, SocketAddr};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use buswire_message::{Door, TraceParent, TraceState};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::{
    audit::Peer,
    error::BcapError,
    http::{
        ClientAddress, peer,
        reply::{Label, Reply, failure, preflight, success},
    },
    method::{Method, MethodSet},
    origin::Origin,
    server::CapServer,
};

/// What a capability is called with.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) body: Bytes,
    pub(super) address: Option<IpAddr>,
    pub(super) peer: Peer,
}

/// A request, received whole.
pub(super) struct Incoming {
    pub(super) path: String,
    pub(super) call: Call,
    headers: HeaderMap,
    is_head: bool,
}

/// Receives a request whose method is one of `methods`; answers it at once otherwise.
pub(super) async fn receive(
    request: Request,
    server: &CapServer,
    methods: MethodSet,
) -> Result<Incoming, Box<Response>> {
    let (parts, body) = request.into_parts();
    if parts.method == http::Method::OPTIONS {
        return Err(Box::new(preflight(parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS))));
    }
    let is_head = parts.method == http::Method::HEAD;
    let method = if is_head { Some(Method::Get) } else { Method::parse(parts.method.as_str()) };
    let refused = |error| Box::new(finish(failure(error), is_head));
    let method = method
        .filter(|method| methods.contains(*method))
        .ok_or_else(|| refused(BcapError::MethodNotAllowed { allow: methods }))?;
    let most = server.config().body_bytes_max;
    let body = read(body, &parts.headers, most).await.map_err(refused)?;
    let address = client_address(&parts.extensions);
    Ok(Incoming {
        path: parts.uri.path().to_owned(),
        call: Call { method, body, address, peer: peer(address) },
        headers: parts.headers,
        is_head,
    })
}

impl Incoming {
    /// Where it came from, with the place in a trace that the sender names.
    pub(super) fn origin(&self) -> Origin {
        let sent = |name| self.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let traceparent =
            TraceParent::received(sent(TraceParent::HEADER), sent(TraceState::HEADER));
        Origin::new(Door::Belay).traced(traceparent).with_body(self.call.body.clone())
    }

    /// The response to this request.
    pub(super) fn answer(&self, reply: Result<Reply, BcapError>) -> Response {
        let response = match reply {
            Ok(reply) => success(reply, self.label()),
            Err(error) => failure(error),
        };
        finish(response, self.is_head)
    }

    // JSON only to who names it; a wildcard is what an old client sends (Belay §21.4).
    fn label(&self) -> Label {
        let values = self.headers.get_all(ACCEPT).into_iter();
        let mut ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        let names_json = |range: &str| {
            let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
            name.trim().eq_ignore_ascii_case("application/json") && !is_refused(parameters)
        };
        if ranges.any(names_json) { Label::Json } else { Label::TextPlain }
    }

    /// Refuses a body of a media type that no operation takes (Belay §21.3, step 6).
    pub(super) fn check_media_type(&self) -> Result<(), BcapError> {
        let mut values = self.headers.get_all(CONTENT_TYPE).into_iter();
        let Some(value) = values.next() else { return Ok(()) };
        let text = value.to_str().map_err(|_| BcapError::UnsupportedMediaType)?;
        if values.next().is_none() && is_text_or_json(text) {
            Ok(())
        } else {
            Err(BcapError::UnsupportedMediaType)
        }
    }
}

// `q=0`: not acceptable.
fn is_refused(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("q")
                && value.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0)
        })
    })
}

fn is_text_or_json(content_type: &str) -> bool {
    let (name, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let name = name.trim();
    let known =
        name.eq_ignore_ascii_case("text/plain") || name.eq_ignore_ascii_case("application/json");
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    known && parameters.split(';').all(utf8)
}

/// Receives a body of at most so many bytes.
pub(crate) async fn read(body: Body, headers: &HeaderMap, most: usize) -> Result<Bytes, BcapError> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if declared.and_then(|text| text.parse::<u64>().ok()).is_some_and(|n| n > most as u64) {
        return Err(BcapError::TooLarge);
    }
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BcapError::TooLarge),
        Err(_) => Err(BcapError::BadRequest),
    }
}

/// The address of a client, as far as the listener knows it.
pub(crate) fn client_address(extensions: &http::Extensions) -> Option<IpAddr> {
    let told = extensions.get::<ClientAddress>().map(|address| address.0);
    told.or_else(|| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()))
}

// A HEAD has the headers of its GET and no body.
fn finish(mut response: Response, is_head: bool) -> Response {
    if is_head {
        *response.body_mut() = Body::empty();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_in_utf8_are_taken() {
        // Rule: belay 21.3 — a PUT or POST body is text/plain or application/json, in UTF-8
        for good in [
            "text/plain",
            "text/plain;charset=UTF-8",
            "Application/JSON; charset=\"utf-8\"; x=y",
            "text/plain;",
        ] {
            assert!(is_text_or_json(good), "{good}");
        }
        for bad in ["text/html", "", "text/plain;charset=latin1", "application/jsonp", "text"] {
            assert!(!is_text_or_json(bad), "{bad}");
        }
    }

    #[test]
    fn a_quality_of_zero_refuses() {
        assert!(is_refused("q=0") && is_refused(" a=b; Q=0.0"));
        assert!(!is_refused("q=0.1") && !is_refused(""));
    }
}
