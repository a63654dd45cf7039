//! What an operator meets: ports in use, a directory in use, `kill -9` and SIGTERM under load.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use buswire_integration_tests::{Gateway, Single, Site, binary, curl, python, start, until};
use serde_json::Value;

/// Starts a gateway that must end by itself.
fn serve(settings: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.arg("serve").current_dir(folder.path());
    let free = [
        "http.listen=127.0.0.1:0",
        "admin.listen=127.0.0.1:0",
        "ops.listen=127.0.0.1:0",
        "mdp.listen=[\"tcp://127.0.0.1:0\"]",
    ];
    for setting in free.iter().chain(settings) {
        command.args(["--set", setting]);
    }
    command.output().unwrap()
}

/// The lines that are not of the log.
fn complaint(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<_> = stderr.lines().filter(|line| line.starts_with("buswire: ")).collect();
    assert_eq!(lines.len(), 1, "one line: {stderr}");
    lines[0].to_owned()
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["http.listen", "admin.listen", "ops.listen", "mdp.listen"] {
        let setting = match key {
            "mdp.listen" => format!("{key}=[\"tcp://{address}\"]"),
            _ => format!("{key}={address}"),
        };
        let output = serve(&[&setting]);
        let line = complaint(&output);
        assert_eq!(output.status.code(), Some(1), "{line}");
        for part in [key, &address, "in use", "stop the process", "--set"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}

#[test]
fn a_data_directory_has_one_gateway() {
    let gateway = Gateway::single(Single::OwnStore).start();
    let output = serve(&[&format!("data_dir={}", gateway.path("data").display())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("in use by another process"), "{}", complaint(&output));
}

/// Posts from four threads until a post fails; returns the payloads that were answered 201.
fn post_until_it_fails(
    gateway: &Gateway,
    site: &Site,
    channel: &str,
    enough: &AtomicBool,
) -> Vec<String> {
    let accepted = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..4 {
            let accepted = &accepted;
            scope.spawn(move || {
                for n in 0.. {
                    let payload = format!("{thread}-{n}");
                    let status = Command::new("curl")
                        .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"])
                        .args(["--header", &format!("Authorization: Bearer {}", site.token)])
                        .args(["--header", "Content-Type: application/json", "--data-binary"])
                        .arg(site.message(channel, "t", &format!("\"{payload}\"")))
                        .arg(gateway.url("/v2/message"))
                        .output()
                        .unwrap();
                    if status.stdout != b"201" {
                        break;
                    }
                    let mut accepted = accepted.lock().unwrap();
                    accepted.push(payload);
                    enough.store(accepted.len() >= 40, Ordering::Relaxed);
                }
            });
        }
        until("enough was accepted", || enough.load(Ordering::Relaxed).then_some(()));
        gateway.signal("KILL");
    });
    accepted.into_inner().unwrap()
}

#[test]
fn what_was_accepted_under_load_survives_kill_9_and_its_route_goes_on() {
    let mut gateway = Gateway::spawn();
    let limits = ["--max-messages", "100000"];
    let site = Site::create(&gateway, "from.example", &limits);
    let visit = site.visit(&gateway);
    gateway.admin(&[&["bus", "create", "to.example"], &limits[..]].concat());
    let create = ["route", "create", "copy", "--scope", "bus:from.example", "--sink"];
    gateway.admin(&[&create[..], &["bus:to.example"]].concat());
    let accepted = post_until_it_fails(&gateway, &site, &visit.channel, &AtomicBool::new(false));
    gateway.kill();
    gateway.start();
    let payloads = |bus: &str| {
        let read = gateway.admin(&["message", "read", "--scope", &format!("bus:{bus}")]);
        let payload = |line: &str| {
            let message: Value = serde_json::from_str(line).unwrap();
            message["payload"].as_str().unwrap().to_owned()
        };
        read.lines().map(payload).collect::<Vec<_>>()
    };
    let kept = payloads("from.example");
    for payload in &accepted {
        assert!(kept.contains(payload), "{payload} was accepted");
    }
    let copied = until("the route caught up", || {
        Some(payloads("to.example")).filter(|copied| copied.len() >= kept.len())
    });
    assert_eq!(copied.len(), kept.len(), "each once");
    assert_eq!(BTreeSet::from_iter(&copied), BTreeSet::from_iter(&kept));
}

#[test]
fn sigterm_ends_what_is_open_and_exits_0() {
    let mut gateway = Gateway::builder()
        .by_connection()
        .set("shutdown_grace", "5s")
        .set("mdp.drain", "1s")
        .start();
    let site = Site::create(&gateway, "shop.example", &[]);
    let visit = site.visit(&gateway);
    let mut agent = python("push_client", &[&format!("ws://{}/push", gateway.bound().http)]);
    agent.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    assert_eq!(agent.json()["status"], 200);
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "slow", "silent"]);
    assert_eq!(worker.json()["event"], "ready");
    let _client = python("mdp_client", &[&gateway.bound().mdp, "slow", "x"]);
    until("the request is with the worker", || {
        Some(worker.json()).filter(|line| line["event"] == "request")
    });
    let mut poll = TcpStream::connect(&gateway.bound().http).unwrap();
    let get = |block| {
        let token = &visit.token;
        format!("GET /v2/messages?access_token={token}&block={block} HTTP/1.1\r\nHost: x\r\n\r\n")
    };
    // When the first answer is here, the second request is being served.
    poll.write_all(format!("{}{}", get(0), get(25)).as_bytes()).unwrap();
    let mut answers = Vec::new();
    while !answers.ends_with(b"}") {
        answers.push(0);
        let last = answers.len() - 1;
        poll.read_exact(&mut answers[last..]).unwrap();
    }
    assert_eq!(gateway.terminate().code(), Some(0), "{}", gateway.log());
    let mut answer = String::new();
    poll.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "a long poll is answered, not cut off: {answer}");
    assert_eq!(agent.json()["closed"], 1001);
    assert!(gateway.log().contains("tasks_left=0"), "{}", gateway.log());
}

#[test]
fn the_demo_on_every_address_names_one_that_can_be_opened() {
    let mut demo = Command::new(binary());
    demo.arg("demo").args(["--set", "http.listen=0.0.0.0:0", "--set", "http.require_tls=false"]);
    demo.args(["--set", "admin.listen=127.0.0.1:0", "--set", "ops.listen=127.0.0.1:0"]);
    demo.args(["--set", "mdp.listen=[\"tcp://127.0.0.1:0\"]"]);
    let (_demo, url) = start(demo, |line| {
        let at = line.find("http://")?;
        line.contains("/demo/").then(|| line.split_at(at).1.trim().to_owned())
    });
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert_eq!(curl(&url).send().status, 200);
}
