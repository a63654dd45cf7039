//! Which server a client speaks to, and how patiently.

use std::{sync::Arc, time::Duration};

use buswire_message::{Clock, Entropy};
use buswire_store::system::{SystemClock, SystemEntropy};
use url::{Host, Url};

use super::backoff::Backoff;

/// The base URL of a server, without the version: `https://bp.example.net`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(Url);

/// Why a text is not the URL of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Not an absolute http or https URL without credentials, query and fragment.
    #[error("a server is an absolute http or https URL without user, query and fragment")]
    Form,
    /// Credentials would go in clear over a network.
    #[error("a server that is not this machine must be spoken to over https")]
    Insecure,
}

impl Server {
    /// Reads a base URL. Plain HTTP is for the own machine only: all calls carry credentials or
    /// what they open (Backplane §3.2).
    ///
    /// # Errors
    ///
    /// [`ServerError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, ServerError> {
        let url = Url::parse(text).map_err(|_| ServerError::Form)?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(ServerError::Form),
        };
        match url.scheme() {
            "http" | "https" if !is_plain => Err(ServerError::Form),
            "http" if !is_loopback => Err(ServerError::Insecure),
            "http" | "https" => Ok(Self(url)),
            _ => Err(ServerError::Form),
        }
    }

    /// The URL of an endpoint; each segment is escaped.
    pub(crate) fn endpoint<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        // An http URL always has segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

/// How patient a client is, and where its time and randomness come from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long an answer may take, beside the time that a long poll is meant to wait.
    pub answer_timeout: Duration,
    /// The longest answer in bytes. A longer one is an error: the messages are not skipped.
    pub answer_max: usize,
    /// How long a stream lets the server hold a poll, in whole seconds: 0 to 25 (Backplane §10.3).
    pub block: Duration,
    /// The shortest time from one empty poll to the next, for servers that don't hold polls.
    pub idle: Duration,
    /// What a stream does when polls fail.
    pub backoff: Backoff,
    /// Tells when tokens are over.
    pub clock: Arc<dyn Clock>,
    /// Spreads what clients do after a failure.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Settings {
    /// The operating system's clock and randomness; 10 s to connect and to answer, answers up to
    /// 32 MiB, which hold a page of the longest messages; polls of 25 s.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            answer_max: 32 * 1024 * 1024,
            block: Duration::from_secs(25),
            idle: Duration::from_secs(5),
            backoff: Backoff::default(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_https_or_this_machine() {
        // Rule: backplane §3.2 — a client sends credentials over HTTPS alone, except to its own machine
        for text in ["https://bp.example.net", "http://localhost:80/a/", "http://[::1]:1"] {
            assert!(Server::parse(text).is_ok(), "{text}");
        }
        let plain = Server::parse("http://bp.example.net");
        assert_eq!(plain, Err(ServerError::Insecure));
        for text in ["bp.example.net", "ftp://a/", "https://u:p@a/", "https://a/?x", "https://a/#x"]
        {
            assert_eq!(Server::parse(text), Err(ServerError::Form), "{text}");
        }
    }

    #[test]
    fn endpoints_are_below_the_base_and_escaped() {
        let endpoint = |base| Server::parse(base).unwrap().endpoint(["v2", "a/b?"]).to_string();
        assert_eq!(endpoint("https://a"), "https://a/v2/a%2Fb%3F");
        assert_eq!(endpoint("https://a/x/"), "https://a/x/v2/a%2Fb%3F");
    }
}
