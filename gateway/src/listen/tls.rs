//! Certificates of a listener, read again when their files change.
//!
//! One provider of cryptography is used everywhere: aws-lc. Never here: a socket.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _};

use super::certificate;
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
    /// A file holds no certificate.
    #[error("{key}: {} holds no certificate", path.display())]
    Empty {
        /// The key of the setting.
        key: String,
        /// The file.
        path: PathBuf,
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

/// The certificates of one listener. [`refresh`](Self::refresh) reads them again; a handshake takes
/// those that were read last. The metric `buswire_certificate_end_seconds` says when the first of
/// them ends, in seconds since 1970.
pub struct Certificates {
    listener: &'static str,
    files: TlsFiles,
    // A lock is enough: it is held for one clone per handshake.
    current: RwLock<Arc<ServerConfig>>,
    /// What the files held when they were last read, in the order of [`files`](Self::files); held
    /// while they are read again.
    seen: Mutex<Vec<Option<Vec<u8>>>>,
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
        Ok(Self { listener, files, current, seen })
    }

    /// Reads them again, if the files have changed. If they can't be used that is logged and counted,
    /// and those that were read before stay in use.
    pub fn refresh(&self) {
        let listener = self.listener;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = contents(&self.files);
        if *seen == contents {
            return;
        }
        *seen = contents;
        match read(listener, &self.files) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                tracing::info!(listener, "certificates were read again");
            }
            Err(error) => {
                metrics::counter!("buswire_reload_failures_total").increment(1);
                let why = crate::cli::chain(&error);
                tracing::error!(listener, why, "certificates stay as they were");
            }
        }
    }

    /// What the next handshake takes.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The files.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        paths(&self.files)
    }
}

fn paths(files: &TlsFiles) -> impl Iterator<Item = &Path> {
    let TlsFiles { cert, key, client_ca } = files;
    [Some(cert), Some(key), client_ca.as_ref()].into_iter().flatten().map(PathBuf::as_path)
}

fn contents(files: &TlsFiles) -> Vec<Option<Vec<u8>>> {
    paths(files).map(|path| fs::read(path).ok()).collect()
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(listener: &'static str, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let chain = certificates(format!("{listener}.tls.cert"), &files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| TlsError::File {
        key: format!("{listener}.tls.key"),
        path: files.key.clone(),
        source,
    })?;
    let pair = |source| TlsError::Pair { listener, source };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(format!("{listener}.tls.client_ca"), path)? {
                roots.add(authority).map_err(pair)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|source| TlsError::Authorities { listener, source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let end = chain.iter().filter_map(certificate::ends_at).min();
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if let Some(end) = end {
        // Exact until long after the year 9999.
        #[expect(clippy::cast_precision_loss, reason = "a time of this millennium is exact")]
        metrics::gauge!("buswire_certificate_end_seconds", "listener" => listener).set(end as f64);
    }
    Ok(config)
}

fn certificates(key: String, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match list {
        Ok(list) if list.is_empty() => Err(TlsError::Empty { key, path: path.to_owned() }),
        Ok(list) => Ok(list),
        Err(source) => Err(TlsError::File { key, path: path.to_owned(), source }),
    }
}
