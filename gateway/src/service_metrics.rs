//! Metrics of the broker's services that the operator lists, with their names as labels.
//!
//! Never here: what the broker counts over all services, which it publishes itself.

use std::time::Duration;

use buswire_mdp::{BrokerHandle, core::ServiceInfo};
use tokio::time;
use tokio_util::sync::CancellationToken;

/// How often they are published.
const EVERY: Duration = Duration::from_secs(1);

/// Publishes how `services` are, until `stop`.
///
/// # Cancel safety
///
/// Safe to drop; the metrics keep their last values.
pub(crate) async fn publish(broker: BrokerHandle, services: Vec<String>, stop: CancellationToken) {
    let mut ticks = time::interval(EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let all = broker.services().await;
        for name in &services {
            publish_one(name, all.iter().find(|service| service.name.as_str() == name));
        }
    }
}

/// A service that the broker does not know has nothing.
fn publish_one(name: &str, service: Option<&ServiceInfo>) {
    let [queued, idle, busy] =
        service.map_or([0, 0, 0], |service| [service.queued, service.idle, service.busy]);
    let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let service_label = || name.to_owned();
    metrics::gauge!("buswire_mdp_service_queued", "service" => service_label()).set(count(queued));
    for (state, workers) in [("idle", idle), ("busy", busy)] {
        let labels = [("service", service_label()), ("state", state.to_owned())];
        metrics::gauge!("buswire_mdp_service_workers", &labels).set(count(workers));
    }
    let oldest = service.map_or(Duration::ZERO, |service| service.oldest_wait);
    metrics::gauge!("buswire_mdp_service_oldest_wait_seconds", "service" => service_label())
        .set(oldest.as_secs_f64());
}
