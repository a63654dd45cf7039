//! The table of several programs that do the same work, as it is copied into the documentation.

use crate::stats::{Figures, Plan, Run};

pub(crate) fn head(plan: &Plan) {
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

/// Prints the rows of one kind of work, one for each program; Buswire comes first. A run with
/// something lost or wrong is void, and so is its row.
pub(crate) fn rows(work: &str, programs: &[(&str, Vec<Run>)]) {
    let mut ours = None;
    for (number, (name, runs)) in programs.iter().enumerate() {
        let lost: usize = runs.iter().map(|run| run.lost).sum();
        let wrong: usize = runs.iter().map(|run| run.wrong).sum();
        let start = format!("| {work} | {name} |");
        if lost + wrong > 0 {
            println!("{start} void | | | | {lost}, {wrong} | | | | |");
            continue;
        }
        let Figures { rate, p50, p99, cpu } = Figures::median(runs);
        let own = format!("{start} {rate:.0} | {p50:.2} | {p99:.2} | {cpu:.1} | 0, 0 |");
        match &ours {
            None if number == 0 => {
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
