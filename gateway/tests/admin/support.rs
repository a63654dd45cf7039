//! An admin interface on a TCP port, over the memory store and doors that only remember.

use std::{
    collections::BTreeMap, fmt::Debug, future::Future, net::SocketAddr, sync::Arc, time::Duration,
};

use axum::{Extension, Router, serve::Listener};
use buswire::admin::{
    self, AdminLimits, AdminState, Authenticator, CertificateRoles, Role, VerifiedPeer,
    audit::{AuditLimits, AuditLog},
    ports::Ports,
};
use buswire_bus::{BusConfig, BusLimits, Buses};
use buswire_message::Secret;
use buswire_store::{memory::MemoryStore, system::SystemEntropy};
use buswire_testkit::{FaultyStore, VirtualClock};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::fakes::Fake;

pub(crate) const TOKEN: &str = "a-token-of-many-characters";

/// Adds `authorization: Bearer` and a token to each call.
#[derive(Clone, Debug)]
pub(crate) struct WithToken(&'static str);

impl Interceptor for WithToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = format!("Bearer {}", self.0).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

pub(crate) type Authorized = InterceptedService<Channel, WithToken>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) buses: Buses,
    pub(crate) shutdown: CancellationToken,
    /// Ends the accept loop and the driver of the buses.
    closed: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.closed.cancel();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(AdminLimits::default(), Fake::ports()).await
    }

    pub(crate) async fn with(limits: AdminLimits, ports: Ports) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::on(listener, address, limits, ports, |router| router).await
    }

    /// Serves everybody as the listener does who has verified their certificate.
    pub(crate) async fn verified() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let verified = |router: Router| {
            router.layer(Extension(VerifiedPeer(Arc::from(["ops.example".to_owned()]))))
        };
        Self::on(listener, address, AdminLimits::default(), Fake::ports(), verified).await
    }

    /// Serves on `listener`, which takes whom it takes.
    pub(crate) async fn on<L>(
        listener: L,
        address: SocketAddr,
        limits: AdminLimits,
        ports: Ports,
        wrap: impl FnOnce(Router) -> Router,
    ) -> Self
    where
        L: Listener,
        L::Addr: Debug,
    {
        let clock = Arc::new(VirtualClock::default());
        let config = BusConfig {
            message_url_prefix: "https://gateway.example/v2/message/".into(),
            limits: BusLimits::default(),
            tracer: None,
        };
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
        let limits_of_audit = AuditLimits::default();
        let audit =
            AuditLog::new(store.clone(), clock.clone(), Arc::new(SystemEntropy), limits_of_audit);
        let buses = Buses::open(store.clone(), clock.clone(), config).await.unwrap();
        let (shutdown, closed) = (CancellationToken::new(), CancellationToken::new());
        let state = AdminState {
            buses: buses.clone(),
            clock,
            ports,
            audit: audit.unwrap(),
            source: "https://gateway.example/".parse().unwrap(),
            retention: buswire_message::Retention::default(),
            limits,
            shutdown: shutdown.clone(),
        };
        let certificates = CertificateRoles::default();
        certificates.replace(BTreeMap::from([("ops.example".to_owned(), Role::Operator)]));
        let token = Secret::new(TOKEN.to_owned());
        let auth = Authenticator::new(&token, Arc::new(()), certificates);
        let admin = admin::server(state, auth).await.unwrap();
        let tasks = TaskTracker::new();
        tasks.spawn(buses.run(closed.clone()));
        tasks.spawn(admin.run());
        let closing = closed.clone().cancelled_owned();
        let serving = axum::serve(listener, wrap(admin.router)).with_graceful_shutdown(closing);
        tasks.spawn(async move { serving.await.unwrap() });
        Self { address, store, buses, shutdown, closed, tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.url()).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn authorized(&self) -> Authorized {
        InterceptedService::new(self.channel().await, WithToken(TOKEN))
    }

    pub(crate) async fn with_token(&self, token: &'static str) -> Authorized {
        InterceptedService::new(self.channel().await, WithToken(token))
    }

    /// Stops as the gateway does and waits until every connection is drained.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.closed.cancel();
        self.tasks.close();
        soon(self.tasks.wait()).await;
    }
}

/// Waits for what must happen soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it did not happen in time")
}

/// Sends one gRPC-Web call over HTTP/1.1 and returns the answer, its bytes as they are.
pub(crate) async fn grpc_web(
    server: &Server,
    path: &str,
    headers: &str,
    message: &[u8],
) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\
         Content-Type: application/grpc-web+proto\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        message.len() + 5
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[0]).await.unwrap();
    stream.write_all(&length).await.unwrap();
    stream.write_all(message).await.unwrap();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

/// Whether `part` is somewhere in `bytes`.
pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
