//! Certificates that somebody orders, and the proof that they are asked for (RFC 8737).
//!
//! Never here: ordering one.

use std::{fmt, io, sync::Arc};

use futures::future::BoxFuture;
use rustls::{
    ServerConfig,
    server::{Acceptor, ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::tls::Certificates;

/// The protocol that an ACME server asks for when it checks a name (RFC 8737 §4).
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// Knows what proves to an ACME server that it reached us.
pub trait ChallengeAnswers: Send + Sync {
    /// What a handshake for `name` is answered with; `None` if nothing is to be proven there. Strangers
    /// may ask for any name.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    fn answer<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Arc<ServerConfig>>>;
}

/// Has no certificate, so that every handshake fails.
#[derive(Debug)]
pub(super) struct NoCertificate;

impl ResolvesServerCert for NoCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

impl fmt::Debug for dyn ChallengeAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChallengeAnswers")
    }
}

/// Accepts a connection, or answers a challenge on it and closes it: `None` then.
pub(super) async fn accept(
    certificates: &Certificates,
    answers: &dyn ChallengeAnswers,
    tcp: TcpStream,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
    if !is_challenge(&start.client_hello()) {
        return start.into_stream(certificates.current()).await.map(Some);
    }
    let name = start.client_hello().server_name().map(str::to_owned);
    let answer = match name {
        Some(name) => answers.answer(&name).await,
        None => None,
    };
    let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
    // RFC 8737 §3: once it has seen the certificate, the server closes.
    start.into_stream(answer).await?.shutdown().await?;
    Ok(None)
}

/// Whether a hello is a challenge: it asks for that protocol and no other.
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let Some(mut protocols) = hello.alpn() else { return false };
    protocols.next() == Some(ACME_TLS_ALPN) && protocols.next().is_none()
}
