//! Build, test and demo commands of the Buswire workspace: `cargo xtask help`.
//!
//! Runs other programs and reads sources. Never here: anything that a part of Buswire depends on.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command line program for developers"
)]

mod conformance;
mod matrix;
mod pages;
mod run;
mod system;
mod test;
mod tidy;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask COMMAND

  demo [--once]   build the gateway and send one message through all four doors;
                  then serve the demo page until Ctrl-C, or end with --once
  test            everything that must hold: format, lints, docs, tests, layers, demo
  tidy            layers, sizes, comments, the conformance tables, and what pages refer to
  conformance     write docs/conformance/*.md anew from the tests
  bench [NAME]    run the benches of message, store, redis and buses, or the load tool: bridge, bus, cap and
                  push (beside nginx with nchan too, if it is installed), posts, poll,
                  mdp (beside NATS too, if nats-server is installed), scale (one and three gateways on
                  Redis, and what it comes to for millions), growth (ten times as much of everything)
  faults [--rounds N] [--seed S] [--only NAME] [--quick]
                  gateways under load, one fault at a time, and what became of every message; needs
                  user name spaces, nft, and libfaketime for clocks
  matrix [--fleet 1,2,3] [--seed N] [--threads N] [FILE…]
                  the integration tests with so many gateways on one Redis server, each request to any
  containers      build the image, start each profile of docker-compose.yml and break it; needs root,
                  Docker, debootstrap and half an hour: not a part of `test`
  setup           install the system packages that the build and the tests need
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result<()> {
    let root = workspace_root()?;
    match words {
        ["demo", rest @ ..] => test::demo(&root, rest),
        ["test"] => test::test(&root),
        ["tidy"] => tidy::check(&root),
        ["conformance"] => conformance::write(&root),
        ["bench", rest @ ..] => test::bench(&root, rest),
        ["faults", rest @ ..] => test::faults(&root, rest),
        ["matrix", rest @ ..] => matrix::matrix(&root, rest),
        ["containers"] => run::run(&root, "integration-tests/containers/run.sh", &[]),
        ["setup"] => system::install(system::For::Tests),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        [other, ..] => bail!("no such command: {other}\n\n{HELP}"),
    }
}

fn workspace_root() -> Result<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    match manifest.ancestors().nth(2) {
        Some(root) => Ok(root.to_owned()),
        None => bail!("the workspace root is not two folders above {}", manifest.display()),
    }
}
