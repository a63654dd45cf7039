//! `message tail` as it is used in a shell: it finds the token by itself, and ends when it should.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::common::{Gateway, buswire, stderr, wait_for};

/// A command for an administrator on the machine of `gateway`, who names no token.
fn admin(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = buswire(arguments);
    command.args(["--admin", &gateway.address("admin").to_string()]);
    command
}

/// Runs `tail` with its output in a pipe.
fn tail(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

fn ends_well(mut child: Child, after: &str) {
    let status = wait_for(after, || child.try_wait().unwrap());
    let output = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(0), "{after}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{after}");
}

#[test]
fn tail_prints_what_comes_until_ctrl_c_or_nobody_reads() {
    let gateway = Gateway::start(&[]);
    let data_dir = gateway.data_dir();
    let run = |arguments: &[&str]| {
        let output =
            admin(&gateway, arguments).env("BUSWIRE_DATA_DIR", &data_dir).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    };
    let publish = |payload: &str| {
        let address = ["--bus", "shop.example", "--channel", "c", "--type", "t"];
        run(&[&["message", "publish"], &address[..], &["--payload", payload]].concat());
    };
    run(&["bus", "create", "shop.example"]);
    let scope = ["message", "tail", "--scope", "bus:shop.example"];
    let (child, mut lines) = tail(admin(&gateway, &scope).env("BUSWIRE_DATA_DIR", &data_dir));
    let mut line = String::new();
    for payload in [1, 2] {
        publish(&payload.to_string());
        line.clear();
        lines.read_line(&mut line).unwrap();
        let message: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(message["payload"] == payload && line.ends_with("}\n"), "{line}");
    }
    let interrupt = ["-INT", &child.id().to_string()].map(str::to_owned);
    assert!(Command::new("kill").args(interrupt).status().unwrap().success());
    ends_well(child, "Ctrl-C");

    // The token is that of the gateway with this file.
    let file = gateway.directory.path().join("buswire.toml");
    fs::write(&file, format!("data_dir = {:?}\n", data_dir.to_str().unwrap())).unwrap();
    let (child, mut lines) = tail(admin(&gateway, &scope).env("BUSWIRE_CONFIG", &file));
    lines.read_line(&mut line).unwrap();
    drop(lines);
    ends_well(child, "the end of the pipe");
    gateway.terminate();
}
