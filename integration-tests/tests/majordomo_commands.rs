//! `buswire mdp` with peers of other people.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::process::{Child, Command, Output, Stdio};

use buswire_integration_tests::{Gateway, binary, python};
use serde_json::json;

struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(|_| ()).unwrap_or_default();
    }
}

fn port(gateway: &Gateway) -> String {
    gateway.bound().mdp.rsplit(':').next().unwrap().to_owned()
}

fn request(port: &str, words: &[&str]) -> Output {
    let command = ["mdp", "request", "--port", port];
    Command::new(binary()).args([&command[..], words].concat()).output().unwrap()
}

#[test]
fn a_request_reaches_a_worker_and_prints_its_answer() {
    // Rule: mdp §18 — each argument is a frame, each frame of the answer a line
    let gateway = Gateway::spawn();
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "echo", "echo"]);
    assert_eq!(worker.json()["event"], "ready");
    let output = request(&port(&gateway), &["echo", "--", "one", "--two", "three words"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\n--two\nthree words\n");
    assert!(output.status.success());
    let output = request(&port(&gateway), &["--json", "echo", "x"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[\"x\"]");
}

#[test]
fn a_request_without_a_worker_fails_in_one_line() {
    // Rule: mdp §18 — a timeout is a message on standard error and a status that is not zero
    let gateway = Gateway::spawn();
    let output = request(&port(&gateway), &["nobody", "--timeout", "100"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.starts_with("buswire: ") && stderr.contains("nobody"), "{stderr}");
    assert_eq!(request(&port(&gateway), &["--frobnicate"]).status.code(), Some(2));
}

#[test]
fn a_command_is_a_service_and_never_a_shell() {
    // Rule: mdp §9.5 — each frame is one argument, standard output is the answer, failure two frames
    let gateway = Gateway::spawn();
    let offer = |name: &str, command: &[&str]| {
        let port = port(&gateway);
        let words = ["mdp", "cmd-service", name, "--port", &port, "--"];
        let command = [&words[..], command].concat();
        Service(Command::new(binary()).args(command).stdout(Stdio::null()).spawn().unwrap())
    };
    let _print = offer("print", &["/usr/bin/printf", "<%s>"]);
    let _fail = offer("fail", &["/bin/ls", "/nonexistent"]);
    let endpoint = gateway.bound().mdp.as_str();
    let answer = python("mdp_client", &[endpoint, "print", "$(id) ; rm", "two"]).json();
    assert_eq!(answer, json!(["MDPC01", "print", "<$(id) ; rm><two>"]));
    let answer = python("mdp_client", &[endpoint, "fail"]).json();
    assert_eq!((&answer[2], answer.as_array().unwrap().len()), (&json!("Error"), 4));
}
