//! `buswire mdp` with peers of other people.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use buswire_integration_tests::{Peer, binary, python, signal, until};
use serde_json::json;

fn mdp(words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("mdp").args(words);
    command
}

fn run(words: &[&str]) -> Output {
    mdp(words).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command that gets `input` to read.
fn run_with(words: &[&str], input: &[u8]) -> Output {
    let mut command = mdp(words);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?} {stderr}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a failed command says: one line.
fn complaint(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(code), 1), "{stderr}");
    assert!(stderr.starts_with("buswire: "), "{stderr}");
    stderr
}

/// Starts a broker and returns its endpoint too.
fn broker(words: &[&str]) -> (Peer, String) {
    let broker = Peer::start(&mut mdp(&[&["broker", "127.0.0.1", "0"], words].concat()));
    let endpoint = broker.line();
    assert_eq!(broker.line(), "Broker Started");
    (broker, endpoint)
}

/// Starts a worker of somebody else that answers with the body of the request.
fn echo(endpoint: &str) -> Peer {
    let worker = python("mdp_worker", &[endpoint, "echo", "echo"]);
    assert_eq!(worker.json()["event"], "ready");
    worker
}

fn port(endpoint: &str) -> &str {
    endpoint.rsplit(':').next().unwrap()
}

#[test]
fn a_broker_says_where_it_listens_and_that_it_started() {
    // Rule: mdp §9.4 — host and port may be positional; the endpoint is printed, then Broker Started
    let (mut broker, endpoint) = broker(&[]);
    assert!(endpoint.starts_with("tcp://127.0.0.1:"), "{endpoint}");
    // Rule: mdp §18 — exit codes are documented; a broker that was asked to stop did no wrong
    assert_eq!(broker.terminate().code(), Some(0));

    let several = ["broker", "--bind", "tcp://127.0.0.1:0", "--bind", "tcp://127.0.0.1:*"];
    let several = Peer::start(&mut mdp(&several));
    let (one, two) = (several.line(), several.line());
    assert_ne!(one, two);
    assert_eq!(several.line(), "Broker Started");
    let taken = run(&["broker", "--port", port(&one)]);
    assert!(complaint(&taken, 1).contains(&format!("{one} is already in use")));
    assert_eq!(run(&["broker", "localhost", "1", "--port", "2"]).status.code(), Some(2));
    let open = run(&["broker", "0.0.0.0", "0"]);
    assert!(complaint(&open, 1).contains("without CURVE"));
}

#[test]
fn a_tunable_reaches_the_broker() {
    // Rule: mdp §12.6 — the suggested configuration can be set
    // A reply of three frames has nine at the broker, a request of nine has fourteen.
    let (_broker, endpoint) = broker(&["--max-frames", "12", "--request-ttl", "60000"]);
    let _echo = echo(&endpoint);
    let ask = |timeout: &str, frames: &[&str]| {
        let words = ["request", "--endpoint", &endpoint, "--timeout", timeout, "echo"];
        run(&[&words[..], frames].concat())
    };
    assert_eq!(stdout(&ask("20000", &["x"; 3])), "x\nx\nx\n");
    assert!(complaint(&ask("500", &["x"; 9]), 1).contains("no answer came in time"));
}

#[test]
fn a_request_reaches_a_worker_and_prints_its_answer() {
    // Rule: mdp §18 — each argument is a frame, each frame of the answer a line
    let (_broker, endpoint) = broker(&[]);
    let _echo = echo(&endpoint);
    let ask = |words: &[&str]| {
        stdout(&run(
            &[&["request", "--timeout", "20000", "--port", port(&endpoint)], words].concat()
        ))
    };
    assert_eq!(ask(&["echo", "--", "one", "--two", "three words"]), "one\n--two\nthree words\n");
    assert_eq!(ask(&["echo", "ends in a newline\n"]), "ends in a newline\n");
    assert_eq!(ask(&["echo"]), "");
    assert_eq!(ask(&["--json", "echo", "x", "\"y\""]), "[\"x\",\"\\\"y\\\"\"]\n");
    assert_eq!(ask(&["echo", "--raw", "x", "y"]), "xy");
    assert_eq!(ask(&["echo", "--hex", "x", "AZ"]), "78\n415A\n");
    assert_eq!(ask(&["echo", "--plain", "x"]), "x\n");
    assert_eq!(ask(&["echo", "--mdp", "0.2", "x"]), "x\n");
}

#[test]
fn standard_input_may_be_a_frame() {
    let (_broker, endpoint) = broker(&[]);
    let _echo = echo(&endpoint);
    let ask = |words: &[&str], input: &[u8]| {
        run_with(
            &[&["request", "--timeout", "20000", "--endpoint", &endpoint, "echo"], words].concat(),
            input,
        )
    };
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    assert_eq!(ask(&["--raw", "-"], &bytes).stdout, bytes);
    let last = ask(&["--json", "first", "--stdin"], b"second\n");
    assert_eq!(stdout(&last), "[\"first\",\"second\\n\"]\n");
    let dash = ask(&["--json", "first", "-"], b"unread");
    assert_eq!(stdout(&dash), "[\"first\",\"-\"]\n");
}

#[test]
fn a_request_without_an_answer_fails_in_one_line() {
    // Rule: mdp §18 — a timeout is a message on standard error and a status that is not zero
    let (_broker, endpoint) = broker(&[]);
    let silent = run(&["request", "--endpoint", &endpoint, "nobody", "--timeout", "300"]);
    let line = complaint(&silent, 1);
    assert!(line.contains("no answer came in time") && line.contains("nobody"), "{line}");
    let nowhere = run(&["request", "--port", "1", "echo", "--timeout", "300"]);
    let line = complaint(&nowhere, 1);
    assert!(line.contains("no broker could be reached at tcp://127.0.0.1:1"), "{line}");
    let odd = run(&["request", "--host", "no such host", "echo"]);
    let line = complaint(&odd, 1);
    assert!(line.contains("can't find the host \"no such host\""), "{line}");
    assert_eq!(run(&["request", "--frobnicate"]).status.code(), Some(2));
    assert_eq!(run(&["request", "echo", "--raw", "--json"]).status.code(), Some(2));
}

#[test]
fn parts_are_printed_as_they_come() {
    // Rule: mdp §5.1 — zero or more PARTIALs, then one FINAL
    let (_broker, endpoint) = broker(&[]);
    let mut worker = python("mdp_streamer", &[&endpoint, "lines"]);
    let words = ["request", "--endpoint", &endpoint, "--timeout", "20000", "--stream", "lines"];
    let client = Peer::start(&mut mdp(&words));
    assert_eq!([client.line(), client.line()], ["one", "two"]);
    worker.say("go on");
    assert_eq!(client.line(), "three");
}

#[test]
fn retries_and_a_second_broker_are_tried() {
    // Rule: mdp §12.7 — a client holds a list of endpoints and moves to the next
    let (_broker, endpoint) = broker(&[]);
    let _echo = echo(&endpoint);
    let words = ["--endpoint", "tcp://127.0.0.1:1", "--endpoint", &endpoint, "--timeout", "10000"];
    let words = [&["request"], &words[..], &["--retries", "1", "echo", "x"]].concat();
    assert_eq!(stdout(&run(&words)), "x\n");
}

#[test]
fn a_command_is_a_service_and_never_a_shell() {
    // Rule: mdp §9.5 — each frame is one argument, standard output is the answer, failure two frames
    let (_broker, endpoint) = broker(&[]);
    let offer = |words: &[&str]| {
        let words = [&["cmd-service", "--endpoint", &endpoint], words].concat();
        Peer::start(&mut mdp(&words))
    };
    let mut print = offer(&["print", "/usr/bin/printf", "<%s>"]);
    // Rule: mdp §9.4 — the lines that a command service logs at its start
    assert_eq!(print.line(), "Create Stream");
    assert_eq!(print.line(), "Command Service: print ['/usr/bin/printf', '<%s>']");
    assert_eq!(print.line(), format!("Starting Service: {endpoint} print"));
    let answer = python("mdp_client", &[&endpoint, "print", "$(id) ; rm", "two"]).json();
    assert_eq!(answer, json!(["MDPC01", "print", "<$(id) ; rm><two>"]));
    assert_eq!(print.terminate().code(), Some(0));

    let _fail = offer(&["fail", "--", "/bin/ls", "/nonexistent"]);
    let answer = python("mdp_client", &[&endpoint, "fail"]).json();
    assert_eq!((&answer[2], answer.as_array().unwrap().len()), (&json!("Error"), 4));

    // What stands behind the command's name belongs to it.
    let _options = offer(&[
        "--split",
        "--env",
        "WORD=x",
        "--folder",
        "/",
        "sh",
        "sh",
        "-c",
        "echo $WORD $PWD $@",
        "-",
    ]);
    let answer = python("mdp_client", &[&endpoint, "sh", "a b"]).json();
    assert_eq!(answer, json!(["MDPC01", "sh", "x / a b\n"]));

    let _slow = offer(&["--time-max", "100", "slow", "sleep", "1000"]);
    let answer = python("mdp_client", &[&endpoint, "slow"]).json();
    assert_eq!(answer[3], json!("the command took longer than 100ms"));
}

#[test]
fn the_status_of_a_service_is_printed_and_the_exit_code() {
    // Rule: mdp §18 — mmi prints 200, 404 or 501 and exits with 0, 1 or 2
    let (_broker, endpoint) = broker(&[]);
    let worker = echo(&endpoint);
    let ask = |endpoint: &str, service: &str| {
        let output = run(&["mmi", "--endpoint", endpoint, service, "--timeout", "1000"]);
        (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
    };
    // The worker has said READY, which the broker may not have read yet.
    until("echo is registered", || (ask(&endpoint, "echo") == ("200\n".into(), 0)).then_some(()));
    drop(worker);
    assert_eq!(ask(&endpoint, "nobody"), ("404\n".into(), 1));
    let ignorant = python("mdp_fixed_broker", &["501"]);
    assert_eq!(ask(&ignorant.line(), "echo"), ("501\n".into(), 2));
    assert_eq!(ignorant.json(), json!(["mmi.service", "echo"]));
    assert_eq!(ask("tcp://127.0.0.1:1", "echo"), (String::new(), 3));
}

#[test]
fn titanic_is_asked_and_its_status_is_the_exit_code() {
    // Rule: mdp §17 — titanic.request, titanic.reply and titanic.close as a client calls them
    let uuid = "7C2E91B0A54D4F0C8E3B6A19D2F05E77";
    let titanic = |answer: &[&str]| {
        let broker = python("mdp_fixed_broker", answer);
        let endpoint = broker.line();
        (broker, endpoint)
    };
    let (broker, endpoint) = titanic(&["200", uuid]);
    let words = ["titanic", "request", "--endpoint", &endpoint, "echo", "Hello", "world"];
    assert_eq!(stdout(&run(&words)), format!("{uuid}\n"));
    assert_eq!(broker.json(), json!(["titanic.request", "echo", "Hello", "world"]));

    let (broker, endpoint) = titanic(&["200 OK", "Hello", "world"]);
    let words = ["titanic", "reply", "--endpoint", &endpoint, uuid];
    assert_eq!(stdout(&run(&words)), "Hello\nworld\n");
    assert_eq!(broker.json(), json!(["titanic.reply", uuid]));

    let (broker, endpoint) = titanic(&["200"]);
    assert_eq!(stdout(&run(&["titanic", "close", "--endpoint", &endpoint, uuid])), "");
    assert_eq!(broker.json(), json!(["titanic.close", uuid]));

    for (status, code) in [("300", 3), ("400", 4), ("500 disk full", 5)] {
        let (_broker, endpoint) = titanic(&[status]);
        complaint(&run(&["titanic", "reply", "--endpoint", &endpoint, uuid]), code);
    }
    let (broker, endpoint) = titanic(&["300"]);
    let words = ["titanic", "reply", "--endpoint", &endpoint, uuid, "--wait", "250"];
    complaint(&run(&words), 3);
    // Asked at least at 0, 100 and 250 ms.
    for _ in 0..3 {
        assert_eq!(broker.json(), json!(["titanic.reply", uuid]));
    }
}

#[test]
fn keys_are_made_and_let_in() {
    // Rule: mdp §14.2 — key files have mode 0600, keys are printed in Z85
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let keygen = |name: &str| stdout(&run(&["keygen", &path(name)])).trim().to_owned();
    let printed = stdout(&run(&["keygen"]));
    let (public, secret) = printed.trim().split_once('\n').unwrap();
    assert_eq!((public.len(), secret.len()), ("public ".len() + 40, "secret ".len() + 40));
    let (server, friend) = (keygen("server"), keygen("friend"));
    keygen("stranger");
    assert_eq!(fs::read_to_string(path("server.pub")).unwrap(), format!("{server}\n"));
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("server"), mode("friend")), (0o600, 0o600));
    complaint(&run(&["keygen", &path("server")]), 1);

    // Rule: mdp §14.2 — --curve-secret-file, an allow-list that is read again on a signal
    fs::write(path("allowed"), format!("{friend}\n")).unwrap();
    let keys = ["--curve-secret-file", &path("server"), "--curve-allow-file", &path("allowed")];
    let (broker, endpoint) = broker(&keys);
    let as_whom = |name: &str| {
        let keys = ["--curve-server-file", &path("server.pub"), "--curve-secret-file", &path(name)]
            .map(str::to_owned);
        [&["--endpoint".to_owned(), endpoint.clone()], &keys[..]].concat()
    };
    let mmi =
        |name: &str| mdp(&["mmi", "nobody", "--timeout", "1000"]).args(as_whom(name)).output();
    let mut offer = mdp(&["cmd-service"]);
    let _service = Peer::start(offer.args(as_whom("friend")).args(["print", "echo"]));
    let mut ask = mdp(&["request", "print", "x", "--timeout", "20000"]);
    assert_eq!(stdout(&ask.args(as_whom("friend")).output().unwrap()), "x\n");
    complaint(&mmi("stranger").unwrap(), 3);
    let plain = run(&["mmi", "nobody", "--timeout", "500", "--endpoint", &endpoint]);
    complaint(&plain, 3);

    fs::write(
        path("allowed"),
        format!("{friend}\n{}", fs::read_to_string(path("stranger.pub")).unwrap()),
    )
    .unwrap();
    signal(broker.pid(), "HUP");
    until("the stranger is let in", || {
        (mmi("stranger").unwrap().status.code() == Some(1)).then_some(())
    });
    let unsaid = run(&["broker", "--curve-secret-file", &path("server")]);
    assert!(complaint(&unsaid, 1).contains("say who may connect"));
}

#[test]
fn workers_and_clients_may_have_addresses_of_their_own() {
    // Rule: mdp §12.6 — worker-bind is an address for workers only; extensions are off unless asked for
    let words = ["--worker-bind", "tcp://127.0.0.1:0", "--mmi-extensions", "--dialect", "zproto"];
    let broker = Peer::start(&mut mdp(&[&["broker", "--port", "0"], &words[..]].concat()));
    let (clients, workers) = (broker.line(), broker.line());
    assert_eq!(broker.line(), "Broker Started");
    let _service = Peer::start(&mut mdp(&["cmd-service", "--endpoint", &workers, "say", "echo"]));
    let ask = ["request", "--timeout", "20000", "--endpoint", &clients];
    assert_eq!(stdout(&run(&[&ask[..], &["say", "hello"]].concat())), "hello\n");
    assert_eq!(stdout(&run(&[&ask[..], &["mmi.services"]].concat())), "200\nsay\n");
    let wrong = ["request", "--timeout", "300", "--endpoint", &workers, "say", "hello"];
    complaint(&run(&wrong), 1);
}
