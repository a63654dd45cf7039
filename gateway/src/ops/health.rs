//! Whether the process is alive, and whether it wants requests.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use buswire_store::Store;

use crate::tasks::Tasks;

/// Where in its life the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not everything is bound.
    Starting,
    /// Requests are welcome.
    Serving,
    /// It shuts down.
    Draining,
}

/// What `/healthz` and `/readyz` say. Clones say the same.
#[derive(Clone)]
pub struct Health {
    phase: Arc<AtomicU8>,
    tasks: Tasks,
    store: Arc<dyn Store>,
}

impl Health {
    /// Begins with [`Phase::Starting`].
    pub fn new(tasks: Tasks, store: Arc<dyn Store>) -> Self {
        Self { phase: Arc::new(AtomicU8::new(0)), tasks, store }
    }

    /// Goes on to `phase`.
    pub fn enter(&self, phase: Phase) {
        let number = match phase {
            Phase::Starting => 0,
            Phase::Serving => 1,
            Phase::Draining => 2,
        };
        self.phase.store(number, Ordering::SeqCst);
    }

    /// Where in its life the process is.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// The task whose early end broke the process.
    pub fn broken(&self) -> Option<&'static str> {
        self.tasks.failure()
    }

    /// Writes down for Prometheus whether requests are welcome, and how the store does.
    #[expect(clippy::cast_precision_loss, reason = "nobody looks at the 53rd bit of a graph")]
    pub fn measure(&self) {
        let store = self.store.status();
        let truth = |is: bool| if is { 1.0 } else { 0.0 };
        metrics::gauge!("buswire_ready").set(truth(self.not_ready().is_none()));
        metrics::gauge!("buswire_store_available").set(truth(store.unavailable.is_none()));
        metrics::gauge!("buswire_store_commits_waiting").set(store.waiting as f64);
        metrics::gauge!("buswire_store_disk_bytes").set(store.disk_bytes as f64);
    }

    /// Why requests should not be sent here; `None` if they should.
    pub fn not_ready(&self) -> Option<&'static str> {
        match self.phase() {
            Phase::Starting => Some("starting"),
            Phase::Draining => Some("draining"),
            Phase::Serving if self.broken().is_some() => Some("a task ended"),
            // The engine's own reason may name paths, so it goes to the log and not to the network.
            Phase::Serving if self.store.status().unavailable.is_some() => {
                Some("the store is unavailable")
            }
            Phase::Serving => None,
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("phase", &self.phase()).finish_non_exhaustive()
    }
}
