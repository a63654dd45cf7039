//! The broker's counters as metrics, published about once a second.

use crate::core::{Counters, Farewell, Tally, Totals};

/// Publishes totals and gauges; labels come from closed sets only, never from service names.
pub(super) fn publish(counters: &Counters, totals: &Totals) {
    let requests = &counters.requests;
    let sent = counters.sent.iter().map(Tally::total).sum();
    let expiries = [Farewell::Expired, Farewell::BusyTimeout];
    let expiries = expiries.into_iter().map(|reason| counters.disconnects.of(reason)).sum();
    let counts = [
        ("buswire_mdp_requests_accepted_total", requests.accepted),
        ("buswire_mdp_requests_completed_total", requests.completed),
        ("buswire_mdp_requests_expired_total", requests.expired),
        ("buswire_mdp_requests_requeued_total", requests.requeued),
        ("buswire_mdp_requests_lost_total", requests.lost),
        ("buswire_mdp_requests_dropped_total", requests.dropped.total()),
        ("buswire_mdp_messages_invalid_total", counters.invalid.total()),
        ("buswire_mdp_messages_sent_total", sent),
        ("buswire_mdp_disconnects_total", counters.disconnects.total()),
        ("buswire_mdp_worker_expiries_total", expiries),
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
