//! What a request of the public listener meets while the gateway goes out of service.
//!
//! Never here: when that is.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, Version, header},
    response::Response,
};

use super::{Health, Phase};
use crate::listen::{Step, refusal};

/// Asks HTTP/1 clients to take the next request elsewhere while the gateway leaves, so that nobody
/// sends one into a connection that closes, and refuses requests once it is drained. HTTP/2 has its
/// own way of saying it, which the listener uses.
#[derive(Clone)]
pub struct Leave(Arc<Health>);

impl Leave {
    /// Follows `health`.
    pub fn new(health: Health) -> Self {
        Self(Arc::new(health))
    }
}

impl std::fmt::Debug for Leave {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Leave").field(&self.0.phase()).finish()
    }
}

impl Step for Leave {
    /// For a client that has no other way to learn it.
    type Kept = Option<Self>;

    fn before(&self, request: &mut Request) -> Result<Self::Kept, Box<Response>> {
        let told = (request.version() < Version::HTTP_2).then(|| self.clone());
        if self.0.phase() != Phase::Drained {
            return Ok(told);
        }
        let mut refused = refusal(
            request.uri().path(),
            StatusCode::SERVICE_UNAVAILABLE,
            "The gateway is out of service",
        );
        refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        Self::after(told, &mut refused);
        Err(Box::new(refused))
    }

    fn after(told: Self::Kept, response: &mut Response) {
        let is_over = response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if told.is_some_and(|leave| is_over && leave.0.phase().is_leaving()) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}
