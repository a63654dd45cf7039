//! Flags, exit codes and error lines of the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the clock to know when"
)]

#[path = "../common/mod.rs"]
mod common;
mod examples;
mod packaging;
mod pages;
mod tail;

use std::{fs, net::TcpListener};

use common::{buswire, output, stderr, stdout};

#[test]
fn help_and_version_are_printed() {
    let help = output(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in ["serve", "check-config"] {
        assert!(stdout(&help).contains(command), "{}", stdout(&help));
    }
    let version = output(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(stdout(&version), format!("buswire {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn bad_usage_exits_2() {
    for arguments in [
        &["nonsense"][..],
        &["serve", "--nonsense"],
        &["serve", "--set", "no-equals-sign"],
        &["check-config", "--config"],
        &[],
    ] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_bad_configuration_exits_64_with_every_problem() {
    for command in ["serve", "check-config"] {
        let output = buswire(&[command, "--set", "http.listne=x", "--set", "shutdown_grace=10"])
            .env("BUSWIRE_OPS__LISTEN", "nowhere")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64));
        assert_eq!(
            stderr(&output),
            "buswire: http.listne: there is no such setting; http.listen is meant? (command line)\n\
             buswire: ops.listen: \"nowhere\" is not HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080 \
             (environment variable BUSWIRE_OPS__LISTEN)\n\
             buswire: shutdown_grace: \"10\" is not a length of time with a unit, as 250ms, 10s, 5m, 8h or \
             30d (command line)\n\
             buswire: the configuration has 3 problems\n"
        );
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_named_file_must_exist() {
    let output = output(&["serve", "--config", "/nowhere/buswire.toml"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("/nowhere/buswire.toml"), "{}", stderr(&output));
}

#[test]
fn check_config_prints_what_is_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("buswire.toml");
    fs::write(&file, "admin.token = \"open-sesame\"\n[http]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let output = buswire(&["check-config", "--set", "log.format=json"])
        .env("BUSWIRE_CONFIG", &file)
        .env("BUSWIRE_OPS__LISTEN", "127.0.0.1:2")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let listen = format!("http.listen = \"127.0.0.1:1\" # file {}\n", file.display());
    assert!(text.contains(&listen), "{text}");
    assert!(
        text.contains("ops.listen = \"127.0.0.1:2\" # environment variable BUSWIRE_OPS__LISTEN\n")
    );
    assert!(text.contains("log.format = \"json\" # command line\n"));
    assert!(text.contains("# admin.token is set and not shown"));
    assert!(!text.contains("open-sesame"));
}

#[test]
fn a_port_in_use_is_one_line_with_key_address_and_advice() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = output(&[
        "serve",
        "--set",
        &format!("data_dir={}", directory.path().display()),
        "--set",
        "store.url=memory:",
        "--set",
        &format!("http.listen={address}"),
        "--set",
        "log.filter=off",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!(
            "buswire: http.listen: can't listen on {address}: Address already in use (os error 98); \
             stop the process that uses port {}, or choose another with --set http.listen=127.0.0.1:PORT\n",
            address.port()
        )
    );
}

#[test]
fn a_data_dir_that_cannot_be_written_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a-file");
    fs::write(&file, "").unwrap();
    let data_dir = file.join("data");
    let output = output(&["serve", "--set", &format!("data_dir={}", data_dir.display())]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.starts_with("buswire: data_dir: can't make the directory"), "{text}");
    assert!(text.contains(data_dir.to_str().unwrap()) && text.contains("--set data_dir=PATH"));
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.pem");
    fs::write(&file, "no certificate").unwrap();
    for (cert, expect) in [
        ("/nowhere.pem", "http.tls.cert: /nowhere.pem can't be read"),
        (file.to_str().unwrap(), "holds no certificate"),
    ] {
        let output = output(&[
            "serve",
            "--set",
            &format!("data_dir={}", directory.path().display()),
            "--set",
            "store.url=memory:",
            "--set",
            &format!("http.tls.cert={cert}"),
            "--set",
            "http.tls.key=/nowhere.key",
            "--set",
            "log.filter=off",
        ]);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.contains(expect) && text.lines().count() == 1, "{text}");
    }
}
