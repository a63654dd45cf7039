//! The server: what the other modules share, and what a program calls (SimplePush §10, §15.5).
//!
//! Never here: protocol rules.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::{any, get},
};
use buswire_message::{Clock, Entropy, Limiter, Timestamp, Version};
use buswire_store::{BoxFuture, Hint, HintFilter, Hints, Store};
use futures::StreamExt as _;
use tokio::sync::{RwLock, broadcast};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    browser,
    config::{Config, Gateways},
    connection::{Command, Reply, Update},
    driver::Carrier,
    endpoint::{self, EndpointError, Endpoints, ForeignEndpoints},
    error::CloseReason,
    id::{ChannelId, Uaid, UserAgentId},
    metrics::Metrics,
    registry::{
        GATEWAY_BEAT, GatewayId, PublishEffect, PublishError, Registry, log_failure, user_agent_of,
    },
    steady::SteadyClock,
    table::{self, Delivered, Table},
    upgrade,
    wakeup::Pager,
    wheel::Wheel,
};

/// Over what is counted, for every limit (SimplePush §19.3).
pub(crate) const PERIOD: Duration = Duration::from_secs(60);

/// Groups in which connections are closed when the server drains.
const DRAIN_GROUPS: usize = 20;
/// Connections that are closed at once when the server drains: fewer are no stampede.
const DRAIN_GROUP_MIN: usize = 50;
/// Lanes of changes that are under way: enough that UserAgents seldom meet in one.
const LANES: usize = 1024;
/// How long a PUT waits to learn whether another gateway has the UserAgent (R-NODE-5).
const PEER_TIMEOUT: Duration = Duration::from_secs(3);

/// Until when something is waited for that other gateways have to do with.
pub(crate) fn peer_deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + PEER_TIMEOUT
}
/// How often the store is asked whether it may have lost writes.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// A SimplePush server: WebSockets towards UserAgents, HTTP towards application servers.
///
/// Cheap to clone; all clones are one server. [`run`](Self::run) must be running for timers to fire.
#[derive(Clone)]
pub struct SimplePush(Arc<Shared>);

/// What all parts of a server share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) registry: Registry,
    pub(crate) table: Table,
    pub(crate) wheel: Wheel,
    pub(crate) steady: SteadyClock,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: Metrics,
    /// Taken shared by changes that are under way, by UserAgent.
    lanes: Vec<RwLock<()>>,
    pub(crate) channel_puts: Limiter<(UserAgentId, ChannelId)>,
    pub(crate) refused_puts: Limiter<IpAddr>,
    pub(crate) refused_uaids: Limiter<IpAddr>,
    pub(crate) takeovers: Limiter<UserAgentId>,
    /// Datagrams for one UserAgent.
    wakes: Limiter<UserAgentId>,
    pager: Pager,
    store: Arc<dyn Store>,
    pub(crate) open: AtomicUsize,
    /// Open connections by address, if that is limited.
    pub(crate) open_by_source: Mutex<HashMap<IpAddr, usize>>,
    ids: AtomicU64,
    draining: AtomicBool,
    tracker: TaskTracker,
}

impl Shared {
    pub(crate) fn limits_sources(&self) -> bool {
        self.config.limits.address_connections_max > 0
    }

    /// Does what the connection of this number asks for. A `hello` waits for what earlier connections
    /// of its UserAgent still have under way: what was acknowledged there is not shown again.
    pub(crate) async fn execute(&self, connection: u64, command: Command) -> Reply {
        let lane = |uaid: &Uaid| self.lanes.get(uaid.key().spread() % LANES);
        let _under_way = match &command {
            Command::Apply { uaid, .. } => match lane(uaid) {
                Some(lane) => Some(lane.read().await),
                None => None,
            },
            Command::Enter(uaid) => {
                if let Some(lane) = lane(uaid) {
                    drop(lane.write().await);
                }
                None
            }
            _ => None,
        };
        self.registry.execute(connection, command).await
    }

    /// A number for a connection; none gets it twice.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether so many connections are open that further ones should go elsewhere (§15.4).
    pub(crate) fn is_crowded(&self) -> bool {
        let open = self.open.load(Ordering::SeqCst);
        self.config.redirect.as_ref().is_some_and(|redirect| open > redirect.connections)
    }

    pub(crate) fn availability(&self) -> Availability {
        if self.draining.load(Ordering::SeqCst) {
            Availability::Draining
        } else {
            Availability::Serving
        }
    }
}

/// Whether a server takes new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    Serving,
    /// It shuts down.
    Draining,
}

/// What an operator wants to know about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Open WebSockets, those before `hello` included.
    pub connections: usize,
    /// UserAgents that are connected.
    pub user_agents: usize,
    /// Whether it takes new work.
    pub availability: Availability,
    /// Why the store can't take commits; `None` if it can.
    pub store_unavailable: Option<String>,
}

/// A channel that is no longer registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedChannel {
    /// Whose it was.
    pub user_agent: UserAgentId,
    /// Its name.
    pub channel: ChannelId,
    /// When it ended. It may be registered again since.
    pub at: Timestamp,
}

/// Whether a UserAgent was connected when a version was accepted for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserAgentPresence {
    /// It was, here or at another gateway, and the version is on its way to it.
    Connected,
    /// It was not; it gets the version when it comes.
    Away,
}

/// A version that was accepted: it is on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notified {
    /// The version, as given or as assigned (SimplePush R-VER-4).
    pub version: Version,
    /// Whether the UserAgent was connected.
    pub user_agent: UserAgentPresence,
}

/// Why a version was not accepted. Detail is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The URL is not that of an endpoint of this server. Trying again does not help.
    #[error("the URL is not an endpoint of this server")]
    NotAnEndpoint,
    /// The channel or its UserAgent no longer exists. Trying again does not help.
    #[error("the channel no longer exists")]
    Gone,
    /// The store could not take it, or that is not certain. Trying again is safe.
    #[error("the version could not be stored")]
    Unavailable,
}

impl SimplePush {
    /// A server that keeps its state in `store`. Several may share a store if their configuration
    /// says so.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        config: Config,
    ) -> Self {
        let config = Arc::new(config);
        let steady = SteadyClock::new(Arc::clone(&clock));
        let wheel = Wheel::new(steady.now(), config.timing.tick);
        let mut gateway = GatewayId::default();
        entropy.fill(&mut gateway);
        let registry = Registry::new(Arc::clone(&store), clock, Arc::clone(&config), gateway);
        let rates = config.rates.clone();
        Self(Arc::new(Shared {
            config,
            lanes: std::iter::repeat_with(RwLock::default).take(LANES).collect(),
            channel_puts: Limiter::new(rates.channel_puts, PERIOD),
            refused_puts: Limiter::new(rates.refused_puts, PERIOD),
            refused_uaids: Limiter::new(rates.refused_uaids, PERIOD),
            takeovers: Limiter::new(rates.takeovers, PERIOD),
            wakes: Limiter::new(1, PERIOD),
            pager: Pager::default(),
            registry,
            table: Table::new(),
            wheel,
            steady,
            entropy,
            metrics: Metrics::new(),
            store,
            open: AtomicUsize::new(0),
            open_by_source: Mutex::default(),
            ids: AtomicU64::new(1),
            draining: AtomicBool::new(false),
            tracker: TaskTracker::new(),
        }))
    }

    /// The paths `/push` (WebSocket), `/update/{token}` and `/status` (SimplePush R-WS-1, R-EP-1,
    /// R-OPS-1), and the browser library `/simplepush.js` with its types `/simplepush.d.ts`.
    pub fn router(&self) -> Router {
        routes(Endpoints { push: self.clone(), foreign: None })
    }

    /// [`router`](Self::router), with endpoints that are not channels.
    pub fn router_with(&self, foreign: Arc<dyn ForeignEndpoints>) -> Router {
        routes(Endpoints { push: self.clone(), foreign: Some(foreign) })
    }

    /// Opens the WebSocket that `request` asks for, on whatever path it came, or answers why not.
    /// See [`is_upgrade`](crate::is_upgrade).
    ///
    /// The connection that carries `request` must allow upgrades: the server must serve it with
    /// upgrades. Call it within the runtime: the connection becomes a task of this server.
    pub fn upgrade(&self, request: Request) -> Response {
        upgrade::open(self, request)
    }

    /// Makes `version` known to the UserAgent behind an endpoint, as `PUT` does; without one the
    /// server assigns one. Returns when the version is on stable storage, not when it is delivered
    /// (SimplePush R-HTTP-2).
    ///
    /// `endpoint_url` is what a `register` gave. Its beginning is not compared: the token alone
    /// grants the right, so an endpoint stays usable when the public URL of the server changes.
    ///
    /// # Errors
    ///
    /// [`NotifyError`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the version was stored or it was not, and a stored one is delivered at the next
    /// `hello` at the latest. Repeating the call is safe.
    pub async fn notify(
        &self,
        endpoint_url: &str,
        version: Option<Version>,
    ) -> Result<Notified, NotifyError> {
        let (user_agent, channel) =
            self.endpoint(endpoint_url).ok_or(NotifyError::NotAnEndpoint)?;
        self.notify_channel(user_agent, channel, version).await
    }

    /// [`notify`](Self::notify) for a channel that is known by name.
    ///
    /// # Errors
    ///
    /// [`NotifyError::Gone`], [`NotifyError::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// As [`notify`](Self::notify).
    pub async fn notify_channel(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        version: Option<Version>,
    ) -> Result<Notified, NotifyError> {
        self.deliver(user_agent, channel, version, None).await
    }

    /// Whose endpoint a URL or a bare token is; `None` if none of the keys made it. The channel may
    /// be gone.
    pub fn endpoint(&self, endpoint_url: &str) -> Option<(UserAgentId, ChannelId)> {
        let token = endpoint_url.rsplit_once("/update/").map_or(endpoint_url, |(_, token)| token);
        let (uaid, channel) = self.config().token_keys.open(token)?;
        Some((uaid.key(), channel))
    }

    /// Whether a channel is registered: for whoever keeps one to notify it later.
    ///
    /// # Errors
    ///
    /// [`NotifyError::Gone`] if it is not, [`NotifyError::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only reads.
    pub async fn check_channel(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<(), NotifyError> {
        self.0.registry.check(user_agent, channel).await.map_err(refused)
    }

    /// The channels that are unregistered, pruned or forgotten with their UserAgent from now on, as
    /// this server does it. Of more than 1,024 that nobody takes the oldest are lost, which the
    /// receiver is told.
    pub fn ended_channels(&self) -> broadcast::Receiver<EndedChannel> {
        self.0.registry.ended_channels()
    }

    /// What an operator wants to know.
    pub fn status(&self) -> Status {
        Status {
            connections: self.0.open.load(Ordering::SeqCst),
            user_agents: self.0.table.len(),
            availability: self.availability(),
            store_unavailable: self.0.registry.unavailable(),
        }
    }

    /// Stops taking connections and PUTs, closes every connection with 1001, spread over
    /// `drain_spread` if they are many, and returns when all are gone (SimplePush R-OPS-4).
    ///
    /// [`run`](Self::run) must go on meanwhile: it ends the connections that do not answer, within
    /// `close_timeout`.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: what was not told to close yet is told when it is called again.
    pub async fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
        self.0.tracker.close();
        let connections = self.0.wheel.connections();
        let group_len = connections.len().div_ceil(DRAIN_GROUPS).max(DRAIN_GROUP_MIN);
        let pause = self.config().timing.drain_spread / 20;
        let mut groups = connections.chunks(group_len).peekable();
        while let Some(group) = groups.next() {
            for handle in group {
                handle.end(CloseReason::Draining);
            }
            if groups.peek().is_some() {
                tokio::time::sleep(pause).await;
            }
        }
        drop(connections);
        self.0.tracker.wait().await;
    }

    /// Lets timers fire and watches the store until `stop` is cancelled.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.config().timing.tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut hints = self.hints();
        let mut watched = self.0.steady.now();
        // At once, not at the first tick: others would take clients that have come by then for away.
        let mut beat = self.shares_store().then(|| self.announce(true));
        let mut beat_due = watched.saturating_add(GATEWAY_BEAT);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {
                    let now = self.0.steady.now();
                    self.0.wheel.advance(now);
                    if now >= watched.saturating_add(WATCH_INTERVAL) {
                        self.watch(watched, now);
                        watched = now;
                    }
                    if now >= beat_due && beat.is_none() {
                        beat_due = now.saturating_add(GATEWAY_BEAT);
                        beat = self.shares_store().then(|| self.announce(true));
                    }
                }
                Some(hint) = hints.next() => self.on_hint(&hint),
                // Polled here, so that a store that hangs does not stop the timers.
                Some(()) = next_beat(&mut beat) => beat = None,
            }
        }
        if self.shares_store() {
            self.announce(false).await;
        }
    }

    fn shares_store(&self) -> bool {
        self.config().gateways == Gateways::Several
    }

    /// Tells other gateways whether this one is alive.
    fn announce(&self, alive: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let announced = self.0.registry.announce(alive);
            match tokio::time::timeout(GATEWAY_BEAT, announced).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log_failure(&error),
                Err(_) => tracing::warn!("the store did not answer in time"),
            }
        })
    }

    pub(crate) fn hints(&self) -> Hints {
        match self.config().gateways {
            Gateways::One => Box::pin(futures::stream::pending()),
            Gateways::Several => {
                self.0.store.hints(HintFilter::Prefix(UserAgentId::PARTITIONS.into()))
            }
        }
    }

    pub(crate) fn on_hint(&self, hint: &Hint) {
        self.0.metrics.hints.increment(1);
        match hint {
            Hint::Changed(partition) => {
                let handle = user_agent_of(partition).and_then(|key| self.0.table.find(key));
                if let Some(handle) = handle {
                    handle.recheck();
                }
            }
            Hint::Missed => self.0.table.recheck_all(),
        }
    }

    /// Looks after what the store does not say: that hints were lost without a word, so that each
    /// connection reads again about once a minute; and that writes may be lost, on which its clients
    /// rely, so that all must shake hands again (§11.1).
    fn watch(&self, watched: Timestamp, now: Timestamp) {
        if self.shares_store() {
            let turns = watched.as_secs()..now.as_secs();
            turns.take(table::SHARDS).for_each(|turn| self.0.table.recheck_some(turn));
        }
        if self.0.registry.epoch_changed() {
            tracing::warn!("the store may have lost writes: all UserAgents must shake hands again");
            for handle in self.0.wheel.connections() {
                handle.end(CloseReason::StateDropped);
            }
        }
    }

    /// Starts the task of a connection; [`drain`](Self::drain) waits for it.
    pub(crate) fn spawn(&self, carrier: Carrier) {
        self.0.tracker.spawn(carrier);
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    pub(crate) fn availability(&self) -> Availability {
        self.0.availability()
    }

    /// Stores a version, then hands it to the connection of its UserAgent (R-DEL-1): the table is read
    /// after the commit, so that either this finds the connection or its `hello` finds the version
    /// (R-DEL-2).
    pub(crate) async fn deliver(
        &self,
        user_agent: UserAgentId,
        channel: ChannelId,
        version: Option<Version>,
        data: Option<Box<str>>,
    ) -> Result<Notified, NotifyError> {
        let shared = &*self.0;
        let started = shared.steady.now();
        let known = shared.table.find(user_agent).and_then(|handle| handle.known(channel));
        let published = shared.registry.publish(user_agent, channel, version, known).await;
        let published = published.map_err(refused)?;
        let version = published.version;
        let presence = match shared.table.find(user_agent) {
            None => {
                let presence = self.presence_elsewhere(user_agent, peer_deadline()).await;
                if presence == UserAgentPresence::Away {
                    self.wake(user_agent).await;
                }
                presence
            }
            Some(handle) => {
                if published.effect == PublishEffect::Stored {
                    handle.remember(channel, published.record);
                    let revision = published.revision;
                    let update = Update { channel, version, revision, data };
                    if handle.deliver(update, shared.config.version_policy) == Delivered::Coalesced
                    {
                        shared.metrics.coalesced.increment(1);
                    }
                }
                UserAgentPresence::Connected
            }
        };
        // What the answer says, wherever the connection is.
        match presence {
            UserAgentPresence::Connected => shared.metrics.puts_delivered.increment(1),
            UserAgentPresence::Away => shared.metrics.puts_stored.increment(1),
        }
        shared.metrics.put_seconds.record(shared.steady.now().saturating_since(started));
        Ok(Notified { version, user_agent: presence })
    }

    /// Whether another gateway has the UserAgent, which that one then tells. Asking takes a bounded
    /// time, until `deadline`, and never fails the PUT (R-NODE-5).
    pub(crate) async fn presence_elsewhere(
        &self,
        user_agent: UserAgentId,
        deadline: tokio::time::Instant,
    ) -> UserAgentPresence {
        if !self.shares_store() {
            return UserAgentPresence::Away;
        }
        let asking = self.0.registry.is_elsewhere(user_agent);
        match tokio::time::timeout_at(deadline, asking).await {
            Ok(Ok(true)) => UserAgentPresence::Connected,
            Ok(Ok(false)) | Err(_) => UserAgentPresence::Away,
            Ok(Err(error)) => {
                log_failure(&error);
                UserAgentPresence::Away
            }
        }
    }

    /// Has a UserAgent woken that is away, if that is in use (§13.1). What fails is logged only: the
    /// version waits in the store.
    async fn wake(&self, user_agent: UserAgentId) {
        let shared = &*self.0;
        let Some(wakeup) = &shared.config.wakeup else { return };
        if shared.wakes.count(user_agent, shared.steady.now()).is_err() {
            return;
        }
        let waking = async {
            let place = match shared.registry.wake_place(user_agent).await {
                Ok(place) => place,
                Err(error) => return log_failure(&error),
            };
            // Networks may have been taken from the configuration since.
            let found = place.and_then(|place| Some((wakeup.relay(&place)?, place)));
            let Some((relay, place)) = found else { return };
            match shared.pager.page(relay, &place).await {
                Ok(()) => shared.metrics.wakes.increment(1),
                Err(error) => tracing::warn!(%error, "a relay could not be asked to wake"),
            }
        };
        if tokio::time::timeout(PEER_TIMEOUT, waking).await.is_err() {
            tracing::warn!("asking a relay to wake took too long");
        }
    }

    pub(crate) fn count_failed_put(&self, error: EndpointError) {
        let metrics = &self.0.metrics;
        let counter = match error {
            EndpointError::Version
            | EndpointError::Form
            | EndpointError::Token
            | EndpointError::Method
            | EndpointError::Slow => &metrics.puts_invalid,
            EndpointError::TooLong => &metrics.puts_too_long,
            EndpointError::Gone => &metrics.puts_gone,
            EndpointError::TooOften(_) => &metrics.puts_limited,
            EndpointError::Unavailable => &metrics.puts_failed,
        };
        counter.increment(1);
    }
}

async fn next_beat(beat: &mut Option<BoxFuture<'_, ()>>) -> Option<()> {
    beat.as_mut()?.await;
    Some(())
}

fn routes(endpoints: Endpoints) -> Router {
    async fn push(State(endpoints): State<Endpoints>, request: Request) -> Response {
        endpoints.push.upgrade(request)
    }
    async fn update(State(endpoints): State<Endpoints>, request: Request) -> Response {
        endpoint::serve(&endpoints, request).await
    }
    async fn status(State(endpoints): State<Endpoints>) -> Response {
        endpoint::status(&endpoints.push.status())
    }
    Router::new()
        .route("/status", get(status))
        .route("/status/", get(status))
        .route("/push", any(push))
        .route("/update", any(update))
        .route("/update/", any(update))
        .route("/update/{*token}", any(update))
        .with_state(endpoints)
        .merge(browser::router())
}

/// Why a version is not taken. A failure of the store is logged here, once.
fn refused(error: PublishError) -> NotifyError {
    match error {
        PublishError::Gone => NotifyError::Gone,
        PublishError::Registry(error) => {
            log_failure(&error);
            NotifyError::Unavailable
        }
    }
}

impl fmt::Debug for SimplePush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimplePush").field("status", &self.status()).finish_non_exhaustive()
    }
}
