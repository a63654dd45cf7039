//! One connection: handshake, deadlines, requests.

use std::{
    convert::Infallible,
    future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, Response, StatusCode, Version, header},
    routing::future::RouteFuture,
};
use futures::future::{Either, Ready, ready};
use hyper::{
    body::{Body as _, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{net::TcpStream, pin, select, sync::Notify, time};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service as _;

use super::{
    body::BoundedBody,
    certificate::ClientNames,
    stream::{Place, Stream, Transport},
    tls::Certificates,
    transport::{Channel, Peer},
};
use crate::config::ConnectionLimits;

/// How often a silent HTTP/2 peer is asked whether it is still there, and how long it may take.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a connection without a request stays open when the listener drains: its first one may be
/// on its way.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// Spawns what HTTP/2 does beside its requests into the tracker of the listener.
#[derive(Clone, Debug)]
pub(super) struct TrackedExecutor(TaskTracker);

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Shared {
    pub name: &'static str,
    pub router: Router,
    pub certificates: Option<Arc<Certificates>>,
    pub limits: ConnectionLimits,
    /// No further requests, once this is cancelled.
    pub drain: CancellationToken,
    /// HTTP/2 clients are told to go elsewhere, each time that this is notified.
    pub retire: Arc<Notify>,
    /// Closed at once, when this is cancelled.
    pub abort: CancellationToken,
    pub http: auto::Builder<TrackedExecutor>,
}

/// The settings of hyper. Each timeout needs its timer, or hyper panics. Of header fields it takes at
/// most 100 in a request head, and answers more with 431; were the same number set, it would fill a
/// list of them for every request.
pub(super) fn http(
    limits: &ConnectionLimits,
    tracker: TaskTracker,
) -> auto::Builder<TrackedExecutor> {
    let mut http = auto::Builder::new(TrackedExecutor(tracker));
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.head_max);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_max).unwrap_or(u32::MAX));
    http
}

/// An answer that is made, or that a router makes.
type Answer = Either<Ready<Result<Response<Body>, Infallible>>, RouteFuture<Infallible>>;

/// Why a connection ended without the peer or us wanting it.
#[derive(Clone, Copy)]
enum Fault {
    HandshakeFailed,
    HandshakeSlow,
    HeadSlow,
    Broken,
}

impl Fault {
    const fn label(self) -> &'static str {
        match self {
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeSlow => "handshake_slow",
            Self::HeadSlow => "head_slow",
            Self::Broken => "broken",
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, tcp: TcpStream, peer: SocketAddr, place: Place) {
    // Answers are written whole, so waiting for more bytes only adds latency.
    let _unsupported = tcp.set_nodelay(true);
    let abort = shared.abort.clone();
    let ended = abort.run_until_cancelled_owned(run(shared.clone(), tcp, peer, place)).await;
    if let Some(Err(fault)) = ended {
        let labels = [("listener", shared.name), ("fault", fault.label())];
        metrics::counter!("buswire_connection_faults_total", &labels).increment(1);
        tracing::debug!(listener = shared.name, fault = fault.label(), "a connection failed");
    }
}

async fn run(
    shared: Arc<Shared>,
    tcp: TcpStream,
    peer: SocketAddr,
    place: Place,
) -> Result<(), Fault> {
    let retired = shared.retire.notified();
    let (transport, channel, names) = handshake(&shared, tcp).await?;
    let peer = Peer { address: peer, channel };
    let heard = Arc::new(AtomicBool::new(false));
    let is_http2 = Arc::new(AtomicBool::new(false));
    let (service_shared, service_heard, service_is_http2) =
        (shared.clone(), heard.clone(), is_http2.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        service_heard.store(true, Ordering::Relaxed);
        service_is_http2.store(request.version() == Version::HTTP_2, Ordering::Relaxed);
        if let Some(names) = &names {
            request.extensions_mut().insert(names.clone());
        }
        answer(&service_shared, peer, request)
    });
    let stream = TokioIo::new(Stream { transport, _place: place });
    let connection = shared.http.serve_connection_with_upgrades(stream, service);
    let first_head = time::sleep(shared.limits.header_timeout);
    let retire = async {
        retired.await;
        // HTTP/1 clients are told in their next answer.
        if !is_http2.load(Ordering::Relaxed) {
            future::pending::<()>().await;
        }
    };
    let drain = async {
        shared.drain.cancelled().await;
        if !heard.load(Ordering::Relaxed) {
            time::sleep(LAST_CHANCE).await;
        }
    };
    let leave = async {
        select! { () = retire => {}, () = drain => {} }
    };
    pin!(connection, first_head, leave);
    let (mut draining, mut waiting) = (false, true);
    loop {
        select! {
            ended = connection.as_mut() => return ended.map_err(|_| Fault::Broken),
            () = leave.as_mut(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            // hyper starts its own timer for HTTP/1 only, and only once it knows that it is HTTP/1.
            () = first_head.as_mut(), if waiting => {
                if !heard.load(Ordering::Relaxed) {
                    return Err(Fault::HeadSlow);
                }
                waiting = false;
            }
        }
    }
}

async fn handshake(
    shared: &Shared,
    tcp: TcpStream,
) -> Result<(Transport, Channel, Option<ClientNames>), Fault> {
    let Some(certificates) = &shared.certificates else {
        return Ok((Transport::Plain(tcp), Channel::Plain, None));
    };
    let accept = TlsAcceptor::from(certificates.current()).accept(tcp);
    match time::timeout(shared.limits.handshake_timeout, accept).await {
        Err(_) => Err(Fault::HandshakeSlow),
        Ok(Err(_)) => Err(Fault::HandshakeFailed),
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let names = shown.map(ClientNames::of);
            Ok((Transport::Tls(Box::new(stream)), Channel::Tls, names))
        }
    }
}

/// Not an `async fn`: the future of one would keep a place for the whole request as long as it is
/// answered, on every connection.
fn answer(shared: &Shared, peer: Peer, request: Request<Incoming>) -> Answer {
    let limits = &shared.limits;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.body_max as u64) {
        let mut response = Response::new(Body::from("the request body is too large\n"));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return Either::Left(ready(Ok(response)));
    }
    let mut request = request.map(|incoming| {
        if incoming.is_end_stream() {
            return Body::empty();
        }
        Body::new(BoundedBody::new(incoming, limits.body_max, limits.body_timeout))
    });
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(ConnectInfo(peer.address));
    Either::Right(shared.router.clone().call(request))
}
