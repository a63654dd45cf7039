//! What is counted (SimplePush R-OPS-2). Names are here and nowhere else; labels are from closed sets.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::error::CloseReason;

/// What a connection reports, to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Hello,
    Register,
    Unregister,
    Ack,
    Ping,
    TooManyPings,
    /// A notification of so many channels.
    Updates(usize),
    /// Unacknowledged versions are sent again.
    Resend,
    /// A new UAID, since the one that was presented was in no accepted form.
    ResetMalformed,
    /// A new UAID, since the one that was presented is not known.
    ResetUnknown,
    /// A new UAID, since a channel that was listed is not registered.
    ResetMissing,
    /// A new UAID, since too many channels were listed.
    ResetOverLimit,
}

impl Event {
    /// Whether the client presented a UAID and does not get it.
    pub(crate) const fn refuses_uaid(self) -> bool {
        matches!(
            self,
            Self::ResetMalformed | Self::ResetUnknown | Self::ResetMissing | Self::ResetOverLimit
        )
    }
}

/// Handles to all metrics, made once so that counting costs an addition.
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    pub(crate) connects: Counter,
    pub(crate) refused: Counter,
    /// How long connections lasted, in seconds.
    pub(crate) lifespan: Histogram,
    pub(crate) messages: Counter,
    pub(crate) sent: Counter,
    /// Channels in notifications.
    pub(crate) updates: Counter,
    /// PUTs that an older one still unsent made room for.
    pub(crate) coalesced: Counter,
    /// How long reading what is pending took at `hello`, in seconds.
    pub(crate) flush_seconds: Histogram,
    pub(crate) puts_delivered: Counter,
    pub(crate) puts_stored: Counter,
    pub(crate) puts_invalid: Counter,
    pub(crate) puts_too_long: Counter,
    pub(crate) puts_gone: Counter,
    pub(crate) puts_limited: Counter,
    pub(crate) puts_failed: Counter,
    /// How long accepted PUTs took, in seconds.
    pub(crate) put_seconds: Histogram,
    /// Hints that the store gave of other gateways' changes.
    pub(crate) hints: Counter,
    /// Datagrams to relays.
    pub(crate) wakes: Counter,
    requests: [Counter; 5],
    too_many_pings: Counter,
    resends: Counter,
    resets: [Counter; 4],
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let puts = |result: &'static str| counter!("simplepush_puts_total", "result" => result);
        let request = |kind: &'static str| counter!("simplepush_requests_total", "type" => kind);
        let reset = |cause: &'static str| counter!("simplepush_resets_total", "cause" => cause);
        Self {
            connections: gauge!("simplepush_connections"),
            connects: counter!("simplepush_connects_total"),
            refused: counter!("simplepush_connects_refused_total"),
            lifespan: histogram!("simplepush_connection_seconds"),
            messages: counter!("simplepush_messages_received_total"),
            sent: counter!("simplepush_messages_sent_total"),
            updates: counter!("simplepush_updates_sent_total"),
            coalesced: counter!("simplepush_updates_coalesced_total"),
            flush_seconds: histogram!("simplepush_flush_seconds"),
            puts_delivered: puts("delivered"),
            puts_stored: puts("stored"),
            puts_invalid: puts("invalid"),
            puts_too_long: puts("too_long"),
            puts_gone: puts("gone"),
            puts_limited: puts("limited"),
            puts_failed: puts("failed"),
            put_seconds: histogram!("simplepush_put_seconds"),
            hints: counter!("simplepush_hints_total"),
            wakes: counter!("simplepush_wakes_total"),
            requests: ["hello", "register", "unregister", "ack", "ping"].map(request),
            too_many_pings: counter!("simplepush_too_many_pings_total"),
            resends: counter!("simplepush_resends_total"),
            resets: ["malformed", "unknown", "missing", "over_limit"].map(reset),
        }
    }

    /// Counts what a connection reports.
    pub(crate) fn count(&self, event: Event) {
        let [hello, register, unregister, ack, ping] = &self.requests;
        let [malformed, unknown, missing, over_limit] = &self.resets;
        let counter = match event {
            Event::Hello => hello,
            Event::Register => register,
            Event::Unregister => unregister,
            Event::Ack => ack,
            Event::Ping => ping,
            Event::Updates(count) => {
                return self.updates.increment(u64::try_from(count).unwrap_or(u64::MAX));
            }
            Event::TooManyPings => &self.too_many_pings,
            Event::Resend => &self.resends,
            Event::ResetMalformed => malformed,
            Event::ResetUnknown => unknown,
            Event::ResetMissing => missing,
            Event::ResetOverLimit => over_limit,
        };
        counter.increment(1);
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
