//! The token endpoint (Backplane §10.1, §10.2).

use std::sync::Arc;

use axum::{body::Body, response::Response};
use buswire_message::{BusName, Realm, Scope};
use bytes::Bytes;
use http::{StatusCode, request::Parts};
use url::form_urlencoded;

use super::{
    Reading, is_secure,
    request::{self, Basic, has_type, read_body},
    response, v2_code,
    v2_error::{V2Error, echo, refuse},
    v2_messages::{params, respond},
};
use crate::{
    Backplane,
    config::ChannelBinding,
    rules::{names::ClientId, scopes::ScopeRefusal, token::TokenText},
    state::{
        State,
        clients::Client,
        password::Account,
        throttle::Source,
        tokens::{Issued, TokenError},
    },
    wire::{callback::Callback, json::push_string, params::Params},
};

/// `GET /v2/token`: a token for a visit.
pub(crate) async fn anonymous(state: &State, parts: &Parts, reading: Reading) -> Response {
    let params = params(parts);
    let secure = is_secure(state, parts);
    let callback = match Callback::from_param(params.first("callback")) {
        _ if !secure => return refuse(&V2Error::Insecure),
        Ok(Some(callback)) => callback,
        Ok(None) => return refuse(&V2Error::CallbackBlank),
        Err(_) => return refuse(&V2Error::TokenCallback),
    };
    // HEAD neither mints a channel nor uses a refresh token up.
    if reading == Reading::Head {
        return response::json(StatusCode::OK, Bytes::new());
    }
    match anonymous_pair(state, &params, request::source(parts)).await {
        Ok(issued) => response::with_pragma(respond(state, Some(&callback), Ok(told(&issued)))),
        Err(error) => respond(state, Some(&callback), Err(error)),
    }
}

async fn anonymous_pair(
    state: &State,
    params: &Params<'_>,
    source: Source,
) -> Result<Issued, V2Error> {
    match (params.non_blank("bus"), params.non_blank("refresh_token")) {
        (None, None) if state.config.channel_binding == ChannelBinding::FirstPostToo => {
            let filters = requested_scope(params.non_blank("scope"))?;
            state.throttle.visit(source, state.now()).map_err(V2Error::TooOften)?;
            state.open_channel(None, &filters).await.map_err(of_anonymous)
        }
        (Some(_), Some(_)) | (None, None) => Err(V2Error::BusOrRefresh),
        (Some(text), None) => {
            let unknown = || V2Error::UnknownBus(echo(text));
            let bus = BusName::new(Realm::V2, text).map_err(|_| unknown())?;
            let facts = state.bus_facts(&bus).await;
            let facts = facts.map_err(|error| anonymous_failed(&error))?.ok_or_else(unknown)?;
            let filters = requested_scope(params.non_blank("scope"))?;
            state.throttle.visit(source, state.now()).map_err(V2Error::TooOften)?;
            state.throttle.visit_bus(&bus, state.now()).map_err(V2Error::TooOften)?;
            state.open_channel(Some(&facts), &filters).await.map_err(of_anonymous)
        }
        (None, Some(text)) => {
            let requested = requested_scope(params.non_blank("scope"))?;
            let text = TokenText::parse(text).ok_or(V2Error::InvalidToken)?;
            state.refresh_visit(text, &requested).await.map_err(of_anonymous)
        }
    }
}

fn requested_scope(text: Option<&str>) -> Result<Scope, V2Error> {
    let scope = text.unwrap_or_default().parse();
    scope.map_err(|error| V2Error::Scope(ScopeRefusal::Syntax(error)))
}

fn of_anonymous(error: TokenError) -> V2Error {
    match error {
        TokenError::Invalid | TokenError::Expired => V2Error::InvalidToken,
        TokenError::Scope(refusal) => V2Error::Scope(refusal),
        TokenError::Bus(error) => anonymous_failed(&error),
        TokenError::Store(error) => anonymous_failed(&error),
    }
}

fn anonymous_failed(error: &(dyn std::error::Error + 'static)) -> V2Error {
    tracing::warn!(error, "an anonymous token was not issued");
    V2Error::AnonymousTokenFailed
}

/// The five members, in this order: published clients read exactly these (§9.3).
fn told(issued: &Issued) -> Vec<u8> {
    let mut body = b"{\"token_type\":\"Bearer\",\"access_token\":".to_vec();
    push_string(&mut body, issued.access.expose());
    body.extend_from_slice(b",\"expires_in\":");
    body.extend_from_slice(issued.expires_in.to_string().as_bytes());
    body.extend_from_slice(b",\"scope\":");
    push_string(&mut body, &issued.scope.to_string());
    body.extend_from_slice(b",\"refresh_token\":");
    push_string(&mut body, issued.refresh.expose());
    body.push(b'}');
    body
}

/// `POST /v2/token`: a token for a client.
pub(crate) async fn privileged(backplane: &Backplane, parts: &Parts, body: Body) -> Response {
    match privileged_pair(backplane, parts, body).await {
        Ok(issued) => response::with_pragma(response::json(StatusCode::OK, told(&issued))),
        Err(error) => refuse(&error),
    }
}

async fn privileged_pair(
    backplane: &Backplane,
    parts: &Parts,
    body: Body,
) -> Result<Issued, V2Error> {
    let state = &backplane.state;
    if !is_secure(state, parts) {
        return Err(V2Error::Insecure);
    }
    let query = params(parts);
    let body = read_body(body, state.config.limits.body_bytes_max).await?;
    let is_form = has_type(&parts.headers, "application/x-www-form-urlencoded");
    if !is_form && !body.is_empty() {
        return Err(V2Error::ContentType);
    }
    let form = Params::parse(&body);
    let misplaced = |params: &Params<'_>| {
        params.first("client_id").is_some() || params.first("client_secret").is_some()
    };
    if misplaced(&query) || misplaced(&form) {
        return Err(V2Error::ClientAuthentication);
    }
    let client = authenticate(state, parts).await?;
    // Before all other checks: a code that was shown is used, whatever comes of the request (§10.2).
    // That it was no good is told after what is wrong with the parameters.
    let burned = match form.non_blank("code") {
        Some(code) => v2_code::burn(backplane, &client, code).await,
        None => Err(V2Error::CodeRule),
    };
    match Grant::read(&query, &form)? {
        Grant::ClientCredentials { scope } => {
            let issued = state.issue_to_client(&client, &requested_scope(scope)?).await;
            issued.map_err(of_privileged)
        }
        Grant::Code { code, redirect_uri, verifier, scope } => {
            let burned = burned?;
            v2_code::check_redirect_uri(&client, redirect_uri)?;
            let scope = requested_scope(scope)?;
            v2_code::redeem(backplane, &client, code, burned, verifier, &scope).await
        }
        Grant::Refresh { token, scope } => {
            let text = TokenText::parse(token).ok_or(V2Error::InvalidRefresh)?;
            let issued = state.refresh_privileged(&client, text, scope.unwrap_or_default()).await;
            issued.map_err(of_privileged)
        }
    }
}

pub(super) fn of_privileged(error: TokenError) -> V2Error {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        tracing::warn!(error, "a privileged token was not issued");
        V2Error::TokenFailed
    };
    match error {
        TokenError::Invalid => V2Error::InvalidRefresh,
        TokenError::Expired => V2Error::ExpiredRefresh,
        TokenError::Scope(refusal) => V2Error::Scope(refusal),
        TokenError::Bus(error) => failed(&error),
        TokenError::Store(error) => failed(&error),
    }
}

/// What a client asks for.
enum Grant<'a> {
    ClientCredentials { scope: Option<&'a str> },
    Code { code: &'a str, redirect_uri: &'a str, verifier: Option<&'a str>, scope: Option<&'a str> },
    Refresh { token: &'a str, scope: Option<&'a str> },
}

impl<'a> Grant<'a> {
    /// Reads the parameters and checks which of them belong together (§10.2). `grant_type` and
    /// `scope` may stand in the query, all others in the body only.
    fn read(query: &'a Params<'_>, form: &'a Params<'_>) -> Result<Self, V2Error> {
        let from_both = |name| form.non_blank(name).or_else(|| query.non_blank(name));
        let (kind, scope) = (from_both("grant_type"), from_both("scope"));
        let (code, redirect_uri) = (form.non_blank("code"), form.non_blank("redirect_uri"));
        let token = form.non_blank("refresh_token");
        let is_code = matches!(kind, Some("authorization_code" | "code"));
        let is_refresh = kind == Some("refresh_token");
        if kind.is_none() {
            return Err(V2Error::NoGrantType);
        }
        if let Some(unknown) =
            kind.filter(|k| !is_code && !is_refresh && *k != "client_credentials")
        {
            return Err(V2Error::GrantType(echo(unknown)));
        }
        if code.is_some() != is_code {
            return Err(V2Error::CodeRule);
        }
        if token.is_some() != is_refresh {
            return Err(V2Error::RefreshRule);
        }
        if redirect_uri.is_some() != is_code {
            return Err(V2Error::RedirectRule);
        }
        let verifier = form.non_blank("code_verifier");
        Ok(match (code.zip(redirect_uri), token) {
            (Some((code, redirect_uri)), _) => Self::Code { code, redirect_uri, verifier, scope },
            (None, Some(token)) => Self::Refresh { token, scope },
            (None, None) => Self::ClientCredentials { scope },
        })
    }
}

/// The client that a request proves to come from, by HTTP Basic: the parts as they are, or form-decoded
/// as RFC 6749 has it (§10.2).
async fn authenticate(state: &State, parts: &Parts) -> Result<Arc<Client>, V2Error> {
    let basic = request::basic(&parts.headers).ok_or(V2Error::ClientAuthentication)?;
    let source = request::source(parts);
    if let Some(client) = check(state, &basic, source).await? {
        return Ok(client);
    }
    let decoded = Basic {
        name: form_decoded(&basic.name),
        password: form_decoded(basic.password.expose()).into(),
    };
    let is_same = decoded.name == basic.name && decoded.password == basic.password;
    let client = if is_same { None } else { check(state, &decoded, source).await? };
    client.ok_or(V2Error::ClientAuthentication)
}

async fn check(
    state: &State,
    basic: &Basic,
    source: Source,
) -> Result<Option<Arc<Client>>, V2Error> {
    let client = match basic.name.parse::<ClientId>() {
        Ok(id) => state.client(&id).await.map_err(|error| V2Error::unavailable(&error))?,
        Err(_) => None,
    };
    let stored = client.as_ref().map(|client| &client.credential);
    let account = Account::Client(&basic.name);
    let is_right = state.verify_password(account, stored, &basic.password, source).await?;
    Ok(client.filter(|_| is_right))
}

fn form_decoded(text: &str) -> String {
    // One name without a value, so that nothing in it is taken for a separator.
    let protected = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(protected.as_bytes())
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}
