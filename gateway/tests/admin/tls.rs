//! The admin interface behind TLS, and how the commands get there.

use std::{net::SocketAddr, path::Path, sync::Arc};

use axum::serve::Listener;
use buswire::admin::AdminLimits;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    commands::execute,
    fakes::Fake,
    support::{Server, TOKEN},
};

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

fn file(name: &str) -> String {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls_files");
    files.join(name).to_str().unwrap().to_owned()
}

async fn server() -> Server {
    let certificate = CertificateDer::from_pem_file(file("first.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("first.key")).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
    Server::on(listener, address, AdminLimits::default(), Fake::ports(), |router| router).await
}

#[tokio::test]
async fn a_command_trusts_what_it_is_told_to() {
    let server = server().await;
    let url = format!("https://localhost:{}", server.address.port());
    let status = ["status", "--output", "json", "--token", TOKEN, "--admin", &url];
    let (known, stranger) = (file("first.pem"), file("second.pem"));
    let done = execute(&[&status[..], &["--ca", &known]].concat()).await.unwrap();
    assert!(done.starts_with("{\"version\":\"0.1.0\""), "{done}");
    let failed = execute(&[&status[..], &["--ca", &stranger]].concat()).await.unwrap_err();
    assert!(failed.starts_with("buswire: can't reach the gateway at https://"), "{failed}");
    assert!(failed.contains("certificate") && failed.lines().count() == 1, "{failed}");
    let failed = execute(&status).await.unwrap_err();
    assert!(failed.starts_with("buswire: --admin is https: give --ca"), "{failed}");
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named() {
    let url = "https://localhost:1";
    let key = file("first.key");
    let failed = execute(&["status", "--admin", url, "--token", "x", "--ca", &key]).await;
    let failed = failed.unwrap_err();
    assert!(failed.starts_with("buswire: "), "{failed}");
    let failed = execute(&["status", "--admin", url, "--token", "x", "--ca", "absent"]).await;
    assert!(failed.unwrap_err().starts_with("buswire: can't read absent: "));
}
