//! The driver: deadlines, hints of the store, sweeping.
//!
//! One future for all buses and readers. Never here: anything whose outcome depends on it being
//! polled in time, but for the ends of waits.

use std::{collections::BTreeSet, time::Duration};

use buswire_message::BusName;
use buswire_store::{Hint, HintFilter, StoreError};
use futures::{StreamExt, stream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    buses::Buses,
    state::{BUS_PREFIX, SETTINGS, Shared},
    wait::wake,
};

/// The clock is looked at this often while somebody waits, since it may step.
const TICK: Duration = Duration::from_secs(1);
/// How many hints are taken at once; each bus is read once for all of them.
const HINTS: usize = 1024;
/// How many buses are read at once.
const READS: usize = 16;
/// How many messages leave a window, or rows and entries the store, before others have their turn.
const SWEEP: usize = 1024;
/// How many turns a sweep takes at most; the rest is left to the next one.
const SWEEP_TURNS: usize = 1000;

impl Buses {
    /// Ends waits at their deadlines, follows the store's hints, sweeps. Its owner spawns it once;
    /// it returns when `shutdown` is cancelled, and from then on nobody waits: long polls return
    /// what they have, subscriptions end.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop, but then waits last for ever; run it again.
    pub fn run(&self, shutdown: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let buses = self.clone();
        async move {
            let shared = &*buses.shared;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = keep_deadlines(&buses) => {}
                () = follow_hints(shared) => {}
                () = poll_store(shared) => {}
                () = sweep(shared) => {}
            }
            let wakers = shared.room.lock().close();
            wake(wakers);
        }
    }

    /// Ends the waits whose deadline is not after the time of the clock. [`run`](Self::run) does
    /// this by itself, at most a second after a clock that steps; tests that move a clock by hand
    /// call it to have it at once.
    pub fn tick(&self) {
        let now = self.shared.now();
        let wakers = self.shared.room.lock().expire(now);
        wake(wakers);
    }

    /// How many readers wait.
    pub fn waiting(&self) -> usize {
        self.shared.room.lock().len()
    }
}

async fn keep_deadlines(buses: &Buses) {
    let shared = &*buses.shared;
    loop {
        let next = shared.room.lock().next_deadline();
        match next {
            Some(next) => {
                let left = next.saturating_since(shared.now());
                tokio::select! {
                    () = sleep(left.min(TICK)) => {}
                    () = shared.room.rearm.notified() => {}
                }
                buses.tick();
            }
            None => shared.room.rearm.notified().await,
        }
    }
}

async fn follow_hints(shared: &Shared) {
    loop {
        // Covers "bus/…" and "buses".
        let hints = shared.store.hints(HintFilter::Prefix("bus".into()));
        let mut hints = hints.ready_chunks(HINTS);
        // Of what changed before, nobody tells.
        compare_all(shared).await;
        while let Some(hints) = hints.next().await {
            let mut changed = BTreeSet::new();
            let mut all = false;
            for hint in hints {
                match hint {
                    Hint::Missed => all = true,
                    Hint::Changed(partition) if partition.as_str() == SETTINGS => {
                        forget_settings(shared);
                    }
                    Hint::Changed(partition) => {
                        let name = partition.as_str().strip_prefix(BUS_PREFIX);
                        changed.extend(name.and_then(|name| name.parse::<BusName>().ok()));
                    }
                }
            }
            if all {
                compare_all(shared).await;
            }
            read_all(shared, changed).await;
        }
        // The store has closed, or its hints broke off. Polling goes on meanwhile.
        sleep(shared.limits.poll_interval).await;
    }
}

/// Compares with the store what a lost hint would have told of.
async fn poll_store(shared: &Shared) {
    loop {
        sleep(shared.limits.poll_interval).await;
        compare_all(shared).await;
    }
}

/// Anything may have changed: awaited buses are read on at once, others when somebody reads them.
async fn compare_all(shared: &Shared) {
    forget_settings(shared);
    mark_all_stale(shared);
    let awaited = shared.room.lock().awaited();
    read_all(shared, awaited).await;
}

fn forget_settings(shared: &Shared) {
    for bus in shared.all_loaded() {
        bus.lock().forget_settings();
    }
}

fn mark_all_stale(shared: &Shared) {
    for bus in shared.all_loaded() {
        bus.lock().mark_stale();
    }
}

/// Reads the logs of `changed` on, of those in memory; their readers wake.
pub(crate) async fn read_all(shared: &Shared, changed: BTreeSet<BusName>) {
    stream::iter(changed)
        .for_each_concurrent(READS, |name| async move {
            let Some(bus) = shared.loaded(&name) else { return };
            let ticket = bus.lock().draw();
            if let Err(error) = shared.catch_up(&bus, ticket, None).await {
                // The next reader tries again and is told.
                bus.lock().mark_stale();
                tracing::warn!(bus = %name, error = %Chain(&error), "the bus can't be read on");
            }
        })
        .await;
}

async fn sweep(shared: &Shared) {
    loop {
        sleep(shared.limits.sweep_interval).await;
        sweep_once(shared).await;
    }
}

/// Removes what has expired, from the store first: a window holds at least what the store has, so
/// that a repeated dedupe key always finds the message that it names.
pub(crate) async fn sweep_once(shared: &Shared) {
    let now = shared.now();
    for _ in 0..SWEEP_TURNS {
        match shared.store.sweep(now, SWEEP).await {
            Ok(swept) if swept.more => tokio::task::yield_now().await,
            Ok(_) => break,
            Err(error) => {
                report_sweep(&error);
                return;
            }
        }
    }
    for bus in shared.all_loaded() {
        while bus.lock().window.sweep(now, SWEEP) {
            tokio::task::yield_now().await;
        }
    }
    shared.drop_empty();
}

fn report_sweep(error: &StoreError) {
    tracing::warn!(error = %Chain(error), "the store can't be swept");
}

/// Prints an error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
