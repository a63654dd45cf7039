//! Answers of TLS-ALPN-01 (RFC 8737): the certificate that proves to the server that it reached us.
//!
//! The proof is in the store, so that whichever gateway is asked can show it. Never here: an order.

use std::sync::Arc;

use futures::future::BoxFuture;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::rows::Rows;
use crate::{
    config::AcmeDomain,
    listen::{ACME_TLS_ALPN, ChallengeAnswers},
};

/// Shows what the store has for one of the `domains`.
pub(super) struct Answers {
    pub(super) rows: Arc<Rows>,
    pub(super) domains: Vec<AcmeDomain>,
}

impl ChallengeAnswers for Answers {
    fn answer<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<Arc<ServerConfig>>> {
        Box::pin(async move {
            // Strangers ask for any name; the store is asked for ours alone.
            let domain =
                self.domains.iter().find(|domain| domain.as_str().eq_ignore_ascii_case(name))?;
            let digest = match self.rows.challenge(domain.as_str()).await {
                Ok(digest) => digest?,
                Err(error) => {
                    let why = crate::cli::chain(&error);
                    tracing::warn!(why, "a challenge for a certificate can't be answered");
                    return None;
                }
            };
            certificate(domain.as_str(), &digest).map(Arc::new)
        })
    }
}

/// A self-signed certificate for `name` with the digest in it, and nothing else on offer (RFC 8737 §3).
fn certificate(name: &str, digest: &[u8]) -> Option<ServerConfig> {
    let mut params = CertificateParams::new([name.to_owned()]).ok()?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().ok()?;
    let certificate = params.self_signed(&key).ok()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = aws_lc_rs::sign::any_supported_type(&key).ok()?;
    // Not by `with_single_cert`: webpki refuses the extension, which RFC 8737 §3 wants to be critical.
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
    Some(config)
}

#[cfg(test)]
mod tests {
    use buswire_store::memory::MemoryStore;

    use super::*;
    use crate::acme::rows::tests::rows;

    #[tokio::test]
    async fn only_what_is_asked_for_is_proven_and_by_every_gateway() {
        // RFC 8737 §3: the digest of the key authorization is in the certificate.
        let store = Arc::new(MemoryStore::new());
        let (here, there) = (rows(&store, 1, &["a.example"]), rows(&store, 1, &["a.example"]));
        let domains = || vec!["a.example".parse().unwrap(), "b.example".parse().unwrap()];
        let answers = Answers { rows: Arc::new(there), domains: domains() };
        assert!(answers.answer("a.example").await.is_none(), "nothing is asked for");
        here.keep_challenge("a.example", &[7; 32]).await.unwrap();
        here.keep_challenge("c.example", &[7; 32]).await.unwrap();
        let config = answers.answer("A.example").await.expect("it is in the store");
        assert_eq!(config.alpn_protocols, [b"acme-tls/1".to_vec()]);
        assert!(answers.answer("b.example").await.is_none());
        assert!(answers.answer("c.example").await.is_none(), "not a name of ours");
    }
}
