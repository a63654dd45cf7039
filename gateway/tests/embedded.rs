//! The default store: a data directory that one process owns and that outlives it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the clock to know when"
)]

mod common;

use std::fs;

use common::{Gateway, buswire, stderr};

const EMBEDDED: &str = "store.url=embedded:";

/// Tries to serve from `data_dir`, which must fail with one line.
fn refusal(data_dir: &str) -> String {
    let output = buswire(&["serve", "--set", "log.filter=off", "--set", "http.listen=127.0.0.1:0"])
        .args(["--set", &format!("data_dir={data_dir}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.starts_with("buswire: ") && text.lines().count() == 1, "{text}");
    text
}

#[test]
fn a_data_directory_is_used_again() {
    let gateway = Gateway::start(&[EMBEDDED, r#"buses=[{name = "a"}]"#]);
    let copy = tempfile::tempdir().unwrap();
    let data_dir = gateway.data_dir();
    let token = fs::read_to_string(data_dir.join("admin.token")).unwrap();
    gateway.signal("TERM");
    let (status, log, directory) = gateway.ended_keeping_files();
    assert_eq!(status.code(), Some(0), "{log}");
    for file in fs::read_dir(&data_dir).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    drop(directory);
    let again = Gateway::start(&[EMBEDDED, &format!("data_dir={}", copy.path().display())]);
    assert_eq!(fs::read_to_string(copy.path().join("admin.token")).unwrap(), token);
    assert!(again.get("ops", "/readyz").contains("200 OK"));
    let log = again.terminate();
    assert!(log.contains("store=\"embedded\""), "{log}");
}

#[test]
fn a_data_directory_has_one_process() {
    let gateway = Gateway::start(&[EMBEDDED]);
    let text = refusal(gateway.data_dir().to_str().unwrap());
    assert!(text.contains("is in use by another process"), "{text}");
    assert!(gateway.get("ops", "/readyz").contains("200 OK"));
    gateway.terminate();
}

#[test]
fn a_killed_process_leaves_its_directory_usable() {
    let gateway = Gateway::start(&[EMBEDDED]);
    gateway.signal("KILL");
    let data_dir = gateway.data_dir();
    let (_, _, directory) = gateway.ended_keeping_files();
    let again = Gateway::start(&[EMBEDDED, &format!("data_dir={}", data_dir.display())]);
    again.terminate();
    drop(directory);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("buswire.redb");
    fs::write(&file, "something else").unwrap();
    let text = refusal(directory.path().to_str().unwrap());
    assert!(text.contains("buswire.redb"), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "something else");
}
