//! The endpoints of SimplePush.

use buswire_message::{Secret, Version};
use buswire_simplepush::{NotifyError, SimplePush};
use futures::future::BoxFuture;

use crate::admin::ports::{AdminError, PushAdmin};

/// Notifies endpoints.
#[derive(Debug)]
pub(crate) struct PushPort(pub(crate) SimplePush);

impl PushAdmin for PushPort {
    fn notify(
        &self,
        endpoint: Secret<String>,
        version: Option<Version>,
    ) -> BoxFuture<'_, Result<Version, AdminError>> {
        Box::pin(async move {
            match self.0.notify(endpoint.expose(), version).await {
                Ok(notified) => Ok(notified.version),
                Err(error) => Err(failure(error)),
            }
        })
    }
}

fn failure(error: NotifyError) -> AdminError {
    let text = error.to_string();
    match error {
        NotifyError::NotAnEndpoint => AdminError::Invalid(text),
        NotifyError::Gone => AdminError::NotFound(text),
        _ => AdminError::Unavailable(text),
    }
}
