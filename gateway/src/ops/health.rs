//! Whether the process is alive, and whether it wants requests.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buswire_store::Store;
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;

/// Where in its life the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not everything is bound.
    Starting,
    /// Requests are welcome.
    Serving,
    /// An administrator drains it: requests are served, so that whoever sends them can notice.
    Draining,
    /// An administrator has drained it: new requests are refused.
    Drained,
    /// The process ends.
    Stopping,
}

impl Phase {
    /// Whether whoever has a connection should take the next request elsewhere.
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::Draining | Self::Drained | Self::Stopping)
    }
}

/// What `/healthz` and `/readyz` say. Clones say the same.
#[derive(Clone)]
pub struct Health {
    phase: watch::Sender<Phase>,
    tasks: Tasks,
    store: Arc<dyn Store>,
    /// Whether the public listener waits for its first certificate.
    lacks_certificate: Arc<AtomicBool>,
}

impl Health {
    /// Begins with [`Phase::Starting`].
    pub fn new(tasks: Tasks, store: Arc<dyn Store>) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Starting),
            tasks,
            store,
            lacks_certificate: Arc::default(),
        }
    }

    /// The public listener has no certificate yet.
    pub fn certificate_is_ordered(&self) {
        self.lacks_certificate.store(true, Ordering::Relaxed);
    }

    /// The public listener has a certificate.
    pub fn certificate_is_here(&self) {
        self.lacks_certificate.store(false, Ordering::Relaxed);
    }

    /// Whether the public listener waits for its first certificate. That does not make it unready: a
    /// proxy that asks would then keep the ACME server away, and there would never be one.
    pub fn lacks_certificate(&self) -> bool {
        self.lacks_certificate.load(Ordering::Relaxed)
    }

    /// From now on requests are welcome.
    pub fn serve(&self) {
        self.phase.send_replace(Phase::Serving);
    }

    /// From now on the process ends.
    pub fn stop(&self) {
        self.phase.send_replace(Phase::Stopping);
    }

    /// Takes the process out of service, if it is in service. Returns its phase; it is refused while
    /// the process starts or stops.
    pub fn drain(&self) -> Phase {
        self.turn(|phase| (phase == Phase::Serving).then_some(Phase::Draining))
    }

    /// Takes the process back into service, if it is out of service. Returns its phase.
    pub fn undrain(&self) -> Phase {
        self.turn(|phase| {
            matches!(phase, Phase::Draining | Phase::Drained).then_some(Phase::Serving)
        })
    }

    fn turn(&self, next: impl FnOnce(Phase) -> Option<Phase>) -> Phase {
        self.phase.send_if_modified(|phase| next(*phase).map(|next| *phase = next).is_some());
        self.phase()
    }

    /// Goes on from [`Phase::Draining`] to [`Phase::Drained`] after `delay`, and calls `drained` then,
    /// each time, until `stop`.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; then requests are served on while draining.
    pub async fn refuse_after(
        self,
        delay: Duration,
        drained: impl Fn() + Send,
        stop: CancellationToken,
    ) {
        let mut phases = self.phase.subscribe();
        let turns = async {
            // The sender is `self`.
            while phases.wait_for(|phase| *phase == Phase::Draining).await.is_ok() {
                if time::timeout(delay, phases.changed()).await.is_err()
                    && self.turn(|phase| (phase == Phase::Draining).then_some(Phase::Drained))
                        == Phase::Drained
                {
                    drained();
                }
            }
        };
        stop.run_until_cancelled(turns).await;
    }

    /// Where in its life the process is.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
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
        metrics::gauge!("buswire_store_full").set(truth(store.is_full));
        if let Some(free) = store.disk_free_bytes {
            metrics::gauge!("buswire_store_disk_free_bytes").set(free as f64);
        }
    }

    /// Why requests should not be sent here; `None` if they should.
    pub fn not_ready(&self) -> Option<&'static str> {
        match self.phase() {
            Phase::Starting => Some("starting"),
            Phase::Draining | Phase::Drained => Some("drained by an administrator"),
            Phase::Stopping => Some("draining"),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use buswire_store::memory::MemoryStore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drained_process_refuses_after_the_delay_and_can_come_back() {
        let tasks = Tasks::new();
        let health = Health::new(tasks.clone(), Arc::new(MemoryStore::new()));
        assert_eq!(health.drain(), Phase::Starting, "nothing is served that could be drained");
        health.serve();
        let (moment, delay) = (Duration::from_millis(1), Duration::from_secs(5));
        let drained = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&drained);
        let count = move || _ = counted.fetch_add(1, Ordering::Relaxed);
        tasks.spawn("draining", health.clone().refuse_after(delay + moment, count, tasks.stop()));
        for times in 0..2 {
            assert_eq!(health.drain(), Phase::Draining);
            assert_eq!(health.not_ready(), Some("drained by an administrator"));
            time::sleep(delay).await;
            assert_eq!(health.drain(), Phase::Draining);
            assert_eq!(drained.load(Ordering::Relaxed), times);
            time::sleep(moment * 2).await;
            assert_eq!(health.drain(), Phase::Drained);
            assert_eq!(drained.load(Ordering::Relaxed), times + 1);
            assert_eq!(health.undrain(), Phase::Serving);
            assert_eq!(health.not_ready(), None);
        }
        // A delay that was cut short does not count for the next one.
        health.drain();
        time::sleep(delay / 2).await;
        health.undrain();
        health.drain();
        time::sleep(delay / 2 + moment * 2).await;
        assert_eq!(health.phase(), Phase::Draining);
        health.stop();
        assert_eq!((health.drain(), health.undrain()), (Phase::Stopping, Phase::Stopping));
        time::sleep(delay * 2).await;
        assert_eq!(health.not_ready(), Some("draining"));
        assert_eq!(tasks.shutdown(delay).await, 0);
    }
}
