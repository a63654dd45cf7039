//! One connection: handshake, deadlines, requests.

use std::{
    convert::Infallible,
    future, io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header},
    routing::future::RouteFuture,
};
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
    activity::Activity,
    bodies::{Bodies, Held},
    body::BoundedBody,
    certificate::ClientNames,
    ordered,
    stream::{Place, Stream, Transport},
    tls::Certificates,
    transport::{Channel, Peer, refusal},
};
use crate::config::ConnectionLimits;

/// How often a silent HTTP/2 peer is asked whether it is still there, and how long it may take.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a connection without a request stays open when the listener drains: its first one may be
/// on its way.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// How many bytes an HTTP/2 client may send before a door takes them: of a stream, and of a connection.
/// What a connection holds of bodies that nobody reads is at most this.
const WINDOW: u32 = 128 * 1024;

/// How many bytes of an answer wait in one HTTP/2 stream for a client that does not read. Answers that are
/// in memory anyway are shared, not copied.
const SEND_BUFFER: usize = 64 * 1024;

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
    pub bodies: Bodies,
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
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.head_max).unwrap_or(u32::MAX));
    http
}

/// What becomes of a request.
enum Answer {
    /// It is refused as it is.
    Refused(Response<Body>),
    /// A door answers; beside it what its body holds, if it has one.
    Comes(RouteFuture<Infallible>, Option<Box<HeldBody>>),
}

/// The body of a request, and what was asked for.
struct HeldBody {
    held: Arc<Held>,
    uri: Uri,
}

impl Answer {
    async fn finish(self, listener: &'static str) -> Result<Response<Body>, Infallible> {
        let (answer, body) = match self {
            Self::Refused(response) => return Ok(response),
            Self::Comes(answer, body) => (answer.await, body),
        };
        match body {
            Some(body) if body.held.is_refused() => Ok(no_room(listener, body.uri.path())),
            _ => answer,
        }
    }
}

/// Why a connection ended without the peer or us wanting it.
#[derive(Clone, Copy)]
enum Fault {
    HandshakeFailed,
    HandshakeSlow,
    HeadSlow,
    ReaderSlow,
    Broken,
}

impl Fault {
    const fn label(self) -> &'static str {
        match self {
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeSlow => "handshake_slow",
            Self::HeadSlow => "head_slow",
            Self::ReaderSlow => "reader_slow",
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
    let Some((transport, channel, names)) = handshake(&shared, tcp).await? else { return Ok(()) };
    let peer = Peer { address: peer, channel };
    let activity = Arc::new(Activity::default());
    let (service_shared, service_activity) = (shared.clone(), activity.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        let under_way = service_activity.begin(request.version() == Version::HTTP_2);
        if let Some(names) = &names {
            request.extensions_mut().insert(names.clone());
        }
        let answer = answer(&service_shared, peer, request).finish(service_shared.name);
        async move {
            let answer = answer.await;
            drop(under_way);
            answer
        }
    });
    let (patience, written) = (shared.limits.write_timeout, activity.written.clone());
    let stream = TokioIo::new(Stream::new(transport, patience, written, place));
    let connection = shared.http.serve_connection_with_upgrades(stream, service);
    let first_head = time::sleep(shared.limits.header_timeout);
    let retire = async {
        retired.await;
        // HTTP/1 clients are told in their next answer.
        if !activity.is_http2.load(Ordering::Relaxed) {
            future::pending::<()>().await;
        }
    };
    let drain = async {
        shared.drain.cancelled().await;
        if !activity.is_heard() {
            time::sleep(LAST_CHANCE).await;
        }
    };
    let leave = async {
        select! { () = retire => {}, () = drain => {}, () = activity.idle(shared.limits.idle_timeout) => {} }
    };
    let slow = activity.slow(shared.limits.idle_timeout);
    pin!(connection, first_head, leave, slow);
    let (mut draining, mut waiting) = (false, true);
    loop {
        select! {
            ended = connection.as_mut() => return ended.map_err(|error| fault(&*error)),
            () = leave.as_mut(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            // hyper starts its own timer for HTTP/1 only, and only once it knows that it is HTTP/1.
            () = first_head.as_mut(), if waiting => {
                if !activity.is_heard() {
                    return Err(Fault::HeadSlow);
                }
                waiting = false;
            }
            () = slow.as_mut(), if draining && shared.limits.answers_end => {
                return Err(Fault::ReaderSlow);
            }
        }
    }
}

/// What kind of end a connection had that hyper gave up.
fn fault(error: &(dyn std::error::Error + 'static)) -> Fault {
    let mut source = Some(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return Fault::ReaderSlow;
        }
        source = error.source();
    }
    Fault::Broken
}

/// `None` if the handshake was all that there is: an ACME server looked at a proof.
async fn handshake(
    shared: &Shared,
    tcp: TcpStream,
) -> Result<Option<(Transport, Channel, Option<ClientNames>)>, Fault> {
    let Some(certificates) = &shared.certificates else {
        return Ok(Some((Transport::Plain(tcp), Channel::Plain, None)));
    };
    let accept = async {
        match certificates.answers() {
            None => TlsAcceptor::from(certificates.current()).accept(tcp).await.map(Some),
            Some(answers) => ordered::accept(certificates, answers, tcp).await,
        }
    };
    match time::timeout(shared.limits.handshake_timeout, accept).await {
        Err(_) => Err(Fault::HandshakeSlow),
        Ok(Err(_)) => Err(Fault::HandshakeFailed),
        Ok(Ok(None)) => Ok(None),
        Ok(Ok(Some(stream))) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let names = shown.map(ClientNames::of);
            Ok(Some((Transport::Tls(Box::new(stream)), Channel::Tls, names)))
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
        return Answer::Refused(response);
    }
    // Most requests have no body, so most pay nothing for the bounds of one.
    let body = (!request.body().is_end_stream())
        .then(|| Box::new(HeldBody { held: shared.bodies.request(), uri: request.uri().clone() }));
    let mut request = request.map(|incoming| match &body {
        None => Body::empty(),
        Some(body) => {
            let (max, timeout) = (limits.body_max, limits.body_timeout);
            Body::new(BoundedBody::new(incoming, max, Arc::clone(&body.held), timeout))
        }
    });
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(ConnectInfo(peer.address));
    Answer::Comes(shared.router.clone().call(request), body)
}

/// There was no room for the body of a request.
fn no_room(listener: &'static str, path: &str) -> Response<Body> {
    metrics::counter!("buswire_bodies_refused_total", "listener" => listener).increment(1);
    let text = "Too many request bodies at once";
    let mut refused = refusal(path, StatusCode::SERVICE_UNAVAILABLE, text);
    refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}
