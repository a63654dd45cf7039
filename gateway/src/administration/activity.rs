//! What moves through the gateway.

use std::sync::Arc;

use buswire_bus::Buses;
use buswire_message::{Clock, Door};

use crate::{
    activity::{self, Activity, Latency, Moved},
    admin::ports::{ActivityAdmin, ActivityView, DoorActivityView, IntervalView, LatencyView},
};

/// Shows what moves.
#[derive(Debug)]
pub(crate) struct ActivityPort {
    pub(crate) activity: Activity,
    pub(crate) buses: Buses,
    pub(crate) clock: Arc<dyn Clock>,
}

impl ActivityAdmin for ActivityPort {
    fn activity(&self) -> ActivityView {
        let buses = self.buses.published_on_buses().into_iter();
        let routes = self.activity.latencies().into_iter();
        ActivityView {
            now: self.clock.now(),
            doors: self.buses.published().into_iter().map(door).collect(),
            buses: buses
                .map(|(bus, doors)| (bus.to_string(), doors.into_iter().map(door).collect()))
                .collect(),
            routes: routes.map(|(route, took)| (route.to_string(), latency(took))).collect(),
            latency: self.activity.latency().map(latency),
            interval: activity::INTERVAL,
            intervals: self.activity.intervals().into_iter().map(interval).collect(),
        }
    }
}

fn door((door, published): (Option<Door>, u64)) -> DoorActivityView {
    DoorActivityView { door: door.map_or("route", Door::as_str), published }
}

fn latency(Latency { p50, p99, deliveries }: Latency) -> LatencyView {
    LatencyView { p50, p99, deliveries }
}

fn interval(Moved { accepted, delivered, failed_attempts }: Moved) -> IntervalView {
    IntervalView { accepted, delivered, failed_attempts }
}
