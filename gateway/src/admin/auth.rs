//! Who may use the admin interface: whoever knows a token, or came with a client certificate that the
//! listener verified.
//!
//! The admin token and a certificate may do everything; other tokens are made by name and have a role.
//! Never here: where the admin token comes from, how tokens are kept.

use std::{fmt, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use buswire_message::{Secret, SecretHash};
use http::{HeaderMap, header};
use tonic::Status;

use super::role::Role;

/// Marks a request of a peer whose certificate the listener has verified against the authority of the
/// admin interface. The listener puts it into the extensions of the request; nothing else can.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedPeer;

/// Knows the tokens that were made by name.
pub trait KnownTokens: Send + Sync {
    /// The role of the token with this hash; `None` if there is none, or it was revoked.
    fn role(&self, token: &SecretHash) -> Option<Role>;
}

/// Knows none.
impl KnownTokens for () {
    fn role(&self, _token: &SecretHash) -> Option<Role> {
        None
    }
}

/// Says what a request may do: `authorization: Bearer <token>`.
///
/// Holds the hash of the admin token only, and compares hashes in constant time.
#[derive(Clone)]
pub struct Authenticator {
    admin: SecretHash,
    tokens: Arc<dyn KnownTokens>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

impl Authenticator {
    /// `admin` may do everything; what others may, `tokens` knows.
    pub fn new(admin: &Secret<String>, tokens: Arc<dyn KnownTokens>) -> Self {
        Self { admin: SecretHash::of(admin.expose()), tokens }
    }

    /// What a request may do.
    ///
    /// # Errors
    ///
    /// UNAUTHENTICATED if it carries no token that is known.
    pub fn role_of<B>(&self, request: &http::Request<B>) -> Result<Role, Status> {
        if request.extensions().get::<VerifiedPeer>().is_some() {
            return Ok(Role::Admin);
        }
        self.check(request.headers())
    }

    fn check(&self, headers: &HeaderMap) -> Result<Role, Status> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
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
            .map(|(_, token)| token.trim_matches(' '))
            // A second value could be read differently by a proxy in between.
            .filter(|_| values.next().is_none());
        let role = token.and_then(|token| {
            let is_admin = self.admin.matches(token).then_some(Role::Admin);
            is_admin.or_else(|| self.tokens.role(&SecretHash::of(token)))
        });
        role.ok_or_else(|| Status::unauthenticated("the admin token is wrong"))
    }
}

/// Lets calls pass that may do what they ask for. Health, which probes ask for, is for everybody;
/// reflection is for whoever may call something: a stranger learns nothing of what there is.
pub(super) async fn authorize(
    State(auth): State<Authenticator>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if ["/buswire.admin.v1.", "/grpc.reflection."].iter().any(|ours| path.starts_with(ours)) {
        let required = Role::required(path);
        let allowed = match auth.role_of(&request) {
            Ok(role) if role >= required => Ok(()),
            Ok(role) => {
                let text = format!("the token is a {role}'s; this needs one of {required} or more");
                Err(Status::permission_denied(text))
            }
            Err(status) => Err(status),
        };
        if let Err(status) = allowed {
            return status.into_http::<Body>();
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// Knows one token.
    struct One;

    impl KnownTokens for One {
        fn role(&self, token: &SecretHash) -> Option<Role> {
            (*token == SecretHash::of("looker")).then_some(Role::Viewer)
        }
    }

    fn authenticator() -> Authenticator {
        Authenticator::new(&Secret::new("hunter2".to_owned()), Arc::new(One))
    }

    fn call(values: &[&'static str]) -> Result<Role, Status> {
        let mut request = http::Request::new(());
        for value in values {
            request.headers_mut().append("authorization", http::HeaderValue::from_static(value));
        }
        authenticator().role_of(&request)
    }

    #[test]
    fn the_token_lets_pass() {
        for value in ["Bearer hunter2", "bearer hunter2", "BEARER  hunter2 "] {
            assert_eq!(call(&[value]).unwrap(), Role::Admin, "{value}");
        }
        assert_eq!(call(&["Bearer looker"]).unwrap(), Role::Viewer);
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
        let mut request = http::Request::new(());
        request.extensions_mut().insert(VerifiedPeer);
        assert_eq!(authenticator().role_of(&request).unwrap(), Role::Admin);
    }

    #[test]
    fn the_token_does_not_print() {
        assert!(!format!("{:?}", authenticator()).contains("hunter2"));
    }
}
