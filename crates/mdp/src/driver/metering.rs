//! The broker's counters as metrics, published about once a second.

use crate::core::{Counters, ServiceInfo};

/// The name of a gauge and what it sums up over the services.
type Gauge = (&'static str, fn(&ServiceInfo) -> usize);

/// Publishes totals and gauges; labels come from closed sets only, never from service names.
pub(super) fn publish(counters: &Counters, services: &[ServiceInfo]) {
    let totals = [
        ("buswire_mdp_requests_accepted_total", counters.accepted),
        ("buswire_mdp_requests_completed_total", counters.completed),
        ("buswire_mdp_requests_expired_total", counters.expired),
        ("buswire_mdp_requests_requeued_total", counters.requeued),
        ("buswire_mdp_requests_lost_total", counters.lost),
        ("buswire_mdp_requests_overflow_total", counters.overflow),
        ("buswire_mdp_messages_invalid_total", counters.invalid.iter().sum()),
        ("buswire_mdp_messages_sent_total", counters.sent),
        ("buswire_mdp_disconnects_total", counters.disconnects + counters.refusals),
        ("buswire_mdp_worker_expiries_total", counters.expiries + counters.busy_timeouts),
        ("buswire_mdp_undeliverable_total", counters.unreachable + counters.peer_full),
    ];
    for (name, total) in totals {
        metrics::counter!(name).absolute(total);
    }
    let gauges: [Gauge; 3] = [
        ("buswire_mdp_workers_idle", |info| info.idle),
        ("buswire_mdp_workers_busy", |info| info.busy),
        ("buswire_mdp_requests_queued", |info| info.queued),
    ];
    for (name, field) in gauges {
        let sum: usize = services.iter().map(field).sum();
        metrics::gauge!(name).set(f64::from(u32::try_from(sum).unwrap_or(u32::MAX)));
    }
}
