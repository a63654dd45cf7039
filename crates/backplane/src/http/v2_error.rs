//! Every way in which a 2.0 request is refused, and what is answered then (Backplane §3.8, §9.4, §10).

use axum::response::Response;
use buswire_message::TooOften;
use http::StatusCode;

use super::{request::BodyError, response};
use crate::{
    rules::{access::SourceRefusal, scopes::ScopeRefusal, token::TokenKind},
    state::{throttle::NotVerified, tokens::TokenError},
    wire::{
        json::push_string,
        upstream::{EnvelopeError, FieldError},
    },
};

/// Why a 2.0 request is refused. `Display` is the `error_description`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum V2Error {
    #[error("Connection must be made over https")]
    Insecure,
    #[error("Invalid Request URL")]
    UnknownUrl,
    #[error("Request method not supported")]
    Method,
    #[error("Callback cannot be blank")]
    CallbackBlank,
    #[error("callback parameter value is malformed")]
    TokenCallback,
    #[error("Callback parameter value is malformed")]
    Callback,
    #[error("bus parameter is required if and only if refresh_token is not present")]
    BusOrRefresh,
    #[error("Invalid bus: {0}")]
    UnknownBus(String),
    #[error(transparent)]
    Scope(#[from] ScopeRefusal),
    #[error("invalid token")]
    InvalidToken,
    #[error("expired token")]
    ExpiredToken,
    #[error("Invalid token type: {}", .0.shown())]
    TokenType(TokenKind),
    #[error("exactly one token source allowed, found in: [QUERYPARAM, AUTHHEADER]")]
    TwoSources,
    #[error("token source not allowed: QUERYPARAM")]
    QuerySource,
    #[error("Client authentication failed")]
    ClientAuthentication,
    #[error("Invalid grant type: null")]
    NoGrantType,
    #[error("Invalid grant type: {0}")]
    GrantType(String),
    #[error("code is required if and only if grant_type is authorization_code")]
    CodeRule,
    #[error("redirect_uri is required if and only if grant_type is authorization_code")]
    RedirectRule,
    #[error("refresh_token is required if and only if grant_type is refresh_token")]
    RefreshRule,
    #[error("Invalid code: {0}")]
    Code(String),
    #[error("Invalid redirect_uri: {0}")]
    RedirectUri(String),
    #[error("Invalid redirect_uri: {0}")]
    OtherRedirectUri(String),
    #[error("invalid token")]
    InvalidRefresh,
    #[error("expired token")]
    ExpiredRefresh,
    #[error("Invalid value for block parameter ({value}), must be between 0 and {max}")]
    Block { value: String, max: u32 },
    #[error("Message id '{0}' not found")]
    NotFound(String),
    #[error("Invalid content type")]
    ContentType,
    #[error("Request body too large")]
    TooLarge,
    #[error("the body was not received whole")]
    Broken,
    #[error("the body is not a JSON object")]
    NotJson,
    #[error("the body is nested too deeply")]
    TooDeep,
    #[error("Missing message payload")]
    NoMessage,
    #[error("Invalid data in payload")]
    OtherMembers,
    #[error("Invalid bus - channel binding")]
    Binding,
    #[error("Message limit of {limit} has been reached for channel '{channel}'")]
    ChannelFull { limit: u32, channel: String },
    #[error("Invalid message data: {0}")]
    Field(#[from] FieldError),
    #[error("Invalid message data: expire has passed")]
    ExpirePast,
    #[error(
        "Invalid message data: Requested expiration time {asked} is too far in the future, max is \
         {max_seconds} seconds"
    )]
    ExpireTooFar { asked: String, max_seconds: u64 },
    #[error("Invalid bus in message")]
    OutOfScope,
    #[error("error processing anonymous token request")]
    AnonymousTokenFailed,
    #[error("error processing token request")]
    TokenFailed,
    #[error("Too many requests")]
    TooOften(TooOften),
    #[error("Service unavailable")]
    Unavailable,
}

impl V2Error {
    /// The status and the `error` code.
    const fn answer(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Insecure
            | Self::InvalidToken
            | Self::ExpiredToken
            | Self::TokenType(_)
            | Self::TwoSources
            | Self::QuerySource
            | Self::Binding
            | Self::ChannelFull { .. }
            | Self::ExpireTooFar { .. } => (StatusCode::FORBIDDEN, "invalid_request"),
            Self::OutOfScope => (StatusCode::FORBIDDEN, "insufficient_scope"),
            Self::UnknownUrl | Self::NotFound(_) => (StatusCode::NOT_FOUND, "invalid_request"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request"),
            Self::CallbackBlank
            | Self::TokenCallback
            | Self::Callback
            | Self::BusOrRefresh
            | Self::UnknownBus(_)
            | Self::NoGrantType
            | Self::CodeRule
            | Self::RedirectRule
            | Self::RefreshRule
            | Self::RedirectUri(_)
            | Self::Block { .. }
            | Self::Broken
            | Self::NotJson
            | Self::TooDeep
            | Self::NoMessage
            | Self::OtherMembers
            | Self::Field(_)
            | Self::ExpirePast => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::Scope(_) => (StatusCode::BAD_REQUEST, "invalid_scope"),
            Self::GrantType(_) => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
            Self::Code(_)
            | Self::OtherRedirectUri(_)
            | Self::InvalidRefresh
            | Self::ExpiredRefresh => (StatusCode::BAD_REQUEST, "invalid_grant"),
            Self::ClientAuthentication => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Self::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Self::AnonymousTokenFailed | Self::TokenFailed => {
                (StatusCode::INTERNAL_SERVER_ERROR, "server_error")
            }
            Self::TooOften(_) => (StatusCode::TOO_MANY_REQUESTS, "invalid_request"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "server_error"),
        }
    }

    /// The status.
    pub(crate) const fn status(&self) -> StatusCode {
        self.answer().0
    }

    /// The body, always with both members, since browser libraries look at the second only.
    pub(crate) fn body(&self) -> Vec<u8> {
        let (_, code) = self.answer();
        let mut body = b"{\"error\":".to_vec();
        push_string(&mut body, code);
        body.extend_from_slice(b",\"error_description\":");
        push_string(&mut body, &self.to_string());
        body.push(b'}');
        body
    }

    /// Logs a failure of ours, once, and says only that there was one.
    pub(crate) fn unavailable(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error, "a 2.0 request failed");
        Self::Unavailable
    }

    /// A token that is to be used is not good (§9.4).
    pub(crate) fn of_access(error: TokenError) -> Self {
        match error {
            TokenError::Invalid => Self::InvalidToken,
            TokenError::Expired => Self::ExpiredToken,
            TokenError::Scope(refusal) => Self::Scope(refusal),
            TokenError::Bus(error) => Self::unavailable(&error),
            TokenError::Store(error) => Self::unavailable(&error),
        }
    }
}

impl From<SourceRefusal> for V2Error {
    fn from(refusal: SourceRefusal) -> Self {
        match refusal {
            SourceRefusal::Invalid => Self::InvalidToken,
            SourceRefusal::Two => Self::TwoSources,
            SourceRefusal::Query => Self::QuerySource,
        }
    }
}

impl From<NotVerified> for V2Error {
    fn from(error: NotVerified) -> Self {
        match error {
            NotVerified::TooOften(wait) => Self::TooOften(wait),
            NotVerified::Busy(error) => Self::unavailable(&error),
        }
    }
}

impl From<BodyError> for V2Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Broken => Self::Broken,
        }
    }
}

impl From<EnvelopeError> for V2Error {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::NotJson => Self::NotJson,
            EnvelopeError::TooDeep => Self::TooDeep,
            EnvelopeError::NoMessage => Self::NoMessage,
            EnvelopeError::OtherMembers => Self::OtherMembers,
        }
    }
}

/// The answer to a refused request, not padded.
pub(crate) fn refuse(error: &V2Error) -> Response {
    let response = response::json(error.status(), error.body());
    match error {
        V2Error::ClientAuthentication => response::with_challenge(response),
        V2Error::TooOften(wait) => response::with_retry_after(response, *wait),
        _ => response,
    }
}

/// A value of a request, cut to what is worth repeating in an answer.
pub(crate) fn echo(value: &str) -> String {
    value.chars().take(256).collect()
}
