//! Certificates of listeners and of clients: what outlives a new one, who comes back, who is refused.

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
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use common::{Gateway, buswire, stderr, wait_for};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
    crypto::aws_lc_rs,
    sign::{CertifiedKey, SingleCertAndKey},
    version,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls_files").join(name)
}

fn text(name: &str) -> String {
    fixture(name).display().to_string()
}

/// A gateway whose public certificate can be changed.
fn start(settings: &[&str]) -> (Gateway, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    install(&directory, "first");
    let cert = format!("http.tls.cert={}", directory.path().join("cert.pem").display());
    let key = format!("http.tls.key={}", directory.path().join("key.pem").display());
    let all: Vec<&str> = [&*cert, &*key].into_iter().chain(settings.iter().copied()).collect();
    (Gateway::start(&all), directory)
}

fn install(directory: &TempDir, name: &str) {
    fs::copy(fixture(&format!("{name}.pem")), directory.path().join("cert.pem")).unwrap();
    fs::copy(fixture(&format!("{name}.key")), directory.path().join("key.pem")).unwrap();
}

/// A client that trusts both certificates, and remembers sessions.
fn client(versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for name in ["first.pem", "second.pem"] {
        roots.add(CertificateDer::from_pem_file(fixture(name)).unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(gateway: &Gateway, config: &Arc<ClientConfig>) -> Tls {
    connect_to(gateway, "http", config)
}

fn connect_to(gateway: &Gateway, listener: &str, config: &Arc<ClientConfig>) -> Tls {
    let connection = ClientConnection::new(config.clone(), "localhost".try_into().unwrap());
    let mut stream = StreamOwned::new(connection.unwrap(), gateway.connect(listener));
    stream.conn.complete_io(&mut stream.sock).unwrap();
    stream
}

fn shown(stream: &Tls) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// Waits until new connections see another certificate than `old` saw.
fn wait_for_another(gateway: &Gateway, config: &Arc<ClientConfig>, old: &Tls) {
    wait_for("the new certificate", || {
        (shown(&connect(gateway, config)) != shown(old)).then_some(())
    });
}

fn read_until(stream: &mut Tls, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed after {bytes:?}");
        bytes.push(byte[0]);
    }
    bytes
}

#[test]
fn a_websocket_outlives_the_certificate_that_it_came_over() {
    let (gateway, directory) = start(&[]);
    let config = client(rustls::ALL_VERSIONS, &[]);
    let mut stream = connect(&gateway, &config);
    stream
        .write_all(
            b"GET /push HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    assert!(read_until(&mut stream, b"\r\n\r\n").starts_with(b"HTTP/1.1 101 "));
    install(&directory, "second");
    wait_for_another(&gateway, &config, &stream);
    // RFC 6455 §5.2: a masked text frame; the mask is zero.
    let hello = br#"{"messageType":"hello","uaid":"","channelIDs":[]}"#;
    let mut frame = vec![0x81, 0x80 | u8::try_from(hello.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(hello);
    stream.write_all(&frame).unwrap();
    let answer = read_until(&mut stream, b"}");
    assert!(String::from_utf8_lossy(&answer).contains(r#""status":200"#), "{answer:?}");
    gateway.terminate();
}

#[test]
fn an_http_2_stream_outlives_the_certificate_that_it_came_over() {
    let (gateway, directory) = start(&["buses=[{name = \"b\"}]", "admin.token=t"]);
    let url = |path: &str| format!("https://localhost:{}{path}", gateway.address("http").port());
    let curl = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--insecure",
            "--http2",
            "--write-out",
            "\n%{http_version} %{http_code}",
        ]);
        curl.arg(url(path)).stdout(Stdio::piped()).spawn().unwrap()
    };
    let read = |curl: std::process::Child| {
        String::from_utf8(curl.wait_with_output().unwrap().stdout).unwrap()
    };
    let token = read(curl("/v2/token?callback=f&bus=b"));
    // The channel of an anonymous token is its own (Backplane §8).
    let channel = token.split("channel:").nth(1).expect(&token);
    let channel = channel.split([' ', '"']).next().unwrap().to_owned();
    let token = token.split("\"access_token\":\"").nth(1).expect(&token).split('"').next().unwrap();
    let mut poll = curl(&format!("/v2/messages?access_token={token}&block=25"));
    wait_for("the poll", || {
        let metrics = gateway.get("ops", "/metrics");
        metrics.contains("buswire_connections{listener=\"http\"} 1").then_some(())
    });
    let config = client(rustls::ALL_VERSIONS, &[]);
    let old = connect(&gateway, &config);
    install(&directory, "second");
    wait_for_another(&gateway, &config, &old);
    assert!(poll.try_wait().unwrap().is_none(), "the poll ended before the new certificate");
    let message = ["--bus", "b", "--channel", &channel, "--type", "outlived", "--payload", "1"];
    let posted = gateway.administer(&[&["message", "publish"][..], &message].concat());
    assert!(posted.status.success(), "{}", stderr(&posted));
    let answer = read(poll);
    assert!(answer.contains(r#""type":"outlived""#), "{answer}");
    assert!(answer.ends_with("\n2 200"), "{answer}");
    gateway.terminate();
}

#[test]
fn sessions_are_resumed_until_certificates_are_read_again() {
    let (gateway, directory) = start(&[]);
    for (only, next) in [(&version::TLS12, "second"), (&version::TLS13, "first")] {
        let config = client(&[only], &["http/1.1"]);
        let visit = || {
            let mut stream = connect(&gateway, &config);
            stream
                .write_all(b"GET /nowhere HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                .unwrap();
            // Tickets of TLS 1.3 come after the handshake.
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            (stream.conn.handshake_kind(), stream)
        };
        wait_for("a session that is resumed", || {
            (visit().0 == Some(HandshakeKind::Resumed)).then_some(())
        });
        let log = || gateway.log().matches("certificates were read again").count();
        let before = log();
        install(&directory, next);
        wait_for("the new certificate", || (log() > before).then_some(()));
        assert_ne!(visit().0, Some(HandshakeKind::Resumed), "{only:?}");
    }
    gateway.terminate();
}

#[test]
fn who_shows_a_client_certificate_shows_it_at_each_connection() {
    // A session that is resumed has the certificate of the first handshake, which may have expired since.
    let checked = Checked::start("none.crl");
    for only in [&version::TLS12, &version::TLS13] {
        let mut config = client(&[only], &["http/1.1"]).as_ref().clone();
        let chain = vec![CertificateDer::from_pem_file(fixture("kept.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(fixture("kept.key")).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        config.client_auth_cert_resolver =
            Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
        let config = Arc::new(config);
        for _ in 0..3 {
            let mut stream = connect_to(&checked.gateway, "admin", &config);
            stream
                .write_all(b"GET /nowhere HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                .unwrap();
            // Tickets of TLS 1.3 come after the handshake.
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
            assert_ne!(stream.conn.handshake_kind(), Some(HandshakeKind::Resumed), "{only:?}");
        }
    }
    checked.gateway.terminate();
}

/// What OpenSSL says of a handshake.
fn openssl(gateway: &Gateway, arguments: &[&str]) -> String {
    let address = gateway.address("http").to_string();
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &address]).args(arguments).stdin(Stdio::null());
    let Output { stdout, stderr, .. } = client.output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}

#[test]
fn only_tls_1_2_and_1_3_are_spoken_and_http_is_agreed_on() {
    let (gateway, _directory) = start(&[]);
    for (version, spoken) in
        [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)]
    {
        let said = openssl(&gateway, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert_eq!(said.contains("BEGIN CERTIFICATE"), spoken, "{version}: {said}");
        assert_eq!(said.contains("SSL alert number"), !spoken, "{version}: {said}");
    }
    for (alpn, agreed) in [
        ("h2,http/1.1", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
        ("smtp", "no application protocol"),
        // What an ACME server asks for is answered only where certificates are ordered.
        ("acme-tls/1", "no application protocol"),
    ] {
        let said = openssl(&gateway, &["-alpn", alpn]);
        assert!(said.contains(agreed), "{alpn}: {said}");
    }
    gateway.terminate();
}

/// An admin listener that checks client certificates by a list that can be changed.
struct Checked {
    gateway: Gateway,
    lists: TempDir,
}

impl Checked {
    fn start(list: &str) -> Self {
        let lists = tempfile::tempdir().unwrap();
        fs::copy(fixture(list), lists.path().join("crl.pem")).unwrap();
        let settings = [
            format!("admin.tls.cert={}", text("first.pem")),
            format!("admin.tls.key={}", text("first.key")),
            format!("admin.tls.client_ca={}", text("issuer.pem")),
            format!("admin.tls.client_crl={}", lists.path().join("crl.pem").display()),
            r#"admin.tls.roles=[{name = "kept", role = "viewer"}, {name = "revoked", role = "viewer"}]"#.to_owned(),
        ];
        let gateway = Gateway::start(&settings.each_ref().map(String::as_str));
        Self { gateway, lists }
    }

    /// Lists the buses as the holder of a certificate.
    fn list_as(&self, name: &str) -> Result<(), String> {
        let url = format!("https://localhost:{}", self.gateway.address("admin").port());
        let mut command = buswire(&["bus", "list", "--admin", &url, "--ca", &text("first.pem")]);
        command.current_dir(self.gateway.directory.path());
        command.args([
            "--cert",
            &text(&format!("{name}.pem")),
            "--key",
            &text(&format!("{name}.key")),
        ]);
        let output = command.output().unwrap();
        if output.status.success() { Ok(()) } else { Err(stderr(&output)) }
    }
}

#[test]
fn a_client_certificate_is_refused_once_it_is_on_the_list() {
    let checked = Checked::start("none.crl");
    assert_eq!(checked.list_as("kept"), Ok(()));
    assert_eq!(checked.list_as("revoked"), Ok(()));
    fs::copy(fixture("revoked.crl"), checked.lists.path().join("crl.pem")).unwrap();
    wait_for("the refusal", || checked.list_as("revoked").err());
    assert_eq!(checked.list_as("kept"), Ok(()));
    checked.gateway.terminate();
}

#[test]
fn a_list_that_is_out_of_date_or_of_another_authority_lets_nobody_pass() {
    let checked = Checked::start("stale.crl");
    assert!(checked.list_as("kept").is_err(), "nobody knows what was revoked since");
    // A file that is no list changes nothing.
    fs::write(checked.lists.path().join("crl.pem"), "-----BEGIN NOTHING-----").unwrap();
    checked.gateway.signal("HUP");
    wait_for("the complaint", || {
        checked.gateway.log().contains("admin.tls.client_crl: ").then_some(())
    });
    assert!(checked.list_as("kept").is_err());
    fs::copy(fixture("none.crl"), checked.lists.path().join("crl.pem")).unwrap();
    wait_for("the new list", || checked.list_as("kept").ok());
    // `client` is of another authority, whatever the list says.
    assert!(checked.list_as("client").is_err());
    checked.gateway.terminate();
}

#[test]
fn a_certificate_without_a_role_is_told_what_it_lacks() {
    let settings = [
        format!("admin.tls.cert={}", text("first.pem")),
        format!("admin.tls.key={}", text("first.key")),
        format!("admin.tls.client_ca={}", text("issuer.pem")),
        r#"admin.tls.roles=[{name = "somebody.else", role = "viewer"}]"#.to_owned(),
    ];
    let gateway = Gateway::start(&settings.each_ref().map(String::as_str));
    let checked = Checked { gateway, lists: tempfile::tempdir().unwrap() };
    let refused = checked.list_as("kept").unwrap_err();
    assert!(
        refused.contains("the client certificate has no role in admin.tls.roles; send a token"),
        "{refused}"
    );
    checked.gateway.terminate();
}

#[test]
fn files_that_are_no_certificates_are_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem").display().to_string();
    fs::write(&empty, "").unwrap();
    let (first, key, second) = (text("first.pem"), text("first.key"), text("second.key"));
    let missing = "/nonexistent/x.pem";
    for (listener, pairs, expect) in [
        (
            "http",
            vec![("cert", missing), ("key", &*key)],
            "http.tls.cert: /nonexistent/x.pem can't be read".to_owned(),
        ),
        (
            "ops",
            vec![("cert", &*first), ("key", missing)],
            "ops.tls.key: /nonexistent/x.pem can't be read".to_owned(),
        ),
        (
            "http",
            vec![("cert", &*empty), ("key", &*key)],
            format!("http.tls.cert: {empty} holds no certificate"),
        ),
        (
            "admin",
            vec![("cert", &*first), ("key", &*second)],
            "admin.tls: certificate and key can't be used".to_owned(),
        ),
        (
            "admin",
            vec![("cert", &*first), ("key", &*key), ("client_ca", &*empty)],
            format!("admin.tls.client_ca: {empty} holds no certificate"),
        ),
        (
            "admin",
            vec![
                ("cert", &*first),
                ("key", &*key),
                ("client_ca", &*first),
                ("client_crl", &*empty),
            ],
            format!("admin.tls.client_crl: {empty} holds no revocation list"),
        ),
    ] {
        let mut command = buswire(&["serve", "--set", "store.url=memory:"]);
        command.current_dir(directory.path());
        for (name, file) in pairs {
            command.args(["--set", &format!("{listener}.tls.{name}={file}")]);
        }
        let output = command.output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&expect), "{expect}: {said}");
    }
}
