//! Certificates of a listener, read again when their files change.
//!
//! One provider of cryptography is used everywhere: aws-lc. Never here: a socket.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use buswire_message::Timestamp;
use rustls::{
    ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier,
    crypto::aws_lc_rs,
    server::{
        NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem, pem::PemObject,
};

use super::{
    certificate,
    ordered::{ChallengeAnswers, NoCertificate},
};
use crate::config::TlsFiles;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is not PEM.
    #[error("{key}: {} can't be read", path.display())]
    File {
        /// The key of the setting.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file holds none of what it should.
    #[error("{key}: {} holds no {what}", path.display())]
    Empty {
        /// The key of the setting.
        key: String,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("{listener}.tls: certificate and key can't be used")]
    Pair {
        /// The listener.
        listener: &'static str,
        /// Why.
        source: rustls::Error,
    },
    /// The authorities of client certificates can't be used.
    #[error("{listener}.tls.client_ca: the authorities can't be used")]
    Authorities {
        /// The listener.
        listener: &'static str,
        /// Why.
        source: VerifierBuilderError,
    },
}

/// The certificates of one listener. [`refresh`](Self::refresh) reads them again, if they come from
/// files; [`install`](Self::install) takes one that was ordered; a handshake takes what was read or
/// installed last. The metric `buswire_certificate_end_seconds` says when the first of them ends, in
/// seconds since 1970; 0 if there is none yet.
pub struct Certificates {
    listener: &'static str,
    source: Source,
    // A lock is enough: it is held for one clone per handshake.
    current: RwLock<Arc<ServerConfig>>,
}

/// Where certificates come from.
enum Source {
    Files {
        files: TlsFiles,
        /// What the files held when they were last read, in the order of [`paths`]; held while they are
        /// read again.
        seen: Mutex<Vec<Option<Vec<u8>>>>,
    },
    Ordered(Arc<dyn ChallengeAnswers>),
}

impl Certificates {
    /// Reads the certificates of `listener`.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn load(listener: &'static str, files: TlsFiles) -> Result<Self, TlsError> {
        // First what they hold, then what that means: what changes in between is noticed later.
        let seen = Mutex::new(contents(&files));
        let current = RwLock::new(Arc::new(read(listener, &files)?));
        Ok(Self { listener, source: Source::Files { files, seen }, current })
    }

    /// Certificates that are ordered. Until one is [installed](Self::install) every handshake fails, but
    /// for those that `answers` knows.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pair`] if the provider of cryptography can't be used.
    pub fn ordered(
        listener: &'static str,
        answers: Arc<dyn ChallengeAnswers>,
    ) -> Result<Self, TlsError> {
        let config = builder().map_err(|source| TlsError::Pair { listener, source })?;
        let config = config.with_no_client_auth().with_cert_resolver(Arc::new(NoCertificate));
        show_end(listener, 0);
        let current = RwLock::new(Arc::new(config));
        Ok(Self { listener, source: Source::Ordered(answers), current })
    }

    /// Takes a certificate that was ordered, for the next handshake. Returns when the first of the chain
    /// begins and ends.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pair`], [`TlsError::Empty`]; the one before stays in use then.
    pub fn install(
        &self,
        chain: &[CertificateDer<'static>],
        key: PrivateKeyDer<'static>,
    ) -> Result<(Timestamp, Timestamp), TlsError> {
        let listener = self.listener;
        let validity = chain.first().and_then(certificate::validity);
        let (from, to) = validity.ok_or_else(|| TlsError::Empty {
            key: format!("{listener}.acme"),
            path: PathBuf::from("the store"),
            what: "certificate",
        })?;
        let pair = |source| TlsError::Pair { listener, source };
        let config = builder().map_err(pair)?.with_no_client_auth();
        self.replace(with_tickets(config.with_single_cert(chain.to_vec(), key).map_err(pair)?));
        show_end(listener, end(chain).unwrap_or_default());
        Ok((from, to))
    }

    /// Reads them again, if they come from files that have changed. If they can't be used that is logged
    /// and counted, and those that were read before stay in use.
    pub fn refresh(&self) {
        let Source::Files { files, seen } = &self.source else { return };
        let listener = self.listener;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = contents(files);
        if *seen == contents {
            return;
        }
        *seen = contents;
        match read(listener, files) {
            Ok(fresh) => {
                self.replace(fresh);
                tracing::info!(listener, "certificates were read again");
            }
            Err(error) => {
                metrics::counter!("buswire_reload_failures_total").increment(1);
                let why = crate::cli::chain(&error);
                tracing::error!(listener, why, "certificates stay as they were");
            }
        }
    }

    fn replace(&self, fresh: ServerConfig) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
    }

    /// What the next handshake takes.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who answers an ACME server, if the certificates are ordered.
    pub(super) fn answers(&self) -> Option<&dyn ChallengeAnswers> {
        match &self.source {
            Source::Files { .. } => None,
            Source::Ordered(answers) => Some(&**answers),
        }
    }

    /// The files; none if the certificates are ordered.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let files = match &self.source {
            Source::Files { files, .. } => Some(files),
            Source::Ordered(_) => None,
        };
        files.into_iter().flat_map(paths)
    }
}

fn paths(files: &TlsFiles) -> impl Iterator<Item = &Path> {
    let TlsFiles { cert, key, client_ca, client_crl } = files;
    let all = [Some(cert), Some(key), client_ca.as_ref(), client_crl.as_ref()];
    all.into_iter().flatten().map(PathBuf::as_path)
}

fn contents(files: &TlsFiles) -> Vec<Option<Vec<u8>>> {
    paths(files).map(|path| fs::read(path).ok()).collect()
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("listener", &self.listener).finish_non_exhaustive()
    }
}

fn read(listener: &'static str, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain =
        pem_file::<CertificateDer<'_>>(format!("{listener}.tls.cert"), &files.cert, "certificate")?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::File {
        key: format!("{listener}.tls.key"),
        path: files.key.clone(),
        source,
    })?;
    let pair = |source| TlsError::Pair { listener, source };
    let builder = builder().map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let crl = files.client_crl.as_deref();
            builder.with_client_cert_verifier(verifier(listener, authorities, crl)?)
        }
    };
    let end = end(&chain);
    let config = builder.with_single_cert(chain, key).map_err(pair)?;
    let config =
        if files.client_ca.is_some() { without_resumption(config) } else { with_tickets(config) };
    if let Some(end) = end {
        show_end(listener, end);
    }
    Ok(config)
}

/// Checks client certificates that are shown: signed by one of the authorities, and, if there are lists
/// of revoked ones, in none of them. Who is on no list because his authority has none is refused, and so
/// is everybody once a list is out of date: whoever keeps lists means it.
fn verifier(
    listener: &'static str,
    authorities: &Path,
    crl: Option<&Path>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let pair = |source| TlsError::Pair { listener, source };
    let mut roots = RootCertStore::empty();
    let key = format!("{listener}.tls.client_ca");
    for authority in pem_file::<CertificateDer<'_>>(key, authorities, "certificate")? {
        roots.add(authority).map_err(pair)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated();
    if let Some(path) = crl {
        let key = format!("{listener}.tls.client_crl");
        let lists = pem_file::<CertificateRevocationListDer<'_>>(key, path, "revocation list")?;
        verifier = verifier
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
    }
    verifier.build().map_err(|source| TlsError::Authorities { listener, source })
}

/// TLS 1.2 and 1.3 with the one provider.
fn builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, rustls::Error> {
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
}

/// Of a listener that checks no client: tickets let any number of clients come back without a whole
/// handshake. They end with this configuration.
fn with_tickets(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = protocols();
    // Without random numbers there is the cache of sessions.
    if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    config
}

/// Of a listener that checks client certificates: nobody comes back without a whole handshake. A resumed
/// session has the certificate of the first handshake, and nothing looks again whether it has expired, or
/// whether the list of revoked ones is still up to date.
fn without_resumption(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = protocols();
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

/// What all listeners agree on.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// When the first of them ends, in seconds since 1970.
fn end(chain: &[CertificateDer<'_>]) -> Option<i64> {
    chain.iter().filter_map(certificate::ends_at).min()
}

// Exact until long after the year 9999.
#[expect(clippy::cast_precision_loss, reason = "a time of this millennium is exact")]
fn show_end(listener: &'static str, end: i64) {
    metrics::gauge!("buswire_certificate_end_seconds", "listener" => listener).set(end as f64);
}

/// All sections of one kind in a PEM file; one or more.
fn pem_file<T: PemObject>(
    key: String,
    path: &Path,
    what: &'static str,
) -> Result<Vec<T>, TlsError> {
    let list: Result<Vec<_>, _> = T::pem_file_iter(path).and_then(Iterator::collect);
    match list {
        Ok(list) if list.is_empty() => Err(TlsError::Empty { key, path: path.to_owned(), what }),
        Ok(list) => Ok(list),
        Err(source) => Err(TlsError::File { key, path: path.to_owned(), source }),
    }
}
