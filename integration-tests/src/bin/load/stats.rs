//! What a run came to, medians, and the table that is printed.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How much to run.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) clients: usize,
}

impl Plan {
    pub(crate) fn parse(words: &[&str], clients: usize) -> Self {
        let value = |name, default| option(words, name).unwrap_or(default);
        let seconds = u64::try_from(value("--seconds", 3)).unwrap();
        Self {
            rounds: value("--rounds", 5),
            time: Duration::from_secs(seconds),
            clients: value("--clients", clients),
        }
    }
}

/// The number after an option.
pub(crate) fn option(words: &[&str], name: &str) -> Option<usize> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1).map(|text| text.parse().expect(name))
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) operations: usize,
    pub(crate) lost: usize,
    /// Answers that were none to what was asked.
    pub(crate) wrong: usize,
    pub(crate) elapsed: Duration,
    pub(crate) server_cpu: Duration,
    /// Of each operation, in any order.
    pub(crate) latencies: Vec<Duration>,
}

/// What a run came to: operations per second, milliseconds, microseconds per operation.
pub(crate) struct Figures {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) cpu: f64,
}

impl Figures {
    /// The median of each figure.
    pub(crate) fn median(runs: &[Run]) -> Self {
        let figures: Vec<_> = runs.iter().map(Run::figures).collect();
        let of = |field: fn(&Self) -> f64| median(figures.iter().map(field).collect());
        Self { rate: of(|f| f.rate), p50: of(|f| f.p50), p99: of(|f| f.p99), cpu: of(|f| f.cpu) }
    }
}

impl Run {
    fn figures(&self) -> Figures {
        assert_eq!((self.lost, self.wrong), (0, 0), "lost, wrong: the run is void");
        assert!(self.operations > 0, "nothing was done: the run is void");
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let at = |per_cent: usize| {
            let index = sorted.len() * per_cent / 100;
            sorted.get(index.min(sorted.len() - 1)).map_or(0.0, |d| d.as_secs_f64() * 1e3)
        };
        Figures {
            rate: self.operations as f64 / self.elapsed.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            cpu: self.server_cpu.as_secs_f64() * 1e6 / self.operations as f64,
        }
    }
}

/// Runs both in turns and prints what came out.
pub(crate) fn compare(
    title: &str,
    plan: &Plan,
    mut ours: impl FnMut() -> Run,
    mut floor: impl FnMut() -> Run,
) {
    let mut runs = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let (floor, ours) = (floor(), ours());
        let [floor_rate, rate] = [&floor, &ours].map(|run| run.figures().rate);
        eprintln!("round {}: floor {floor_rate:.0}/s, buswire {rate:.0}/s", round + 1);
        runs.0.push(floor);
        runs.1.push(ours);
    }
    println!("{title}; medians of {} rounds", plan.rounds);
    println!(
        "{:<10} {:>10} {:>10} {:>10} {:>12}",
        "", "per second", "p50 ms", "p99 ms", "CPU us/op"
    );
    let [floor, ours] = [Figures::median(&runs.0), Figures::median(&runs.1)];
    for (name, Figures { rate, p50, p99, cpu }) in [("floor", &floor), ("buswire", &ours)] {
        println!("{name:<10} {rate:>10.0} {p50:>10.2} {p99:>10.2} {cpu:>12.1}");
    }
    println!(
        "{:<10} {:>10.2} {:>10.2} {:>10.2} {:>12.2}",
        "ratio",
        ours.rate / floor.rate,
        ours.p50 / floor.p50,
        ours.p99 / floor.p99,
        ours.cpu / floor.cpu
    );
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What so many per cent of sorted values do not exceed.
pub(crate) fn quantile(sorted: &[f64], per_cent: usize) -> f64 {
    let index = sorted.len() * per_cent / 100;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// The number that proc(5) gives the field after the name.
const FIRST_AFTER_NAME: usize = 3;

/// Processor time that a process has used.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    // Fields are found by place: some before these are negative or no number at all.
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |number: usize| -> u64 { fields[number - FIRST_AFTER_NAME].parse().unwrap() };
    // In user mode and in the kernel, counted in hundredths of a second.
    Duration::from_millis((ticks(14) + ticks(15)) * 10)
}

/// A floor: this program again, as another process. Prints its address first.
pub(crate) struct Floor {
    child: Child,
    pub(crate) address: String,
}

impl Floor {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("floor")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim().to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(|_| ()).unwrap_or_default();
    }
}
