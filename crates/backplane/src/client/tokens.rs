//! The tokens of a client: which one to present, and how to get the next.
//!
//! Never here: I/O or a clock. The driver sees to it that one request for a token is made at a time.

use std::time::Duration;

use buswire_message::{BusName, Secret, Timestamp};

use super::{
    answer::{CALLBACK, TokenAnswer},
    error::Refusal,
};
use crate::{ClientId, RedirectUri};

/// How long before its end a token is renewed, at most; a tenth of its life if that is shorter.
const MARGIN: Duration = Duration::from_secs(60);

/// The id and the secret of a client (Backplane §10.2).
#[derive(Debug, Clone)]
pub struct Credentials {
    pub(super) client_id: ClientId,
    pub(super) secret: Secret<String>,
}

impl Credentials {
    /// Takes the id and the secret that the client was registered with.
    pub const fn new(client_id: ClientId, secret: String) -> Self {
        Self { client_id, secret: Secret::new(secret) }
    }
}

/// What a client's access stands on.
#[derive(Debug, Clone)]
pub enum Access {
    /// All that was granted to the client (`client_credentials`). Never ends by itself.
    Grants(Credentials),
    /// What a bus owner has just granted in the browser (`authorization_code`, Backplane §11.1).
    Code {
        /// The client.
        credentials: Credentials,
        /// The code that came to the redirect URI. It works once.
        code: Secret<String>,
        /// The redirect URI as registered.
        redirect_uri: RedirectUri,
    },
    /// A visit without credentials: a new channel of this bus, of which headers can be read (§10.1).
    Visit(BusName),
}

/// A request for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenRequest {
    pub(super) grant: GrantKind,
    /// Query or form parameters, without the scope.
    pub(super) params: Vec<(&'static str, Secret<String>)>,
}

/// By which endpoint a token is asked for, and what a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GrantKind {
    /// With what the client began with.
    First,
    /// With a refresh token.
    Refresh,
}

/// What the driver has to do to have a token.
#[derive(Debug)]
pub(super) enum Need {
    /// Nothing: present this.
    Present(Secret<String>),
    /// Ask for one.
    Ask(TokenRequest),
    /// Nothing can be done.
    Ended,
}

/// The tokens of one client.
#[derive(Debug)]
pub(super) struct Tokens {
    access: Access,
    /// Whether what cannot be had twice, a code or a visit, was had.
    is_begun: bool,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    access: Secret<String>,
    refresh: Option<Secret<String>>,
    scope: String,
    /// When it is to be renewed; `None` if it never expires.
    renew_at: Option<Timestamp>,
}

impl Tokens {
    pub(super) const fn new(access: Access) -> Self {
        Self { access, is_begun: false, held: None }
    }

    /// The credentials that go with token requests.
    pub(super) const fn credentials(&self) -> Option<&Credentials> {
        match &self.access {
            Access::Grants(credentials) | Access::Code { credentials, .. } => Some(credentials),
            Access::Visit(_) => None,
        }
    }

    /// The scope of the token that is held.
    pub(super) fn scope(&self) -> &str {
        self.held.as_ref().map_or("", |held| &held.scope)
    }

    pub(super) fn need(&self, now: Timestamp) -> Need {
        match &self.held {
            Some(held) if held.renew_at.is_none_or(|at| now < at) => {
                Need::Present(held.access.clone())
            }
            Some(Held { refresh: Some(refresh), .. }) => Need::Ask(self.refreshing(refresh)),
            _ => self.first(),
        }
    }

    fn refreshing(&self, refresh: &Secret<String>) -> TokenRequest {
        let first = match self.access {
            Access::Visit(_) => ("callback", CALLBACK),
            Access::Grants(_) | Access::Code { .. } => ("grant_type", "refresh_token"),
        };
        let params = vec![(first.0, clear(first.1)), ("refresh_token", refresh.clone())];
        TokenRequest { grant: GrantKind::Refresh, params }
    }

    fn first(&self) -> Need {
        let params = match &self.access {
            Access::Grants(_) => vec![("grant_type", clear("client_credentials"))],
            _ if self.is_begun => return Need::Ended,
            Access::Code { code, redirect_uri, .. } => vec![
                ("grant_type", clear("authorization_code")),
                ("code", code.clone()),
                ("redirect_uri", clear(redirect_uri.as_str())),
            ],
            Access::Visit(bus) => vec![("callback", clear(CALLBACK)), ("bus", clear(bus.name()))],
        };
        Need::Ask(TokenRequest { grant: GrantKind::First, params })
    }

    /// A request was answered with a token: present it, however short its life.
    pub(super) fn granted(&mut self, answer: TokenAnswer, now: Timestamp) -> Secret<String> {
        let renew_at = answer.expires_in.map(|seconds| {
            let life = Duration::from_secs(seconds);
            now.saturating_add(life.saturating_sub(MARGIN.min(life / 10)))
        });
        let access = answer.access_token.clone();
        self.is_begun = true;
        self.held = Some(Held {
            access: answer.access_token,
            refresh: answer.refresh_token,
            scope: answer.scope,
            renew_at,
        });
        access
    }

    /// A request was refused for good. `true` if another may succeed: then [`need`](Self::need) says
    /// which.
    pub(super) fn refused(&mut self, grant: GrantKind, refusal: &Refusal) -> bool {
        match (grant, &self.access) {
            (GrantKind::Refresh, _) => {
                self.held = None;
                true
            }
            (GrantKind::First, Access::Code { .. }) => {
                // A code is burned whatever is wrong with the request, unless the client was not
                // known by its credentials (Backplane §10.2).
                self.is_begun = refusal.status != 401;
                false
            }
            (GrantKind::First, Access::Grants(_) | Access::Visit(_)) => false,
        }
    }

    /// A server did not take `token`. Another is got, unless that has happened already.
    pub(super) fn rejected(&mut self, token: &Secret<String>) {
        if let Some(held) = self.held.as_mut().filter(|held| held.access == *token) {
            held.renew_at = Some(Timestamp::from_millis(0));
        }
    }
}

fn clear(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::answer::json;

    const NOW: Timestamp = Timestamp::from_secs(1_709_993_121);

    fn grants() -> Tokens {
        Tokens::new(Access::Grants(credentials()))
    }

    fn credentials() -> Credentials {
        Credentials::new("comments-svc".parse().unwrap(), "tangled-kelp-4".to_owned())
    }

    fn answer(access: &str, rest: &str) -> TokenAnswer {
        json(format!(r#"{{"access_token":"{access}"{rest}}}"#).as_bytes(), "a token").unwrap()
    }

    fn asked(tokens: &Tokens, now: Timestamp) -> String {
        match tokens.need(now) {
            Need::Present(token) => token.expose().clone(),
            Need::Ask(request) => {
                let pair =
                    |(name, value): &(&str, Secret<String>)| format!("{name}={}", value.expose());
                request.params.iter().map(pair).collect::<Vec<_>>().join("&")
            }
            Need::Ended => "ended".to_owned(),
        }
    }

    fn refusal(status: u16) -> Refusal {
        Refusal { status, code: None, description: String::new(), retry_after: None }
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        // Rule: backplane §9.5 — a client renews its token before it ends, with the refresh token
        let mut tokens = grants();
        assert_eq!(asked(&tokens, NOW), "grant_type=client_credentials");
        tokens.granted(answer("PC1", r#","expires_in":3600,"refresh_token":"PR1""#), NOW);
        let after = |seconds| NOW.saturating_add(Duration::from_secs(seconds));
        assert_eq!(asked(&tokens, after(3539)), "PC1");
        assert_eq!(asked(&tokens, after(3540)), "grant_type=refresh_token&refresh_token=PR1");
        tokens.granted(answer("PC2", r#","expires_in":10"#), NOW);
        assert_eq!(asked(&tokens, after(8)), "PC2");
        assert_eq!(asked(&tokens, after(9)), "grant_type=client_credentials");
        tokens.granted(answer("PC3", ""), NOW);
        assert_eq!(asked(&tokens, Timestamp::MAX), "PC3");
    }

    #[test]
    fn a_rejected_token_is_renewed_once() {
        let mut tokens = grants();
        tokens.granted(answer("PC1", r#","refresh_token":"PR1""#), NOW);
        tokens.rejected(&clear("PC1"));
        assert_eq!(asked(&tokens, NOW), "grant_type=refresh_token&refresh_token=PR1");
        tokens.granted(answer("PC2", ""), NOW);
        // Another call that had the old token in its hands.
        tokens.rejected(&clear("PC1"));
        assert_eq!(asked(&tokens, NOW), "PC2");
    }

    #[test]
    fn what_cannot_be_had_twice_ends() {
        let code = Access::Code {
            credentials: credentials(),
            code: clear("b7Kx"),
            redirect_uri: "https://comments.example/cb".parse().unwrap(),
        };
        for (access, first) in [
            (
                code,
                "grant_type=authorization_code&code=b7Kx&redirect_uri=https://comments.example/cb",
            ),
            (Access::Visit("gazette.example".parse().unwrap()), "callback=f&bus=gazette.example"),
        ] {
            let mut tokens = Tokens::new(access);
            assert_eq!(asked(&tokens, NOW), first);
            // The credentials were wrong; the code is whole.
            assert!(!tokens.refused(GrantKind::First, &refusal(401)));
            assert_eq!(asked(&tokens, NOW), first);
            tokens.granted(answer("X1", r#","expires_in":3600,"refresh_token":"R1""#), NOW);
            tokens.rejected(&clear("X1"));
            assert!(asked(&tokens, NOW).ends_with("refresh_token=R1"));
            assert!(tokens.refused(GrantKind::Refresh, &refusal(400)));
            assert_eq!(asked(&tokens, NOW), "ended");
        }
    }

    #[test]
    fn a_client_with_grants_begins_anew() {
        let mut tokens = grants();
        tokens.granted(answer("PC1", r#","expires_in":0,"refresh_token":"PR1""#), NOW);
        assert!(tokens.refused(GrantKind::Refresh, &refusal(400)));
        assert_eq!(asked(&tokens, NOW), "grant_type=client_credentials");
    }
}
