//! Messages from one door through a route to another, beside what either end does alone.
//!
//! Never here: how a gateway is set up for it, which is `fixture`; what one client does, which is `trip`.

mod fixture;
mod trip;
mod watch;

use crate::{
    exchange, mdp, posts,
    stats::{Plan, Run, option},
    table,
};
use fixture::{Alone, Fixture};
use watch::{Target, Watch};

/// Clients that send the next message when the one before has arrived.
const CLIENTS: [usize; 2] = [1, 64];
/// Routes of a gateway: the one that is used, and others from the same bus that wait for messages of
/// a type of their own, which never come.
const ROUTES: [usize; 3] = [1, 10, 1000];

/// What is crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crossing {
    /// A post on one bus that is read on another.
    Bus,
    /// A post that a worker answers on the same bus.
    Mdp,
    /// A post that wakes a subscriber of SimplePush.
    Push,
    /// An invocation of a capability that a worker answers; no route, but beside them.
    Capability,
}

impl Crossing {
    const ALL: [Self; 4] = [Self::Bus, Self::Mdp, Self::Push, Self::Capability];

    const fn name(self) -> &'static str {
        match self {
            Self::Bus => "bus → bus",
            Self::Mdp => "bus → MDP → bus",
            Self::Push => "bus → push",
            Self::Capability => "BCAP → MDP → reply",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Mdp => "mdp",
            Self::Push => "push",
            Self::Capability => "cap",
        }
    }
}

/// What a row of the table is of.
#[derive(Clone, Copy, Debug)]
enum Program {
    /// The crossing, on the gateway of this place in [`ROUTES`].
    Crossing(usize),
    /// The crossing with one route, which somebody watches.
    Watched(Watch),
    /// One of its ends, with nothing behind it.
    Posts,
    Mdp,
    Puts,
}

impl Program {
    /// What is compared for a crossing; the first is what the others are compared with.
    fn of(crossing: Crossing) -> Vec<Self> {
        let ends: &[Self] = match crossing {
            Crossing::Bus => &[Self::Posts],
            Crossing::Mdp => &[Self::Posts, Self::Mdp],
            Crossing::Push => &[Self::Posts, Self::Puts],
            Crossing::Capability => &[Self::Mdp],
        };
        let routes = (0..ROUTES.len()).map(Self::Crossing);
        routes.chain(Watch::ALL.map(Self::Watched)).chain(ends.iter().copied()).collect()
    }

    fn name(self) -> String {
        match self {
            Self::Crossing(0) => "1 route".into(),
            Self::Crossing(at) => format!("{} routes", ROUTES[at]),
            Self::Watched(watch) => format!("1 route, {}", watch.name()),
            Self::Posts => "posts alone".into(),
            Self::Mdp => "MDP alone".into(),
            Self::Puts => "PUTs alone".into(),
        }
    }

    fn run(self, plan: &Plan, fixtures: &mut [Fixture], alone: &mut Alone) -> Run {
        match self {
            Self::Crossing(at) => fixtures[at].run(plan),
            Self::Watched(watch) => {
                let target = Target::of(fixtures[0].gateway());
                watch.during(&target, || fixtures[0].run(plan))
            }
            Self::Posts => {
                let requests = alone.posts(plan.clients);
                exchange::run(plan, alone.address(), &requests, alone.pid(), posts::check)
            }
            Self::Mdp => mdp::alone(plan),
            Self::Puts => alone.notify(plan),
        }
    }
}

/// Measures every crossing, or the one that the first word names.
pub(crate) fn measure(words: &[&str]) {
    let part = words.first().copied().filter(|word| !word.starts_with("--"));
    let clients = option(words, "--clients").map_or_else(|| CLIENTS.to_vec(), |n| vec![n]);
    let most = clients.iter().copied().max().unwrap_or(1);
    table::head(&Plan::parse(words, 0));
    let mut alone = Alone::start(most);
    for crossing in Crossing::ALL {
        if part.is_none_or(|wanted| wanted == crossing.word()) {
            let mut fixtures = ROUTES.map(|routes| Fixture::start(crossing, routes, most));
            for clients in &clients {
                let plan = Plan::parse(words, *clients);
                compare(&plan, crossing, &mut fixtures, &mut alone);
            }
        }
    }
}

fn compare(plan: &Plan, crossing: Crossing, fixtures: &mut [Fixture], alone: &mut Alone) {
    let programs = Program::of(crossing);
    let mut runs: Vec<_> = programs.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        for (program, runs) in programs.iter().zip(&mut runs) {
            runs.push(program.run(plan, fixtures, alone));
        }
    }
    let names: Vec<_> = programs.iter().map(|program| program.name()).collect();
    let rows: Vec<_> = names.iter().map(String::as_str).zip(runs).collect();
    table::rows(&format!("{}, clients: {}", crossing.name(), plan.clients), &rows);
}
