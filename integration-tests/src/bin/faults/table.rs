//! The table of what was seen, as it is copied into the documentation.

use std::{collections::BTreeMap, time::Duration};

use crate::faults::Fault;

/// What one round came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
    /// Refused or not answered, and stored: a 503 says that it may have happened.
    pub(crate) stored_anyway: usize,
    pub(crate) statuses: BTreeMap<u16, usize>,
    /// Versions that were accepted by SimplePush.
    pub(crate) puts: usize,
    pub(crate) lost: usize,
    pub(crate) stored_twice: usize,
    /// Accepted messages that are there under another id.
    pub(crate) moved: usize,
    pub(crate) not_delivered: usize,
    /// Which route lacks which of them.
    pub(crate) lacking: Vec<String>,
    pub(crate) copies_twice: usize,
    /// Deliveries to the HTTP server beyond the first.
    pub(crate) repeats: usize,
    pub(crate) out_of_order: usize,
    pub(crate) unread: usize,
    pub(crate) read_backwards: usize,
    pub(crate) read_and_gone: usize,
    pub(crate) push_behind: usize,
    pub(crate) resets: usize,
    pub(crate) used_twice: usize,
    pub(crate) is_told: bool,
    pub(crate) unavailable: Duration,
    pub(crate) routes_silent: Duration,
    /// What breaks the promise.
    pub(crate) wrong: Vec<String>,
}

pub(crate) fn head() {
    println!(
        "| fault | rounds | accepted | refused | unknown | of these stored | lost | stored twice | moved \
         | copied twice | HTTP again | out of order | push resets | no post for | no route for | |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
}

/// Prints the sums of all rounds of a fault, and the longest times.
pub(crate) fn line(fault: Fault, rounds: u64, rows: &[Row]) {
    let sum = |of: fn(&Row) -> usize| rows.iter().map(of).sum::<usize>();
    let longest = |of: fn(&Row) -> Duration| rows.iter().map(of).max().unwrap_or_default();
    let wrong = rows.iter().filter(|row| !row.wrong.is_empty()).count() as u64;
    let broken = rounds - rows.len() as u64;
    let verdict = match (wrong, broken) {
        (0, 0) => "kept".to_owned(),
        _ => format!("BROKEN in {wrong}, {broken} broke off"),
    };
    let mut statuses = BTreeMap::<u16, usize>::new();
    for (status, count) in rows.iter().flat_map(|row| &row.statuses) {
        *statuses.entry(*status).or_default() += count;
    }
    println!(
        "| {} | {rounds} | {} + {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} s | {:.1} s | {verdict} |",
        fault.name(),
        sum(|row| row.accepted),
        sum(|row| row.puts),
        sum(|row| row.refused),
        sum(|row| row.unknown),
        sum(|row| row.stored_anyway),
        sum(|row| row.lost),
        sum(|row| row.stored_twice),
        sum(|row| row.moved),
        sum(|row| row.copies_twice),
        sum(|row| row.repeats),
        sum(|row| row.out_of_order),
        sum(|row| row.resets),
        longest(|row| row.unavailable).as_secs_f64(),
        longest(|row| row.routes_silent).as_secs_f64(),
    );
    eprintln!("{}: refused with {statuses:?}", fault.name());
}
