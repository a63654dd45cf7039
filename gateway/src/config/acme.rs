//! The settings of certificates from an ACME server (RFC 8555), described and read.
//!
//! Never here: an order.

use std::{path::PathBuf, str::FromStr};

use url::{Host, Url};

use super::{
    reader::Reader,
    schema::{Group, Kind, Setting},
};

/// The most names that one certificate is ordered for: what Let's Encrypt takes. And the most contacts.
const ENTRIES_MAX: usize = 100;

/// Certificates from an ACME server.
pub(crate) const ACME: Group = Group {
    title: "Certificates from an ACME server",
    about: "With domains, the public listener orders its own certificate, renews it, and has TLS without `http.tls.cert`; see `docs/service.md`. Account, key and certificate are in the store, sealed with `belay.keys`: gateways that share a store share them, and one of them orders for all.",
    settings: &[
        Setting::new(
            "http.acme.domains",
            Kind::Texts,
            "[]",
            "The names that the certificate is for, such as `[\"gw.example\"]`: at most 100, without `*`. Port 443 of each must lead to `http.listen`, since the server asks there (TLS-ALPN-01, RFC 8737). Other names are another certificate, and another order.",
        ),
        Setting::new(
            "http.acme.contact",
            Kind::Texts,
            "[]",
            "Addresses of mail that the server may write to, such as `[\"ops@example.com\"]`.",
        ),
        Setting::new(
            "http.acme.directory",
            Kind::Text,
            "\"https://acme-v02.api.letsencrypt.org/directory\"",
            "The `https:` URL of the directory of the server (RFC 8555 §7.1.1). Try it first with `https://acme-staging-v02.api.letsencrypt.org/directory`: the limits of the other one are strict.",
        ),
        Setting::unset(
            "http.acme.ca",
            Kind::Path,
            "PEM file with the authorities that the directory is checked with, in place of those of the system: for a server of your own.",
        ),
        Setting::new(
            "http.acme.accept_terms",
            Kind::Flag,
            "false",
            "Whether you accept the terms of service of the server. Nothing is ordered without.",
        ),
    ],
};

/// How certificates are ordered. Valid by construction: the terms are accepted and there is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The names of the certificate, in lower case: one or more, sorted, none twice.
    pub domains: Vec<AcmeDomain>,
    /// The addresses of mail, as `mailto:` URIs.
    pub contact: Vec<Contact>,
    /// Where the directory is.
    pub directory: Url,
    /// PEM file with its authorities; `None` for those of the system.
    pub ca: Option<PathBuf>,
}

/// A name that an ACME server can check by TLS-ALPN-01: no address, no `*`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AcmeDomain(String);

impl AcmeDomain {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AcmeDomain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('*') {
            return Err(format!("{text:?}: names with * can't be checked by TLS-ALPN-01"));
        }
        match Host::parse(text) {
            // What has no other name in it is safe in a key of the store and in a certificate.
            Ok(Host::Domain(name)) if name.len() <= 253 && !name.ends_with('.') => Ok(Self(name)),
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err(format!("{text:?} is an address, not a name")),
            _ => Err(format!("{text:?} is not the name of a host")),
        }
    }
}

/// A `mailto:` URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact(String);

impl Contact {
    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Contact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.strip_prefix("mailto:").unwrap_or(text);
        // RFC 8555 §7.3: no header fields and one address only.
        let is_address = address.is_ascii()
            && !address.contains(['?', ',', ' ', ':'])
            && !address.contains(|c: char| c.is_ascii_control())
            && address.split_once('@').is_some_and(|(local, host)| {
                !local.is_empty() && !host.is_empty() && !host.contains('@')
            });
        if is_address {
            Ok(Self(format!("mailto:{address}")))
        } else {
            Err(format!("{text:?} is not an address of mail"))
        }
    }
}

/// Reads them; `None` if there are no domains, or something is wrong.
pub(super) fn acme(reader: &mut Reader<'_>) -> Option<AcmeConfig> {
    let mut domains: Vec<AcmeDomain> = reader.list("http.acme.domains");
    let mut contact: Vec<Contact> = reader.list("http.acme.contact");
    let directory = reader.checked("http.acme.directory", directory);
    let ca = reader.path("http.acme.ca");
    let accepts = reader.flag("http.acme.accept_terms");
    if domains.is_empty() {
        return None;
    }
    for (key, entries) in
        [("http.acme.domains", domains.len()), ("http.acme.contact", contact.len())]
    {
        if entries > ENTRIES_MAX {
            reader.problem(key, format!("has more than {ENTRIES_MAX} entries"));
        }
    }
    if !accepts {
        let text = "must be true: the server gives certificates to nobody who does not accept its terms of service";
        reader.problem("http.acme.accept_terms", text);
    }
    if !cfg!(feature = "acme") {
        reader.problem("http.acme.domains", "this program was built without the feature acme");
    }
    domains.sort();
    domains.dedup();
    contact.sort();
    contact.dedup();
    Some(AcmeConfig { domains, contact, directory: directory?, ca })
}

fn directory(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not an absolute URL: {error}"))?;
    let is_plain = url.username().is_empty() && url.password().is_none();
    // RFC 8555 §6.1: over https alone.
    if url.scheme() == "https" && is_plain { Ok(url) } else { Err("is not https://…".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_name_without_a_star() {
        for (text, expect) in [
            ("gw.example", Some("gw.example")),
            ("GW.Example", Some("gw.example")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("*.example", None),
            ("192.0.2.1", None),
            ("[2001:db8::1]", None),
            ("a b", None),
            ("a/b", None),
            ("gw.example.", None),
            ("", None),
        ] {
            let read = text.parse::<AcmeDomain>().ok();
            assert_eq!(read.as_ref().map(AcmeDomain::as_str), expect, "{text}");
        }
    }

    #[test]
    fn a_contact_is_one_address_of_mail() {
        for (text, expect) in [
            ("ops@example.com", Some("mailto:ops@example.com")),
            ("mailto:ops@example.com", Some("mailto:ops@example.com")),
            ("a@b.example,c@d.example", None),
            ("ops@example.com?subject=x", None),
            ("https://example.com", None),
            ("ops", None),
            ("@example.com", None),
        ] {
            let read = text.parse::<Contact>().ok();
            assert_eq!(read.as_ref().map(Contact::as_str), expect, "{text}");
        }
    }

    #[test]
    fn a_directory_is_asked_over_https_alone() {
        assert!(directory("https://ca.example/acme/directory").is_ok());
        for bad in ["http://ca.example/directory", "ca.example", "https://u:p@ca.example/"] {
            assert!(directory(bad).is_err(), "{bad}");
        }
    }
}
