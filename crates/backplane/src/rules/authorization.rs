//! What a client asks of a bus owner, and where the answer goes (Backplane §11.1, RFC 6749 §4.1).
//!
//! Pure. Never here: who is signed in, which buses an owner has.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use buswire_message::{BusName, Field, Realm, Scope};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::form_urlencoded::Serializer;

use super::names::{ClientId, RedirectUri};
use crate::wire::params::Params;

/// The longest `state` that is given back; RFC 6749 sets no bound, so this is ours.
const STATE_BYTES_MAX: usize = 2048;

/// The challenge of a client that proves at the exchange that it made the request (RFC 7636, S256).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge([u8; 32]);

impl Challenge {
    /// Reads the text of a challenge.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The text that [`parse`](Self::parse) reads.
    pub(crate) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Whether `verifier` is what the challenge was made from.
    pub(crate) fn is_met_by(&self, verifier: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(verifier).into();
        digest.ct_eq(&self.0).into()
    }
}

/// A request whose answer may go to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client: ClientId,
    /// The registered one; a request that names another is never made into this.
    pub(crate) redirect_uri: RedirectUri,
    pub(crate) scope: Scope,
    pub(crate) state: Option<String>,
    pub(crate) challenge: Option<Challenge>,
}

/// What a redirect tells a client that gets no code (RFC 6749 §4.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    InvalidRequest(&'static str),
    UnsupportedResponseType,
    InvalidScope(&'static str),
    AccessDenied,
    TemporarilyUnavailable,
}

impl Refusal {
    const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope(_) => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(text) | Self::InvalidScope(text) => text,
            Self::UnsupportedResponseType => "response_type must be code",
            Self::AccessDenied => "the bus owner denied the request",
            Self::TemporarilyUnavailable => "the server can't answer at present; try again",
        }
    }
}

/// The parts of a request beside its client and redirect URI, which are checked first.
pub(crate) fn read(
    params: &Params<'_>,
    client: ClientId,
    redirect_uri: RedirectUri,
) -> Result<AuthorizationRequest, Refusal> {
    match params.non_blank("response_type") {
        Some("code") => {}
        Some(_) => return Err(Refusal::UnsupportedResponseType),
        None => return Err(Refusal::InvalidRequest("response_type is required")),
    }
    let scope = params.non_blank("scope").unwrap_or_default().parse();
    let scope = scope.map_err(|_| Refusal::InvalidScope("the scope is malformed"))?;
    Ok(AuthorizationRequest {
        client,
        redirect_uri,
        scope,
        state: state(params),
        challenge: challenge(params)?,
    })
}

/// The `state` to give back, verbatim.
pub(crate) fn state(params: &Params<'_>) -> Option<String> {
    params.first("state").filter(|state| state.len() <= STATE_BYTES_MAX).map(str::to_owned)
}

fn challenge(params: &Params<'_>) -> Result<Option<Challenge>, Refusal> {
    let method = params.non_blank("code_challenge_method");
    match (params.non_blank("code_challenge"), method) {
        (None, None) => Ok(None),
        (Some(text), Some("S256")) => {
            let challenge = Challenge::parse(text).map(Some);
            challenge.ok_or(Refusal::InvalidRequest("code_challenge is malformed"))
        }
        _ => Err(Refusal::InvalidRequest("code_challenge_method must be S256")),
    }
}

impl AuthorizationRequest {
    /// The buses that the owner of `owned` would give: all for a request that names none, else
    /// those asked for that it owns. Other entries are filters, for the token endpoint.
    pub(crate) fn buses(&self, owned: &[BusName]) -> Vec<BusName> {
        if !self.scope.has(Field::Bus) {
            return owned.to_vec();
        }
        let asked =
            self.scope.values(Field::Bus).filter_map(|bus| BusName::new(Realm::V2, bus).ok());
        asked.filter(|bus| owned.contains(bus)).collect()
    }

    /// Where the browser takes a code. The scope is told if it is not what was asked for.
    pub(crate) fn granted(&self, code: &str, buses: &[BusName]) -> String {
        let asked = self.scope.values(Field::Bus).count();
        let given = buses.iter().map(|bus| format!("bus:{}", bus.name())).collect::<Vec<_>>();
        let scope = (asked > 0 && asked != given.len()).then(|| given.join(" "));
        let fields = [("code", Some(code)), ("state", self.state.as_deref())];
        located(&self.redirect_uri, fields.into_iter().chain([("scope", scope.as_deref())]))
    }

    /// Where the browser takes a refusal.
    pub(crate) fn refused(&self, refusal: Refusal) -> String {
        refused(&self.redirect_uri, refusal, self.state.as_deref())
    }
}

/// Where the browser takes the refusal of a request that could not be read.
pub(crate) fn refused(uri: &RedirectUri, refusal: Refusal, state: Option<&str>) -> String {
    let (error, description) = (Some(refusal.code()), Some(refusal.description()));
    located(uri, [("error", error), ("error_description", description), ("state", state)])
}

/// Appends form-encoded fields, so that nothing of them can end a header line or add a field.
fn located<'a>(
    uri: &RedirectUri,
    fields: impl IntoIterator<Item = (&'static str, Option<&'a str>)>,
) -> String {
    let mut query = Serializer::new(String::new());
    for (name, value) in fields {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let joint = if uri.as_str().contains('?') { '&' } else { '?' };
    format!("{}{joint}{}", uri.as_str(), query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "https://c.example/cb";

    fn request(query: &str) -> Result<AuthorizationRequest, Refusal> {
        let params = Params::parse(query.as_bytes());
        read(&params, "c".parse().unwrap(), URI.parse().unwrap())
    }

    fn buses(names: &[&str]) -> Vec<BusName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn what_is_wrong_is_told_by_its_code() {
        // Rule: backplane §11.1 — errors beside client and redirect URI go back with their code
        let cases = [
            ("", "invalid_request"),
            ("response_type=token", "unsupported_response_type"),
            ("response_type=code&scope=bus", "invalid_scope"),
            ("response_type=code&code_challenge=x", "invalid_request"),
            ("response_type=code&code_challenge=x&code_challenge_method=S256", "invalid_request"),
            ("response_type=code&code_challenge_method=plain", "invalid_request"),
        ];
        for (query, code) in cases {
            assert_eq!(request(query).unwrap_err().code(), code, "{query}");
        }
    }

    #[test]
    fn buses_are_what_the_owner_has_of_what_was_asked_for() {
        // Rule: backplane §11.1 — no bus entry means all buses of the owner, else those it owns
        let owned = buses(&["a", "b"]);
        let cases = [
            ("response_type=code", &["a", "b"][..]),
            ("response_type=code&scope=type%3Ax", &["a", "b"]),
            ("response_type=code&scope=bus%3Ab+bus%3Az", &["b"]),
            ("response_type=code&scope=bus%3Az", &[]),
        ];
        for (query, expected) in cases {
            assert_eq!(request(query).unwrap().buses(&owned), buses(expected), "{query}");
        }
    }

    #[test]
    fn redirects_are_form_encoded() {
        // Rule: backplane §17 row 32 — nothing of state or scope can split a header or add a field
        let wild = request("response_type=code&state=x%0D%0AA%26code%3Dz&scope=bus%3Ab+bus%3Az");
        assert_eq!(
            wild.unwrap().granted("k", &buses(&["b"])),
            "https://c.example/cb?code=k&state=x%0D%0AA%26code%3Dz&scope=bus%3Ab"
        );
        // Rule: backplane §11.1 — fields are added with & where the URI has a query; state only if given
        let uri = "https://c.example/cb?k=1".parse().unwrap();
        assert_eq!(
            refused(&uri, Refusal::AccessDenied, None),
            "https://c.example/cb?k=1&error=access_denied&error_description=the+bus+owner+denied+the+request"
        );
    }

    #[test]
    fn a_challenge_is_met_by_its_verifier() {
        // Rule: backplane §11.1 — PKCE with S256 is accepted (the example of RFC 7636, appendix B)
        let challenge = Challenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
        assert!(challenge.is_met_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!challenge.is_met_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl"));
        assert_eq!(Challenge::parse(&challenge.to_text()), Some(challenge));
    }
}
