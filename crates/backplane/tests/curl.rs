//! The door as published scripts drive it: through curl, on the example server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod standalone;

use std::process::{Command, Stdio};

use serde_json::Value;
use standalone::Standalone;

fn curl(args: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"]);
    command.args(args);
    command
}

/// Runs curl; its status code and the body.
fn run(args: &[&str]) -> (u16, String) {
    let output = curl(args).output().expect("these tests need curl: install it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read(&output.stdout)
}

fn read(stdout: &[u8]) -> (u16, String) {
    let text = String::from_utf8(stdout.to_vec()).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn unpad(body: &str) -> Value {
    serde_json::from_str(body.strip_prefix("f(").unwrap().strip_suffix(");").unwrap()).unwrap()
}

#[test]
fn curl_goes_through_1_2() {
    let door = Standalone::start();
    let (status, body) = run(&[&door.url("/v1.2/bus/gazette.example/channel/new")]);
    assert_eq!(status, 200);
    let channel: String = serde_json::from_str(&body).unwrap();
    let target = door.url(&format!("/v1.2/bus/gazette.example/channel/{channel}"));
    let message =
        r#"[{"source":"https://comments.example/","type":"comment/posted","payload":{"n":3}}]"#;
    let json = "Content-Type: application/json";
    let posted = run(&["--user", &door.user(), "--header", json, "--data", message, &target]);
    assert_eq!(posted, (200, String::new()));

    let (status, body) = run(&[&format!("{target}?callback=f&rnd=0.1")]);
    assert_eq!(status, 200);
    let frames = unpad(&body);
    assert_eq!(frames[0]["message"]["payload"]["n"], 3);
    let since = frames[0]["id"].as_str().unwrap();
    assert_eq!(run(&[&format!("{target}?since={since}")]), (200, "[]".to_owned()));

    let bus = door.url("/v1.2/bus/gazette.example/");
    let (status, body) = run(&["--user", &door.user(), &bus]);
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (200, frames));
    let (status, body) = run(&["--user", "commentsco:wrong", &bus]);
    assert_eq!((status, body.as_str()), (401, r#"{"ERR_MSG":"Access denied."}"#));
    door.stop();
}

#[test]
fn curl_goes_through_2_0() {
    let door = Standalone::start();
    let (status, body) = run(&[&door.url("//v2/token?callback=f&bus=gazette.example")]);
    assert_eq!(status, 200);
    let visit = unpad(&body);
    let access = visit["access_token"].as_str().unwrap();
    let scope = visit["scope"].as_str().unwrap();
    let channel = scope.strip_prefix("bus:gazette.example channel:").unwrap();

    let grant = "grant_type=client_credentials";
    let (status, body) = run(&["--user", &door.client(), "--data", grant, &door.url("/v2/token")]);
    assert_eq!(status, 200, "{body}");
    let token: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(token["scope"], "bus:gazette.example");
    let bearer = format!("Authorization: Bearer {}", token["access_token"].as_str().unwrap());

    // The page waits before the message is posted.
    let poll = door.url(&format!("/v2/messages?block=25&access_token={access}"));
    let waiting = curl(&[&poll]).stdout(Stdio::piped()).spawn().unwrap();
    let message = format!(
        r#"{{"message":{{"type":"identity/login","bus":"gazette.example","channel":"{channel}","payload":{{"id":"u-88"}}}}}}"#
    );
    let json = "Content-Type: application/json";
    let target = door.url("/v2/message");
    let posted = run(&["--header", &bearer, "--header", json, "--data", &message, &target]);
    assert_eq!(posted, (201, String::new()));
    let (status, body) = read(&waiting.wait_with_output().unwrap().stdout);
    assert_eq!(status, 200);
    let read: Value = serde_json::from_str(&body).unwrap();
    let header = &read["messages"][0];
    assert_eq!((&header["type"], header.get("payload")), (&"identity/login".into(), None));
    assert_eq!(read["moreMessages"], false);

    // The back end reads the payload at the URL that the page was given.
    let url = header["messageURL"].as_str().unwrap();
    let (status, body) = run(&["--header", &bearer, url]);
    let full: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &full["payload"]["id"]), (200, &"u-88".into()));
    let next = read["nextURL"].as_str().unwrap();
    let (_, body) = run(&["--header", &bearer, &format!("{next}&block=0")]);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["messages"], Value::Array(vec![]));
    door.stop();
}
