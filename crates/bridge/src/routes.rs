//! All routes of the gateways that share a store: made, changed and shown at any of them.
//!
//! Never here: delivering; each route has its runner. Which of the routes run here is next door, in
//! `reconcile`, dead letters are in `replay`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use buswire_bus::Buses;
use buswire_message::{Clock, Entropy, MessageId, RouteName, Sequence, SourceUrl, Tracer};
use buswire_store::{BoxFuture, HintFilter, Revision, Store};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::{sync::Notify, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    delivery::Limits,
    error::RouteError,
    keeper::{Keeper, SteadyClock},
    lease::LeaseTiming,
    ledger::{Ledger, StoredRoute, route_partition},
    owners::Told,
    reconcile::{Known, News},
    route::{Route, RouteChange, RouteDescription, RouteProblem, Start},
    runner::{Counters, Shared},
    sink::OpenSink,
    uri::SinkUri,
};

/// How often it is looked for dead letters that are too old.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How long an administrator waits for another gateway to take over a change.
const IN_FORCE_TIME: Duration = Duration::from_secs(5);
/// How often a change is tried anew because the route was changed meanwhile.
pub(crate) const CHANGES_MAX: usize = 16;
/// How many routes are asked about, taken or started at once.
pub(crate) const AT_ONCE: usize = 64;

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
    /// What this gateway is called where it is told who runs a route; default `gateway`.
    pub gateway: String,
    /// How the leases are timed by which gateways that share a store divide the routes.
    pub lease: LeaseTiming,
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
            gateway: "gateway".to_owned(),
            lease: LeaseTiming::default(),
        }
    }
}

/// A route and what it is doing. Counts begin when its owner takes it; those of a route that another
/// gateway runs are seconds old.
#[derive(Clone, Debug)]
pub struct RouteInfo {
    /// The route.
    pub route: Route,
    /// Changes with everything that an administrator changes of it.
    pub revision: Revision,
    /// What it is doing.
    pub state: RouteState,
    /// What the gateway is called that runs it; `None` if none does at present.
    pub owner: Option<String>,
    /// Messages delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Messages that became dead letters.
    pub dead: u64,
    /// Dead letters that are kept at present.
    pub dead_letters: u64,
    /// Messages that wait or are under way.
    pub pending: u64,
}

/// What a route has done at this gateway since that started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCounts {
    /// The name of the route.
    pub name: RouteName,
    /// Messages delivered.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
}

/// What a route is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteState {
    /// It delivers.
    Running,
    /// An administrator paused it.
    Paused,
    /// Its sink can't be opened where it runs; the text says why.
    Blocked(String),
    /// No gateway runs it at present. One takes it within seconds, if one can reach the store.
    Waiting,
}

/// What is to become of a route.
enum Modification<'a> {
    Change(&'a RouteChange),
    Enable(bool),
}

/// What every gateway knows of a route.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) route: Route,
    pub(crate) counters: Arc<Counters>,
    /// Dead letters of a route are tried again one after the other, in the order they are asked for.
    pub(crate) replaying: Arc<tokio::sync::Mutex<()>>,
}

/// The routes of the gateways that share a store. Cheap to clone.
#[derive(Clone)]
pub struct Routes {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Shared,
    pub(crate) sinks: Arc<dyn OpenSink>,
    pub(crate) keeper: Keeper,
    routes_max: usize,
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
    /// The lease is kept until everything that needs it has ended.
    left: CancellationToken,
    keeping: TaskTracker,
    known: Mutex<BTreeMap<RouteName, Known>>,
    /// What is run is changed by one at a time.
    pub(crate) changes: tokio::sync::Mutex<()>,
    /// Tells the reconciler that there is something to look at.
    pub(crate) wake: Arc<Notify>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl Routes {
    /// Reads every stored route and starts those that no other gateway runs. Call it on a tokio
    /// runtime. Routes run until [`stop`](Self::stop). If other gateways can use the store, they
    /// divide the routes among them, and each takes those of one that dies.
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
        let RoutesConfig { source, limits, routes_max, tracer, gateway, lease, .. } = config;
        let silent = || Tracer::new(Arc::clone(&clock), Arc::clone(&entropy));
        let tracer = tracer.unwrap_or_else(silent);
        let steady = SteadyClock::start();
        let (time, random) = (Arc::clone(&clock), Arc::clone(&entropy));
        let keeper = Keeper::new(ledger.clone(), time, random, steady, lease, gateway);
        let shared = Shared { buses, ledger, clock, steady, entropy, tracer, limits, source };
        let inner = Inner {
            shared,
            sinks,
            keeper,
            routes_max,
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
            left: CancellationToken::new(),
            keeping: TaskTracker::new(),
            known: Mutex::new(BTreeMap::new()),
            changes: tokio::sync::Mutex::new(()),
            wake: Arc::default(),
        };
        let routes = Self { inner: Arc::new(inner) };
        if routes.inner.keeper.is_shared() {
            routes.inner.keeper.beat().await?;
            routes.inner.keeper.observe().await?;
        }
        routes.inner.keeping.spawn(routes.clone().keep());
        if let Err(error) = routes.reconcile(News::First).await {
            routes.stop().await;
            return Err(error);
        }
        routes.inner.tracker.spawn(routes.clone().follow(routes.inner.stop.clone()));
        routes.inner.tracker.spawn(routes.clone().sweep(routes.inner.stop.clone()));
        Ok(routes)
    }

    async fn keep(self) {
        self.inner.keeper.run(&self.inner.wake, &self.inner.left).await;
    }

    /// Stops every route and lets other gateways take them: no attempt begins any more, those under
    /// way have a second to end, what is settled is stored. Done at once if they are stopped.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
        if !self.inner.left.is_cancelled() {
            self.inner.left.cancel();
            self.inner.keeping.close();
            self.inner.keeping.wait().await;
            self.inner.keeper.leave().await;
        }
    }

    /// Parses the description of a route.
    ///
    /// # Errors
    ///
    /// [`RouteError::Invalid`] with every problem: also if its sink can't be opened here, or leads to
    /// a bus that there is not. Another one if that can't be told.
    pub async fn parse(&self, wanted: &RouteDescription<'_>) -> Result<Route, RouteError> {
        self.vet(Route::parse(wanted), wanted.sink.parse().ok().as_ref()).await
    }

    /// Adds what is wrong with a sink to what was found by reading.
    async fn vet(
        &self,
        parsed: Result<Route, Vec<RouteProblem>>,
        sink: Option<&SinkUri>,
    ) -> Result<Route, RouteError> {
        let unreachable = match sink {
            Some(sink) => match self.inner.sinks.open(sink) {
                Ok(_) => match self.inner.sinks.check(sink).await {
                    Ok(()) => Vec::new(),
                    Err(RouteError::Invalid(problems)) => problems,
                    Err(error) => return Err(error),
                },
                Err(problem) => vec![problem],
            },
            None => Vec::new(),
        };
        match parsed {
            Ok(route) if unreachable.is_empty() => Ok(route),
            parsed => {
                let problems = parsed.err().into_iter().flatten();
                Err(RouteError::Invalid(problems.chain(unreachable).collect()))
            }
        }
    }

    /// Makes a route. It is stored when this returns, and in force if a gateway runs it; otherwise it
    /// is in force as soon as one does, within seconds.
    ///
    /// # Errors
    ///
    /// [`RouteError::Invalid`] if its sink can't be opened here or is not there,
    /// [`RouteError::Exists`], [`RouteError::TooMany`], [`RouteError::Store`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the route may be made all the same.
    pub async fn create(&self, mut route: Route) -> Result<(), RouteError> {
        match self.stored(&route.name, None).await {
            Ok(_) => return Err(RouteError::Exists(route.name)),
            Err(RouteError::Unknown(_)) => {}
            Err(error) => return Err(error),
        }
        let count = self.count();
        if count >= self.inner.routes_max {
            return Err(RouteError::TooMany(count));
        }
        let sink = route.sink.clone();
        route = self.vet(Ok(route), Some(&sink)).await?;
        let Shared { ledger, clock, entropy, .. } = &self.inner.shared;
        let now = clock.now();
        if route.start == Start::Now {
            // Written down as a place, so that a restart before the first message changes nothing.
            route.start = Start::After(MessageId::from_sequence(Sequence::at(now)));
        }
        let (name, mut created) = (route.name.clone(), [0; 8]);
        entropy.fill(&mut created);
        let stored = ledger.create(route, u64::from_le_bytes(created), now).await?;
        self.put_in_force(stored.ok_or(RouteError::Exists(name))?).await
    }

    /// Changes a route, which goes on where it is. As [`create`](Self::create) it returns when the
    /// change is stored and, if a gateway runs the route, in force there. An attempt under way may be
    /// made again. `expected` is the revision that the route must have, if it matters.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`]; [`RouteError::Invalid`] with every problem; [`RouteError::Changed`];
    /// [`RouteError::Store`]. Then nothing changed; after an error of the store it may have.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the change may be made all the same.
    pub async fn change(
        &self,
        name: &RouteName,
        change: &RouteChange,
        expected: Option<Revision>,
    ) -> Result<(), RouteError> {
        self.modify(name, Modification::Change(change), expected).await
    }

    /// Pauses a route or lets it go on, as [`change`](Self::change) changes it.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::Changed`], [`RouteError::Store`].
    pub async fn set_enabled(
        &self,
        name: &RouteName,
        enabled: bool,
        expected: Option<Revision>,
    ) -> Result<(), RouteError> {
        self.modify(name, Modification::Enable(enabled), expected).await
    }

    async fn modify(
        &self,
        name: &RouteName,
        modification: Modification<'_>,
        expected: Option<Revision>,
    ) -> Result<(), RouteError> {
        for _ in 0..CHANGES_MAX {
            let before = self.stored(name, expected).await?;
            let after = self.modified(&before.route, &modification).await?;
            let Shared { ledger, clock, .. } = &self.inner.shared;
            if let Some(stored) = ledger.update(after, &before, clock.now()).await? {
                return self.put_in_force(stored).await;
            }
        }
        Err(RouteError::Changed(name.clone()))
    }

    async fn modified(
        &self,
        before: &Route,
        modification: &Modification<'_>,
    ) -> Result<Route, RouteError> {
        match modification {
            Modification::Enable(enabled) => Ok(Route { enabled: *enabled, ..before.clone() }),
            Modification::Change(change) => {
                let sink = change.sink.as_ref().and_then(|sink| sink.parse().ok());
                self.vet(before.changed(change), sink.as_ref()).await
            }
        }
    }

    async fn stored(
        &self,
        name: &RouteName,
        expected: Option<Revision>,
    ) -> Result<StoredRoute, RouteError> {
        let Shared { ledger, clock, .. } = &self.inner.shared;
        let stored = ledger.route(name, clock.now()).await?;
        let stored = stored.ok_or_else(|| RouteError::Unknown(name.clone()))?;
        if expected.is_some_and(|expected| expected != stored.revision) {
            return Err(RouteError::Changed(name.clone()));
        }
        Ok(stored)
    }

    /// Stops a route wherever it runs, and removes it with its position and its dead letters. An
    /// attempt under way at another gateway may still reach its sink.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::Changed`], [`RouteError::Store`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, it may be removed all the same.
    pub async fn delete(
        &self,
        name: &RouteName,
        expected: Option<Revision>,
    ) -> Result<(), RouteError> {
        for _ in 0..CHANGES_MAX {
            let stored = self.stored(name, expected).await?;
            let Shared { ledger, clock, .. } = &self.inner.shared;
            if ledger.delete(&stored, clock.now()).await? {
                let routes = self.clone();
                return self.to_its_end(async move { routes.erase(&stored).await }).await;
            }
        }
        Err(RouteError::Changed(name.clone()))
    }

    /// Removes what is stored of a route whose description is gone. Whoever runs it can't store anything
    /// of it from then on.
    async fn erase(&self, gone: &StoredRoute) -> Result<(), RouteError> {
        let (name, created) = (&gone.route.name, gone.created);
        self.reconcile(News::Gone { name: name.clone(), created }).await?;
        let Inner { shared: Shared { ledger, clock, .. }, keeper, .. } = &*self.inner;
        for _ in 0..CHANGES_MAX {
            let owner = ledger.owner(name, clock.now()).await?;
            // In this order: whoever takes a new route of the name writes the owner row after its
            // description, so either is seen here, or the owner row is another than was read.
            if ledger.route(name, clock.now()).await?.is_some() {
                break;
            }
            if let Some(owned) = keeper.seize(name, owner.as_ref()).await? {
                return ledger.erase(&owned, clock.now()).await;
            }
        }
        // What is left is removed when a route of this name is taken.
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

    async fn put_in_force(&self, stored: StoredRoute) -> Result<(), RouteError> {
        let (name, revision) = (stored.route.name.clone(), stored.revision);
        self.put(stored);
        let routes = self.clone();
        self.to_its_end(async move { routes.reconcile(News::Look).await }).await?;
        // Stored it is, so it is done whether or not another gateway says so in time.
        time::timeout(IN_FORCE_TIME, self.in_force(&name, revision)).await.unwrap_or(Ok(()))
    }

    /// Waits until whoever runs a route has this revision of its description, or a later one.
    async fn in_force(&self, name: &RouteName, revision: Revision) -> Result<(), RouteError> {
        let Inner { shared: Shared { ledger, clock, .. }, keeper, .. } = &*self.inner;
        let hints = ledger.store().hints(HintFilter::Only(route_partition(name)?));
        let mut hints = hints.chain(stream::pending());
        loop {
            let (is_here, is_elsewhere) = self.lock().get(name).map_or((true, false), |known| {
                (known.runs(revision), known.presence.is_elsewhere())
            });
            if is_here || !keeper.is_shared() {
                return Ok(());
            }
            let (owner, told) = ledger.told(name, clock.now()).await?;
            let owner = owner.and_then(|owner| owner.gateway);
            let is_run = owner.is_some_and(|it| keeper.is_alive(it));
            // What no gateway runs may wait for its sink for ever.
            if (is_run && told.description >= revision.0) || (!is_run && is_elsewhere) {
                return Ok(());
            }
            tokio::select! {
                _ = hints.next() => {}
                () = time::sleep(keeper.timing().beat) => {}
            }
        }
    }

    /// Every route, by name.
    ///
    /// # Errors
    ///
    /// [`RouteError::Store`].
    pub async fn list(&self) -> Result<Vec<RouteInfo>, RouteError> {
        let routes = self.all_described().await?;
        let all: Vec<BoxFuture<'_, _>> =
            routes.iter().map(|route| Box::pin(self.info(&route.name)) as _).collect();
        let known = stream::iter(all).buffered(AT_ONCE).filter_map(|info| {
            // It was removed a moment ago.
            let is_gone = matches!(info, Err(RouteError::Unknown(_)));
            std::future::ready((!is_gone).then_some(info))
        });
        known.try_collect().await
    }

    /// One route.
    ///
    /// # Errors
    ///
    /// [`RouteError::Unknown`], [`RouteError::Store`].
    pub async fn get(&self, name: &RouteName) -> Result<RouteInfo, RouteError> {
        self.described(name).await?;
        self.info(name).await
    }

    async fn info(&self, name: &RouteName) -> Result<RouteInfo, RouteError> {
        let Inner { shared: Shared { ledger, clock, .. }, keeper, .. } = &*self.inner;
        let unknown = || RouteError::Unknown(name.clone());
        let (stored, here) = {
            let known = self.lock();
            let known = known.get(name).ok_or_else(unknown)?;
            (known.stored.clone(), known.told())
        };
        let (owner, told) = match here {
            Some(told) => (Some(keeper.called().to_owned()), told),
            None if keeper.is_shared() => {
                let (owner, told) = ledger.told(name, clock.now()).await?;
                let is_run = |id| keeper.is_alive(id) && told.description > 0;
                let owner = owner.filter(|owner| owner.gateway.is_some_and(is_run));
                (owner.map(|owner| owner.called), told)
            }
            None => (None, Told::default()),
        };
        Ok(shown(stored, owner, told))
    }

    /// The descriptions of all routes, by name, also if other gateways have changed them a moment ago.
    pub(crate) async fn all_described(&self) -> Result<Vec<Route>, RouteError> {
        if self.inner.keeper.is_shared() {
            return self.notice().await;
        }
        Ok(self.lock().values().map(|known| known.stored.route.clone()).collect())
    }

    /// What every route has done at this gateway, by name, without a look at the store.
    pub fn counts(&self) -> Vec<RouteCounts> {
        let counts = |(name, known): (&RouteName, &Known)| RouteCounts {
            name: name.clone(),
            delivered: known.counters.delivered.load(Ordering::Relaxed),
            failed_attempts: known.counters.failed_attempts.load(Ordering::Relaxed),
        };
        self.lock().iter().map(counts).collect()
    }

    /// How many routes there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// One route as it is described, as [`all_described`](Self::all_described) says.
    pub(crate) async fn described(&self, name: &RouteName) -> Result<Described, RouteError> {
        if self.inner.keeper.is_shared() {
            self.put(self.stored(name, None).await?);
        }
        let known = self.lock();
        let known = known.get(name).ok_or_else(|| RouteError::Unknown(name.clone()))?;
        Ok(Described {
            route: known.stored.route.clone(),
            counters: Arc::clone(&known.counters),
            replaying: Arc::clone(&known.replaying),
        })
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<RouteName, Known>> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(stored: StoredRoute, owner: Option<String>, told: Told) -> RouteInfo {
    let StoredRoute { route, revision, .. } = stored;
    let state = match (told.blocked, &owner) {
        (Some(why), Some(_)) => RouteState::Blocked(why),
        _ if !route.enabled => RouteState::Paused,
        (_, Some(_)) => RouteState::Running,
        (_, None) => RouteState::Waiting,
    };
    RouteInfo {
        route,
        revision,
        state,
        owner,
        delivered: told.delivered,
        failed_attempts: told.failed_attempts,
        dead: told.dead,
        dead_letters: told.dead_letters,
        pending: told.pending,
    }
}
