//! Certificates of a test's own.
//!
//! Never here: who shows or checks them.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// An authority that issues certificates by `openssl`; its files go when it is dropped.
///
/// Its methods block, and panic where a test could not go on.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

/// The files of a certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority, which nobody trusts yet.
    pub fn new() -> Self {
        let authority = Self { directory: tempfile::tempdir().expect("a temporary folder") };
        // Each is called something else, as authorities are.
        let folder = authority.directory.path().file_name().unwrap_or_default();
        let subject = format!("/CN=authority {}", folder.display());
        let new = ["req", "-x509", "-days", "2", "-subj", &subject, "-out", "ca.pem"];
        authority.openssl(&new, "ca");
        authority
    }

    /// The file of its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Issues a certificate for what is named as `DNS:localhost,IP:127.0.0.1`, for so many days from
    /// now on; one for -1 days has expired. The files are called by `file`.
    pub fn issue(&self, file: &str, names: &str, days: i32) -> Certificate {
        let (request, certificate) = (format!("{file}.csr"), format!("{file}.pem"));
        self.openssl(&["req", "-subj", "/CN=a test", "-out", &request], file);
        let extensions = format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n");
        fs::write(self.path("extensions"), extensions).expect("a file can be written");
        let days = days.to_string();
        let sign = ["x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
        let rest = ["-days", &days, "-extfile", "extensions", "-in", &request, "-out"];
        self.run(&[&sign[..], &rest[..], &[&certificate]].concat());
        Certificate { certificate: self.path(&certificate), key: self.path(&format!("{file}.key")) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `openssl` with a new key that is called by `file`.
    fn openssl(&self, arguments: &[&str], file: &str) {
        let key = format!("{file}.key");
        let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        self.run(&[arguments, &new[..], &["-keyout", &key]].concat());
    }

    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(self.directory.path());
        let output = command.output().expect("openssl is installed: apt-get install openssl");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {told}");
    }
}

impl Certificate {
    /// The options of `redis-server` that make it show this certificate and trust those of `ca`. Beside
    /// its port without TLS it has one with TLS.
    pub fn redis_options(&self, ca: &Path, tls_port: u16) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        [
            ("--tls-port", tls_port.to_string()),
            ("--tls-cert-file", path(&self.certificate)),
            ("--tls-key-file", path(&self.key)),
            ("--tls-ca-cert-file", path(ca)),
        ]
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect()
    }
}
