//! What moved in the last minutes, and how long it took: a summary of fixed size in memory.
//!
//! Never here: what a message says, what outlives the process.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use buswire_bridge::{
    OpenSink, Reach, Reply, RouteCounts, RouteError, RouteProblem, Routes, Sink, SinkDelivery,
    SinkError, SinkUri,
};
use buswire_bus::Buses;
use buswire_message::{Clock, RouteName};
use futures::future::BoxFuture;
use tokio::time;
use tokio_util::sync::CancellationToken;

/// How long an interval is.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// So many intervals are kept, five minutes; the oldest goes.
const INTERVALS_MAX: usize = 60;
/// So many latencies are kept of each route, a kilobyte; the oldest goes.
const LATENCIES_MAX: usize = 256;

/// What moved in an interval, or since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Messages that came in by doors.
    pub(crate) accepted: u64,
    /// Messages that routes delivered at this gateway.
    pub(crate) delivered: u64,
    /// Attempts of routes that failed at this gateway.
    pub(crate) failed_attempts: u64,
}

impl Moved {
    fn since_start(buses: &Buses, routes: &[RouteCounts]) -> Self {
        let doors = buses.published().into_iter().filter(|(door, _)| door.is_some());
        Self {
            accepted: doors.map(|(_, count)| count).sum(),
            delivered: routes.iter().map(|route| route.delivered).sum(),
            failed_attempts: routes.iter().map(|route| route.failed_attempts).sum(),
        }
    }

    /// What moved after `earlier`. The counts of a route go with it: the sums may shrink.
    fn after(self, earlier: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(earlier.accepted),
            delivered: self.delivered.saturating_sub(earlier.delivered),
            failed_attempts: self.failed_attempts.saturating_sub(earlier.failed_attempts),
        }
    }
}

/// How long deliveries took, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    /// Half of them took no longer.
    pub(crate) p50: Duration,
    /// 99 of 100 took no longer.
    pub(crate) p99: Duration,
    /// How many deliveries it is from.
    pub(crate) deliveries: usize,
}

impl Latency {
    fn of(mut millis: Vec<u32>) -> Option<Self> {
        millis.sort_unstable();
        let deliveries = millis.len();
        // The smallest that `percent` of all do not exceed.
        let at = |percent: usize| {
            let rank = (deliveries * percent).div_ceil(100).saturating_sub(1);
            millis.get(rank).map(|&millis| Duration::from_millis(millis.into()))
        };
        Some(Self { p50: at(50)?, p99: at(99)?, deliveries })
    }
}

/// The summary. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity(Arc<Mutex<Summary>>);

#[derive(Debug, Default)]
struct Summary {
    intervals: VecDeque<Moved>,
    /// What each route took for its last deliveries, in milliseconds. Routes are bounded by the bridge.
    latencies: BTreeMap<RouteName, VecDeque<u32>>,
}

impl Activity {
    /// Sinks that are opened by `sinks`, and tell how long each delivery took.
    pub(crate) fn timed(&self, sinks: Arc<dyn OpenSink>, clock: Arc<dyn Clock>) -> TimedSinks {
        TimedSinks { sinks, clock, activity: self.clone() }
    }

    /// Keeps the intervals, until `stop`.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; what is kept stays.
    pub(crate) async fn follow(self, buses: Buses, routes: Routes, stop: CancellationToken) {
        let mut before = Moved::since_start(&buses, &routes.counts());
        let mut ticks = time::interval_at(time::Instant::now() + INTERVAL, INTERVAL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let routes = routes.counts();
            let now = Moved::since_start(&buses, &routes);
            let mut summary = self.lock();
            summary.intervals.push_back(now.after(before));
            if summary.intervals.len() > INTERVALS_MAX {
                summary.intervals.pop_front();
            }
            // What a route took goes with it.
            let names: HashSet<_> = routes.iter().map(|route| &route.name).collect();
            summary.latencies.retain(|name, _| names.contains(name));
            before = now;
        }
    }

    /// The last intervals, oldest first.
    pub(crate) fn intervals(&self) -> Vec<Moved> {
        self.lock().intervals.iter().copied().collect()
    }

    /// What each route took, in the order of their names.
    pub(crate) fn latencies(&self) -> Vec<(RouteName, Latency)> {
        let summary = self.lock();
        let each = summary.latencies.iter().filter_map(|(name, millis)| {
            Some((name.clone(), Latency::of(millis.iter().copied().collect())?))
        });
        each.collect()
    }

    /// What all routes together took.
    pub(crate) fn latency(&self) -> Option<Latency> {
        Latency::of(self.lock().latencies.values().flatten().copied().collect())
    }

    fn took(&self, route: &RouteName, time: Duration) {
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let mut summary = self.lock();
        let latencies = match summary.latencies.get_mut(route) {
            Some(latencies) => latencies,
            None => summary.latencies.entry(route.clone()).or_default(),
        };
        if latencies.len() >= LATENCIES_MAX {
            latencies.pop_front();
        }
        latencies.push_back(millis);
    }

    // A std mutex: every section is short and none awaits.
    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens sinks that tell how long each delivery took.
#[derive(Debug)]
pub(crate) struct TimedSinks {
    sinks: Arc<dyn OpenSink>,
    clock: Arc<dyn Clock>,
    activity: Activity,
}

impl OpenSink for TimedSinks {
    fn open(&self, uri: &SinkUri) -> Result<Arc<dyn Sink>, RouteProblem> {
        let (clock, activity) = (Arc::clone(&self.clock), self.activity.clone());
        Ok(Arc::new(TimedSink { sink: self.sinks.open(uri)?, clock, activity }))
    }

    fn check<'a>(&'a self, uri: &'a SinkUri) -> BoxFuture<'a, Result<(), RouteError>> {
        self.sinks.check(uri)
    }

    fn reach<'a>(&'a self, uris: &'a [SinkUri]) -> BoxFuture<'a, Vec<Reach>> {
        self.sinks.reach(uris)
    }
}

#[derive(Debug)]
struct TimedSink {
    sink: Arc<dyn Sink>,
    clock: Arc<dyn Clock>,
    activity: Activity,
}

impl Sink for TimedSink {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        let accepted = delivery.message.id.timestamp();
        let route = delivery.via.last().cloned();
        Box::pin(async move {
            let reply = self.sink.deliver(delivery).await?;
            if let Some(route) = route {
                self.activity.took(&route, self.clock.now().saturating_since(accepted));
            }
            Ok(reply)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_latencies_of_a_route_are_summed_up() {
        let activity = Activity::default();
        let (slow, quick) = ("slow".parse().unwrap(), "quick".parse().unwrap());
        assert_eq!(activity.latency(), None);
        // The first hour is forgotten: only so many are kept.
        activity.took(&quick, Duration::from_secs(3600));
        for millis in 1..=LATENCIES_MAX {
            activity.took(&quick, Duration::from_millis(millis as u64));
        }
        activity.took(&slow, Duration::from_secs(u64::MAX));
        let all = activity.latencies();
        let of = |millis, p99, deliveries| {
            let (p50, p99) = (Duration::from_millis(millis), Duration::from_millis(p99));
            Latency { p50, p99, deliveries }
        };
        let longest = u64::from(u32::MAX);
        assert_eq!(all, [(quick, of(128, 254, 256)), (slow, of(longest, longest, 1))]);
        assert_eq!(activity.latency(), Some(of(129, 255, 257)));
    }

    #[test]
    fn counts_that_shrink_are_no_movement() {
        let moved = |accepted, delivered| Moved { accepted, delivered, failed_attempts: 0 };
        assert_eq!(moved(5, 1).after(moved(3, 9)), moved(2, 0));
    }
}
