//! `cargo xtask matrix`: the integration tests with one, two and three gateways on one Redis server.
//!
//! Never here: what a test does; which gateway a request goes to (`integration-tests/src/gateway`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{run::run, system};

/// Tests of the package of the gateway start one process over the store in memory, and are about that
/// process: they are run by `cargo xtask test` alone.
const OF_ONE_PROCESS: [(&str, &str); 11] = [
    ("accepting", "connections that one process has not accepted when it stops"),
    ("acme", "orders of certificates by processes that the test starts"),
    ("admin", "the admin interface and commands of one process"),
    ("certificates", "certificates of the listeners and clients of one process"),
    ("command_line", "what the program prints, beside one process"),
    ("embedded", "the files of the embedded store"),
    ("handover", "sockets that one process is handed"),
    ("hardening", "limits of one process on its sockets"),
    ("life_cycle", "signals, draining and the ready file of one process"),
    ("limits", "what one process holds for strangers"),
    ("tls", "certificates of the listeners of one process"),
];

/// What is to be run.
struct Plan {
    fleets: Vec<usize>,
    seed: u64,
    threads: String,
    filters: Vec<String>,
}

/// How the tests of one file went with one number of gateways.
#[derive(Default)]
struct Row {
    /// Passed against so many gateways.
    passed: usize,
    failed: Vec<String>,
    /// Passed, but they are about one process: how many for which reason.
    single: BTreeMap<String, usize>,
    /// Passed without any gateway.
    without: usize,
}

/// Runs what the arguments ask for, and prints the table.
pub(crate) fn matrix(root: &Path, arguments: &[&str]) -> Result<()> {
    let plan = plan(arguments)?;
    system::install(system::For::Tests)?;
    let python = std::env::var("BUSWIRE_PYTHON").or_else(|_| system::python(root))?;
    system::node(root)?;
    // The guides run examples too.
    let all = ["build", "--workspace", "--all-features", "--locked", "--bins", "--examples"];
    run(root, "cargo", &all)?;
    let files = built(root)?;
    let is_wanted = |name: &str| {
        plan.filters.is_empty() || plan.filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    println!("seed {}: `--seed {}` gives the same choices again", plan.seed, plan.seed);
    let mut rows = Vec::new();
    for (name, program) in files.iter().filter(|(name, _)| is_wanted(name)) {
        for fleet in &plan.fleets {
            let row = one(root, program, *fleet, &plan, &python)?;
            println!("{}", line(name, *fleet, &row));
            rows.push((name.clone(), *fleet, row));
        }
    }
    println!("\n{}", table(&plan, &rows));
    let failed: usize = rows.iter().map(|(_, _, row)| row.failed.len()).sum();
    if failed > 0 {
        bail!("{failed} tests failed")
    }
    Ok(())
}

fn plan(arguments: &[&str]) -> Result<Plan> {
    let mut plan = Plan {
        fleets: vec![1, 2, 3],
        seed: RandomState::new().hash_one(0) >> 33,
        threads: "2".to_owned(),
        filters: Vec::new(),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} takes a value"));
        match *word {
            "--fleet" => {
                let sizes = value()?.split(',').map(str::parse);
                plan.fleets = sizes.collect::<Result<_, _>>().context("--fleet takes 1,2,3")?;
            }
            "--seed" => plan.seed = value()?.parse().context("--seed takes a number")?,
            "--threads" => (*value()?).clone_into(&mut plan.threads),
            filter => plan.filters.push(filter.to_owned()),
        }
    }
    Ok(plan)
}

/// The programs of the integration tests by the name of their file, built if need be.
fn built(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let package = ["--package", "buswire-integration-tests"];
    let words = ["test", "--locked", "--no-run", "--tests", "--message-format", "json"];
    let output = Command::new("cargo").args(words).args(package).current_dir(root).output();
    let output = output.context("cargo could not be started")?;
    if !output.status.success() {
        bail!("the tests are not built: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout).context("cargo did not print text")?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = |message: Value| {
        let target = message.get("target")?;
        let is_test = target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
        let program = message.get("executable")?.as_str().filter(|_| is_test)?;
        Some((target.get("name")?.as_str()?.to_owned(), PathBuf::from(program)))
    };
    Ok(messages.filter_map(program).collect())
}

/// Runs the tests of one file against so many gateways.
fn one(root: &Path, program: &Path, fleet: usize, plan: &Plan, python: &str) -> Result<Row> {
    let target = program.ancestors().nth(3).context("a test is in a target folder")?;
    let report = target.join(format!("matrix-{}", std::process::id()));
    fs::write(&report, "").context("the report can't be written")?;
    let output = Command::new(program)
        .args(["--test-threads", &plan.threads])
        .current_dir(root.join("integration-tests"))
        .env("MATRIX_FLEET", fleet.to_string())
        .env("MATRIX_SEED", plan.seed.to_string())
        .env("MATRIX_REPORT", &report)
        .env("BUSWIRE_PYTHON", python)
        .output()
        .with_context(|| format!("{} could not be started", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let noted = fs::read_to_string(&report).context("the report can't be read")?;
    fs::remove_file(&report).context("the report can't be removed")?;
    let row = read(&said, &noted);
    // A program that ends without its last line has failed too, whatever passed before.
    if !output.status.success() && row.failed.is_empty() {
        bail!("{} failed:\n{said}", program.display());
    }
    if !row.failed.is_empty() {
        println!("{said}");
    }
    Ok(row)
}

/// What the tests came to, by what they printed and what they noted of their gateways.
fn read(said: &str, noted: &str) -> Row {
    let mut fleets = BTreeSet::new();
    let mut reasons: BTreeMap<&str, &str> = BTreeMap::new();
    for line in noted.lines() {
        let mut fields = line.split('\t');
        if let (Some(test), Some(processes), Some(why)) =
            (fields.next(), fields.next(), fields.next())
        {
            if why.is_empty() && processes != "0" {
                fleets.insert(test);
            } else {
                reasons.insert(test, why);
            }
        }
    }
    let mut row = Row::default();
    for line in said.lines() {
        let Some((test, result)) = line.strip_prefix("test ").and_then(|it| it.split_once(" ... "))
        else {
            continue;
        };
        match (result, fleets.contains(test), reasons.get(test)) {
            ("ok", true, _) => row.passed += 1,
            ("ok", false, Some(why)) => *row.single.entry((*why).to_owned()).or_default() += 1,
            ("ok", false, None) => row.without += 1,
            _ => row.failed.push(test.to_owned()),
        }
    }
    row
}

fn line(name: &str, fleet: usize, row: &Row) -> String {
    let single: usize = row.single.values().sum();
    let failed = row.failed.join(", ");
    format!(
        "{name}, {fleet}: {} passed, {} failed, {single} of one process, {} without a gateway {failed}",
        row.passed,
        row.failed.len(),
        row.without
    )
}

fn table(plan: &Plan, rows: &[(String, usize, Row)]) -> String {
    let names: BTreeSet<&str> = rows.iter().map(|(name, ..)| name.as_str()).collect();
    let mut text = String::from("| test file |");
    for fleet in &plan.fleets {
        write!(text, " {fleet} |").unwrap_or_default();
    }
    text += " not applicable, and why |\n|---|";
    text += &"---|".repeat(plan.fleets.len() + 1);
    text.push('\n');
    for name in names {
        write!(text, "| `{name}` |").unwrap_or_default();
        let of = || rows.iter().filter(|(row, ..)| row == name);
        for fleet in &plan.fleets {
            let row = of().find(|(_, size, _)| size == fleet).map(|(.., row)| row);
            text += &row.map_or_else(|| " – |".to_owned(), cell);
        }
        let why = of().next_back().map(|(.., row)| reasons(row)).unwrap_or_default();
        writeln!(text, " {why} |").unwrap_or_default();
    }
    for (name, why) in OF_ONE_PROCESS {
        let cells = " – |".repeat(plan.fleets.len());
        writeln!(text, "| `gateway/tests/{name}` |{cells} all: {why} |").unwrap_or_default();
    }
    text
}

fn cell(row: &Row) -> String {
    match row.failed.len() {
        0 => format!(" {} |", row.passed),
        failed => format!(" {}, **{failed} failed** |", row.passed),
    }
}

fn reasons(row: &Row) -> String {
    let single = row.single.iter().map(|(why, many)| format!("{many}: {why}"));
    let without = (row.without > 0).then(|| format!("{}: no gateway", row.without));
    single.chain(without).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_by_what_they_ran_against() {
        let said = "running 5 tests\ntest a ... ok\ntest b ... FAILED\ntest m::c ... ok\n\
                    test d ... ok\ntest e ... ok\n\ntest result: FAILED. 4 passed; 1 failed\n";
        let noted = "a\t3\t\nb\t3\t\nm::c\t1\tthe log of one process\na\t1\tthe log of one process\ne\t1\t\n";
        let row = read(said, noted);
        assert_eq!((row.passed, row.without), (2, 1));
        assert_eq!(row.failed, ["b"]);
        assert_eq!(row.single, BTreeMap::from([("the log of one process".to_owned(), 1)]));
        assert_eq!(reasons(&row), "1: the log of one process; 1: no gateway");
        assert_eq!(cell(&row), " 2, **1 failed** |");
    }

    #[test]
    fn arguments_choose_sizes_seed_and_files() {
        let plan = plan(&["--fleet", "2,3", "--seed", "7", "crossing", "push"]).unwrap();
        assert_eq!((plan.fleets, plan.seed), (vec![2, 3], 7));
        assert_eq!(plan.filters, ["crossing", "push"]);
        assert!(super::plan(&["--fleet", "two"]).is_err() && super::plan(&["--seed"]).is_err());
    }
}
