//! Backplane 1.x (Backplane §6).

use axum::{body::Body, response::Response};
use buswire_bus::{PublishError, StoredMessage, View};
use buswire_message::{
    BusName, ChannelName, Door, Field, NewMessage, Realm, RetentionError, Scope, TooOften, mint_hex,
};
use http::{StatusCode, request::Parts};

use super::{
    Reading, is_secure,
    request::{self, BodyError},
    response,
};
use crate::{
    rules::names::{Permission, UserName},
    state::{State, password::Account, throttle::NotVerified},
    wire::{
        callback::Callback,
        frame,
        json::push_string,
        params::Params,
        path::FrameForm,
        since::Since,
        upstream::{self, ListError},
    },
};

/// The length of a minted 1.x channel name in hexadecimal digits (§4.2).
const CHANNEL_LENGTH: usize = 32;

/// How many messages one read of a bus gives; an answer is as many reads as it takes.
const READ_PAGE: usize = 1000;

/// Why a 1.x request is refused. `Display` is the `ERR_MSG`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum V1Error {
    #[error("Access denied.")]
    AccessDenied,
    #[error("Connection must be made over https")]
    Insecure,
    #[error("Invalid Request URL")]
    UnknownUrl,
    #[error("Request method not supported")]
    Method,
    #[error("callback parameter value is malformed")]
    Callback,
    #[error("Invalid channel")]
    Channel,
    #[error("Invalid value for sticky parameter")]
    Sticky,
    #[error("Invalid content type")]
    ContentType,
    #[error("Request body too large")]
    TooLarge,
    #[error("Invalid body: not received whole")]
    Broken,
    #[error(transparent)]
    List(#[from] ListError),
    #[error("Invalid message: expire is refused")]
    Expire(#[source] RetentionError),
    #[error("Message limit exceeded for this channel")]
    ChannelFull,
    #[error("Too many requests")]
    TooOften(TooOften),
    #[error("Service unavailable")]
    Unavailable,
}

impl V1Error {
    const fn status(&self) -> StatusCode {
        match self {
            Self::AccessDenied => StatusCode::UNAUTHORIZED,
            Self::Insecure | Self::ChannelFull => StatusCode::FORBIDDEN,
            Self::UnknownUrl => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Callback
            | Self::Channel
            | Self::Sticky
            | Self::Broken
            | Self::List(_)
            | Self::Expire(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn body(&self) -> Vec<u8> {
        err_msg(&self.to_string())
    }

    /// Logs a failure of ours, once, and says only that there was one.
    pub(super) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error, "a request failed");
        Self::Unavailable
    }
}

impl From<NotVerified> for V1Error {
    fn from(error: NotVerified) -> Self {
        match error {
            NotVerified::TooOften(wait) => Self::TooOften(wait),
            NotVerified::Busy(error) => Self::unavailable(&error),
        }
    }
}

impl From<BodyError> for V1Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Broken => Self::Broken,
        }
    }
}

/// The body of an error in the style of 1.x (§3.8).
pub(super) fn err_msg(text: &str) -> Vec<u8> {
    let mut body = b"{\"ERR_MSG\":".to_vec();
    push_string(&mut body, text);
    body.push(b'}');
    body
}

/// The answer to a refused request.
pub(crate) fn refuse(error: &V1Error) -> Response {
    let response = response::json(error.status(), error.body());
    match error {
        V1Error::AccessDenied => response::with_challenge(response),
        V1Error::TooOften(wait) => response::with_retry_after(response, *wait),
        _ => response,
    }
}

fn params(parts: &Parts) -> Params<'_> {
    Params::parse(parts.uri.query().unwrap_or_default().as_bytes())
}

fn callback(params: &Params<'_>) -> Result<Option<Callback>, V1Error> {
    Callback::from_param(params.first("callback")).map_err(|_| V1Error::Callback)
}

/// `GET /v1…/bus/{bus}/channel/new`: a new name; nothing is stored (§6.3).
pub(crate) fn new_channel(state: &State, parts: &Parts, reading: Reading) -> Response {
    let callback = match callback(&params(parts)) {
        Ok(callback) => callback,
        Err(error) => return refuse(&error),
    };
    let source = request::source(parts);
    if let (Reading::Get, Err(wait)) = (reading, state.throttle.visit(source, state.now())) {
        let error = V1Error::TooOften(wait);
        return match callback {
            None => refuse(&error),
            Some(_) => response::maybe_padded(
                callback.as_ref(),
                state.config.padding_prefix,
                error.status(),
                error.body(),
            ),
        };
    }
    let name = match reading {
        Reading::Get => mint_hex(&*state.entropy, CHANNEL_LENGTH).expose().clone(),
        // HEAD mints nothing; only the length shows.
        Reading::Head => "0".repeat(CHANNEL_LENGTH),
    };
    let mut body = Vec::with_capacity(CHANNEL_LENGTH + 2);
    push_string(&mut body, &name);
    response::maybe_padded(callback.as_ref(), state.config.padding_prefix, StatusCode::OK, body)
}

/// `GET /v1…/bus/{bus}/channel/{channel}`: the frames of a channel, for whoever knows it (§6.4).
pub(crate) async fn channel(
    state: &State,
    parts: &Parts,
    form: FrameForm,
    bus: &str,
    channel: &str,
) -> Response {
    let params = params(parts);
    let callback = match callback(&params) {
        Ok(callback) => callback,
        Err(error) => return refuse(&error),
    };
    let (status, body) = match read_channel(state, &params, form, bus, channel).await {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (error.status(), error.body()),
    };
    response::maybe_padded(callback.as_ref(), state.config.padding_prefix, status, body)
}

async fn read_channel(
    state: &State,
    params: &Params<'_>,
    form: FrameForm,
    bus: &str,
    channel: &str,
) -> Result<Vec<u8>, V1Error> {
    let channel: ChannelName = channel.parse().map_err(|_| V1Error::Channel)?;
    match BusName::new(Realm::V1, bus) {
        Ok(bus) => read(state, Scope::channel(&bus, &channel), params, form).await,
        // No bus has such a name; unknown buses are empty.
        Err(_) => filtered(Scope::all(), params).map(|_| b"[]".to_vec()),
    }
}

/// `GET /v1…/bus/{bus}`: the frames of all channels of a bus, for GETALL (§6.5).
pub(crate) async fn bus(state: &State, parts: &Parts, form: FrameForm, bus: &str) -> Response {
    let frames = async {
        if !is_secure(state, parts) {
            return Err(V1Error::Insecure);
        }
        let bus = authorize(state, parts, bus, Permission::GetAll).await?;
        read(state, Scope::bus(&bus), &params(parts), form).await
    };
    match frames.await {
        Ok(body) => response::json(StatusCode::OK, body),
        Err(error) => refuse(&error),
    }
}

/// Narrows a scope by the `sticky` parameter (§6.6).
fn filtered(scope: Scope, params: &Params<'_>) -> Result<Scope, V1Error> {
    match params.first("sticky") {
        None | Some("" | "false") => Ok(scope),
        Some("true") => Ok(scope.with(Field::Sticky, "true")),
        Some(_) => Err(V1Error::Sticky),
    }
}

async fn read(
    state: &State,
    scope: Scope,
    params: &Params<'_>,
    form: FrameForm,
) -> Result<Vec<u8>, V1Error> {
    let scope = filtered(scope, params)?;
    let mut cursor = Since::from_param(params.first("since")).cursor;
    let mut frames = Vec::new();
    loop {
        let page = state.buses.read(&scope, cursor, READ_PAGE).await;
        let page = page.map_err(|error| V1Error::unavailable(&error))?;
        frames.extend(page.messages.iter().map(|message| shown(message, form)));
        if !page.more {
            break;
        }
        cursor = page.next;
    }
    let mut body = Vec::new();
    frame::push_array(&mut body, &frames);
    Ok(body)
}

fn shown(message: &StoredMessage, form: FrameForm) -> bytes::Bytes {
    let view = match form {
        FrameForm::Plain => View::V1Frame,
        FrameForm::WithExpire => View::V13Frame,
    };
    message.view(view, |message| frame::one(message, form))
}

/// The bus, if the request's user may do `permission` on it. Every failure has the same answer, and
/// the password is checked before anything is said of the bus (§6.2).
async fn authorize(
    state: &State,
    parts: &Parts,
    bus: &str,
    permission: Permission,
) -> Result<BusName, V1Error> {
    let basic = request::basic(&parts.headers).ok_or(V1Error::AccessDenied)?;
    let user = basic.name.parse::<UserName>().ok();
    let stored = match &user {
        Some(user) => state.user(user).await.map_err(|error| V1Error::unavailable(&error))?,
        None => None,
    };
    let account = Account::User(&basic.name);
    let source = request::source(parts);
    let verdict = state.verify_password(account, stored.as_deref(), &basic.password, source);
    let is_right = verdict.await?;
    let user = user.filter(|_| is_right).ok_or(V1Error::AccessDenied)?;
    let bus = BusName::new(Realm::V1, bus).map_err(|_| V1Error::AccessDenied)?;
    let permissions =
        state.permissions(&bus).await.map_err(|error| V1Error::unavailable(&error))?;
    let held = permissions.and_then(|users| users.get(&user).copied());
    if held.is_some_and(|held| held.has(permission)) { Ok(bus) } else { Err(V1Error::AccessDenied) }
}

/// `POST /v1…/bus/{bus}/channel/{channel}`: a list of messages, all or none (§6.7).
pub(crate) async fn post(
    state: &State,
    parts: &Parts,
    body: Body,
    bus: &str,
    channel: &str,
) -> Response {
    match publish(state, parts, body, bus, channel).await {
        Ok(()) => response::empty(StatusCode::OK),
        Err(error) => refuse(&error),
    }
}

async fn publish(
    state: &State,
    parts: &Parts,
    body: Body,
    bus: &str,
    channel: &str,
) -> Result<(), V1Error> {
    if !is_secure(state, parts) {
        return Err(V1Error::Insecure);
    }
    let bus = authorize(state, parts, bus, Permission::Post).await?;
    // `new` is not a channel but the way to one (§4.2).
    let name: ChannelName = match channel {
        "new" => return Err(V1Error::Channel),
        name => name.parse().map_err(|_| V1Error::Channel)?,
    };
    if !request::has_type(&parts.headers, "application/json") {
        return Err(V1Error::ContentType);
    }
    let body = request::read_body(body, state.config.limits.body_bytes_max).await?;
    let mut messages = upstream::parse_list(&body, &name)?;
    if messages.is_empty() {
        return Ok(());
    }
    let traceparent = request::traceparent(&parts.headers);
    let traced = |message: &mut NewMessage| {
        message.headers.traceparent.clone_from(&traceparent);
        message.headers.door = Some(Door::Backplane1);
    };
    messages.iter_mut().for_each(traced);
    state.buses.publish_all(&bus, messages).await.map(drop).map_err(|error| match error {
        PublishError::ChannelFull { .. } => V1Error::ChannelFull,
        PublishError::Expiry(error) => V1Error::Expire(error),
        PublishError::PayloadTooLarge { .. } | PublishError::ListTooLarge { .. } => {
            V1Error::TooLarge
        }
        PublishError::UnknownBus => V1Error::AccessDenied,
        other => V1Error::unavailable(&other),
    })
}
