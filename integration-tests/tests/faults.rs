//! A few of the faults of `cargo xtask faults`, made short.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::process::Command;

/// Injects one fault and prints what was seen.
fn inject(name: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faults"));
    let output = command.args(["--quick", "--only", name]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let more = String::from_utf8_lossy(&output.stderr);
    println!("{told}");
    assert!(output.status.success() && told.contains("| kept |"), "{told}\n{more}");
}

#[test]
fn nothing_is_lost_when_a_gateway_that_runs_routes_is_killed() {
    inject("gateway-killed");
}

#[test]
fn nothing_is_lost_when_redis_and_all_gateways_are_killed_at_once() {
    inject("everything-killed");
}

#[test]
fn what_a_second_master_lacks_is_written_again() {
    inject("second-failover");
}
