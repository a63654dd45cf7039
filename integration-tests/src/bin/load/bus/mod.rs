//! All of Backplane in one run: posts, delivery, polling reads, memory of waits.
//!
//! Never here: how a server is started and spoken to, which is `server`.

mod server;

use crate::{
    exchange, poll, posts, reads,
    stats::{Plan, Run, option},
    table, waiters,
};
use server::{Contestant, Server};

/// Publishers, and readers that wait for one post.
const PUBLISHERS: [usize; 3] = [1, 16, 256];
const READERS: [usize; 3] = [1, 100, 10_000];
const POLLING: [usize; 1] = [64];
const WAITING: [usize; 1] = [5000];

/// Measures everything, or the part that the first word names.
pub(crate) fn measure(words: &[&str]) {
    let part = words.first().copied().filter(|word| !word.starts_with("--"));
    let is_wanted = |name| part.is_none_or(|wanted| wanted == name);
    if !Contestant::Nchan.is_installed() {
        eprintln!("nginx with nchan is not installed: left out");
    }
    if part != Some("memory") {
        table::head(&Plan::parse(words, 0));
    }
    if is_wanted("posts") {
        compare(words, "posts, publishers: ", &PUBLISHERS, &Contestant::ALL, publish);
    }
    if is_wanted("delivery") {
        compare(words, "delivery, readers: ", &READERS, &Contestant::HOLDING, deliver);
    }
    if is_wanted("reads") {
        compare(words, "polling, readers: ", &POLLING, &Contestant::HOLDING, read);
    }
    if is_wanted("memory") {
        memory(words);
    }
}

/// Prints the rows of one kind of work, for each number of clients.
fn compare(
    words: &[&str],
    work: &str,
    numbers: &[usize],
    contestants: &[Contestant],
    run: fn(&Plan, Contestant) -> Run,
) {
    for clients in chosen(words, numbers) {
        let plan = Plan::parse(words, clients);
        let here = contestants.iter().filter(|contestant| contestant.is_installed());
        let mut programs: Vec<_> = here.map(|contestant| (*contestant, Vec::new())).collect();
        for _ in 0..plan.rounds {
            for (contestant, runs) in &mut programs {
                runs.push(run(&plan, *contestant));
            }
        }
        let named: Vec<_> =
            programs.into_iter().map(|(contestant, runs)| (contestant.name(), runs)).collect();
        table::rows(&format!("{work}{clients}"), &named);
    }
}

fn chosen(words: &[&str], numbers: &[usize]) -> Vec<usize> {
    option(words, "--clients").map_or_else(|| numbers.to_vec(), |clients| vec![clients])
}

fn publish(plan: &Plan, contestant: Contestant) -> Run {
    let server = Server::publishing(contestant);
    exchange::run(plan, server.address(), &server.posts(), server.pid(), posts::check)
}

fn deliver(plan: &Plan, contestant: Contestant) -> Run {
    let server = Server::holding(contestant);
    let reader = server.reader();
    poll::run(plan, server.address(), &reader.post, &*reader.again, server.pid())
}

fn read(plan: &Plan, contestant: Contestant) -> Run {
    let server = Server::polled(contestant);
    let check = if contestant == Contestant::Nchan { server::nothing_new } else { reads::check };
    exchange::run(plan, server.address(), &[server.reader().poll], server.pid(), check)
}

fn memory(words: &[&str]) {
    for clients in chosen(words, &WAITING) {
        let plan = Plan::parse(words, clients);
        println!("\n| {clients} pollers | connection at rest, KiB | waiting beyond that, KiB |");
        println!("|---|---|---|");
        for contestant in Contestant::HOLDING.into_iter().filter(|who| who.is_installed()) {
            let run = |_| {
                let server = Server::holding(contestant);
                let reader = server.reader();
                let wait = (reader.again)(None);
                waiters::run(clients, server.address(), server.pid(), &reader.idle, &wait)
            };
            let runs: Vec<_> = (0..plan.rounds).map(run).collect();
            let (connection, waiting) = waiters::medians(&runs);
            println!("| {} | {connection:.2} | {waiting:.2} |", contestant.name());
        }
    }
}
