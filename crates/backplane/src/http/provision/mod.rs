//! The provisioning interface of the reference server (Backplane §13).
//!
//! Each request carries an administrator's name and secret in its body. Never here: what the calls
//! do; that is `admin/`.

mod entities;
mod grants;
mod trail;

use axum::{body::Body as HttpBody, response::Response};
use http::{StatusCode, request::Parts};

use self::trail::Trail;
use super::{
    is_secure,
    request::{BodyError, has_type, read_body, source},
    response,
    v1::{self, V1Error},
};
use crate::{
    Backplane,
    config::Administrator,
    error::AdminError,
    state::State,
    wire::provision::{Body, Call, EntryError, Told, answer},
};

/// Why a request is refused whole. `Display` is the `ERR_MSG`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProvisionError {
    #[error("Access denied")]
    AccessDenied,
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("{name}: {error}")]
    Config { name: String, error: EntryError },
    #[error("{0}")]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Common(#[from] V1Error),
}

impl ProvisionError {
    fn response(&self) -> Response {
        let status = match self {
            Self::Common(error) => return v1::refuse(error),
            Self::Admin(error) if is_ours(error) => {
                return v1::refuse(&V1Error::unavailable(error));
            }
            Self::AccessDenied => StatusCode::UNAUTHORIZED,
            Self::Entry(_) | Self::Config { .. } | Self::Admin(_) => StatusCode::BAD_REQUEST,
        };
        response::json(status, v1::err_msg(&self.to_string()))
    }
}

impl From<BodyError> for ProvisionError {
    fn from(error: BodyError) -> Self {
        Self::Common(error.into())
    }
}

/// Whether a failure is the server's and not the request's.
fn is_ours(error: &AdminError) -> bool {
    match error {
        AdminError::Busy | AdminError::Contended | AdminError::Bus(_) | AdminError::Store(_) => {
            true
        }
        AdminError::Name(_)
        | AdminError::Retention(_)
        | AdminError::WrongRealm(_)
        | AdminError::UnknownBus(_)
        | AdminError::UnknownOwner(_)
        | AdminError::UnknownClient(_)
        | AdminError::ClientExists(_)
        | AdminError::Changed { .. }
        | AdminError::EmptyGrant
        | AdminError::TooManyGrants { .. }
        | AdminError::Password => false,
    }
}

/// What is told of an entry that could not be changed.
fn refused(error: &AdminError) -> Told {
    if is_ours(error) { Told::text(&V1Error::unavailable(error)) } else { Told::text(error) }
}

/// Entries and what is told of each, in the order of the request.
type Entries = Vec<(String, Told)>;

/// `POST /v1…/provision/…`, `POST /v2/provision/…`.
pub(crate) async fn provision(
    backplane: &Backplane,
    parts: &Parts,
    body: HttpBody,
    call: Call,
) -> Response {
    match entries(backplane, parts, body, call).await {
        Ok(entries) => response::json(StatusCode::OK, answer(&entries)),
        Err(error) => error.response(),
    }
}

async fn entries(
    backplane: &Backplane,
    parts: &Parts,
    body: HttpBody,
    call: Call,
) -> Result<Entries, ProvisionError> {
    let state = &backplane.state;
    if !is_secure(state, parts) {
        return Err(V1Error::Insecure.into());
    }
    if !has_type(&parts.headers, "application/json") {
        return Err(V1Error::ContentType.into());
    }
    let body = read_body(body, state.config.limits.body_bytes_max).await?;
    let body = Body::parse(&body)?;
    let (source, now) = (source(parts), state.now());
    state.throttle.check_source(source, now).map_err(V1Error::TooOften)?;
    let trail = Trail::new(&state.config, parts, &body.admin, call);
    if !is_administrator(state, &body) {
        state.throttle.count_failure(source, now);
        trail.denied(&state.config).await;
        return Err(ProvisionError::AccessDenied);
    }
    let entries = match call {
        Call::Entity(entity, action) => {
            entities::serve(backplane, &body, &trail, entity, action).await
        }
        Call::Grant(action) => grants::serve(backplane, &body, &trail, action).await,
    };
    if let Err(error) = &entries {
        trail.refused_whole(error).await;
    }
    let entries = entries?;
    tracing::info!(?call, entries = entries.len(), "provisioned");
    Ok(entries)
}

/// Secrets are compared by their hashes, in constant time. Names are no secrets.
fn is_administrator(state: &State, body: &Body<'_>) -> bool {
    let is_it = |administrator: &Administrator| {
        administrator.name == body.admin && administrator.secret.matches(body.secret.expose())
    };
    state.config.administrators.iter().any(is_it)
}
