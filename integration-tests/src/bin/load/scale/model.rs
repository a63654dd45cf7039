//! What the measured costs come to for many connections and messages, on paper.
//!
//! The formulas are those of docs/scaling.md, by the same letters. Never here: a measurement.

use super::{
    PerOperation, SEVERAL,
    connections::Connections,
    fanout::{Cost, Fanout},
    work::Work,
};

/// What a machine of a gateway has, and how much of it is used.
const CORES: f64 = 8.0;
const USED: f64 = 0.6;
/// Bytes of memory for connections.
const MEMORY: f64 = 24.0 * 1024.0 * 1024.0 * 1024.0;
/// Connections that one gateway holds at most, and long polls that wait: a bound of the buses.
const FILES: f64 = 250_000.0;
const WAITING: f64 = 100_000.0;
/// Gateways that have a bus in memory, besides the one where a message is posted.
const FOLLOWERS: f64 = 2.0;
/// Seconds after which a long poll that found nothing is sent again.
const POLL_AGAIN: f64 = 25.0;
/// Microseconds in a second.
const MICROS: f64 = 1e6;

/// The worked examples: connections, messages a second.
const EXAMPLES: [(f64, f64); 7] =
    [(1e4, 1e3), (1e6, 1e3), (1e6, 1e5), (1e7, 1e3), (1e7, 1e4), (1e7, 1e5), (1e7, 1e6)];

/// Costs in microseconds and KiB, by the letters of docs/scaling.md.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    /// A post: its gateway, Redis.
    post: Cost,
    /// The end of a message.
    end: Cost,
    /// What a delivery to a long poll adds.
    delivery: Cost,
    /// A PUT that is delivered and acknowledged.
    push: Cost,
    /// A poll that finds nothing.
    poll: f64,
    fanout: Fanout,
    memory: Connections,
}

/// What a load takes.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// Gateways for the connections.
    holding: f64,
    /// Gateways for the messages; infinite if each gateway has more than enough to do with hints.
    working: f64,
    /// Processors of Redis.
    redis: f64,
    /// The part of each gateway that hints take.
    hints: f64,
}

impl Model {
    pub(crate) fn new(
        operations: &[PerOperation],
        end: Cost,
        fanout: &Fanout,
        memory: &Connections,
    ) -> Self {
        let cost = |wanted: Work, gateways: usize| {
            let is_it = |it: &&PerOperation| it.work == wanted && it.gateways == gateways;
            let found = operations.iter().find(is_it).expect("all were measured");
            Cost { gateway: found.gateway, redis: found.redis }
        };
        let (post, delivered) = (cost(Work::Posts, 1), cost(Work::Delivery, 1));
        let delivery = Cost {
            gateway: (delivered.gateway - post.gateway).max(0.0),
            redis: (delivered.redis - post.redis).max(0.0),
        };
        // Of many gateways, the one that is asked is seldom the one that has the WebSocket.
        let (push, poll) = (cost(Work::Push, SEVERAL), cost(Work::Polls, 1).gateway);
        Self { post, end, delivery, push, poll, fanout: *fanout, memory: *memory }
    }

    /// Half of the connections wait with long polls, half are WebSockets. Half of the messages are posts
    /// that one reader waits for, half are PUTs.
    fn need(&self, connections: f64, messages: f64) -> Need {
        let room = CORES * USED * MICROS;
        let half = messages / 2.0;
        let per_second = half
            * (self.post.gateway + self.end.gateway + self.delivery.gateway + self.push.gateway)
            + half * FOLLOWERS * self.fanout.following.gateway
            + connections / 2.0 / POLL_AGAIN * self.poll;
        let hints = messages * self.fanout.listening.gateway / room;
        let working = if hints < 1.0 { per_second / (room * (1.0 - hints)) } else { f64::INFINITY };
        let memory = connections / 2.0 * (self.memory.poll + self.memory.socket) * 1024.0;
        let holding = (memory / MEMORY).max(connections / FILES).max(connections / 2.0 / WAITING);
        let further = working.max(holding).max(1.0) - 1.0;
        let redis = half
            * (self.post.redis + self.end.redis + self.delivery.redis + self.push.redis)
            + half * FOLLOWERS * self.fanout.following.redis
            + messages * further * self.fanout.listening.redis;
        Need { holding, working, redis: redis / (USED * MICROS), hints }
    }

    pub(crate) fn print(&self) {
        let Self { post, end, delivery, push, poll, fanout, memory } = self;
        let Fanout { listening, following } = fanout;
        println!("\nThe constants of the model.\n");
        println!("| | gateway, us | Redis, us |");
        println!("|---|---|---|");
        let rows = [
            ("post: `a`, `A`", post),
            ("its end: `e`, `E`", end),
            ("delivery to a long poll beyond that: `d`, `D`", delivery),
            ("PUT, frame at another gateway, acknowledgement: `p`, `P`", push),
            ("a gateway more that has the bus in memory, for each message: `b`, `B`", following),
            ("a gateway more, for each commit: `h`, `H`", listening),
        ];
        for (name, Cost { gateway, redis }) in rows {
            println!("| {name} | {gateway:.2} | {redis:.2} |");
        }
        println!("| poll that finds nothing: `q` | {poll:.2} | |");
        println!("\n| | KiB |\n|---|---|");
        println!("| long poll with its connection: `l` | {:.2} |", memory.poll);
        println!("| WebSocket with a channel: `w` | {:.2} |", memory.socket);
        println!("| its user agent in Redis: `u` | {:.2} |", memory.agent);
        self.examples();
        self.limits();
    }

    fn examples(&self) {
        println!(
            "\nInferred: half of the connections are long polls, half WebSockets; half of the messages are \
             posts with one reader, half PUTs; {FOLLOWERS} further gateways have each bus in memory; gateways \
             of {CORES} processors and Redis nodes are used to {:.0} %.\n",
            USED * 100.0
        );
        println!(
            "| connections | messages per second | gateways for connections | for messages | processors for Redis \
             | GiB of Redis for user agents | hints take of each gateway |"
        );
        println!("|---|---|---|---|---|---|---|");
        for (connections, messages) in EXAMPLES {
            let Need { holding, working, redis, hints } = self.need(connections, messages);
            let agents = connections / 2.0 * self.memory.agent / 1024.0 / 1024.0;
            let working = whole(working);
            println!(
                "| {connections:.0} | {messages:.0} | {} | {working} | {} | {agents:.1} | {:.0} % |",
                whole(holding),
                whole(redis),
                hints * 100.0
            );
        }
    }

    fn limits(&self) {
        let Self { post, end, fanout, .. } = self;
        let core = USED * MICROS;
        let one_bus = |gateways: f64| {
            let further = gateways - 1.0;
            let following = further.min(FOLLOWERS);
            core / (post.redis
                + end.redis
                + following * fanout.following.redis
                + (further - following) * fanout.listening.redis)
        };
        println!(
            "\nInferred: posts per second on one bus, with one processor of Redis used to {:.0} %.\n",
            USED * 100.0
        );
        println!("| gateways | posts per second |\n|---|---|");
        for gateways in [1.0, 3.0, 10.0, 40.0, 100.0] {
            println!("| {gateways:.0} | {:.0} |", one_bus(gateways));
        }
        let room = CORES * USED * MICROS;
        println!(
            "\nCommits per second at which hints alone take all of a gateway's {CORES} processors that are \
             used: {:.0}.",
            room / fanout.listening.gateway.max(f64::EPSILON)
        );
    }
}

/// Whole machines; never none.
fn whole(machines: f64) -> String {
    if machines.is_finite() { format!("{:.0}", machines.ceil().max(1.0)) } else { "–".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(hint: f64) -> Model {
        let cost = |gateway, redis| Cost { gateway, redis };
        Model {
            post: cost(80.0, 60.0),
            end: cost(1.0, 5.0),
            delivery: cost(40.0, 0.0),
            push: cost(200.0, 100.0),
            poll: 10.0,
            fanout: Fanout { listening: cost(hint, 1.0), following: cost(20.0, 15.0) },
            memory: Connections { poll: 24.0, socket: 4.0, agent: 1.0 },
        }
    }

    #[test]
    fn connections_alone_are_bounded_by_the_polls_that_may_wait() {
        let Need { holding, working, .. } = model(1.0).need(1e6, 0.0);
        assert!((holding - 5.0).abs() < 1e-9 && working < 1.0, "{holding} {working}");
    }

    #[test]
    fn hints_that_take_a_whole_gateway_are_not_made_up_for_by_more_gateways() {
        // 4.8 processors are used of each: 2 us × 2.4 million.
        let need = model(2.0).need(1e4, 2.4e6);
        assert!(need.working.is_infinite() && need.hints >= 1.0, "{need:?}");
        let half = model(2.0).need(1e4, 1.2e6);
        assert!(half.working.is_finite() && (half.hints - 0.5).abs() < 1e-9, "{half:?}");
    }

    #[test]
    fn every_gateway_costs_redis_a_hint_for_every_message() {
        let (few, many) = (model(0.0).need(2e5, 1e3), model(0.0).need(1e7, 1e3));
        let further = 49.0;
        assert!((many.redis - few.redis - 1e3 * further / (USED * MICROS)).abs() < 1e-9);
    }
}
