//! The client of other servers.
//!
//! A name is resolved once for a connection, what the policy refuses of its addresses is left out,
//! and the connection is made to one of the rest: there is no second resolution that could give
//! something else. Redirects are not followed, since they would tell the secret of a path to another
//! host; no proxy, no cookies, no credentials, no referrer. Never here: what is allowed.

use std::{
    error::Error,
    fmt, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use buswire_message::{TraceParent, TraceState};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::header::RETRY_AFTER;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use url::{Host, Url};

use crate::{
    egress::policy::{EgressPolicy, Refused},
    error::BcapError,
    items::Outward,
    method::{Method, MethodSet},
};

/// Finds the addresses of a host.
pub trait Resolver: Send + Sync + fmt::Debug {
    /// The addresses of `host`, which is a name.
    ///
    /// # Errors
    ///
    /// Whatever the resolver says; there is no such host, as a rule.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// What the client is set to.
#[derive(Clone, Debug)]
pub struct EgressConfig {
    /// Where requests may go.
    pub policy: EgressPolicy,
    /// How long a request may take in all, connecting and reading included. Default 30 s.
    pub timeout: Duration,
    /// The most bytes of an answer. Default 1 MiB; each request in progress may hold that much.
    pub answer_bytes_max: usize,
    /// Requests in progress at once; one more fails with [`EgressError::Busy`]. Default 256.
    pub in_flight_max: usize,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            policy: EgressPolicy::default(),
            timeout: Duration::from_secs(30),
            answer_bytes_max: 1024 * 1024,
            in_flight_max: 256,
        }
    }
}

/// Why there is no answer. It shows neither the URL nor what it resolved to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The policy does not let the request go there.
    #[error("refused by the egress policy: {0}")]
    Refused(#[from] Refused),
    /// Too many requests are in progress.
    #[error("too many requests are in progress")]
    Busy,
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// The answer is longer than allowed.
    #[error("the answer is too long")]
    TooLong,
    /// There is no connection, or it broke.
    #[error("the server can't be reached: {0}")]
    Unreachable(String),
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its `Retry-After`, if it is a number of seconds.
    pub retry_after_secs: Option<u32>,
    /// The body.
    pub body: Bytes,
}

/// The one client for requests to other servers. Clones share connections and bounds.
#[derive(Clone)]
pub struct Egress {
    http: reqwest::Client,
    config: Arc<EgressConfig>,
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Egress {
    /// A client that resolves with `resolver`.
    ///
    /// # Errors
    ///
    /// [`EgressError::Unreachable`] if the system's certificates can't be used.
    pub fn new(config: EgressConfig, resolver: Arc<dyn Resolver>) -> Result<Self, EgressError> {
        let config = Arc::new(config);
        let pinned = Pinned { resolver, config: Arc::clone(&config) };
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .dns_resolver(Arc::new(pinned))
            .timeout(config.timeout)
            .pool_max_idle_per_host(4)
            .user_agent("buswire")
            .build()
            .map_err(|error| unreachable(&error))?;
        let permits = Arc::new(Semaphore::new(config.in_flight_max));
        Ok(Self { http, config, permits })
    }

    /// Where requests may go.
    pub fn policy(&self) -> &EgressPolicy {
        &self.config.policy
    }

    /// Sends bcapJson to the URL of a capability, with `traceparent` as the header of that name.
    ///
    /// # Errors
    ///
    /// [`EgressError`]; an answer of any status is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the request up; whether the other server acted on it is unknown.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        body: Option<String>,
        traceparent: Option<TraceParent>,
    ) -> Result<Answer, EgressError> {
        self.check(url)?;
        let _permit = self.permits.try_acquire().map_err(|_| EgressError::Busy)?;
        let mut request = self.http.request(verb(method), url.clone());
        if let Some(body) = body {
            request = request.header("content-type", "text/plain;charset=UTF-8").body(body);
        }
        if let Some(traceparent) = traceparent {
            request = request.header(TraceParent::HEADER, traceparent.to_string());
            if let Some(state) = traceparent.state() {
                request = request.header(TraceState::HEADER, state.as_str());
            }
        }
        let mut response = request.send().await.map_err(failure)?;
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after_secs = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        let mut answer = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if answer.len() + chunk.len() > self.config.answer_bytes_max {
                return Err(EgressError::TooLong);
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(Answer { status, retry_after_secs, body: answer.freeze() })
    }

    // A host that is a number is not resolved, so it is judged here.
    fn check(&self, url: &Url) -> Result<(), Refused> {
        self.config.policy.check(url)?;
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::from(address),
            Some(Host::Ipv6(address)) => IpAddr::from(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        let admitted = self.config.policy.admits("", address, is_own(address));
        if admitted { Ok(()) } else { Err(Refused::Address) }
    }
}

impl Outward for Egress {
    fn check(&self, url: &Url) -> Result<(), Refused> {
        self.policy().check(url)
    }

    fn ask<'a>(
        &'a self,
        method: Method,
        url: &'a Url,
        body: Option<String>,
        traceparent: Option<TraceParent>,
    ) -> BoxFuture<'a, Result<Vec<u8>, BcapError>> {
        Box::pin(async move {
            match self.send(method, url, body, traceparent).await {
                Ok(answer) => answer.into_body(),
                Err(error) => {
                    tracing::warn!(%error, "another server could not be asked");
                    Err(error.to_bcap_error())
                }
            }
        })
    }
}

impl EgressError {
    /// What the holder of a capability is told.
    pub const fn to_bcap_error(&self) -> BcapError {
        match self {
            Self::Refused(_) | Self::TooLong => BcapError::BadGateway,
            Self::Busy | Self::Unreachable(_) => BcapError::unavailable(),
            Self::Timeout => BcapError::Timeout,
        }
    }
}

impl Answer {
    // The statuses of Belay §21.5 mean here what they mean there; a redirect is not followed, and
    // any other status is no answer of a capability.
    fn into_body(self) -> Result<Vec<u8>, BcapError> {
        let retry_after_secs = self.retry_after_secs.unwrap_or(1).max(1);
        Err(match self.status {
            200..=299 => return Ok(self.body.into()),
            400 => BcapError::BadRequest,
            403 => BcapError::Forbidden,
            404 | 410 => BcapError::NotFound,
            405 => BcapError::MethodNotAllowed { allow: MethodSet::NONE },
            409 => BcapError::AmbiguousRegrant,
            413 => BcapError::TooLarge,
            415 => BcapError::UnsupportedMediaType,
            429 => BcapError::TooManyRequests { retry_after_secs },
            503 => BcapError::Unavailable { retry_after_secs },
            504 => BcapError::Timeout,
            _ => BcapError::BadGateway,
        })
    }
}

fn verb(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Put => http::Method::PUT,
        Method::Post => http::Method::POST,
        Method::Delete => http::Method::DELETE,
    }
}

/// Resolves, and leaves out what the policy refuses.
#[derive(Debug)]
struct Pinned {
    resolver: Arc<dyn Resolver>,
    config: Arc<EgressConfig>,
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, config) = (name.as_str().to_owned(), Arc::clone(&self.config));
        let resolved = self.resolver.resolve(&host);
        Box::pin(async move {
            let admitted: Vec<SocketAddr> = resolved
                .await?
                .into_iter()
                .filter(|address| config.policy.admits(&host, *address, is_own(*address)))
                // The port of the URL takes the place of 0.
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if admitted.is_empty() {
                return Err(Refused::Address.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of this machine's: the system would send from it to itself. No packet is
/// sent.
fn is_own(address: IpAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let source = || {
        let socket = UdpSocket::bind(any)?;
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    source().is_ok_and(|own| own.ip() == address)
}

// The text of a request's error has its URL; the causes below have host and port at most.
fn failure(error: reqwest::Error) -> EgressError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return EgressError::Refused(*refused);
        }
        cause = error.source();
    }
    if error.is_timeout() { EgressError::Timeout } else { unreachable(&error.without_url()) }
}

fn unreachable(error: &reqwest::Error) -> EgressError {
    EgressError::Unreachable(error.to_string())
}
