//! Makes what runs here what is stored and owned: routes are taken, started, changed, handed over.
//!
//! Everything is done anew until it is as it should be, whenever descriptions, gateways or the lease
//! change; an error is only a reason to do it again. Never here: who is to own what; that is
//! `lease`'s.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use buswire_message::RouteName;
use buswire_store::{BoxFuture, HintFilter, Partition, Revision};
use futures::{StreamExt, stream};
use tokio::{sync::mpsc, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    error::RouteError,
    keeper::SteadyClock,
    lease::{Hold, Presence, Steady},
    ledger::{ROUTES, StoredRoute},
    owners::{Owned, Told},
    route::Route,
    routes::{AT_ONCE, Inner, Routes},
    runner::{Counters, Right, Runner},
};

/// How often the descriptions are read, whether or not a hint says that they changed.
const RELOAD_EVERY: Duration = Duration::from_secs(5);
/// They are not read more often than this.
const RELOAD_PAUSE: Duration = Duration::from_millis(100);
/// How often the owner of a route tells what the route is doing.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// How many routes are given up before other things are looked after again.
const LEAVING_AT_ONCE: usize = 16;

/// What is different.
#[derive(Debug)]
pub(crate) enum News {
    /// Nothing was read yet, and everything must be readable.
    First,
    /// Whatever is stored may have changed.
    Reload,
    /// The gateways or the lease changed, or nothing.
    Look,
    /// The description of the route that was `created` so was removed; there may be another one of its
    /// name already.
    Gone { name: RouteName, created: u64 },
}

/// A route that is stored, and what of it is here.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) stored: StoredRoute,
    pub(crate) counters: Arc<Counters>,
    pub(crate) replaying: Arc<tokio::sync::Mutex<()>>,
    running: Option<Running>,
    /// Where its sink is; looked for only if other gateways share the store.
    pub(crate) presence: Presence,
    /// Whether the owner row may name this gateway although the route does not run.
    is_loose: bool,
}

/// A route that runs here.
#[derive(Debug)]
struct Running {
    right: Right,
    /// The description that is in force.
    stored: StoredRoute,
    /// Why there is nothing to deliver to.
    blocked: Option<String>,
    pause: mpsc::Sender<bool>,
    /// Ends the runner after it has stored what is settled.
    stop: CancellationToken,
    /// Ends the runner at once.
    abandon: CancellationToken,
    stopped: TaskTracker,
    /// What the other gateways were told last, and when.
    told: Option<(Told, Steady)>,
}

impl Known {
    fn new(stored: StoredRoute) -> Self {
        let (counters, replaying) = (Arc::default(), Arc::default());
        let presence = Presence::new();
        Self { stored, counters, replaying, running: None, presence, is_loose: false }
    }

    /// Whether this revision of the description, or a later one, is in force here.
    pub(crate) fn runs(&self, revision: Revision) -> bool {
        self.running.as_ref().is_some_and(|running| running.stored.revision >= revision)
    }

    /// What it is doing, if it runs here.
    pub(crate) fn told(&self) -> Option<Told> {
        self.running.as_ref().map(|running| running.tell(&self.counters))
    }

    /// Takes out what runs here.
    fn take_running(&mut self) -> Option<Running> {
        let running = self.running.take()?;
        self.is_loose = true;
        Some(running)
    }
}

impl Running {
    fn tell(&self, counters: &Counters) -> Told {
        Told::of(counters, self.stored.revision, self.blocked.as_ref())
    }

    /// Whether its runner has ended by itself: another gateway owns the route, or it broke.
    fn has_ended(&self) -> bool {
        self.blocked.is_none() && self.stopped.is_empty()
    }

    /// Stops it in good order as long as the lease lasts, and at once after that.
    async fn halt(self, steady: SteadyClock) -> Right {
        self.stop.cancel();
        self.stopped.close();
        let hold = &self.right.hold;
        while !self.stopped.is_empty() && hold.is_held(steady.now()) {
            // A beat may extend it meanwhile.
            time::timeout(hold.left(steady.now()), self.stopped.wait()).await.unwrap_or_default();
        }
        self.abandon.cancel();
        self.stopped.wait().await;
        self.right
    }
}

impl Routes {
    /// Looks after the routes until `stop`.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let Inner { shared, keeper, wake, .. } = &*self.inner;
        let Ok(routes) = Partition::new(ROUTES) else { return };
        // Where nobody else can use the store, everything that changes is changed here.
        let hints = if keeper.is_shared() {
            let hints = shared.ledger.store().hints(HintFilter::Only(routes));
            hints.chain(stream::pending()).left_stream()
        } else {
            stream::pending().right_stream()
        };
        tokio::pin!(hints);
        let mut ticks = time::interval(keeper.timing().beat);
        let mut reload = time::interval(RELOAD_EVERY);
        loop {
            let news = tokio::select! {
                () = stop.cancelled() => return,
                _ = hints.next() => {
                    stop.run_until_cancelled(time::sleep(RELOAD_PAUSE)).await;
                    News::Reload
                }
                _ = reload.tick(), if keeper.is_shared() => News::Reload,
                () = wake.notified() => News::Look,
                _ = ticks.tick() => News::Look,
            };
            if let Err(error) = self.reconcile(news).await {
                tracing::warn!(%error, "the stored routes could not be read");
            }
        }
    }

    /// Makes what runs here what should run here, as far as it can be done now.
    ///
    /// # Errors
    ///
    /// Only of reading the descriptions.
    ///
    /// # Cancel safety
    ///
    /// Not safe: it is run by tasks that are waited for.
    pub(crate) async fn reconcile(&self, news: News) -> Result<(), RouteError> {
        let _changing = self.inner.changes.lock().await;
        let read = self.learn(news).await;
        if !self.inner.stop.is_cancelled() {
            self.forget_lost();
            self.look_for_sinks().await;
            self.apply_changes().await;
            self.claim().await;
            self.hand_over().await;
            self.tell_others().await;
        }
        let owned = self.lock().values().filter(|known| known.running.is_some()).count();
        metrics::gauge!("buswire_bridge_routes_owned")
            .set(f64::from(u32::try_from(owned).unwrap_or(u32::MAX)));
        read
    }

    async fn learn(&self, news: News) -> Result<(), RouteError> {
        match news {
            News::Look => {}
            News::First => self.reload(true).await?,
            News::Reload => self.reload(false).await?,
            News::Gone { name, created } => self.remove(&name, created).await,
        }
        Ok(())
    }

    /// Takes notice of a description that was read or written, unless a later one is known.
    pub(crate) fn put(&self, stored: StoredRoute) {
        let mut known = self.lock();
        let name = stored.route.name.clone();
        let known = known.entry(name).or_insert_with(|| Known::new(stored.clone()));
        if known.stored.revision < stored.revision {
            known.stored = stored;
        }
    }

    /// Stops a route and forgets it, unless another one has its name by now.
    async fn remove(&self, name: &RouteName, created: u64) {
        let removed = self.take_known_if(name, |known| known.stored.created == created);
        if let Some(running) = removed.and_then(|mut known| known.take_running()) {
            running.halt(self.inner.shared.steady).await;
        }
    }

    fn take_known_if(&self, name: &RouteName, is_it: impl Fn(&Known) -> bool) -> Option<Known> {
        let mut all = self.lock();
        if all.get(name).is_some_and(is_it) { all.remove(name) } else { None }
    }

    /// Reads the descriptions and stops the routes whose description is gone. One that can't be read is
    /// left as it was, unless all must be readable.
    async fn reload(&self, all: bool) -> Result<(), RouteError> {
        let created = |(name, known): (&RouteName, &Known)| (name.clone(), known.stored.created);
        let mut gone: BTreeMap<_, _> = self.lock().iter().map(created).collect();
        for read in self.read_all().await? {
            match read {
                Ok(stored) => {
                    gone.remove(&stored.route.name);
                    self.put(stored);
                }
                Err(error) if all => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "a stored route can't be read");
                    let is_it =
                        |name: &str| matches!(&error, RouteError::Damaged(it) if it == name);
                    gone.retain(|name, _| !is_it(name.as_str()));
                }
            }
        }
        for (name, created) in gone {
            self.remove(&name, created).await;
        }
        Ok(())
    }

    /// Reads the descriptions that can be read.
    pub(crate) async fn notice(&self) -> Result<Vec<Route>, RouteError> {
        let mut routes = Vec::new();
        for stored in self.read_all().await?.into_iter().flatten() {
            routes.push(stored.route.clone());
            self.put(stored);
        }
        Ok(routes)
    }

    async fn read_all(&self) -> Result<Vec<Result<StoredRoute, RouteError>>, RouteError> {
        let shared = &self.inner.shared;
        let known = |name: &[u8], revision: Revision| {
            let name: RouteName = std::str::from_utf8(name).ok()?.parse().ok()?;
            let known = self.lock();
            known.get(&name).map(|it| it.stored.clone()).filter(|it| it.revision == revision)
        };
        shared.ledger.routes(known, shared.clock.now()).await
    }

    /// Forgets what ran under a lease that is over, or was taken by another gateway.
    fn forget_lost(&self) {
        let hold = self.inner.keeper.hold();
        for known in self.lock().values_mut() {
            let is_lost = |running: &mut Running| {
                running.has_ended()
                    || !hold.as_ref().is_some_and(|it| Arc::ptr_eq(it, &running.right.hold))
            };
            if let Some(running) = known.running.take_if(is_lost) {
                running.abandon.cancel();
                known.is_loose = true;
            }
        }
    }

    async fn look_for_sinks(&self) {
        let Inner { shared, keeper, sinks, .. } = &*self.inner;
        if !keeper.is_shared() {
            return;
        }
        let sink =
            |(name, known): (&RouteName, &Known)| (name.clone(), known.stored.route.sink.clone());
        let (names, uris): (Vec<_>, Vec<_>) = self.lock().iter().map(sink).unzip();
        let reaches = sinks.reach(&uris).await;
        let (now, mut all) = (shared.steady.now(), self.lock());
        for (name, reach) in names.iter().zip(reaches) {
            if let Some(known) = all.get_mut(name) {
                known.presence.observe(reach, now);
            }
        }
    }

    /// Puts changed descriptions in force.
    async fn apply_changes(&self) {
        let mut restarted = Vec::new();
        for (name, known) in self.lock().iter_mut() {
            let Some(running) = &mut known.running else { continue };
            let (after, before) = (&known.stored, &running.stored);
            if after.revision == before.revision {
                continue;
            }
            let paused = Route { enabled: after.route.enabled, ..before.route.clone() };
            let is_paused_only = paused == after.route && after.created == before.created;
            if !is_paused_only || running.blocked.is_some() {
                restarted.extend(known.take_running().map(|running| (name.clone(), running)));
            } else if running.pause.try_send(!after.route.enabled).is_ok() {
                running.stored = after.clone();
            }
            // What finds no room is sent with the next look.
        }
        each(restarted.into_iter().map(|(name, running)| self.restart(name, running))).await;
    }

    async fn restart(&self, name: RouteName, running: Running) -> Result<(), RouteError> {
        let (created, right) =
            (running.stored.created, running.halt(self.inner.shared.steady).await);
        let stored = self.lock().get(&name).map(|known| known.stored.clone());
        match stored {
            Some(stored) if stored.created == created => self.start(stored, right).await,
            // Another route of the name: it is taken anew.
            _ => Ok(()),
        }
    }

    /// Gives up routes that another gateway is to have: some, and more with the next look, so that
    /// nobody waits long for their calls to end.
    async fn hand_over(&self) {
        let Inner { shared, keeper, wake, .. } = &*self.inner;
        if !keeper.is_shared() {
            return;
        }
        let (now, settle) = (shared.steady.now(), keeper.timing().settle);
        let mut leaving = Vec::new();
        let mut loose = Vec::new();
        for (name, known) in self.lock().iter_mut() {
            if known.running.is_some() {
                if !known.presence.must_leave(keeper.is_theirs(name), now, settle) {
                    continue;
                }
                if leaving.len() >= LEAVING_AT_ONCE {
                    wake.notify_one();
                    break;
                }
                leaving.extend(known.take_running().map(|running| (name.clone(), running)));
            } else if known.is_loose && !known.presence.may_take(keeper.is_ours(name)) {
                loose.push(name.clone());
            }
        }
        each(leaving.into_iter().map(|(name, running)| self.give_up(name, running))).await;
        each(loose.into_iter().map(|name| self.let_go(name))).await;
    }

    async fn give_up(&self, name: RouteName, running: Running) -> Result<(), RouteError> {
        let right = running.halt(self.inner.shared.steady).await;
        self.free(&name, &right.owned).await
    }

    /// Sees to it that the owner row of a route that is not run does not name this gateway.
    async fn let_go(&self, name: RouteName) -> Result<(), RouteError> {
        let Inner { shared, keeper, .. } = &*self.inner;
        let owner = shared.ledger.owner(&name, shared.clock.now()).await?;
        let Some(owner) = owner.filter(|owner| keeper.is_own(owner)) else {
            self.settle(&name);
            return Ok(());
        };
        match keeper.take(&name, Some(&owner)).await? {
            Some(taken) => self.free(&name, &taken).await,
            None => Ok(()),
        }
    }

    async fn free(&self, name: &RouteName, owned: &Owned) -> Result<(), RouteError> {
        let shared = &self.inner.shared;
        shared.ledger.free(owned, shared.clock.now()).await?;
        self.settle(name);
        Ok(())
    }

    /// The owner row of a route does not name this gateway, or the route runs here.
    fn settle(&self, name: &RouteName) {
        if let Some(known) = self.lock().get_mut(name) {
            known.is_loose = false;
        }
    }

    /// Takes and starts the routes that are to run here and that nobody alive has.
    async fn claim(&self) {
        let keeper = &self.inner.keeper;
        let Some(hold) = keeper.hold() else { return };
        let wanted: Vec<_> = self
            .lock()
            .iter()
            .filter(|(name, known)| {
                known.running.is_none() && known.presence.may_take(keeper.is_ours(name))
            })
            .map(|(name, _)| name.clone())
            .collect();
        each(wanted.into_iter().map(|name| self.claim_one(name, Arc::clone(&hold)))).await;
    }

    /// From now on the owner row of a route may name this gateway. Returns the revision that is known.
    fn loosen(&self, name: &RouteName) -> Option<Revision> {
        let mut all = self.lock();
        let known = all.get_mut(name)?;
        known.is_loose = true;
        Some(known.stored.revision)
    }

    async fn claim_one(&self, name: RouteName, hold: Arc<Hold>) -> Result<(), RouteError> {
        let name = &name;
        let Inner { shared, keeper, .. } = &*self.inner;
        let (ledger, clock) = (&shared.ledger, &shared.clock);
        let owner = ledger.owner(name, clock.now()).await?;
        let Some(revision) = self.loosen(name) else { return Ok(()) };
        let Some(mut taken) = keeper.take(name, owner.as_ref()).await? else { return Ok(()) };
        // Read only now that the route is owned: whoever removes it later takes it away first.
        let Some(stored) = ledger.route(name, clock.now()).await? else {
            // Removed before it was put in force, unless one of its name was made a moment ago.
            self.take_known_if(name, |it| it.running.is_none() && it.stored.revision == revision);
            return ledger.erase(&taken, clock.now()).await;
        };
        if stored.created != taken.created {
            let Some(renewed) = keeper.renew(&taken, stored.created).await? else { return Ok(()) };
            taken = renewed;
        }
        self.start(stored, Right { hold, owned: taken }).await
    }

    /// Starts a route that is owned.
    async fn start(&self, stored: StoredRoute, right: Right) -> Result<(), RouteError> {
        let shared = self.inner.shared.clone();
        let (route, now) = (stored.route.clone(), shared.clock.now());
        let progress = shared.ledger.progress(&route.name, now).await?;
        let letters = shared.ledger.count_dead(&route.name, now).await?;
        let mut known = self.lock();
        let Some(known) = known.get_mut(&route.name) else { return Ok(()) };
        known.counters.letters.store(letters, std::sync::atomic::Ordering::Relaxed);
        let (pause, paused) = mpsc::channel(8);
        let (stop, abandon) = (self.inner.stop.child_token(), CancellationToken::new());
        let stopped = TaskTracker::new();
        let name = route.name.clone();
        let blocked = match self.inner.sinks.open(&route.sink) {
            Ok(sink) => {
                let counters = Arc::clone(&known.counters);
                let runner = Runner::new(shared, right.clone(), route, sink, progress, counters);
                let (run, wake) = (runner.run(paused, stop.clone()), Arc::clone(&self.inner.wake));
                let abandoned = abandon.clone();
                self.inner.tracker.spawn(stopped.track_future(async move {
                    abandoned.run_until_cancelled(run).await;
                    wake.notify_one();
                }));
                None
            }
            Err(problem) => {
                tracing::error!(route = %name, %problem, "a stored route can't run here");
                Some(problem.to_string())
            }
        };
        if known.stored.revision < stored.revision {
            known.stored = stored.clone();
        }
        known.is_loose = false;
        let told = None;
        known.running =
            Some(Running { right, stored, blocked, pause, stop, abandon, stopped, told });
        Ok(())
    }

    /// Tells the other gateways what the routes are doing that run here.
    async fn tell_others(&self) {
        if !self.inner.keeper.is_shared() {
            return;
        }
        let now = self.inner.shared.steady.now();
        let mut news = Vec::new();
        for known in self.lock().values() {
            let Some(running) = &known.running else { continue };
            let told = running.tell(&known.counters);
            let is_due = running.told.as_ref().is_none_or(|(before, at)| {
                let is_old = now.saturating_sub(*at) >= TELL_EVERY;
                before.description != told.description || (is_old && *before != told)
            });
            if is_due {
                news.push((running.right.owned.clone(), told));
            }
        }
        each(news.into_iter().map(|(owned, told)| self.tell(owned, told, now))).await;
    }

    async fn tell(&self, owned: Owned, told: Told, at: Steady) -> Result<(), RouteError> {
        let shared = &self.inner.shared;
        shared.ledger.tell(&owned, &told, shared.clock.now()).await?;
        let mut all = self.lock();
        if let Some(running) = all.get_mut(&owned.name).and_then(|it| it.running.as_mut())
            && running.right.owned == owned
        {
            running.told = Some((told, at));
        }
        Ok(())
    }

    /// What this gateway owns and runs.
    pub(crate) fn owned(&self) -> Vec<(Owned, Arc<Counters>)> {
        let owned = |known: &Known| {
            let owned = known.running.as_ref()?.right.owned.clone();
            Some((owned, Arc::clone(&known.counters)))
        };
        self.lock().values().filter_map(owned).collect()
    }
}

/// Does all, some at once. What fails is tried again with the next look.
async fn each<'a, F>(deeds: impl Iterator<Item = F>)
where
    F: Future<Output = Result<(), RouteError>> + Send + 'a,
{
    // Boxed, since the compiler can't tell that a stream of borrowing futures is `Send`.
    let deeds: Vec<BoxFuture<'a, _>> = deeds.map(|deed| Box::pin(deed) as _).collect();
    let mut done = stream::iter(deeds).buffer_unordered(AT_ONCE);
    let (mut count, mut first) = (0_u64, None);
    while let Some(done) = done.next().await {
        if let Err(error) = done {
            count += 1;
            first.get_or_insert(error);
        }
    }
    if let Some(error) = first {
        tracing::warn!(count, %error, "routes could not be looked after");
    }
}
