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
fn sockets_that_can_not_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("data_dir={}", folder.path().join("data").display());
    // At the places where systemd puts them: the address, and the names, one for each socket.
    let script = "import os, socket, sys\n\
        host, names = sys.stdin.read().split(' ')\n\
        count = len(names.split(':'))\n\
        held = [socket.create_server((host, 0)) for _ in range(count)]\n\
        away = [os.dup(one.fileno()) for one in held]\n\
        away = [os.dup2(one, 20 + place) for place, one in enumerate(away)]\n\
        for place, one in enumerate(away): os.dup2(one, 3 + place, inheritable=True)\n\
        os.execve(sys.argv[1], sys.argv[1:], {'LISTEN_FDS': str(count), 'LISTEN_FDNAMES': names})\n";
    for (host, name, expect) in [
        ("127.0.0.1", "http:http", "more than one socket that was handed over is named http"),
        (
            "0.0.0.0",
            "admin",
            "that was handed over is not of this machine alone, as 127.0.0.1:0 is",
        ),
        (
            "127.0.0.1",
            "unknown",
            "the socket \"unknown\" that was handed over is not named http, admin or ops",
        ),
        ("127.0.0.1", "", "set FileDescriptorName= in the socket unit"),
    ] {
        let mut python = Command::new("python3")
            .args(["-c", script])
            .args(gateway())
            .args(["--set", &data])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(
            &mut python.stdin.take().unwrap(),
            format!("{host} {name}").as_bytes(),
        )
        .unwrap();
        let Output { status, stderr, .. } = python.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(expect), "{said}");
    }
}
