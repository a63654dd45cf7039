//! What is read of a certificate that was verified, or is our own: names and the end of its validity.
//!
//! Never here: whether to trust it; rustls decides that.

use std::sync::Arc;

use buswire_message::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    parse_x509_certificate,
};

/// The names in the certificate of a client that was verified, for whoever gives names a role. In the
/// extensions of each request of a connection that showed one.
#[derive(Clone, Debug)]
pub struct ClientNames(pub Arc<[String]>);

impl ClientNames {
    /// The DNS names, URIs and addresses of mail in the subject's alternative names (RFC 5280
    /// §4.2.1.6), or else its common name. None if there are none, or if it can't be read.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let names = parse(certificate).map(|parsed| names(&parsed)).unwrap_or_default();
        Self(names.into())
    }
}

/// When a certificate ends, in seconds since 1970; `None` if it can't be read.
pub(super) fn ends_at(certificate: &CertificateDer<'_>) -> Option<i64> {
    Some(parse(certificate)?.validity().not_after.timestamp())
}

/// When a certificate begins and ends; `None` if it can't be read.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let parsed = parse(certificate)?;
    let validity = parsed.validity();
    // Before 1970 is as good as 1970.
    let at = |seconds: i64| Timestamp::from_secs(u64::try_from(seconds).unwrap_or_default());
    Some((at(validity.not_before.timestamp()), at(validity.not_after.timestamp())))
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    parse_x509_certificate(certificate).ok().map(|(_rest, parsed)| parsed)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives =
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(alternatives) => Some(alternatives),
            _ => None,
        });
    let alternatives = alternatives.into_iter().flat_map(|all| &all.general_names);
    let names: Vec<_> = alternatives.filter_map(text).map(str::to_owned).collect();
    if !names.is_empty() {
        return names;
    }
    let common = certificate.subject().iter_common_name();
    common.filter_map(|name| name.as_str().ok()).map(str::to_owned).collect()
}

/// A name that a person would write down.
const fn text<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            Some(text)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    fn certificate(name: &str) -> CertificateDer<'static> {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls_files");
        CertificateDer::from_pem_file(files.join(name)).unwrap()
    }

    #[test]
    fn a_client_has_its_alternative_names_or_its_common_name() {
        let names = |name: &str| ClientNames::of(&certificate(name)).0;
        let alternatives = ["ops.example", "spiffe://example/ops", "ops@example.com"];
        assert_eq!(*names("names.pem"), alternatives.map(str::to_owned));
        assert_eq!(*names("client.pem"), ["client".to_owned()]);
        assert!(ClientNames::of(&CertificateDer::from_slice(b"no certificate")).0.is_empty());
    }

    #[test]
    fn a_certificate_ends_when_it_says() {
        // `openssl x509 -enddate`: Nov  1 22:02:43 2126 GMT.
        assert_eq!(ends_at(&certificate("client.pem")), Some(4_949_244_163));
        assert_eq!(ends_at(&CertificateDer::from_slice(b"no certificate")), None);
    }
}
