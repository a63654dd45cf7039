//! Who may use the admin interface: whoever knows the admin token or came with a client certificate that
//! the listener verified.
//!
//! Never here: where the token comes from.

use buswire_message::{Secret, SecretHash};
use tonic::{Request, Status, metadata::MetadataMap, service::Interceptor};

/// Marks a request of a peer whose certificate the listener has verified against the authority of the
/// admin interface. The listener puts it into the extensions of the request; nothing else can.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedPeer;

/// Lets requests with the admin token pass: `authorization: Bearer <admin token>`.
///
/// Holds the hash of the token only, and compares hashes in constant time.
#[derive(Clone, Debug)]
pub struct Authenticator {
    token: SecretHash,
}

impl Authenticator {
    /// Lets requests pass that carry `token`.
    pub fn new(token: &Secret<String>) -> Self {
        Self { token: SecretHash::of(token.expose()) }
    }

    /// Whether a request with these headers carries the token.
    pub fn permits(&self, headers: &http::HeaderMap) -> bool {
        self.check(&MetadataMap::from_headers(headers.clone())).is_ok()
    }

    fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let mut values = metadata.get_all("authorization").iter();
        let value = values.next().ok_or_else(|| {
            Status::unauthenticated(
                "the admin token is missing: authorization: Bearer <admin token>",
            )
        })?;
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim_matches(' '));
        match token {
            // A second value could be read differently by a proxy in between.
            Some(token) if self.token.matches(token) && values.next().is_none() => Ok(()),
            Some(_) | None => Err(Status::unauthenticated("the admin token is wrong")),
        }
    }
}

impl Interceptor for Authenticator {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if request.extensions().get::<VerifiedPeer>().is_none() {
            self.check(request.metadata())?;
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, metadata::MetadataValue};

    use super::*;

    fn call(values: &[&'static str]) -> Result<(), Status> {
        let mut request = Request::new(());
        for value in values {
            request.metadata_mut().append("authorization", MetadataValue::from_static(value));
        }
        let mut authenticator = Authenticator::new(&Secret::new("hunter2".to_owned()));
        authenticator.call(request).map(|_| ())
    }

    #[test]
    fn the_token_lets_pass() {
        for value in ["Bearer hunter2", "bearer hunter2", "BEARER  hunter2 "] {
            assert!(call(&[value]).is_ok(), "{value}");
        }
    }

    #[test]
    fn nothing_else_does() {
        let wrong = [
            "hunter2",
            "Bearer",
            "Bearer ",
            "Bearer hunter",
            "Bearer hunter22",
            "Bearer Hunter2",
            "Basic hunter2",
            "Basic YTpodW50ZXIy",
        ];
        for value in wrong {
            let status = call(&[value]).unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{value}");
            assert_eq!(status.message(), "the admin token is wrong");
        }
        assert_eq!(
            call(&["Bearer hunter2", "Bearer x"]).unwrap_err().code(),
            Code::Unauthenticated
        );
        assert!(call(&[]).unwrap_err().message().starts_with("the admin token is missing"));
    }

    #[test]
    fn a_verified_certificate_lets_pass() {
        let mut request = Request::new(());
        request.extensions_mut().insert(VerifiedPeer);
        let mut authenticator = Authenticator::new(&Secret::new("hunter2".to_owned()));
        assert!(authenticator.call(request).is_ok());
    }

    #[test]
    fn the_token_does_not_print() {
        let authenticator = Authenticator::new(&Secret::new("hunter2".to_owned()));
        assert!(!format!("{authenticator:?}").contains("hunter2"));
    }
}
