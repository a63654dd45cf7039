//! All routes of a gateway: made, changed, shown and run.
//!
//! Never here: delivering; each route has its runner. Dead letters are next door, in `replay`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use buswire_bus::Buses;
use buswire_message::{Clock, Entropy, MessageId, RouteName, Sequence, SourceUrl, Tracer};
use buswire_store::Store;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    delivery::Limits,
    error::RouteError,
    ledger::Ledger,
    route::{Route, RouteChange, Start},
    runner::{Counters, Runner, Shared},
    sink::{OpenSink, Sink},
};

/// How often it is looked for dead letters that are too old.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How long to wait before a changed route is started once more.
const START_DELAY: Duration = Duration::from_millis(500);

/// The settings of the bridge.
#[derive(Clone, Debug)]
pub struct RoutesConfig {
    /// The source of answers that routes publish.
    pub source: SourceUrl,
    /// How much each route holds in memory.
    pub limits: Limits,
    /// The most routes; default 10 000, one task and a few KiB each.
    pub routes_max: usize,
    /// How long dead letters are kept; default 7 days. They go within [`SWEEP_EVERY`] after that, with a
    /// line in the log.
    pub dead_letters_kept: Duration,
    /// The most dead letters of a route; default 10 000. The oldest go first, with a line in the log.
    pub dead_letters_max: usize,
    /// Gives deliveries their place in traces. With `None` they have one, and nothing is recorded.
    pub tracer: Option<Tracer>,
}

impl RoutesConfig {
    /// The defaults, with `source` as the source of answers.
    pub fn new(source: SourceUrl) -> Self {
        Self {
            source,
            limits: Limits::default(),
            routes_max: 10_000,
            dead_letters_kept: Duration::from_secs(7 * 86_400),
            dead_letters_max: 10_000,
            tracer: None,
        }
    }
}

/// A route and what it is doing.
#[derive(Clone, Debug)]
pub struct RouteInfo {
    /// The route.
    pub route: Route,
    /// What it is doing.
    pub state: RouteState,
    /// Messages delivered since the process started.
    pub delivered: u64,
    /// Attempts that failed since the process started.
    pub failed_attempts: u64,
    /// Messages that became dead letters since the process started.
    pub dead: u64,
    /// Dead letters that are kept at present.
    pub dead_letters: u64,
    /// Messages that wait or are under way.
    pub pending: u64,
}

/// What a route is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// It delivers.
    Running,
    /// An administrator paused it.
    Paused,
    /// Its sink can't be opened here; the text says why.
    Blocked(String),
}

pub(crate) struct Running {
    pub(crate) route: Route,
    /// What it delivers to, or why there is nothing to deliver to.
    pub(crate) sink: Result<Arc<dyn Sink>, String>,
    /// Dead letters of a route are tried again one after the other, in the order they are asked for.
    pub(crate) replaying: Arc<tokio::sync::Mutex<()>>,
    pause: Option<mpsc::Sender<bool>>,
    stop: CancellationToken,
    stopped: TaskTracker,
    pub(crate) counters: Arc<Counters>,
}

/// The routes of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Routes {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Shared,
    sinks: Arc<dyn OpenSink>,
    routes_max: usize,
    stop: CancellationToken,
    tracker: TaskTracker,
    running: Mutex<BTreeMap<RouteName, Running>>,
    /// Changes of the set of routes go one at a time, over their commits.
    changes: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("count", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Routes {
    /// Starts every stored route. Call it on a tokio runtime. Routes run until [`stop`](Self::stop).
    ///
    /// # Errors
    ///
    /// [`RouteError::Store`], [`RouteError::Damaged`].
    pub async fn open(
        buses: Buses,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        sinks: Arc<dyn OpenSink>,
        config: RoutesConfig,
    ) -> Result<Self, RouteError> {
        let ledger = Ledger::new(store, config.dead_letters_kept, config.dead_letters_max);
        let RoutesConfig { source, limits, routes_max, tracer, .. } = config;
        let silent = || Tracer::new(Arc::clone(&clock), Arc::clone(&entropy));
        let tracer = tracer.unwrap_or_else(silent);
        let shared = Shared { buses, ledger, clock, entropy, tracer, limits, source };
        let inner = Inner {
            shared,
            sinks,
            routes_max,
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
            running: Mutex::new(BTreeMap::new()),
            changes: tokio::sync::Mutex::new(()),
        };
        let routes = Self { inner: Arc::new(inner) };
        let now = routes.inner.shared.clock.now();
        for route in routes.inner.shared.ledger.routes(now).await? {
            routes.start(route, Arc::default()).await?;
        }
        routes.inner.tracker.spawn(routes.clone().sweep(routes.inner.stop.clone()));
        Ok(routes)
    }

    /// Stops every route: no attempt begins any more, what is settled is stored. Done at once if
    /// they are stopped.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }

    /// Makes a route and starts it. It is stored when this returns.
    ///
    /// # Errors
    ///
    /// [`RouteError::Invalid`] if its sink can't be opened here, [`RouteError::Exists`],
    /// [`RouteError::TooMany`], [`RouteError::Store`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the route may be stored without running until the next start.
    pub async fn create(&self, mut route: Route) -> Result<(), RouteError> {
        let _changing = self.inner.changes.lock().await;
        self.inner.sinks.open(&route.sink).map_err(|problem| RouteError::Invalid(vec![problem]))?;
        let count = self.lock().len();
        if self.lock().contains_key(&route.name) {
            return Err(RouteError::Exists(route.name));
        }
        if count >= self.inner.routes_max {
            return Err(RouteError::TooMany(count));
        }
        let now = self.inner.shared.clock.now();
        if route.start == Start::Now {
            // Written down as a place, so that a restart before the first message changes nothing.
            route.start = Start::After(MessageId::from_sequence(Sequence::at(now)));
        }
        if !self.inner.shared.ledger.create(&route, now).await? {
            return Err(RouteError::Exists(route.name));
        }
        self.start(route, Arc::default()).await
    }

    /// Changes a route, which goes on where it is. It is stored when this returns. An attempt under
    /// way may be made again.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`]; [`RouteError::Invalid`] with every problem, and then nothing changed;
    /// [`RouteError::Store`], and then the route goes on as it was.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the change is made all the same.
    pub async fn change(&self, name: &RouteName, change: &RouteChange) -> Result<(), RouteError> {
        let (routes, name, change) = (self.clone(), name.clone(), change.clone());
        self.to_its_end(async move { routes.make_change(&name, &change).await }).await
    }

    async fn make_change(&self, name: &RouteName, change: &RouteChange) -> Result<(), RouteError> {
        let _changing = self.inner.changes.lock().await;
        let before = self.get(name)?.route;
        let after = before.changed(change).map_err(RouteError::Invalid)?;
        self.inner.sinks.open(&after.sink).map_err(|problem| RouteError::Invalid(vec![problem]))?;
        // Stored first: while the store is away the route goes on as it was.
        self.inner.shared.ledger.update(&after, self.inner.shared.clock.now()).await?;
        let Some(counters) = self.halt(name).await else {
            return Err(RouteError::Unknown(name.clone()));
        };
        self.start_when_it_can_be_read(after, counters).await;
        Ok(())
    }

    /// Does something that must not stop half way, also if nobody waits for it any more.
    async fn to_its_end(
        &self,
        deed: impl Future<Output = Result<(), RouteError>> + Send + 'static,
    ) -> Result<(), RouteError> {
        let done = self.inner.tracker.spawn(deed).await;
        done.unwrap_or_else(|_| Err(RouteError::Damaged("a change that failed inside".to_owned())))
    }

    /// Starts a route that was running a moment ago, however long the store takes to say where.
    async fn start_when_it_can_be_read(&self, route: Route, counters: Arc<Counters>) {
        while let Err(error) = self.start(route.clone(), Arc::clone(&counters)).await {
            tracing::error!(route = %route.name, %error, "a changed route could not be started");
            let pause = tokio::time::sleep(START_DELAY);
            if self.inner.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// Pauses a route or lets it go on. It is stored when this returns.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::Store`].
    pub async fn set_enabled(&self, name: &RouteName, enabled: bool) -> Result<(), RouteError> {
        let _changing = self.inner.changes.lock().await;
        let unknown = || RouteError::Unknown(name.clone());
        let mut route = self.lock().get(name).map(|r| r.route.clone()).ok_or_else(unknown)?;
        route.enabled = enabled;
        self.inner.shared.ledger.update(&route, self.inner.shared.clock.now()).await?;
        let pause = self.lock().get_mut(name).and_then(|running| {
            running.route = route;
            running.pause.clone()
        });
        if let Some(pause) = pause {
            // The receiver is gone only when the route stops, which pauses it too.
            pause.send(!enabled).await.unwrap_or_default();
        }
        Ok(())
    }

    /// Stops a route and removes it with its position and its dead letters.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::Store`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, it is removed all the same.
    pub async fn delete(&self, name: &RouteName) -> Result<(), RouteError> {
        let (routes, name) = (self.clone(), name.clone());
        self.to_its_end(async move { routes.remove_route(&name).await }).await
    }

    async fn remove_route(&self, name: &RouteName) -> Result<(), RouteError> {
        let _changing = self.inner.changes.lock().await;
        let halted = self.halt(name).await;
        halted.ok_or_else(|| RouteError::Unknown(name.clone()))?;
        self.inner.shared.ledger.delete(name, self.inner.shared.clock.now()).await
    }

    /// Stops a route and forgets it, in memory only; what is settled is stored before it returns.
    async fn halt(&self, name: &RouteName) -> Option<Arc<Counters>> {
        let running = self.lock().remove(name)?;
        running.stop.cancel();
        running.stopped.close();
        running.stopped.wait().await;
        // One that is under way may still change its dead letter.
        let _replaying = running.replaying.lock().await;
        Some(running.counters)
    }

    /// Every route, by name.
    pub fn list(&self) -> Vec<RouteInfo> {
        self.lock().values().map(Running::info).collect()
    }

    /// One route.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`].
    pub fn get(&self, name: &RouteName) -> Result<RouteInfo, RouteError> {
        self.lock().get(name).map(Running::info).ok_or_else(|| RouteError::Unknown(name.clone()))
    }

    async fn start(&self, route: Route, counters: Arc<Counters>) -> Result<(), RouteError> {
        let shared = self.inner.shared.clone();
        let now = shared.clock.now();
        let progress = shared.ledger.progress(&route.name, now).await?;
        let letters = shared.ledger.count_dead(&route.name, now).await?;
        counters.letters.store(letters, Ordering::Relaxed);
        let (pause, paused) = mpsc::channel(8);
        let stop = self.inner.stop.child_token();
        let stopped = TaskTracker::new();
        let sink = self.inner.sinks.open(&route.sink).map_err(|problem| problem.to_string());
        let pause = match &sink {
            Ok(sink) => {
                let (sink, counters) = (Arc::clone(sink), Arc::clone(&counters));
                let runner = Runner::new(shared, route.clone(), sink, progress, counters);
                let task = stopped.track_future(runner.run(paused, stop.clone()));
                self.inner.tracker.spawn(task);
                Some(pause)
            }
            Err(problem) => {
                tracing::error!(route = %route.name, problem, "a stored route can't run here");
                None
            }
        };
        let replaying = Arc::default();
        let name = route.name.clone();
        let running = Running { route, sink, replaying, pause, stop, stopped, counters };
        self.lock().insert(name, running);
        Ok(())
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<RouteName, Running>> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn info(&self) -> RouteInfo {
        let state = match &self.sink {
            Err(why) => RouteState::Blocked(why.clone()),
            Ok(_) if self.route.enabled => RouteState::Running,
            Ok(_) => RouteState::Paused,
        };
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        RouteInfo {
            route: self.route.clone(),
            state,
            delivered: count(&self.counters.delivered),
            failed_attempts: count(&self.counters.failed_attempts),
            dead: count(&self.counters.dead),
            dead_letters: count(&self.counters.letters),
            pending: count(&self.counters.pending),
        }
    }
}
