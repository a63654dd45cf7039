//! The fault tool: gateways on Redis under load, one fault at a time, and what became of everything.
//!
//! It runs in a network of its own (`unshare`), in which packets can be dropped without telling either
//! end. Each round starts servers, gateways and clients, injects a fault at a seeded time, heals it,
//! waits until all is quiet, and checks what was promised against what is stored and what came.
//! Never here: a type of Buswire.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::string_slice,
    reason = "a tool for developers: it stops where something is wrong, and measures real time"
)]

mod check;
mod faults;
mod load;
mod network;
mod push;
mod slow;
mod table;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    thread,
    time::Duration,
};

use faults::Fault;
use load::Load;
use table::Row;
use world::World;

const HELP: &str = "\
faults [--rounds N] [--seed S] [--only NAME[,NAME…]] [--quick]

  Needs root or user name spaces, redis-server, nft, ip and unshare; the clocks of gateways are moved by
  libfaketime. --quick makes the faults that last short. Without --only every fault is injected:
";

/// How a fault is injected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How long a cut lasts, and a pause of a process.
    pub(crate) cut: Duration,
    pub(crate) pause: Duration,
}

struct Arguments {
    rounds: u64,
    seed: u64,
    only: Vec<String>,
    quick: bool,
}

impl Arguments {
    fn parse(words: &[String]) -> Option<Self> {
        let mut parsed = Self { rounds: 1, seed: 1, only: Vec::new(), quick: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--rounds" => parsed.rounds = words.next()?.parse().ok()?,
                "--seed" => parsed.seed = words.next()?.parse().ok()?,
                "--only" => parsed.only = words.next()?.split(',').map(str::to_owned).collect(),
                "--quick" => parsed.quick = true,
                _ => return None,
            }
        }
        let known = |name: &String| Fault::ALL.iter().any(|fault| fault.name() == name);
        parsed.only.iter().all(known).then_some(parsed)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (is_inside, words) = match words.split_first() {
        Some((first, rest)) if first == "inside" => (true, rest.to_vec()),
        _ => (false, words),
    };
    let Some(arguments) = Arguments::parse(&words) else {
        print!("{HELP}");
        for fault in Fault::ALL {
            println!("  {:<24} {}", fault.name(), fault.what());
        }
        return ExitCode::from(2);
    };
    if !is_inside {
        return network::inside(&words);
    }
    network::begin();
    run(&arguments)
}

fn run(arguments: &Arguments) -> ExitCode {
    let seconds = if arguments.quick { (4, 6) } else { (15, 30) };
    let plan = Plan { cut: Duration::from_secs(seconds.0), pause: Duration::from_secs(seconds.1) };
    let chosen = Fault::ALL.iter().copied().filter(|fault| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == fault.name())
    });
    table::head();
    let mut is_right = true;
    for fault in chosen {
        let mut rows = Vec::new();
        for round in 0..arguments.rounds {
            let seed = arguments.seed.wrapping_mul(1000).wrapping_add(round);
            if let Ok(row) = catch_unwind(AssertUnwindSafe(|| one(fault, plan, seed))) {
                for wrong in &row.wrong {
                    eprintln!("{} (seed {seed}): {wrong}", fault.name());
                }
                is_right &= row.wrong.is_empty();
                rows.push(row);
            } else {
                eprintln!("{} (seed {seed}): the round broke off", fault.name());
                is_right = false;
            }
            network::heal();
        }
        table::line(fault, arguments.rounds, &rows);
    }
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One round of one fault.
fn one(fault: Fault, plan: Plan, seed: u64) -> Row {
    let mut world = World::start(fault.store());
    let load = Load::start(&world);
    Load::until("the load runs", Duration::from_secs(60), || {
        load.accepted() >= 60 && world.routes_ran_since(load.began())
    });
    // A part of a second that differs from round to round.
    let at = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    thread::sleep(Duration::from_millis(at));
    let begun = std::time::Instant::now();
    fault.inject(&mut world, &load, plan);
    world.tell();
    Load::until("posts are accepted at every gateway again", Duration::from_secs(90), || {
        load.is_accepted_everywhere_within(Duration::from_secs(3))
    });
    let healed = std::time::Instant::now();
    Load::until("routes run again", Duration::from_secs(60), || world.routes_ran_since(healed));
    let record = load.stop();
    let row = check::check(fault, &world, &record, begun);
    if !row.wrong.is_empty() {
        let kept = world.keep_evidence(&format!("buswire-{}-{seed}.log", fault.name()));
        eprintln!("what the gateways logged is in {}", kept.display());
    }
    row
}
