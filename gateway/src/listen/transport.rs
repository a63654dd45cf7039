//! Who the client is, and whether the request is secure (Backplane §3.2, Belay §21.7).
//!
//! Forwarding headers are believed from trusted proxies only. Never here: what a door does.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};

use super::step::Step;
use crate::config::Network;

/// What the bytes of a connection went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Nothing.
    Plain,
    /// TLS.
    Tls,
}

/// The other end of a connection. Every request carries one as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address: a proxy's, if there is one.
    pub address: SocketAddr,
    /// What the bytes went through.
    pub channel: Channel,
}

/// What is asked of the way that a request came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportPolicy {
    /// Whether requests that are not secure are refused.
    pub require_tls: bool,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// What browsers are told of coming back over TLS (RFC 6797); `None` for nothing.
    pub hsts: Option<HeaderValue>,
}

impl TransportPolicy {
    fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(ip))
    }

    /// Whether the request came over TLS, to us or to a trusted proxy.
    fn is_secure(&self, peer: Peer, headers: &HeaderMap) -> bool {
        peer.channel != Channel::Plain
            || (self.trusts(peer.address.ip())
                && headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https"))
    }

    /// The address of the client: the last one in `X-Forwarded-For` that is no trusted proxy, if the
    /// peer is one.
    fn client(&self, peer: Peer, headers: &HeaderMap) -> SocketAddr {
        if !self.trusts(peer.address.ip()) {
            return peer.address;
        }
        let forwarded: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        let mut client = peer.address;
        for hop in forwarded.iter().rev() {
            // Beyond a hop that can't be read, nothing can be believed.
            let Ok(ip) = hop.trim().parse::<IpAddr>() else { break };
            client = SocketAddr::new(ip, 0);
            if !self.trusts(ip) {
                break;
            }
        }
        client
    }
}

/// Refuses a request that must be secure and is not, and tells the door the address of the client
/// (as `ConnectInfo<SocketAddr>`).
#[derive(Clone, Debug)]
pub struct CheckTransport(Arc<TransportPolicy>);

impl CheckTransport {
    /// Checks by `policy`.
    pub fn new(policy: TransportPolicy) -> Self {
        Self(Arc::new(policy))
    }
}

impl Step for CheckTransport {
    /// The header of the answer, if there is one.
    type Kept = Option<HeaderValue>;

    fn before(&self, request: &mut Request) -> Result<Self::Kept, Box<Response>> {
        let policy = &*self.0;
        let Some(peer) = request.extensions().get::<Peer>().copied() else {
            // Only our own accept loop calls this, and it always says who the peer is.
            return Err(Box::new(insecure("")));
        };
        let secure = policy.is_secure(peer, request.headers());
        let path = request.uri().path();
        if policy.require_tls && !secure && !may_be_plain(request.method(), path) {
            metrics::counter!("buswire_insecure_requests_total").increment(1);
            return Err(Box::new(insecure(path)));
        }
        let client = policy.client(peer, request.headers());
        // The accept loop has told the address of the peer.
        if client != peer.address {
            request.extensions_mut().insert(ConnectInfo(client));
        }
        Ok(policy.hsts.as_ref().filter(|_| secure).cloned())
    }

    fn after(hsts: Self::Kept, response: &mut Response) {
        if let Some(hsts) = hsts {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts);
        }
    }
}

fn insecure(path: &str) -> Response {
    refusal(path, StatusCode::FORBIDDEN, "Connection must be made over https")
}

/// Backplane §3.2: HTTPS is optional for reading a 1.x channel and for making a new one.
fn may_be_plain(method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let segments: Vec<&str> = segments(path).take(6).collect();
    let unversioned = match segments.as_slice() {
        [version, rest @ ..] if is_one_x(version) => rest,
        all => all,
    };
    reads && matches!(unversioned, ["bus", _, "channel", _])
}

/// The segments of a path; repeated slashes count once (Backplane §3.1).
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

fn is_one_x(segment: &str) -> bool {
    matches!(segment, "v1" | "v1.1" | "v1.2" | "v1.3")
}

/// Whose style a refusal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    BackplaneOne,
    BackplaneTwo,
    Belay,
    Other,
}

impl Family {
    fn of(path: &str) -> Self {
        let mut segments = segments(path);
        match segments.next() {
            Some("bus") => Self::BackplaneOne,
            Some(first) if is_one_x(first) => Self::BackplaneOne,
            // Provisioning has one style in both generations (Backplane §13.1).
            Some("v2") if segments.next() == Some("provision") => Self::BackplaneOne,
            Some("v2") => Self::BackplaneTwo,
            Some("cap" | "belay") => Self::Belay,
            _ => Self::Other,
        }
    }
}

/// Refuses a request of `path` in the style of its family. `message` needs no escapes in JSON; Belay
/// has the reason of the status instead.
pub(crate) fn refusal(path: &str, status: StatusCode, message: &str) -> Response {
    let body = match Family::of(path) {
        Family::BackplaneOne => format!(r#"{{"ERR_MSG":"{message}"}}"#),
        Family::BackplaneTwo | Family::Other => format!(r#"{{"error":"{message}"}}"#),
        Family::Belay => {
            let reason = status.canonical_reason().unwrap_or_default().to_lowercase();
            format!(r#"{{"error":{{"status":{},"message":"{reason}"}}}}"#, status.as_u16())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(proxies: &[&str]) -> TransportPolicy {
        let trusted_proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        TransportPolicy { require_tls: true, trusted_proxies, hsts: None }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn peer(address: &str) -> Peer {
        Peer { address: address.parse().unwrap(), channel: Channel::Plain }
    }

    #[test]
    fn only_a_trusted_proxy_can_vouch_for_tls() {
        // Rule: backplane §3.2 — a request is secure over TLS, or if a trusted proxy says so; nobody else is believed
        // Rule: backplane §17 row 23 — forwarding headers count from trusted proxies only
        let https = headers(&[("x-forwarded-proto", "https")]);
        let plain = headers(&[("x-forwarded-proto", "http")]);
        let policy = policy(&["10.0.0.0/8"]);
        assert!(policy.is_secure(peer("10.1.1.1:9"), &https));
        assert!(!policy.is_secure(peer("10.1.1.1:9"), &plain));
        assert!(!policy.is_secure(peer("10.1.1.1:9"), &headers(&[])));
        assert!(!policy.is_secure(peer("192.0.2.1:9"), &https));
        let tls = Peer { channel: Channel::Tls, ..peer("192.0.2.1:9") };
        assert!(policy.is_secure(tls, &headers(&[])));
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_not_trusted() {
        let policy = policy(&["10.0.0.0/8"]);
        for (from, forwarded, expect) in [
            ("10.0.0.1:9", "203.0.113.7", "203.0.113.7"),
            ("10.0.0.1:9", "127.0.0.1, 203.0.113.7", "203.0.113.7"),
            ("10.0.0.1:9", "127.0.0.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
            ("10.0.0.1:9", "203.0.113.7, nonsense", "10.0.0.1"),
            ("192.0.2.1:9", "203.0.113.7", "192.0.2.1"),
            ("10.0.0.1:9", "", "10.0.0.1"),
        ] {
            let client = policy.client(peer(from), &headers(&[("x-forwarded-for", forwarded)]));
            assert_eq!(client.ip().to_string(), expect, "{from} {forwarded}");
        }
    }

    #[test]
    fn reading_a_channel_of_one_x_may_be_plain() {
        // Rule: backplane §3.2 — HTTPS is optional for 1.x GET channel and channel/new, required for the rest
        for (method, path, expect) in [
            (Method::GET, "/v1.2/bus/b/channel/new", true),
            (Method::GET, "/v1/bus/b/channel/abc", true),
            (Method::POST, "/v1.2/bus/b/channel/abc", false),
            (Method::GET, "/bus/b/channel/new", true),
            (Method::GET, "//v1.3//bus/b/channel/c/", true),
            (Method::GET, "/v1.9/bus/b/channel/c", false),
            (Method::GET, "/v1.2/bus/b", false),
            (Method::GET, "/v2/bus/b/channel/c", false),
            (Method::GET, "/v1.2/bus/b/channel/", false),
            (Method::GET, "/v1.2/bus/b/channel/c/d", false),
            (Method::GET, "/cap/x", false),
        ] {
            assert_eq!(may_be_plain(&method, path), expect, "{method} {path}");
        }
    }
}
