//! The transport of in-process instances, under the same policy (Belay §6.6).
//!
//! Never here: a way around the policy.

use futures::{FutureExt as _, future::BoxFuture};

use crate::{
    egress::{Egress, EgressError},
    error::BcapError,
    instance::{Failure, Transport, WireResult},
    method::Method,
    wire::CapUrl,
};

impl Transport for Egress {
    fn invoke<'a>(
        &'a self,
        url: &'a CapUrl,
        method: Method,
        body: Option<String>,
    ) -> BoxFuture<'a, WireResult> {
        async move {
            let answer = self.send(method, url.expose(), body, None).await.map_err(|error| {
                tracing::warn!(%error, "another server could not be asked");
                error.to_failure()
            })?;
            if !(200..300).contains(&answer.status) {
                // HTTP/2 has no reason phrase, so no answer is expected to have one.
                let body = String::from_utf8_lossy(&answer.body);
                return Err(Failure::of_answer(answer.status, "", &body));
            }
            let text = String::from_utf8(answer.body.into());
            let text = text.map_err(|_| Failure::bad_response())?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        }
        .boxed()
    }
}

impl EgressError {
    // Whoever invokes a capability is not told why there was no answer.
    fn to_failure(&self) -> Failure {
        match self {
            Self::Refused(_) | Self::Unreachable(_) | Self::Timeout => Failure::network(),
            Self::Busy => BcapError::unavailable().into(),
            Self::TooLong => Failure::bad_response(),
        }
    }
}
