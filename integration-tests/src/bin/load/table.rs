//! The table of the requests, as it is copied into the documentation.

use super::{Contestant, Work};
use crate::stats::{Figures, Plan, Run};

pub(super) fn head(plan: &Plan) {
    println!(
        "Medians of {} rounds of {} s, in turns. Ratios are Buswire / the program of the row.\n",
        plan.rounds,
        plan.time.as_secs()
    );
    println!(
        "| work | program | per second | p50 ms | p99 ms | CPU us | lost, wrong \
         | rate | p50 | p99 | CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
}

/// Prints the rows of one kind of work; Buswire comes first. A run with something lost or wrong is
/// void, and so is its row.
pub(super) fn rows(work: Work, runs: &[(Contestant, Vec<Run>)]) {
    let Work { body, workers, in_flight } = work;
    let mut ours = None;
    for (contestant, runs) in runs {
        let lost: usize = runs.iter().map(|run| run.lost).sum();
        let wrong: usize = runs.iter().map(|run| run.wrong).sum();
        let name = contestant.name();
        let start = format!("| {body} B, {workers} w, {in_flight} in flight | {name} |");
        if lost + wrong > 0 {
            println!("{start} void | | | | {lost}, {wrong} | | | | |");
            continue;
        }
        let Figures { rate, p50, p99, cpu } = Figures::median(runs);
        let own = format!("{start} {rate:.0} | {p50:.2} | {p99:.2} | {cpu:.1} | 0, 0 |");
        match &ours {
            None if *contestant == Contestant::Buswire => {
                println!("{own} | | | |");
                ours = Some(Figures { rate, p50, p99, cpu });
            }
            None => println!("{own} | | | |"),
            Some(ours) => println!(
                "{own} {:.2} | {:.2} | {:.2} | {:.2} |",
                ours.rate / rate,
                ours.p50 / p50,
                ours.p99 / p99,
                ours.cpu / cpu
            ),
        }
    }
}
