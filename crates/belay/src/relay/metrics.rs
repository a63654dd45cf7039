//! What is counted. Names are here and nowhere else; labels are from closed sets.

use metrics::{Counter, Gauge, counter, gauge};

use crate::relay::error::CloseReason;

/// Handles made once, so that counting costs an addition.
pub(super) struct Metrics {
    pub(super) connections: Gauge,
    pub(super) refused: Counter,
    pub(super) received: Counter,
    pub(super) sent: Counter,
    calls: [Counter; 2],
}

impl Metrics {
    pub(super) fn new() -> Self {
        let messages =
            |way: &'static str| counter!("buswire_belay_relay_messages_total", "direction" => way);
        let calls = |result: &'static str| counter!("buswire_belay_relay_own_calls_total", "result" => result);
        Self {
            connections: gauge!("buswire_belay_relay_connections"),
            refused: counter!("buswire_belay_relay_refused_total"),
            received: messages("in"),
            sent: messages("out"),
            calls: [calls("failure"), calls("success")],
        }
    }

    /// A call of the gateway was answered.
    pub(super) fn called(&self, success: bool) {
        let [failure, succeeded] = &self.calls;
        if success { succeeded } else { failure }.increment(1);
    }

    /// The relay closed a connection.
    pub(super) fn closed(reason: CloseReason) {
        counter!("buswire_belay_relay_closed_total", "reason" => reason.as_str()).increment(1);
    }
}
