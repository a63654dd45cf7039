//! Peers written with pyzmq.
//!
//! Needs Debian's `python3-zmq`; `BUSWIRE_PYTHON` names another interpreter that has it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use super::PATIENCE;

fn command(script: &str, arguments: &[&str]) -> Command {
    let interpreter = std::env::var("BUSWIRE_PYTHON").unwrap_or("/usr/bin/python3".to_owned());
    let probe = Command::new(&interpreter).args(["-c", "import zmq"]).output();
    let usable = probe.is_ok_and(|probe| probe.status.success());
    assert!(usable, "{interpreter} cannot import zmq: install the Debian package python3-zmq");
    let mut command = Command::new(interpreter);
    command.arg("-u").arg(format!("{}/tests/py/{script}", env!("CARGO_MANIFEST_DIR")));
    command.args(arguments);
    command
}

/// Runs a script to its end and fails with what it said.
pub(crate) async fn run(script: &str, endpoint: &str) {
    run_with(script, &[endpoint]).await;
}

/// Does the same with other arguments.
pub(crate) async fn run_with(script: &str, arguments: &[&str]) {
    let mut command = tokio::process::Command::from(command(script, arguments));
    let output = tokio::time::timeout(PATIENCE * 2, command.kill_on_drop(true).output());
    let output = output.await.expect("the script hangs").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    assert_eq!(output.stdout, b"ok\n", "{script}: {errors}");
}

/// A script that runs until dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Self {
        let mut command = command(script, arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (send, lines) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line that it prints, blocking the thread.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the script prints nothing in time")
    }

    /// Gives it a line.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
