//! Certificates from a real ACME server (Debian's pebble), which asks its names of a DNS server of ours.

#![cfg(feature = "acme")]
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
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use buswire_testkit::free_port;
use common::{Gateway, buswire, read_to_end, wait_for};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::json;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls_files").join(name)
}

/// A program that is killed when dropped.
struct Running(Child);

impl Running {
    fn start(program: &str, arguments: &[&str], log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        // Otherwise it waits up to fifteen seconds before it looks.
        command.env("PEBBLE_VA_NOSLEEP", "1");
        // It refuses one good nonce in twenty, and the client asks again: orders could not be counted.
        command.env("PEBBLE_WFE_NONCEREJECT", "0");
        Self(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// An ACME server, and the DNS server that it asks: every name is 127.0.0.1.
struct Pebble {
    directory: TempDir,
    port: u16,
    /// Where it looks at challenges.
    gateway_port: u16,
    management_port: u16,
    running: Option<[Running; 2]>,
}

impl Pebble {
    /// Does not run yet.
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            port: free_port(),
            gateway_port: free_port(),
            management_port: free_port(),
            running: None,
        }
    }

    fn started() -> Self {
        let mut pebble = Self::new();
        pebble.start(&json!({}));
        pebble
    }

    fn start(&mut self, settings: &serde_json::Value) {
        let file = |name: &str| self.directory.path().join(name);
        let mut config = json!({
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management_port),
            "certificate": fixture("first.pem"),
            "privateKey": fixture("first.key"),
            "httpPort": 1,
            "tlsPort": self.gateway_port,
            "domainBlocklist": ["blocked.example"],
        });
        for (key, value) in settings.as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(file("config.json"), json!({ "pebble": config }).to_string()).unwrap();
        let dns = format!("127.0.0.1:{}", free_port());
        let management = format!("127.0.0.1:{}", free_port());
        let answers = Running::start(
            "pebble-challtestsrv",
            &[
                "-defaultIPv4",
                "127.0.0.1",
                "-defaultIPv6",
                "",
                "-dns01",
                &dns,
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
                "-management",
                &management,
            ],
            &file("dns.log"),
        );
        let config = file("config.json").display().to_string();
        let server = Running::start(
            "pebble",
            &["-config", &config, "-dnsserver", &dns],
            &file("pebble.log"),
        );
        self.running = Some([answers, server]);
        let listens = |port: u16| TcpStream::connect(("127.0.0.1", port)).ok();
        wait_for("pebble", || listens(self.port).and(listens(self.management_port)));
    }

    /// What a gateway is set to that orders certificates here.
    fn settings(&self, domain: &str) -> Vec<String> {
        vec![
            "store.url=embedded:".to_owned(),
            format!("http.listen=127.0.0.1:{}", self.gateway_port),
            format!("http.acme.domains=[\"{domain}\"]"),
            "http.acme.contact=[\"ops@gw.example\"]".to_owned(),
            format!("http.acme.directory=https://localhost:{}/dir", self.port),
            format!("http.acme.ca={}", fixture("first.pem").display()),
            "http.acme.accept_terms=true".to_owned(),
        ]
    }

    fn gateway(&self, domain: &str) -> Gateway {
        start(&self.settings(domain))
    }

    /// The authority of what it issues.
    fn root(&self) -> CertificateDer<'static> {
        let url = format!("https://localhost:{}/roots/0", self.management_port);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--cacert"]).arg(fixture("first.pem")).arg(url);
        CertificateDer::from_pem_slice(&curl.output().unwrap().stdout).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("pebble.log")).unwrap()
    }

    /// How many orders it was asked for.
    fn orders(&self) -> usize {
        self.log().matches("POST /order-plz").count()
    }
}

fn start(settings: &[String]) -> Gateway {
    Gateway::start(&settings.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A connection that must be to `name` with a certificate of `root`; with the certificate.
fn connect(
    port: u16,
    name: &str,
    root: &CertificateDer<'static>,
) -> Result<(StreamOwned<ClientConnection, TcpStream>, Vec<u8>), std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client =
        ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_read_timeout(Some(common::PATIENCE))?;
    let mut stream = StreamOwned::new(client, tcp);
    stream.conn.complete_io(&mut stream.sock)?;
    let shown = stream.conn.peer_certificates().unwrap()[0].to_vec();
    Ok((stream, shown))
}

/// Sends a request on a connection that is kept, and reads the head of the answer.
fn ask(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> String {
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: gw.example\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the connection was closed");
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

fn metric(gateway: &Gateway, line: &str) {
    wait_for(line, || gateway.get("ops", "/metrics").contains(line).then_some(()));
}

fn readiness(gateway: &Gateway) -> String {
    gateway.get("ops", "/readyz")
}

#[test]
fn a_certificate_is_ordered_once_and_kept_over_a_restart() {
    let pebble = Pebble::started();
    let gateway = pebble.gateway("gw.example");
    let root = pebble.root();
    let (mut stream, shown) =
        wait_for("a certificate", || connect(pebble.gateway_port, "gw.example", &root).ok());
    let answer = ask(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age="), "{answer}");
    metric(&gateway, "buswire_acme_orders_total{result=\"issued\"} 1");
    metric(&gateway, "buswire_acme_failures_in_a_row 0");
    let metrics = gateway.get("ops", "/metrics");
    assert!(metrics.contains("buswire_certificate_end_seconds{listener=\"http\"} "), "{metrics}");
    assert!(!metrics.contains("buswire_certificate_end_seconds{listener=\"http\"} 0"), "{metrics}");
    wait_for("readiness", || readiness(&gateway).ends_with("\r\n\r\nready\n").then_some(()));
    let store = fs::read(gateway.data_dir().join("buswire.redb")).unwrap();
    let holds = |text: &str| store.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("certificate/") && !holds("PRIVATE KEY") && !holds("key_pkcs8"), "it is sealed");
    drop(stream);
    gateway.signal("TERM");
    let (status, log, directory) = gateway.ended_keeping_files();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("an ordered certificate is in use") && !log.contains("PRIVATE"), "{log}");

    let data = format!("data_dir={}", directory.path().join("data").display());
    let mut settings = pebble.settings("gw.example");
    settings.push(data);
    let again = start(&settings);
    // Nobody waits for a certificate after a restart: it is there with the listener.
    let (_stream, same) = connect(pebble.gateway_port, "gw.example", &root).unwrap();
    assert_eq!(same, shown);
    assert!(readiness(&again).ends_with("\r\n\r\nready\n"));
    assert_eq!(pebble.orders(), 1, "{}", pebble.log());
    again.terminate();
}

#[test]
fn it_is_renewed_while_connections_go_on() {
    let mut pebble = Pebble::new();
    pebble.start(&json!({ "certificateValidityPeriod": 9 }));
    let gateway = pebble.gateway("gw.example");
    let root = pebble.root();
    let try_connect = || connect(pebble.gateway_port, "gw.example", &root).ok();
    let (mut stream, first) = wait_for("a certificate", try_connect);
    assert!(ask(&mut stream).starts_with("HTTP/1.1 200 "));
    let (_other, second) =
        wait_for("another one", || try_connect().filter(|(_, shown)| *shown != first));
    assert_ne!(first, second);
    assert!(ask(&mut stream).starts_with("HTTP/1.1 200 "), "the old connection goes on");
    metric(&gateway, "buswire_acme_orders_total{result=\"issued\"} 2");
    assert_eq!(pebble.log().matches("POST /sign-me-up").count(), 1, "one account");
    gateway.terminate();
}

#[test]
fn a_server_that_is_down_is_asked_again_until_it_is_up() {
    let mut pebble = Pebble::new();
    let gateway = pebble.gateway("gw.example");
    metric(&gateway, "buswire_acme_orders_total{result=\"unreachable\"} 1");
    metric(&gateway, "buswire_certificate_end_seconds{listener=\"http\"} 0");
    // A proxy that went by 503 would keep the ACME server away for ever.
    let ready = readiness(&gateway);
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    assert!(ready.ends_with("\r\n\r\nready: no certificate yet\n"), "{ready}");
    let mut client = gateway.connect("http");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(!read_to_end(&mut client).contains("HTTP/1.1"), "nothing is served in clear");
    pebble.start(&json!({}));
    let root = pebble.root();
    wait_for("a certificate", || connect(pebble.gateway_port, "gw.example", &root).ok());
    metric(&gateway, "buswire_acme_failures_in_a_row 0");
    gateway.terminate();
}

#[test]
fn a_name_that_is_refused_is_said_and_not_asked_for_again_at_once() {
    let pebble = Pebble::started();
    let gateway = pebble.gateway("blocked.example");
    metric(&gateway, "buswire_acme_orders_total{result=\"refused\"} 1");
    metric(&gateway, "buswire_acme_failures_in_a_row 1");
    gateway.signal("TERM");
    let (_, log, directory) = gateway.ended_keeping_files();
    assert!(log.contains("no certificate was ordered"), "{log}");
    assert!(log.contains("blocked.example") && log.contains("rejectedIdentifier"), "{log}");
    // The rest is stored: a process that is started again and again must not use the account up.
    let mut settings = pebble.settings("blocked.example");
    settings.push(format!("data_dir={}", directory.path().join("data").display()));
    let again = start(&settings);
    metric(&again, "buswire_acme_failures_in_a_row 1");
    assert!(!again.get("ops", "/metrics").contains("buswire_acme_orders_total"));
    again.terminate();
    assert_eq!(pebble.orders(), 1, "{}", pebble.log());
}

#[test]
fn what_the_server_found_at_a_name_is_said() {
    let mut pebble = Pebble::new();
    pebble.start(&json!({ "tlsPort": free_port() }));
    let gateway = pebble.gateway("gw.example");
    metric(&gateway, "buswire_acme_orders_total{result=\"refused\"} 1");
    let log = gateway.log();
    assert!(log.contains("the ACME server refused gw.example: "), "{log}");
    assert!(log.contains("Failed to connect to 127.0.0.1:"), "{log}");
    gateway.terminate();
}

#[test]
fn any_gateway_answers_the_server_and_one_order_is_for_all() {
    let pebble = Pebble::started();
    let files = tempfile::tempdir().unwrap();
    let port = free_port();
    let directory = files.path().display().to_string();
    let number = port.to_string();
    let arguments =
        ["--bind", "127.0.0.1", "--port", &number, "--appendonly", "yes", "--dir", &directory];
    let _redis = Running::start("redis-server", &arguments, &files.path().join("log"));
    wait_for("redis", || TcpStream::connect(("127.0.0.1", port)).ok());
    let keys = "A".repeat(43);
    let shared = |further: &[String]| {
        let mut settings = pebble.settings("gw.example");
        settings.push(format!("store.url=redis://127.0.0.1:{port}"));
        settings.push(format!("belay.keys={keys}"));
        settings.extend_from_slice(further);
        start(&settings)
    };
    // The server is led to this one, which orders elsewhere, where nobody listens.
    let nowhere = format!("http.acme.directory=https://localhost:{}/dir", free_port());
    let asked = shared(&[nowhere]);
    let elsewhere = "http.listen=127.0.0.1:0".to_owned();
    let orders = shared(std::slice::from_ref(&elsewhere));
    let root = pebble.root();
    let shows = |gateway: &Gateway| {
        connect(gateway.address("http").port(), "gw.example", &root).ok().map(|(_, shown)| shown)
    };
    let certificate = wait_for("the certificate", || shows(&orders));
    let third = shared(&[elsewhere]);
    assert_eq!(shows(&third), Some(certificate), "it is there with the listener");
    assert_eq!(pebble.orders(), 1, "{}", pebble.log());
    let metrics = asked.get("ops", "/metrics");
    assert!(!metrics.contains("buswire_acme_orders_total{result=\"issued\"}"), "{metrics}");
    for gateway in [asked, orders, third] {
        gateway.terminate();
    }
}

/// An ACME server that was asked too often.
fn busy_server() -> u16 {
    let chain = vec![CertificateDer::from_pem_file(fixture("first.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("first.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let server = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(server, tcp.unwrap());
            let mut head = [0; 4096];
            let Ok(read) = stream.read(&mut head) else { continue };
            let answer = if head[..read].starts_with(b"POST") {
                let problem =
                    r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}"#;
                format!(
                    "HTTP/1.1 429 X\r\nRetry-After: 7200\r\nReplay-Nonce: n\r\nConnection: close\r\n\
                    Content-Length: {}\r\n\r\n{problem}",
                    problem.len()
                )
            } else {
                let base = format!("https://localhost:{port}");
                let body =
                    json!({ "newNonce": base, "newAccount": base, "newOrder": base }).to_string();
                let body = if head.starts_with(b"HEAD") { "" } else { &body };
                format!(
                    "HTTP/1.1 200 X\r\nReplay-Nonce: n\r\nConnection: close\r\n\
                    Content-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            let _gone = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _gone = stream.flush();
        }
    });
    port
}

#[test]
fn a_rate_limit_is_kept_as_long_as_the_server_says() {
    let pebble = Pebble::new();
    let mut settings = pebble.settings("gw.example");
    settings.push(format!("http.acme.directory=https://localhost:{}/dir", busy_server()));
    let gateway = start(&settings);
    metric(&gateway, "buswire_acme_orders_total{result=\"rate_limited\"} 1");
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("no certificate was ordered")).expect(&log);
    // Two hours, and at most a quarter by chance.
    let seconds: f64 =
        line.split("again_in=").nth(1).unwrap().trim_end_matches('s').parse().unwrap();
    assert!((7200.0..=9000.0).contains(&seconds), "{line}");
    gateway.terminate();
}

#[test]
fn settings_that_do_not_go_together_are_named() {
    let check = |settings: &[&str]| {
        let mut command = buswire(&["check-config"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let output = command.output().unwrap();
        (output.status.code(), common::stderr(&output))
    };
    let domains = "http.acme.domains=[\"gw.example\"]";
    let terms = "http.acme.accept_terms=true";
    assert_eq!(check(&[domains, terms]).0, Some(0));
    for (settings, key) in [
        (&[domains][..], "http.acme.accept_terms: must be true"),
        (
            &[domains, terms, "http.tls.cert=c", "http.tls.key=k"],
            "http.acme.domains: can't be set beside http.tls.cert",
        ),
        (
            &[domains, terms, "store.url=memory:"],
            "http.acme.domains: needs a store that outlives the process",
        ),
        (
            &["http.acme.domains=[\"*.example\"]", terms],
            "http.acme.domains[0]: \"*.example\": names with *",
        ),
        (&[domains, terms, "http.acme.directory=http://ca.example/"], "http.acme.directory: "),
        (&[domains, terms, "http.acme.contact=[\"ops\"]"], "http.acme.contact[0]: "),
    ] {
        let (code, text) = check(settings);
        assert_eq!(code, Some(64), "{settings:?}: {text}");
        assert!(text.contains(key), "{settings:?}: {text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let data_dir = format!("data_dir={}", folder.path().join("data").display());
    let missing = buswire(&["serve", "--set", &data_dir, "--set", domains])
        .args(["--set", terms, "--set", "http.acme.ca=/nonexistent/ca.pem"])
        .output()
        .unwrap();
    let told = common::stderr(&missing);
    assert_eq!(missing.status.code(), Some(1), "{told}");
    assert!(told.contains("/nonexistent/ca.pem can't be read"), "{told}");
}
