//! What moves through the gateway.

use buswire_proto::v1;

use super::{to_wire_duration, to_wire_time};
use crate::admin::ports::{ActivityView, DoorActivityView, IntervalView, LatencyView};

/// The activity on the wire.
pub(crate) fn to_wire(activity: ActivityView) -> v1::GetActivityResponse {
    let bus = |(bus, doors): (String, Vec<DoorActivityView>)| {
        let doors = doors.into_iter().filter(|door| door.published > 0).map(door).collect();
        v1::BusActivity { bus, doors }
    };
    let route = |(route, took)| v1::RouteLatency { route, latency: Some(latency(took)) };
    v1::GetActivityResponse {
        now: Some(to_wire_time(activity.now)),
        doors: activity.doors.into_iter().map(door).collect(),
        buses: activity.buses.into_iter().map(bus).collect(),
        routes: activity.routes.into_iter().map(route).collect(),
        latency: activity.latency.map(latency),
        interval: Some(to_wire_duration(activity.interval)),
        intervals: activity.intervals.into_iter().map(interval).collect(),
    }
}

fn door(DoorActivityView { door, published }: DoorActivityView) -> v1::DoorActivity {
    v1::DoorActivity { door: door.to_owned(), published }
}

fn latency(LatencyView { p50, p99, deliveries }: LatencyView) -> v1::Latency {
    v1::Latency {
        p50: Some(to_wire_duration(p50)),
        p99: Some(to_wire_duration(p99)),
        deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
    }
}

fn interval(moved: IntervalView) -> v1::ActivityInterval {
    let IntervalView { accepted, delivered, failed_attempts } = moved;
    v1::ActivityInterval { accepted, delivered, failed_attempts }
}
