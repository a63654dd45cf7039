//! The driver of this gateway's lease: beats, looks after the others.
//!
//! Never here: judging them; that is `lease`'s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use buswire_message::{Clock, Entropy, RouteName};
use buswire_store::HintFilter;
use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::RouteError,
    lease::{GatewayId, Hold, LeaseTiming, Members, Steady, Tenure},
    ledger::Ledger,
    owners::{MEMBERS, Owned, Owner},
};

/// Who is told that a row changed looks again, but at most so often in the time of a beat. There are as
/// many beats to be told of as gateways, and each look reads as many rows: without a bound, N gateways
/// would read N³ rows in that time.
const LOOKS_PER_BEAT: u32 = 4;

/// A clock that never steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SteadyClock(Instant);

impl SteadyClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Steady {
        self.0.elapsed()
    }
}

/// The lease of this gateway.
#[derive(Debug)]
pub(crate) struct Keeper {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    steady: SteadyClock,
    timing: LeaseTiming,
    /// What this gateway is called.
    called: String,
    is_shared: bool,
    lease: Mutex<Lease>,
}

#[derive(Debug)]
struct Lease {
    tenure: Tenure,
    members: Members,
}

impl Keeper {
    /// The keeper of a gateway that is `called` so. Where nobody else can use the store there is
    /// nothing to keep: no beats, and whoever owned a route is gone.
    pub(crate) fn new(
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        steady: SteadyClock,
        timing: LeaseTiming,
        called: String,
    ) -> Self {
        let is_shared = ledger.store().status().is_shared;
        let id = new_id(&*entropy);
        let tenure = if is_shared { Tenure::new(id, timing) } else { Tenure::sole(id, timing) };
        let members = Members::new(id, timing, !is_shared);
        let lease = Mutex::new(Lease { tenure, members });
        Self { ledger, clock, entropy, steady, timing, called, is_shared, lease }
    }

    /// Whether other gateways can use the store.
    pub(crate) const fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub(crate) const fn timing(&self) -> &LeaseTiming {
        &self.timing
    }

    pub(crate) fn called(&self) -> &str {
        &self.called
    }

    /// The present tenure, if it holds.
    pub(crate) fn hold(&self) -> Option<Arc<Hold>> {
        let hold = Arc::clone(self.lock().tenure.hold());
        hold.is_held(self.steady.now()).then_some(hold)
    }

    pub(crate) fn is_ours(&self, route: &RouteName) -> bool {
        self.lock().members.is_ours(route)
    }

    pub(crate) fn is_theirs(&self, route: &RouteName) -> bool {
        self.lock().members.is_theirs(route)
    }

    /// Whether `owner` lives, as far as is known.
    pub(crate) fn is_alive(&self, owner: GatewayId) -> bool {
        let mut lease = self.lock();
        lease.tenure.id() == owner || !lease.members.is_dead(owner, self.steady.now())
    }

    /// Whether the owner row names the present tenure of this gateway.
    pub(crate) fn is_own(&self, owner: &Owner) -> bool {
        owner.gateway == Some(self.lock().tenure.id())
    }

    /// Takes a route whose owner row was read as `before`, if that owner is dead or this gateway.
    pub(crate) async fn take(
        &self,
        name: &RouteName,
        before: Option<&Owner>,
    ) -> Result<Option<Owned>, RouteError> {
        let holder = before.and_then(|owner| owner.gateway);
        let is_own = before.is_some_and(|owner| self.is_own(owner));
        if holder.is_some_and(|holder| !is_own && self.is_alive(holder)) {
            return Ok(None);
        }
        self.seize(name, before).await
    }

    /// Takes a route whoever has it.
    pub(crate) async fn seize(
        &self,
        name: &RouteName,
        before: Option<&Owner>,
    ) -> Result<Option<Owned>, RouteError> {
        let id = self.lock().tenure.id();
        self.ledger.take(name, before, id, &self.called, self.clock.now()).await
    }

    /// Makes the partition of an owned route that of a new route.
    pub(crate) async fn renew(
        &self,
        owned: &Owned,
        created: u64,
    ) -> Result<Option<Owned>, RouteError> {
        let id = self.lock().tenure.id();
        self.ledger.renew(owned, created, id, &self.called, self.clock.now()).await
    }

    /// Beats once. A tenure that is over is followed by a new one.
    pub(crate) async fn beat(&self) -> Result<(), RouteError> {
        let begun = self.steady.now();
        let (id, over) = self.present(begun);
        if let Some(over) = over {
            // Nobody needs to wait for what will not come back.
            self.ledger.beat(over, &self.called, true, self.clock.now()).await?;
        }
        self.ledger.beat(id, &self.called, false, self.clock.now()).await?;
        let lease = self.lock();
        if lease.tenure.id() == id {
            lease.tenure.handle_beat(begun, self.steady.now());
        }
        Ok(())
    }

    /// The id of the present tenure; if it is over, that of a new one, and its own.
    fn present(&self, now: Steady) -> (GatewayId, Option<GatewayId>) {
        let mut lease = self.lock();
        let before = lease.tenure.id();
        let is_over = lease.tenure.is_over(now);
        if is_over {
            let id = new_id(&*self.entropy);
            tracing::warn!(gateway = %self.called, "the lease ended; its routes are taken anew");
            metrics::counter!("buswire_bridge_leases_lost_total").increment(1);
            lease.tenure = Tenure::new(id, self.timing);
            lease.members.rename(id);
        }
        (lease.tenure.id(), is_over.then_some(before))
    }

    /// Looks at the others once; whether somebody came or went.
    pub(crate) async fn observe(&self) -> Result<bool, RouteError> {
        let begun = self.steady.now();
        let rows = self.ledger.members(self.clock.now()).await?;
        let (changed, remains) = {
            let mut lease = self.lock();
            let changed = lease.members.observe(begun, self.steady.now(), &rows);
            (changed, lease.members.remains().collect::<Vec<_>>())
        };
        for (id, revision) in remains {
            self.ledger.bury(id, revision, self.clock.now()).await?;
        }
        Ok(changed)
    }

    /// Beats and looks until `stop`; tells `wake` when somebody came or went, and when the lease began.
    pub(crate) async fn run(&self, wake: &Notify, stop: &CancellationToken) {
        if !self.is_shared {
            return;
        }
        let mut ticks = interval(self.timing.beat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Ok(members) = buswire_store::Partition::new(MEMBERS) else { return };
        let hints = self.ledger.store().hints(HintFilter::Only(members));
        // After the store has closed there is nothing to look at.
        let mut hints = hints.chain(stream::pending());
        let (mut is_blind, mut is_told) = (false, false);
        let pause = self.timing.beat / LOOKS_PER_BEAT;
        let mut next_look = Instant::now();
        loop {
            let is_due = tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => true,
                _ = hints.next(), if !is_told => {
                    is_told = true;
                    continue;
                }
                () = sleep_until(next_look), if is_told => false,
            };
            // Before the look: it shows whatever they told of.
            pass_over(&mut hints);
            is_told = false;
            next_look = Instant::now() + pause;
            let held = self.hold();
            let done = async {
                if is_due {
                    self.beat().await?;
                }
                self.observe().await
            };
            match done.await {
                Ok(changed) => {
                    is_blind = false;
                    if changed || !same(held.as_ref(), self.hold().as_ref()) {
                        wake.notify_one();
                    }
                }
                // Said once; the store itself says more.
                Err(error) if !is_blind => {
                    is_blind = true;
                    tracing::warn!(%error, "the gateways that share the store can't be looked at");
                }
                Err(_) => {}
            }
        }
    }

    /// Says that this gateway has stopped everything.
    pub(crate) async fn leave(&self) {
        if !self.is_shared {
            return;
        }
        let id = self.lock().tenure.id();
        if let Err(error) = self.ledger.beat(id, &self.called, true, self.clock.now()).await {
            tracing::warn!(%error, "the others could not be told that this gateway leaves");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes everything that has come out of a stream.
fn pass_over(hints: &mut (impl Stream + Unpin)) {
    while hints.next().now_or_never().flatten().is_some() {}
}

fn same(one: Option<&Arc<Hold>>, other: Option<&Arc<Hold>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

fn new_id(entropy: &dyn Entropy) -> GatewayId {
    let mut id = [0; 8];
    entropy.fill(&mut id);
    GatewayId(id)
}
