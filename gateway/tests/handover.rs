//! Sockets that systemd hands over: the process is restarted behind them, and nobody is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

const BASE: [&str; 5] = [
    "store.url=memory:",
    "http.listen=127.0.0.1:1",
    "admin.listen=127.0.0.1:0",
    "ops.listen=127.0.0.1:0",
    "mdp.listen=tcp://127.0.0.1:0",
];

fn gateway() -> Vec<String> {
    let mut command = vec![env!("CARGO_BIN_EXE_buswire").to_owned(), "serve".to_owned()];
    for setting in BASE {
        command.extend(["--set".to_owned(), setting.to_owned()]);
    }
    command
}

#[test]
fn a_restart_behind_a_socket_of_systemd_refuses_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("data_dir={}", folder.path().join("data").display());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/handover.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(folder.path())
        .args(gateway())
        .args(["--set", &data])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counts["failed"], serde_json::json!([]), "{counts}");
    assert!(counts["answered"].as_u64().unwrap() > 10, "{counts}");
}

#[test]
fn a_socket_without_a_name_is_refused() {
    // At the place where systemd puts it.
    let script = "import os, socket, sys\n\
        held = socket.create_server(('127.0.0.1', 0))\n\
        os.dup2(held.fileno(), 3, inheritable=True)\n\
        os.execve(sys.argv[1], sys.argv[1:], {'LISTEN_FDS': '1', 'LISTEN_FDNAMES': sys.stdin.read()})\n";
    for (name, expect) in [
        ("unknown", "the socket \"unknown\" that was handed over is not named http, admin or ops"),
        ("", "set FileDescriptorName= in the socket unit"),
    ] {
        let mut python = Command::new("python3")
            .args(["-c", script])
            .args(gateway())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut python.stdin.take().unwrap(), name.as_bytes()).unwrap();
        let Output { status, stderr, .. } = python.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(expect), "{said}");
    }
}
