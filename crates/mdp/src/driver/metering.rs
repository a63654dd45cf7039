//! The broker's counters as metrics, published about once a second (mdp.md §12.5).
//!
//! Labels come from closed sets only, never from service names. Never in here: counting.

use std::time::Duration;

use crate::closed_set::ClosedSet;
use crate::core::{Counters, Histogram, Tally, Totals};
use crate::wire::MessageKind;

/// Publishes everything that was counted, and what is held right now.
pub(super) fn publish(counters: &Counters, totals: &Totals) {
    publish_messages("buswire_mdp_messages_received_total", &counters.received);
    publish_messages("buswire_mdp_messages_sent_total", &counters.sent);
    publish_tally("buswire_mdp_messages_invalid_total", &counters.invalid);
    publish_tally("buswire_mdp_requests_dropped_total", &counters.requests.dropped);
    publish_tally("buswire_mdp_disconnects_total", &counters.disconnects);
    let requests = &counters.requests;
    let counts = [
        ("buswire_mdp_requests_accepted_total", requests.accepted),
        ("buswire_mdp_requests_completed_total", requests.completed),
        ("buswire_mdp_requests_expired_total", requests.expired),
        ("buswire_mdp_requests_requeued_total", requests.requeued),
        ("buswire_mdp_requests_lost_total", requests.lost),
        ("buswire_mdp_requests_cancelled_total", requests.cancelled),
        ("buswire_mdp_replies_orphaned_total", requests.orphaned),
        ("buswire_mdp_replies_undelivered_total", requests.undelivered),
        ("buswire_mdp_replies_partials_full_total", requests.partials_full),
        ("buswire_mdp_replies_unsolicited_total", counters.unsolicited),
        ("buswire_mdp_mmi_total", counters.mmi),
        ("buswire_mdp_unreachable_total", counters.unreachable),
        ("buswire_mdp_peer_full_total", counters.peer_full),
        ("buswire_mdp_links_forwarded_total", counters.links.forwarded),
        ("buswire_mdp_links_accepted_total", counters.links.accepted),
        ("buswire_mdp_links_returned_total", counters.links.returned),
        ("buswire_mdp_links_late_total", counters.links.late),
        ("buswire_mdp_links_lost_total", counters.links.lost),
    ];
    for (name, total) in counts {
        metrics::counter!(name).absolute(total);
    }
    let gauges = [
        ("buswire_mdp_services", totals.services),
        ("buswire_mdp_workers_idle", totals.idle),
        ("buswire_mdp_workers_busy", totals.busy),
        ("buswire_mdp_requests_queued", totals.queued),
        ("buswire_mdp_requests_bytes", totals.held_bytes),
        ("buswire_mdp_links", totals.links),
        ("buswire_mdp_links_asked", totals.asked),
        ("buswire_mdp_links_asking", totals.asking),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name).set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
    }
    metrics::gauge!("buswire_mdp_oldest_wait_seconds").set(totals.oldest_wait.as_secs_f64());
    publish_histogram("buswire_mdp_queue_wait_seconds", &counters.queue_wait);
    publish_histogram("buswire_mdp_round_trip_seconds", &counters.round_trip);
}

/// A kind of message that never was is left out: most kinds have one direction only.
fn publish_messages(name: &'static str, tallies: &[Tally<MessageKind>; 2]) {
    for (version, tally) in ["0.1", "0.2"].into_iter().zip(tallies) {
        for (kind, total) in tally.iter().filter(|(_, total)| *total > 0) {
            let kind = kind.name();
            metrics::counter!(name, "version" => version, "kind" => kind).absolute(total);
        }
    }
}

fn publish_tally<K: ClosedSet>(name: &'static str, tally: &Tally<K>) {
    for (reason, total) in tally.iter() {
        metrics::counter!(name, "reason" => reason.name()).absolute(total);
    }
}

/// Publishes what is classed already as the three series of a Prometheus histogram: `_bucket` with the
/// upper ends of the classes in seconds, `_count` and `_sum`.
fn publish_histogram(name: &str, histogram: &Histogram) {
    let mut below = 0;
    for (class, members) in histogram.classes.iter().enumerate() {
        below += members;
        // The last class has no upper end.
        let is_last = class + 1 == histogram.classes.len();
        let end = Duration::from_micros(1 << class).as_secs_f64().to_string();
        let end = if is_last { "+Inf".to_owned() } else { end };
        metrics::counter!(format!("{name}_bucket"), "le" => end).absolute(below);
    }
    metrics::counter!(format!("{name}_count")).absolute(below);
    let sum = Duration::from_micros(histogram.sum_us);
    metrics::gauge!(format!("{name}_sum")).set(sum.as_secs_f64());
}
