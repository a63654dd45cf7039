//! The broker's counters as metrics, published about once a second.

use crate::core::{Counters, Totals};

/// Publishes totals and gauges; labels come from closed sets only, never from service names.
pub(super) fn publish(counters: &Counters, totals: &Totals) {
    let counts = [
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
    for (name, total) in counts {
        metrics::counter!(name).absolute(total);
    }
    let gauges = [
        ("buswire_mdp_workers_idle", totals.idle),
        ("buswire_mdp_workers_busy", totals.busy),
        ("buswire_mdp_requests_queued", totals.queued),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name).set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
    }
}
