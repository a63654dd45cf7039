//! A client asks, a bus owner signs in and decides (Backplane §11.1).
//!
//! Nothing is sent to a redirect URI before the client is known and the URI is the registered one.
//! Never here: the exchange of the code.

mod cookies;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use buswire_message::Secret;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};

use super::{
    is_secure, pages,
    request::{self, BodyError, has_type, read_body},
    response,
};
use crate::{
    rules::{
        authorization::{self, AuthorizationRequest, Refusal},
        names::{ClientId, OwnerName},
    },
    state::{State, authorization::SignInError, clients::Client, throttle::NotVerified},
    wire::params::Params,
};

/// Why no page with a form and no redirect is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Insecure,
    Client,
    RedirectUri,
    NoRequest,
    Decision,
    DecisionByGet,
    CrossOrigin,
    ContentType,
    TooLarge,
    Broken,
    Unavailable,
}

impl Problem {
    fn response(self) -> Response {
        let again = "Go back to the site that sent you here and begin again.";
        let site = "The site that sent you here must correct its request.";
        let (status, text, advice) = match self {
            Self::Insecure => {
                (StatusCode::FORBIDDEN, "Connection must be made over https.", "Use https.")
            }
            Self::Client => {
                (StatusCode::BAD_REQUEST, "The site that asks is not a registered client.", site)
            }
            Self::RedirectUri => (
                StatusCode::BAD_REQUEST,
                "The address for the answer is not the one that the client registered.",
                site,
            ),
            Self::NoRequest => {
                (StatusCode::BAD_REQUEST, "There is no request to decide, or it expired.", again)
            }
            Self::Decision => (
                StatusCode::FORBIDDEN,
                "This decision is not valid: it was made before, expired, or is not yours.",
                again,
            ),
            Self::DecisionByGet => (
                StatusCode::BAD_REQUEST,
                "Invalid HTTP method for authorization decision post: GET",
                again,
            ),
            Self::CrossOrigin => {
                (StatusCode::FORBIDDEN, "The form was sent from another site.", again)
            }
            Self::ContentType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "A form is expected here.", again)
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The form is too large.", again),
            Self::Broken => (StatusCode::BAD_REQUEST, "The form was not received whole.", again),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "The server can't answer.", "Try again later.")
            }
        };
        pages::problem(status, text, advice)
    }

    /// Logs a failure of ours, once.
    fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error, "an authorization failed");
        Self::Unavailable
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Broken => Self::Broken,
        }
    }
}

/// `GET /v2/authorize`, `POST /v2/authorize`.
pub(crate) async fn authorize(state: &State, parts: &Parts, body: Body) -> Response {
    if parts.method == Method::HEAD {
        // Nothing is minted for it.
        return response::empty(StatusCode::OK);
    }
    let answer = async {
        let form = fields(state, parts, body).await?;
        let params = Params::parse(&form);
        match params.first("auth_key") {
            Some(_) if parts.method != Method::POST => Err(Problem::DecisionByGet),
            Some(auth_key) => decide(state, parts, &params, auth_key).await,
            None if is_request(&params) => begin(state, parts, &params).await,
            None => resume(state, parts).await,
        }
    };
    answer.await.unwrap_or_else(Problem::response)
}

/// `GET /v2/authenticate`, `POST /v2/authenticate`.
pub(crate) async fn authenticate(state: &State, parts: &Parts, body: Body) -> Response {
    if parts.method == Method::HEAD {
        return response::empty(StatusCode::OK);
    }
    let answer = async {
        let is_logout = Params::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .first("logout")
            .is_some();
        let form = fields(state, parts, body).await?;
        match (parts.method == Method::POST, is_logout) {
            (false, _) => {
                let waiting = waiting(state, parts).await?;
                Ok(sign_in_form(StatusCode::OK, waiting.as_ref(), None))
            }
            (true, true) => sign_out(state, parts).await,
            (true, false) => sign_in(state, parts, &Params::parse(&form)).await,
        }
    };
    answer.await.unwrap_or_else(Problem::response)
}

/// The bytes of the query of a GET, or of the form of a POST that comes from our own pages or from no
/// page.
async fn fields(state: &State, parts: &Parts, body: Body) -> Result<Vec<u8>, Problem> {
    if !is_secure(state, parts) {
        return Err(Problem::Insecure);
    }
    if parts.method != Method::POST {
        return Ok(parts.uri.query().unwrap_or_default().as_bytes().to_vec());
    }
    if !has_type(&parts.headers, "application/x-www-form-urlencoded") {
        return Err(Problem::ContentType);
    }
    let form = read_body(body, state.config.limits.body_bytes_max).await?;
    // A request may be posted by the client's page; what decides or signs in may not.
    if !is_request(&Params::parse(&form)) && !is_of_own_page(state, &parts.headers) {
        return Err(Problem::CrossOrigin);
    }
    Ok(form.to_vec())
}

/// Whether a form was sent by a page of ours, or by no page.
///
/// `Sec-Fetch-Site` counts where there is one: a page with `Referrer-Policy: no-referrer`, as ours, makes
/// browsers write `Origin: null` even to its own origin.
fn is_of_own_page(state: &State, headers: &HeaderMap) -> bool {
    match (headers.get("sec-fetch-site"), headers.get(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.as_bytes() == state.config.public_url.origin().as_bytes(),
        (None, None) => true,
    }
}

fn is_request(params: &Params<'_>) -> bool {
    let named = ["client_id", "response_type", "redirect_uri"];
    named.iter().any(|name| params.first(name).is_some()) && params.first("auth_key").is_none()
}

/// A new request of a client.
async fn begin(state: &State, parts: &Parts, params: &Params<'_>) -> Result<Response, Problem> {
    let id = params.non_blank("client_id").and_then(|id| id.parse::<ClientId>().ok());
    let client = client(state, id.as_ref()).await?;
    let uri = client.redirect_uri.clone();
    if params.non_blank("redirect_uri").is_some_and(|asked| asked != uri.as_str()) {
        return Err(Problem::RedirectUri);
    }
    let request = match authorization::read(params, client.id.clone(), uri.clone()) {
        Ok(request) => request,
        Err(refusal) => {
            let given = authorization::state(params);
            return Ok(see_other(&authorization::refused(&uri, refusal, given.as_deref()), None));
        }
    };
    let ticket = match state.keep_request(&request).await {
        Ok(ticket) => ticket,
        Err(error) => {
            tracing::warn!(%error, "an authorization request was not kept");
            return Ok(see_other(&request.refused(Refusal::TemporarilyUnavailable), None));
        }
    };
    let lifetime = state.config.lifetimes.authorization_request.as_secs();
    let cookie = cookies::set(cookies::REQUEST, ticket.expose(), lifetime);
    match owner(state, parts).await? {
        None => Ok(see_other(&own(state, "/v2/authenticate"), cookie)),
        Some(owner) => {
            let shown = show(state, &client, &request, ticket.expose(), &owner).await?;
            Ok(with_cookie(shown, cookie))
        }
    }
}

/// The request that waited for its owner to sign in.
async fn resume(state: &State, parts: &Parts) -> Result<Response, Problem> {
    let ticket = cookies::get(&parts.headers, cookies::REQUEST).ok_or(Problem::NoRequest)?;
    let request = waiting(state, parts).await?.ok_or(Problem::NoRequest)?;
    let client = client(state, Some(&request.client)).await?;
    match owner(state, parts).await? {
        None => Ok(see_other(&own(state, "/v2/authenticate"), None)),
        Some(owner) => show(state, &client, &request, ticket, &owner).await,
    }
}

/// Who is signed in, and the ticket of the sign-in.
struct SignedIn<'a> {
    name: OwnerName,
    ticket: &'a str,
}

async fn owner<'a>(state: &State, parts: &'a Parts) -> Result<Option<SignedIn<'a>>, Problem> {
    let Some(ticket) = cookies::get(&parts.headers, cookies::SIGN_IN) else { return Ok(None) };
    let name = state.signed_in(ticket).await.map_err(|error| Problem::unavailable(&error))?;
    Ok(name.map(|name| SignedIn { name, ticket }))
}

async fn client(state: &State, id: Option<&ClientId>) -> Result<Arc<Client>, Problem> {
    let id = id.ok_or(Problem::Client)?;
    let client = state.client(id).await.map_err(|error| Problem::unavailable(&error))?;
    client.ok_or(Problem::Client)
}

/// The request that the browser's cookie names.
async fn waiting(state: &State, parts: &Parts) -> Result<Option<AuthorizationRequest>, Problem> {
    match cookies::get(&parts.headers, cookies::REQUEST) {
        None => Ok(None),
        Some(ticket) => state.request(ticket).await.map_err(|error| Problem::unavailable(&error)),
    }
}

/// The form to decide with, or the client's answer if there is nothing to decide.
async fn show(
    state: &State,
    client: &Client,
    request: &AuthorizationRequest,
    ticket: &str,
    owner: &SignedIn<'_>,
) -> Result<Response, Problem> {
    let buses = state.owned_buses(&owner.name).await;
    let buses = request.buses(&buses.map_err(|error| Problem::unavailable(&error))?);
    if buses.is_empty() {
        let refusal = Refusal::InvalidScope("the bus owner has none of the buses asked for");
        return Ok(see_other(&request.refused(refusal), None));
    }
    let auth_key = state.open_decision(owner.ticket, ticket).await;
    let auth_key = auth_key.map_err(|error| Problem::unavailable(&error))?;
    Ok(pages::decision(client, &buses, auth_key.expose(), owner.name.as_str()))
}

/// What the owner decided. The key is used up whatever the decision is.
async fn decide(
    state: &State,
    parts: &Parts,
    params: &Params<'_>,
    auth_key: &str,
) -> Result<Response, Problem> {
    let failed = |error: buswire_store::StoreError| Problem::unavailable(&error);
    let ticket = cookies::get(&parts.headers, cookies::REQUEST).ok_or(Problem::Decision)?;
    let owner = owner(state, parts).await?.ok_or(Problem::Decision)?;
    if !state.use_decision(auth_key, owner.ticket, ticket).await.map_err(failed)? {
        return Err(Problem::Decision);
    }
    let request = waiting(state, parts).await?.ok_or(Problem::NoRequest)?;
    // Since the request was kept the client may have been deleted, or registered another address.
    let client = client(state, Some(&request.client)).await?;
    if client.redirect_uri != request.redirect_uri {
        return Err(Problem::RedirectUri);
    }
    state.end_request(ticket).await.map_err(failed)?;
    if params.first("authorize") != Some("Authorize") {
        return Ok(see_other(&request.refused(Refusal::AccessDenied), None));
    }
    let buses = request.buses(&state.owned_buses(&owner.name).await.map_err(failed)?);
    let code = state.mint_code(&request, &client, &owner.name, &buses).await.map_err(failed)?;
    Ok(see_other(&request.granted(code.expose(), &buses), None))
}

async fn sign_in(state: &State, parts: &Parts, params: &Params<'_>) -> Result<Response, Problem> {
    let name = params.first("busOwner").unwrap_or_default();
    let password = Secret::new(params.first("password").unwrap_or_default().to_owned());
    let (status, text) = match state.sign_in(name, &password, request::source(parts)).await {
        Ok(Some(ticket)) => {
            if let Some(earlier) = cookies::get(&parts.headers, cookies::SIGN_IN) {
                let ended = state.sign_out(earlier).await;
                ended.map_err(|error| Problem::unavailable(&error))?;
            }
            let lifetime = state.config.lifetimes.sign_in.as_secs();
            let cookie = cookies::set(cookies::SIGN_IN, ticket.expose(), lifetime);
            return Ok(see_other(&own(state, "/v2/authorize"), cookie));
        }
        Ok(None) => (StatusCode::UNAUTHORIZED, "Access denied."),
        Err(SignInError::NotVerified(NotVerified::TooOften(wait))) => {
            let text = "Too many failed attempts. Try again in ten minutes.";
            let (status, waiting) = (StatusCode::TOO_MANY_REQUESTS, waiting(state, parts).await?);
            let form = sign_in_form(status, waiting.as_ref(), Some(text));
            return Ok(response::with_retry_after(form, wait));
        }
        Err(error) => return Err(Problem::unavailable(&error)),
    };
    let accept = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if status == StatusCode::UNAUTHORIZED && !accept.is_some_and(|a| a.contains("text/html")) {
        return Ok(response::json(status, &br#"{"error":"Access denied."}"#[..]));
    }
    Ok(sign_in_form(status, waiting(state, parts).await?.as_ref(), Some(text)))
}

fn sign_in_form(
    status: StatusCode,
    waiting: Option<&AuthorizationRequest>,
    problem: Option<&str>,
) -> Response {
    let waiting = waiting.map(|request| (request.client.as_str(), &request.redirect_uri));
    pages::sign_in(status, waiting, problem)
}

async fn sign_out(state: &State, parts: &Parts) -> Result<Response, Problem> {
    if let Some(ticket) = cookies::get(&parts.headers, cookies::SIGN_IN) {
        state.sign_out(ticket).await.map_err(|error| Problem::unavailable(&error))?;
    }
    Ok(see_other(&own(state, "/v2/authenticate"), cookies::set(cookies::SIGN_IN, "", 0)))
}

fn own(state: &State, path: &str) -> String {
    format!("{}{path}", state.config.public_url.as_str())
}

fn see_other(location: &str, cookie: Option<HeaderValue>) -> Response {
    let mut response = response::empty(StatusCode::SEE_OTHER);
    match HeaderValue::from_bytes(location.as_bytes()) {
        Ok(location) => response.headers_mut().insert(header::LOCATION, location),
        Err(error) => return Problem::unavailable(&error).response(),
    };
    with_cookie(response, cookie)
}

fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
