//! The HTTP interface for application servers: `PUT /update/{token}` (SimplePush §12).
//!
//! Never here: what becomes of a version.

mod form;
mod multipart;

use std::{fmt, sync::Arc};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use buswire_message::{TooOften, TraceParent, TraceState, Version};
use buswire_store::BoxFuture;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::{
    config::{Config, Cors, Presence},
    service::{Availability, NotifyError, SimplePush, Status, UserAgentPresence},
    upgrade::{retry_after, source},
};

/// The most bytes of a path; a token is far shorter (R-EP-6).
const PATH_MAX: usize = 1024;
/// Seconds after which an application server may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Why a PUT was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("Invalid Version")]
    Version,
    #[error("Invalid Form")]
    Form,
    #[error("Invalid Token")]
    Token,
    #[error("Method Not Allowed")]
    Method,
    #[error("Request Timeout")]
    Slow,
    #[error("Channel Gone")]
    Gone,
    #[error("Data exceeds max length")]
    TooLong,
    #[error("Too Many Requests")]
    TooOften(TooOften),
    #[error("Could not update channel version")]
    Unavailable,
}

impl EndpointError {
    /// The status for an error (§12.3).
    const fn status(self) -> StatusCode {
        match self {
            Self::Version | Self::Form => StatusCode::BAD_REQUEST,
            Self::Token => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Gone => StatusCode::GONE,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<TooOften> for EndpointError {
    fn from(wait: TooOften) -> Self {
        Self::TooOften(wait)
    }
}

impl From<NotifyError> for EndpointError {
    fn from(error: NotifyError) -> Self {
        match error {
            NotifyError::NotAnEndpoint => Self::Token,
            NotifyError::Gone => Self::Gone,
            NotifyError::Unavailable => Self::Unavailable,
        }
    }
}

/// The fields of a PUT that mean something.
#[derive(Debug, Default)]
struct Fields {
    version: Option<String>,
    data: Option<String>,
}

impl Fields {
    /// Takes a field unless it is there already or means nothing.
    fn offer(&mut self, name: &[u8], value: Vec<u8>) -> Result<(), EndpointError> {
        let slot = match name {
            b"version" => &mut self.version,
            b"data" => &mut self.data,
            _ => return Ok(()),
        };
        if slot.is_none() {
            *slot = Some(String::from_utf8(value).map_err(|_| EndpointError::Form)?);
        }
        Ok(())
    }
}

/// Endpoints that are not channels, such as one that publishes to a bus. They are served under the
/// same path, so that an application server can't tell them apart.
pub trait ForeignEndpoints: Send + Sync + fmt::Debug {
    /// Whether there is an endpoint of this token, whose holder may be told what is wrong with a PUT.
    fn knows<'a>(&'a self, token: &'a str) -> BoxFuture<'a, bool>;

    /// Takes a PUT with a token that is none of SimplePush's: its version, unless the endpoint is to
    /// choose one, and its `data`; `traceparent` is the place in a trace that the sender names. `None`
    /// if there is no such endpoint. Success promises that what was taken is on stable storage.
    fn put<'a>(
        &'a self,
        token: &'a str,
        version: Option<Version>,
        data: Option<&'a str>,
        traceparent: Option<TraceParent>,
    ) -> BoxFuture<'a, Option<Result<(), NotifyError>>>;
}

/// A server, and what else it serves.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    pub(crate) push: SimplePush,
    pub(crate) foreign: Option<Arc<dyn ForeignEndpoints>>,
}

/// Answers a request for an endpoint, whatever its method and token.
pub(crate) async fn serve(endpoints: &Endpoints, request: Request) -> Response {
    let push = &endpoints.push;
    let config = push.config();
    let (parts, body) = request.into_parts();
    let mut response = match parts.method {
        Method::PUT => match put(endpoints, &parts, body).await {
            Ok(presence) => accepted(config, presence),
            Err(error) => {
                push.count_failed_put(error);
                refused(error)
            }
        },
        // R-HTTP-3: OPTIONS is 200 with an empty body, whatever the token.
        Method::OPTIONS => Response::default(),
        _ => refused(EndpointError::Method),
    };
    if config.cors == Cors::AnyOrigin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let methods = HeaderValue::from_static("PUT, OPTIONS");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    response
}

/// What a PUT asks for.
struct Asked {
    version: Option<Version>,
    data: Option<String>,
}

async fn put(
    endpoints: &Endpoints,
    parts: &Parts,
    body: Body,
) -> Result<UserAgentPresence, EndpointError> {
    let limits = endpoints.push.shared();
    let source = source(&parts.extensions);
    let now = limits.steady.now();
    if let Some(source) = &source {
        limits.refused_puts.check(source, now)?;
    }
    let result = put_unlimited(endpoints, parts, body).await;
    if let (Some(source), Err(EndpointError::Token | EndpointError::Gone)) = (source, &result) {
        // What counts is the next one.
        let _counted = limits.refused_puts.count(source, now);
    }
    result
}

async fn put_unlimited(
    endpoints: &Endpoints,
    parts: &Parts,
    body: Body,
) -> Result<UserAgentPresence, EndpointError> {
    let push = &endpoints.push;
    // The body is read even if the token is bad, so that the connection can be used again (R-HTTP-5).
    let body = read_body(push.config(), &parts.headers, body).await;
    if push.availability() == Availability::Draining {
        return Err(EndpointError::Unavailable);
    }
    let token = token(parts.uri.path()).ok_or(EndpointError::Token)?;
    let Some((user_agent, channel)) = push.endpoint(token) else {
        let foreign = endpoints.foreign.as_ref().ok_or(EndpointError::Token)?;
        // Faults of the form are told only to who holds an endpoint.
        let asked = body.and_then(|body| asked(push, parts, &body));
        return put_foreign(&**foreign, token, asked, &parts.headers).await;
    };
    let asked = asked(push, parts, &body?)?;
    push.shared().channel_puts.count((user_agent, channel), push.shared().steady.now())?;
    let data = asked.data.map(Into::into);
    Ok(push.deliver(user_agent, channel, asked.version, data).await?.user_agent)
}

async fn put_foreign(
    foreign: &dyn ForeignEndpoints,
    token: &str,
    asked: Result<Asked, EndpointError>,
    headers: &HeaderMap,
) -> Result<UserAgentPresence, EndpointError> {
    let asked = match asked {
        Ok(asked) => asked,
        Err(fault) if foreign.knows(token).await => return Err(fault),
        Err(_) => return Err(EndpointError::Token),
    };
    let sent = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let traceparent = TraceParent::received(sent(TraceParent::HEADER), sent(TraceState::HEADER));
    let answer = foreign.put(token, asked.version, asked.data.as_deref(), traceparent).await;
    answer.ok_or(EndpointError::Token)??;
    Ok(UserAgentPresence::Connected)
}

fn asked(push: &SimplePush, parts: &Parts, body: &[u8]) -> Result<Asked, EndpointError> {
    let fields = read_fields(parts, body)?;
    let version = Version::parse(fields.version.as_deref().unwrap_or_default())
        .map_err(|_| EndpointError::Version)?;
    let data_max = push.config().limits.data_bytes_max;
    let data = fields.data.filter(|data| data_max > 0 && !data.is_empty());
    if data.as_ref().is_some_and(|data| data.len() > data_max) {
        return Err(EndpointError::TooLong);
    }
    Ok(Asked { version, data })
}

/// The token in a path.
fn token(path: &str) -> Option<&str> {
    if path.len() > PATH_MAX {
        return None;
    }
    path.rsplit_once("/update/").map(|(_, token)| token)
}

async fn read_body(
    config: &Config,
    headers: &HeaderMap,
    body: Body,
) -> Result<bytes::Bytes, EndpointError> {
    use axum::body::HttpBody as _;
    if body.is_end_stream() {
        return Ok(bytes::Bytes::new());
    }
    let limit = config.limits.body_bytes_max;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > limit)
    {
        return Err(EndpointError::TooLong);
    }
    let reading = Limited::new(body, limit).collect();
    match tokio::time::timeout(config.timing.body_timeout, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(EndpointError::TooLong),
        Ok(Err(_)) => Err(EndpointError::Form),
        Err(_) => Err(EndpointError::Slow),
    }
}

/// Reads the parameters: those of the body count before those of the query (R-HTTP-1).
fn read_fields(parts: &Parts, body: &[u8]) -> Result<Fields, EndpointError> {
    let mut fields = Fields::default();
    let content_type = match parts.headers.get(header::CONTENT_TYPE) {
        Some(value) => value.to_str().map_err(|_| EndpointError::Form)?,
        None => "",
    };
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    match essence.trim().to_ascii_lowercase().as_str() {
        "" | "application/x-www-form-urlencoded" => form::read(body, &mut fields)?,
        "multipart/form-data" => {
            let boundary = multipart::boundary(parameters).ok_or(EndpointError::Form)?;
            multipart::read(body, boundary, &mut fields)?;
        }
        // The body is ignored; that usually means "no version".
        _ => {}
    }
    form::read(parts.uri.query().unwrap_or_default().as_bytes(), &mut fields)?;
    Ok(fields)
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// What load balancers ask for (§14).
pub(crate) fn status(status: &Status) -> Response {
    let (code, text) = match (status.availability, &status.store_unavailable) {
        (Availability::Draining, _) => (StatusCode::SERVICE_UNAVAILABLE, "DRAINING"),
        (_, Some(_)) => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        (Availability::Serving, None) => (StatusCode::OK, "OK"),
    };
    let version = env!("CARGO_PKG_VERSION");
    let clients = status.connections;
    json(code, format!("{{\"status\":\"{text}\",\"clients\":{clients},\"version\":\"{version}\"}}"))
}

fn accepted(config: &Config, presence: UserAgentPresence) -> Response {
    let status = match (config.presence, presence) {
        (Presence::Hidden, _) | (Presence::Shown, UserAgentPresence::Connected) => StatusCode::OK,
        (Presence::Shown, UserAgentPresence::Away) => StatusCode::ACCEPTED,
    };
    json(status, "{}")
}

fn refused(error: EndpointError) -> Response {
    let status = error.status();
    let body = format!("{{\"code\":{},\"error\":\"{error}\"}}", status.as_u16());
    let mut response = json(status, body);
    let headers = response.headers_mut();
    match error {
        EndpointError::Method => {
            headers.insert(header::ALLOW, HeaderValue::from_static("PUT, OPTIONS"));
        }
        EndpointError::Unavailable => {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        EndpointError::TooOften(wait) => {
            headers.insert(header::RETRY_AFTER, retry_after(wait));
        }
        EndpointError::Slow => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        EndpointError::Version
        | EndpointError::Form
        | EndpointError::Token
        | EndpointError::Gone
        | EndpointError::TooLong => {}
    }
    response
}
