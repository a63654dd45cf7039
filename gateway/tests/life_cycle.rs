//! Start, readiness, health, metrics, admin token, draining.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the clock to know when"
)]

mod common;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::{Gateway, buswire, read_head, read_to_end, stderr, stdout, wait_for};

#[test]
fn the_ready_file_names_every_bound_address() {
    let gateway = Gateway::start(&[]);
    for listener in ["http", "ops"] {
        assert_ne!(gateway.address(listener).port(), 0);
        gateway.connect(listener);
    }
    let mut keys: Vec<&str> =
        gateway.ready.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["admin", "http", "mdp", "ops"]);
    assert!(gateway.ready["mdp"].is_array());
    gateway.terminate();
}

#[test]
fn health_readiness_and_metrics_are_served() {
    let gateway = Gateway::start(&[]);
    let health = gateway.get("ops", "/healthz");
    assert!(
        health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("\r\n\r\nok\n"),
        "{health}"
    );
    let ready = gateway.get("ops", "/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 200 OK\r\n") && ready.ends_with("\r\n\r\nready\n"),
        "{ready}"
    );
    assert!(gateway.get("http", "/nowhere").starts_with("HTTP/1.1 404 "));
    let metrics = gateway.get("ops", "/metrics");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("buswire_build_info{version="), "{metrics}");
    assert!(
        metrics.contains("buswire_http_requests_total{method=\"GET\",status=\"4xx\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("buswire_connections{listener=\"ops\"} "), "{metrics}");
    assert!(metrics.contains("buswire_http_request_seconds_bucket"), "{metrics}");
    for line in [
        "buswire_ready 1",
        "buswire_store_available 1",
        "buswire_store_disk_bytes 0",
        "buswire_store_full 0",
    ] {
        assert!(metrics.lines().any(|at| at == line), "{line} in {metrics}");
    }
    assert!(gateway.get("ops", "/").starts_with("HTTP/1.1 404 "));
    gateway.terminate();
}

#[test]
fn the_admin_token_is_generated_for_its_owner_only() {
    let gateway = Gateway::start(&[]);
    let path = gateway.data_dir().join("admin.token");
    let token = fs::read_to_string(&path).unwrap();
    assert_eq!(token.trim_end().len(), 43);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(gateway.data_dir()).unwrap().permissions().mode() & 0o777, 0o700);
    let log = gateway.terminate();
    assert!(log.contains("a secret was generated file=") && log.contains("admin.token"), "{log}");
    assert!(!log.contains(token.trim_end()));
}

#[test]
fn a_token_that_is_given_is_not_written_or_logged() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "open-sesame\n").unwrap();
    let variable = ("BUSWIRE_ADMIN__TOKEN_FILE", file.to_str().unwrap());
    let gateway = Gateway::start_with(&[], &[variable]);
    assert!(!gateway.data_dir().exists(), "there is nothing to keep");
    assert!(!gateway.terminate().contains("open-sesame"));
}

#[test]
fn a_signal_ends_it_cleanly() {
    for signal in ["TERM", "INT"] {
        let gateway = Gateway::start(&[]);
        gateway.signal(signal);
        let (status, log) = gateway.ended();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("connections_left=0") && log.contains("tasks_left=0"), "{log}");
    }
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let gateway = Gateway::start(&["shutdown_grace=60s"]);
    let mut idle = gateway.connect("http");
    idle.write_all(b"GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    assert!(read_head(&mut idle).starts_with("HTTP/1.1 404 "));
    let silent = gateway.connect("http");
    let started = Instant::now();
    let log = gateway.terminate();
    assert!(started.elapsed() < Duration::from_secs(10), "{log}");
    assert!(log.contains("connections_left=0"), "{log}");
    assert_eq!(read_to_end(&mut idle), "");
    drop(silent);
}

#[test]
fn a_request_that_has_begun_is_waited_for_but_not_forever() {
    let mut gateway = Gateway::start(&["shutdown_grace=1s", "http.header_timeout=60s"]);
    let mut slow = gateway.connect("http");
    slow.write_all(b"GET /nowhere HTTP/1.1\r\nHo").unwrap();
    wait_for("the connection", || {
        gateway
            .get("ops", "/metrics")
            .contains("buswire_connections{listener=\"http\"} 1")
            .then_some(())
    });
    gateway.signal("TERM");
    wait_for("draining", || gateway.get("ops", "/readyz").contains("503 ").then_some(()));
    assert!(gateway.get("ops", "/readyz").ends_with("not ready: draining\n"));
    assert_eq!(gateway.has_ended(), None);
    let (status, log) = gateway.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("draining") && log.contains("connections_left=1"), "{log}");
    assert_eq!(read_to_end(&mut slow), "");
}

#[test]
fn a_second_signal_cuts_the_draining_short() {
    let gateway = Gateway::start(&["shutdown_grace=600s", "http.header_timeout=600s"]);
    let mut slow = gateway.connect("http");
    slow.write_all(b"GET /nowhere HTTP/1.1\r\nHo").unwrap();
    wait_for("the connection", || {
        gateway
            .get("ops", "/metrics")
            .contains("buswire_connections{listener=\"http\"} 1")
            .then_some(())
    });
    gateway.signal("TERM");
    wait_for("draining", || gateway.log().contains("draining").then_some(()));
    gateway.signal("TERM");
    let (status, log) = gateway.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn the_log_can_be_json() {
    let gateway = Gateway::start(&["log.format=json", "log.filter=info"]);
    let log = gateway.terminate();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let serving = lines.iter().find(|line| line["message"] == "serving").expect(&log);
    assert_eq!(serving["level"], "INFO");
    assert!(serving["http"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn the_access_log_has_no_path() {
    // Rule: belay §21.7 — access logs have the template of the route, never the path with the id
    let gateway = Gateway::start(&[]);
    gateway.get("http", "/cap/open-sesame?token=sesame");
    let log = gateway.terminate();
    assert!(log.contains("buswire::access") && log.contains("status=404"), "{log}");
    assert!(!log.contains("sesame"), "{log}");
}

#[test]
fn hang_up_checks_the_file_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("buswire.toml");
    fs::write(&file, "").unwrap();
    let gateway = Gateway::start_with(&[], &[("BUSWIRE_CONFIG", file.to_str().unwrap())]);
    gateway.signal("HUP");
    wait_for("the check", || gateway.log().contains("has not changed").then_some(()));
    fs::write(&file, "http.body_max = \"1MiB\"").unwrap();
    gateway.signal("HUP");
    wait_for("the difference", || gateway.log().contains("[\"http.body_max\"]").then_some(()));
    fs::write(&file, "http.body_max = \"huge\"").unwrap();
    gateway.signal("HUP");
    wait_for("the problem", || gateway.log().contains("is not a number of bytes").then_some(()));
    assert!(gateway.get("ops", "/readyz").contains("200 OK"));
    gateway.terminate();
}

#[test]
fn healthcheck_says_what_the_operations_listener_says() {
    let gateway = Gateway::start(&["shutdown_grace=20s"]);
    let listen = gateway.address("ops").to_string();
    let check = |arguments: &[&str]| {
        let mut command = buswire(&[&["healthcheck"], arguments].concat());
        command.env("BUSWIRE_OPS__LISTEN", &listen).output().unwrap()
    };
    let healthy = check(&[]);
    assert_eq!((healthy.status.code(), stdout(&healthy)), (Some(0), "ready\n".to_owned()));
    // A request head that is not finished keeps the gateway draining.
    let mut held = gateway.connect("http");
    held.write_all(b"GET /nowhere HTTP/1.1\r\n").unwrap();
    wait_for("the connection", || {
        let metrics = gateway.get("ops", "/metrics");
        metrics.contains("buswire_connections{listener=\"http\"} 1").then_some(())
    });
    gateway.signal("TERM");
    wait_for("the gateway to drain", || (check(&[]).status.code() == Some(1)).then_some(()));
    assert_eq!(stderr(&check(&[])), "buswire: not ready: draining\n");
    let alive = check(&["--live"]);
    assert_eq!((alive.status.code(), stdout(&alive)), (Some(0), "ok\n".to_owned()));
    drop(held);
    gateway.ended();
    let gone = check(&[]);
    assert_eq!(gone.status.code(), Some(1));
    let said = stderr(&gone);
    assert!(said.starts_with(&format!("buswire: no answer at ops.listen, {listen}: ")), "{said}");
    let unknown = check(&["--set", "ops.listen=127.0.0.1:0"]);
    assert_eq!(stderr(&unknown), "buswire: ops.listen has port 0: give it one to be asked at\n");
}

#[test]
fn under_load_no_request_fails_when_it_stops() {
    let gateway = Gateway::start(&["shutdown_delay=1s"]);
    let url = format!("http://{}/simplepush.js?[1-1000000]", gateway.address("http"));
    // Each keeps its connection for as long as it may, and ends with the first failure.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let told = "%{http_code} %{exitcode} %{errormsg}\n";
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--fail-early", "--write-out", told, "--output", "/dev/null"]);
            curl.arg(&url).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let served = || {
        let metrics = gateway.get("ops", "/metrics");
        let line = "buswire_http_requests_total{method=\"GET\",status=\"2xx\"} ";
        metrics.lines().find_map(|it| it.strip_prefix(line)?.parse::<u64>().ok())
    };
    wait_for("the load", || served().filter(|count| *count > 1000));
    gateway.signal("TERM");
    wait_for("the notice", || {
        gateway.get("ops", "/readyz").ends_with("not ready: draining\n").then_some(())
    });
    let meanwhile = gateway.get("http", "/simplepush.js");
    assert!(meanwhile.starts_with("HTTP/1.1 200 OK\r\n"), "{meanwhile}");
    let (status, log) = gateway.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("connections_left=0"), "{log}");
    for client in clients {
        let output = stdout(&client.wait_with_output().unwrap());
        let mut lines: Vec<_> = output.lines().collect();
        // Nothing but the end of the listener, which a proxy has been told of, ends a client.
        let last = lines.pop().unwrap();
        assert!(last.starts_with("000 7 "), "{last}");
        assert!(lines.len() > 100, "{} requests", lines.len());
        assert!(lines.iter().all(|line| line.starts_with("200 0 ")), "{lines:?}");
    }
}

#[test]
fn an_administrator_takes_it_out_of_service_and_back() {
    let variable = ("BUSWIRE_HTTP__BODY_MAX", "1MiB");
    let gateway = Gateway::start_with(&["shutdown_delay=300ms", "admin.token=t"], &[variable]);
    let mut kept = gateway.connect("http");
    let request = b"GET /simplepush.js HTTP/1.1\r\nHost: t\r\n\r\n";
    assert_eq!(stdout(&gateway.administer(&["drain"])), "gateway draining\n");
    let ready = gateway.get("ops", "/readyz");
    assert!(ready.ends_with("not ready: drained by an administrator\n"), "{ready}");
    kept.write_all(request).unwrap();
    let answer = read_to_end(&mut kept);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    let refused = wait_for("the refusal", || {
        let answer = gateway.get("http", "/v1.2/bus/b/channel/new");
        answer.starts_with("HTTP/1.1 503 ").then_some(answer)
    });
    assert!(refused.contains("retry-after: 5\r\n"), "{refused}");
    assert!(refused.ends_with(r#"{"ERR_MSG":"The gateway is out of service"}"#), "{refused}");
    let cap = gateway.get("http", "/cap/x");
    let body = r#"{"error":{"status":503,"message":"service unavailable"}}"#;
    assert!(cap.ends_with(body), "{cap}");
    assert_eq!(stdout(&gateway.administer(&["undrain"])), "gateway serving\n");
    assert!(gateway.get("ops", "/readyz").ends_with("ready\n"));
    assert!(gateway.get("http", "/simplepush.js").starts_with("HTTP/1.1 200 OK\r\n"));

    let shown = gateway.administer(&["config", "show", "--output", "json"]);
    let settings: Vec<serde_json::Value> = serde_json::from_str(&stdout(&shown)).expect("JSON");
    let setting = |key: &str| settings.iter().find(|it| it["key"] == key).expect(key);
    assert_eq!(setting("shutdown_delay")["value"], "\"300ms\"");
    assert_eq!(setting("shutdown_delay")["source"], "command line");
    let source = "environment variable BUSWIRE_HTTP__BODY_MAX";
    assert_eq!(setting("http.body_max")["source"], source);
    let version = gateway.administer(&["version"]);
    assert!(stdout(&version).contains("backplane 1.0 1.1 1.2 1.3 2.0"), "{}", stderr(&version));
    gateway.terminate();
}
