//! Who makes a request of the admin interface: whoever knows a token, or came with a client certificate
//! that the listener verified and that has a role.
//!
//! The admin token may do everything; other tokens are made by name and have a role, and so have the
//! names of client certificates. Never here: where the admin token comes from, how tokens are kept.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use buswire_message::{Secret, SecretHash};
use http::{HeaderMap, Method, StatusCode, header};
use tonic::Status;

use super::{role::Role, writes::Writes};

/// Who makes a request. In the extensions of each one that is let pass, for whoever writes down what
/// was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What it is called: `admin` with the admin token, the name of another token, the name of a
    /// client certificate. No secret.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// How it showed who it is.
    pub via: Via,
}

/// How a caller showed who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By the admin token.
    AdminToken,
    /// By a token that was made by name.
    NamedToken,
    /// By a client certificate.
    Certificate,
}

impl Via {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdminToken => "admin_token",
            Self::NamedToken => "named_token",
            Self::Certificate => "certificate",
        }
    }
}

/// The names in the certificate of a peer, which the listener has verified against the authority of the
/// admin interface. The listener puts it into the extensions of the request; nothing else can.
#[derive(Clone, Debug)]
pub struct VerifiedPeer(pub Arc<[String]>);

/// Knows the tokens that were made by name.
pub trait KnownTokens: Send + Sync {
    /// The name and the role of the token with this hash; `None` if there is none, or it was revoked.
    fn holder(&self, token: &SecretHash) -> Option<(String, Role)>;
}

/// Knows none.
impl KnownTokens for () {
    fn holder(&self, _token: &SecretHash) -> Option<(String, Role)> {
        None
    }
}

/// The roles of names in client certificates. Clones share them. Bounded by the configuration.
#[derive(Clone, Debug, Default)]
pub struct CertificateRoles(Arc<RwLock<BTreeMap<String, Role>>>);

impl CertificateRoles {
    /// Takes `roles` from now on.
    pub fn replace(&self, roles: BTreeMap<String, Role>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = roles;
    }

    /// Who has a certificate with `names`: the name that may do most.
    fn holder(&self, names: &[String]) -> Option<(String, Role)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let holders = names.iter().filter_map(|name| Some((name.clone(), *known.get(name)?)));
        holders.max_by_key(|(_, role)| *role)
    }
}

/// Says who makes a request: by `authorization: Bearer <token>`, or else by its client certificate.
///
/// Holds the hash of the admin token only, and compares hashes in constant time.
#[derive(Clone)]
pub struct Authenticator {
    admin: SecretHash,
    tokens: Arc<dyn KnownTokens>,
    certificates: CertificateRoles,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

impl Authenticator {
    /// `admin` may do everything; what others may, `tokens` and `certificates` know.
    pub fn new(
        admin: &Secret<String>,
        tokens: Arc<dyn KnownTokens>,
        certificates: CertificateRoles,
    ) -> Self {
        Self { admin: SecretHash::of(admin.expose()), tokens, certificates }
    }

    /// Who makes a request. A token goes before a certificate, so that one connection can do with
    /// less, or with more, than its certificate.
    ///
    /// # Errors
    ///
    /// UNAUTHENTICATED if it carries a token that is not known, or none and no certificate with a role.
    pub fn caller_of<B>(&self, request: &http::Request<B>) -> Result<Caller, Status> {
        if request.headers().contains_key(header::AUTHORIZATION) {
            return self.holder_of(request.headers());
        }
        let Some(VerifiedPeer(names)) = request.extensions().get() else {
            let text = "the admin token is missing: authorization: Bearer <admin token>";
            return Err(Status::unauthenticated(text));
        };
        let holder = self.certificates.holder(names);
        let (name, role) = holder.ok_or_else(|| {
            let text = "the client certificate has no role in admin.tls.roles; send a token";
            Status::unauthenticated(text)
        })?;
        Ok(Caller { name, role, via: Via::Certificate })
    }

    /// Who holds the token in `headers`.
    fn holder_of(&self, headers: &HeaderMap) -> Result<Caller, Status> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let token = values
            .next()
            .and_then(|value| value.to_str().ok()?.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim_matches(' '))
            // A second value could be read differently by a proxy in between.
            .filter(|_| values.next().is_none());
        let caller = token.and_then(|token| {
            if self.admin.matches(token) {
                let (name, role) = ("admin".to_owned(), Role::Admin);
                return Some(Caller { name, role, via: Via::AdminToken });
            }
            let (name, role) = self.tokens.holder(&SecretHash::of(token))?;
            Some(Caller { name, role, via: Via::NamedToken })
        });
        caller.ok_or_else(|| Status::unauthenticated("the admin token is wrong"))
    }
}

/// What is at the entrance of the gRPC interface.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) auth: Authenticator,
    pub(super) writes: Writes,
}

/// Whether a request is a call of gRPC, as one of gRPC-Web is by now.
///
/// The page of another site can let a browser send other requests without asking first, with the client
/// certificate of whoever looks at it; one of this type it can't.
fn is_call(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    request.method() == Method::POST
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Lets calls pass that may do what they ask for, and notes who makes them. Health, which probes ask for, is
/// for everybody; reflection is for whoever may call something: a stranger learns nothing of what there
/// is.
///
/// Who is known and may not do what it asks for is written down; strangers are not, who could push out
/// everything else.
pub(super) async fn authorize(
    State(Gate { auth, writes }): State<Gate>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if ["/buswire.admin.v1.", "/grpc.reflection."].iter().any(|ours| path.starts_with(ours)) {
        if !is_call(&request) {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
        }
        let required = Role::required(path);
        match auth.caller_of(&request) {
            Ok(caller) if caller.role >= required => request.extensions_mut().insert(caller),
            Ok(caller) => {
                let role = caller.role;
                let text =
                    format!("the caller has the role {role}; this needs one of {required} or more");
                let status = Status::permission_denied(text);
                writes.refused(path, &caller, request.extensions(), &status).await;
                return status.into_http::<Body>();
            }
            Err(status) => return status.into_http::<Body>(),
        };
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
        fn holder(&self, token: &SecretHash) -> Option<(String, Role)> {
            (*token == SecretHash::of("looker")).then(|| ("grafana".to_owned(), Role::Viewer))
        }
    }

    fn authenticator() -> Authenticator {
        let certificates = CertificateRoles::default();
        let role = |name: &str, role| (name.to_owned(), role);
        let roles = [role("ops.example", Role::Operator), role("root.example", Role::Admin)];
        certificates.replace(BTreeMap::from(roles));
        Authenticator::new(&Secret::new("hunter2".to_owned()), Arc::new(One), certificates)
    }

    /// Calls with these values of `authorization`, and a certificate with these names.
    fn call_with(values: &[&'static str], names: Option<&[&str]>) -> Result<Caller, Status> {
        let mut request = http::Request::new(());
        if let Some(names) = names {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            request.extensions_mut().insert(VerifiedPeer(names));
        }
        for value in values {
            request.headers_mut().append("authorization", http::HeaderValue::from_static(value));
        }
        authenticator().caller_of(&request)
    }

    fn call(values: &[&'static str]) -> Result<Caller, Status> {
        call_with(values, None)
    }

    fn caller(name: &str, role: Role, via: Via) -> Caller {
        Caller { name: name.to_owned(), role, via }
    }

    #[test]
    fn the_token_lets_pass() {
        for value in ["Bearer hunter2", "bearer hunter2", "BEARER  hunter2 "] {
            assert_eq!(
                call(&[value]).unwrap(),
                caller("admin", Role::Admin, Via::AdminToken),
                "{value}"
            );
        }
        let looker = caller("grafana", Role::Viewer, Via::NamedToken);
        assert_eq!(call(&["Bearer looker"]).unwrap(), looker);
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
    fn a_certificate_has_the_role_of_its_names() {
        let by = |names| call_with(&[], Some(names));
        let operator = caller("ops.example", Role::Operator, Via::Certificate);
        assert_eq!(by(&["other", "ops.example"]).unwrap(), operator);
        let admin = caller("root.example", Role::Admin, Via::Certificate);
        assert_eq!(by(&["root.example", "ops.example"]).unwrap(), admin);
        for nobody in [&["OPS.example", "*.example"][..], &[]] {
            let status = by(nobody).unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated);
            assert!(status.message().starts_with("the client certificate has no role"));
        }
    }

    #[test]
    fn a_token_goes_before_a_certificate() {
        let with = |token| call_with(&[token], Some(&["ops.example"]));
        assert_eq!(with("Bearer looker").unwrap().role, Role::Viewer);
        assert_eq!(with("Bearer hunter2").unwrap().role, Role::Admin);
        assert_eq!(with("Bearer wrong").unwrap_err().code(), Code::Unauthenticated);
    }

    #[test]
    fn the_token_does_not_print() {
        assert!(!format!("{:?}", authenticator()).contains("hunter2"));
    }
}
