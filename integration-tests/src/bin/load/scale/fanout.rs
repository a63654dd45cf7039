//! What every further gateway costs: for each commit of another one, and while nothing happens.
//!
//! Never here: what an operation costs the gateway that does it.

use std::{thread::sleep, time::Duration};

use buswire_integration_tests::Site;

use super::{
    client::Task,
    fleet::{Fleet, Layout, Used},
    redis::Fsync,
    work::{self, Counting, Done, Work},
};
use crate::{
    http::get,
    stats::{Plan, median, resident_kib},
};

/// Further gateways.
const FURTHER: [usize; 4] = [0, 2, 4, 8];
/// Gateways that do nothing together.
const IDLE: [usize; 5] = [1, 2, 3, 6, 12];
/// Time after which gateways have moved routes to a new one.
const SETTLE: Duration = Duration::from_secs(7);
/// How long idle gateways are watched.
const WATCHED: Duration = Duration::from_secs(10);

const EVERYSEC: Layout = Layout::Redis { gateways: 1, fsync: Fsync::Everysec };

/// What a further gateway does about what another one commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Is told of it and has no use for it.
    Listens,
    /// Has the bus in memory and reads it on.
    Follows,
}

/// What one further gateway costs for each post, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Of that gateway.
    pub(crate) gateway: f64,
    /// Of Redis.
    pub(crate) redis: f64,
}

/// What further gateways cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fanout {
    pub(crate) listening: Cost,
    pub(crate) following: Cost,
}

/// Posts at one gateway while others listen to the same Redis, or follow the bus.
pub(crate) fn measure(plan: &Plan) -> Fanout {
    println!(
        "\nPosts of {} clients at one gateway; medians of {} rounds of {} s, in turns. CPU in us for one post.\n",
        plan.clients,
        plan.rounds,
        plan.time.as_secs()
    );
    println!(
        "| further gateways | they | posts per second | CPU of the first | CPU of each further | CPU Redis \
         | bytes out of Redis |"
    );
    println!("|---|---|---|---|---|---|---|");
    let [listening, following] = [Role::Listens, Role::Follows].map(|role| costs(plan, role));
    println!("\n| for each further gateway and post | CPU of it | CPU of Redis |");
    println!("|---|---|---|");
    for (name, Cost { gateway, redis }) in [("listens", &listening), ("follows", &following)] {
        println!("| {name} | {gateway:.2} | {redis:.2} |");
    }
    Fanout { listening, following }
}

fn costs(plan: &Plan, role: Role) -> Cost {
    let mut runs: Vec<_> = FURTHER.iter().map(|further| (*further, Vec::new())).collect();
    for _ in 0..plan.rounds {
        for (further, runs) in &mut runs {
            runs.push(run(plan, role, *further));
        }
    }
    let mut redis = Vec::new();
    let mut gateway = Vec::new();
    for (further, runs) in &runs {
        let of = |figure: &dyn Fn(&Done) -> f64| median(runs.iter().map(figure).collect());
        let each = |figure: &dyn Fn(&Used) -> f64| of(&|done| figure(&done.used) / done.operations);
        let first = each(&|used| used.gateways[0]);
        let others = each(&|used| used.gateways[1..].iter().sum::<f64>());
        let of_redis = each(&|used| used.redis);
        redis.push((*further as f64, of_redis));
        gateway.push((*further as f64, others));
        let they = if role == Role::Follows { "follow the bus" } else { "listen" };
        println!(
            "| {further} | {they} | {:.0} | {first:.1} | {} | {of_redis:.1} | {:.0} |",
            of(&Done::rate),
            if *further == 0 { String::new() } else { format!("{:.1}", others / *further as f64) },
            each(&|used| used.sent)
        );
    }
    Cost { gateway: slope(&gateway), redis: slope(&redis) }
}

/// The slope of the line with the least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    both / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

fn run(plan: &Plan, role: Role, further: usize) -> Done {
    let mut fleet = Fleet::start(EVERYSEC, &[], "");
    // Before there are others: all clients are at the first.
    let mut tasks = Work::Posts.tasks(&fleet, plan.clients);
    for _ in 0..further {
        fleet.add(&[], "");
    }
    if role == Role::Follows {
        let first = fleet.at(0);
        let visit = Site::client(first, work::BUS).visit(first);
        tasks.extend((1..=further).map(|number| Task::Look {
            address: fleet.address(number).to_owned(),
            request: get("/v2/messages", &visit.token),
        }));
    }
    work::drive(tasks, &fleet, work::WARM_UP, plan.time, Counting::No)
}

/// What gateways on one Redis use while nobody asks them for anything.
pub(crate) fn idle(_: &Plan) {
    println!("\nGateways on one Redis that nobody uses, watched for {} s.\n", WATCHED.as_secs());
    println!(
        "| gateways | requests to Redis per second | KiB out of Redis per second | CPU Redis, % of a processor \
         | CPU of a gateway, % | resident MiB of a gateway |"
    );
    println!("|---|---|---|---|---|---|");
    let mut fleet = Fleet::start(EVERYSEC, &[], "");
    for gateways in IDLE {
        while fleet.gateways().len() < gateways {
            fleet.add(&[], "");
        }
        sleep(SETTLE);
        let before = fleet.read();
        sleep(WATCHED);
        let used = Used::between(&before, &fleet.read());
        // Counted apart: what is counted is sent to whoever counts.
        let watch = fleet.redis().map(super::redis::Redis::watch);
        sleep(WATCHED);
        let requests = watch.map_or(0, super::redis::Watch::end) as f64;
        let seconds = WATCHED.as_secs_f64();
        let resident = fleet.gateways().iter().map(|gateway| resident_kib(gateway.pid()) / 1024.0);
        println!(
            "| {gateways} | {:.0} | {:.1} | {:.2} | {:.2} | {:.1} |",
            requests / seconds,
            used.sent / seconds / 1024.0,
            used.redis / seconds / 1e4,
            used.gateway() / seconds / 1e4 / gateways as f64,
            median(resident.collect())
        );
    }
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn the_slope_of_points_on_a_line_is_that_of_the_line() {
        let points = [0.0, 2.0, 4.0, 8.0].map(|x| (x, 10.0 + 3.5 * x));
        assert!((slope(&points) - 3.5).abs() < 1e-9);
    }
}
