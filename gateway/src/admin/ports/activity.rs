//! What moves through the gateway, as an administrator sees it.

use std::time::Duration;

use buswire_message::Timestamp;

/// What moves. Counts begin when the gateway starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityView {
    /// The time of the counts.
    pub now: Timestamp,
    /// How many messages came in by each door.
    pub doors: Vec<DoorActivityView>,
    /// The same for each bus, in the order of their names.
    pub buses: Vec<(String, Vec<DoorActivityView>)>,
    /// How long the messages of each route took, in the order of their names.
    pub routes: Vec<(String, LatencyView)>,
    /// How long those of all routes took.
    pub latency: Option<LatencyView>,
    /// How long an interval is.
    pub interval: Duration,
    /// The last intervals, oldest first.
    pub intervals: Vec<IntervalView>,
}

/// How many messages came in by one door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorActivityView {
    /// The door; `route` for what routes made.
    pub door: &'static str,
    /// How many were published.
    pub published: u64,
}

/// How long messages took from being accepted to being delivered, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyView {
    /// Half of them took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// How many deliveries it is from.
    pub deliveries: usize,
}

/// What moved in one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalView {
    /// Messages that came in by doors.
    pub accepted: u64,
    /// Messages that routes delivered.
    pub delivered: u64,
    /// Attempts of routes that failed.
    pub failed_attempts: u64,
}

/// Shows what moves.
pub trait ActivityAdmin: Send + Sync {
    /// Takes a look.
    fn activity(&self) -> ActivityView;
}
