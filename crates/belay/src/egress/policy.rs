//! Where requests for capabilities of other servers may go (Belay §23.6).
//!
//! Decided twice: a URL before anything is sent, and each address that its host resolves to. Never
//! here: resolving, sending.

use std::{net::IpAddr, str::FromStr};

use url::{Host, Url};

use crate::egress::address::{Network, is_public};

/// What the egress policy refuses. It says nothing of the URL, which is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another scheme than https, or than http where that is allowed.
    #[error("only https is allowed")]
    Scheme,
    /// The URL has no host, or a user name or password.
    #[error("not the URL of a capability")]
    Url,
    /// The address is not on the public internet and is not allowed by name or number.
    #[error("the address is not allowed")]
    Address,
}

/// One entry of what is allowed beyond public addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// A range of addresses, whatever name leads there.
    Network(Network),
    /// A host by its name: whatever address it resolves to, so its DNS is trusted.
    Host(String),
}

/// A text names neither addresses nor a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither a range of addresses such as 10.0.0.0/8 nor the name of a host")]
pub struct AllowedError;

impl FromStr for Allowed {
    type Err = AllowedError;

    /// Reads a range of addresses, an address, or the name of a host.
    fn from_str(text: &str) -> Result<Self, AllowedError> {
        if let Ok(range) = text.parse() {
            return Ok(Self::Network(range));
        }
        match Host::parse(text) {
            Ok(Host::Domain(name)) => Ok(Self::Host(name)),
            _ => Err(AllowedError),
        }
    }
}

/// Where requests may go.
///
/// The default is https to public addresses that are not this machine's own.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EgressPolicy {
    /// Whether `http:` is allowed too. Default no: the URL is the secret, and travels in clear.
    pub allow_http: bool,
    /// What is allowed beyond public addresses. Default nothing.
    pub allow: Vec<Allowed>,
}

impl EgressPolicy {
    /// Whether a URL may be asked at all. A host that is a name is judged again when it is resolved.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ => return Err(Refused::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Url);
        }
        let address = match url.host().ok_or(Refused::Url)? {
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(address) => IpAddr::from(address),
            Host::Ipv6(address) => IpAddr::from(address),
        };
        if self.admits("", address, false) { Ok(()) } else { Err(Refused::Address) }
    }

    /// Whether an address that a host has may be connected to. `is_own` says whether it is one of
    /// this machine's.
    pub(super) fn admits(&self, host: &str, address: IpAddr, is_own: bool) -> bool {
        let address = address.to_canonical();
        let is_listed = self.allow.iter().any(|allowed| match allowed {
            Allowed::Network(range) => range.contains(address),
            Allowed::Host(name) => name.eq_ignore_ascii_case(host),
        });
        is_listed || (is_public(address) && !is_own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow_http: bool, allow: &[&str]) -> EgressPolicy {
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        EgressPolicy { allow_http, allow }
    }

    fn check(policy: &EgressPolicy, url: &str) -> Result<(), Refused> {
        policy.check(&Url::parse(url).unwrap())
    }

    #[test]
    fn only_https_to_public_addresses_unless_configured() {
        // Rule: belay 23.6 — https only, and no addresses that are not public, unless configured
        let strict = EgressPolicy::default();
        assert_eq!(check(&strict, "https://other.example/cap/x"), Ok(()));
        for (url, refused) in [
            ("http://other.example/cap/x", Refused::Scheme),
            ("file:///etc/passwd", Refused::Scheme),
            ("https://user@other.example/", Refused::Url),
            ("https://127.0.0.1/", Refused::Address),
            ("https://2130706433/", Refused::Address),
            ("https://0x7f.1/", Refused::Address),
            ("https://[::1]/", Refused::Address),
            ("https://[::ffff:7f00:1]/", Refused::Address),
            ("https://169.254.169.254/latest/", Refused::Address),
        ] {
            assert_eq!(check(&strict, url), Err(refused), "{url}");
        }
        let open = policy(true, &["127.0.0.0/8"]);
        assert_eq!(check(&open, "http://127.0.0.1/"), Ok(()));
        assert_eq!(check(&open, "https://[::ffff:7f00:1]/"), Ok(()));
        assert_eq!(check(&open, "https://10.0.0.1/"), Err(Refused::Address));
    }

    #[test]
    fn what_is_allowed_is_a_range_or_a_host() {
        for (text, allowed) in [
            ("fd00::/8", Allowed::Network("fd00::/8".parse().unwrap())),
            ("Inner.Example", Allowed::Host("inner.example".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(allowed));
        }
        for bad in ["", "10.0.0.0/33", "https://x.example", "a b", "x/8", "[::1]"] {
            assert_eq!(bad.parse::<Allowed>(), Err(AllowedError), "{bad}");
        }
    }

    #[test]
    fn a_name_is_judged_by_what_it_resolves_to() {
        // Rule: belay 23.6 — a public name for a private address is denied, unless its name is allowed
        let [private, public] = ["10.0.0.1".parse().unwrap(), "1.1.1.1".parse().unwrap()];
        let policy = policy(false, &["Inner.example"]);
        assert!(policy.admits("inner.example", private, false));
        assert!(!policy.admits("evil.example", private, false));
        assert!(policy.admits("evil.example", public, false));
        assert!(!policy.admits("evil.example", public, true), "this machine's own address");
    }
}
