//! SimplePush with the npm package `ws`, and `buswire push listen`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use buswire_integration_tests::{Gateway, Relay, Single, binary, curl, python, until};

/// Examples that need a clock which moves when told: the time between two reminders and between two
/// pings, and versions that are the time.
const NEED_A_CLOCK: [&str; 3] = ["e04_resend.txt", "e11_pings.txt", "e15_odd_puts.txt"];

#[test]
fn ws_replays_the_worked_examples() {
    let js = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
    let is_installed = js.join("node_modules/ws").exists();
    assert!(is_installed, "run `npm ci` in {} first", js.display());
    let examples =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/simplepush/tests/examples");
    let mut files: Vec<PathBuf> =
        fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| NEED_A_CLOCK.iter().all(|name| !file.ends_with(name)));
    files.sort();
    assert!(files.len() >= 17, "{files:?}");
    let public_url = "https://push.example.net";
    // In memory an acknowledgement is cleared at once; with a disk a repeat would be allowed.
    let gateway = Gateway::single(Single::OwnStore)
        .set("http.public_url", public_url)
        .set("store.url", "memory:")
        .start();
    let mut replay = Command::new("node");
    replay.arg(js.join("replay.mjs")).arg(&gateway.bound().http).args(&files);
    let output = replay.output().expect("node is installed: apt-get install nodejs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), files.len());
}

/// A running `buswire push listen`.
struct Listener {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listener {
    fn start(url: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["push", "listen", "--url", &url.replacen("http", "ws", 1)]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line").unwrap()
    }

    fn ends(&mut self) {
        let status = until("it ends", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(|_| ()).unwrap_or_default();
    }
}

fn put(gateway: &Gateway, endpoint: &str, version: u32) -> u16 {
    let (_, token) = endpoint.rsplit_once("/update/").unwrap();
    let put = curl(&gateway.url(&format!("/update/{token}"))).method("PUT");
    put.args(&["--data", &format!("version={version}")]).send().status
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_prints_versions_and_goes_on_from_its_file() {
    const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
    let relay = Relay::start().await;
    let mut gateway = Gateway::spawn();
    relay.connect(&gateway.bound().http);
    let (url, state) = (relay.url("/push"), gateway.path("listen.json").display().to_string());
    let mut listener = Listener::start(&url, &["--state", &state, "--channel", A, "--count", "2"]);
    let line = listener.line();
    let endpoint = line.strip_prefix(&format!("{A} endpoint ")).unwrap().to_owned();
    assert_eq!(put(&gateway, &endpoint, 7), 200);
    assert_eq!(listener.line(), format!("{A} version 7"));
    // A restart of the gateway is not noticed.
    gateway.kill();
    relay.cut();
    gateway.start();
    // Other gateways count one that was killed as alive as long as its lease lasts.
    let is_away = || put(&gateway, &endpoint, 8) == 202;
    assert!(gateway.size() > 1 || is_away());
    until("it is known to be away", || is_away().then_some(()));
    relay.connect(&gateway.bound().http);
    assert_eq!(listener.line(), format!("{A} version 8"));
    listener.ends();

    let away = || put(&gateway, &endpoint, 9) == 202;
    until("the server has noticed", || away().then_some(()));
    let again = ["--state", &state, "--count", "1", "--output", "json"];
    let mut listener = Listener::start(&url, &again);
    assert_eq!(listener.line(), format!(r#"{{"channel":"{A}","endpoint":"{endpoint}"}}"#));
    assert_eq!(listener.line(), format!(r#"{{"channel":"{A}","version":9}}"#));
    listener.ends();
}

/// The client's side of §20.1, §20.2 and §20.5 with a server that is not ours.
#[test]
fn listen_speaks_the_worked_examples() {
    const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
    let mut server = python("push_server", &[]);
    let url = server.line();
    let mut listener = Listener::start(&url, &["--channel", A, "--count", "3"]);
    assert_eq!(server.line(), r#"{"opened": "push-notification"}"#);
    assert_eq!(server.line(), r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#);
    server.say(r#"{"messageType":"hello","uaid":"6f1c0b7a52d94e0c9b3ad41e8f27c650","status":200}"#);
    let register = format!(r#"{{"messageType":"register","channelID":"{A}"}}"#);
    assert_eq!(server.line(), register);
    server.say(&format!(
        r#"{{"messageType":"register","status":200,"channelID":"{A}","pushEndpoint":"https://push.example.net/update/TOKA"}}"#
    ));
    let endpoint = |token| format!("{A} endpoint https://push.example.net/update/{token}");
    assert_eq!(listener.line(), endpoint("TOKA"));
    let updates = |version| format!(r#""updates":[{{"channelID":"{A}","version":{version}}}]}}"#);
    let notification = |version| format!(r#"{{"messageType":"notification",{}"#, updates(version));
    let ack = |version| format!(r#"{{"messageType":"ack",{}"#, updates(version));
    server.say(&notification(7));
    assert_eq!(listener.line(), format!("{A} version 7"));
    assert_eq!(server.line(), ack(7));

    // Rule: simplepush R-DEL-9 — after a loss the client lists its channels and is told what is pending
    server.say(r#"{"close":1001}"#);
    assert_eq!(server.line(), r#"{"closed": null}"#);
    assert_eq!(server.line(), r#"{"opened": "push-notification"}"#);
    let hello = format!(
        r#"{{"messageType":"hello","uaid":"6f1c0b7a52d94e0c9b3ad41e8f27c650","channelIDs":["{A}"]}}"#
    );
    assert_eq!(server.line(), hello);
    server.say(r#"{"messageType":"hello","uaid":"6f1c0b7a52d94e0c9b3ad41e8f27c650","status":200}"#);
    server.say(&notification(7));
    assert_eq!(server.line(), ack(7), "it is known already: acknowledged, not printed");
    server.say(&notification(10));
    assert_eq!(listener.line(), format!("{A} version 10"));
    assert_eq!(server.line(), ack(10));

    // Rule: simplepush R-SYNC-2 — a client that gets another UAID registers its channels again
    server.say(r#"{"close":1011}"#);
    assert_eq!(server.line(), r#"{"closed": null}"#);
    assert_eq!(server.line(), r#"{"opened": "push-notification"}"#);
    assert_eq!(server.line(), hello);
    server.say(r#"{"messageType":"hello","uaid":"a3e8d27415bc4f6f8d90c6b1e2f7a045","status":200}"#);
    assert_eq!(server.line(), register);
    server.say(&format!(
        r#"{{"messageType":"register","status":200,"channelID":"{A}","pushEndpoint":"https://push.example.net/update/TOKC"}}"#
    ));
    assert_eq!(listener.line(), endpoint("TOKC"));
    server.say(&notification(1));
    assert_eq!(listener.line(), format!("{A} version 1"));
    assert_eq!(server.line(), ack(1));
    listener.ends();
}

#[test]
fn listen_says_what_is_wrong() {
    let failed = |arguments: &[&str]| {
        let output =
            Command::new(binary()).args(["push", "listen"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, line) = failed(&["--url", "http://127.0.0.1/push"]);
    let expected = "buswire: can't listen: the URL of a push server begins with ws:// or wss://\n";
    assert_eq!((code, line.as_str()), (Some(1), expected));
    let (code, line) = failed(&["--state", "/dev/null/state.json"]);
    assert_eq!(code, Some(1));
    assert!(line.starts_with("buswire: can't read /dev/null/state.json: "), "{line}");
    let (code, line) = failed(&["--channel", "orders"]);
    assert_eq!(code, Some(2));
    assert!(line.contains("a name has 32 hexadecimal digits"), "{line}");
}
