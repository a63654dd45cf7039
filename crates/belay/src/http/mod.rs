//! The HTTP endpoint: `/cap/{id}`, `/belay/wrap`, `/belay/describe`, and what browsers load (Belay §21).
//!
//! Nothing of a request reaches an operation but its method, its data and its `traceparent`; `Cookie` and `Authorization` are
//! not read. Never here: an access log; whoever writes one logs the route template, not the path.

mod frame;
mod library;
mod reply;
mod request;
mod scan;

pub(crate) use library::respond;
pub(crate) use reply::same_origin;
pub(crate) use request::{client_address, read};

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::any,
};

use crate::{
    audit::{self, Peer},
    error::BcapError,
    http::{
        reply::{Body, Reply},
        request::{Call, Incoming},
        scan::Scanners,
    },
    method::{Method, MethodSet},
    request::WrapRequest,
    server::{CapServer, GrantError},
    station,
    wire::{BcapValue, decode, encode},
};

/// The address of a client as the listener knows it, behind trusted proxies too.
///
/// A layer of the program puts it into the extensions of a request; without it the address of the
/// connection is taken if it is there. Used for the audit record and against scanning, never for
/// authority (Belay §23.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

#[derive(Clone)]
struct Endpoint {
    server: CapServer,
    scanners: Arc<Scanners>,
}

impl CapServer {
    /// The HTTP endpoint: `/cap/{id}` (or the configured prefix), `/belay/wrap`, `/belay/describe`,
    /// and what browsers load: the library, the frame `/belay/frame.html`, and the pages for people,
    /// `/belay/open` and `/belay/station`.
    ///
    /// Bounds on the header section, on time and on connections are the listener's (Belay §21.6).
    pub fn router(&self) -> Router {
        let config = self.config();
        let prefix = config.prefix();
        let endpoint = Endpoint {
            server: self.clone(),
            scanners: Arc::new(Scanners::new(config.not_found_per_second)),
        };
        Router::new()
            .route(prefix, any(capability))
            .route(&format!("{prefix}{{*id}}"), any(capability))
            .route("/belay/wrap", any(wrap))
            .route("/belay/describe", any(describe))
            .with_state(endpoint)
            .merge(station::router(config))
            .merge(library::router())
            .merge(frame::router(config))
    }
}

async fn capability(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let incoming = match request::receive(request, &endpoint.server, MethodSet::ALL).await {
        Ok(incoming) => incoming,
        Err(response) => return *response,
    };
    let reply = endpoint.call(&incoming).await;
    incoming.answer(reply)
}

async fn wrap(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let incoming = match request::receive(request, &endpoint.server, MethodSet::POST).await {
        Ok(incoming) => incoming,
        Err(response) => return *response,
    };
    let reply = endpoint.wrap(&incoming).await;
    incoming.answer(reply)
}

async fn describe(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let incoming = match request::receive(request, &endpoint.server, MethodSet::POST).await {
        Ok(incoming) => incoming,
        Err(response) => return *response,
    };
    let reply = endpoint.describe(&incoming).await;
    incoming.answer(reply)
}

impl Endpoint {
    // Steps 4 to 9 of Belay §21.3; the ones before are in `request`.
    async fn call(&self, incoming: &Incoming) -> Result<Reply, BcapError> {
        let Call { method, peer, body, .. } = &incoming.call;
        let prefix = self.server.config().prefix();
        let id = incoming.path.strip_prefix(prefix).unwrap_or_default();
        let opened = match self.server.open(id, incoming.origin()).await {
            Ok(opened) => opened,
            Err(error) => return Err(self.not_opened(error, incoming.call.address)),
        };
        let bytes = body.len() as u64;
        let outcome = match self.prepare(incoming, opened.check_method(*method)) {
            Ok(data) => opened.perform(*method, data, bytes).await,
            Err(error) => Err(error),
        };
        let reply = outcome.and_then(|value| self.encode(*method, value.as_ref()));
        let (status, bytes_out) = match &reply {
            Ok(reply) => (200, reply.len()),
            Err(error) => (error.status(), 0),
        };
        opened.audit(*method, status, [bytes, bytes_out], *peer);
        reply
    }

    // Step 6: the rules of the body.
    fn prepare(
        &self,
        incoming: &Incoming,
        method_allowed: Result<(), BcapError>,
    ) -> Result<Option<BcapValue>, BcapError> {
        method_allowed?;
        let Call { method, body, .. } = &incoming.call;
        if !method.takes_data() {
            return if body.is_empty() { Ok(None) } else { Err(BcapError::BadRequest) };
        }
        incoming.check_media_type()?;
        decode(body, self.server.config().wire).map_err(|_| BcapError::BadRequest)
    }

    fn encode(&self, method: Method, value: Option<&BcapValue>) -> Result<Reply, BcapError> {
        if !method.gives_data() {
            return Ok(Reply(Body::Empty));
        }
        let Some(value) = value else { return Ok(Reply(Body::Empty)) };
        let text = encode(Some(value), self.server.config().wire).map_err(|error| {
            tracing::error!(error = %error, "an operation gave a result that can't be encoded");
            BcapError::Internal
        })?;
        Ok(Reply(Body::Text(text)))
    }

    fn not_opened(&self, error: BcapError, address: Option<IpAddr>) -> BcapError {
        if error != BcapError::NotFound {
            return error;
        }
        audit::not_found();
        match address {
            Some(address) if self.scanners.is_over(address, self.server.0.now()) => {
                BcapError::TooManyRequests { retry_after_secs: 1 }
            }
            _ => error,
        }
    }

    async fn wrap(&self, incoming: &Incoming) -> Result<Reply, BcapError> {
        let data = self.prepare(incoming, Ok(()))?.ok_or(BcapError::BadRequest)?;
        let request = WrapRequest::parse(&data).map_err(|_| BcapError::BadRequest)?;
        // A remote one would make this gateway a relay (Belay §20.8).
        let id = self.server.local_id(&request.of).ok_or(BcapError::BadRequest)?;
        let granted = self.server.wrap(id.expose(), request.limits, request.label).await;
        let granted = granted.map_err(|error| {
            if let GrantError::Store(error) = &error {
                tracing::warn!(error = %error, "a wrap could not be stored");
            }
            self.not_opened(error.to_bcap_error(), incoming.call.address)
        })?;
        self.encode(Method::Post, Some(&granted.into_value()))
    }

    // What a capability is, to who holds it; no use is taken, so that a person may look before
    // using a link (Belay §21.7).
    async fn describe(&self, incoming: &Incoming) -> Result<Reply, BcapError> {
        let data = self.prepare(incoming, Ok(()))?;
        let cap = data.as_ref().and_then(BcapValue::as_cap).ok_or(BcapError::BadRequest)?;
        let id = self.server.local_id(cap).ok_or(BcapError::BadRequest)?;
        let description = self.server.describe(id.expose()).await;
        let description =
            description.map_err(|error| self.not_opened(error, incoming.call.address))?;
        self.encode(Method::Post, Some(&description))
    }
}

fn peer(address: Option<IpAddr>) -> Peer {
    Peer::of(address)
}
