//! TLS on the public listener, and what happens without it.

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
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use common::{Gateway, read_to_end, wait_for};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls_files").join(name)
}

/// A gateway whose certificate files can be changed.
fn start(settings: &[&str]) -> (Gateway, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    install(&directory, "first");
    let cert = format!("http.tls.cert={}", directory.path().join("cert.pem").display());
    let key = format!("http.tls.key={}", directory.path().join("key.pem").display());
    let all: Vec<&str> =
        [cert.as_str(), key.as_str()].into_iter().chain(settings.iter().copied()).collect();
    (Gateway::start(&all), directory)
}

fn install(directory: &TempDir, name: &str) {
    fs::copy(fixture(&format!("{name}.pem")), directory.path().join("cert.pem")).unwrap();
    fs::copy(fixture(&format!("{name}.key")), directory.path().join("key.pem")).unwrap();
}

/// Sends a GET over TLS to a server that must show the certificate `name`.
fn get(gateway: &Gateway, name: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture(&format!("{name}.pem"))).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, gateway.connect("http"));
    stream
        .write_all(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(bytes).unwrap())
}

#[test]
fn requests_over_tls_are_served_and_told_to_stay() {
    // Rule: belay §21.7 — plain HTTP is refused unless the listener is loopback, and TLS answers carry HSTS
    let (gateway, _directory) = start(&["http.require_tls=true"]);
    let answer = get(&gateway, "first").unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=31536000\r\n"), "{answer}");
    assert!(get(&gateway, "second").is_err(), "another certificate is not trusted");
    assert_eq!(gateway.get("http", "/").find("HTTP/1.1"), None, "plain HTTP is not spoken here");
    gateway.terminate();
}

#[test]
fn a_slow_handshake_is_cut_off() {
    let (gateway, _directory) = start(&["http.tls.handshake_timeout=200ms"]);
    let mut silent = gateway.connect("http");
    assert_eq!(read_to_end(&mut silent), "");
    let line = "fault=\"handshake_slow\"} 1";
    wait_for("the count", || gateway.get("ops", "/metrics").contains(line).then_some(()));
    gateway.terminate();
}

#[test]
fn new_certificates_are_taken_and_broken_ones_are_not() {
    let (gateway, directory) = start(&[]);
    assert!(get(&gateway, "first").is_ok());
    // Nobody sends a signal: the change of the files is noticed.
    install(&directory, "second");
    wait_for("the new certificate", || get(&gateway, "second").ok());
    assert!(get(&gateway, "first").is_err());
    fs::write(directory.path().join("cert.pem"), "broken").unwrap();
    gateway.signal("HUP");
    wait_for("the complaint", || {
        gateway.log().contains("certificates stay as they were").then_some(())
    });
    assert!(get(&gateway, "second").is_ok());
    fs::copy(fixture("first.pem"), directory.path().join("cert.pem")).unwrap();
    wait_for("the complaint about the pair", || {
        gateway.log().contains("certificate and key can't be used").then_some(())
    });
    assert!(get(&gateway, "second").is_ok());
    let metrics = gateway.get("ops", "/metrics");
    assert!(metrics.contains("buswire_certificate_end_seconds{listener=\"http\"} 4"), "{metrics}");
    assert!(metrics.contains("buswire_reload_failures_total 2"), "{metrics}");
    gateway.terminate();
}

#[test]
fn a_poll_that_waits_outlives_the_certificate_that_it_came_over() {
    let (gateway, directory) = start(&["buses=[{name = \"b\"}]"]);
    let connect = |path: &str| {
        let url = format!("https://localhost:{}{path}", gateway.address("http").port());
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--insecure", "--write-out", "\n%{http_code}", &url]);
        curl.stdout(Stdio::piped()).spawn().unwrap()
    };
    let token = connect("/v2/token?callback=f&bus=b").wait_with_output().unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    let token = token.split("\"access_token\":\"").nth(1).expect(&token).split('"').next().unwrap();
    let poll = connect(&format!("/v2/messages?access_token={token}&block=4"));
    wait_for("the poll", || {
        let metrics = gateway.get("ops", "/metrics");
        metrics.contains("buswire_connections{listener=\"http\"} 1").then_some(())
    });
    install(&directory, "second");
    let shown = wait_for("the new certificate", || {
        let address = gateway.address("http").to_string();
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", &address]).stdin(Stdio::null());
        let shown = client.output().unwrap().stdout;
        get(&gateway, "second").is_ok().then_some(shown)
    });
    assert!(String::from_utf8_lossy(&shown).contains("BEGIN CERTIFICATE"));
    let answer = String::from_utf8(poll.wait_with_output().unwrap().stdout).unwrap();
    assert!(answer.ends_with("\n200"), "{answer}");
    gateway.terminate();
}

#[test]
fn every_listener_can_have_tls_and_hsts_can_be_off() {
    let (cert, key) = (fixture("first.pem"), fixture("first.key"));
    let ops = [("cert", &cert), ("key", &key)].map(|(n, f)| format!("ops.tls.{n}={}", f.display()));
    let (gateway, _directory) = start(&["http.hsts=0s", &ops[0], &ops[1]]);
    let url = format!("https://localhost:{}/readyz", gateway.address("ops").port());
    let curl = Command::new("curl").args(["--silent", "--cacert"]).arg(&cert).arg(url).output();
    assert_eq!(curl.unwrap().stdout, b"ready\n");
    assert!(!get(&gateway, "first").unwrap().contains("strict-transport-security"));
    gateway.terminate();
}

#[test]
fn a_client_certificate_has_the_role_of_its_name() {
    let file = |name: &str| fixture(name).display().to_string();
    let settings = [
        format!("admin.tls.cert={}", file("first.pem")),
        format!("admin.tls.key={}", file("first.key")),
        format!("admin.tls.client_ca={}", file("authority.pem")),
        "admin.tls.roles=[{name = \"client\", role = \"operator\"}]".to_owned(),
    ];
    let gateway = Gateway::start(&settings.each_ref().map(String::as_str));
    let url = format!("https://localhost:{}", gateway.address("admin").port());
    let run = |arguments: &[&str], shown: bool| {
        let mut command = common::buswire(arguments);
        command.current_dir(gateway.directory.path()).args(["--admin", &url]);
        command.args(["--ca", &file("first.pem")]);
        if shown {
            command.args(["--cert", &file("client.pem"), "--key", &file("client.key")]);
        }
        command.output().unwrap()
    };
    let created = run(&["bus", "create", "a.example"], true);
    assert!(created.status.success(), "{}", common::stderr(&created));
    let refused = common::stderr(&run(&["admin-token", "list"], true));
    assert!(refused.contains("the caller has the role operator"), "{refused}");
    assert!(common::stderr(&run(&["bus", "list"], false)).contains("token"), "nothing was shown");
    gateway.terminate();
}

#[test]
fn without_tls_each_family_refuses_in_its_own_style() {
    // Rule: backplane §3.2 — with require_tls a request without TLS gets 403 in the style of its family
    let gateway = Gateway::start(&["http.require_tls=true"]);
    for (path, body) in [
        ("/v2/token", r#"{"error":"Connection must be made over https"}"#),
        ("/v1.2/bus/b", r#"{"ERR_MSG":"Connection must be made over https"}"#),
        ("/v2/provision/bus/list", r#"{"ERR_MSG":"Connection must be made over https"}"#),
        ("/bus/b", r#"{"ERR_MSG":"Connection must be made over https"}"#),
        ("/cap/x", r#"{"error":{"status":403,"message":"forbidden"}}"#),
        ("/console/", r#"{"error":"Connection must be made over https"}"#),
    ] {
        let answer = gateway.get("http", path);
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with(body), "{path}: {answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    }
    assert!(gateway.get("http", "/v1.2/bus/b/channel/new").starts_with("HTTP/1.1 200 "));
    gateway.terminate();
}

#[test]
fn only_a_trusted_proxy_may_say_https() {
    // Rule: backplane §3.2 — X-Forwarded-Proto counts from a trusted proxy and from nobody else
    let request = "GET /v2/token HTTP/1.1\r\nHost: t\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    let open = Gateway::start(&["http.require_tls=true"]);
    assert!(open.exchange("http", request).starts_with("HTTP/1.1 403 "));
    open.terminate();
    let behind = Gateway::start(&["http.require_tls=true", "http.trusted_proxies=127.0.0.0/8"]);
    let answer = behind.exchange("http", request);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // Rule: backplane §17 row 38 — what came over https is not to be asked for without it
    assert!(answer.contains("strict-transport-security: max-age=31536000\r\n"), "{answer}");
    assert!(behind.get("http", "/v2/token").starts_with("HTTP/1.1 403 "));
    behind.terminate();
}
