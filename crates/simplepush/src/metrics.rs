//! What is counted (SimplePush R-OPS-2). Names are here and nowhere else; labels are from closed sets.

use metrics::{Counter, Gauge, counter, gauge};

use crate::error::CloseReason;

/// Handles to all metrics, made once so that counting costs an addition.
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) connects: Counter,
    pub(crate) refused: Counter,
    pub(crate) messages: Counter,
    pub(crate) sent: Counter,
    pub(crate) puts_delivered: Counter,
    pub(crate) puts_stored: Counter,
    pub(crate) puts_invalid: Counter,
    pub(crate) puts_gone: Counter,
    pub(crate) puts_limited: Counter,
    pub(crate) puts_failed: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let puts = |result: &'static str| counter!("simplepush_puts_total", "result" => result);
        Self {
            connections: gauge!("simplepush_connections"),
            connects: counter!("simplepush_connects_total"),
            refused: counter!("simplepush_connects_refused_total"),
            messages: counter!("simplepush_messages_received_total"),
            sent: counter!("simplepush_messages_sent_total"),
            puts_delivered: puts("delivered"),
            puts_stored: puts("stored"),
            puts_invalid: puts("invalid"),
            puts_gone: puts("gone"),
            puts_limited: puts("limited"),
            puts_failed: puts("failed"),
        }
    }

    /// Counts the end of a connection.
    pub(crate) fn closed(reason: CloseReason) {
        counter!("simplepush_closes_total", "reason" => reason.label()).increment(1);
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}
