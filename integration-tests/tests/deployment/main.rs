//! What is in `deploy/`, `Dockerfile` and `docker-compose.yml`: checked against the gateway and the
//! programs that read it. Containers themselves are started by `cargo xtask containers`, by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod compose;
mod monitoring;
mod rolling;

use std::{fs, process::Command};

use buswire_integration_tests::root;
use serde_json::Value;

/// A file of the repository.
fn file(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A YAML file of the repository, read by Python.
fn yaml(name: &str) -> Value {
    let python = std::env::var("BUSWIRE_PYTHON").unwrap_or_else(|_| "python3".into());
    let convert =
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let output =
        Command::new(python).args(["-c", convert]).arg(root().join(name)).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
