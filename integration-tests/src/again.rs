//! Tests of a file once more, against several gateways.
//!
//! `cargo xtask matrix` runs all of them so; these are the ones that an ordinary run does. Never here: the
//! gateways.

use std::process::Command;

/// Runs these tests of the calling executable in a process of its own, where "the gateway" is `fleet`
/// processes that share a Redis server, and each request goes to any of them.
///
/// # Panics
///
/// If one fails, or there is none of that name.
pub fn again(fleet: usize, tests: &[&str]) {
    let program = std::env::current_exe().expect("a test knows where it is");
    let mut command = Command::new(program);
    command.arg("--exact").args(tests).env("MATRIX_FLEET", fleet.to_string());
    let output = command.output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let count = format!("{} passed; 0 failed; 0 ignored", tests.len());
    assert!(output.status.success() && said.contains(&count), "{fleet} gateways: {said}");
}
