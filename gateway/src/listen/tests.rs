//! A listener with routes of its own, over real sockets.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{ConnectInfo, Request},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::{Inputs, TlsFiles, load};

const PATIENCE: Duration = Duration::from_secs(20);

struct Fixture {
    address: SocketAddr,
    connections: Connections,
    tasks: TaskTracker,
}

fn upgrade(tasks: &TaskTracker, request: Request) -> Response {
    let upgrading = hyper::upgrade::on(request);
    tasks.spawn(async move {
        let mut io = hyper_util::rt::TokioIo::new(upgrading.await.unwrap());
        let mut byte = [0];
        while io.read(&mut byte).await.is_ok_and(|read| read == 1) {
            io.write_all(&byte).await.unwrap();
        }
    });
    let headers = [("connection", "upgrade"), ("upgrade", "echo")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn channel(
    Extension(peer): Extension<Peer>,
    names: Option<Extension<ClientNames>>,
) -> String {
    format!("{:?} {:?}", peer.channel, names.map(|Extension(names)| names.0))
}

async fn start() -> Fixture {
    start_with(None).await
}

async fn start_with(tls: Option<TlsFiles>) -> Fixture {
    let mut limits = load(&Inputs::default()).unwrap().config.http.limits;
    limits.body_max = 8;
    limits.body_timeout = Duration::from_millis(200);
    let tasks = TaskTracker::new();
    let upgrading = tasks.clone();
    let router = Router::new()
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/panic", get(|| async { panic!("on purpose") as &'static str }))
        .route("/upgrade", get(move |request| async move { upgrade(&upgrading, request) }))
        .route("/channel", get(channel))
        .route(
            "/me",
            get(|ConnectInfo(me): ConnectInfo<SocketAddr>| async move { me.to_string() }),
        );
    let bound = bind("http.listen", &"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, connections) = (bound.address, Connections::new());
    let certificates = tls.map(|files| Arc::new(Certificates::load("http", files).unwrap()));
    let server = Server::new("test", bound, certificates, limits, router, connections.clone());
    tasks.spawn(server.run());
    Fixture { address, connections, tasks }
}

impl Fixture {
    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        let _reset = time::timeout(PATIENCE, read).await.expect("the other end closes");
        String::from_utf8(bytes).unwrap()
    }

    async fn ends(self) {
        self.connections.drain();
        self.tasks.close();
        time::timeout(PATIENCE, self.connections.closed()).await.expect("connections close");
        time::timeout(PATIENCE, self.tasks.wait()).await.expect("tasks end");
    }
}

#[tokio::test]
async fn a_body_is_bounded_in_bytes_and_in_time() {
    let fixture = start().await;
    let post = "POST /echo HTTP/1.1\r\nHost: t\r\nConnection: close\r\n";
    let short = fixture.exchange(&format!("{post}Content-Length: 8\r\n\r\n12345678")).await;
    assert!(short.starts_with("HTTP/1.1 200 ") && short.ends_with("\r\n\r\n12345678"), "{short}");
    let announced = fixture.exchange(&format!("{post}Content-Length: 9\r\n\r\n123456789")).await;
    assert!(announced.starts_with("HTTP/1.1 413 "), "{announced}");
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n");
    let chunked = fixture.exchange(&chunked).await;
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    let slow = fixture.exchange(&format!("{post}Content-Length: 8\r\n\r\n1234")).await;
    assert!(slow.starts_with("HTTP/1.1 400 "), "{slow}");
    fixture.ends().await;
}

#[tokio::test]
async fn a_panic_ends_one_connection() {
    let fixture = start().await;
    let answer = fixture.exchange("GET /panic HTTP/1.1\r\nHost: t\r\n\r\n").await;
    assert_eq!(answer, "");
    let me = fixture.exchange("GET /me HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
    assert!(me.contains("\r\n\r\n127.0.0.1:"), "{me}");
    fixture.ends().await;
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place() {
    let fixture = start().await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    let request =
        "GET /upgrade HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream.write_all(b"x").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');
    fixture.connections.drain();
    let closed = time::timeout(Duration::from_millis(100), fixture.connections.closed()).await;
    assert!(closed.is_err(), "the upgraded connection is still open");
    assert_eq!(fixture.connections.open(), 1);
    drop(stream);
    fixture.ends().await;
}

/// The type, stream and content of the next HTTP/2 frame.
async fn frame(stream: &mut TcpStream) -> (u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut content).await.unwrap();
    (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), content)
}

#[tokio::test]
async fn who_speaks_http2_is_told_to_go_and_may_come_back() {
    const DATA: u8 = 0;
    const GOAWAY: u8 = 7;
    let fixture = start().await;
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // HEADERS of stream 1, its last: GET http://t/me.
    let get = b"\0\0\x0a\x01\x05\0\0\0\x01\x82\x86\x04\x03/me\x01\x01t";
    stream.write_all(get).await.unwrap();
    let next = async |stream: &mut TcpStream, kind: u8| {
        let wanted = async {
            loop {
                let (at, of, content) = frame(stream).await;
                assert!(at == kind || at != GOAWAY, "{content:?}");
                if at == kind {
                    return (of, content);
                }
            }
        };
        time::timeout(PATIENCE, wanted).await.expect("the frame")
    };
    let (of, content) = next(&mut stream, DATA).await;
    assert!(of == 1 && content.starts_with(b"127.0.0.1:"), "{of} {content:?}");
    fixture.connections.retire();
    let (_, content) = next(&mut stream, GOAWAY).await;
    assert_eq!(content[4..8], [0; 4], "no error");
    let me = fixture.exchange("GET /me HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
    assert!(me.contains("\r\n\r\n127.0.0.1:"), "{me}");
    drop(stream);
    fixture.ends().await;
}

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls_files").join(name)
}

/// A client that trusts the server and may show a certificate.
fn client(shown: Option<&str>) -> TlsConnector {
    let certificate = |name: &str| CertificateDer::from_pem_file(pem(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("first.pem")).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(pem(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![certificate(&format!("{name}.pem"))], key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn certificates_are_looked_at_at_once_and_every_minute() {
    let (links, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str| links.path().join(name);
    let install = |name: &str| {
        for kind in ["pem", "key"] {
            std::fs::copy(pem(&format!("{name}.{kind}")), directory.path().join(kind)).unwrap();
        }
    };
    // Changes behind a link are not told by the operating system.
    for kind in ["pem", "key"] {
        std::os::unix::fs::symlink(directory.path().join(kind), file(kind)).unwrap();
    }
    install("first");
    let files = TlsFiles { cert: file("pem"), key: file("key"), client_ca: None, client_crl: None };
    let certificates = Arc::new(Certificates::load("http", files).unwrap());
    let first = certificates.current();
    install("second");
    let stop = tokio_util::sync::CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(watch_certificates(vec![certificates.clone()], stop.clone()));
    time::sleep(Duration::from_secs(1)).await;
    let second = certificates.current();
    assert!(!Arc::ptr_eq(&first, &second), "what changed before it watched");
    install("first");
    time::sleep(Duration::from_secs(58)).await;
    assert!(Arc::ptr_eq(&second, &certificates.current()), "nobody was told");
    time::sleep(Duration::from_secs(2)).await;
    assert!(!Arc::ptr_eq(&second, &certificates.current()), "a minute is over");
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_client_certificate_must_be_of_a_known_authority() {
    let files = TlsFiles {
        cert: pem("first.pem"),
        key: pem("first.key"),
        client_ca: Some(pem("authority.pem")),
        client_crl: None,
    };
    let fixture = start_with(Some(files)).await;
    let request = b"GET /channel HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    for (shown, expect) in [
        (None, Some("\r\n\r\nTls None")),
        (Some("client"), Some("\r\n\r\nTls Some([\"client\"])")),
        (Some("second"), None),
    ] {
        let tcp = TcpStream::connect(fixture.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let answer = async {
            let mut stream = client(shown).connect(name, tcp).await?;
            stream.write_all(request).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok::<_, std::io::Error>(text)
        };
        let answer = time::timeout(PATIENCE, answer).await.expect("the other end closes");
        match expect {
            Some(end) => assert!(answer.as_ref().unwrap().ends_with(end), "{answer:?}"),
            None => assert!(answer.is_err(), "{answer:?}"),
        }
    }
    fixture.ends().await;
}
