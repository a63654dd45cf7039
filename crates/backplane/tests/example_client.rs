//! The example client against the example server, as the README runs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod standalone;

use std::process::Command;

use standalone::{Standalone, example};

#[test]
fn the_examples_speak_with_each_other() {
    let door = Standalone::start();
    let client = door.client();
    let (id, secret) = client.split_once(':').unwrap();
    let run = |secret: &str| {
        let mut command = Command::new(example("backplane_client"));
        command.args([&door.url(""), "gazette.example", id, secret]).output().unwrap()
    };
    let told = run(secret);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let printed = String::from_utf8(told.stdout).unwrap();
    assert_eq!(printed, "identity/login from https://comments.example/\n{\"id\":\"u-88\"}\n");
    let readme = include_str!("../README.md");
    assert!(readme.contains(&printed), "the README shows another output");

    let refused = run("wrong");
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && error.contains("InvalidClient"), "{error}");
    door.stop();
}
