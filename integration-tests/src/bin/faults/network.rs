//! A network of this process's own, in which packets are dropped without a word.
//!
//! Never here: what is at the addresses.

use std::process::{Command, ExitCode};

/// Which packets of connections to an address are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Those of the requests and those of the answers.
    Both,
    /// Requests arrive, and their answers do not.
    Back,
}

/// Runs this program again, with these arguments, in a network and with mounts of its own.
pub(crate) fn inside(words: &[String]) -> ExitCode {
    let program = std::env::current_exe().expect("a program knows where it is");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount"]).arg(program).arg("inside").args(words);
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("unshare can't be run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Gets the network ready.
pub(crate) fn begin() {
    run("ip", &["link", "set", "lo", "up"]);
    nft(&["add", "table", "inet", "faults"]);
    nft(&["add", "chain", "inet", "faults", "cut", "{ type filter hook input priority 0; }"]);
}

/// Drops packets between whoever speaks to `address` and what is there.
pub(crate) fn cut(address: &str, way: Way) {
    if way == Way::Both {
        nft(&["add", "rule", "inet", "faults", "cut", "ip", "daddr", address, "drop"]);
    }
    nft(&["add", "rule", "inet", "faults", "cut", "ip", "saddr", address, "drop"]);
}

/// Drops packets between two addresses, or networks.
pub(crate) fn part(one: &str, other: &str) {
    for (from, to) in [(one, other), (other, one)] {
        let between = ["ip", "saddr", from, "ip", "daddr", to, "drop"];
        nft(&[&["add", "rule", "inet", "faults", "cut"], &between[..]].concat());
    }
}

/// Drops nothing any more.
pub(crate) fn heal() {
    nft(&["flush", "chain", "inet", "faults", "cut"]);
}

fn nft(arguments: &[&str]) {
    run("nft", arguments);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} can't be run: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
