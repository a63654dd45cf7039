//! TLS to servers: the files that it needs, and what its errors mean.
//!
//! Never here: connecting.

use std::path::{Path, PathBuf};

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::config::RedisOpenError;

/// The files that TLS to the servers needs, in PEM. They are read at every connection, so that renewed
/// ones are taken at the next.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RedisTls {
    /// The certificates of the authorities that are trusted, and no others; `None` for those of the
    /// system.
    pub ca: Option<PathBuf>,
    /// What shows servers who we are; `None` where they don't ask.
    pub identity: Option<RedisIdentity>,
}

/// A certificate of this process and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisIdentity {
    /// The file of the certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// The file of its private key.
    pub key: PathBuf,
}

impl RedisTls {
    /// Reads the files; `None` if there are none. Blocks for as long as small files take.
    ///
    /// # Errors
    ///
    /// [`RedisOpenError::TlsFile`].
    pub(super) fn read(&self) -> Result<Option<TlsCertificates>, RedisOpenError> {
        if *self == Self::default() {
            return Ok(None);
        }
        let root_cert = self.ca.as_deref().map(certificates).transpose()?;
        let client_tls = match &self.identity {
            None => None,
            Some(RedisIdentity { certificate, key }) => Some(ClientTlsConfig {
                client_cert: certificates(certificate)?,
                client_key: private_key(key)?,
            }),
        };
        Ok(Some(TlsCertificates { client_tls, root_cert }))
    }
}

fn unusable(path: &Path, why: &impl ToString) -> RedisOpenError {
    RedisOpenError::TlsFile { path: path.to_owned(), detail: why.to_string() }
}

/// A file with at least one certificate.
fn certificates(path: &Path) -> Result<Vec<u8>, RedisOpenError> {
    let text = std::fs::read(path).map_err(|error| unusable(path, &error))?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        certificate.map_err(|error| unusable(path, &error))?;
        count += 1;
    }
    if count == 0 { Err(unusable(path, &"there is no certificate in it")) } else { Ok(text) }
}

/// A file with a private key. What is wrong with it is said without a word of it.
fn private_key(path: &Path) -> Result<Vec<u8>, RedisOpenError> {
    let text = std::fs::read(path).map_err(|error| unusable(path, &error))?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(unusable(path, &"there is no private key in it")),
    }
}

/// What went wrong with TLS, in words; `None` if it was something else.
///
/// By the texts of rustls: the library for Redis gives no way to the error itself, and of the nodes of a
/// cluster the text alone. The tests hold these texts.
pub(super) fn trouble(text: &str) -> Option<String> {
    let after = |start: &str| text.split_once(start).map(|(_, rest)| rest.to_owned());
    if let Some(why) = after("invalid peer certificate: ") {
        return Some(if why.starts_with("UnknownIssuer") {
            "its certificate is of an authority that is not trusted: name that in \
             store.redis.tls.ca"
                .to_owned()
        } else if why.starts_with("Expired") || why.contains("expired") {
            "its certificate has expired".to_owned()
        } else if why.starts_with("NotValidForName") || why.contains("not valid for") {
            "its certificate is for another name".to_owned()
        } else {
            format!("its certificate is not accepted ({why})")
        });
    }
    let alert = after("received fatal alert: ")?;
    Some(format!("it does not accept us ({alert}): see store.redis.tls.cert"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(tls: &RedisTls) -> String {
        tls.read().expect_err("the file is of no use").to_string()
    }

    #[test]
    fn files_of_no_use_are_named_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ca = |path: PathBuf| RedisTls { ca: Some(path), identity: None };
        assert!(matches!(RedisTls::default().read(), Ok(None)));
        let missing = refused(&ca(directory.path().join("missing.pem")));
        assert!(missing.contains("missing.pem") && missing.contains("No such file"), "{missing}");
        let empty = refused(&ca(file("empty.pem", "sesame\n")));
        assert!(empty.contains("empty.pem") && empty.contains("no certificate"), "{empty}");
        let key = "-----BEGIN PRIVATE KEY-----\nsesame!\n-----END PRIVATE KEY-----\n";
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let identity =
            RedisIdentity { certificate: file("cert.pem", pem), key: file("key.pem", key) };
        let wrong = refused(&RedisTls { ca: None, identity: Some(identity) });
        assert!(wrong.contains("key.pem") && !wrong.contains("sesame"), "{wrong}");
    }
}
