//! The Prometheus recorder behind the `metrics` facade.
//!
//! Labels come from closed sets only. Never here: a measurement.

use std::{fmt, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time;
use tokio_util::sync::CancellationToken;

/// Why nothing is measured.
#[derive(Debug, thiserror::Error)]
#[error("metrics can't be set up: {0}")]
pub struct MetricsError(String);

/// Bounds of the buckets of every histogram, in seconds: half a millisecond to half a minute.
const BUCKETS_SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// How often what was measured is folded into the buckets. Without that, samples pile up while
/// nobody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What was measured in this process. Clones show the same.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Makes everything that is measured in this process visible here. Works once per process.
    ///
    /// # Errors
    ///
    /// [`MetricsError`] if the process has a recorder already.
    pub fn install() -> Result<Self, MetricsError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS_SECONDS)
            .map_err(|error| MetricsError(error.to_string()))?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| MetricsError(error.to_string()))?;
        metrics::gauge!("buswire_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self(handle))
    }

    /// Metrics that nothing is recorded in, for a process that has a recorder of its own.
    pub fn detached() -> Self {
        Self(PrometheusBuilder::new().build_recorder().handle())
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps the memory of histograms bounded until `stop`.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; memory is then no longer bounded.
    pub async fn upkeep(self, stop: CancellationToken) {
        let mut ticks = time::interval(UPKEEP_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.0.run_upkeep();
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
