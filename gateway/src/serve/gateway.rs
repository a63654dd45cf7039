//! One running gateway, with its one shutdown sequence.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::{Router, extract::Request, http::HeaderValue, middleware};
use buswire_message::{Secret, Tracer, mint_base64url};
use buswire_store::{
    Store,
    embedded::OpenError,
    redis::RedisOpenError,
    system::{SystemClock, SystemEntropy},
};
use futures::future;
use tokio::time::{self, Instant};
use url::Url;

use super::{
    data_dir::{DataDir, DataDirError},
    descriptors,
    ordered::{self, Ordered},
    ready::{self, Addresses, ReadyFileError},
    secret_file::{self, SecretFileError},
    store,
};
use crate::{
    admin::VerifiedPeer,
    app::{App, BuildError, Door, Drain, Platform, Reload},
    config::{
        AcmeDomain, AddressLimit, Config, ConnectionLimits, HttpConfig, HttpTls, StoreConfig,
        TlsFiles, reachable,
    },
    listen::{
        BindError, Bound, Certificates, CheckTransport, ClientNames, Connections, LogRequests,
        Server, Through, TlsError, TransportPolicy, bind, watch_certificates,
    },
    ops::{self, Health, Leave, Metrics, Phase},
    tasks::Tasks,
    telemetry::{TracesError, tracer},
};

/// Why the gateway does not start. Each has one line for the operator, and a hint.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A secret of the data directory can't be used.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// The store can't be opened. The engine says what to do.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The Redis server can't be used. The engine says what to do.
    #[error(transparent)]
    Redis(#[from] RedisOpenError),
    /// The thread that opened the store broke.
    #[error("store.url: the store could not be opened")]
    StoreThread,
    /// A certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Certificates can't be ordered.
    #[cfg(feature = "acme")]
    #[error(transparent)]
    Acme(#[from] crate::acme::AcmeError),
    /// A listener can't be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A door can't be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Spans can't be exported.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// Where the listeners are bound can't be announced.
    #[error(transparent)]
    ReadyFile(#[from] ReadyFileError),
    /// The public URL can't be derived from the listener.
    #[error("http.public_url: can't be derived from the listener")]
    PublicUrl(#[from] url::ParseError),
    /// The operating system does not pass signals on.
    #[error("signals can't be received")]
    Signals(#[source] std::io::Error),
}

impl ServeError {
    /// What the operator can do, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DataDir(error) => Some(error.hint()),
            Self::Secret(error) => Some(error.hint()),
            Self::Bind(error) => Some(error.hint()),
            Self::PublicUrl(_) => Some("set http.public_url".to_owned()),
            Self::Build(error) => error.hint(),
            #[cfg(feature = "acme")]
            Self::Acme(_) => None,
            Self::Store(_)
            | Self::Redis(_)
            | Self::StoreThread
            | Self::Tls(_)
            | Self::Traces(_)
            | Self::ReadyFile(_)
            | Self::Signals(_) => None,
        }
    }
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Connections that were cut off because they did not end in time.
    pub connections_left: usize,
    /// Tasks that did not end in time.
    pub tasks_left: usize,
}

/// A gateway that serves.
pub struct Gateway {
    addresses: Addresses,
    grace: Duration,
    delay: Duration,
    health: Health,
    tasks: Tasks,
    /// Of the public and the admin listener.
    connections: Connections,
    /// Of the operations listener, which answers until the end.
    ops_connections: Connections,
    drains: Vec<Drain>,
    certificates: Vec<Arc<Certificates>>,
    reload: Reload,
    store: Arc<dyn Store>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// How long the tasks and the store may take to end after the connections: they only write down what
/// they have.
const CLOSING_TIME: Duration = Duration::from_secs(1);

impl Gateway {
    /// Opens the store, binds every listener, makes the doors and serves them beside `extra`; then
    /// writes the ready file, if one is asked for.
    ///
    /// # Errors
    ///
    /// [`ServeError`]; nothing is served then.
    ///
    /// # Cancel safety
    ///
    /// Not safe: what was spawned goes on until the runtime ends.
    pub async fn start(
        config: &Config,
        metrics: Metrics,
        extra: Vec<Door>,
    ) -> Result<Self, ServeError> {
        if let Some(path) = &config.ready_file {
            ready::clear(path)?;
        }
        let platform = Opened::open(config).await?;
        let ordered = ordered::open(config, &platform.store, &platform.belay_keys).await?;
        let certificates = all_certificates(config, ordered.as_ref())?;
        let http = bind("http.listen", &config.http.listen).await?;
        let admin = bind("admin.listen", &config.admin.listen).await?;
        let ops = bind("ops.listen", &config.ops.listen).await?;
        let tasks = Tasks::new();
        let platform = platform.reached_at(
            public_url(&config.http, &http)?,
            vec![("http", http.address), ("admin", admin.address), ("ops", ops.address)],
            &tasks,
            tracer(config.otlp.as_ref(), &tasks, Arc::new(SystemClock), Arc::new(SystemEntropy))?,
        );
        let health = platform.health.clone();
        let mut app = App::build(config, &platform, &tasks).await?;
        for door in extra {
            app.add(door);
        }
        let addresses = Addresses {
            http: http.address,
            admin: app.admin().is_some().then_some(admin.address),
            mdp: app.mdp_endpoints().to_vec(),
            mdp_peers: app.mdp_peers().map(str::to_owned),
            ops: ops.address,
        };
        let mut gateway = Self {
            addresses,
            grace: config.shutdown_grace,
            delay: config.shutdown_delay,
            health,
            tasks,
            connections: Connections::new(),
            ops_connections: Connections::new(),
            drains: app.drains(),
            certificates: certificates.iter().flatten().cloned().collect(),
            reload: app.reload(),
            store: platform.store.clone(),
        };
        let [http_certificates, admin_certificates, ops_certificates] = certificates;
        gateway.serve_http(config, &app, http, http_certificates);
        if let Some(router) = app.admin() {
            gateway.serve_admin(config, router, admin, admin_certificates);
        }
        gateway.serve_ops(config, metrics, ops, ops_certificates);
        gateway.watch(ordered);
        gateway.health.serve();
        if let Some(path) = &config.ready_file {
            gateway.announce(path).await?;
        }
        descriptors::make_room(config);
        warn_of_settings(config, &gateway.addresses);
        tracing::info!(
            http = %gateway.addresses.http,
            admin = gateway.addresses.admin.map(tracing::field::display),
            ops = %gateway.addresses.ops,
            mdp = ?gateway.addresses.mdp,
            doors = ?app.names(),
            store = platform.store.status().engine,
            "serving"
        );
        Ok(gateway)
    }

    /// Follows what changes from outside: certificates, the clock, whether the gateway is in service.
    fn watch(&self, ordered: Option<Ordered>) {
        if let Some(ordered) = ordered {
            ordered.spawn(&self.health, &self.tasks);
        }
        if !self.certificates.is_empty() {
            let watch = watch_certificates(self.certificates.clone(), self.tasks.stop());
            self.tasks.spawn("certificates", watch);
        }
        let connections = self.connections.clone();
        let drained = move || connections.retire();
        let draining = self.health.clone().refuse_after(self.delay, drained, self.tasks.stop());
        self.tasks.spawn("draining", draining);
        let clock = ops::watch_clock(Arc::new(SystemClock), self.tasks.stop());
        self.tasks.spawn("clock", clock);
    }

    async fn announce(&mut self, path: &Path) -> Result<(), ServeError> {
        let written = ready::announce(path, &self.addresses);
        if written.is_err() {
            self.close().await;
        }
        Ok(written?)
    }

    fn serve_http(
        &self,
        config: &Config,
        app: &App,
        bound: Bound,
        certificates: Option<Arc<Certificates>>,
    ) {
        let policy = TransportPolicy {
            require_tls: config.http.require_tls,
            trusted_proxies: config.http.trusted_proxies.clone(),
            hsts: hsts(config.http.hsts),
        };
        // One layer of three steps, the first one outermost: every layer of a router costs two boxes
        // for each request.
        let router = app.public().layer((
            Through(CheckTransport::new(policy)),
            Through(LogRequests),
            Through(Leave::new(self.health.clone())),
        ));
        let limits = config.http.limits.clone();
        let server =
            Server::new("http", bound, certificates, limits, router, self.connections.clone());
        self.tasks.spawn("http listener", server.run());
    }

    fn serve_admin(
        &self,
        config: &Config,
        router: Router,
        bound: Bound,
        certificates: Option<Arc<Certificates>>,
    ) {
        let router = router
            .layer(Through(LogRequests))
            .layer(middleware::map_request(recognise_certificate));
        let limits = ConnectionLimits {
            connections_max: config.admin.connections_max,
            address: AddressLimit::default(),
            answers_end: false,
            ..config.http.limits.clone()
        };
        let server =
            Server::new("admin", bound, certificates, limits, router, self.connections.clone());
        self.tasks.spawn("admin listener", server.run());
    }

    fn serve_ops(
        &self,
        config: &Config,
        metrics: Metrics,
        bound: Bound,
        certificates: Option<Arc<Certificates>>,
    ) {
        self.tasks.spawn("metrics upkeep", metrics.clone().upkeep(self.tasks.stop()));
        let router = ops::router(self.health.clone(), metrics);
        let limits = ConnectionLimits {
            connections_max: config.ops.connections_max,
            address: AddressLimit::default(),
            answers_end: false,
            ..config.http.limits.clone()
        };
        let connections = self.ops_connections.clone();
        let server = Server::new("ops", bound, certificates, limits, router, connections);
        self.tasks.spawn("ops listener", server.run());
    }

    /// Where the listeners are bound.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Waits until a task ends that should not, and returns its name: time to shut down.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn failed(&self) -> &'static str {
        self.tasks.failed().await
    }

    /// Reads every certificate again whose files have changed. One that can't be used is logged, and the
    /// one before stays.
    pub fn refresh_certificates(&self) {
        for certificates in &self.certificates {
            certificates.refresh();
        }
    }

    /// Takes over what of `config` needs no restart: the settings [`RELOADED`](crate::app::RELOADED).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; what was to change may have changed or not.
    pub async fn reload(&self, config: Config) {
        (self.reload)(config).await;
    }

    /// Shuts down: not ready; after `shutdown_delay` no further connections, and doors drain; what is
    /// left shortly before `shutdown_grace` ends, or once `hurry` is ready, is closed.
    ///
    /// # Cancel safety
    ///
    /// Not safe: run it to its end.
    pub async fn shutdown(mut self, hurry: impl Future<Output = ()>) -> ShutdownReport {
        let delay = if self.health.phase() == Phase::Drained { Duration::ZERO } else { self.delay };
        self.health.stop();
        let connections = self.connections.open();
        tracing::info!(connections, grace = ?self.grace, ?delay, "draining");
        let end = Instant::now() + self.grace;
        tokio::pin!(hurry);
        let is_hurried = time::timeout(delay, hurry.as_mut()).await.is_ok();
        self.tasks.drain();
        self.connections.drain();
        let doors = future::join_all(self.drains.drain(..).map(|drain| drain()));
        let drained = future::join(doors, self.connections.closed());
        tokio::select! {
            _ended = time::timeout_at(end - CLOSING_TIME.min(self.grace / 10), drained) => (),
            () = async { if !is_hurried { hurry.await } } => tracing::warn!("no longer waiting"),
        }
        let report = self.close().await;
        tracing::info!(
            connections_left = report.connections_left,
            tasks_left = report.tasks_left,
            "closed"
        );
        report
    }

    /// Closes what is open, then the tasks, then the store.
    async fn close(&self) -> ShutdownReport {
        let connections_left = self.connections.abort();
        self.ops_connections.drain();
        let tasks_left = self.tasks.shutdown(CLOSING_TIME / 2).await;
        // What was accepted is committed by now, or its client was told nothing.
        if time::timeout(CLOSING_TIME / 2, self.store.close()).await.is_err() {
            tracing::warn!("the store did not close in time");
        }
        self.ops_connections.abort();
        ShutdownReport { connections_left, tasks_left }
    }
}

/// What is open before anything is bound.
struct Opened {
    store: Arc<dyn Store>,
    admin_token: Secret<String>,
    belay_keys: Secret<String>,
}

impl Opened {
    async fn open(config: &Config) -> Result<Self, ServeError> {
        let token = config.admin.token.clone();
        // What is only in memory is sealed with a key that is only there too.
        let forgotten = || {
            let is_forgotten = config.store == StoreConfig::Memory;
            is_forgotten.then(|| mint_base64url(&SystemEntropy, secret_file::SECRET_BYTES))
        };
        let keys = config.belay.keys.clone().or_else(forgotten);
        if token.is_none() || keys.is_none() || config.store == StoreConfig::Embedded(None) {
            DataDir::open(&config.data_dir)?;
        }
        let store = store::open(config).await?;
        let file = |name| secret_file::load_or_generate(&config.data_dir, name, &SystemEntropy);
        let admin_token = token.map_or_else(|| file("admin.token"), Ok)?;
        let belay_keys = keys.map_or_else(|| file("belay.keys"), Ok)?;
        Ok(Self { store, admin_token, belay_keys })
    }

    fn reached_at(
        self,
        public_url: Url,
        bound: Vec<(&'static str, SocketAddr)>,
        tasks: &Tasks,
        tracer: Tracer,
    ) -> Platform {
        Platform {
            health: Health::new(tasks.clone(), self.store.clone()),
            store: self.store,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            tracer,
            admin_token: Arc::new(self.admin_token),
            belay_keys: Arc::new(self.belay_keys),
            public_url,
            bound,
        }
    }
}

/// Tells the administration whose client certificate the listener has verified.
async fn recognise_certificate(mut request: Request) -> Request {
    if let Some(ClientNames(names)) = request.extensions_mut().remove() {
        request.extensions_mut().insert(VerifiedPeer(names));
    }
    request
}

/// What browsers are told of coming back over TLS for so long.
fn hsts(time: Duration) -> Option<HeaderValue> {
    let is_on = !time.is_zero();
    is_on.then(|| HeaderValue::try_from(format!("max-age={}", time.as_secs())).ok()).flatten()
}

/// Those of the public, the admin and the operations listener.
fn all_certificates(
    config: &Config,
    ordered: Option<&Ordered>,
) -> Result<[Option<Arc<Certificates>>; 3], TlsError> {
    let http = match &config.http.tls {
        Some(HttpTls::Files(files)) => load_certificates("http", Some(files))?,
        Some(HttpTls::Acme(_)) | None => ordered.map(Ordered::certificates),
    };
    let admin = load_certificates("admin", config.admin.tls.as_ref())?;
    Ok([http, admin, load_certificates("ops", config.ops.tls.as_ref())?])
}

fn load_certificates(
    listener: &'static str,
    files: Option<&TlsFiles>,
) -> Result<Option<Arc<Certificates>>, TlsError> {
    files.map(|files| Certificates::load(listener, files.clone()).map(Arc::new)).transpose()
}

fn public_url(config: &HttpConfig, bound: &Bound) -> Result<Url, url::ParseError> {
    if let Some(url) = &config.public_url {
        return Ok(url.clone());
    }
    let scheme = match &config.tls {
        // An ACME server reaches it there, so everybody does.
        Some(HttpTls::Acme(acme)) => {
            let name = acme.domains.first().map_or("localhost", AcmeDomain::as_str);
            return Url::parse(&format!("https://{name}/"));
        }
        Some(HttpTls::Files(_)) => "https",
        None => "http",
    };
    Url::parse(&format!("{scheme}://{}/", reachable(bound.address)))
}

/// Says what will surprise an operator, although it is no mistake.
fn warn_of_settings(config: &Config, addresses: &Addresses) {
    let http = &config.http;
    let has_name = http.public_url.is_some() || matches!(http.tls, Some(HttpTls::Acme(_)));
    if !has_name && addresses.http.ip().is_unspecified() {
        tracing::warn!("URLs that are handed out only work on this machine: set http.public_url");
    }
    if http.require_tls && http.tls.is_none() && http.trusted_proxies.is_empty() {
        tracing::warn!(
            "http.require_tls is on, but there is no http.tls.cert and no http.trusted_proxies: \
             requests are refused"
        );
    }
    if !config.admin.listen.is_loopback() && config.admin.tls.is_none() {
        tracing::warn!("the admin token crosses the network in clear: set admin.tls.cert");
    }
    let checks = config.admin.tls.as_ref().is_some_and(|files| files.client_ca.is_some());
    if checks && config.admin.certificate_roles.is_empty() {
        tracing::warn!("client certificates give no right to anything: set admin.tls.roles");
    }
    if config.store == StoreConfig::Memory {
        tracing::warn!("store.url is memory: everything is forgotten at exit");
    }
}
