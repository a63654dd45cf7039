//! What the page is told when something fails: the statuses and texts of gRPC, in HTTP's terms.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use buswire_bus::BusError;
use http::StatusCode;
use serde_json::json;
use tonic::{Code, Status};

use crate::admin::{ports::AdminError, status};

/// Why the page does not get what it asked for.
#[derive(Debug)]
pub(super) struct Failed(StatusCode, String);

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(code, status.message().to_owned())
    }
}

impl From<AdminError> for Failed {
    fn from(error: AdminError) -> Self {
        status::of_admin(error).into()
    }
}

impl From<BusError> for Failed {
    fn from(error: BusError) -> Self {
        status::of_bus(&error).into()
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}
